"""AUROC, rank correlation and bootstrap intervals of the shift benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy import stats

from napari_tinymig.measures.bootstrap import statistic_interval


def auroc(home: Iterable[float], other: Iterable[float]) -> float:
    """Chance that another image scores higher than a home image; ties count half."""
    a, b = np.asarray(list(home)), np.asarray(list(other))
    return float(np.mean((b[None] > a[:, None]) + 0.5 * (b[None] == a[:, None])))


def with_ci(statistic: Callable[..., float], *columns: np.ndarray, draws: int = 500, paired: bool = True) -> str:
    """'value [low, high]': percentile bootstrap over images, 95 %."""
    low, high = statistic_interval(statistic, *columns, rounds=draws, paired=paired)
    return f"{statistic(*columns):.2f} [{low:.2f}, {high:.2f}]"


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; NaN where one side does not vary."""
    return float(stats.spearmanr(a, b)[0]) if len(np.unique(a)) > 1 and len(np.unique(b)) > 1 else float("nan")
