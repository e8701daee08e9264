"""A prompt on one slice is followed to its neighbours, outwards, until the object ends or a human has been there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..base.geometry import Box
from ..measures.overlap import dice
from ..tasks.task import Region
from .answer import Points, RegionPrompts, correction, network_input
from .records import Prompt
from .rules import Mask, pieces_touching
from .slice_answer import SliceState, mask_of, write
from .zoom import View, extent_of, view_around

LEAST_AREA = 0.12
"""An object has ended where less than this part of the neighbouring slice's is left (chosen)."""
LEAST_OVERLAP = 0.4
"""... or where the two overlap by less than this Dice (chosen)."""
SURE = 0.5
"""... or where a look that does not know the neighbouring mask is less sure than this inside the answer (chosen)."""
DRIFT = 0.15
"""So far, in parts of the object's size, its border moves from one slice to the next at most (chosen)."""
LEAST_CHANGE = 0.25
"""A correction has ended where it changes less than this part of what it changed in the slice before (chosen)."""


def follow_outwards(
    state_of: Callable[[int], SliceState],
    prompt: Prompt,
    old: NDArray[np.uint8],
    touched: set[int],
    limits: tuple[int, int],
) -> Iterator[int]:
    """Carry what a prompt changed to the neighbours of its slice; yields every slice that was written.

    state_of: a slice's state; its labels are written in place. old: labels (D, H, W) before the prompt. touched:
    slices that a human has prompted or mended: never written; between two of them the mask is drawn from one shape
    to the other. limits: first and last slice allowed.
    """
    changed = [z for z in sorted(touched) if (state_of(z).labels != old[z]).any()]
    if not changed or prompt.kind not in ("click", "scribble", "box"):
        return
    for region in state_of(changed[0]).task.regions:
        for step, first in ((1, changed[-1]), (-1, changed[0])):
            now, before = state_of(first).mask(region), mask_of(old[first], region)
            if not (now != before).any():
                continue
            other = _next_touched(first, step, touched)
            end = limits[1] if step > 0 else limits[0]
            stop = end + step if other is None else other
            if other is not None and (other - end) * step > 0:
                stop = end + step
            goal = None if other is None or stop != other else state_of(other).mask(region)
            yield from _one_way(state_of, region, first, step, stop, now, before, goal)


def _next_touched(first: int, step: int, touched: set[int]) -> int | None:
    ahead = [z for z in touched if (z - first) * step > 0]
    return min(ahead, key=lambda z: abs(z - first)) if ahead else None


def _one_way(
    state_of: Callable[[int], SliceState],
    region: Region,
    first: int,
    step: int,
    stop: int,
    now: Mask,
    before: Mask,
    goal: Mask | None,
) -> Iterator[int]:
    """Slices from `first` to before `stop`; goal: the mask in `stop`, made by a human, None = no such slice."""
    shape, change = now, now ^ before
    given = any_begun(state_of(first), region)
    for z in range(first + step, stop, step):
        state = state_of(z)
        if any_begun(state, region) != given:
            return  # where an automatic mask begins or ends is a judgement of its own
        if given:
            moved = _corrected(state, region, change, bool((change & now).any()))
            if moved is None:
                return
            change = moved
        else:
            expected = shape
            if goal is not None and goal.any():
                expected = between(now, goal, abs(z - first) / abs(stop - first))
            found = _found_again(state, region, expected, certain=goal is not None and bool(goal.any()))
            if found is None:
                return
            replace_region(state, region, found)
            shape = found
        yield z


def any_begun(state: SliceState, region: Region) -> bool:
    """Did the session begin with something of this region in the slice?"""
    return state.begun is not None and bool(mask_of(state.begun, region).any())


def _found_again(state: SliceState, region: Region, expected: Mask, certain: bool) -> Mask | None:
    """The object of a neighbouring slice in this one, None where it has ended. certain: it goes on, a human says so."""
    extent = extent_of(expected)
    if extent is None:
        return None
    logits, alone = looked_for(state, expected, extent)
    near = is_near(expected, extent)
    found = pieces_touching((logits > 0) & near, expected)
    area, was, overlap = int(found.sum()), int(expected.sum()), dice(found, expected)
    if certain:
        return found if overlap > 0.7 else expected
    sure = float((1 / (1 + np.exp(-alone[found]))).mean()) if area else 0.0
    return None if area < max(LEAST_AREA * was, 12) or overlap < LEAST_OVERLAP or sure < SURE else found


def looked_for(
    state: SliceState, expected: Mask, extent: Box, box: Box | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (H, W) of an object that is expected in a slice: the mean of two looks, and the one that does not know
    the expected mask. extent: the mask's; box: what a user drew around the object, if anything."""
    view = view_around([extent] if box is None else [extent, box], state.picture.shape, state.engine.size, margin=1.6)
    given = RegionPrompts(positive=_deepest(expected), box=box)
    known = network_input(state.picture, view, given, view.mask_on_grid(expected))
    fresh = known.copy()
    fresh[-2:] = 0
    both = state.engine.run(np.stack([known, fresh]))
    return _in_slice(both.mean(0), view), _in_slice(both[1], view)


def is_near(expected: Mask, extent: Box) -> Mask:
    """Where the object of the next slice may lie."""
    size = max(extent[2] - extent[0], extent[3] - extent[1])
    return np.asarray(ndimage.distance_transform_edt(~expected) <= max(DRIFT * size, 2))


def _corrected(state: SliceState, region: Region, change: Mask, add: bool) -> Mask | None:
    """A correction carried into a slice that has a mask of its own; what changed there, None where it has ended."""
    mask = state.mask(region)
    wrong = change & (~mask if add else mask)
    if wrong.sum() < LEAST_CHANGE * change.sum() or not mask.any():
        return None
    points = _deepest(wrong)
    given = RegionPrompts(
        positive=points if add else _deepest(mask & ~change), negative=points if not add else points[:0]
    )
    new = correction(state.engine, state.picture, given, mask, points, add, free=False)
    near = ndimage.binary_dilation(change, iterations=3)
    new = np.where(near, new, mask)
    moved: Mask = new ^ mask
    if moved.sum() < LEAST_CHANGE * change.sum():
        return None
    replace_region(state, region, new)
    return moved


def replace_region(state: SliceState, region: Region, mask: Mask) -> None:
    """Write a region's mask into a slice, by the rules between labels."""
    masks = {r.name: state.mask(r) for r in state.task.regions}
    masks[region.name] = mask
    write(state, masks)


def _deepest(mask: Mask) -> Points:
    """The pixel (1, 2) furthest from the border of a mask; none for an empty mask."""
    if not mask.any():
        return np.zeros((0, 2), np.intp)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.array([np.unravel_index(int(depth.argmax()), mask.shape)], np.intp)


def _in_slice(logits: NDArray[np.float32], view: View) -> NDArray[np.float32]:
    out = np.full(view.shape, -20.0, np.float32)
    out[view.window] = view.in_window(logits)
    return out


def between(one: Mask, other: Mask, part: float) -> Mask:
    """The shape at `part` (0..1) of the way from one mask to another, by signed distances."""
    a, b = (ndimage.distance_transform_edt(m) - ndimage.distance_transform_edt(~m) for m in (one, other))
    return np.asarray((1 - part) * a + part * b > 0)
