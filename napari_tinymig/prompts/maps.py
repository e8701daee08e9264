"""What a prompted network sees of the prompts: five maps on its own grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RADIUS = 5
"""Radius of the disk that stands for one click, in pixels of the network's grid (Sofiiuk et al., RITM, 2021)."""
MAPS = ("positive", "negative", "box", "previous", "has_previous")


def _disk(radius: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return y * y + x * x <= radius * radius


DISK = _disk(RADIUS)


def stamp(grid: NDArray[np.float32], points: ArrayLike) -> None:
    """Set to 1, in place, the disk of every point (n, 2) of (row, column) on a grid (h, w); what leaves it is cut."""
    for y, x in np.rint(np.asarray(points, np.float64).reshape(-1, 2)).astype(int):
        y0, x0, y1, x1 = y - RADIUS, x - RADIUS, y + RADIUS + 1, x + RADIUS + 1
        t, left = max(0, -y0), max(0, -x0)
        part = grid[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        part[DISK[t : t + part.shape[0], left : left + part.shape[1]]] = 1


def prompt_maps(
    size: int,
    positive: ArrayLike = (),
    negative: ArrayLike = (),
    box: Sequence[float] | None = None,
    previous: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The maps (5, size, size) in the order of `MAPS`, 0 or 1.

    positive, negative: points (n, 2), (row, column) in pixels of the grid, 0 = centre of the first one. box: (y0, x0,
    y1, x1) in the same units, both corners included, filled. previous: the mask so far, (size, size), None = none:
    its map and the flag map are 0.
    """
    maps = np.zeros((len(MAPS), size, size), np.float32)
    stamp(maps[0], positive)
    stamp(maps[1], negative)
    if box is not None:
        y0, x0, y1, x1 = (round(v) for v in box)
        maps[2, max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = 1
    if previous is not None:
        maps[3] = previous
        maps[4] = 1
    return maps
