"""Pieces, holes and borders of binary masks in numpy alone, equal to scipy.ndimage's answers.

A first mask needs half a dozen of scipy.ndimage's functions, whose import costs more than the network's own work
(docs/DECISIONS.md); `tests/test_binary_masks.py` compares every function here with them.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def label_pieces(mask: Mask, corners: bool = False) -> tuple[NDArray[np.int32], int]:
    """Numbers 1, 2, ... of the connected pieces of a mask (..., H, W), in the order of their first pixels, 0 for the
    background; and how many there are.

    Pixels are neighbours by a common side, with `corners` also by a corner.
    """
    width = mask.shape[-1]
    if not mask.size:
        return np.zeros(mask.shape, np.int32), 0
    rows = np.zeros((mask.size // width, width + 2), np.bool_)
    rows[:, 1:-1] = mask.reshape(-1, width)
    edges = np.flatnonzero(rows[:, 1:] != rows[:, :-1])  # of the runs, on a grid (rows, width + 1)
    starts, stops = edges[::2], edges[1::2]
    roots = _joined(len(starts), *_touching(starts, stops, mask.shape, corners))
    first, numbers = np.unique(roots, return_inverse=True)
    values = np.zeros(2 * len(starts) + 1, np.int32)
    values[1::2] = numbers + 1
    lengths = np.diff(edges, prepend=0, append=rows.shape[0] * (width + 1))
    out = np.repeat(values, lengths).reshape(-1, width + 1)[:, :width]
    return np.ascontiguousarray(out).reshape(mask.shape), len(first)


def _touching(
    starts: NDArray[np.intp], stops: NDArray[np.intp], shape: tuple[int, ...], corners: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of runs that are neighbours in two different rows of a mask of `shape`."""
    leading, step, reach = shape[:-1], shape[-1] + 1, int(corners)
    at = np.unravel_index(starts // step, leading) if leading else ()
    ones, others = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for offset in product((-1, 0, 1), repeat=len(leading)):
        if offset >= (0,) * len(leading) or (not corners and sum(map(abs, offset)) > 1):
            continue
        there = [where + o for where, o in zip(at, offset)]
        exists = np.logical_and.reduce([(t >= 0) & (t < side) for t, side in zip(there, leading)])
        move = step * sum(o * int(np.prod(leading[i + 1 :])) for i, o in enumerate(offset))
        low = np.searchsorted(stops, starts + move - reach, side="right")
        high = np.searchsorted(starts, stops + move + reach, side="left")
        count = np.where(exists, np.maximum(high - low, 0), 0)
        one = np.repeat(np.arange(len(starts)), count)
        ones.append(one)
        others.append(low[one] + np.arange(len(one)) - (np.cumsum(count) - count)[one])
    return np.concatenate(ones), np.concatenate(others)


def _joined(count: int, ones: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each of `count` things the lowest thing that it hangs together with, through pairs (ones, others)."""
    parent = np.arange(count)
    while True:
        a, b = parent[ones], parent[others]
        apart = a != b
        if not apart.any():
            return parent
        ones, others, a, b = ones[apart], others[apart], a[apart], b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while (shorter := parent[parent]).tobytes() != parent.tobytes():
            parent = shorter


def boxes_of(numbers: NDArray[np.int32], count: int) -> list[tuple[slice, ...]]:
    """The bounding box of each of `count` numbered pieces (`label_pieces`), in their order."""
    at = np.nonzero(numbers)
    which = numbers[at] - 1
    low = np.full((count, numbers.ndim), np.iinfo(np.intp).max)
    high = np.full((count, numbers.ndim), -1)
    for axis, places in enumerate(at):
        np.minimum.at(low[:, axis], which, places)
        np.maximum.at(high[:, axis], which, places)
    return [tuple(slice(int(a), int(b) + 1) for a, b in zip(*ends)) for ends in zip(low, high)]


def fill_holes(mask: Mask) -> Mask:
    """The mask (..., H, W) with every background piece that does not reach its edge (by common sides)."""
    outside_first, _ = label_pieces(np.pad(~mask, 1, constant_values=True))
    return mask | (outside_first[(slice(1, -1),) * mask.ndim] > 1)


def dilate(mask: Mask, times: int = 1) -> Mask:
    """The mask and the neighbours of its pixels by a common side, `times` over."""
    out = mask
    for _ in range(times):
        out, before = out.copy(), out
        for axis in range(mask.ndim):
            low, high = _halves(axis, mask.ndim)
            out[low] |= before[high]
            out[high] |= before[low]
    return out


def erode(mask: Mask, times: int = 1, beyond: bool = False) -> Mask:
    """The mask's pixels whose neighbours by a common side all belong to it, `times` over; `beyond`: whether what lies
    past the edge counts as mask."""
    if beyond:
        return ~dilate(~mask, times)
    out = ~dilate(np.pad(~mask, 1, constant_values=True), times)
    return np.ascontiguousarray(out[(slice(1, -1),) * mask.ndim])


def opened(mask: Mask, times: int) -> Mask:
    """`erode`, then `dilate`: the mask without what is thinner than 2 x `times`."""
    return dilate(erode(mask, times), times)


def _halves(axis: int, dimensions: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last, and all but the first, along one axis."""
    whole: list[Any] = [slice(None)] * dimensions
    low, high = list(whole), list(whole)
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)
