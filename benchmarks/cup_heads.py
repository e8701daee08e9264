"""The student's own cup, a cup head's, and their mean, by stratum of the true ratio, on development eyes.

python benchmarks/cup_heads.py optic-sdg --heads runs/sdg-0.safetensors runs/sdg-1.safetensors runs/sdg-2.safetensors \
    --data DATA/fundus --kept runs/cup_heads -o benchmarks/cup_heads.csv

Every eye is looked at once through the product (locator, three looks, ellipses); then each way draws its cup inside
the same disc. `own`: the student alone. `alone`: the head's size, the student's shape. `mean`: as shipped, the mean of
both on the log-odds of the vertical ratio. `N heads`: the heads' own mean first. --parts odd: every second eye, for
heads that were taught with the others. --kept: written at the first run, read by later ones.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from csv_rows import write_rows
from napari_tinymig.training.cup_head.eyes import look
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.base.records import Placement
from napari_tinymig.measures.overlap import dice
from napari_tinymig.network.disc_polar import border_of, vertical_ratio_of
from napari_tinymig.network.labels_from_logits import paste_labels
from napari_tinymig.predict.cup_head import cup_of_mask, cup_shares, log_odds
from napari_tinymig.predict.disc_cup_shape import drawn_to_ellipse, redrawn
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.tasks.optic import OPTIC

EDGES = (0.0, 0.4, 0.5, 0.6, 0.7, 1.01)
STRATA = tuple(f"{a:g}-{min(b, 1):g}" for a, b in pairwise(EDGES))
PARTS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
Values = NDArray[np.float64]


class Eye(NamedTuple):
    """One eye as the product looked at it, and what is known of it (labels None: the ratio alone)."""

    grid: NDArray[Any]
    logits: NDArray[np.float32]
    placement: Placement
    ratio: float
    ill: bool
    labels: NDArray[np.uint8] | None


def looked_at(predictor: Predictor, folder: Path, kept: Path) -> list[Eye]:
    """Eyes with a disc, in the order of names; from `kept` where an earlier run wrote them (colours in 8 bits)."""
    if not kept.exists():
        rows = [_row(predictor, folder, path) for path in sorted((folder / "images").iterdir())]
        found = [r for r in rows if r is not None]
        np.savez(kept, **{k: np.array([r[k] for r in found]) for k in found[0]})
    table = dict(np.load(kept))
    out = []
    for i, grid in enumerate(table["grid"]):
        logits = drawn_to_ellipse(table["logits"][i].astype(np.float32))
        placement = Placement(tuple(table["shape"][i]), tuple(table["box"][i]), grid.shape[:2])
        ill, labels = (bool(table["ill"][i]), None) if "ill" in table else (False, table["labels"][i])
        out.append(Eye(grid.astype(np.float32), logits, placement, float(table["ratio"][i]), ill, labels))
    return out


def _row(predictor: Predictor, folder: Path, path: Path) -> dict[str, Any] | None:
    """One eye as the product looks at it, logits before shapes are drawn; None without a disc."""
    seen, table = look(predictor, path), folder / "vcdr.csv"
    if seen is None:
        print(f"{path.name}: no disc found", flush=True)
        return None
    frame, logits = seen
    box, shape = np.array(frame.placement.box), np.array(frame.placement.source_shape)
    row = {"grid": np.rint(np.clip(frame.grid, 0, 255)).astype(np.uint8), "logits": logits.astype(np.float16)}
    row |= {"box": box, "shape": shape}
    if table.exists():
        known = {r["file"]: r for r in csv.DictReader(table.open(encoding="utf-8"))}[path.name]
        return row | {"ratio": float(known["vcdr_expert"]), "ill": known["glaucoma"] == "1"}
    labels = np.asarray(Image.open(folder / "labels" / f"{path.stem}.png"))
    return row | {"ratio": cup_of_mask(labels == 2, labels >= 1) or 0.0, "labels": labels}


def offset_of(eye: Eye, shares: Sequence[Values], weight: float) -> float:
    """How far the own cup goes towards the heads' mean, on log-odds of the vertical ratio."""
    border, own = border_of(eye.logits[0] > 0), cup_of_mask((eye.logits > 0).all(0), eye.logits[0] > 0)
    if not shares or border is None or own is None:
        return 0.0
    heads = float(np.mean([log_odds(vertical_ratio_of(s, border)) for s in shares]))
    return weight * (heads - log_odds(own))


