"""The rules that make prompts feel right, on masks of one slice: what was told holds, and nothing else moves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..base.binary_masks import label_pieces

Mask = NDArray[np.bool_]
FEW = 8
"""So many points are looked at one by one; more (a scribble) all at once."""


def pieces_at(mask: Mask, points: ArrayLike) -> Mask:
    """The connected pieces (8 neighbours) of a mask that hold at least one of the points (n, 2)."""
    p = np.asarray(points, np.intp).reshape(-1, 2)
    numbers, count = label_pieces(mask, corners=True)
    return _chosen(numbers, count, numbers[p[:, 0], p[:, 1]])


def pieces_touching(mask: Mask, other: Mask) -> Mask:
    """The connected pieces of a mask that share a pixel with another mask."""
    numbers, count = label_pieces(mask, corners=True)
    return _chosen(numbers, count, numbers[other & mask])


def _chosen(numbers: NDArray[np.int32], count: int, wanted: NDArray[np.int32]) -> Mask:
    """Where numbered pieces are among the wanted ones; 0 is none of them. A table is ten times faster than isin."""
    table = np.zeros(count + 1, bool)
    table[wanted] = True
    table[0] = False
    return table[numbers]


def any_of(labels: NDArray[np.uint8], values: Iterable[int]) -> Mask:
    """Where labels are one of the values."""
    table = np.zeros(256, bool)
    table[list(values)] = True
    return table[labels]


def disks(shape: tuple[int, ...], points: ArrayLike, radius: int) -> Mask:
    """Filled disks of `radius` pixels around points (n, 2); radius 0 is the pixel alone."""
    out = np.zeros(shape, bool)
    for y, x in np.asarray(points, np.intp).reshape(-1, 2):
        y0, x0 = max(y - radius, 0), max(x - radius, 0)
        rows, columns = np.ogrid[y0 : min(y + radius + 1, shape[0]), x0 : min(x + radius + 1, shape[1])]
        out[y0 : y0 + rows.shape[0], x0 : x0 + columns.shape[1]] |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return out


def depths(mask: Mask, points: ArrayLike, outside: bool) -> NDArray[np.float64]:
    """How far points (n, 2) lie from a mask's border, in pixels: outside it, or inside it (then beyond the array lies
    no mask)."""
    p = np.asarray(points, np.intp).reshape(-1, 2)
    if len(p) <= FEW:
        return np.array([_depth(mask, y, x, outside) for y, x in p.tolist()])
    inner = ndimage.distance_transform_edt(np.pad(~mask if outside else mask, 1, constant_values=outside))
    return np.asarray(inner[1:-1, 1:-1][p[:, 0], p[:, 1]], np.float64)


def _depth(mask: Mask, y: int, x: int, outside: bool) -> float:
    """`depths` of one point, looked for in growing squares around it: a photograph costs what the fault costs."""
    height, width = mask.shape
    edge = np.inf if outside else float(min(y + 1, x + 1, height - y, width - x))
    radius, most = 16, max(height, width)
    while True:
        rows, columns = (slice(max(v - radius, 0), v + radius + 1) for v in (y, x))
        part = mask[rows, columns]
        at = np.nonzero(part if outside else ~part)
        found = edge
        if len(at[0]):
            away = (at[0] - (y - rows.start)) ** 2 + (at[1] - (x - columns.start)) ** 2
            found = min(found, float(np.sqrt(away.min())))
        if found <= radius or radius >= most:
            return found
        radius = min(2 * radius, int(np.ceil(found))) if np.isfinite(found) else 2 * radius


def within_reach(shape: tuple[int, ...], points: ArrayLike, radius: NDArray[np.float64]) -> Mask:
    """Where a correction of a good mask may act: around every point (n, 2) as far as its radius; scribbles as one."""
    p = np.asarray(points, np.intp).reshape(-1, 2)
    if len(p) > FEW:
        marked = np.ones(shape, bool)
        marked[p[:, 0], p[:, 1]] = False
        return np.asarray(ndimage.distance_transform_edt(marked) <= radius.max())
    away = np.full(shape, np.inf)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for (y, x), r in zip(p, radius):
        away = np.minimum(away, np.hypot(rows - y, columns - x) / r)
    return away <= 1


def added(old: Mask, answer: Mask, points: ArrayLike, core: Mask, where: Mask | None) -> Mask:
    """A positive prompt: the pieces of the answer that hold its points join the mask.

    core: pixels around the points that join in any case. where: None = the answer may also take away inside the
    pieces that it touches; a mask = nothing is taken away, and only the connected new part at the points inside that
    mask is added.
    """
    if where is not None:
        new = (answer | core) & ~old & where | core & ~old
        return old | pieces_at(new | _at(old.shape, points), points)
    pieces = pieces_at(answer | core, points)
    own = pieces_touching(old, pieces)
    return (old & ~own) | pieces


def taken(old: Mask, answer: Mask, points: ArrayLike, core: Mask, where: Mask | None) -> Mask:
    """A negative prompt: what the answer does not hold leaves the piece at the points; nothing is added anywhere."""
    own = pieces_at(old, points)
    if not own.any():
        return old
    gone = own & (~answer | core)
    if where is not None:
        gone = pieces_at(gone & (where | core), points)
    return old & ~gone


def _at(shape: tuple[int, ...], points: ArrayLike) -> Mask:
    out = np.zeros(shape, bool)
    y, x = np.asarray(points, np.intp).reshape(-1, 2).T
    out[y, x] = True
    return out
