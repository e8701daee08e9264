"""Where the optic disc lies in a fundus photograph: a coarse look at the whole field, then a square region of interest.

The locator is a tiny student that sees the whole photograph. Photographs that were cropped around the disc before are
looked at a second time from further away, so that the disc has the size the locator knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..base.binary_masks import boxes_of, dilate, label_pieces, opened
from ..base.geometry import Box, place, square_box
from ..measures.ellipse import ellipse_agreement
from ..network.normalise import inside_frame, network_input
from ..network.run import Network
from ..recipes.student import ModelHeader

CONFIDENCE = 0.5
"""Least confidence that counts as found, unless the locator's header says otherwise (chosen on source validation)."""

SURE = 0.88
"""Confidence at which a look settles it; below, every look is taken and the best candidate counts (chosen)."""

LOCATOR_SQUARES = ((1.0, 0.0), (1.7, 0.0), (0.6, 0.0), (0.62, -0.22), (0.62, 0.22))
"""(side, shift to the right) of the coarse looks in units of the field of view (chosen): whole; from further away, for
photographs cropped to the disc; the middle; the left and right, for photographs centred on the macula."""

PLAIN = 0.7
"""Contrast of a candidate to its surroundings, in deviations of the field, from which it does not lose confidence
(chosen)."""

PREVIEW = 192
DARK = 0.06
"""Fraction of the bright end (99th percentile) below which a pixel is black border (chosen)."""


@dataclass(frozen=True)
class Located:
    """The best disc candidate. centre (y, x) and diameter in pixels of the photograph; confidence 0..1; `found` says
    whether the confidence suffices; field: box of the illuminated part of the photograph."""

    found: bool
    confidence: float
    centre: tuple[float, float]
    diameter_px: float
    field: Box

    def roi(self, scale: float) -> Box:
        """The square box of `scale` disc diameters around the disc."""
        return square_box(self.centre, scale * self.diameter_px)

    @property
    def eye(self) -> Literal["right", "left"] | None:
        """Which eye a full-field photograph shows, by the side of the field the disc lies on; None if that cannot be
        said.

        The macula lies temporal of the disc, so a disc right of the field's middle means a right eye, as long as the
        photograph is centred between the two or on the macula.
        """
        y0, x0, y1, x1 = self.field
        side = max(y1 - y0, x1 - x0)
        offset = (self.centre[1] - (x0 + x1) / 2) / side
        if self.diameter_px > 0.3 * side or abs(offset) < 0.06:
            return None
        return "right" if offset > 0 else "left"


