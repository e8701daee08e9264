"""One frame's answer beside its true mask, in the few numbers from which trust is learned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.binary_masks import dilate, erode
from ..measures.overlap import dice

TEMPERATURES = np.round(np.geomspace(0.4, 4.0, 13), 3)
"""Temperatures among which calibration chooses."""
BINS = 10
BORDER = 4
"""Half-width in grid pixels of the band around the true border in which calibration is judged (chosen)."""


def compare_with_truth(logits: NDArray[Any], truth: NDArray[np.bool_], names: tuple[str, ...]) -> dict[str, Any]:
    """What one frame teaches about trust, in a few numbers.

    logits: (R, h, w), already divided by the model's temperature; truth: (R, h, w). Returns per region `<name>_dice`
    and `<name>_area`; `ratio` of vertical extents; `likelihood`, the summed negative log likelihood in the border
    band at each of `TEMPERATURES`; `border`, the pixels in that band; `reliability`, (10, 3) pixels, summed
    probability and true pixels per bin of probability.
    """
    truth = np.asarray(truth, bool)
    if truth.shape != logits.shape:
        raise ValueError(f"truth has shape {truth.shape}; expected {logits.shape}, the logits'.")
    out: dict[str, Any] = {}
    heights = []
    for name, z, t in zip(names, logits, truth):
        mask = z >= 0
        out[f"{name}_dice"] = dice(mask, t)
        out[f"{name}_area"] = float(t.mean())
        rows = np.flatnonzero(t.any(1))
        heights.append(int(rows[-1] - rows[0] + 1) if rows.size else 0)
    out["ratio"] = heights[1] / heights[0] if len(heights) > 1 and min(heights[:2]) else math.nan
    band = np.stack([_border(t) for t in truth])
    z, t = np.asarray(logits, np.float64)[band], truth[band]
    signed = np.where(t, z, -z)
    out["likelihood"] = np.array([np.logaddexp(0, -signed / T).sum() for T in TEMPERATURES])
    out["border"] = int(band.sum())
    out["reliability"] = reliability(1 / (1 + np.exp(-z)), t)
    return out


def _border(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels within BORDER of the border of a mask; nothing for an empty or a full one."""
    if not truth.any() or truth.all():
        return np.zeros_like(truth)
    return dilate(truth, BORDER) & ~erode(truth, BORDER, beyond=True)


def reliability(probabilities: NDArray[Any], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(10, 3): pixels, summed probability, true pixels in ten equal bins of probability."""
    p, t = np.ravel(probabilities), np.ravel(truth)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    return np.stack([np.bincount(bins, w, BINS) for w in (np.ones_like(p), p, t.astype(float))], 1)
