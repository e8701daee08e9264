"""The disc unwrapped around its own centre: angle by angle, radius 1 = its own border there. Cups as shares of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..measures.ellipse import extent

ANGLES = 64
"""Rows of an unwrapped disc (chosen: 6 degrees each)."""
RADII = 64
"""Columns of an unwrapped disc (chosen: a forty-eighth of the disc's radius each)."""
REACH = 4 / 3
"""How far the columns go, in radii of the disc (chosen: the surroundings tell rim from retina)."""
STEPS = 256
NARROWEST = 0.02


class DiscBorder(NamedTuple):
    """centre: (y, x), and radius: (ANGLES,) at `directions`; both in half sides of the grid, -1..1 across it."""

    centre: tuple[float, float]
    radius: NDArray[np.float64]


def directions(count: int = ANGLES) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Down and right parts of `count` unit vectors, turning from right to down."""
    angle = (np.arange(count) + 0.5) * (2 * np.pi / count)
    return np.sin(angle), np.cos(angle)


def border_of(disc: NDArray[np.bool_]) -> DiscBorder | None:
    """Border of a disc (s, s) around the middle of its box, each radius the mean of three; None for an empty mask."""
    (r0, r1), (c0, c1) = extent(disc)
    if r1 == r0:
        return None
    side = disc.shape[0]
    centre = (r0 + r1) / side - 1, (c0 + c1) / side - 1
    rho = np.broadcast_to((np.arange(STEPS) + 0.5) / STEPS, (ANGLES, STEPS))
    inside = _sampled(disc[..., None].astype(np.float32), centre, rho)[..., 0]  # (ANGLES, STEPS)
    radius = inside.mean(1)
    radius = (np.roll(radius, -1) + radius + np.roll(radius, 1)) / 3
    return DiscBorder(centre, np.maximum(radius, NARROWEST))


def unwrapped(grid: NDArray[np.floating], border: DiscBorder) -> NDArray[np.float32]:
    """(ANGLES, RADII, C) of a grid (s, s, C): rows by angle, columns from the centre to `REACH` times the border."""
    rho = (np.arange(RADII) + 0.5) / RADII * REACH
    return _sampled(grid, border.centre, border.radius[:, None] * rho)


def vertical_ratio_of(share: NDArray[np.floating], border: DiscBorder) -> float:
    """Vertical cup-to-disc ratio of the cup whose border lies at `share` (A,) of the disc's, A a divisor of ANGLES."""
    radius = border.radius.reshape(len(share), -1).mean(1)
    down, _ = directions(len(share))
    return float(np.ptp(share * radius * down) / np.ptp(radius * down))


def _sampled(grid: NDArray[np.floating], centre: tuple[float, float], rho: NDArray[np.floating]) -> NDArray[np.float32]:
    """(A, R, C): the grid (s, s, C), linear between pixels and 0 outside, `rho` (A, R) half sides from the centre."""
    side = grid.shape[0]
    down, right = (v[:, None] for v in directions(len(rho)))
    y, x = ((c + rho * d + 1) * side / 2 - 0.5 for c, d in zip(centre, (down, right)))
    y, x = np.clip(y, -1, side), np.clip(x, -1, side)  # the frame of zeros
    padded = np.pad(np.asarray(grid, np.float32), ((1, 2), (1, 2), (0, 0)))
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    dy, dx = (y - top)[..., None].astype(np.float32), (x - left)[..., None].astype(np.float32)
    upper = padded[top + 1, left + 1] * (1 - dx) + padded[top + 1, left + 2] * dx
    lower = padded[top + 2, left + 1] * (1 - dx) + padded[top + 2, left + 2] * dx
    return np.asarray(upper * (1 - dy) + lower * dy, np.float32)
