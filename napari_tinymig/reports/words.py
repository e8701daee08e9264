"""A prediction in words and rows: the main numbers, how far to trust them, and why nothing was found."""

from __future__ import annotations

from ..base.records import Prediction
from ..measures.declared import DECLARED
from .numbers import Tone, with_unit


def result_rows(prediction: Prediction) -> dict[str, str]:
    """Name -> value with unit, most important first; only what exists. Ranges are the model's 90 % intervals."""
    rows = {}
    ranges = prediction.findings.intervals
    for m in DECLARED.values():
        if m.main and m.key in prediction.measures:
            rows[m.name] = with_unit(prediction.measures[m.key], m.unit, m.digits)
            if m.key in ranges:
                low, high = ranges[m.key]
                rows[m.name] += f"  ({low:.{m.digits}f}-{high:.{m.digits}f})"
    for region, (middle, low, high) in prediction.findings.expected_dice.items():
        rows[f"expected Dice, {region}"] = f"{middle:.2f}  ({low:.2f}-{high:.2f})"
    if prediction.shift_score is not None:
        rows["domain shift (0-100)"] = with_unit(prediction.shift_score, "", 0)
    elif prediction.uncertainty is not None:
        rows["uncertainty (0-1)"] = with_unit(prediction.uncertainty)
    return rows


def trust_badge(prediction: Prediction) -> tuple[str, Tone]:
    """What the badge says: found, found with a doubt, or nothing found. Doubts: expected Dice below 0.7 (chosen), an
    ungradable photograph, an image far away from the training images."""
    if prediction.status != "ok":
        return "nothing found", "warn"
    expected = [float(middle) for middle, _, _ in prediction.findings.expected_dice.values()]
    if min(expected, default=1.0) < 0.7 or prediction.findings.gradable is False:
        return "found, but doubtful: check the outline", "warn"
    if prediction.findings.far_away:
        return "found; unlike the training images", "warn"
    return "found", "good"


def why_nothing(prediction: Prediction) -> str:
    """Sentences for an empty mask: the model's own reason first, then what usually helps."""
    reasons = [note.rstrip(".") + "." for note in prediction.notes] or ["The model found nothing in this image."]
    if prediction.shift_reason and prediction.shift_score is not None and prediction.shift_score >= 95:
        reasons.append(f"The image is far from what the model was trained on: {prediction.shift_reason.rstrip('.')}.")
    else:
        reasons.append("Check the task, the contrast and the orientation, or draw a rectangle around the region.")
    return " ".join(reasons)
