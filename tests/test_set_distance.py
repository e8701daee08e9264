"""Distances between two sets: closed forms, an independent library, honest p values."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from napari_tinymig.sets.set_distance import frechet, frechet_gaussian, mmd2, permutation_test, wasserstein


def test_frechet_of_two_one_dimensional_gaussians_is_the_hand_formula():
    # (m - n)^2 + (s - t)^2 = (3 - 1)^2 + (2 - 5)^2 = 13
    assert frechet_gaussian([3.0], [[4.0]], [1.0], [[25.0]]) == pytest.approx(13.0)


def test_frechet_of_diagonal_gaussians_adds_the_axes():
    found = frechet_gaussian([0.0, 0.0], np.diag([1.0, 9.0]), [1.0, 2.0], np.diag([4.0, 16.0]))
    assert found == pytest.approx(1 + 4 + 1 + 1)


def test_frechet_of_commuting_covariances_is_the_distance_of_their_roots():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 1, 1, 2, 7])
    found = frechet_gaussian(np.zeros(5), turn @ np.diag(a) @ turn.T, np.zeros(5), turn @ np.diag(b) @ turn.T)
    assert found == pytest.approx(float(((np.sqrt(a) - np.sqrt(b)) ** 2).sum()), rel=1e-6)


def test_frechet_of_a_set_and_its_shifted_copy_is_the_squared_shift():
    x = np.random.default_rng(1).normal(size=(40, 6))
    assert frechet(x, x + 2.0) == pytest.approx(6 * 4.0, rel=1e-6)


def test_frechet_of_fewer_images_than_features_is_exact_and_says_nothing_on_the_way():
    """The root of a singular covariance came with a library's warning that it may be wrong."""
    x = np.random.default_rng(0).normal(size=(3, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frechet(x, x + 2.0) == pytest.approx(40 * 4.0, rel=1e-6)


def test_frechet_agrees_with_monai():
    pytest.importorskip("torch")
    import torch
    from monai.metrics import FIDMetric

    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 4)), rng.normal(1, 2, size=(50, 4)) @ rng.normal(size=(4, 4))
    theirs = float(FIDMetric()(torch.tensor(x), torch.tensor(y)))
    assert frechet(x, y) == pytest.approx(theirs, rel=1e-6)


def test_frechet_is_defined_for_fewer_images_than_features():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 30))
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)
    assert math.isfinite(frechet(x, rng.normal(size=(4, 30))))


def test_mmd_of_four_points_by_hand():
    # x = {0, 1}, y = {2, 3}, bandwidth 1: k(gap) = exp(-gap^2 / 2)
    k1, k2, k3 = math.exp(-0.5), math.exp(-2.0), math.exp(-4.5)
    unbiased = k1 + k1 - 2 * (2 * k2 + k3 + k1) / 4
    biased = (2 + 2 * k1) / 4 * 2 - 2 * (2 * k2 + k3 + k1) / 4
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert mmd2(x, y, bandwidth=1.0) == pytest.approx(unbiased)
    assert mmd2(x, y, bandwidth=1.0, unbiased=False) == pytest.approx(biased)


def test_mmd_agrees_with_the_kernels_of_scikit_learn():
    pairwise = pytest.importorskip("sklearn.metrics.pairwise", reason="scikit-learn is not installed")
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(17, 3)), rng.normal(0.5, size=(23, 3))
    gamma = 1 / (2 * 1.5**2)
    xx, yy, xy = (pairwise.rbf_kernel(a, b, gamma) for a, b in ((x, x), (y, y), (x, y)))
    theirs = xx.mean() + yy.mean() - 2 * xy.mean()
    assert mmd2(x, y, bandwidth=1.5, unbiased=False) == pytest.approx(theirs)


def test_mmd_of_gaussians_approaches_its_closed_form():
    # E k = (1 + 2 s^2 / b^2)^(-1/2) exp(-d^2 / (2 (b^2 + 2 s^2))), here s = b = 1, d = 2 in one dimension
    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 1, (1500, 1)), rng.normal(2, 1, (1500, 1))
    expected = 2 / math.sqrt(3) * (1 - math.exp(-4 / 6))
    assert mmd2(x, y, bandwidth=1.0) == pytest.approx(expected, abs=0.03)


def test_wasserstein_of_shifted_and_stretched_columns():
    x = np.stack([np.linspace(0, 1, 101), np.linspace(0, 1, 101)], 1)
    y = np.stack([x[:, 0] + 3, 2 * x[:, 1]], 1)
    # a shift moves everything by 3; stretching 0..1 to 0..2 moves the quantile u by u: mean 1/2
    assert wasserstein(x, y) == pytest.approx([3.0, 0.5], abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 20), st.integers(2, 20))
def test_wasserstein_is_the_integral_between_quantile_functions(seed, n, m):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 1)), rng.normal(size=(m, 1))
    u = (np.arange(20_000) + 0.5) / 20_000
    gap = np.abs(np.quantile(x, u, method="inverted_cdf") - np.quantile(y, u, method="inverted_cdf")).mean()
    assert wasserstein(x, y)[0] == pytest.approx(gap, abs=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_distances_are_symmetric_and_zero_for_the_same_set(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(7, 3))
    assert frechet(x, y) == pytest.approx(frechet(y, x), abs=1e-8)
    assert mmd2(x, y) == pytest.approx(mmd2(y, x), abs=1e-12)
    assert frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert mmd2(x, x, unbiased=False) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("statistic", ["mmd", "frechet"])
def test_twenty_shifted_images_are_detected_below_one_per_cent(statistic):
    rng = np.random.default_rng(6)
    found = permutation_test(rng.normal(size=(20, 5)), rng.normal(1.0, 1, (20, 5)), 499, statistic=statistic)
    assert found.p < 0.01
    assert found.n == (20, 20)
    assert found.statistic > found.typical


def test_p_values_of_equal_sets_are_uniform():
    rng = np.random.default_rng(7)
    p = [permutation_test(rng.normal(size=(10, 3)), rng.normal(size=(10, 3)), 99).p for _ in range(120)]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert np.mean(np.array(p) <= 0.05) < 0.12


def test_identical_sets_get_no_small_p():
    x = np.random.default_rng(8).normal(size=(8, 2))
    assert permutation_test(x, x, 199).p > 0.5


def test_one_image_says_what_cannot_be_said():
    many = np.random.default_rng(9).normal(size=(30, 4))
    far = permutation_test(np.full((1, 4), 9.0), many)
    assert far.p == pytest.approx(1 / 31)
    assert "single image" in far.note
    assert "rank among the 30" in far.note
    assert permutation_test(np.zeros((1, 4)), many).p > 0.9


def test_one_image_against_one_image_has_no_p():
    found = permutation_test(np.zeros((1, 2)), np.ones((1, 2)))
    assert math.isnan(found.p)
    assert "too small" in found.note


def test_two_against_three_images_say_that_no_split_can_convince():
    found = permutation_test(np.zeros((2, 1)), np.ones((3, 1)), 99)
    assert "no split can reach" in found.note


def test_wrong_shapes_are_a_sentence():
    with pytest.raises(ValueError, match="expected \\(n, d\\) and \\(m, d\\)"):
        mmd2(np.zeros((3, 2)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="expected 'mmd' or 'frechet'"):
        permutation_test(np.zeros((3, 2)), np.zeros((3, 2)), statistic="kl")
