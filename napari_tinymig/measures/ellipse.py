"""Where a mask lies and the ellipse that fits it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ellipse:
    """Ellipse with the region's own second moments: centre (y, x), semi-axes in px, angle of the major axis from the
    x axis,
    degrees, positive towards larger y."""

    centre: tuple[float, float]
    semi_axes: tuple[float, float]
    angle_deg: float


def extent(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """(first, last + 1) along every axis of the smallest box that holds the mask; zeros for an empty mask.

    The whole array is read twice, as bytes, however many axes it has: this runs while a user paints.
    """
    bounds = []
    shadow = mask if mask.dtype in (np.bool_, np.uint8) else mask != 0
    for _ in range(mask.ndim):
        others = tuple(range(1, shadow.ndim))
        hits = np.flatnonzero(np.maximum.reduce(shadow, axis=others, initial=False) if others else shadow)
        bounds.append((int(hits[0]), int(hits[-1]) + 1) if hits.size else (0, 0))
        shadow = np.maximum.reduce(shadow, axis=0, initial=False)  # all axes but the first
    return tuple(bounds)


def fit_ellipse(mask: NDArray[np.bool_]) -> Ellipse | None:
    """The ellipse with the mask's centre and second moments (a filled ellipse returns itself); None if empty."""
    (y0, y1), (x0, x1) = extent(mask)
    ys, xs = np.nonzero(mask[y0:y1, x0:x1])
    if ys.size == 0:
        return None
    points = np.stack([xs, ys]).astype(np.float64)
    # 1/12 is the variance of one pixel's own square.
    spread = np.cov(points, bias=True) + np.eye(2) / 12 if ys.size > 1 else np.eye(2) / 12
    values, vectors = np.linalg.eigh(spread)
    major = vectors[:, 1]
    return Ellipse(
        (float(ys.mean() + y0), float(xs.mean() + x0)),
        (2 * math.sqrt(values[1]), 2 * math.sqrt(max(values[0], 0.0))),
        math.degrees(math.atan2(major[1], major[0])),
    )


def draw_ellipse(shape: tuple[int, int], ellipse: Ellipse) -> NDArray[np.bool_]:
    """A filled ellipse as a mask (H, W); pixels whose centre lies inside."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    dy, dx = y - ellipse.centre[0], x - ellipse.centre[1]
    t = math.radians(ellipse.angle_deg)
    a, b = (max(v, 1e-9) for v in ellipse.semi_axes)
    along, across = dx * math.cos(t) + dy * math.sin(t), dy * math.cos(t) - dx * math.sin(t)
    return (along / a) ** 2 + (across / b) ** 2 <= 1


def ellipse_agreement(mask: NDArray[np.bool_]) -> float:
    """Dice of a mask with its own fitted ellipse, 0..1: near 1 for a disc, low for a ragged shape; NaN if empty."""
    ellipse = fit_ellipse(mask)
    if ellipse is None:
        return math.nan
    drawn = draw_ellipse((mask.shape[0], mask.shape[1]), ellipse)
    return 2 * float(np.count_nonzero(mask & drawn)) / float(np.count_nonzero(mask) + np.count_nonzero(drawn))
