"""The shapes of disc and cup: both drawn towards their own ellipses, the cup in the size of its head and school."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..measures.ellipse import extent, fit_ellipse
from .cup_head import CupHead, offset_towards

PULL = 0.7
"""Weight of the ellipse against the network's own logits (chosen on a development set; not 1, so that a notch in the
rim stays a notch)."""
SLOPE = 0.35
"""Logits per grid pixel of distance from the ellipse (chosen: about what the students' own borders show)."""
CERTAIN = 6.0
FEWEST = 30


def redraw_disc_and_cup(
    logits: NDArray[np.float32], cup_offset: float, grid: NDArray[Any] | None = None, head: CupHead | None = None
) -> NDArray[np.float32]:
    """Logits (2, h, w), disc first, drawn towards their own ellipses, the cup in the size that the student, the model's
    cup head and its school give it together. grid: (h, w, 3) that was seen, for the head."""
    logits = drawn_to_ellipse(logits)
    if head is not None and grid is not None:
        cup_offset += offset_towards(head, grid, logits)
    logits[1] = redrawn(logits[1], logits[0] > 0, cup_offset)
    return logits


def drawn_to_ellipse(logits: NDArray[np.float32], pull: float = PULL) -> NDArray[np.float32]:
    """Logits (R, h, w) mixed, region by region, with those of the ellipse of equal centre and second moments.

    Regions of fewer than 30 grid pixels are left alone.
    """
    out = logits.copy()
    rows, cols = np.arange(logits.shape[1])[:, None], np.arange(logits.shape[2])[None]
    for values in out:
        mask = values > 0
        ellipse = fit_ellipse(mask) if np.count_nonzero(mask) >= FEWEST else None
        if ellipse is None:
            continue
        angle = np.deg2rad(ellipse.angle_deg)
        dy, dx = rows - ellipse.centre[0], cols - ellipse.centre[1]
        a, b = ellipse.semi_axes
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        radius = np.sqrt((along / a) ** 2 + (across / b) ** 2)  # 1 on the ellipse
        shape = np.clip((1 - radius) * np.sqrt(a * b) * SLOPE, -CERTAIN, CERTAIN)
        values *= 1 - pull
        values += pull * shape.astype(np.float32)
    return out


def redrawn(cup: NDArray[np.floating], disc: NDArray[np.bool_], offset: float) -> NDArray[np.float32]:
    """A map (h, w) whose positive part is the cup, moved and scaled as `cup_school.redraw_cup` says; disc: (h, w).

    Logits on the network's grid or signed distances. Unchanged where there is no cup, or no rim above and below it.
    """
    inner, outer = extent(cup > 0), extent(disc)
    height, disc_height = inner[0][1] - inner[0][0], outer[0][1] - outer[0][0]
    if offset == 0 or not 0 < height < disc_height:
        return np.asarray(cup, np.float32)
    ratio = height / disc_height
    wanted = moved_ratio(ratio, offset)
    old, middle = (np.array([(a + b - 1) / 2 for a, b in box]) for box in (inner, outer))
    new = middle + (old - middle) * (1 - wanted) / (1 - ratio)
    step = ratio / wanted  # source pixels per pixel
    lines = (start - centre * step + step * np.arange(n) for start, centre, n in zip(old, new, cup.shape))
    return _read_at(np.asarray(cup, np.float32), *lines)


def _read_at(
    values: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(R, C) values (h, w) at fractional rows (R,) and columns (C,), linear between pixels, the border's beyond it."""
    for axis, at in enumerate((rows, columns)):
        at = np.clip(at, 0, values.shape[axis] - 1)
        low = np.minimum(at.astype(int), max(values.shape[axis] - 2, 0))
        part = (at - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        above = np.minimum(low + 1, values.shape[axis] - 1)
        values = values.take(low, axis) * (1 - part) + values.take(above, axis) * part
    return values


def moved_ratio(ratio: float, offset: float) -> float:
    """sigmoid(logit(ratio) + offset); 0 and 1 and what lies beyond stay."""
    return ratio if not 0 < ratio < 1 else 1 / (1 + (1 - ratio) / ratio * math.exp(-offset))
