"""The gland volume's 90 % interval from volumes that a student has not seen: four folds of the silver cases.

tinymig train prostate --source DATA/prostate/silver -o RUNS/fold-K --init-weights polyp-sdg.safetensors \
    --set data.folds=4 --set data.fold=K --set optim.epochs=4 --set input.size=192                (K = 0, 1, 2, 3)
python benchmarks/volume_intervals.py RUNS/fold-0 RUNS/fold-1 RUNS/fold-2 RUNS/fold-3 --silver DATA/prostate/silver \
    --asked DATA/prostate/manual_case00 --model prostate -o OUT.safetensors

The rule (written before it was scored) is the one of every model (`shift/trust.py`): |log true / answered volume| of
each held-out case, in units of what two thresholds make of it, through the product; the factor for eight cases is
Student's t times their root mean square. Each case is also asked with the factor of the other seven: that is the
honest coverage, n = 8. The shipped student learned from these cases, so its own errors on them would say nothing; its
factor is that of the folds, whose students are weaker (short runs that start from the polyp student, which has seen
no scan; silver labels alone), so it is rather too wide. --asked: one volume of another centre.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from napari_tinymig.training.data.cases import Case, find_cases, labels_of, split_cases
from napari_tinymig.training.data.read_files import read_scan

from napari_tinymig.measures.declared import VOLUME_ML
from napari_tinymig.models.file import write_model_file
from napari_tinymig.models.registry import open_model
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.volume import predict_volume
from napari_tinymig.recipes.student import Recipe
from napari_tinymig.recipes.train import DataSpec
from napari_tinymig.shift.frame_record import records_of
from napari_tinymig.shift.trust import AREA_FLOOR, interval_quantile

FEWEST = 8


def measured(predictor: Predictor, case: Case) -> tuple[float, float, float]:
    """log(true / answered volume), the unit of its interval, and the answered volume in mL."""
    scan = read_scan(case.image, "volume")
    truth = labels_of(case, predictor.task, DataSpec()) > 0
    records = records_of(predict_volume(predictor.network, predictor.header, scan).frames, predictor.header, scan)
    area, low, high = (sum(r.output[f"gland_area{end}"] for r in records) for end in ("", "_low", "_high"))
    found = predictor.predict(scan)
    gap = math.log(truth.sum() / (found.labels > 0).sum())
    return gap, 0.5 * abs(high - low) / area + AREA_FLOOR, found.measures[VOLUME_ML]


def spread(half: float) -> str:
    """An interval as factors of the answer."""
    return f"x {math.exp(-half):.2f} to {math.exp(half):.2f}"


def main() -> None:
    """Read the arguments, print the table, write the model with the factor where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folds", nargs="+", type=Path)
    parser.add_argument("--silver", type=Path, required=True)
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    rows = []
    for run in given.folds:
        predictor = Predictor(run / "best.safetensors", "cpu", 1)
        recipe = Recipe.model_validate(predictor.header.lineage.recipe)
        for case in split_cases(find_cases(given.silver, recipe.data), recipe.data, recipe.seed)[1]:
            rows.append((case.name, *measured(predictor, case)))
            print(*rows[-1], flush=True)
    scores = np.array([abs(gap) / unit for _, gap, unit, _ in rows])
    factor = round(interval_quantile(scores.tolist()), 3)
    print("| case | answered mL | true / answered | by the other seven | covered |\n|---|---|---|---|---|")
    covered = 0
    for i, (name, gap, unit, ml) in enumerate(rows):
        half = interval_quantile(np.delete(scores, i).tolist()) * unit
        covered += abs(gap) <= half
        print(f"| {name} | {ml:.1f} | {math.exp(gap):.2f} | {spread(half)} | {abs(gap) <= half} |")
    print(f"{covered} of {len(rows)} covered; factor of all {factor}")
    shipped = open_model(given.model)
    predictor = Predictor(shipped, "cpu", 1)
    for case in find_cases(given.asked):
        gap, unit, ml = measured(predictor, case)
        said = f"{ml:.1f} mL, true / answered {math.exp(gap):.2f}, interval {spread(factor * unit)}"
        print(f"{shipped.model_id} on {case.name}: {said}")
    if given.out and len(rows) >= FEWEST:
        trust = shipped.header.statistics["trust"]
        interval = trust["interval"] | {"gland_area": {"factor": factor, "n": len(rows)}}
        statistics = shipped.header.statistics | {"trust": trust | {"interval": interval}}
        header = shipped.header.model_copy(update={"statistics": statistics})
        print(write_model_file(given.out, header, shipped.weights(), shipped.onnx).model_id)


if __name__ == "__main__":
    main()
