"""How far to trust this mask: expected Dice, calibrated probabilities, intervals for the clinical numbers.

What is learned here is learned from held-out SOURCE frames, plain and corrupted, at the end of a training run, and
travels in the model's statistics under 'trust'. On a far-away image every one of these numbers is itself an
extrapolation; docs/SHIFT.md reports how well they held on other centres.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..measures.declared import DECLARED
from .distance import distances
from .frame_record import FrameRecord
from .truth import TEMPERATURES

NOMINAL = 0.9
FEATURES = ("soft", "band", "width", "solid", "small", "large", "deep", "image")
"""What foretells Dice, each turned so that more is better; their weights cannot be negative (chosen)."""
NESTED = ("cup",)
"""Regions whose doubtful band does not count (chosen on refuge_like, a development set: corrupted source images say
that it foretells the cup's Dice, another camera's do not, .50 with it and .74 without)."""
RIDGE = 3.0
RATIO_FLOOR, AREA_FLOOR = 0.05, 0.1
"""Added to the spread between thresholds: what a reader's own hand would move (chosen)."""


def calibration_error(counts: NDArray[np.float64]) -> float:
    """Expected calibration error of `reliability` counts: mean over pixels of |mean probability - true share|."""
    n = counts[:, 0].sum()
    return float(np.abs(counts[:, 1] - counts[:, 2]).sum() / n) if n else math.nan


def best_temperature(truths: Sequence[dict[str, Any]]) -> float:
    """Temperature of least negative log likelihood in the border bands (Guo et al., ICML 2017), from a fixed list."""
    total = sum((np.asarray(t["likelihood"]) for t in truths), np.zeros(len(TEMPERATURES)))
    return float(TEMPERATURES[int(np.argmin(total))])


def fit_trust(statistics: dict[str, Any], records: Sequence[FrameRecord]) -> dict[str, Any]:
    """Expected Dice, temperature and intervals from held-out frames with truth; {} for fewer than 8.

    Expected Dice: non-negative ridge regression of logit Dice on what the answer and its shift look like, corrupted
    frames included. Intervals: the 90 % quantile of |true - measured| over the spread between thresholds, from
    untouched frames alone (`interval_quantile`).
    """
    if len(records) < 8:
        return {}
    names = [k.removesuffix("_dice") for k in records[0].truth if k.endswith("_dice")]
    clean = [r for r in records if not r.corruption] or list(records)
    counts = np.sum([r.truth["reliability"] for r in clean], axis=0)
    return {
        "n": len(records),
        "clean": len(clean),
        "temperature": best_temperature([r.truth for r in clean]),
        "border_ece": round(calibration_error(counts), 4),
        "dice": {name: _fit_dice(statistics, records, name) for name in names},
        "interval": _fit_intervals(clean, names),
    }


def _features(
    statistics: dict[str, Any], record: FrameRecord, name: str, raw: dict[str, float] | None = None
) -> NDArray[np.float64]:
    """(8,) numbers that foretell a region's Dice; see FEATURES. raw: its `distances` where they are known already."""
    out, parts = record.output, statistics["calibration"]["parts"]
    u = {
        k: float(np.clip((math.log(v + 1e-3) - parts[k]["centre"]) / parts[k]["spread"], -2, 6))
        for k, v in (raw or distances(statistics, record)).items()
    }
    deep = [u[k] for k in ("stage 3", "stage 4") if k in u] or [0.0]
    area, known = out[f"{name}_area"], statistics["output"].get(f"{name}_area")
    size = math.log((area + 1e-4) / ((known["median"] if known else area) + 1e-4))
    soft = min(max(out[f"{name}_soft_dice"], 0.02), 0.995)
    width = (out[f"{name}_area_high"] - out[f"{name}_area_low"]) / (area + 1e-4)
    return np.array(
        [
            math.log(soft / (1 - soft)),
            -math.log(out[f"{name}_band"] + 0.1),
            -math.log(width + 0.02),
            out[f"{name}_solid"],
            -min(max(-size, 0.0), 3.0),
            -min(max(size, 0.0), 3.0),
            -sum(deep) / len(deep),
            -u["image"],
        ]
    )


def _logit(dice: NDArray[Any]) -> NDArray[np.float64]:
    d = np.clip(dice, 0.02, 0.99)
    return np.log(d / (1 - d))


