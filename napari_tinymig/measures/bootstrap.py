"""95 % percentile bootstrap: how far a number would move with other images, other cases or other persons."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LIMITS = (2.5, 97.5)  # percentiles

Interval = tuple[float, float]


def drawn(n: int, rounds: int, seed: int = 0) -> NDArray[np.int64]:
    """(rounds, n) numbers below n, drawn with replacement: which ones every round takes."""
    return np.random.default_rng(seed).integers(0, n, (rounds, n))


def drawn_counts(n: int, rounds: int, seed: int = 0) -> NDArray[np.int64]:
    """(rounds, n): how often every round takes each of n. The same law as `drawn`, another stream of numbers."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=rounds)


def percentile_interval(values: ArrayLike) -> Interval:
    """The middle 95 % of the rounds' values, those that are finite; (NaN, NaN) where none is."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.percentile(finite, LIMITS)
    return float(low), float(high)


def mean_interval(values: ArrayLike, rounds: int, seed: int = 0) -> Interval:
    """Of the mean of (n,) values."""
    x = np.asarray(values, np.float64)
    return percentile_interval(x[drawn(len(x), rounds, seed)].mean(1))


def statistic_interval(
    statistic: Callable[..., float], *columns: NDArray[Any], rounds: int, seed: int = 0, paired: bool = True
) -> Interval:
    """Of any statistic of columns: rows of all columns are drawn together, or each column's own where not `paired`."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(rounds):
        shared = rng.integers(0, len(columns[0]), len(columns[0])) if paired else None
        values.append(statistic(*(c[rng.integers(0, len(c), len(c)) if shared is None else shared] for c in columns)))
    return percentile_interval(values)
