"""A prediction in words and rows: the main numbers, how far to trust them, and why nothing was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.records import Prediction
from ..measures.declared import DECLARED
from .numbers import Tone, with_unit

NEARER = "nearer home images"
"""What the shift score counts: of 100 images of the training centres that the model never saw, how many are nearer to
its training images than this one. 50 = an ordinary home image."""
WORST_DICE = 0.7
"""Expected Dice below which a mask is in doubt (chosen)."""


def result_rows(prediction: Prediction) -> dict[str, str]:
    """Name -> value with unit, most important first; only what exists. Ranges are the model's 90 % intervals."""
    rows = {}
    ranges = prediction.findings.intervals
    for m in DECLARED.values():
        if m.main and m.key in prediction.measures:
            rows[m.name] = with_unit(prediction.measures[m.key], m.unit, m.digits)
            if m.key in ranges:
                low, high = ranges[m.key]
                rows[m.name] += f" ({low:.{m.digits}f}-{high:.{m.digits}f})"
    for region, (middle, low, high) in prediction.findings.expected_dice.items():
        rows[f"expected Dice, {region}"] = f"{middle:.2f} ({low:.2f}-{high:.2f})"
    if shift := shift_rows(prediction):
        rows |= shift
    elif prediction.uncertainty is not None:
        rows["uncertainty (0-1)"] = with_unit(prediction.uncertainty)
    return rows


def shift_rows(prediction: Prediction) -> dict[str, str]:
    """The shift as every panel and page says it: the words, then what the number counts; {} where the model cannot say,
    and no number for a drawn image."""
    shift = prediction.findings.shift
    if shift is None or prediction.shift_score is None:
        return {}
    rows: dict[str, str] = {"domain shift": shift.level}
    if shift.level != "drawn image":
        rows[NEARER] = f"{prediction.shift_score:.0f} of 100"
    return rows


def trust_badge(prediction: Prediction) -> tuple[str, Tone]:
    """What the badge says: found, found with a doubt (amber, never green), or nothing found; `doubts_of` says why."""
    if prediction.status != "ok":
        return "nothing found", "warn"
    if doubts_of(prediction):
        return "found, but doubtful: check the outline", "warn"
    if prediction.findings.far_away:
        return "found; unlike the training images", "warn"
    return "found", "good"


def doubts_of(prediction: Prediction) -> tuple[str, ...]:
    """Why a mask is in doubt, as sentences: an implausible shape, measures that disagree, a wide range, a low expected
    Dice, a photograph that cannot be graded."""
    return doubts_in(prediction.extra)


def doubts_in(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The same of a prediction's findings as plain values (`Prediction.extra`), as a mask layer keeps them."""
    said = list(found.get("doubts", ()))
    for region, (middle, *_) in found.get("expected_dice", {}).items():
        if middle < WORST_DICE:
            said.append(f"The {region} is expected to overlap with a reader's by a Dice of only {middle:.2f}.")
    if found.get("gradable") is False:
        said.append("The photograph is hardly good enough to grade disc and cup.")
    return tuple(said)


def why_nothing(prediction: Prediction) -> str:
    """Sentences for an empty mask: the model's own reason first, then what usually helps."""
    reasons = [note.rstrip(".") + "." for note in prediction.notes] or ["The model found nothing in this image."]
    if prediction.shift_reason and prediction.findings.shift is not None and prediction.findings.far_away:
        reasons.append(f"The image is far from what the model was trained on: {prediction.shift_reason.rstrip('.')}.")
    else:
        reasons.append("Check the task, the contrast and the orientation, or draw a rectangle around the region.")
    return " ".join(reasons)
