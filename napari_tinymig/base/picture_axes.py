"""What the axes of an array of unknown origin mean: a photograph, a grey picture or a volume, alone or in frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .errors import UnsupportedInput

Kind = Literal["photograph", "grey", "volume"]
TIME_NAMES = ("t", "time", "frame", "frames")
"""Names of an axis along which there are pictures and no slices."""
SMALLEST_SIDE = 16
"""Least side of a picture that is looked at (chosen; equal to that of photographs read from files)."""


@dataclass(frozen=True)
class Axes:
    """How an array is read.

    kind: of one frame: photograph (H, W, 3), grey (H, W) or volume (D, H, W). frames: number of leading axes along
    which there are further frames. colours_first: the first axis holds the colours, (3, H, W).
    """

    kind: Kind
    frames: int = 0
    colours_first: bool = False


def read_axes(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    rgb: bool = False,
    names: Sequence[str] = (),
    sizes_known: bool = False,
) -> Axes:
    """The meaning of the axes of an array of `shape`, its last one the colours where `rgb`.

    names: of the axes without the colours, outermost first. sizes_known: voxel sizes in mm are known, so that three
    slices are not taken for three colours. Raises UnsupportedInput: found, expected, what to do.
    """
    sides = tuple(shape[:-1] if rgb else shape)
    said = " x ".join(map(str, shape))
    if len(sides) < 2:
        raise UnsupportedInput(f"the array has {len(sides)} axis ({said}); expected a picture or a volume.")
    # Of a volume in patient order, the slices of a coronal or sagittal series lie along one of the last two axes.
    picture = sorted(sides[-3:])[-2:] if sizes_known and len(sides) > 2 else sides[-2:]
    if min(picture) < SMALLEST_SIDE and not (not rgb and sides[-1] in (3, 4)):
        raise UnsupportedInput(
            f"the picture is {picture[-1]} x {picture[-2]} pixels; expected at least {SMALLEST_SIDE} x "
            f"{SMALLEST_SIDE}; open the whole picture."
        )
    if rgb:
        return Axes("photograph", frames=len(sides) - 2)
    if len(sides) == 2:
        return Axes("grey")
    if sides[-1] in (3, 4) and not sizes_known:
        raise UnsupportedInput(
            f"the array has the shape {said}: a colour picture whose colours were taken for an axis of slices; "
            "expected (H, W, 3) shown as colour; open it again as RGB, or with the TinyMIG reader."
        )
    if len(sides) > 3:
        return Axes("volume", frames=len(sides) - 3)
    if names and names[0].lower() in TIME_NAMES:
        return Axes("grey", frames=1)
    if is_colours_first(sides, dtype) and not sizes_known and not (names and names[0].lower() == "z"):
        return Axes("photograph", colours_first=True)
    return Axes("volume")


def is_colours_first(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether (C, H, W) looks like a colour picture with its three or four colours first, as torch and many TIFFs have
    it: 8 or 16 bit without sign (signed and float ones are as often volumes of few slices)."""
    fits = len(shape) == 3 and shape[0] in (3, 4) and min(shape[1:]) >= SMALLEST_SIDE
    return fits and dtype in (np.dtype(np.uint8), np.dtype(np.uint16))
