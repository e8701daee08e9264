"""Students one by one, and their mean answer: what an ensemble gives before it teaches anybody.

    python benchmarks/ask_together.py runs/member-0/best.safetensors runs/member-1/best.safetensors ... --domain FOLDER

For every model and for all together: mean Dice and vCDR error through the product (locator, averaged looks, ellipses),
and the Dice of the network alone (one look at the box around the true disc). Students of disc and cup; FOLDER has
images/ and labels/. The first model's header (locator, thresholds) speaks for all together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from napari_tinymig.training.data.cases import find_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.finetune.mixing import Views
from napari_tinymig.training.networks.saved import load_student
from napari_tinymig.training.run.evaluate import score_one, summaries
from numpy.typing import NDArray

from napari_tinymig.models.file import ModelFile
from napari_tinymig.models.registry import open_model
from napari_tinymig.network.run import NetworkOutput, OnnxNetwork
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import DataSpec, recipe_from_dict

SMALLEST = 1e-5


class Together:
    """A network that answers with the logit of the members' mean probability; statistics are the first one's."""

    device = "cpu"

    def __init__(self, models: Sequence[ModelFile]):
        self.members = [OnnxNetwork(m, 1) for m in models]

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Outputs for a batch (B, 3, s, s)."""
        outputs = [m.run(batch) for m in self.members]
        mean = np.mean([1 / (1 + np.exp(-o.logits.astype(np.float64))) for o in outputs], axis=0)
        mean = np.clip(mean, SMALLEST, 1 - SMALLEST)
        logits = np.log(mean / (1 - mean)).astype(np.float32)
        return NetworkOutput(logits, outputs[0].stage_means, outputs[0].stage_stds)


def product(models: Sequence[ModelFile], domain: Path) -> dict[str, float]:
    """Summary of one model, or of several together, as `tinymig evaluate` has it."""
    predictor = Predictor(models[0], "cpu", 1, network=Together(models))
    rows = [r for case in find_cases(domain) for r in score_one(predictor, case, "auto", DataSpec())]
    return summaries(rows, predictor.task)["model"]


def main() -> None:
    """Print a line for each model and one for all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--domain", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    models = [open_model(m) for m in given.models]
    recipe = recipe_from_dict(dict(models[0].header.lineage.recipe))
    data = load_set(find_cases(given.domain, recipe.data), recipe)
    views = Views(data, range(len(data)), recipe)
    answers = [views.probabilities(load_student(m)) for m in models]
    groups = [([m], p) for m, p in zip(models, answers, strict=True)]
    for some, p in [*groups, (models, np.mean(answers, axis=0))]:
        found = product(some, given.domain)
        shown = {k: round(found[k], 4) for k in ("dice_disc", "dice_cup", "p5_dice_cup", "vcdr_error")}
        alone = np.round(np.asarray(views.dice(p)).mean(0), 4).tolist()
        print(" + ".join(m.model_id for m in some), shown, "network alone:", alone, flush=True)


if __name__ == "__main__":
    main()
