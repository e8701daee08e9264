"""Is the lit field of a photograph round? Fundus cameras show a circle of light, colonoscopes a cut rectangle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..base.binary_masks import erode, fill_holes, opened

PREVIEW = 192
LIT = 0.08
"""Part of the bright end (99th percentile) below which a pixel is black border (chosen)."""
ROUND = 0.8
"""Roundness from which a field counts as round. Of 566 fundus photographs 540 have more, of 2,014 endoscopy frames none
(benchmarks/task_gate.md)."""
NEAR = 0.02
"""Largest distance of a border pixel from the circle, in radii, that counts as on it (chosen)."""
FEWEST = 60


def roundness(pixels: NDArray[np.uint8]) -> float:
    """0 to 1: how much of the border between a photograph's lit field and black (H, W, 3) lies on one circle.

    The frame's own edges do not count, so that a circle cut above and below is round, too; arcs of less than half a
    turn count in part. 0 for a photograph that fills its frame, and for one whose field is not that circle's inside.
    """
    step = max(1, max(pixels.shape[:2]) // PREVIEW)
    grey = pixels[::step, ::step].max(axis=2)
    lit = grey > max(12.0, LIT * float(np.percentile(grey, 99)))
    lit = fill_holes(opened(lit, 2))
    border = lit & ~erode(lit, beyond=True)
    border[:2], border[-2:], border[:, :2], border[:, -2:] = False, False, False, False
    y, x = np.nonzero(border)
    if len(y) < FEWEST:
        return 0.0
    (cy, cx), radius = _circle(y.astype(float), x.astype(float))
    away = np.abs(np.hypot(y - cy, x - cx) - radius) < NEAR * radius
    turns = np.unique((np.arctan2(y - cy, x - cx)[away] + np.pi) // (np.pi / 18)).size / 36
    rows, columns = np.ogrid[: lit.shape[0], : lit.shape[1]]
    inside = np.hypot(rows - cy, columns - cx) < radius
    filled = np.count_nonzero(inside & lit) > 0.9 * np.count_nonzero(inside | lit)
    return float(away.mean() * min(1.0, 2 * turns)) if filled else 0.0


def _circle(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[tuple[float, float], float]:
    """Centre and radius of the least-squares circle (Kasa's), twice more without the points farthest from it."""
    for keep in (0.85, 0.85, None):
        matrix = np.stack([x, y, np.ones_like(x)], 1)
        (a, b, c), *_ = np.linalg.lstsq(matrix, -(x**2 + y**2), rcond=None)
        cx, cy = -a / 2, -b / 2
        radius = float(np.sqrt(max(cx**2 + cy**2 - c, 1.0)))
        if keep is not None:
            off = np.abs(np.hypot(x - cx, y - cy) - radius)
            near = off <= np.quantile(off, keep)
            y, x = y[near], x[near]
    return (float(cy), float(cx)), radius
