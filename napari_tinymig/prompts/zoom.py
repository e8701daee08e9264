"""Where the network looks: a square of the slice around the object, and the way back to the slice's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ..base.geometry import Box, place, resized, restore, square_box, whole_box
from ..base.records import Placement

MARGIN = 1.4
"""Side of the view in sides of the object (RITM, 2021)."""
SMALLEST_SIDE = 48.0
"""Smallest side of a view in pixels: what is smaller is enlarged no further (chosen)."""

Window = tuple[slice, slice]
"""Whole pixels of a slice: rows and columns."""


@dataclass(frozen=True)
class View:
    """A square `box` (pixel edges) of a slice of `shape` (H, W), looked at on a grid of `size` x `size`."""

    box: Box
    shape: tuple[int, int]
    size: int

    @cached_property
    def window(self) -> Window:
        """The whole pixels of the slice under the box."""
        y0, x0, y1, x1 = self.box
        height, width = self.shape
        rows = slice(max(int(np.floor(y0)), 0), min(int(np.ceil(y1)), height))
        return rows, slice(max(int(np.floor(x0)), 0), min(int(np.ceil(x1)), width))

    @property
    def scale(self) -> float:
        """Grid pixels per pixel of the slice."""
        return self.size / (self.box[2] - self.box[0])

    def picture(self, rgb: NDArray[np.uint8], pillow: Image.Image | None = None) -> NDArray[np.float32]:
        """The view of a picture (H, W, 3) as the network's image (3, size, size), -1..1. pillow: the same picture."""
        if (
            pillow is not None
            and min(self.box[:2]) >= 0
            and self.box[2] <= self.shape[0]
            and self.box[3] <= self.shape[1]
        ):
            grid = resized(pillow, self.box, (self.size, self.size))
        else:
            grid, _ = place(rgb, self.box, self.size)
        channels = np.ascontiguousarray(np.moveaxis(grid, 2, 0), np.float32)
        channels *= np.float32(1 / 127.5)
        channels -= np.float32(1)
        return channels

    def on_grid(self, points: ArrayLike) -> NDArray[np.float64]:
        """Pixel positions (n, 2) of the slice on the grid."""
        away = np.asarray(points, np.float64).reshape(-1, 2) + 0.5 - np.array(self.box[:2])
        return away * self.scale - 0.5

    def mask_on_grid(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask (H, W) of the slice on the grid."""
        grid, _ = place(mask.view(np.uint8), self.box, self.size, order=0)
        return grid.astype(bool)

    def in_window(self, logits: NDArray[np.float32], window: Window | None = None) -> NDArray[np.float32]:
        """Logits (size, size) of the grid on the slice's own pixels, inside `window`, by default the view's."""
        rows, columns = window or self.window
        y0, x0, y1, x1 = self.box
        part = (rows.stop - rows.start, columns.stop - columns.start)
        box = (y0 - rows.start, x0 - columns.start, y1 - rows.start, x1 - columns.start)
        return restore(logits, Placement(part, box, (self.size, self.size)), fill=-20.0)


def view_around(extents: Sequence[Box], shape: tuple[int, int], size: int, margin: float = MARGIN) -> View:
    """The view of `margin` times the square around some boxes (y0, x0, y1, x1), pixel edges."""
    low, high = np.min([e[:2] for e in extents], axis=0), np.max([e[2:] for e in extents], axis=0)
    side = max(float((high - low).max()) * margin, SMALLEST_SIDE)
    centre = (low + high) / 2
    if side >= max(shape):
        return View(whole_box(shape), shape, size)
    # a view does not need to leave the slice: it moves inwards as far as the slice allows
    at = [c if n <= side else float(np.clip(c, side / 2, n - side / 2)) for c, n in zip(centre, shape)]
    return View(square_box((at[0], at[1]), side), shape, size)


def first_views(point: Sequence[float], shape: tuple[int, int], size: int) -> list[View]:
    """Views for a click where nothing is known: the whole slice, and a half and a quarter around the click."""
    views, side = [View(whole_box(shape), shape, size)], max(shape) / 2
    while side >= SMALLEST_SIDE and len(views) < 4:
        edge = (point[0] + 0.5, point[1] + 0.5, point[0] + 0.5, point[1] + 0.5)
        around = (edge[0] - side / 2, edge[1] - side / 2, edge[2] + side / 2, edge[3] + side / 2)
        views.append(view_around([around], shape, size, margin=1.0))
        side /= 2
    return views


def extent_of(mask: NDArray[np.bool_]) -> Box | None:
    """The box (y0, x0, y1, x1), pixel edges, of a mask (H, W); None if it is empty."""
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    return float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1)


def box_of(points: ArrayLike) -> Box:
    """The box (y0, x0, y1, x1), pixel edges, of pixel positions (n, 2)."""
    p = np.asarray(points, np.float64).reshape(-1, 2)
    low, high = p.min(0), p.max(0) + 1
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