def field_of_view(pixels: NDArray[np.uint8]) -> Box:
    """The box (y0, x0, y1, x1) of the illuminated field of a photograph (H, W, 3), without its black border.

    A photograph that is dark everywhere, or fills its frame, returns the whole frame.
    """
    height, width = pixels.shape[:2]
    step = max(1, max(height, width) // PREVIEW)
    small = np.maximum.reduce([pixels[::step, ::step, c] for c in range(3)])
    bright = small > max(8.0, DARK * _bright_end(small))
    bright = opened(bright, 2) if min(bright.shape) > 16 else bright
    areas, count = label_pieces(bright)
    if count == 0:
        return (0.0, 0.0, float(height), float(width))
    sizes = np.bincount(areas.ravel())[1:]
    rows, cols = boxes_of(areas, count)[int(sizes.argmax())]
    box = (
        float(rows.start * step),
        float(cols.start * step),
        float(min(rows.stop * step, height)),
        float(min(cols.stop * step, width)),
    )
    if (box[2] - box[0]) * (box[3] - box[1]) < 0.1 * height * width:
        return (0.0, 0.0, float(height), float(width))
    return box


def _bright_end(grey: NDArray[np.uint8]) -> float:
    """The 99th percentile of grey values as `numpy.percentile` has it, which imports numpy.ma (20 ms of a mask)."""
    at = 0.99 * (grey.size - 1)
    low = int(at)
    values = np.partition(grey, [low, min(low + 1, grey.size - 1)], axis=None)
    a, b = float(values[low]), float(values[min(low + 1, grey.size - 1)])
    part = at - low
    return b - (b - a) * (1 - part) if part >= 0.5 else a + (b - a) * part


def locate_disc(pixels: NDArray[np.uint8], locator: Network, header: ModelHeader) -> Located:
    """The most likely optic disc of a photograph (H, W, 3) uint8."""
    least = header.constants.get("confidence", CONFIDENCE)
    field = field_of_view(pixels)
    best = Located(False, 0.0, (pixels.shape[0] / 2, pixels.shape[1] / 2), 0.0, field)
    for square in LOCATOR_SQUARES:
        candidate = _look(pixels, field, square, locator, header)
        if candidate.confidence > best.confidence:
            best = candidate
        if best.confidence >= SURE:
            break
    return replace(best, found=best.confidence >= least)


def _look(
    pixels: NDArray[np.uint8], field: Box, square: tuple[float, float], locator: Network, header: ModelHeader
) -> Located:
    """The best candidate in one of `LOCATOR_SQUARES`, in the photograph's pixels; confidence 0 where there is none."""
    spec, box = header.input, look_box(field, square)
    grid, placement = place(pixels, box, spec.size)  # (s, s, 3)
    inside = inside_frame(placement)
    logits = locator.run(network_input(grid, None, spec)[None]).logits[0, 0] / np.float32(header.temperature)  # (s, s)
    found = best_candidate(1 / (1 + np.exp(-logits)), brighter_than_around(_grey(grid), inside))
    scale = (box[2] - box[0]) / spec.size
    if found is None:
        return Located(False, 0.0, (0.0, 0.0), 0.0, field)
    (y, x), diameter, confidence = found
    return Located(False, confidence, (box[0] + y * scale, box[1] + x * scale), diameter * scale, field)


def _grey(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of three channels (s, s, 3), to the bit, without reductions over three values at a time."""
    return np.asarray((grid[..., 0] + grid[..., 1] + grid[..., 2]) / np.float32(3))


def look_box(field: Box, square: tuple[float, float]) -> Box:
    """The box of one look: `square` is its (side, shift to the right) in units of the field."""
    y, x = (field[0] + field[2]) / 2, (field[1] + field[3]) / 2
    side = max(field[2] - field[0], field[3] - field[1])
    return square_box((y, x + square[1] * side), square[0] * side)


def brighter_than_around(grey: NDArray[np.float32], inside: NDArray[np.bool_]) -> Callable[[NDArray[np.bool_]], float]:
    """A function of a mask (s, s): how much brighter it is than the ring around it, in deviations of the lit field.

    The ring is as wide as a quarter of the mask; black border and padding do not count. NaN where no ring is left.
    """
    lit = inside & (grey > 12)
    spread = max(float(grey[lit].std()), 1.0) if lit.any() else 1.0

    def contrast(mask: NDArray[np.bool_]) -> float:
        width = max(2, round(0.25 * float(np.sqrt(mask.sum()))))
        ring = dilate(mask, width) & ~dilate(mask, 2) & lit
        return float(grey[mask].mean() - grey[ring].mean()) / spread if np.count_nonzero(ring) > 20 else float("nan")

    return contrast


def best_candidate(
    probability: NDArray[Any], contrast: Callable[[NDArray[np.bool_]], float] | None = None
) -> tuple[tuple[float, float], float, float] | None:
    """Centre (y, x) in pixel-edge coordinates, diameter and confidence of the likeliest disc on a grid (s, s).

    Confidence = mean probability over the component x agreement with its own ellipse: a ragged or half-sure patch is
    no disc; less, down to half, the less it stands out by `contrast` of its mask. The diameter is the longer side of
    the component's box, as in training.
    """
    areas, count = label_pieces(probability > 0.5)
    best: tuple[tuple[float, float], float, float] | None = None
    for index, where in enumerate(boxes_of(areas, count), start=1):
        mask = areas[where] == index
        if int(mask.sum()) < 9:
            continue
        stands_out = PLAIN if contrast is None else contrast(areas == index)
        confidence = float(probability[where][mask].mean()) * ellipse_agreement(np.pad(mask, 2))
        confidence *= 1.0 if np.isnan(stands_out) else float(np.clip(0.5 + 0.5 * stands_out / PLAIN, 0.5, 1.0))
        if best is None or confidence > best[2]:
            y, x = (float(at.mean()) for at in np.nonzero(mask))
            centre = (y + where[0].start + 0.5, x + where[1].start + 0.5)
            best = (centre, float(max(mask.shape)), confidence)
    return best
