"""The what-if bench's corruptions: shape, dtype, strength 0, and that each does what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_tinymig.shift.corruptions import CORRUPTIONS, TITLES, TWO_SIDED, corrupt, corrupt_all

NAMES = list(CORRUPTIONS)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(160, 200, 3)), (3, 3, 0))
    return np.clip(120 + 250 * smooth + [30, 0, -40], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_strength_zero_gives_the_image_back_untouched(name, photograph):
    assert corrupt(photograph, name, 0) is photograph


@pytest.mark.parametrize("name", NAMES)
def test_every_corruption_changes_more_when_stronger(name, photograph):
    gaps = [
        np.abs(corrupt(photograph, name, s).astype(float) - photograph.astype(float)).mean() for s in (1 / 3, 2 / 3, 1)
    ]
    assert 0 < gaps[0] < gaps[1] < gaps[2]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.floats(0, 1),
    st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]),
    st.integers(8, 40),
    st.integers(8, 40),
)
def test_shape_dtype_and_range_survive(name, strength, dtype, h, w):
    rng = np.random.default_rng(1)
    grey = (rng.random((h, w)) * 200).astype(dtype)
    out = corrupt(grey, name, strength)
    assert out.shape == grey.shape
    assert out.dtype == grey.dtype
    assert out.min() >= grey.min() - 1e-3
    assert out.max() <= grey.max() + 1e-3


def test_the_same_seed_gives_the_same_noise_and_another_seed_another(photograph):
    a, b, c = (corrupt(photograph, "noise", 0.5, seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_volume_is_corrupted_slice_by_slice():
    volume = np.random.default_rng(2).normal(size=(3, 20, 24)).astype(np.float32)
    out = corrupt(volume, "blur", 1.0)
    assert out.shape == volume.shape
    assert np.array_equal(out[1], corrupt(volume[1], "blur", 1.0, 1))


def test_gamma_makes_darker_one_way_and_brighter_the_other(photograph):
    middle = photograph.mean()
    assert corrupt(photograph, "gamma", 0.5).mean() < middle < corrupt(photograph, "gamma", -0.5).mean()


def test_temperature_moves_red_and_blue_apart_and_leaves_grey_alone(photograph):
    cold = corrupt(photograph, "temperature", 0.5).astype(float).mean((0, 1))
    before = photograph.astype(float).mean((0, 1))
    assert cold[0] < before[0]
    assert cold[2] > before[2]
    assert cold[1] == pytest.approx(before[1], abs=0.01)
    grey = photograph[..., 0]
    assert np.array_equal(corrupt(grey, "temperature", 1.0), grey)


def test_blur_at_full_strength_has_the_promised_width():
    point = np.zeros((401, 401), np.float32)
    point[200, 200] = 1
    # undo scales by the frame's own range: 0..1 here, so the profile is the kernel itself
    spread = corrupt(point, "blur", 1.0)
    profile = spread.sum(0)
    sd = np.sqrt((profile * (np.arange(401) - 200) ** 2).sum() / profile.sum())
    assert sd == pytest.approx(0.01 * 401, rel=0.03)


def test_vignetting_leaves_the_centre_and_darkens_the_corner_to_15_per_cent():
    flat = np.full((101, 101, 3), 200, np.uint8)
    out = corrupt(flat, "vignetting", 1.0)
    assert out[50, 50, 0] == 200
    assert out[0, 0, 0] == 30


def test_low_resolution_leaves_nothing_finer_than_an_eighth():
    stripes = np.tile(np.array([0, 255], np.uint8), (640, 320))
    out = corrupt(stripes, "low_resolution", 1.0)
    assert out[100:-100, 100:-100].std() < 3


def test_contrast_keeps_the_mean_and_a_quarter_of_the_spread():
    grey = np.linspace(0, 1, 10_000).reshape(100, 100)
    out = corrupt(grey, "contrast", 1.0)
    assert out.mean() == pytest.approx(0.5, abs=1e-3)
    assert out.std() == pytest.approx(grey.std() / 4, rel=1e-3)


def test_several_corruptions_apply_in_one_call(photograph):
    both = corrupt_all(photograph, {"blur": 0.5, "gamma": 0.5, "noise": 0})
    assert np.array_equal(both, corrupt(corrupt(photograph, "blur", 0.5), "gamma", 0.5))


def test_unknown_names_and_strengths_are_sentences(photograph):
    with pytest.raises(ValueError, match="no corruption named 'fog'; expected one of gamma"):
        corrupt(photograph, "fog", 0.5)
    with pytest.raises(ValueError, match="strength of blur is -1; expected 0 to 1"):
        corrupt(photograph, "blur", -1)
    assert corrupt(photograph, TWO_SIDED[0], -1) is not photograph


def test_every_corruption_has_a_title():
    assert set(TITLES) == set(CORRUPTIONS)
