"""What cameras, scanners and files do to an image, as one function with a strength 0 to 1: the what-if panel.

Every corruption keeps shape and dtype, is deterministic for a seed, and at strength 0 gives the image back untouched.
Frames are RGB uint8 (H, W, 3) or one grey slice (H, W) of any real dtype; a volume is corrupted slice by slice.
Strength 1 is the worst that is still met in practice, by judgement (chosen); 1/3, 2/3 and 1 are the three strengths
of the benchmark.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[Any]
Unit = NDArray[Any]


def corrupt(pixels: Pixels, name: str, strength: float, seed: int = 0) -> Pixels:
    """`pixels` after corruption `name`, in its own shape and dtype.

    pixels: (H, W, 3) uint8, (H, W), or a volume (D, H, W). strength: 0 (untouched) to 1; for the two-sided ones
    (gamma, temperature, contrast: see `TWO_SIDED`) -1 to 1. Raises ValueError for an unknown name or strength.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"no corruption named '{name}'; expected one of {', '.join(CORRUPTIONS)}.")
    lowest = -1.0 if name in TWO_SIDED else 0.0
    if not lowest <= strength <= 1:
        raise ValueError(f"strength of {name} is {strength}; expected {lowest:g} to 1.")
    if strength == 0:
        return pixels
    if pixels.ndim == 3 and pixels.shape[-1] != 3:
        return np.stack([corrupt(s, name, strength, seed + i) for i, s in enumerate(pixels)])
    unit, undo = _to_unit(pixels)
    changed = CORRUPTIONS[name](unit, float(strength), np.random.default_rng(seed))
    return undo(np.clip(changed, 0, 1))


def _to_unit(pixels: Pixels) -> tuple[Unit, Callable[[Unit], Pixels]]:
    """The frame as float32 (H, W, C) in 0-1, and the way back to its own range and dtype."""
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255, lambda u: np.round(u * 255).astype(np.uint8)
    grey = np.asarray(pixels, np.float32)
    low, high = float(np.nanmin(grey)), float(np.nanmax(grey))
    span = high - low if high > low else 1.0

    def undo(u: Unit) -> Pixels:
        back = u * span + low
        back = back if pixels.ndim == 3 else back[..., 0]
        return np.round(back).astype(pixels.dtype) if pixels.dtype.kind in "iu" else back.astype(pixels.dtype)

    unit = np.nan_to_num((grey - low) / span)
    return (unit if pixels.ndim == 3 else unit[..., None]), undo


def gamma(x: Unit, s: float, _rng: np.random.Generator) -> Unit:
    """Brighter (s < 0, exponent down to 0.4) or darker (s > 0, up to 2.5) midtones."""
    return x ** np.float32(2.5**s)


def temperature(x: Unit, s: float, _rng: np.random.Generator) -> Unit:
    """Bluer (s > 0) or redder (s < 0): red and blue gains of 1.6 to the power of -s and s; grey frames stay."""
    if x.shape[2] != 3:
        return x
    return x * np.array([1.6**-s, 1.0, 1.6**s], np.float32)


def contrast(x: Unit, s: float, _rng: np.random.Generator) -> Unit:
    """Flatter (s > 0, to a quarter) or harder (s < 0, to double) contrast around the mean."""
    factor = 0.25**s if s > 0 else 2.0**-s
    return (x - x.mean((0, 1))) * np.float32(factor) + x.mean((0, 1))


def blur(x: Unit, s: float, _rng: np.random.Generator) -> Unit:
    """Defocus: Gaussian with a standard deviation of up to 1 % of the shorter side."""
    sigma = 0.01 * s * min(x.shape[:2])
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), truncate=3)


