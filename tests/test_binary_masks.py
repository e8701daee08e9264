"""Pieces, holes and borders of masks: the same answers as scipy.ndimage, pixel by pixel and number by number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_tinymig.base.binary_masks import boxes_of, dilate, erode, fill_holes, label_pieces, opened

masks = hnp.arrays(bool, st.one_of(hnp.array_shapes(min_dims=d, max_dims=d, max_side=14) for d in (1, 2, 3)))


def structured(seed: int, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Blobs of about `sigma` pixels."""
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma) > 0


@settings(max_examples=150, deadline=None)
@given(masks, st.booleans())
def test_pieces_are_numbered_as_ndimage_does(mask, corners):
    structure = np.ones((3,) * mask.ndim) if corners else None
    expected, count = ndimage.label(mask, structure)
    found, number = label_pieces(mask, corners)
    assert number == count
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert boxes_of(found, number) == ndimage.find_objects(expected)


@pytest.mark.parametrize("shape", [(200, 190), (6, 60, 50)])
@pytest.mark.parametrize("sigma", [0.6, 2.0, 6.0])
def test_winding_pieces_are_joined_over_any_distance(shape, sigma):
    mask = structured(3, shape, sigma)
    for corners in (False, True):
        expected, count = ndimage.label(mask, np.ones((3,) * mask.ndim) if corners else None)
        found, number = label_pieces(mask, corners)
        assert number == count > 1
        np.testing.assert_array_equal(found, expected)


def test_a_spiral_is_one_piece():
    spiral = np.zeros((41, 41), bool)
    y = x = 0
    side, direction = 41, 0
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    spiral[0, 0] = True
    for turn in range(38):
        side -= 2 if turn % 2 == 0 and turn > 0 else 0
        for _ in range(max(side - 1, 0)):
            y, x = y + moves[direction][0], x + moves[direction][1]
            spiral[y, x] = True
        direction = (direction + 1) % 4
    assert ndimage.label(spiral)[1] == 1
    assert label_pieces(spiral)[1] == 1


@settings(max_examples=150, deadline=None)
@given(masks, st.integers(1, 3))
def test_holes_and_borders_are_those_of_ndimage(mask, times):
    if mask.ndim > 1:  # in one dimension the outside is two pieces
        np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
    np.testing.assert_array_equal(dilate(mask, times), ndimage.binary_dilation(mask, iterations=times))
    np.testing.assert_array_equal(erode(mask, times), ndimage.binary_erosion(mask, iterations=times))
    beyond = ndimage.binary_erosion(mask, iterations=times, border_value=1)
    np.testing.assert_array_equal(erode(mask, times, beyond=True), beyond)
    np.testing.assert_array_equal(opened(mask, times), ndimage.binary_opening(mask, iterations=times))


def test_what_is_given_is_not_changed():
    mask = structured(1, (30, 30), 2.0)
    before = mask.copy()
    for change in (fill_holes, dilate, erode, label_pieces):
        change(mask)
    np.testing.assert_array_equal(mask, before)
