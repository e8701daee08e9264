"""Numbers as people read them, and the tone of a sentence: what panels, pages and pictures share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

NOT_MEASURABLE = "not measurable"
Tone = Literal["plain", "good", "warn", "bad"]
"""How a state or a sentence is meant; every face has a colour for each."""


def with_unit(value: float | None, unit: str = "", digits: int = 2) -> str:
    """'0.62', '34.1 mL' or 'not measurable'; never 'nan'."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURABLE
    return f"{value:.{digits}f} {unit}".rstrip()


def dice_change(before: Sequence[float], after: Sequence[float]) -> tuple[str, str]:
    """('93.7 -> 94.0', '+0.3'): mean Dice of the same cases in points, and the difference of the two printed numbers.

    Values are taken at the five digits that a model's record keeps, so that every face prints the same.
    """
    old, new = (round(100 * sum(round(v, 5) for v in some) / max(1, len(some)), 1) for some in (before, after))
    return f"{old:.1f} -> {new:.1f}", f"{new - old:+.1f}"