def _fit_dice(statistics: dict[str, Any], records: Sequence[FrameRecord], name: str) -> dict[str, Any]:
    """Non-negative ridge weights on standardised features, and the 10th and 90th percentile of what they miss."""
    from scipy import optimize  # only training needs it, and it is slow to load

    x = np.stack([_features(statistics, r, name) for r in records])  # (n, 8)
    y = _logit(np.array([r.truth[f"{name}_dice"] for r in records]))
    mean, sd = x.mean(0), np.maximum(x.std(0), 0.02)
    z = (x - mean) / sd
    if name in NESTED:
        z[:, FEATURES.index("band")] = 0
    damped = np.vstack([z, math.sqrt(RIDGE) * np.eye(z.shape[1])])
    weights, _ = optimize.nnls(damped, np.concatenate([y - y.mean(), np.zeros(z.shape[1])]))
    missed = y - (y.mean() + z @ weights)
    return {
        "mean": np.round(mean, 4).tolist(),
        "sd": np.round(sd, 4).tolist(),
        "weights": np.round(weights, 4).tolist(),
        "offset": round(float(y.mean()), 4),
        "missed": np.round(np.quantile(missed, (0.1, 0.9)), 3).tolist(),
    }


def expected_dice(
    statistics: dict[str, Any], records: Sequence[FrameRecord], raw: Sequence[dict[str, float]] | None = None
) -> dict[str, tuple[float, float, float]]:
    """Region -> (expected Dice, low, high: 80 % range) of a photograph or a volume; {} if the model cannot say.

    A volume's expectation is the mean over its slices, each weighted by its area. raw: the `distances` of the records,
    where they are known already.
    """
    out: dict[str, tuple[float, float, float]] = {}
    parts = raw or [distances(statistics, r) for r in records]
    for name, fit in statistics.get("trust", {}).get("dice", {}).items():
        z = np.stack([_features(statistics, r, name, d) for r, d in zip(records, parts)])  # (n, 8)
        y = fit["offset"] + (np.clip((z - fit["mean"]) / fit["sd"], -6, 6)) @ np.asarray(fit["weights"])  # (n,)
        weight = np.array([r.output[f"{name}_area"] for r in records]) + 1e-6
        three = [1 / (1 + np.exp(-(y + shift))) for shift in (0.0, *fit["missed"])]
        middle, low, high = (float(np.average(v, weights=weight)) for v in three)
        out[name] = (round(middle, 4), round(min(low, middle), 4), round(max(high, middle), 4))
    return out


def uncertainty_of(expected: dict[str, tuple[float, float, float]], disagreement: float | None) -> float | None:
    """1 - expected Dice, the mean over regions; further looks that disagree can only raise it. None if neither says."""
    doubts = [1 - middle for middle, _, _ in expected.values()]
    if disagreement is not None:
        doubts = [max(disagreement, sum(doubts) / len(doubts) if doubts else 0.0)]
    return round(sum(doubts) / len(doubts), 4) if doubts else None


def _spread(low: float, high: float, floor: float) -> float:
    """Half of what two thresholds make of a value, plus what a reader's hand would."""
    return 0.5 * abs(high - low) + floor


def _fit_intervals(clean: Sequence[FrameRecord], names: Sequence[str]) -> dict[str, Any]:
    """Factors: 'ratio' in units of the threshold spread; '<name>_area' the same for relative areas."""
    out: dict[str, Any] = {}
    ratio = [
        abs(r.truth["ratio"] - r.output["ratio"]) / _spread(r.output["ratio_low"], r.output["ratio_high"], RATIO_FLOOR)
        for r in clean
        if all(
            math.isfinite(v)
            for v in (r.truth["ratio"], r.output["ratio"], r.output["ratio_low"], r.output["ratio_high"])
        )
    ]
    if len(ratio) >= 8:
        out["ratio"] = {"factor": round(interval_quantile(ratio), 3), "n": len(ratio)}
    for name in names:
        by_case: dict[str, list[FrameRecord]] = {}
        for i, r in enumerate(clean):
            by_case.setdefault(r.case or str(i), []).append(r)
        missed = [_missed_area(records, name) for records in by_case.values()]
        missed = [m for m in missed if math.isfinite(m)]
        if missed:
            out[f"{name}_area"] = {"factor": round(interval_quantile(missed), 3), "n": len(missed)}
    return out


