"""An array given in Python becomes a scan: its axes read, its pixels and spacing checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.picture_axes import is_colours_first
from ..base.records import Scan
from ..formats import eight_bit
from ..formats.scan_file import finite

ACCEPTED = "(H, W, 3) colour, (H, W) grey or (D, H, W)"


def scan_of_array(image: ArrayLike, spacing: ArrayLike | None = None) -> Scan:
    """The scan of (H, W, 3), (H, W, 4), (H, W), (H, W, 1), (D, H, W) or, without a spacing, 8- or 16-bit (3, H, W).

    spacing: mm in array order; of a grey picture (row, column), its thickness then unknown, or (slice, row, column).
    Single NaN and infinite pixels are read as the lowest value, as in files. Raises ValueError for what is no array of
    real numbers or has other axes, UnsupportedInput where no pixel is finite.
    """
    pixels = _real(image)
    mm = checked_spacing(spacing)
    if mm is None and is_colours_first(pixels.shape, pixels.dtype):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3):
        raise ValueError(f"the image has shape {pixels.shape}; expected {ACCEPTED}; give one at a time.")
    if pixels.size:
        pixels, _ = finite(pixels, "the image")
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        return Scan(np.ascontiguousarray(eight_bit(pixels[..., :3])), mm)
    if pixels.ndim == 2:
        flat = mm is not None and len(mm) == 2
        return Scan(pixels[None], (1.0, *mm) if mm is not None and flat else mm, thickness_known=not flat)
    return Scan(pixels, mm)


def checked_spacing(spacing: ArrayLike | None) -> tuple[float, ...] | None:
    """Spacing as two or three floats. Raises ValueError for anything else."""
    if spacing is None:
        return None
    try:
        values = np.asarray(spacing, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.ndim != 1 or values.size not in (2, 3) or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"spacing is {spacing!r}; expected 2 or 3 positive finite numbers, mm per pixel in array order, or None."
        )
    return tuple(float(v) for v in values)


def with_spacing(scan: Scan, spacing: ArrayLike | None) -> Scan:
    """A scan whose file says nothing about its spacing, with the one that is given. Raises ValueError where it does."""
    mm = checked_spacing(spacing)
    if mm is None or (scan.spacing_mm is not None and np.allclose(mm, scan.spacing_mm, rtol=1e-3)):
        return scan
    if scan.spacing_mm is not None:
        own = ", ".join(f"{v:g}" for v in scan.spacing_mm)
        raise ValueError(f"spacing is {mm}, and the image's own is ({own}) mm; expected no other; leave spacing out.")
    return replace(scan, spacing_mm=mm)


def _real(image: ArrayLike) -> NDArray[Any]:
    """The array, of whole or real numbers or bool."""
    try:
        pixels = np.asarray(image)
    except ValueError as e:  # rows of different lengths
        raise ValueError(f"the image is no array ({e}); expected {ACCEPTED}.") from e
    if pixels.ndim and pixels.dtype.kind not in "buif":
        raise ValueError(f"the image has pixels of type {pixels.dtype}; expected real numbers; convert it first.")
    return pixels
