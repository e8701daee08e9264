"""What differences of a benchmark are worth: means over seeds, patient-cluster intervals, Holm, verdicts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.measures.bootstrap import drawn, percentile_interval

BOOTSTRAP_ROUNDS = 10_000
EQUAL_POINTS = 0.5
FEW_PATIENTS = 15
"""Below this a percentile bootstrap of the mean covers clearly less than its 95 %: 73 % at n = 3, 83 % at 5, 90 % at
10, 93 % at 15 (normal differences, 2,000 samples of each size; `tests/test_benchmark.py` repeats it for 5)."""

Row = dict[str, Any]


def mean_over_seeds(rows: Sequence[Row], metric: str) -> tuple[float, float, int]:
    """Mean of the seeds' means, their sample standard deviation (NaN for one seed), number of seeds."""
    by_seed: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        by_seed[row["seed"]].append(row[metric])
    means = [float(np.mean(v)) for v in by_seed.values()]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan, len(means)


def unweighted_mean(rows: Sequence[Row], metric: str) -> tuple[float, float, int]:
    """As `mean_over_seeds`, where each seed's mean is the unweighted mean over (source, target) pairs."""
    by: dict[float, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by[row["seed"]][(row["source"], row["target"])].append(row[metric])
    means = [float(np.mean([np.mean(v) for v in pairs.values()])) for pairs in by.values()]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan, len(means)


def paired_differences(rows: Sequence[Row], base: Sequence[Row], metric: str) -> tuple[NDArray, list[str]]:
    """Difference to the baseline of every (source, target, case), averaged over the seeds both have; its patients."""
    shared = {r["seed"] for r in rows} & {r["seed"] for r in base}

    def means(some: Sequence[Row]) -> dict[tuple[str, str, str, str], float]:
        values: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
        for r in some:
            if r["seed"] in shared:
                values[(r["source"], r["target"], r["patient"], r["case"])].append(r[metric])
        return {k: float(np.mean(v)) for k, v in values.items()}

    ours, theirs = means(rows), means(base)
    keys = sorted(ours.keys() & theirs.keys())
    return np.array([ours[k] - theirs[k] for k in keys]), ["/".join(k[1:3]) for k in keys]


def cluster_bootstrap(
    differences: NDArray, clusters: Sequence[str], rounds: int = BOOTSTRAP_ROUNDS, seed: int = 0
) -> tuple[float, float, float, float]:
    """(mean, low, high, p): percentile 95 % interval of the mean when whole patients are drawn with replacement.

    p: two-sided, the share of draws beyond zero, doubled; at least 1 / rounds, and at least 2^(1 - n), the smallest p
    that an exact sign-flip test of n patients can give; NaN for a single patient. The interval of few patients is too
    narrow and is left as it is (`FEW_PATIENTS`).
    """
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(index, differences), np.bincount(index)
    mean = float(differences.mean())
    if len(names) < 2:
        return mean, math.nan, math.nan, math.nan
    draws = drawn(len(names), rounds, seed)
    means = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = percentile_interval(means)
    beyond = min(float((means <= 0).mean()), float((means >= 0).mean()))
    smallest = max(1 / rounds, 2.0 ** (1 - len(names)))
    return mean, low, high, min(1.0, max(2 * beyond, smallest))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the given order; NaN stays and is not counted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, running = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[i] = running
    return adjusted


def difference_word(low: float, high: float, p: float) -> str:
    """better, worse, equal (interval within half a point) or open."""
    if math.isnan(low):
        return "one patient: no test"
    if max(abs(low), abs(high)) * 100 <= EQUAL_POINTS:
        return "equal"
    if p < 0.05 and low > 0:
        return "better"
    if p < 0.05 and high < 0:
        return "worse"
    return "open"
