"""How far two SETS of images are apart, and whether n images are enough to say so.

Rows of x (n, d) and y (m, d) are images, columns are features. The distances are the usual ones; the permutation test
asks how often a random split of the pooled images is as far apart as the two sets are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FEWEST = 2


def frechet_gaussian(
    mean_x: NDArray[Any], covariance_x: NDArray[Any], mean_y: NDArray[Any], covariance_y: NDArray[Any]
) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians: |m - n|^2 + tr(S + T - 2 (S T)^(1/2)).

    Closed form: Dowson and Landau, J. Multivariate Anal. 1982. The trace of the root is taken from the eigenvalues
    of S^(1/2) T S^(1/2), which are real and not negative.
    """
    values, vectors = np.linalg.eigh(np.asarray(covariance_x, float))  # fewer images than features: singular
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ np.asarray(covariance_y, float) @ root)
    cross = 2 * float(np.sqrt(np.maximum(eigenvalues, 0)).sum())
    gap = np.asarray(mean_x, float) - np.asarray(mean_y, float)
    return max(float(gap @ gap + np.trace(covariance_x) + np.trace(covariance_y)) - cross, 0.0)


def frechet(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Squared Fréchet distance of two sets, from their means and covariances (n - 1)."""
    x, y = _checked(x, y)
    return frechet_gaussian(x.mean(0), _covariance(x), y.mean(0), _covariance(y))


def _covariance(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.atleast_2d(np.cov(x, rowvar=False))


def mmd2(x: NDArray[Any], y: NDArray[Any], bandwidth: float | None = None, unbiased: bool = True) -> float:
    """Squared maximum mean discrepancy with the kernel exp(-|a - b|^2 / (2 bandwidth^2)) (Gretton et al., JMLR 2012).

    bandwidth: None = the median distance of the pooled images. The unbiased estimate may be negative.
    """
    x, y = _checked(x, y)
    kernel = _kernel(np.concatenate([x, y]), bandwidth)
    return _mmd2(kernel, np.arange(len(x)), np.arange(len(x), len(x) + len(y)), unbiased)


def _kernel(pooled: NDArray[Any], bandwidth: float | None) -> NDArray[np.float64]:
    square = np.sum(pooled**2, 1)
    gaps = np.maximum(square[:, None] + square[None] - 2 * pooled @ pooled.T, 0)
    if bandwidth is None:
        upper = gaps[np.triu_indices(len(pooled), 1)]
        bandwidth = math.sqrt(float(np.median(upper))) or 1.0
    return np.exp(-gaps / (2 * bandwidth**2))


def _mmd2(kernel: NDArray[Any], i: NDArray[Any], j: NDArray[Any], unbiased: bool) -> float:
    n, m = len(i), len(j)
    xx, yy, xy = kernel[np.ix_(i, i)].sum(), kernel[np.ix_(j, j)].sum(), kernel[np.ix_(i, j)].sum()
    if unbiased:  # the diagonal of the kernel is 1
        return float((xx - n) / (n * (n - 1)) + (yy - m) / (m * (m - 1)) - 2 * xy / (n * m))
    return float(xx / n**2 + yy / m**2 - 2 * xy / (n * m))


def wasserstein(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """1-Wasserstein distance of every column (d,), in that column's unit: the area between the two cumulative
    curves (scipy.stats.wasserstein_distance)."""
    x, y = _checked(x, y, fewest=1)
    return np.array([stats.wasserstein_distance(a, b) for a, b in zip(x.T, y.T)])


@dataclass(frozen=True)
class SetTest:
    """Outcome of a permutation test.

    statistic: its value for the two sets. p: share of permutations at least as far, (1 + k) / (1 + permutations); NaN
    where it cannot be asked. n: sizes of both sets. typical: 95th percentile under permutation. note: what cannot be
    said, '' if nothing.
    """

    statistic: float
    p: float
    n: tuple[int, int]
    typical: float
    note: str = ""


def permutation_test(
    x: NDArray[Any], y: NDArray[Any], permutations: int = 999, seed: int = 0, statistic: str = "mmd"
) -> SetTest:
    """Are two sets of images further apart than random halves of their union?

    statistic: 'mmd' (unbiased, median bandwidth) or 'frechet' (squared). Images that belong together (slices of a
    volume, photographs of an eye) must be averaged first: the test takes rows as independent. A set of one image is
    ranked among the other set instead: see `note`. Raises ValueError for an empty set or unequal widths.
    """
    x, y = _checked(x, y, fewest=1)
    sizes = (len(x), len(y))
    if min(sizes) < FEWEST:
        return _one_image(x, y, sizes)
    pooled = np.concatenate([x, y])
    value = _statistic(pooled, statistic)
    order = np.arange(len(pooled))
    observed = value(order[: len(x)], order[len(x) :])
    rng = np.random.default_rng(seed)
    drawn = np.empty(permutations)
    for i in range(permutations):
        shuffled = rng.permutation(order)
        drawn[i] = value(shuffled[: len(x)], shuffled[len(x) :])
    # Sums in another order differ in the last bits; an identical split must count as "as far".
    p = (1 + int(np.sum(drawn >= observed - 1e-12))) / (1 + permutations)
    note = ""
    smallest = 1 / math.comb(sum(sizes), sizes[0])
    if smallest > 0.01:
        note = f"With {sizes[0]} and {sizes[1]} images no split can reach p < 0.01; add images."
    return SetTest(observed, p, sizes, float(np.quantile(drawn, 0.95)), note)


def _statistic(pooled: NDArray[Any], name: str) -> Callable[[NDArray[Any], NDArray[Any]], float]:
    if name == "mmd":
        kernel = _kernel(pooled, None)
        return lambda i, j: _mmd2(kernel, i, j, True)
    if name == "frechet":
        return lambda i, j: frechet(pooled[i], pooled[j])
    raise ValueError(f"statistic is '{name}'; expected 'mmd' or 'frechet'.")


def _one_image(x: NDArray[Any], y: NDArray[Any], sizes: tuple[int, int]) -> SetTest:
    """One image against a set: its distance to the set's mean among the leave-one-out distances of the set."""
    one, many = (x, y) if len(x) == 1 else (y, x)
    said = "With a single image nothing can be said about its centre or scanner, only about this image"
    if len(many) < FEWEST + 1:
        return SetTest(math.nan, math.nan, sizes, math.nan, f"{said}, and the other set is too small even for that.")
    spread = many.std(0) + 1e-9
    gap = float(np.linalg.norm((one[0] - many.mean(0)) / spread))
    n = len(many)
    own = np.array([np.linalg.norm((row - (many.sum(0) - row) / (n - 1)) / spread) for row in many])
    p = (1 + int(np.sum(own >= gap))) / (n + 1)
    return SetTest(gap, p, sizes, float(np.quantile(own, 0.95)), f"{said}: p is its rank among the {n} others.")


def _checked(x: NDArray[Any], y: NDArray[Any], fewest: int = FEWEST) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < fewest:
        raise ValueError(
            f"sets have shapes {x.shape} and {y.shape}; expected (n, d) and (m, d) with n and m at least {fewest}."
        )
    return x, y
