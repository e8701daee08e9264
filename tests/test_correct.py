"""Correction helpers on masks whose right answer is known by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_tinymig.annotations.edits import (
    clean_islands,
    copy_slice,
    cup_inside_disc,
    each_region,
    ellipse,
    fill_holes,
    interpolate_slices,
    keep_locked,
    smooth,
)
from napari_tinymig.tasks.optic import OPTIC


def circle(shape, centre, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def test_small_islands_go_and_two_large_parts_stay():
    mask = np.zeros((40, 40), bool)
    mask[2:12, 2:12] = True  # 100 px
    mask[20:30, 20:24] = True  # 40 px, above a tenth
    mask[35, 35:38] = True  # 3 px
    out = clean_islands(mask)
    assert out.sum() == 140
    assert not out[35].any()


def test_holes_are_filled_in_every_slice_but_not_between_slices():
    ring = circle((20, 20), (10, 10), 6) & ~circle((20, 20), (10, 10), 2)
    volume = np.stack([ring, np.zeros_like(ring), ring])
    out = fill_holes(volume)
    np.testing.assert_array_equal(out[0], circle((20, 20), (10, 10), 6))
    assert not out[1].any()


def test_smoothing_keeps_the_area_and_removes_a_spike():
    mask = circle((60, 60), (30, 30), 12)
    mask[30, 42:55] = True  # a spike one pixel wide
    out = smooth(mask, 2.0)
    assert abs(int(out.sum()) - int(mask.sum())) <= 2  # ties at the cutting level
    assert not out[30, 50:].any()


def test_an_ellipse_is_its_own_fit():
    y, x = np.ogrid[:80, :80]
    drawn = ((y - 40) / 25) ** 2 + ((x - 36) / 15) ** 2 <= 1
    out = ellipse(drawn)
    assert np.count_nonzero(out ^ drawn) <= 0.02 * drawn.sum()  # the outline itself is 4 % of the pixels


def test_a_cup_that_sticks_out_of_the_rim_is_cut_at_the_rim():
    labels = np.zeros((60, 60), np.uint8)
    labels[circle((60, 60), (30, 30), 20)] = 1
    labels[circle((60, 60), (30, 30), 8)] = 2
    right = labels.copy()
    labels[28:33, 30:58] = 2  # painted across the rim and beyond
    out = cup_inside_disc(labels)
    assert not out[:, 52:].any()
    assert (out[28:33, 38:48] == 2).all()  # inside the outline the annotator's cup stays
    np.testing.assert_array_equal(cup_inside_disc(right), right)


def test_a_cone_is_rebuilt_from_its_two_ends():
    volume = np.zeros((9, 50, 50), bool)
    volume[0], volume[8] = circle((50, 50), (25, 25), 6), circle((50, 50), (25, 25), 14)
    out = interpolate_slices(volume)
    for k in range(9):
        radius = np.sqrt(out[k].sum() / np.pi)
        assert radius == pytest.approx(6 + k, abs=0.6)
    np.testing.assert_array_equal(out[0], volume[0])
    np.testing.assert_array_equal(out[8], volume[8])


def test_interpolation_follows_the_axis_of_a_sagittal_stack():
    volume = np.zeros((30, 30, 5), bool)
    volume[10:20, 10:20, 0] = volume[10:20, 10:20, 4] = True
    out = interpolate_slices(volume, axis=2)
    assert out[12:18, 12:18].all()


def test_copying_to_a_slice_outside_the_volume_says_which_slices_there_are():
    with pytest.raises(ValueError, match=r"slices 0\.\.2"):
        copy_slice(np.zeros((3, 4, 4), np.uint8), 2, 3)
    volume = np.zeros((3, 4, 4), np.uint8)
    volume[1, 2, 2] = 1
    assert copy_slice(volume, 1, 2)[2, 2, 2] == 1


def test_locked_pixels_keep_the_annotators_value():
    new, mine = np.array([[1, 1, 2]], np.uint8), np.array([[0, 2, 0]], np.uint8)
    out = keep_locked(new, mine, np.array([[True, True, False]]))
    np.testing.assert_array_equal(out, [[0, 2, 2]])
    assert out.dtype == np.uint8


masks = arrays(bool, st.tuples(st.integers(3, 18), st.integers(3, 18)))


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(3, 16), st.integers(3, 16)), elements=st.integers(0, 2)))
def test_after_any_helper_the_cup_lies_inside_the_disc_and_only_known_labels_are_left(labels):
    for change in (clean_islands, fill_holes, smooth, ellipse):
        out = each_region(labels, OPTIC, change)
        assert set(np.unique(out)) <= {0, 1, 2}
        assert out.shape == labels.shape
        assert out.dtype == np.uint8


@settings(max_examples=60, deadline=None)
@given(masks)
def test_cleaning_only_removes_and_filling_only_adds(mask):
    assert not (clean_islands(mask) & ~mask).any()
    assert not (mask & ~fill_holes(mask)).any()
    np.testing.assert_array_equal(clean_islands(clean_islands(mask)), clean_islands(mask))


def test_without_a_task_every_label_is_treated_by_itself():
    labels = np.zeros((20, 20), np.uint8)
    labels[2:10, 2:10], labels[5, 5] = 7, 0
    labels[15, 15] = 3
    out = each_region(labels, None, fill_holes)
    assert out[5, 5] == 7
    assert out[15, 15] == 3
