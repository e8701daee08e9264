"""Rules of prompts on masks: shortcuts that cost less on a large photograph give what the long way gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_tinymig.base.geometry import place
from napari_tinymig.prompts.answer import around
from napari_tinymig.prompts.rules import FEW, depths
from napari_tinymig.prompts.zoom import View


@pytest.fixture(scope="module")
def blobs():
    """Smooth pieces and specks, (90, 140)."""
    noise = np.random.default_rng(3).normal(size=(90, 140))
    return (ndimage.gaussian_filter(noise, 6) > 0) ^ (noise > 2.8)


@pytest.mark.parametrize("outside", (True, False))
def test_a_clicks_depth_is_that_of_the_distance_transform(blobs, outside):
    rng = np.random.default_rng(0)
    points = np.stack([rng.integers(0, n, 300) for n in blobs.shape], axis=1)
    inner = ndimage.distance_transform_edt(np.pad(~blobs if outside else blobs, 1, constant_values=outside))
    wanted = inner[1:-1, 1:-1][points[:, 0], points[:, 1]]
    one_by_one = np.concatenate([depths(blobs, points[i : i + FEW], outside) for i in range(0, 300, FEW)])
    assert np.array_equal(one_by_one, wanted)
    assert np.array_equal(depths(blobs, points, outside), wanted)


def test_the_middle_of_a_large_piece_is_as_deep_as_its_nearest_border():
    mask = np.zeros((400, 400), bool)
    mask[50:350, 50:351] = True
    assert depths(mask, [(200, 200)], outside=False)[0] == 150
    assert depths(~mask, [(200, 200)], outside=True)[0] == 150
    assert depths(np.ones((9, 9), bool), [(4, 4)], outside=False)[0] == 5  # beyond the array lies no mask


def test_what_is_mended_locally_is_cut_to_its_surroundings():
    whole = (slice(10, 90), slice(0, 50))
    assert around(np.array([[40, 45]]), 7.2, whole) == (slice(32, 49), slice(37, 50))
    assert around(np.array([[40, 45]]), np.inf, whole) == whole


def test_a_part_of_a_view_is_restored_as_in_the_whole_view():
    view = View((3.3, 5.1, 83.3, 85.1), (90, 140), 32)
    logits = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    rows, columns = view.window
    part = (slice(20, 44), slice(31, 70))
    found = view.in_window(logits)[20 - rows.start : 44 - rows.start, 31 - columns.start : 70 - columns.start]
    assert np.allclose(view.in_window(logits, part), found, atol=1e-4)


def test_a_view_of_a_prepared_picture_is_the_view_of_its_array():
    from PIL import Image

    rgb = np.random.default_rng(2).integers(0, 256, (600, 800, 3), np.uint8)
    for box in ((100.3, 20.7, 580.3, 500.7), (-100.0, 0.0, 700.0, 800.0)):
        view = View(box, (600, 800), 64)
        given, _ = place(rgb, box, 64)
        found = (view.picture(rgb, Image.fromarray(rgb)) + 1) * 127.5
        assert np.abs(found - given.transpose(2, 0, 1)).max() <= 1.01
