"""The slices of an image: across which axis they lie, and where prompts lie on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import line, line_nd

from .records import Prompt


@dataclass(frozen=True)
class Planes:
    """An image of `shape`, (H, W) or three axes, as slices across `axis`; (H, W) is one slice."""

    shape: tuple[int, ...]
    axis: int = 0

    def slices(self, values: NDArray[Any]) -> NDArray[Any]:
        """A view of an array of `shape` with its slices first: (n, h, w)."""
        return values.reshape(1, *values.shape[-2:]) if len(self.shape) == 2 else np.moveaxis(values, self.axis, 0)

    def image(self, slices: NDArray[Any]) -> NDArray[Any]:
        """A view of slices (n, h, w) in `shape`; undoes `slices`."""
        return slices[0] if len(self.shape) == 2 else np.moveaxis(slices, 0, self.axis)

    def slice_of(self, position: Sequence[int]) -> int:
        """The slice of a position."""
        return 0 if len(self.shape) == 2 else int(position[self.axis])

    def in_plane(self, position: Sequence[int]) -> tuple[int, int]:
        """The pixel of a position in its slice."""
        left = [v for a, v in enumerate(position) if len(self.shape) == 2 or a != self.axis]
        return left[0], left[1]

    def pixels(self, prompt: Prompt, z: int) -> NDArray[np.intp]:
        """Pixels (n, 2) of a click, or of a scribble's line, in slice `z`; none where it does not pass through it."""
        low, high = self.extent(prompt)
        if not low <= z <= high:
            return np.zeros((0, 2), np.intp)
        if low == high:
            at = [self.in_plane(p) for p in prompt.positions]
            parts = [np.stack(line(*a, *b), axis=1) for a, b in pairwise(at)]
            return np.concatenate(parts).astype(np.intp) if parts else np.array(at, np.intp)
        through = [np.stack(line_nd(a, b, endpoint=True), axis=1) for a, b in pairwise(prompt.positions)]
        found = np.concatenate(through)
        return np.delete(found[found[:, self.axis] == z], self.axis, axis=1).astype(np.intp)

    def corners(self, positions: Sequence[Sequence[int]]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Lowest and highest pixel of a box in its slice."""
        (a, b), (c, d) = (self.in_plane(p) for p in positions)
        return (min(a, c), min(b, d)), (max(a, c), max(b, d))

    def first_slice(self, prompt: Prompt) -> int:
        """The slice that answers first: a prompt's own, the middle one of a prompt through several."""
        low, high = self.extent(prompt)
        return (low + high) // 2

    def extent(self, prompt: Prompt) -> tuple[int, int]:
        """First and last slice that a prompt itself lies in."""
        found = [self.slice_of(p) for p in prompt.positions]
        return min(found), max(found)

    def is_deep(self, prompt: Prompt) -> bool:
        """Is it a box through several slices?"""
        low, high = self.extent(prompt) if prompt.kind == "box" else (0, 0)
        return low != high

    def slice_limits(self, prompt: Prompt) -> tuple[int, int]:
        """First and last slice that a prompt may be followed to."""
        count = 1 if len(self.shape) == 2 else self.shape[self.axis]
        return self.extent(prompt) if self.is_deep(prompt) else (0, count - 1)
