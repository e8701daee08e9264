"""A box through several slices of a volume: its object is looked for in every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..base.geometry import Box
from ..tasks.task import Region
from .answer import RegionPrompts, first_answer
from .follow import is_near, looked_for, replace_region
from .rules import Mask, pieces_touching
from .slice_answer import Corner, SliceState, grown, region_of_label
from .zoom import extent_of


def fill_box(
    state_of: Callable[[int], SliceState],
    label: int,
    corners: tuple[Corner, Corner],
    first: int,
    touched: set[int],
    whole: tuple[int, int],
    limits: tuple[int, int],
) -> Iterator[int]:
    """Carry the object of slice `first` through a box, outwards; yields every slice that was written.

    corners: lowest and highest pixel of the box in a slice. touched: slices that a human has prompted or mended: never
    written, but what they hold is what the next slice is expected to hold. whole: first and last slice of the box;
    limits: of what may be written. The box says that the object goes on: it does not end within it, but a slice in
    which nothing is found is left as it is.
    """
    region = region_of_label(state_of(first).task, label)
    inside = np.zeros(state_of(first).labels.shape, bool)
    inside[corners[0][0] : corners[1][0] + 1, corners[0][1] : corners[1][1] + 1] = True
    around = grown(inside, *corners)
    for step, end in ((1, limits[1]), (-1, limits[0])):
        expected = state_of(first).mask(region) & around
        for z in range(first + step, end + step, step):
            state = state_of(z)
            if z in touched:
                own = state.mask(region) & around
                expected = own if own.any() else expected
                continue
            found = _in_box(state, region, expected, _shrunk(corners, z, whole), around)
            if not found.any():
                continue
            old = state.mask(region)
            replace_region(state, region, (old & ~pieces_touching(old, found)) | found)
            expected = found
            yield z


def _in_box(state: SliceState, region: Region, expected: Mask, shown: Box, around: Mask) -> Mask:
    """The object in one slice; looked for anew, by the box alone, where it is not where it was expected."""
    if region.inside is not None:
        around = around & state.mask(next(r for r in state.task.regions if r.name == region.inside))
    extent = extent_of(expected)
    if extent is not None:
        logits, _ = looked_for(state, expected, extent, shown)
        found = pieces_touching((logits > 0) & is_near(expected, extent) & around, expected)
        if found.any():
            return found
    return first_answer(state.engine, state.picture, RegionPrompts(box=shown), np.zeros((0, 2))) & around


def _shrunk(corners: tuple[Corner, Corner], z: int, limits: tuple[int, int]) -> Box:
    """What the network is shown of a box in slice `z`: the section of the ellipsoid that fills the whole box.

    The ellipsoid ends one slice beyond `limits`, so that something is left of it in the last slices.
    """
    along = (z - (limits[0] + limits[1]) / 2) / ((limits[1] - limits[0]) / 2 + 1)
    share = float(np.sqrt(1 - along**2))
    low, high = np.array(corners[0], float), np.array(corners[1], float) + 1
    middle, half = (low + high) / 2, (high - low) / 2 * share
    return (*(middle - half), *(middle + half))
