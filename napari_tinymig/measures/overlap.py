"""Agreement of two masks: Dice, symmetric HD95 and ASSD, volume and cup-to-disc errors. Never NaN, never dropped.

Empties (docs/BENCHMARK.md): truth and answer both empty -> Dice 1, distances 0, errors 0; one of them empty -> Dice 0,
distances = the diagonal of the image, relative volume error 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.binary_masks import erode
from ..tasks.task import Task


def _masks(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape or first.ndim not in (2, 3):
        raise ValueError(f"masks have shapes {first.shape} and {second.shape}; expected two equal shapes, 2-D or 3-D.")
    return first, second


def dice(answer: ArrayLike, truth: ArrayLike) -> float:
    """Dice overlap 2|A n B| / (|A| + |B|) of two masks; 1 if both are empty."""
    a, b = _masks(answer, truth)
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def diagonal(shape: Sequence[int], spacing: Sequence[float] | None = None) -> float:
    """Length of the image's diagonal, in the units of `spacing` (pixels if None)."""
    steps = np.ones(len(shape)) if spacing is None else np.asarray(spacing, float)
    return float(np.linalg.norm(np.asarray(shape) * steps))


def border(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(n, d) indices of mask pixels with a face neighbour outside the mask; the image's edge counts as outside."""
    inner = erode(mask)
    return np.argwhere(mask & ~inner)


def border_distances(
    answer: ArrayLike, truth: ArrayLike, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Distance of every border pixel of each mask to the nearest one of the other; None if a mask is empty.

    spacing: units per pixel in array order, None = pixels. Exact (KD-tree over border pixel centres).
    """
    a, b = _masks(answer, truth)
    if not a.any() or not b.any():
        return None
    steps = np.ones(a.ndim) if spacing is None else np.asarray(spacing, float)
    if steps.shape != (a.ndim,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise ValueError(f"spacing is {spacing}; expected {a.ndim} positive numbers in array order.")
    from scipy.spatial import cKDTree  # 80 ms to load, and a mask alone needs no distances

    points_a, points_b = border(a) * steps, border(b) * steps
    return cKDTree(points_b).query(points_a)[0], cKDTree(points_a).query(points_b)[0]


def distances(answer: ArrayLike, truth: ArrayLike, spacing: Sequence[float] | None = None) -> dict[str, float]:
    """{'hd95', 'assd', 'asd'} between the borders of two masks, in mm, or px without `spacing`.

    hd95: the larger of the two directed 95th percentiles (symmetric). assd: mean over both borders' pixels together.
    asd: from the answer to the truth alone (the benchmark protocol's figure). Both empty 0, one empty the diagonal.
    """
    a, b = _masks(answer, truth)
    if not a.any() and not b.any():
        return {"hd95": 0.0, "assd": 0.0, "asd": 0.0}
    both = border_distances(a, b, spacing)
    if both is None:
        far = diagonal(a.shape, spacing)
        return {"hd95": far, "assd": far, "asd": far}
    there, back = both
    return {
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float(np.concatenate(both).mean()),
        "asd": float(there.mean()),
    }


def relative_volume_error(answer: ArrayLike, truth: ArrayLike) -> float:
    """| |A| - |B| | / |B|, at most 1; 0 if both are empty, 1 if only the truth is."""
    a, b = _masks(answer, truth)
    x, y = int(a.sum()), int(b.sum())
    if y == 0:
        return 0.0 if x == 0 else 1.0
    return min(1.0, abs(x - y) / y)


def vertical_ratio(labels: ArrayLike) -> float:
    """Vertical cup-to-disc ratio of fundus labels (1 rim, 2 cup): height of the cup over height of the disc.

    0 where there is no cup, and where there is no disc.
    """
    values = np.asarray(labels)
    rows = np.flatnonzero((values >= 1).any(1)), np.flatnonzero((values == 2).any(1))
    if not len(rows[0]) or not len(rows[1]):
        return 0.0
    return float((np.ptp(rows[1]) + 1) / (np.ptp(rows[0]) + 1))


def score_case(
    answer: ArrayLike, truth: ArrayLike, task: Task, spacing: Sequence[float] | None = None
) -> dict[str, float]:
    """Every metric of one case, by name: dice_<region>, hd95_<region>, assd_<region>, asd_<region>, and per task
    vcdr_error (disc and cup) or rve_<region> (volumes).

    answer, truth: label arrays of the same shape, 2-D or 3-D. spacing: mm per pixel in array order; None = distances
    in px. Raises ValueError for shapes that differ.
    """
    a, t = np.asarray(answer), np.asarray(truth)
    out: dict[str, float] = {}
    for region in task.regions:
        mine, theirs = np.isin(a, region.labels), np.isin(t, region.labels)
        out[f"dice_{region.name}"] = dice(mine, theirs)
        out |= {f"{k}_{region.name}": v for k, v in distances(mine, theirs, spacing).items()}
        if task.input == "volume":
            out[f"rve_{region.name}"] = relative_volume_error(mine, theirs)
    if "cup_disc" in task.measures:
        out["vcdr_error"] = abs(vertical_ratio(a) - vertical_ratio(t))
    return out


def summarise_scores(rows: Sequence[dict[str, float]], task: Task, truth_empty: Sequence[bool]) -> dict[str, float]:
    """Means over cases, and for tasks whose truth can be empty the figures that a mean hides.

    rows: from `score_case`; truth_empty: whether each case's truth holds nothing. Adds median, 5th percentile and
    failure rate (Dice < .5) of each region's Dice; `dice_positive_<region>` over frames with the object and
    `false_positive_rate` over frames without (share that is not left empty).
    """
    if not rows:
        raise ValueError("no case was scored; expected at least one.")
    out = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
    for region in task.regions:
        values = np.array([r[f"dice_{region.name}"] for r in rows])
        out[f"median_dice_{region.name}"] = float(np.median(values))
        out[f"p5_dice_{region.name}"] = float(np.percentile(values, 5))
        out[f"failures_{region.name}"] = float(np.mean(values < 0.5))
        if task.can_be_empty:
            empty = np.asarray(truth_empty, bool)
            if (~empty).any():
                out[f"dice_positive_{region.name}"] = float(values[~empty].mean())
            if empty.any():
                out["false_positive_rate"] = float(np.mean(values[empty] < 1))
    return out | {"n": float(len(rows)), "n_empty": float(np.sum(truth_empty))}
