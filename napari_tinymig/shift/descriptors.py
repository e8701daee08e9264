"""What one frame looks like, in numbers a person can name: light, colour, sharpness, noise, field of view.

Everything is measured on the network's grid, after resampling, because that is what the network sees: how a file
was compressed, or how many megapixels it had, matters only as far as it survives there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.binary_masks import label_pieces

LEVELS = np.linspace(0.0, 1.0, 17)
"""Quantile levels kept per channel (for histograms and matching)."""

NOISE_FLOOR = 0.012
"""Three grey levels of 255: noise below it is not told apart, so that lossy re-encoding is no shift (chosen)."""

IMAGE_NAMES = (
    "brightness",
    "contrast",
    "red",
    "blue",
    "saturation",
    "sharpness",
    "texture",
    "noise",
    "vignette",
    "unevenness",
    "clipping",
)
"""Descriptors that enter the score; `field`, `view`, `spacing_mm` and `fov_mm` only explain."""

NOTICEABLE = {
    "brightness": 0.02,
    "contrast": 0.02,
    "red": 0.03,
    "blue": 0.03,
    "saturation": 0.02,
    "sharpness": 0.05,
    "texture": 0.1,
    "noise": 0.08,
    "vignette": 0.05,
    "unevenness": 0.02,
    "clipping": 0.01,
    "field": 0.02,
    "view": 0.05,
}
"""Smallest spread that a source may claim: a very even training set must not make every camera 'far' (chosen)."""


@dataclass(frozen=True)
class ImageDescriptors:
    """Numbers of one frame on the network's grid.

    values: name -> number; NaN = does not apply. brightness: median luma 0-1; contrast: luma q95 - q05;
    red, blue: log ratio of the channel's mean to green's; saturation: mean of max - min over channels;
    sharpness: log ratio of fine to middle detail; texture: log of middle detail over contrast; noise: log of the
    robust noise estimate; vignette: log of border over centre brightness; unevenness: variation of the smoothed
    light; clipping: fraction of saturated pixels; field: fraction of the grid that the picture fills; view: side of
    the seen square over the frame's shorter side; spacing_mm, fov_mm: of the grid.
    quantiles: (C, 17) channel quantiles at `LEVELS`, 0-1.
    """

    values: dict[str, float]
    quantiles: NDArray[np.float32]


def unit_range(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Frame as float32 (h, w, C) in 0-1: RGB is divided by 255; a grey frame is stretched between its own 0.2 and
    99.8 percentiles, because MR units mean nothing."""
    if pixels.ndim == 3:
        return np.asarray(pixels, np.float32) * np.float32(1 / 255)
    if pixels.ndim != 2:
        raise ValueError(f"a frame has shape {pixels.shape}; expected (h, w) or (h, w, 3).")
    grey = np.asarray(pixels, np.float32)
    low, high = np.percentile(grey[::2, ::2], (0.2, 99.8))
    return np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)[..., None]


def _halve(x: NDArray[Any]) -> NDArray[Any]:
    """Mean of 2 x 2 blocks; an odd last row or column is dropped."""
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    return 0.25 * (x[0:h:2, 0:w:2] + x[1:h:2, 0:w:2] + x[0:h:2, 1:w:2] + x[1:h:2, 1:w:2])


def _detail(x: NDArray[Any], inside: NDArray[np.bool_] | None) -> tuple[float, NDArray[Any]]:
    """Root mean square of the horizontal and vertical Haar details of `x`, and the diagonal details, inside."""
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    a, b, c, d = x[0:h:2, 0:w:2], x[0:h:2, 1:w:2], x[1:h:2, 0:w:2], x[1:h:2, 1:w:2]
    first, second = a - d, b - c  # across + down = a - d, across - down = c - b, so the squares need no more
    diagonal = 0.5 * (a - b - c + d)
    if inside is not None:
        first, second, diagonal = first[inside], second[inside], diagonal[inside]
    energy = float((first * first).sum()) + float((second * second).sum())  # no BLAS: it would wake every core
    return math.sqrt(energy / max(2 * first.size, 1) / 2), diagonal


