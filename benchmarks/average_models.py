"""One student whose weights are the mean of several of one start, with source statistics of its own.

python benchmarks/average_models.py A/best.safetensors B/best.safetensors --source DATA/fundus/drishti_gs1 -o OUT
    [--cup 0.65] [--name optic-sdg] [--constant confidence=0.6]

Runs that went on from the same weights lie in one valley, and their mean costs nothing (model soups, Wortsman et al.,
ICML 2022). One model alone is given new statistics and, where asked for, another operating point. The held-out cases of
the first model's split calibrate expected Dice and intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from napari_tinymig.training.data.cases import find_cases, split_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.networks.export import save_model
from napari_tinymig.training.run.source_statistics import source_statistics
from napari_tinymig.training.run.train import build_student
from torch import Tensor

from napari_tinymig.models.file import ModelFile, read_model_file
from napari_tinymig.recipes.student import ModelHeader, Recipe


def mean_weights(models: list[ModelFile], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of every tensor of a state; raises ValueError where a model holds other tensors."""
    states = [m.weights() for m in models]
    missing = [k for k, v in own.items() for s in states if v.is_floating_point() and k not in s]
    if missing:
        raise ValueError(f"not every model holds {missing[0]}; expected models of one network")
    return own | {
        k: torch.from_numpy(np.mean([np.asarray(s[k], np.float64) for s in states], 0)).to(own[k].dtype)
        for k in own
        if own[k].is_floating_point()
    }


def header_of(models: list[ModelFile], arguments: argparse.Namespace) -> ModelHeader:
    """The first model's header with what the arguments change, statistics and scores empty."""
    header = models[0].header
    constants = dict(header.constants) | {k: float(v) for k, v in (c.split("=") for c in arguments.constant)}
    extra = dict(header.extra)
    if len(models) > 1:
        extra["mean_of"] = [m.model_id for m in models]
    return header.model_copy(
        update={
            "name": arguments.name or header.name,
            "thresholds": dict(header.thresholds) | ({"cup": arguments.cup} if arguments.cup else {}),
            "constants": constants,
            "extra": extra,
            "weights_sha256": "",
            "statistics": {},
        }
    )


def main() -> None:
    """Read the arguments, write the model file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--source", type=Path, action="append", required=True, help="training folder; may be repeated")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--cup", type=float, help="probability from which a pixel is cup")
    parser.add_argument("--name")
    parser.add_argument("--constant", action="append", default=[], help="NAME=NUMBER of the header; may be repeated")
    arguments = parser.parse_args()
    models = [read_model_file(p) for p in arguments.models]
    recipe = Recipe.model_validate(models[0].header.lineage.recipe)
    student = build_student(recipe.without_paths())
    student.load_state_dict(mean_weights(models, student.state_dict()))
    cases = [c for folder in arguments.source for c in find_cases(folder, recipe.data)]
    taught, held = split_cases(cases, recipe.data, recipe.seed)
    header = header_of(models, arguments)
    model = save_model(arguments.out, header, student)
    statistics, scores = source_statistics(model, load_set(taught, recipe), load_set(held, recipe), recipe)
    header = header.model_copy(update={"statistics": statistics, "scores": dict(header.scores) | scores})
    print(save_model(arguments.out, header, student).model_id)


if __name__ == "__main__":
    main()
