"""The cup threshold of a new centre, from a handful of its annotated cases.

Cup borders are drawn by schools (4-of-4 and 2-of-4 agreement differ by half the cup's area), so a student that finds
the same cup everywhere is still wrong where another border is taught. One number mends most of that: the probability
from which a pixel is cup. It is chosen on k cases, pulled towards the model's own where k is small, and kept only if
it also helps the cases it was not chosen on. Everything here is chosen; no paper's formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measures.overlap import dice, vertical_ratio

LOGITS = np.linspace(-4.0, 4.0, 65)
"""Thresholds that are tried, as log-odds: probabilities .018 to .982."""
VCDR_WEIGHT = 1.0
"""Cost of a case: (1 - Dice of the cup) + this times the absolute error of the vertical cup-to-disc ratio."""
PRIOR_CASES = 2.0
"""How many cases the model's own threshold counts for."""


@dataclass(frozen=True)
class CupCalibration:
    """The threshold to use and what it is worth.

    threshold: cup probability. default: the model's own. kept: False where the default is kept because the new one
    did not help cases it had not seen. cases: how many were used. dice_before, dice_after and vcdr_error_before,
    vcdr_error_after: means over the cases, 'after' with each case left out in turn (honest for more than one case;
    equal to 'before' where the default is kept). text: one sentence for the user.
    """

    threshold: float
    default: float
    kept: bool
    cases: int
    dice_before: float
    dice_after: float
    vcdr_error_before: float
    vcdr_error_after: float
    text: str

    @property
    def thresholds(self) -> dict[str, float]:
        """What goes into `ModelHeader.thresholds`."""
        return {"cup": self.threshold}


def apply_cup_threshold(disc: NDArray[np.floating], cup: NDArray[np.floating], threshold: float) -> NDArray[np.uint8]:
    """Labels (0, 1 rim, 2 cup) of probability maps (H, W): disc from .5, cup from `threshold` inside the disc."""
    inside = disc >= 0.5
    labels = inside.astype(np.uint8)
    labels[inside & (cup >= threshold)] = 2
    return labels


def calibrate_cup(
    probabilities: Sequence[NDArray[np.floating]],
    truths: Sequence[NDArray[np.uint8]],
    default: float = 0.5,
    prior_cases: float = PRIOR_CASES,
) -> CupCalibration:
    """The cup threshold of a centre from its annotated cases.

    probabilities: per case (2, H, W), disc then cup, as `Prediction.probabilities`. truths: per case (H, W) labels 0,
    1, 2; 255 = not annotated. default: the model's own threshold, 0 to 1. prior_cases: weight of the default. Raises
    ValueError for no cases, shapes that do not agree, and cases without any cup or rim annotated.
    """
    _check(probabilities, truths, default)
    prior = _logit(default)
    curves = [_scores(p, t) for p, t in zip(probabilities, truths, strict=True)]  # each (65, 2): Dice, vCDR error
    own = [_scores(p, t, [prior])[0] for p, t in zip(probabilities, truths, strict=True)]
    before = np.mean(own, axis=0)
    chosen = _choose(curves, prior, prior_cases)
    n = len(curves)
    if n == 1:
        after = _scores(probabilities[0], truths[0], [chosen])[0]
        helps = bool(_cost(after) < _cost(before))
    else:
        held_out = []
        for i in range(n):
            t = _choose(curves[:i] + curves[i + 1 :], prior, prior_cases)
            held_out.append(_scores(probabilities[i], truths[i], [t])[0])
        after = np.mean(held_out, axis=0)
        helps = bool(_cost(after) < _cost(before))
    threshold = float(1 / (1 + np.exp(-chosen))) if helps else default
    after = after if helps else before
    return CupCalibration(
        threshold=threshold,
        default=default,
        kept=helps,
        cases=n,
        dice_before=float(before[0]),
        dice_after=float(after[0]),
        vcdr_error_before=float(before[1]),
        vcdr_error_after=float(after[1]),
        text=_sentence(helps, n, threshold, default, before, after),
    )


def _check(probabilities: Sequence[NDArray], truths: Sequence[NDArray], default: float) -> None:
    if not len(probabilities) or len(probabilities) != len(truths):
        raise ValueError(
            f"{len(probabilities)} predictions and {len(truths)} annotations; expected as many, at least 1"
        )
    if not 0 < default < 1:
        raise ValueError(f"default threshold is {default}; expected a probability between 0 and 1")
    for p, t in zip(probabilities, truths, strict=True):
        if p.ndim != 3 or p.shape[0] != 2 or p.shape[1:] != t.shape:
            raise ValueError(f"probabilities {p.shape} and annotation {t.shape}; expected (2, H, W) and (H, W)")
        if not (t == 2).any() or not (t == 1).any():
            raise ValueError(
                "an annotation holds no cup or no rim (labels 2 and 1); expected both to calibrate the cup"
            )


def _scores(p: NDArray, truth: NDArray, logits: Sequence[float] | NDArray = LOGITS) -> NDArray[np.float64]:
    """(thresholds, 2): cup Dice and vCDR error of one case at every threshold; unannotated pixels count nowhere."""
    known = truth != 255
    wanted = np.where(known, truth, 0)
    rows = []
    for x in logits:
        labels = apply_cup_threshold(p[0], p[1], 1 / (1 + np.exp(-x))) * known
        rows.append((dice(labels == 2, wanted == 2), abs(vertical_ratio(labels) - vertical_ratio(wanted))))
    return np.asarray(rows)


def _cost(scores: NDArray) -> NDArray:
    return (1 - scores[..., 0]) + VCDR_WEIGHT * scores[..., 1]


def _choose(curves: Sequence[NDArray], prior: float, prior_cases: float) -> float:
    """Log-odds of the best threshold on the mean curve, drawn towards the prior as if it were further cases."""
    cost = np.mean([_cost(c) for c in curves], axis=0)
    lowest = np.flatnonzero(cost <= cost.min() + 1e-9)
    best = float(LOGITS[lowest[np.argmin(np.abs(LOGITS[lowest] - prior))]])  # of equals, the one nearest the default
    n = len(curves)
    return (n * best + prior_cases * prior) / (n + prior_cases)


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def _sentence(helps: bool, n: int, threshold: float, default: float, before: NDArray, after: NDArray) -> str:
    cases = f"{n} annotated case{'s' if n > 1 else ''}"
    if not helps:
        return f"Cup threshold stays at {default:.2f}: on {cases} no other one helped the cases it was not chosen on."
    how = "on that case itself" if n == 1 else "on cases left out in turn"
    return (
        f"Cup threshold {threshold:.2f} instead of {default:.2f}, from {cases}: cup Dice {before[0]:.3f} -> "
        f"{after[0]:.3f}, vCDR error {before[1]:.3f} -> {after[1]:.3f} ({how})."
    )
