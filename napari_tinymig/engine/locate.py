"""Where the optic disc lies in a fundus photograph: a coarse look at the whole field, then a square region of interest.

The locator is a tiny student that sees the whole photograph. Photographs that were cropped around the disc before are
looked at a second time from further away, so that the disc has the size the locator knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .config import InputSpec, ModelHeader
from .measure import ellipse_agreement
from .network import Network
from .normalise import normalise
from .spatial import Box, place, square_box, whole_box

CONFIDENCE = 0.5
"""Least confidence that counts as found, unless the locator's header says otherwise (chosen on source validation)."""

SURE = 0.78
"""Confidence at which the first look settles it; below, every look is taken and the best candidate counts (chosen)."""

ZOOMS = (1.0, 1.7, 0.6)
"""Sides of the coarse looks in units of the field of view (chosen)."""

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


def field_of_view(pixels: NDArray[np.uint8]) -> Box:
    """The box (y0, x0, y1, x1) of the illuminated field of a photograph (H, W, 3), without its black border.

    A photograph that is dark everywhere, or fills its frame, returns the whole frame.
    """
    height, width = pixels.shape[:2]
    step = max(1, max(height, width) // PREVIEW)
    small = pixels[::step, ::step].max(axis=2)
    bright = small > max(8.0, DARK * float(np.percentile(small, 99)))
    bright = ndimage.binary_opening(bright, iterations=2) if min(bright.shape) > 16 else bright
    areas, count = ndimage.label(bright)
    if count == 0:
        return (0.0, 0.0, float(height), float(width))
    sizes = np.bincount(areas.ravel())[1:]
    rows, cols = ndimage.find_objects(areas)[int(sizes.argmax())]
    box = (
        float(rows.start * step),
        float(cols.start * step),
        float(min(rows.stop * step, height)),
        float(min(cols.stop * step, width)),
    )
    if (box[2] - box[0]) * (box[3] - box[1]) < 0.1 * height * width:
        return (0.0, 0.0, float(height), float(width))
    return box


def looks(field: Box) -> list[Box]:
    """The squares the locator looks at, in order: the field of view, from further away, and its middle."""
    centre = ((field[0] + field[2]) / 2, (field[1] + field[3]) / 2)
    side = max(field[2] - field[0], field[3] - field[1])
    return [square_box(centre, zoom * side) for zoom in ZOOMS]


def locate_disc(pixels: NDArray[np.uint8], locator: Network, header: ModelHeader) -> Located:
    """The most likely optic disc of a photograph (H, W, 3) uint8."""
    least = header.constants.get("confidence", CONFIDENCE)
    field = field_of_view(pixels)
    best = Located(False, 0.0, (pixels.shape[0] / 2, pixels.shape[1] / 2), 0.0, field)
    for box in looks(field):
        candidate = _look(pixels, box, locator, header, field)
        if candidate.confidence > best.confidence:
            best = candidate
        if best.confidence >= SURE:
            break
    return replace(best, found=best.confidence >= least)


def coarse_logits(
    pixels: NDArray[np.uint8], box: Box, locator: Network, spec: InputSpec, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Logits (s, s) of the locator's first region, the disc, for one look."""
    grid, _ = place(pixels, box, spec.size)
    return locator.run(normalise(grid, spec)[None]).logits[0, 0] / np.float32(temperature)  # (s, s)


def _look(pixels: NDArray[np.uint8], box: Box, locator: Network, header: ModelHeader, field: Box) -> Located:
    """The best candidate of one look, in the photograph's pixels; confidence 0 where there is none."""
    size = header.input.size
    logits = coarse_logits(pixels, box, locator, header.input, header.temperature)
    found = best_candidate(1 / (1 + np.exp(-logits)))
    scale = (box[2] - box[0]) / size
    if found is None:
        return Located(False, 0.0, (0.0, 0.0), 0.0, field)
    (y, x), diameter, confidence = found
    return Located(False, confidence, (box[0] + y * scale, box[1] + x * scale), diameter * scale, field)


def best_candidate(probability: NDArray[Any]) -> tuple[tuple[float, float], float, float] | None:
    """Centre (y, x) in pixel-edge coordinates, diameter and confidence of the likeliest disc on a grid (s, s).

    Confidence = mean probability over the component x agreement with its own ellipse: a ragged or half-sure patch is
    no disc. The diameter is the longer side of the component's box, as in training.
    """
    areas, _ = ndimage.label(probability > 0.5)
    best: tuple[tuple[float, float], float, float] | None = None
    for index, where in enumerate(ndimage.find_objects(areas), start=1):
        mask = areas[where] == index
        area = int(mask.sum())
        if area < 9:
            continue
        confidence = float(probability[where][mask].mean()) * ellipse_agreement(np.pad(mask, 2))
        if best is None or confidence > best[2]:
            y, x = ndimage.center_of_mass(mask)
            centre = (y + where[0].start + 0.5, x + where[1].start + 0.5)
            best = (centre, float(max(mask.shape)), confidence)
    return best


def clamp_to_frame(box: Box, shape: tuple[int, ...]) -> Box:
    """A box moved so that it reaches outside the frame as little as possible; never larger than the whole frame."""
    side = box[2] - box[0]
    if side >= max(shape[:2]):
        return whole_box(shape)
    out = []
    for low, length in zip(box[:2], shape[:2]):
        out.append(min(max(low, 0.0), length - side) if side <= length else (length - side) / 2)
    return (out[0], out[1], out[0] + side, out[1] + side)
