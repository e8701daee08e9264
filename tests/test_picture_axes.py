"""What the axes of an array mean: colours, frames, slices; and a sentence for what nobody can look at."""

from __future__ import annotations

import numpy as np
import pytest

from napari_tinymig.base.errors import UnsupportedInput
from napari_tinymig.base.picture_axes import Axes, read_axes

U8, U16, I16, F32 = (np.dtype(t) for t in ("uint8", "uint16", "int16", "float32"))


@pytest.mark.parametrize(
    ("shape", "dtype", "rgb", "names", "sizes_known", "expected"),
    [
        ((200, 300, 3), U16, True, (), False, Axes("photograph")),
        ((7, 200, 300, 3), U8, True, (), False, Axes("photograph", frames=1)),
        ((200, 300), F32, False, (), False, Axes("grey")),
        ((3, 200, 300), U8, False, (), False, Axes("photograph", colours_first=True)),
        ((4, 200, 300), U16, False, (), False, Axes("photograph", colours_first=True)),
        ((3, 200, 300), I16, False, (), False, Axes("volume")),  # MRI of three slices
        ((3, 200, 300), U16, False, (), True, Axes("volume")),  # its voxel size is known: slices, not colours
        ((3, 200, 300), U16, False, ("z", "y", "x"), False, Axes("volume")),
        ((3, 200, 300), U8, False, ("t", "y", "x"), False, Axes("grey", frames=1)),
        ((30, 200, 300), U8, False, ("Time", "y", "x"), False, Axes("grey", frames=1)),
        ((30, 200, 300), U8, False, (), False, Axes("volume")),
        ((320, 15, 320), U16, False, ("z", "y", "x"), True, Axes("volume")),  # a coronal series of 15 slices
        ((320, 320, 12), I16, False, ("z", "y", "x"), True, Axes("volume")),  # a sagittal one
        ((5, 30, 200, 300), I16, False, (), True, Axes("volume", frames=1)),
    ],
)
def test_axes_are_read_as_what_they_are(shape, dtype, rgb, names, sizes_known, expected):
    assert read_axes(shape, dtype, rgb, names, sizes_known) == expected


@pytest.mark.parametrize(
    ("shape", "rgb", "found", "do"),
    [
        ((300, 200, 3), False, "300 x 200 x 3", "open it again as RGB"),
        ((12, 40, 3), True, "40 x 12 pixels", "open the whole picture"),
        ((3,), False, "1 axis", "expected a picture"),
    ],
)
def test_what_nobody_can_look_at_is_told_with_what_to_do(shape, rgb, found, do):
    with pytest.raises(UnsupportedInput) as refused:
        read_axes(shape, U8, rgb)
    assert found in str(refused.value)
    assert do in str(refused.value)