def _missed_area(records: Sequence[FrameRecord], name: str) -> float:
    """|log true / measured| of a case's summed area over its relative threshold spread; NaN for an empty one."""
    true = sum(r.truth[f"{name}_area"] for r in records)
    area, low, high = (sum(r.output[f"{name}_area{end}"] for r in records) for end in ("", "_low", "_high"))
    if min(true, area) <= 0:
        return math.nan
    return abs(math.log(true / area)) / _spread(low / area, high / area, AREA_FLOOR)


FEWEST_CASES = 8
ENOUGH = 30
"""Cases from which order statistics are trusted; with fewer, the 90 % quantile of a dozen is merely its maximum."""


def interval_quantile(scores: Sequence[float], nominal: float = NOMINAL) -> float:
    """Factor that covers `nominal` of new scores: conformal from 30 cases on, Student's t times the root mean square
    below (normal errors around zero; chosen, and measured in benchmarks/shift.md)."""
    if len(scores) >= ENOUGH:
        return conformal(scores, nominal)
    from scipy import stats  # only training needs it, and it is slow to load

    rms = math.sqrt(float(np.mean(np.square(scores))))
    return float(stats.t.ppf(0.5 + nominal / 2, len(scores))) * rms


def conformal(scores: Sequence[float], nominal: float = NOMINAL) -> float:
    """Split-conformal quantile: the ceil((n + 1) nominal)-th smallest score, the largest if n is too small for that
    (then coverage is n / (n + 1); Vovk et al. 2005)."""
    ordered = np.sort(np.asarray(scores, float))
    return float(ordered[min(math.ceil((len(ordered) + 1) * nominal), len(ordered)) - 1])


def interval_factor(statistics: dict[str, Any], name: str) -> tuple[float, int] | None:
    """Factor of 'ratio' or '<region>_area' and the number of source cases behind it; None if unknown or
    learned from fewer than 8 cases: an interval from one volume would be a guess."""
    fit = statistics.get("trust", {}).get("interval", {}).get(name)
    return (float(fit["factor"]), int(fit["n"])) if fit and fit["n"] >= FEWEST_CASES else None


def intervals(statistics: dict[str, Any], records: Sequence[FrameRecord]) -> dict[str, tuple[float, float]]:
    """90 % intervals as FACTORS of the measured value, per 'ratio' and '<region>_area': (low, high), low <= 1 <= high.

    Multiply the value measured in the native grid (vCDR, volume) with them. Coverage was aimed at on source frames;
    how far it holds elsewhere is in docs/SHIFT.md. The interval of a volume sums its slices.
    """
    out: dict[str, tuple[float, float]] = {}
    for name in statistics.get("trust", {}).get("interval", {}):
        factor, cases = interval_factor(statistics, name) or (math.nan, 0)
        middle, low, high = (
            sum(v for v in (r.output.get(f"{name}{end}", math.nan) for r in records) if math.isfinite(v))
            for end in ("", "_low", "_high")
        )
        if middle <= 0 or not cases:
            continue
        if name == "ratio":
            half = factor * _spread(low, high, RATIO_FLOOR) / middle
            out[name] = (round(max(0.0, 1 - half), 4), round(1 + half, 4))
        else:
            half = min(factor * _spread(low / middle, high / middle, AREA_FLOOR), 3.0)
            out[name] = (round(math.exp(-half), 4), round(math.exp(half), 4))
    return out


def measured_intervals(
    measures: Mapping[str, float], statistics: dict[str, Any], records: Sequence[FrameRecord]
) -> dict[str, tuple[float, float]]:
    """Measure -> (low, high), 90 % nominal: the factors of `intervals` times what was measured in the native grid."""
    out: dict[str, tuple[float, float]] = {}
    keys = {m.interval: m.key for m in DECLARED.values() if m.interval}
    for name, (low, high) in intervals(statistics, records).items():
        value = measures.get(keys.get(name, ""), math.nan)
        if math.isfinite(value):
            most = 1.0 if name == "ratio" else math.inf
            out[keys[name]] = round(value * low, 4), round(min(value * high, most), 4)
    return out
