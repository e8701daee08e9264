"""AUROC, rank correlation and bootstrap intervals of the shift benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy import stats


def auroc(home: Iterable[float], other: Iterable[float]) -> float:
    """Chance that another image scores higher than a home image; ties count half."""
    a, b = np.asarray(list(home)), np.asarray(list(other))
    return float(np.mean((b[None] > a[:, None]) + 0.5 * (b[None] == a[:, None])))


def with_ci(statistic: Callable[..., float], *columns: np.ndarray, draws: int = 500, paired: bool = True) -> str:
    """'value [low, high]': percentile bootstrap over images, 95 %."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(draws):
        if paired:
            i = rng.integers(0, len(columns[0]), len(columns[0]))
            values.append(statistic(*(c[i] for c in columns)))
        else:
            values.append(statistic(*(c[rng.integers(0, len(c), len(c))] for c in columns)))
    low, high = np.nanquantile(values, (0.025, 0.975))
    return f"{statistic(*columns):.2f} [{low:.2f}, {high:.2f}]"


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; NaN where one side does not vary."""
    return float(stats.spearmanr(a, b)[0]) if len(np.unique(a)) > 1 and len(np.unique(b)) > 1 else float("nan")
