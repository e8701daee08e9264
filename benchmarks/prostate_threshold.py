"""The prostate student's threshold without the volume that it is judged on: case by case over the silver labels.

python benchmarks/prostate_threshold.py prostate --silver DATA/prostate/silver --asked DATA/prostate/manual_case00 \
    -o benchmarks/prostate_threshold.csv

Every silver case gets the threshold with the best mean 3-D Dice over the OTHER silver cases; the threshold of all of
them together is then asked on the case with a manual label, which had no part in it. Silver cases are training cases
of the shipped student, and their labels were made by a network: what is fitted here is agreement with that network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from csv_rows import write_rows
from napari_tinymig.training.data.cases import Case, find_cases, labels_of
from napari_tinymig.training.data.read_files import read_scan
from numpy.typing import NDArray

from napari_tinymig.measures.overlap import dice
from napari_tinymig.network.run import Network, NetworkOutput
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.volume import predict_volume
from napari_tinymig.recipes.train import DataSpec

THRESHOLDS = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)
Values = NDArray[np.float64]


class Remembering:
    """A network that answers the same batch once."""

    def __init__(self, network: Network):
        self.network, self.device, self.known = network, network.device, dict[bytes, NetworkOutput]()

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Outputs for a batch (B, 3, s, s)."""
        key = batch.tobytes()
        if key not in self.known:
            self.known[key] = self.network.run(batch)
        return self.known[key]


def dice_and_volume(predictor: Predictor, case: Case) -> tuple[Values, Values]:
    """(T,) 3-D Dice and answered over true volume at every threshold, through the product."""
    scan, remembering = read_scan(case.image, "volume"), Remembering(predictor.network)
    truth = labels_of(case, predictor.task, DataSpec()) > 0
    masks = []
    for threshold in THRESHOLDS:
        header = predictor.header.model_copy(update={"thresholds": {"gland": threshold}})
        masks.append(predict_volume(remembering, header, scan).labels > 0)
    return np.array([dice(m, truth) for m in masks]), np.array([m.sum() / truth.sum() for m in masks])


def best(table: Values) -> int:
    """The threshold's index with the best mean Dice (n, T)."""
    return int(table.mean(0).argmax())


def rows_of(cases: Sequence[Case], table: Values, sizes: Values) -> list[dict[str, object]]:
    """One row a silver case: its threshold by the others."""
    out: list[dict[str, object]] = []
    for i, case in enumerate(cases):
        k = best(np.delete(table, i, 0))
        row: dict[str, object] = {"case": case.name, "threshold by the others": THRESHOLDS[k]}
        row |= {"dice": round(table[i, k], 4), "volume / silver": round(sizes[i, k], 3)}
        out.append(row | {f"dice at {t}": round(d, 4) for t, d in zip(THRESHOLDS, table[i])})
    return out


def main() -> None:
    """Read the arguments, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--silver", type=Path, required=True)
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    predictor = Predictor(given.model, "cpu", 1)
    silver = find_cases(given.silver)
    table, sizes = (np.array(v) for v in zip(*(dice_and_volume(predictor, c) for c in silver)))
    rows, k = rows_of(silver, table, sizes), best(table)
    for case in find_cases(given.asked):
        found, size = dice_and_volume(predictor, case)
        row: dict[str, object] = {"case": case.name, "threshold by the others": THRESHOLDS[k]}
        row |= {"dice": round(found[k], 4), "volume / silver": round(size[k], 3)}
        rows.append(row | {f"dice at {t}": round(d, 4) for t, d in zip(THRESHOLDS, found)})
    print(predictor.model_id, *rows, sep="\n")
    write_rows(given.out, rows)


if __name__ == "__main__":
    main()
