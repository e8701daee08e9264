"""Masks on another grid than their image, put on it where that loses nothing: cropped ones, and enlarged ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput
from ...base.geometry import Geometry
from ..scan_file import StoredVolume

_WITHIN = 0.05  # of a voxel


def shrunk(labels: NDArray[np.uint8], grid: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """A mask whose sides are a whole multiple of its image's, every block of one label, on the image's grid; else None.

    labels: as read. grid: the image's, with as many axes.
    """
    if len(labels.shape) != len(grid) or any(n % g for n, g in zip(labels.shape, grid)) or labels.shape == grid:
        return None
    factors = [n // g for n, g in zip(labels.shape, grid)]
    small = labels[tuple(slice(None, None, f) for f in factors)]
    large = small
    for axis, factor in enumerate(factors):
        large = np.repeat(large, factor, axis)
    return np.ascontiguousarray(small) if np.array_equal(large, labels) else None


def in_place(stored: StoredVolume, like: Geometry, name: str) -> StoredVolume:
    """A cropped mask on the whole grid of its image, 0 around it: the same axes, moved by whole voxels; as it is where
    the grids are equal or otherwise related. Raises UnsupportedInput where labels would be cut off."""
    mine = stored.geometry
    if mine.shape == like.shape or not (mine.oriented and like.oriented):
        return stored
    to_like = np.linalg.inv(like.affine) @ mine.affine
    turn = np.round(to_like[:3, :3])
    start = to_like[:3, 3]
    if (np.abs(to_like[:3, :3] - turn).max() * max(mine.shape) > 0.5) or (
        np.abs(start - np.round(start)) > _WITHIN
    ).any():
        return stored
    axes = np.abs(turn).argmax(0)
    if sorted(axes.tolist()) != [0, 1, 2] or not (np.abs(turn).sum(0) == 1).all():
        return stored
    where = np.argwhere(stored.array != 0)
    target = np.round(where @ turn.T + np.round(start)).astype(int)
    if ((target < 0) | (target >= np.array(like.shape))).any():
        raise UnsupportedInput(
            f"{name} reaches beyond its image ({' x '.join(map(str, like.shape))} voxels); expected labels inside it; "
            "use the mask of this very image."
        )
    array = np.zeros(like.shape, stored.array.dtype)
    array[tuple(target.T)] = stored.array[tuple(where.T)]
    return replace(stored, array=array, geometry=like, file_shape=like.shape, header=None, format="other")
