"""The slices of an image: across which axis they lie, and where prompts lie on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import line

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

    def pixels(self, prompt: Prompt) -> NDArray[np.intp]:
        """Pixels (n, 2) of a click, or of a scribble's line, in its slice."""
        at = [self.in_plane(p) for p in prompt.positions]
        if len(at) == 1:
            return np.array(at, np.intp)
        return np.concatenate([np.stack(line(*a, *b), axis=1) for a, b in pairwise(at)]).astype(np.intp)

    def corners(self, positions: Sequence[Sequence[int]]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Lowest and highest pixel of a box in its slice."""
        (a, b), (c, d) = (self.in_plane(p) for p in positions)
        return (min(a, c), min(b, d)), (max(a, c), max(b, d))

    def first_slice(self, prompt: Prompt) -> int:
        """The slice that answers first: a prompt's own, the middle one of a box through several."""
        return (self.slice_of(prompt.positions[0]) + self.slice_of(prompt.positions[-1])) // 2

    def slice_limits(self, prompt: Prompt) -> tuple[int, int]:
        """First and last slice that a prompt may be followed to."""
        count = 1 if len(self.shape) == 2 else self.shape[self.axis]
        ends = sorted(self.slice_of(p) for p in prompt.positions) if prompt.kind == "box" else []
        return (ends[0], ends[-1]) if ends and ends[0] != ends[-1] else (0, count - 1)
