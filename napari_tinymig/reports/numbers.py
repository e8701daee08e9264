"""Numbers as people read them, and the tone of a sentence: what panels, pages and pictures share."""

from __future__ import annotations

import math
from typing import Literal

NOT_MEASURABLE = "not measurable"
Tone = Literal["plain", "good", "warn", "bad"]
"""How a state or a sentence is meant; every face has a colour for each."""


def with_unit(value: float | None, unit: str = "", digits: int = 2) -> str:
    """'0.62', '34.1 mL' or 'not measurable'; never 'nan'."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURABLE
    return f"{value:.{digits}f} {unit}".rstrip()
