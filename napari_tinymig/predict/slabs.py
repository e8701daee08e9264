"""A sagittal or coronal stack seen as the axial slices a student knows, and its answer back in the stack's own grid.

The voxels of such a stack lie in patient order already; along the body they are as thin as pixels. Neighbouring ones
are averaged to slabs as thick as axial slices are; a stack that covers less than the field a student knows is continued
by its mirror image, because black bars cost it the gland. Each slab is answered, and the logits are interpolated
between the slabs' middles: every voxel of the stack gets its own answer, and no voxel moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import restore
from ..base.records import Placement, Scan
from ..base.stack import slice_axis

SLAB_MM = 3.0
"""Thickness of an axial slice as the students know it (sources: 3 to 4.5 mm)."""


@dataclass(frozen=True)
class Slabs:
    """How the rows (D, H, W) of a volume become slabs.

    starts: slab i holds rows starts[i] to starts[i + 1]. margin: voxels (rows, columns) of mirror image on every side.
    """

    starts: tuple[int, ...]
    margin: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, scan: Scan, field_mm: float | None) -> Slabs:
        """The slabs of a scan: its single slices where it is an axial stack, or one whose spacing is unknown.

        field_mm: the side of the field that the student knows; None = the whole frame, no mirror image.
        """
        depth, spacing = len(scan.pixels), scan.spacing_mm
        if spacing is None or slice_axis(spacing) == 0:
            return cls(tuple(range(depth + 1)))
        rows = max(1, round(SLAB_MM / spacing[0]))
        missing = [0.0 if field_mm is None else field_mm / spacing[k] - scan.pixels.shape[k] for k in (1, 2)]
        margin = (max(0, math.ceil(missing[0] / 2)), max(0, math.ceil(missing[1] / 2)))
        return cls((*range(0, depth, rows), depth), margin)

    @property
    def depth(self) -> int:
        """Rows of the volume."""
        return self.starts[-1]

    @property
    def plain(self) -> bool:
        """Whether every slab is one row as it is."""
        return len(self.starts) - 1 == self.depth and not any(self.margin)

    def seen(self, volume: NDArray[Any]) -> NDArray[Any]:
        """(S, H', W') of (D, H, W): the mean of each slab's rows, with the mirror image around it."""
        if self.plain:
            return volume
        sizes = np.diff(self.starts).astype(np.float32)[:, None, None]
        means = np.add.reduceat(volume.astype(np.float32), self.starts[:-1], axis=0) / sizes
        return np.pad(means, ((0, 0), *((m, m) for m in self.margin)), mode="symmetric")

    def seen_labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`seen` of a truth (D, H, W) of one label: where it fills at least half of a slab."""
        return labels if self.plain else (self.seen(labels > 0) >= 0.5).astype(np.uint8)

    def row(
        self, values: NDArray[np.float32], placement: Placement, index: int, fill: float = 0.0
    ) -> NDArray[np.float32]:
        """(..., H, W): values (S, ..., s, s) of the slabs' grids at one row of the volume, on its own pixels."""
        edges = np.asarray(self.starts, float)
        middles = (edges[:-1] + edges[1:] - 1) / 2
        at = float(np.interp(index, middles, np.arange(len(middles))))
        low = min(int(at), len(values) - 1)
        part = np.float32(at - low)
        mixed = values[low] if part == 0 else values[low] * (1 - part) + values[low + 1] * part
        (m, n), native = self.margin, restore(mixed, placement, fill=fill)
        return native[..., m : native.shape[-2] - m, n : native.shape[-1] - n]
