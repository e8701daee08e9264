"""Cup size by its true ratio, on eyes that are development data: stratum by stratum, never only the mean.

python benchmarks/cup_strata.py optic-sdg optic --data DATA/fundus

origa_a: whole fields with the experts' vertical ratio, no masks. refuge_like: masks. All through the product. Beside
the bias by TRUE ratio stands the slope of the truth over the answer: an expert's own noise makes every reader err
towards the mean by true ratio; only a slope above 1 says that the answers themselves spread too little.
"""

from __future__ import annotations

import argparse
import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.api import load_model, segment
from napari_tinymig.measures.overlap import dice

EDGES = (0.0, 0.4, 0.5, 0.6, 0.7, 1.01)
Rows = NDArray[np.float64]


def ratio(labels: NDArray[np.uint8]) -> float:
    """Height of the cup over height of the disc; NaN without a disc, 0 without a cup."""
    disc, cup = (np.flatnonzero(mask.any(1)) for mask in (labels >= 1, labels == 2))
    return float((np.ptp(cup) + 1) / (np.ptp(disc) + 1)) if len(disc) and len(cup) else 0.0 if len(disc) else np.nan


def auroc(score: Rows, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive scores higher than a negative, ties half."""
    above = score[positive][:, None] - score[~positive][None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def by_stratum(truth: Rows, values: Rows) -> str:
    """Mean of `values` in each stratum of the true ratio, with how many eyes it holds."""
    parts = []
    for low, high in pairwise(EDGES):
        inside = (truth >= low) & (truth < high)
        if inside.any():
            parts.append(f"{low:g}-{min(high, 1):g}: {values[inside].mean():+.3f} (n {inside.sum()})")
    return "; ".join(parts)


def whole_fields(model: object, folder: Path) -> None:
    """Print error, correlation, slopes and strata on a folder with images/ and vcdr.csv."""
    rows = list(csv.DictReader((folder / "vcdr.csv").open(encoding="utf-8")))
    found = [segment(folder / "images" / r["file"], task="optic", model=model).labels for r in rows]  # type: ignore
    answer, truth = np.array([ratio(x) for x in found]), np.array([float(r["vcdr_expert"]) for r in rows])
    ill, seen = np.array([r["glaucoma"] == "1" for r in rows]), np.isfinite(answer)
    off, lost = (answer - truth)[seen], int((~seen).sum())
    slope, back = (np.polyfit(a[seen], b[seen], 1)[0] for a, b in ((truth, answer), (answer, truth)))
    print(
        f"  {folder.name} n {len(rows)} (no disc: {lost}): error {np.abs(off).mean():.4f}, bias {off.mean():+.4f}, "
        f"r {np.corrcoef(answer[seen], truth[seen])[0, 1]:.3f}, answer over truth {slope:.2f}, truth over answer "
        f"{back:.2f}, AUROC {auroc(answer[seen], ill[seen]):.3f} (experts {auroc(truth, ill):.3f})"
    )
    print(f"    bias by true ratio: {by_stratum(truth[seen], off)}")


def masks(model: object, folder: Path) -> None:
    """Print Dice, ratio error and strata on a folder with images/ and labels/."""
    rows = []
    for path in sorted((folder / "images").iterdir()):
        truth = np.asarray(Image.open(folder / "labels" / f"{path.stem}.png"))
        labels = segment(path, task="optic", model=model).labels  # type: ignore[arg-type]
        area = np.count_nonzero(labels) / np.count_nonzero(truth)
        rows.append((dice(labels > 0, truth > 0), dice(labels == 2, truth == 2), ratio(labels), ratio(truth), area))
    disc, cup, answer, truth, area = np.array(rows).T
    print(
        f"  {folder.name} n {len(rows)}: OD {disc.mean():.4f}, OC {cup.mean():.4f}, vCDR error "
        f"{np.nanmean(np.abs(answer - truth)):.4f}, bias {np.nanmean(answer - truth):+.4f}, disc area x "
        f"{np.median(area):.3f}"
    )
    print(f"    bias by true ratio: {by_stratum(truth, answer - truth)}")
    print(f"    OC by true ratio: {by_stratum(truth, cup)}")


def main() -> None:
    """Read the arguments and print one block a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder of origa_a and refuge_like")
    arguments = parser.parse_args()
    for name in arguments.models:
        model = load_model(name, threads=1)
        print(f"{name} ({model.model_id})", flush=True)
        whole_fields(model, arguments.data / "origa_a")
        masks(model, arguments.data / "refuge_like")


if __name__ == "__main__":
    main()
