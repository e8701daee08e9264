"""Learn a model's expected Dice again from its own held-out source images; weights, graph and all else stay.

python benchmarks/refit_trust.py napari_tinymig/models/optic-sdg.safetensors --source DATA/fundus/drishti_gs1 -o OUT
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_tinymig.training.data.cases import find_cases, split_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.run.source_statistics import source_statistics

from napari_tinymig.models.file import read_model_file, write_model_file
from napari_tinymig.recipes.student import Recipe


def main() -> None:
    """Read the arguments, write the model file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", type=Path, action="append", required=True, help="training folder; may be repeated")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    model = read_model_file(given.model)
    recipe = Recipe.model_validate(model.header.lineage.recipe)
    cases = [c for folder in given.source for c in find_cases(folder, recipe.data)]
    taught, held = split_cases(cases, recipe.data, recipe.seed)
    statistics, _ = source_statistics(model, load_set(taught, recipe), load_set(held, recipe), recipe)
    learned = statistics["trust"]["dice"]  # type: ignore[index]
    known = model.header.statistics
    for name, fit in learned.items():
        print(name, known["trust"]["dice"][name]["weights"], "->", fit["weights"])
    trust = known["trust"] | {"dice": learned}
    header = model.header.model_copy(update={"statistics": known | {"trust": trust}})
    print(write_model_file(given.out, header, model.weights(), model.onnx).model_id)


if __name__ == "__main__":
    main()
