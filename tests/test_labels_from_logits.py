"""Pixels to the network's input, and its logits to labels: by hand, without a network."""

import numpy as np
import pytest

from napari_tinymig.network.labels_from_logits import (
    drop_doubtful,
    drop_islands,
    keep_one_object,
    labels_of,
    tidy_volume,
)
from napari_tinymig.network.normalise import neighbours, normalise
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC


def test_normalise_maps_black_and_white_to_minus_one_and_one():
    grid = np.zeros((64, 64, 3))
    grid[32:] = 255
    out = normalise(grid, InputSpec(size=64))
    assert out.shape == (3, 64, 64)
    assert out.dtype == np.float32
    assert (out[:, 0, 0].tolist(), out[:, -1, 0].tolist()) == ([-1] * 3, [1] * 3)


def test_percentile_z_has_mean_zero_and_deviation_one_and_ignores_padding():
    spec = InputSpec(size=64, normalisation="percentile_z")
    grid = np.random.default_rng(1).normal(500, 40, (64, 64))
    inside = np.zeros((64, 64), bool)
    inside[16:48, 16:48] = True
    padded = np.where(inside, grid, 0)
    out = normalise(padded, spec, inside)
    assert out[1][inside].mean() == pytest.approx(0, abs=0.02)
    assert out[1][inside].std() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(out[1][inside], normalise(grid[16:48, 16:48], spec)[1].ravel(), rtol=1e-4)


def test_neighbours_repeat_at_the_ends():
    volume = np.arange(3)[:, None, None] * np.ones((1, 2, 2))
    assert neighbours(volume, 0, True)[0, 0].tolist() == [0, 0, 1]
    assert neighbours(volume, 2, True)[0, 0].tolist() == [1, 2, 2]
    assert neighbours(volume, 1, False)[0, 0].tolist() == [1, 1, 1]


def test_only_one_piece_of_each_region_is_kept_and_holes_are_filled():
    logits = np.full((2, 64, 64), -5.0, np.float32)
    logits[0, 10:40, 10:40] = 5
    logits[0, 20:22, 20:22] = -5  # a hole
    logits[0, 50:55, 50:55] = 5  # a second, smaller piece
    logits[1, 15:25, 15:25] = 5
    logits[1, 52:54, 52:54] = 5  # a cup outside the kept disc
    labels = labels_of(keep_one_object(logits, OPTIC), OPTIC)
    assert (labels[50:55, 50:55] == 0).all()
    assert np.count_nonzero(labels) == 900
    assert np.count_nonzero(labels == 2) == 100


@pytest.mark.parametrize("disc", [-3.0, 3.0])
def test_a_region_that_is_empty_stays_empty(disc):
    logits = np.full((2, 20, 22), -3.0, np.float32)
    logits[0, 4:12, 4:12] = disc
    kept = keep_one_object(logits, OPTIC)
    assert (kept[0] > 0).sum() == (64 if disc > 0 else 0)
    assert (kept[1] < 0).all()


def test_the_cup_never_leaves_the_disc():
    logits = np.full((2, 32, 32), -5.0, np.float32)
    logits[0, 10:20, 10:20] = 5
    logits[1, 5:25, 5:25] = 5
    labels = labels_of(logits, OPTIC)
    assert np.count_nonzero(labels == 2) == 100
    assert np.count_nonzero(labels == 1) == 0


def test_small_islands_go_and_large_ones_stay():
    labels = np.zeros((200, 200), np.uint8)
    labels[10:60, 10:60] = 1
    labels[100:103, 100:103] = 1
    labels[30:32, 30:32] = 0
    tidy = drop_islands(labels)
    assert np.count_nonzero(tidy) == 2500


def test_an_object_goes_by_how_sure_the_model_is_of_it_and_not_by_its_size():
    logits = np.full((1, 64, 64), -3.0, np.float32)
    logits[0, 5:8, 5:8] = 4.0  # small and sure
    logits[0, 20:60, 20:60] = 1.0  # wide and vague
    kept, doubtful = drop_doubtful(logits, 2.0)
    assert doubtful == 1
    assert np.count_nonzero(kept > 0) == 9
    unchanged, none = drop_doubtful(logits, 0.5)
    assert none == 0
    assert np.array_equal(unchanged, logits)


def test_a_volume_becomes_one_solid_body_with_its_gap_bridged():
    labels = np.zeros((6, 30, 30), np.uint8)
    labels[[1, 2, 4], 5:20, 5:20] = 1  # slice 3 is missing
    labels[2, 10:12, 10:12] = 0  # a hole
    labels[0, 25:28, 25:28] = 1  # an island
    tidy = tidy_volume(labels)
    assert [int(s.sum()) for s in tidy] == [0, 225, 225, 225, 225, 0]


def test_slices_that_taper_off_beyond_the_gland_are_dropped():
    labels = np.zeros((7, 40, 40), np.uint8)
    for z, side in enumerate((4, 6, 20, 30, 30, 15, 8)):
        labels[z, 5 : 5 + side, 5 : 5 + side] = 1
    # a fifth of the largest, 900: 16 and 36 go at one end, 225 stays and 64 goes at the other
    assert [int(s.sum()) for s in tidy_volume(labels)] == [0, 0, 400, 900, 900, 225, 0]
    assert tidy_volume(labels[:1]).sum() == 16
