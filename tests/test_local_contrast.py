"""Even local contrast: scikit-image's CLAHE of the brightness, colours kept, what is black or flat left as it is."""

from __future__ import annotations

import numpy as np
from skimage import color, exposure

from napari_tinymig.network.local_contrast import CLIP_LIMIT, TILES, equalise_local_contrast
from napari_tinymig.samples.drawn import fundus_sample


def test_it_is_clahe_of_the_brightness_in_hsv():
    grid = fundus_sample(side=256, seed=1).scan.pixels
    theirs = 255 * exposure.equalize_adapthist(grid, kernel_size=256 // TILES, clip_limit=CLIP_LIMIT)
    np.testing.assert_allclose(equalise_local_contrast(grid.astype(np.float32)), theirs, atol=0.2)


def test_hue_and_saturation_stay_and_brightness_spreads():
    rng = np.random.default_rng(0)
    grid = rng.uniform(90, 130, (64, 64, 3))
    even = equalise_local_contrast(grid)
    before, after = color.rgb2hsv(grid / 255), color.rgb2hsv(even / 255)
    bright = after[..., 2] > 0.02  # the darkest value becomes black, which has no hue
    assert bright.mean() > 0.9
    np.testing.assert_allclose(after[bright, :2], before[bright, :2], atol=2e-3)
    assert after[..., 2].std() > 1.5 * before[..., 2].std()
    assert even.dtype == np.float32
    assert even.min() >= 0
    assert even.max() <= 255 * 1.01


def test_black_padding_stays_black_and_one_brightness_stays_as_it_is():
    grid = np.zeros((64, 64, 3))
    grid[:, 32:] = np.random.default_rng(1).uniform(60, 200, (64, 32, 3))
    assert not equalise_local_contrast(grid)[:, :32].any()
    for value in (0, 117.3, 255):
        flat = np.full((32, 32, 3), value)
        np.testing.assert_allclose(equalise_local_contrast(flat), flat, rtol=1e-6)
