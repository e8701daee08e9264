"""How readily a polyp student shows an object: what each operating point gives on frames with and without a polyp.

    python benchmarks/polyp_points.py runs/polyp-sdg/best.safetensors --domains C1 C2 C3 --every 4 --threshold 0.7

Every `--every`th frame with a polyp and every one without, through the looks of the product, each on its own grid: a
table over `object_logit`, and how well single numbers tell the two kinds of frame apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from napari_tinymig.training.data.cases import find_cases, labels_of
from napari_tinymig.training.data.read_files import read_scan
from napari_tinymig.training.networks.saved import load_student
from napari_tinymig.training.networks.student import Student
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from napari_tinymig.base.geometry import whole_box
from napari_tinymig.measures.overlap import dice
from napari_tinymig.models.file import read_model_file
from napari_tinymig.network.labels_from_logits import drop_doubtful, drop_islands, paste_labels
from napari_tinymig.network.normalise import network_input
from napari_tinymig.network.several_looks import NEARER_LOOK, averaged_logits
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.train import DataSpec

POINTS = (-99.0, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0)


def looked_at(
    predictor: Predictor, student: Student, pixels: NDArray[np.uint8], truth: NDArray[np.bool_]
) -> tuple[list[float], dict[str, float]]:
    """Dice (or 1 where an empty frame is left empty) at every point, and the single numbers of a frame."""
    frame = predictor.photograph_student().look(pixels, whole_box(pixels.shape))
    logits = averaged_logits(pixels, frame, predictor.network, predictor.header, NEARER_LOOK)
    scores = []
    for point in POINTS:
        labels = drop_islands(paste_labels(drop_doubtful(logits, point)[0], frame.placement, predictor.task)[0])
        scores.append(dice(labels > 0, truth) if truth.any() else float(not labels.any()))
    ready = network_input(frame.grid, frame.inside, predictor.header.input)
    with torch.no_grad():
        presence = student(torch.from_numpy(ready)[None]).presence
    flat = np.sort(logits[0].ravel())[::-1]
    inside = flat[flat > 0]
    numbers = {
        "presence logit": float(presence[0, 0]) if presence is not None else 0.0,
        "largest logit": float(flat[0]),
        "mean of the 400 largest": float(flat[:400].mean()),
        "mean logit of the mask": float(inside.mean()) if inside.size else -1.0,
    }
    return scores, numbers


def main() -> None:
    """Read the arguments, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--domains", type=Path, nargs="+", required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=0.7)
    arguments = parser.parse_args()
    model = read_model_file(arguments.model)
    student = load_student(model)
    predictor = Predictor(model, "cpu", threads=1)
    predictor.header = model.header.model_copy(update={"thresholds": {"polyp": arguments.threshold}})
    rows: dict[str, list[list[float]]] = {}
    empty: list[list[float]] = []
    numbers: list[tuple[bool, dict[str, float]]] = []
    for folder in arguments.domains:
        seen = 0
        for case in find_cases(folder):
            truth = labels_of(case, predictor.task, DataSpec()) > 0
            seen += truth.any()
            if truth.any() and (seen - 1) % arguments.every:
                continue
            scores, found = looked_at(predictor, student, read_scan(case.image, "photograph").pixels, truth)
            (rows.setdefault(folder.name, []) if truth.any() else empty).append(scores)
            numbers.append((bool(truth.any()), found))
    print("| object_logit | " + " | ".join(rows) + " | mean | empty frames left empty |\n|" + "---|" * (len(rows) + 3))
    for i, point in enumerate(POINTS):
        means = [float(np.mean([r[i] for r in some])) for some in rows.values()]
        left = f"{sum(e[i] for e in empty):.0f} of {len(empty)}"
        cells = [f"{m:.3f}" for m in (*means, float(np.mean(means)))]
        print(f"| {'off' if point < -9 else point} | " + " | ".join(cells) + f" | {left} |")
    there = np.array([t for t, _ in numbers])
    print("\n| number | AUROC | positive frames kept at 80 % of empty ones left empty |\n|---|---|---|")
    for name in numbers[0][1]:
        values = np.array([n[name] for _, n in numbers])
        kept = (values[there] > np.quantile(values[~there], 0.8)).mean()
        print(f"| {name} | {roc_auc_score(there, values):.3f} | {kept:.2f} |")


if __name__ == "__main__":
    main()
