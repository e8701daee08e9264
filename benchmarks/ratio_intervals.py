"""The ratio's 90 % interval from what the product answers on held-out source eyes, plain and corrupted.

python benchmarks/ratio_intervals.py optic-sdg --data DATA/fundus --kept runs/ratio_intervals.csv -o OUT.safetensors

The rule (written before it was scored): the score of an eye is |true - answered ratio| in units of the interval at
factor 1; the factor is the conformal 90 % quantile of the scores of every held-out source eye, seen plainly and in
eight corrupted versions, through the product as it ships: locator, three looks, ellipses, cup head. Coverage is then
asked on refuge_like and origa_a, from which nothing was taken. Beside it: the header's own factor, that of the plain
eyes alone, and factors fitted on one of the two sets, which a single-source model may not use. --kept: every eye's
answer, truth and unit; read where it is there.

--pooled: for a student of several centres made with halves held out (benchmarks/optic_sources.md), DATA holding the
other halves: the factor is the conformal 90 % quantile of all their eyes. --into: the model, made alike with every eye,
that gets it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from csv_rows import read_rows, write_rows
from napari_tinymig.training.data.cases import find_cases, labels_of, split_cases
from napari_tinymig.training.data.image_set import case_targets
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.base.records import Scan
from napari_tinymig.formats import open_input
from napari_tinymig.measures.overlap import vertical_ratio
from napari_tinymig.models.file import read_model_file, write_model_file
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import Recipe
from napari_tinymig.sets.survey import CORRUPTED_VERSIONS, corrupted_version
from napari_tinymig.shift.trust import conformal, interval_quantile

Values = NDArray[np.float64]
Row = dict[str, Any]


def seen(predictor: Predictor, scan: Scan, truth: float, where: str, name: str) -> Iterator[Row]:
    """Answer, truth and unit of one eye; nothing where the product gives no interval."""
    found = predictor.predict(scan)
    ends = found.extra.get("intervals", {}).get("vcdr")
    factor = predictor.header.statistics["trust"]["interval"]["ratio"]["factor"]
    if ends is not None and found.measures["vcdr"] > ends[0] > 0:
        unit = (found.measures["vcdr"] - ends[0]) / factor
        yield {"set": where, "name": name, "answer": found.measures["vcdr"], "truth": truth, "unit": round(unit, 6)}


def source_eyes(predictor: Predictor, folder: Path) -> Iterator[Row]:
    """Held-out eyes of the model's own split, 'home', and their corrupted versions, 'home changed'."""
    recipe, rng = Recipe.model_validate(predictor.header.lineage.recipe), np.random.default_rng(0)
    cases = find_cases(folder, recipe.data)
    for case in split_cases(cases, recipe.data, recipe.seed)[1]:
        scan = open_input(case.image).scan
        targets = case_targets(case, labels_of(case, recipe.task, recipe.data), recipe) >= 0.5
        truth = vertical_ratio(targets[0].astype(np.uint8) + (targets[0] & targets[1]))
        yield from seen(predictor, scan, truth, "home", case.image.stem)
        for _ in range(CORRUPTED_VERSIONS):
            pixels, said = corrupted_version(scan.pixels, rng)
            yield from seen(predictor, Scan(pixels), truth, "home changed", f"{case.image.stem} {said}")


def other_eyes(predictor: Predictor, folder: Path) -> Iterator[Row]:
    """Every eye of a folder with vcdr.csv or labels/."""
    table, known = folder / "vcdr.csv", {}
    if table.exists():
        with table.open(encoding="utf-8") as stream:
            known = {Path(r["file"]).stem: float(r["vcdr_expert"]) for r in csv.DictReader(stream)}
    for path in sorted((folder / "images").iterdir()):
        truth = known.get(path.stem)
        if truth is None:
            truth = vertical_ratio(np.asarray(Image.open(folder / "labels" / f"{path.stem}.png")))
        yield from seen(predictor, open_input(path).scan, truth, folder.name, path.stem)


def answers(predictor: Predictor, data: Path, kept: Path) -> list[Row]:
    """Every eye's row, from `kept` where it is there."""
    if not kept.exists():
        rows = list(source_eyes(predictor, data / "drishti_gs1"))
        for name in ("refuge_like", "origa_a"):
            rows += other_eyes(predictor, data / name)
            print(name, flush=True)
        write_rows(kept, rows)
    return read_rows(kept)


def scores(rows: list[Row], *sets: str) -> Values:
    """|true - answered| in units of the interval at factor 1."""
    mine = [r for r in rows if r["set"] in sets]
    return np.array([abs(float(r["truth"]) - float(r["answer"])) / float(r["unit"]) for r in mine])


def main() -> None:
    """Read the arguments, print the table, write the model with the factor of the rule where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True, help="folder of drishti_gs1, refuge_like and origa_a")
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, help="the model with the rule's factor")
    parser.add_argument("--pooled", action="store_true", help="calibrate on every eye of refuge_like and origa_a")
    parser.add_argument("--into", type=Path, help="the model that gets the factor; default: the one that was asked")
    given = parser.parse_args()
    predictor = Predictor(given.model, "cpu", 1)
    rows = answers(predictor, given.data, given.kept)
    trust = predictor.header.statistics["trust"]
    home, changed = scores(rows, "home"), scores(rows, "home", "home changed")
    rule = round(conformal(changed), 3)
    factors = {
        "in the header": trust["interval"]["ratio"]["factor"],
        f"rule: {len(changed)} views of {len(home)} source eyes": rule,
        f"{len(home)} plain source eyes, Student's t": interval_quantile(home),
        "fitted on refuge_like": conformal(scores(rows, "refuge_like")),
        "fitted on origa_a": conformal(scores(rows, "origa_a")),
        "fitted on both, eyes pooled": conformal(scores(rows, "refuge_like", "origa_a")),
    }
    print(predictor.model_id)
    print("| factor | | refuge_like: coverage, width | origa_a: coverage, width |")
    print("|---|---|---|---|")
    for name, factor in factors.items():
        cells = []
        for where in ("refuge_like", "origa_a"):
            units = np.array([float(r["unit"]) for r in rows if r["set"] == where])
            cells.append(f"{(scores(rows, where) <= factor).mean():.3f}, {2 * factor * units.mean():.3f}")
        print(f"| {name} | {factor:.2f} | {' | '.join(cells)} |")
    if given.out:
        others = int(sum(r["set"] in ("refuge_like", "origa_a") for r in rows))
        pooled = {"factor": round(factors["fitted on both, eyes pooled"], 3), "n": others, "views": others}
        ratio = pooled if given.pooled else {"factor": rule, "n": len(home), "views": len(changed)}
        model = read_model_file(given.into) if given.into else predictor.model
        trust = model.header.statistics["trust"]
        statistics = model.header.statistics | {"trust": trust | {"interval": trust["interval"] | {"ratio": ratio}}}
        header = model.header.model_copy(update={"statistics": statistics})
        print(write_model_file(given.out, header, model.weights(), model.onnx).model_id)


if __name__ == "__main__":
    main()
