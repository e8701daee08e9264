"""Frames go on the grid and come back, volumes go into patient order and come back, positions are true."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, ornt_transform

from napari_tinymig.base.geometry import (
    Geometry,
    fov_box,
    index_at,
    lps_from_ras,
    place,
    restore,
    square_box,
    whole_box,
    world_mm,
)

SIDES = st.integers(1, 40)


def random_labels(shape, seed):
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def one_hot(labels):
    return np.stack([labels == k for k in range(3)]).astype(np.float32)


@given(SIDES, SIDES, st.integers(0, 60), st.integers(0, 60), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_restore_undoes_place_for_labels_wherever_the_grid_is_at_least_as_fine_as_the_frame(h, w, more_h, more_w, seed):
    labels = random_labels((h, w), seed)
    grid, placement = place(labels, (0, 0, h, w), (h + more_h, w + more_w), order=0)
    assert np.array_equal(restore(grid, placement, order=0), labels)


@given(SIDES, SIDES, st.sampled_from([1.0, 1.25, 1.5, 2.0, 2.5, 3.7]), st.integers(-12, 12), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_restore_undoes_place_for_square_boxes_that_leave_the_frame_by_half_pixels(h, w, scale, half_shift, seed):
    labels = random_labels((h, w), seed)
    y0, x0, y1, x1 = whole_box(labels.shape)
    margin = 6 + abs(half_shift) / 2
    box = (y0 - margin + half_shift / 2, x0 - margin, y1 + margin + half_shift / 2, x1 + margin)
    size = int(np.ceil(scale * (box[2] - box[0])))
    grid, placement = place(labels, box, size, order=0)
    assert np.array_equal(restore(grid, placement, order=0), labels)


@given(SIDES, SIDES, st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_probabilities_restored_from_a_whole_numbered_scale_give_the_same_labels(h, w, scale, seed):
    labels = random_labels((h, w), seed)
    grid, placement = place(labels, (0, 0, h, w), (scale * h, scale * w), order=0)
    assert np.array_equal(restore(one_hot(grid), placement).argmax(0), labels)


def test_place_at_scale_one_copies_the_pixels_and_pads_with_zero_outside():
    frame = np.random.default_rng(0).random((37, 51)).astype(np.float32)
    grid, placement = place(frame, (-10, -3, 50, 57), 60)
    assert np.array_equal(grid[10:47, 3:54], frame)
    assert not grid[:10].any()
    assert not grid[:, 54:].any()
    assert np.array_equal(restore(grid, placement), frame)


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200  # a pattern that point sampling would turn into flat 0 or flat 200
    grid, _ = place(stripes, (0, 0, 400, 400), 50)
    assert grid.dtype == np.float32
    assert np.abs(grid - 100).max() <= 1.5
    grid, _ = place(stripes[..., 0].astype(np.float32), (0, 0, 400, 400), 50)
    assert np.abs(grid[:, 1:-1] - 100).max() <= 1.5


def test_a_linear_ramp_keeps_its_values_at_pixel_centres():
    ramp = np.repeat(np.arange(100, dtype=np.float32)[None], 100, axis=0)  # value = column index
    grid, _ = place(ramp, (20, 20, 60, 60), 20)  # 2 pixels per grid pixel: grid x covers columns 20+2x, 21+2x
    assert np.allclose(grid[:, 1:-1], 20.5 + 2 * np.arange(20)[1:-1], atol=1e-4)
    grid, _ = place(ramp, (20, 20, 60, 60), 80)  # half a pixel per grid pixel
    assert np.allclose(grid[:, 2:-2], (20 + (np.arange(80) + 0.5) / 2 - 0.5)[2:-2], atol=1e-4)


def test_restore_fills_outside_the_box_with_one_number_per_channel():
    _, placement = place(np.zeros((20, 30), np.float32), square_box((10, 10), 8), 16)
    back = restore(np.ones((2, 16, 16), np.float32), placement, fill=(-5, 7))
    assert back.shape == (2, 20, 30)
    assert (back[:, 6:14, 6:14] == 1).all()
    assert (back[0, :6] == -5).all()
    assert (back[1, :, 14:] == 7).all()


def test_a_box_wholly_outside_the_frame_gives_padding_and_restores_to_the_fill():
    grid, placement = place(np.ones((9, 9), np.float32), (100, 100, 120, 120), 8)
    assert not grid.any()
    assert (restore(np.ones((1, 8, 8)), placement, fill=3) == 3).all()


def test_boxes_are_square_in_pixels_or_in_millimetres():
    assert whole_box((3000, 4000, 3)) == (-500, 0, 3500, 4000)
    assert fov_box((100, 80), (0.5, 1.0), 40.0) == (10, 20, 90, 60)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (0, 0, float("nan"), 9), (9, 0, 5, 9)])
def test_an_empty_box_is_refused(box):
    with pytest.raises(ValueError, match="expected y1 > y0"):
        place(np.zeros((9, 9), np.float32), box, 8)


def test_values_of_another_grid_are_refused():
    _, placement = place(np.zeros((9, 9), np.float32), (0, 0, 9, 9), 8)
    with pytest.raises(ValueError, match="expected"):
        restore(np.zeros((1, 9, 9)), placement)


# ------------------------------------------------------------------ volumes

CODES = ["".join(c) for axes in itertools.permutations(("RL", "AP", "SI")) for c in itertools.product(*axes)]


def geometry_with_codes(codes, shape=(4, 5, 6), spacing=(0.7, 1.1, 3.0), tilt=None):
    """A geometry whose stored axes run towards `codes` ('LPS' ...), all to the plus side."""
    affine = np.eye(4)
    for axis, code in enumerate(codes):
        world = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[code]
        affine[:3, axis] = 0
        affine[world[0], axis] = world[1] * spacing[axis]
    if tilt is not None:
        affine[:3, :3] = tilt @ affine[:3, :3]
    affine[:3, 3] = (-11.5, 20.25, 7.0)
    return Geometry(shape, affine)


def rotation(degrees, axis):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    m = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    m[i, i], m[i, j], m[j, i], m[j, j] = c, -s, s, c
    return m


def test_there_are_48_orientations():
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("codes", CODES)
def test_patient_order_runs_to_superior_posterior_left_and_back_for_every_orientation(codes):
    geometry = geometry_with_codes(codes)
    stored = np.arange(120).reshape(4, 5, 6)
    canonical = geometry.to_canonical(stored)
    assert np.array_equal(geometry.to_stored(canonical), stored)
    # judged by nibabel: reorientation to axes running to S, P, L
    turn = ornt_transform(axcodes2ornt(tuple(codes)), axcodes2ornt(("S", "P", "L")))
    from nibabel.orientations import apply_orientation

    assert np.array_equal(canonical, apply_orientation(stored, turn))
    assert np.allclose(np.sign(np.diag(geometry.canonical_affine[[2, 1, 0], :3])), (1, -1, -1))


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("tilt", [None, rotation(20, 0) @ rotation(-15, 1) @ rotation(10, 2)])
def test_every_voxel_keeps_its_scanner_position(codes, tilt):
    geometry = geometry_with_codes(codes, tilt=tilt)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), -1)
    stored_mm = index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
    in_order = np.stack([geometry.to_canonical(stored_mm[..., k]) for k in range(3)], -1)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.canonical_shape), indexing="ij"), -1)
    assert np.allclose(world_mm(grid, geometry), in_order, atol=1e-9)
    assert np.allclose(index_at(world_mm(grid, geometry), geometry), grid, atol=1e-9)


def test_spacing_follows_the_axes_into_patient_order():
    geometry = geometry_with_codes("SRA", spacing=(3.0, 0.5, 0.7))
    assert geometry.spacing_mm == pytest.approx((3.0, 0.7, 0.5))
    assert geometry.canonical_shape == (4, 6, 5)


@pytest.mark.parametrize(
    "codes, spacing, axis", [("LPS", (0.5, 0.5, 3), 0), ("PSL", (0.5, 0.5, 3), 2), ("LSP", (0.5, 0.5, 3), 1)]
)
def test_the_slice_axis_of_axial_sagittal_and_coronal_stacks_is_known(codes, spacing, axis):
    assert geometry_with_codes(codes, spacing=spacing).slice_axis == axis
    assert geometry_with_codes(codes, spacing=(1, 1, 1)).slice_axis == 0


def test_a_volume_without_orientation_is_reversed_and_never_flipped():
    geometry = Geometry((4, 5, 6), np.diag([1, 1, -1, 1]), oriented=False, has_spacing=False)
    stored = np.arange(120).reshape(4, 5, 6)
    assert np.array_equal(geometry.to_canonical(stored), stored.transpose(2, 1, 0))
    assert geometry.spacing_mm is None


def test_a_singular_affine_is_refused():
    with pytest.raises(ValueError, match="invertible"):
        Geometry((2, 2, 2), np.diag([1, 0, 1, 1]))


def test_ras_and_lps_differ_by_two_signs():
    assert lps_from_ras([1, 2, 3]).tolist() == [-1, -2, 3]
    assert np.array_equal(lps_from_ras(lps_from_ras(np.arange(16).reshape(4, 4))), np.arange(16).reshape(4, 4))
