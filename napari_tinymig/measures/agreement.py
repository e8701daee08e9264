"""Two readers, or a reader and a model, over a set of masks: overlap, differences, Bland-Altman, ICC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnsupportedInput
from ..tasks.task import Task
from .bootstrap import statistic_interval
from .clinical import measure
from .overlap import dice, distances

BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Pair:
    """Agreement on one image. dice, hd95: per region; unit of hd95 is mm where the spacing is known, else px. a, b:
    measures of both readers."""

    name: str
    dice: dict[str, float]
    hd95: dict[str, float]
    unit: str
    a: dict[str, float]
    b: dict[str, float]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two series of one number.

    bias: mean of a - b. sd: its standard deviation. lower, upper: 95 % limits of agreement, bias -/+ 1.96 sd (Bland
    and Altman, Lancet 1986), each with its 95 % interval. icc: ICC(2,1), two-way random, absolute agreement, single
    measure (Shrout and Fleiss 1979; McGraw and Wong 1996), with a bootstrap interval over images. mae: mean |a - b|.
    """

    n: int
    bias: float
    sd: float
    lower: float
    upper: float
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]
    icc: float
    icc_interval: tuple[float, float]
    mae: float


def compare_masks(
    name: str, a: NDArray[Any], b: NDArray[Any], task: Task, spacing_mm: tuple[float, ...] | None = None
) -> Pair:
    """Agreement of two label arrays of one image. Raises UnsupportedInput for different shapes."""
    if a.shape != b.shape:
        raise UnsupportedInput(
            f"{name}: the masks have shapes {a.shape} and {b.shape}; expected equal grids; use masks of the same image."
        )
    spacing = spacing_mm if spacing_mm is not None and len(spacing_mm) == a.ndim else None
    overlap, distance = {}, {}
    for region in task.regions:
        one, two = np.isin(a, region.labels), np.isin(b, region.labels)
        overlap[region.name] = dice(one, two)
        distance[region.name] = distances(one, two, spacing)["hd95"]
    return Pair(
        name,
        overlap,
        distance,
        "px" if spacing is None else "mm",
        measure(a, task, spacing_mm),
        measure(b, task, spacing_mm),
    )


def agreement(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Agreement:
    """Bland-Altman and ICC of paired numbers; pairs with a NaN are left out. Everything is NaN for fewer than two."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    if x.shape != y.shape:
        raise ValueError(f"{x.size} and {y.size} numbers; expected pairs.")
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    n = x.size
    if n < 2:
        nan = (math.nan, math.nan)
        one = math.nan
        return Agreement(n, one, one, one, one, nan, nan, one, nan, one)
    difference = x - y
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    lower, upper = bias - 1.96 * sd, bias + 1.96 * sd
    # Standard error of a limit of agreement, sqrt(3 sd^2 / n): Bland and Altman 1986.
    half = _t975(n - 1) * sd * math.sqrt(3 / n)
    return Agreement(
        n,
        bias,
        sd,
        lower,
        upper,
        (lower - half, lower + half),
        (upper - half, upper + half),
        icc21(x, y),
        _icc_interval(x, y, seed),
        float(np.abs(difference).mean()),
    )


def icc21(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """ICC(2,1) of two readers: (MSR - MSE) / (MSR + MSE + 2 (MSC - MSE) / n); NaN where nothing varies."""
    table = np.stack([a, b], axis=1)  # (n, 2)
    n = len(table)
    grand = table.mean()
    rows = 2 * ((table.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((table.mean(axis=0) - grand) ** 2).sum()
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + grand
    error = (rest**2).sum() / (n - 1)
    below = rows + error + 2 * (columns - error) / n
    return float((rows - error) / below) if abs(below) > 1e-15 else math.nan


def _icc_interval(a: NDArray[np.float64], b: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Percentile bootstrap over images, 95 %; NaN for fewer than five."""
    if len(a) < 5:
        return math.nan, math.nan
    return statistic_interval(icc21, a, b, rounds=BOOTSTRAPS, seed=seed)


def _t975(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
