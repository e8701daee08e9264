"""Colours matched without training: bring a photograph's light and colour to those of the training images.

Off by default. It helps where the camera differs and harms where the picture itself does (another field of view, a
pale disc); docs/SHIFT.md has the measured benefit and harm per domain.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..recipes.student import ModelHeader
from ..shift.descriptors import LEVELS

ColourMatch = Literal["none", "colour", "histogram"]
COLOUR_MATCHES: tuple[str, ...] = ("none", "colour", "histogram")


def checked_match(how: ColourMatch, header: ModelHeader) -> ColourMatch:
    """The word; ValueError for another one, and for a model that has no colours to match to."""
    if how not in COLOUR_MATCHES:
        raise ValueError(f"colour match is '{how}'; expected one of {', '.join(COLOUR_MATCHES)}.")
    photographs = header.task is not None and header.task.input == "photograph"
    if how != "none" and not (photographs and header.statistics):
        raise ValueError(f"colour match '{how}' needs a model of photographs with source statistics; leave it out.")
    return how


def match_to_source(
    pixels: NDArray[Any], grid: NDArray[Any], inside: NDArray[np.bool_], statistics: dict[str, Any], how: ColourMatch
) -> NDArray[np.uint8]:
    """A photograph (H, W, 3) uint8 with the source's light and colour, judged by one region of interest of it.

    grid, inside: that region on the network's grid (s, s, 3), 0-255, and where it shows the picture. colour: every
    channel gets the source's mean and spread between its 10 % and 90 % quantiles (after Reinhard et al., 2001, per
    RGB channel; chosen). histogram: every channel gets the source's mean quantile function, which is the 1-D
    Wasserstein barycentre of the training images. Black stays black: a camera's border is no part of the picture.
    Raises ValueError for another word, or for statistics of grey images.
    """
    if how not in COLOUR_MATCHES:
        raise ValueError(f"colour match is '{how}'; expected one of {', '.join(COLOUR_MATCHES)}.")
    if how == "none":
        return pixels
    target = np.asarray(statistics["quantiles"], np.float32)  # (C, 17)
    if len(target) != 3 or pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise ValueError("matching to the source is for colour photographs; volumes are normalised slice by slice.")
    seen = np.asarray(grid, np.float32)[inside] / 255  # (n, 3)
    own = np.quantile(seen[:: max(1, len(seen) // 20_000)], LEVELS, axis=0).T  # (3, 17)
    curve = _histogram_curve if how == "histogram" else _colour_curve
    out = np.empty_like(pixels)
    for c in range(3):
        table = np.clip(curve(own[c], target[c]), 0, 1) * 255  # (256,)
        out[..., c] = np.round(table).astype(np.uint8)[pixels[..., c]]
    out[pixels.max(2) < BLACK] = 0
    return out


GREYS = np.arange(256, dtype=np.float32) / 255
BLACK = 8


def _histogram_curve(own: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float32]:
    """(256,) new value of every grey: its own quantile, read from the target."""
    increasing = np.maximum.accumulate(own) + np.linspace(0, 1e-5, len(LEVELS))
    return np.interp(GREYS, increasing, target).astype(np.float32)


def _colour_curve(own: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float32]:
    """(256,) new value of every grey: shifted to the target's mean, stretched at most twofold to its spread."""
    spread, wanted = (np.interp(0.9, LEVELS, q) - np.interp(0.1, LEVELS, q) for q in (own, target))
    gain = np.clip(wanted / max(float(spread), 1e-3), 0.5, 2.0)
    return ((GREYS - own.mean()) * gain + target.mean()).astype(np.float32)
