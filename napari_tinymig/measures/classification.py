"""How good a classifier is: accuracy, balanced accuracy, AUROC, calibration, confusion counts, bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from .bootstrap import drawn_counts, percentile_interval

RESAMPLES = 2000

FEWEST_CASES = 10
"""Persons below which a table shows no interval (chosen): any would be most of the scale."""


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of one set of images; NaN = cannot be computed (a class is absent).

    confusion: counts, rows truth, columns answer. intervals: name -> (low, high), 95 % bootstrap over cases.
    n: images; cases: persons. absent: classes without an image in this set.
    """

    accuracy: float
    balanced_accuracy: float
    auroc: float
    ece: float
    cross_entropy: float
    confusion: NDArray[np.int64]
    intervals: dict[str, tuple[float, float]]
    n: int
    cases: int
    absent: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a header or a table; NaN becomes None."""
        numbers = {k: getattr(self, k) for k in ("accuracy", "balanced_accuracy", "auroc", "ece", "cross_entropy")}
        clean: dict[str, Any] = {k: (v if math.isfinite(v) else None) for k, v in numbers.items()}
        clean["intervals"] = {
            k: [v if math.isfinite(v) else None for v in interval] for k, interval in self.intervals.items()
        }
        return clean | {
            "confusion": self.confusion.tolist(),
            "n": self.n,
            "cases": self.cases,
            "absent": list(self.absent),
        }


def auroc(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Area under the ROC curve; with more than two classes the mean of one-against-the-rest over classes present.

    probabilities: (N, C); labels: (N,). Ties count half. NaN when fewer than two classes are present.
    """
    present = np.unique(labels)
    if len(present) < 2:
        return math.nan
    if probabilities.shape[1] == 2:
        return _binary_auroc(probabilities[:, 1] - probabilities[:, 0], labels == 1)
    return float(np.mean([_binary_auroc(probabilities[:, c], labels == c) for c in present]))


def _binary_auroc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Mann-Whitney: the share of (positive, negative) pairs in the right order."""
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def expected_calibration_error(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins (Guo et al. 2017)."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(right[which == b].mean() - confidence[which == b].mean()) * (which == b).mean()
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def confusion_counts(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """(C, C) counts: rows are the truth, columns the answer."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def score_classification(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    classes: Sequence[str],
    cases: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ClassificationScores:
    """Every score of (N, C) probabilities against (N,) labels; intervals resample cases (persons), not images.

    A class without images is left out of balanced accuracy and AUROC and named in `absent`. ValueError for no image.
    """
    if len(labels) == 0:
        raise ValueError("no image to score; expected at least one")
    labels = np.asarray(labels, np.int64)
    predicted = probabilities.argmax(1)
    confusion = confusion_counts(predicted, labels, len(classes))
    totals = confusion.sum(1)
    recall = confusion.diagonal()[totals > 0] / totals[totals > 0]
    truth_p = np.clip(probabilities[np.arange(len(labels)), labels].astype(np.float64), 1e-12, 1)
    return ClassificationScores(
        accuracy=float((predicted == labels).mean()),
        balanced_accuracy=float(recall.mean()),
        auroc=auroc(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
        cross_entropy=float(-np.log(truth_p).mean()),
        confusion=confusion,
        intervals=_intervals(probabilities, labels, list(cases or range(len(labels))), resamples, seed),
        n=len(labels),
        cases=len(set(cases or range(len(labels)))),
        absent=tuple(c for c, t in zip(classes, totals) if t == 0),
    )


def _intervals(
    probabilities: NDArray[Any], labels: NDArray[np.int64], cases: list[Any], resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over resampled cases; every image of a drawn case counts as often as it was drawn.

    An area of 1 in every draw gets the exact binomial limit of the smaller class instead (Clopper and Pearson 1934).
    """
    if resamples == 0:
        return {}
    _, case = np.unique([str(c) for c in cases], return_inverse=True)
    counts = drawn_counts(int(case.max()) + 1, resamples, seed)  # (R, cases)
    weights = counts[:, case].astype(np.float64)  # (R, N)
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = np.stack(
            [(weights[:, labels == c] @ right[labels == c]) / weights[:, labels == c].sum(1) for c in np.unique(labels)]
        )
        values = {
            "accuracy": (weights @ right) / weights.sum(1),
            "balanced_accuracy": recalls.mean(0),
            "auroc": _weighted_aurocs(probabilities, labels, weights),
        }
    intervals = {name: percentile_interval(v) for name, v in values.items()}
    low, high = intervals["auroc"]
    if low == high == 1.0:  # every draw tells the classes apart as well, which proves little of few cases
        smallest = min(len(np.unique(case[labels == c])) for c in np.unique(labels))
        intervals["auroc"] = (0.025 ** (1 / smallest), 1.0)
    return intervals


def _weighted_aurocs(
    probabilities: NDArray[Any], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AUROC of every resample (R,), as `auroc` would give with each image repeated by its weight."""
    present = np.unique(labels)
    if len(present) < 2:
        return np.full(len(weights), np.nan)
    if probabilities.shape[1] == 2:
        return _weighted_binary(probabilities[:, 1] - probabilities[:, 0], labels == 1, weights)
    return np.mean([_weighted_binary(probabilities[:, c], labels == c, weights) for c in present], axis=0)


def _weighted_binary(
    scores: NDArray[Any], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    values, group = np.unique(scores, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(values)))
    pos = np.add.reduceat((weights * positive)[:, order], starts, axis=1)  # (R, values)
    neg = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
    below = np.cumsum(neg, 1) - neg
    return (pos * (below + 0.5 * neg)).sum(1) / (pos.sum(1) * neg.sum(1))
