"""Put a trained model into the package: its development scores into the header, its card beside it.

    python benchmarks/bundle.py runs/optic-sdg/best.safetensors --scores runs/optic-sdg-eval/summary.csv
    python benchmarks/bundle.py runs/prompt/best.safetensors --name prompt --trained-on drishti_gs1 "silver (6 of 8)"

The card of a prompted student is written by hand: its scores are benchmarks/prompts.md.
"""

from __future__ import annotations

import argparse
import csv
import tomllib
from pathlib import Path

from napari_tinymig.training.networks.card import write_card

from napari_tinymig.models.file import read_model_file, write_model_file

HERE = Path(__file__).parent
MODELS = HERE.parent / "napari_tinymig" / "models"
SHOWN = ("dice_", "vcdr_error", "false_positive_rate", "slice_dice", "n", "not_found")


def development_scores(files: list[Path]) -> dict[str, dict[str, float]]:
    """Domain (and predictor, where it is not the model) -> the figures worth a card."""
    found = {}
    for path in files:
        with path.open(encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                name = row["domain"] + ("" if row["predictor"] == "model" else f", {row['predictor']}")
                found[name] = {
                    k: round(float(v), 4) for k, v in row.items() if v and (k.startswith("dice_") or k in SHOWN)
                }
    return found


def main() -> None:
    """Read the arguments, write models/NAME.safetensors and models/NAME.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="summary.csv of tinymig evaluate")
    parser.add_argument("--name", help="name in the package; default: the model's own")
    parser.add_argument("--cup-head", help="name of the bundled cup head that has a say in the model's cups")
    parser.add_argument(
        "--trained-on", nargs="+", help="words for the header in place of the folders' names and their images' hashes"
    )
    arguments = parser.parse_args()
    model = read_model_file(arguments.model)
    name = arguments.name or model.header.name
    scores = dict(model.header.scores)
    if arguments.scores:
        scores["development"] = development_scores(arguments.scores)
    spec = model.header.input
    if arguments.cup_head:
        spec = spec.model_copy(update={"cup_head": arguments.cup_head})
    lineage = model.header.lineage
    if arguments.trained_on:
        lineage = lineage.model_copy(update={"domains": tuple(arguments.trained_on), "data_hashes": ()})
    changes = {"name": name, "scores": scores, "input": spec, "lineage": lineage}
    header = model.header.model_copy(update=changes)
    written = write_model_file(MODELS / f"{name}.safetensors", header, model.weights(), model.onnx)
    if header.kind != "prompted":
        facts = tomllib.loads((HERE / "cards.toml").read_text(encoding="utf-8")).get(name, {})
        write_card(written, MODELS / f"{name}.md", **facts)
    print(f"{written.path}: {written.model_id}, {written.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