def _bands(luma: NDArray[np.float32], field: NDArray[np.bool_]) -> tuple[list[float], float]:
    """Detail energy at periods of about 2, 4, 8, 16 pixels, and the noise sd (Donoho: median |HH| / 0.6745)."""
    energy: list[float] = []
    noise, x, inside = 0.0, luma, field
    whole = bool(field.all())
    for level in range(4):
        if not whole:
            inside = _halve(inside.astype(np.float32)) > 0.99
            if inside.sum() < 16:
                energy.append(energy[-1] if energy else 0.0)
                x = _halve(x)
                continue
        rms, diagonal = _detail(x, None if whole else inside)
        energy.append(rms / 2**level)  # an orthonormal Haar detail of a smooth edge doubles per level
        if level == 0:
            noise = float(np.median(np.abs(diagonal.ravel()[::2]))) / 0.6745
        x = _halve(x)
    return energy, noise


CELLS = 8


def _light(luma: NDArray[np.float32], field: NDArray[np.bool_]) -> tuple[float, float]:
    """Vignette (log border over centre light) and unevenness (variation of the light smoothed on 8 x 8 cells)."""
    h, w = luma.shape[0] // CELLS * CELLS, luma.shape[1] // CELLS * CELLS
    blocks = (CELLS, h // CELLS, CELLS, w // CELLS)
    part = field[:h, :w]
    if part.all():
        share, light = np.ones(CELLS**2), luma[:h, :w].reshape(blocks).mean((1, 3)).ravel()
    else:
        share = part.reshape(blocks).mean((1, 3)).ravel()
        light = (luma[:h, :w] * part).reshape(blocks).mean((1, 3)).ravel() / np.maximum(share, 1e-6)
    filled = share > 0.25
    at = np.arange(CELLS) - (CELLS - 1) / 2
    ring = np.hypot(at[:, None], at[None]).ravel()
    border, centre = light[filled & (ring > 3.2)], light[filled & (ring < 2.3)]
    vignette = math.log((border.mean() + 0.02) / (centre.mean() + 0.02)) if border.size and centre.size else 0.0
    return vignette, float(light[filled].std() / (light[filled].mean() + 0.02)) if filled.any() else 0.0


def _quantiles(values: NDArray[np.float32], levels: NDArray[Any] | tuple[float, ...]) -> NDArray[np.float32]:
    """Quantiles of values in 0-1 to a 256th, by counting: several times faster than sorting."""
    counts = np.bincount((values * 255 + 0.5).astype(np.uint8).ravel(), minlength=256)
    share = np.cumsum(counts) / max(values.size, 1)
    # each grey level stands for the range half a level to either side
    return np.interp(levels, np.concatenate([[0.0], share]), (np.arange(257) - 0.5) / 255).clip(0, 1).astype(np.float32)


def describe_image(
    pixels: NDArray[Any],
    spacing_mm: tuple[float, float] | None = None,
    field: NDArray[np.bool_] | None = None,
    view: float = math.nan,
) -> ImageDescriptors:
    """Colour, light, sharpness, noise and field of view of one frame on the network's grid.

    pixels: (h, w, 3) RGB 0-255, or a grey (h, w) frame in any unit. spacing_mm: (row, column) of the GRID's pixels,
    None = unknown. field: (h, w), True where the grid shows the picture and not padding; None = everywhere. view:
    side of the seen square over the frame's shorter side. Formulas are chosen. About 2 ms at 256 x 256.
    """
    x, field = _comparable(unit_range(pixels), field)
    inside = x[::2, ::2][field[::2, ::2]]  # (n, C); a quarter of the pixels gives the same colours
    luma = x[..., 0]
    if x.shape[2] == 3:
        luma = np.float32(0.299) * x[..., 0] + np.float32(0.587) * x[..., 1] + np.float32(0.114) * x[..., 2]
    channels = inside.T.copy()  # (C, n), contiguous: reductions over three values at a time are slow
    brightest = np.maximum.reduce(channels)
    q = np.stack([_quantiles(channel, LEVELS) for channel in channels])  # (C, 17)
    low, middle, high = _quantiles(luma[::2, ::2][field[::2, ::2]], (0.05, 0.5, 0.95))
    (_, mid, coarse, broad), noise = _bands(luma, field)
    vignette, unevenness = _light(luma, field)
    values = {
        "brightness": float(middle),
        "contrast": float(high - low),
        "sharpness": math.log((mid + 0.001) / (broad + 0.001)),
        "texture": math.log((coarse + 0.001) / (float(high - low) + 0.02)),
        "noise": math.log(noise + NOISE_FLOOR),
        "vignette": vignette,
        "unevenness": unevenness,
        "clipping": float(np.mean(brightest > 0.995)),
        "field": float(field.mean()),
        "view": float(view),
        "spacing_mm": float(spacing_mm[0]) if spacing_mm else math.nan,
        "fov_mm": float(spacing_mm[0] * pixels.shape[0]) if spacing_mm else math.nan,
    }
    values |= _colour(channels, brightest)
    return ImageDescriptors(values, q)


def _comparable(
    x: NDArray[np.float32], field: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Frame and field at most 320 pixels high, which the measures need and which keeps them comparable between
    grids."""
    field = np.ones(x.shape[:2], bool) if field is None else np.asarray(field, bool)
    if field.shape != x.shape[:2]:
        raise ValueError(f"field has shape {field.shape}; expected {x.shape[:2]}, the frame's.")
    if field.sum() < 64:
        field = np.ones(x.shape[:2], bool)
    while x.shape[0] > 320:
        x, field = _halve(x), _halve(field.astype(np.float32)) > 0.5
    return x, field


def _colour(channels: NDArray[np.float32], brightest: NDArray[np.float32]) -> dict[str, float]:
    """Red and blue against green, saturation, of (C, n) pixels; NaN for grey frames."""
    if len(channels) != 3:
        return {"red": math.nan, "blue": math.nan, "saturation": math.nan}
    r, g, b = (float(v) + 0.02 for v in channels.mean(1))
    return {
        "red": math.log(r / g),
        "blue": math.log(b / g),
        "saturation": float(np.mean(brightest - np.minimum.reduce(channels))),
    }


def describe_output(probabilities: NDArray[Any], names: tuple[str, ...]) -> dict[str, float]:
    """Numbers of the network's answer on its grid, without any truth.

    probabilities: (R, h, w), 0-1, one channel per region. names: the regions' names, outermost first.
    Returns per region `<name>_area` (fraction of the grid), `<name>_soft_dice` (2 sum p m / (sum p + sum m), the
    Dice expected if p were calibrated), `<name>_band` (summed binary entropy over the square root of the area: the
    width of the doubtful border), `<name>_solid` (share of the largest piece), `<name>_area_low`, `<name>_area_high`
    (area where p >= 0.75 and p >= 0.25); `ratio` = vertical extent of the second region over the first (vCDR) where
    both are there, else NaN, and `ratio_low`, `ratio_high`: with the second region at p >= 0.75 and the first at
    p >= 0.25, and the other way round.
    """
    p = np.clip(np.asarray(probabilities, np.float32), 1e-6, 1 - 1e-6)
    if p.ndim != 3 or p.shape[0] != len(names):
        raise ValueError(f"probabilities have shape {p.shape}; expected ({len(names)}, h, w) for {names}.")
    out: dict[str, float] = {}
    heights: dict[float, list[int]] = {0.25: [], 0.5: [], 0.75: []}
    for name, channel in zip(names, p):
        mask = channel >= 0.5
        pixels = int(mask.sum())
        doubtful = channel[(channel > 0.02) & (channel < 0.98)]
        entropy = float(-(doubtful * np.log(doubtful) + (1 - doubtful) * np.log1p(-doubtful)).sum())
        out[f"{name}_area"] = pixels / mask.size
        out[f"{name}_soft_dice"] = float(2 * channel[mask].sum() / (channel.sum() + pixels)) if pixels else 0.0
        out[f"{name}_band"] = entropy / math.sqrt(max(pixels, 1))
        out[f"{name}_solid"] = _largest_share(mask, pixels)
        out[f"{name}_area_low"] = float(np.mean(channel >= 0.75))
        out[f"{name}_area_high"] = float(np.mean(channel >= 0.25))
        highest = channel.max(1)  # (h,)
        for threshold, extents in heights.items():
            rows = np.flatnonzero(highest >= threshold)
            extents.append(int(rows[-1] - rows[0] + 1) if rows.size else 0)
    pairs = {"ratio": (0.5, 0.5), "ratio_low": (0.25, 0.75), "ratio_high": (0.75, 0.25)}
    for key, (outer, inner) in pairs.items():
        out[key] = _quotient(heights[inner][1], heights[outer][0]) if len(names) > 1 else math.nan
    return out


def _quotient(inner: float, outer: float) -> float:
    """inner / outer; NaN where either is missing."""
    return inner / outer if inner and outer else math.nan


def _largest_share(mask: NDArray[np.bool_], pixels: int) -> float:
    """Share of the largest connected piece; 0 for an empty mask."""
    if not pixels:
        return 0.0
    labels, pieces = label_pieces(mask)
    return 1.0 if pieces == 1 else float(np.bincount(labels.ravel())[1:].max() / pixels)
