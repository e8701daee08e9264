"""Glaucoma or healthy on origa_a by a probe of a frozen backbone, beside the plain ratio, and both together.

python benchmarks/eye_probe.py --data DATA/fundus --weights WEIGHTS --kept runs/cup_heads -o benchmarks/eye_probe.csv

Views: the square of 2.2 disc diameters that `optic-sdg` looks at, cut from the photograph itself, and the whole field.
Features: of the view and its mirror image, averaged, so that left and right eyes look alike. The probe is the product's
(`tinymig probe --method lp`): logistic regression, penalty chosen inside the training folds. Five folds of whole blocks
of 13 files in the order of names, because both eyes of a person may lie beside each other and the table names no
persons; repeated with blocks that start elsewhere. `ratio`: the product's vertical ratio, nothing fitted. `both`: a
logistic regression of the ratio's log-odds and the probe's answer, itself out of fold.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from csv_rows import read_rows, write_rows
from cup_heads import Eye, auroc, drawn, looked_at, offset_of
from napari_tinymig.training.classifier.backbone import folded, open_backbone
from napari_tinymig.training.classifier.linear_probe import fit_linear_probe, mean_cross_entropy
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.base.geometry import place, whole_box
from napari_tinymig.predict.cup_head import cup_of_mask, cup_shares, log_odds
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.classify import BackboneSpec

BACKBONES = (
    ("mobilenetv2_100", 224),
    ("tf_efficientnet_lite0", 224),
    ("tf_efficientnet_lite2", 224),
    ("tf_efficientnet_lite2", 320),
)
PENALTIES = (0.1, 1.0, 10.0)
FOLDS, BLOCK = 5, 13
Values = NDArray[np.float64]


def product_ratio(cases: list[Eye], student: Predictor) -> Values:
    """(n,) the ratio as the product gives it, cup head included."""
    head, out = student.cup_head, []
    for eye in cases:
        share = cup_shares(head, eye.grid, eye.logits[0] > 0) if head else None
        labels = drawn(eye, offset_of(eye, [] if share is None else [share], 0.5))
        out.append(cup_of_mask(labels == 2, labels >= 1) or 0.0)
    return np.array(out)


def views(folder: Path, cases: list[Eye], names: list[str], size: int, kind: str) -> NDArray[np.uint8]:
    """(n, size, size, 3) of every eye: 'disc' or 'field'."""
    out = np.empty((len(cases), size, size, 3), np.uint8)
    for row, eye, name in zip(out, cases, names):
        pixels = np.asarray(Image.open(folder / "images" / name).convert("RGB"))
        box = eye.placement.box if kind == "disc" else whole_box(pixels.shape)
        row[:] = np.rint(np.clip(place(pixels, box, size)[0], 0, 255))
    return out


@torch.no_grad()
def features(pixels: NDArray[np.uint8], name: str, weights: Path, size: int) -> NDArray[np.float32]:
    """(n, F) mean of the features of each view and of its mirror image."""
    spec = BackboneSpec(name=name, weights=str(next(weights.glob(f"{name}.*"))), size=size)
    body, rows = folded(open_backbone(spec)), []
    for some in np.array_split(pixels, -(-len(pixels) // 16)):
        x = body.normalise(torch.from_numpy(some)).contiguous(memory_format=torch.channels_last)
        rows.append(((body(x) + body(x.flip(3))) / 2).numpy())
    return np.concatenate(rows)


def folds(n: int, start: int) -> NDArray[np.int64]:
    """(n,) fold of each eye: whole blocks of neighbours, dealt out in turn."""
    return ((np.arange(n) + start) // BLOCK) % FOLDS


def out_of_fold(x: NDArray[np.float32], y: NDArray[np.int64], fold: NDArray[np.int64], penalty: float) -> Values:
    """(n,) log-odds of glaucoma by probes that saw no eye of the same fold."""
    answer = np.zeros(len(y))
    for k in np.unique(fold):
        own = fold == k
        answer[own] = _log_odds(fit_linear_probe(x[~own], y[~own], 2, penalty, _evened(y[~own])), x[own])
    return answer


def chosen_penalty(x: NDArray[np.float32], y: NDArray[np.int64], fold: NDArray[np.int64]) -> float:
    """The penalty with the lowest cross-entropy out of these folds."""
    losses = {}
    for p in PENALTIES:
        answer = out_of_fold(x, y, fold, p)
        losses[p] = mean_cross_entropy(np.stack([np.zeros(len(y)), answer], 1).astype(np.float32), y)
    return min(losses, key=lambda p: losses[p])


def _evened(y: NDArray[np.int64]) -> NDArray[np.float32]:
    """Both classes weigh alike."""
    return (len(y) / (2 * np.bincount(y, minlength=2))).astype(np.float32)


def _log_odds(probe: Any, x: NDArray[np.float32]) -> Values:
    logits = probe.logits(x)
    return np.asarray(logits[:, 1] - logits[:, 0], np.float64)


def answers(
    ratio: Values, x: NDArray[np.float32], y: NDArray[np.int64], fold: NDArray[np.int64]
) -> Iterator[tuple[str, Values]]:
    """(n,) log-odds by the probe and by ratio and probe; penalty and pair are learned without the fold they answer."""
    probe, both = np.zeros(len(y)), np.zeros(len(y))
    for k in np.unique(fold):
        own, rest = fold == k, fold != k
        penalty = chosen_penalty(x[rest], y[rest], fold[rest])
        inner = out_of_fold(x[rest], y[rest], fold[rest], penalty)
        probe[own] = _log_odds(fit_linear_probe(x[rest], y[rest], 2, penalty, _evened(y[rest])), x[own])
        pair = fit_linear_probe(_pair(ratio[rest], inner), y[rest], 2, 1e-3, _evened(y[rest]))
        both[own] = _log_odds(pair, _pair(ratio[own], probe[own]))
    yield "probe", probe
    yield "both", both


def _pair(ratio: Values, probe: Values) -> NDArray[np.float32]:
    return np.stack([[log_odds(r) for r in ratio], probe], 1).astype(np.float32)


def against(ratio: Values, other: Values, ill: NDArray[np.bool_], draws: int = 2000) -> dict[str, float]:
    """AUROC of `other` less that of the ratio; 95 % interval: paired bootstrap over eyes."""
    rng, gaps = np.random.default_rng(0), []
    for _ in range(draws):
        rows = rng.integers(0, len(ill), len(ill))
        gaps.append(auroc(other[rows], ill[rows]) - auroc(ratio[rows], ill[rows]))
    low, high = np.quantile(gaps, (0.025, 0.975))
    return {"minus ratio": auroc(other, ill) - auroc(ratio, ill), "low": float(low), "high": float(high)}


def rows_of(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a way of telling, and start of the blocks."""
    folder = given.data / "origa_a"
    with (folder / "vcdr.csv").open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    student = Predictor("optic-sdg", "cpu", 1)
    cases = looked_at(student, folder, given.kept / "origa_a-optic-sdg.npz")
    names = sorted(r["file"] for r in table)
    if len(names) != len(cases):
        raise ValueError(f"{len(cases)} eyes with a disc, {len(names)} in the table; expected every eye to have one")
    ill, ratio = np.array([e.ill for e in cases]), product_ratio(cases, student)
    experts, y = np.array([e.ratio for e in cases]), np.array([e.ill for e in cases], np.int64)
    yield {"way": "experts' ratio", "auroc": auroc(experts, ill), "n": len(ill), "ill": int(ill.sum())}
    yield {"way": "ratio of optic-sdg", "auroc": auroc(ratio, ill)} | against(ratio, ratio, ill)
    for name, size in (pair.split(":") for pair in given.pairs):
        for kind in given.views:
            x = features(views(folder, cases, names, int(size), kind), name, given.weights, int(size))
            for start in given.starts:
                where = {"backbone": name, "size": size, "view": kind, "start": start}
                for way, answer in answers(ratio, x, y, folds(len(y), start)):
                    yield {"way": way} | where | {"auroc": auroc(answer, ill)} | against(ratio, answer, ill)


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """What a row is about; of equal ones the last stays in the table."""
    return tuple(str(row.get(k) or "0") for k in ("way", "backbone", "size", "view", "start"))


def main() -> None:
    """Read the arguments, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of origa_a")
    parser.add_argument("--weights", type=Path, required=True, help="folder of timm's weights")
    parser.add_argument("--kept", type=Path, required=True, help="what the student saw (benchmarks/cup_heads.py)")
    parser.add_argument("--pairs", nargs="+", default=[f"{b}:{s}" for b, s in BACKBONES], help="BACKBONE:SIDE")
    parser.add_argument("--views", nargs="+", choices=["disc", "field"], default=["disc", "field"])
    parser.add_argument("--starts", nargs="+", type=int, default=[0, 4, 9], help="where the first block begins")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows(given.out)
    for row in rows_of(given):
        new = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        print(new, flush=True)
        rows = [r for r in rows if key_of(r) != key_of(new)] + [new]
        write_rows(given.out, rows)


if __name__ == "__main__":
    main()
