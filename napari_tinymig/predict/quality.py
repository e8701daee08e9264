"""Can this fundus photograph be graded at all? Dark, washed out, blurred or without a disc is said, not hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, place, square_box

SIDE = 256
DARKEST = 0.09
"""Median brightest-channel value, 0..1, inside the field below which a photograph is dark (chosen)."""
BRIGHTEST = 0.25
"""Part of the field that may be saturated in every channel (chosen)."""
BLURREST = 0.042
"""`detail_ratio` around the disc below which a photograph is blurred (chosen)."""
DETAIL = 7
"""Pixels of the grid; finer structure counts as detail (chosen)."""


@dataclass(frozen=True)
class Quality:
    """gradable, the reasons against it as sentences, and the numbers behind them (0..1)."""

    gradable: bool
    reasons: tuple[str, ...]
    brightness: float
    saturated: float
    sharpness: float

    def numbers(self) -> dict[str, float]:
        """The numbers, rounded, by name."""
        return {
            "brightness": round(self.brightness, 3),
            "saturated": round(self.saturated, 3),
            "sharpness": round(self.sharpness, 4),
        }


def fundus_quality(pixels: NDArray[np.uint8], field: Box, roi: Box | None = None) -> Quality:
    """Quality of a photograph (H, W, 3): brightness inside `field`, sharpness inside `roi` (None = the field).

    Sharpness = deviation of the green channel's detail (vessels, the disc's border) over its whole deviation, on a
    256-pixel grid, so that neither the camera's resolution nor its contrast counts, only what the network could see.
    """
    height, width = pixels.shape[:2]
    y0, x0, y1, x1 = (round(v) for v in field)
    step = max(1, max(height, width) // SIDE)
    inner = pixels[max(y0, 0) : min(y1, height) : step, max(x0, 0) : min(x1, width) : step]
    red, green, blue = (inner[..., c] for c in range(3))
    bright = np.maximum(np.maximum(red, green), blue)  # several times as fast as a maximum over an axis of three
    lit = bright[bright > 5]
    brightness = float(np.median(lit)) / 255 if lit.size > 0.05 * bright.size else 0.0
    saturated = float((np.minimum(np.minimum(red, green), blue) >= 250).mean())
    box = roi or square_box(((y0 + y1) / 2, (x0 + x1) / 2), max(y1 - y0, x1 - x0))
    sharpness = detail_ratio(place(pixels[..., 1], box, SIDE)[0])
    reasons = []
    if brightness < DARKEST:
        reasons.append(f"the photograph is dark (median brightness {brightness:.2f} of 1)")
    if saturated > BRIGHTEST:
        reasons.append(f"{saturated:.0%} of the field is washed out")
    if sharpness < BLURREST:
        reasons.append("the photograph is blurred around the disc" if roi else "the photograph is blurred")
    return Quality(not reasons, tuple(reasons), brightness, saturated, sharpness)


def detail_ratio(grey: NDArray[np.float32]) -> float:
    """Deviation of detail finer than `DETAIL` pixels over that of the whole grid (s, s); 0 for a constant one."""
    whole = float(grey.std())
    return float((grey - _blurred(grey, DETAIL)).std()) / whole if whole > 0.5 else 0.0


def _blurred(grey: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Mean over `width` x `width` pixels (odd) around each of a grid (h, w), which goes on mirrored beyond its edge."""
    for axis in (0, 1):
        margin = [(0, 0), (0, 0)]
        margin[axis] = (width // 2 + 1, width // 2)
        sums = np.cumsum(np.pad(grey, margin, mode="symmetric"), axis=axis, dtype=np.float64)
        upper, lower = np.split(sums, [width], axis=axis)[1], np.split(sums, [-width], axis=axis)[0]
        grey = ((upper - lower) / width).astype(np.float32)
    return grey