def drawn(eye: Eye, offset: float) -> NDArray[np.uint8]:
    """Labels on the photograph's own pixels."""
    logits = eye.logits.copy()
    logits[1] = redrawn(logits[1], logits[0] > 0, offset)
    return paste_labels(logits, eye.placement, OPTIC)[0]


def auroc(score: Values, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive scores higher than a negative, ties half."""
    above = score[positive][:, None] - score[~positive][None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def by_stratum(name: str, truth: Values, values: Values) -> dict[str, float]:
    """Mean in each stratum of the true ratio that holds an eye."""
    parts = {s: values[(truth >= a) & (truth < b)] for s, (a, b) in zip(STRATA, pairwise(EDGES))}
    return {f"{name} {s}": float(v.mean()) for s, v in parts.items() if len(v)}


def scored(cases: Sequence[Eye], offsets: Sequence[float]) -> tuple[dict[str, float], Values]:
    """Error, bias, r, AUROC or Dice, whole and by stratum; and every eye's absolute error."""
    masks = [drawn(e, o) for e, o in zip(cases, offsets)]
    answer = np.array([cup_of_mask(m == 2, m >= 1) or 0.0 for m in masks])
    truth = np.array([e.ratio for e in cases])
    off = answer - truth
    row = {"n": len(off), "error": np.abs(off).mean(), "bias": off.mean(), "r": np.corrcoef(answer, truth)[0, 1]}
    row |= by_stratum("bias", truth, off) | by_stratum("error", truth, np.abs(off))
    if cases[0].labels is None:
        return row | {"auroc": auroc(answer, np.array([e.ill for e in cases]))}, np.abs(off)
    pairs = [(m, e.labels) for m, e in zip(masks, cases)]
    row["OD"] = float(np.mean([dice(m >= 1, t >= 1) for m, t in pairs]))
    cups = np.array([dice(m == 2, t == 2) for m, t in pairs])
    return row | {"OC": float(cups.mean())} | by_stratum("OC", truth, cups), np.abs(off)


def against(own: Values, other: Values, draws: int = 4000) -> dict[str, float]:
    """Mean difference of absolute errors (n,) to the student's own; 95 % interval: paired bootstrap over eyes."""
    rng, gap = np.random.default_rng(0), other - own
    low, high = np.quantile(gap[rng.integers(0, len(gap), (draws, len(gap)))].mean(1), (0.025, 0.975))
    return {"error minus own": float(gap.mean()), "low": float(low), "high": float(high)}


def ways(cases: Sequence[Eye], heads: dict[str, Predictor]) -> Iterator[tuple[str, list[float]]]:
    """Name and offsets of every way."""
    yield "own", [0.0] * len(cases)
    shares = {k: [cup_shares(h, e.grid, e.logits[0] > 0) for e in cases] for k, h in heads.items()}
    known: dict[str, list[list[Values]]] = {k: [[] if s is None else [s] for s in v] for k, v in shares.items()}
    if len(known) > 1:
        known[f"{len(known)} heads"] = [[s for part in row for s in part] for row in zip(*known.values())]
    for name, found in known.items():
        for word, weight in (("alone", 1.0), ("mean", 0.5)):
            yield f"{name}, {word}", [offset_of(e, s, weight) for e, s in zip(cases, found)]


def main() -> None:
    """Read the arguments, print and write one row a way and folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--heads", nargs="+", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of refuge_like and origa_a")
    parser.add_argument("--kept", type=Path, required=True, help="folder for what the student saw and answered")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=["all"])
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    predictor = Predictor(given.model, "cpu", 1)
    heads = {p.stem: Predictor(p, "cpu", 1) for p in given.heads}
    rows: list[dict[str, Any]] = []
    for folder in ("refuge_like", "origa_a"):
        cases = looked_at(predictor, given.data / folder, given.kept / f"{folder}-{predictor.header.name}.npz")
        own: dict[str, Values] = {}
        for name, offsets in ways(cases, heads):
            for part in given.parts:
                found, errors = scored(cases[PARTS[part]], offsets[PARTS[part]])
                found |= against(own.setdefault(part, errors), errors)
                row = {k: round(float(v), 4) for k, v in found.items()}
                rows.append({"student": predictor.model_id, "set": folder, "part": part, "cup": name} | row)
                print(rows[-1], flush=True)
    if given.out:
        write_rows(given.out, rows)


if __name__ == "__main__":
    main()
