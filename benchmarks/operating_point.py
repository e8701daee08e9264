"""Choose how readily a student shows an object, and write it into the model.

    python benchmarks/operating_point.py runs/polyp/best.safetensors --source kvasir_seg --presence 5 --threshold 0.73 \
        -o runs/polyp/chosen.safetensors

`--presence` is taken off the presence logit (in the weights, so that every engine agrees), `--threshold` becomes the
probability from which a pixel counts; `--object-logit` is how far above that the mean logit of a separate object must
lie for it to be shown at all. Source statistics are made again, because the answers change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from napari_tinymig.training.data.cases import find_cases, split_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.networks.export import save_model
from napari_tinymig.training.networks.saved import load_student
from napari_tinymig.training.run.source_statistics import source_statistics
from torch import nn

from napari_tinymig.models.file import read_model_file
from napari_tinymig.recipes.student import recipe_from_dict


def average(student: nn.Module, other: nn.Module) -> None:
    """Half of each one's weights and statistics, into `student`; they must have one start to mean anything."""
    theirs = other.state_dict()
    student.load_state_dict({k: ((v + theirs[k]) / 2).to(v.dtype) for k, v in student.state_dict().items()})


def main() -> None:
    """Read the arguments, write the changed model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", type=Path, nargs="+", required=True)
    parser.add_argument("--presence", type=float, default=0.0)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--object-logit", type=float)
    parser.add_argument("--mean-with", type=Path, help="a student of the same start; the mean of both weights is taken")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = read_model_file(arguments.model)
    student = load_student(model)
    if model.header.task is None:
        parser.error(f"{arguments.model} has no task")
    extra = dict(model.header.extra)
    if arguments.mean_with:
        other = read_model_file(arguments.mean_with)
        average(student, load_student(other))
        extra["mean_with"] = other.model_id
    if arguments.presence:
        if getattr(student, "presence", None) is None:
            parser.error(f"{arguments.model} has no presence head")
        with torch.no_grad():
            student.presence.bias -= arguments.presence
        extra["presence_taken_off"] = arguments.presence
    thresholds = {r.name: arguments.threshold for r in model.header.task.regions}
    constants = dict(model.header.constants)
    if arguments.object_logit is not None:
        constants["object_logit"] = arguments.object_logit
    header = model.header.model_copy(update={"thresholds": thresholds, "extra": extra, "constants": constants})
    changed = save_model(arguments.out, header, student)
    recipe = recipe_from_dict(dict(model.header.lineage.recipe))
    cases = [c for folder in arguments.source for c in find_cases(folder, recipe.data)]
    train_cases, held = split_cases(cases, recipe.data, recipe.seed)
    statistics, scores = source_statistics(changed, load_set(train_cases, recipe), load_set(held, recipe), recipe)
    header = header.model_copy(update={"statistics": statistics, "scores": header.scores | scores})
    save_model(arguments.out, header, student)


if __name__ == "__main__":
    main()