def noise(x: Unit, s: float, rng: np.random.Generator) -> Unit:
    """Sensor noise: Gaussian, standard deviation up to 0.15 of the range, on grains of 1/512 of the frame or one pixel.

    Grains, because noise of single pixels of a 3000-pixel photograph is gone once the network sees it.
    """
    h, w = x.shape[:2]
    grain = max(1, round(min(h, w) / 512))
    rough = rng.standard_normal((-(-h // grain), -(-w // grain), x.shape[2]), np.float32)
    return x + np.float32(0.15 * s) * rough.repeat(grain, 0).repeat(grain, 1)[:h, :w]


def jpeg(x: Unit, s: float, _rng: np.random.Generator) -> Unit:
    """Lossy re-encoding, quality 60 down to 5."""
    quality = round(60 - 55 * s)
    picture = Image.fromarray(np.round(np.clip(x, 0, 1) * 255).astype(np.uint8).squeeze())
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    back = np.asarray(Image.open(stream), np.float32) / 255
    return back.reshape(x.shape)


def bias_field(x: Unit, s: float, rng: np.random.Generator) -> Unit:
    """Smooth multiplicative light or coil sensitivity: a random quadratic surface, up to a factor of e each way."""
    h, w = x.shape[:2]
    v, u = np.meshgrid(np.linspace(-1, 1, h, dtype=np.float32), np.linspace(-1, 1, w, dtype=np.float32), indexing="ij")
    a = rng.normal(size=5).astype(np.float32)
    surface = a[0] * u + a[1] * v + a[2] * u * v + a[3] * (u**2 - 0.33) + a[4] * (v**2 - 0.33)
    return x * np.exp(np.float32(s) * surface / np.abs(surface).max())[..., None]


def low_resolution(x: Unit, s: float, _rng: np.random.Generator) -> Unit:
    """Sampled on a coarser grid and enlarged again: at strength 1 an eighth, and at least 64 pixels."""
    h, w = x.shape[:2]
    side = min(h, w)
    smallest = min(side, max(64, side / 8))
    short = side * (smallest / side) ** s
    size = (max(2, round(w * short / side)), max(2, round(h * short / side)))
    out = np.empty_like(x)
    for c in range(x.shape[2]):
        small = Image.fromarray(np.ascontiguousarray(x[..., c])).resize(size, Image.Resampling.BOX)
        out[..., c] = np.asarray(small.resize((w, h), Image.Resampling.BILINEAR))
    return out


def vignetting(x: Unit, s: float, _rng: np.random.Generator) -> Unit:
    """Light falling off towards the corners, to 15 % at strength 1."""
    h, w = x.shape[:2]
    v, u = np.meshgrid(np.linspace(-1, 1, h, dtype=np.float32), np.linspace(-1, 1, w, dtype=np.float32), indexing="ij")
    return x * (1 - np.float32(0.85 * s) * np.clip((u**2 + v**2) / 2, 0, 1))[..., None]


CORRUPTIONS: dict[str, Callable[[Unit, float, np.random.Generator], Unit]] = {
    "gamma": gamma,
    "temperature": temperature,
    "contrast": contrast,
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
    "bias_field": bias_field,
    "low_resolution": low_resolution,
    "vignetting": vignetting,
}
TWO_SIDED = ("gamma", "temperature", "contrast")
TITLES = {
    "gamma": "Gamma",
    "temperature": "Colour temperature",
    "contrast": "Contrast",
    "blur": "Blur",
    "noise": "Noise",
    "jpeg": "JPEG",
    "bias_field": "Bias field",
    "low_resolution": "Low resolution",
    "vignetting": "Vignetting",
}


def corrupt_all(pixels: Pixels, strengths: dict[str, float], seed: int = 0) -> Pixels:
    """Several corruptions one after the other, in the order light, optics, sensor, file."""
    for name in (
        "vignetting",
        "bias_field",
        "temperature",
        "blur",
        "low_resolution",
        "contrast",
        "gamma",
        "noise",
        "jpeg",
    ):
        if strengths.get(name):
            pixels = corrupt(pixels, name, strengths[name], seed)
    return pixels
