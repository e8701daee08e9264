"""The labelling school: ONE offset on the log-odds of the cup-to-disc ratio, drawn or fitted from a few eyes.

Cup borders are drawn by schools (4-of-4 and 2-of-4 agreement differ by half the cup's area), so a student that finds
the same cup everywhere is wrong where another border is taught. An offset in log-odds moves small and large cups alike,
never leaves the disc, adds up, and is undone by its negative. A pixel threshold can do none of this. Everything here is
chosen; no paper's formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measures.ellipse import extent
from ..measures.overlap import dice, vertical_ratio
from ..recipes.student import ModelHeader
from .disc_cup_shape import redrawn

CUP_OFFSET = "cup_offset"
"""Header constant of a model, and key of a prediction's facts: the offset with which its cups are drawn."""
LARGEST_OFFSET = 1.5
"""A ratio of .50 becomes .82 or .18: beyond any school (chosen)."""
PRIOR_EYES = 2.0
"""How many eyes the present school counts for in `fit_school` (chosen)."""


@dataclass(frozen=True)
class School:
    """The offset that a few annotated eyes speak for, and what it is worth.

    offset: in log-odds of the vertical ratio, 0 = the model's own. helps: False where it did not help eyes it was not
    fitted on; then offset is 0. eyes: how many there were. dice_before, dice_after and ratio_error_before,
    ratio_error_after: of the cup, one number an eye, 'after' with that eye left out of the fit.
    """

    offset: float
    helps: bool
    eyes: int
    dice_before: tuple[float, ...]
    dice_after: tuple[float, ...]
    ratio_error_before: tuple[float, ...]
    ratio_error_after: tuple[float, ...]

    @property
    def text(self) -> str:
        """One sentence for the user."""
        if not self.helps:
            return f"Cups stay as the model draws them: on {self.eyes} eyes no size helped those it was not set on."
        means = [
            float(np.mean(v))
            for v in (self.dice_before, self.dice_after, self.ratio_error_before, self.ratio_error_after)
        ]
        way = "more generous" if self.offset > 0 else "tighter"
        return (
            f"Cups drawn {way} by {abs(self.offset):.2f} (log-odds of the ratio), from {self.eyes} eyes: cup Dice "
            f"{means[0]:.3f} -> {means[1]:.3f}, vCDR error {means[2]:.3f} -> {means[3]:.3f}, each eye left out in turn."
        )


def checked_offset(offset: float) -> float:
    """The offset; ValueError if it is no number within +-`LARGEST_OFFSET`."""
    if not math.isfinite(offset) or abs(offset) > LARGEST_OFFSET:
        raise ValueError(
            f"cup offset is {offset:g}; expected {-LARGEST_OFFSET:g} (tight) to {LARGEST_OFFSET:g} (generous)."
        )
    return float(offset)


def school_of(offset: float | None, header: ModelHeader) -> float:
    """The offset asked for, checked; None = the model's own. ValueError for a model that draws no cups."""
    if offset is None:
        return header.constants.get(CUP_OFFSET, 0.0)
    if header.task is None or "cup_disc" not in header.task.measures:
        raise ValueError(f"a cup offset needs a model of disc and cup; '{header.name}' is none; leave the offset out.")
    return checked_offset(offset)


def redraw_cup(labels: NDArray[np.uint8], offset: float) -> NDArray[np.uint8]:
    """Labels (H, W; 1 rim, 2 cup) whose cup has another size inside the same disc.

    The vertical ratio r becomes `moved_ratio(r, offset)`. The cup keeps its shape; its centre goes towards the disc's
    as it grows, so that it stays inside. Other labels, and masks without a cup or without a rim, stay as they are.
    """
    checked_offset(offset)
    disc = (labels == 1) | (labels == 2)
    (r0, r1), (c0, c1) = extent(disc)
    where = (slice(r0, r1), slice(c0, c1))
    cup = np.pad(labels[where] == 2, 1)
    if offset == 0 or not cup.any() or cup.all():
        return labels.copy()
    from scipy import ndimage  # slow to load, and a mask in the model's own school needs none of it

    field = ndimage.distance_transform_edt(cup) - ndimage.distance_transform_edt(~cup)
    field = field - 0.5 * np.sign(field)  # zero on the border between pixels
    inside = disc[where]
    grown = redrawn(field, np.pad(inside, 1), offset)[1:-1, 1:-1] > 0
    out = labels.copy()
    out[where][inside] = 1
    out[where][inside & grown] = 2
    return out


def fit_school(
    answers: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[np.uint8]], prior_eyes: float = PRIOR_EYES
) -> School:
    """The offset of a school from its masks of a few eyes.

    answers, truths: per eye (H, W) labels 0, 1, 2; 255 in a truth = not annotated. prior_eyes: weight of offset 0. The
    offset is the mean difference of log-odds of the vertical ratios, drawn towards 0 as if by `prior_eyes` further
    eyes, and counts only if, with each eye left out in turn, cup Dice rises and the ratio's error falls. Eyes
    whose answer or truth holds no cup or no rim teach nothing. Raises ValueError for fewer than two others.
    """
    pairs = [(a, t) for a, t in zip(answers, truths, strict=True) if holds_cup_and_rim(a) and holds_cup_and_rim(t)]
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} eyes hold both cup and rim in mask and answer; expected at least 2.")
    gaps = [_logit(vertical_ratio(_known(t))) - _logit(vertical_ratio(a)) for a, t in pairs]
    offset = _drawn_to_zero(gaps, prior_eyes)
    left_out = [_drawn_to_zero(gaps[:i] + gaps[i + 1 :], prior_eyes) for i in range(len(gaps))]
    before = np.array([_scores(a, t) for a, t in pairs])  # (n, 2): Dice, ratio error
    after = np.array([_scores(redraw_cup(a, o), t) for (a, t), o in zip(pairs, left_out, strict=True)])
    more_dice, more_error = (after - before).mean(0)
    helps = bool(more_dice > 0 and more_error < 0)
    after = after if helps else before
    columns = [tuple(float(v) for v in column) for column in (*before.T, *after.T)]
    return School(offset if helps else 0.0, helps, len(pairs), columns[0], columns[2], columns[1], columns[3])


def _drawn_to_zero(gaps: Sequence[float], prior_eyes: float) -> float:
    return float(np.clip(sum(gaps) / (len(gaps) + prior_eyes), -LARGEST_OFFSET, LARGEST_OFFSET))


def _known(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(labels > 2, 0, labels).astype(np.uint8)


def holds_cup_and_rim(labels: NDArray[np.uint8]) -> bool:
    """Whether a mask shows a cup inside a disc that is taller."""
    return bool((labels == 1).any() and (labels == 2).any()) and 0 < vertical_ratio(_known(labels)) < 1


def _scores(answer: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[float, float]:
    known = truth != 255
    error = abs(vertical_ratio(np.where(known, answer, 0)) - vertical_ratio(_known(truth)))
    return dice((answer == 2) & known, truth == 2), error


def _logit(ratio: float) -> float:
    return math.log(ratio / (1 - ratio))
