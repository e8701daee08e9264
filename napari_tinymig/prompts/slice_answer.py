"""A prompt on one slice becomes labels: every region that it concerns answers, and the rules between labels hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tasks.task import Region, Task
from .answer import Picture, Points, RegionPrompts, correction, first_answer, pixels_of
from .network import BoxEngine, PromptEngine
from .rules import Mask, any_of, pieces_touching
from .zoom import Window, box_of, extent_of

FREE = 4
"""So many prompts on a slice may reshape a piece that prompts alone have made; later ones mend it locally (chosen)."""
FOUND_NOTHING = "Nothing found in the box, nothing changed; draw it closer around the object, or click on it."
Corner = tuple[int, int]


@dataclass(frozen=True)
class SliceState:
    """All that an answer on one slice depends on.

    labels: (H, W), changed in place. marks: pixels (n, 2) and label of the clicks and scribbles so far. boxes: lowest
    and highest corner and label. finished: pixels of finished objects. begun: the labels that the session began with.
    box_engine: answers boxes instead of `engine`.
    """

    task: Task
    engine: PromptEngine
    picture: Picture
    labels: NDArray[np.uint8]
    marks: Sequence[tuple[Points, int]] = ()
    boxes: Sequence[tuple[Corner, Corner, int]] = ()
    locked: frozenset[int] = frozenset()
    finished: Mask | None = None
    begun: NDArray[np.uint8] | None = None
    box_engine: BoxEngine | None = None

    def mask(self, region: Region) -> Mask:
        """The region's pixels as they are."""
        return mask_of(self.labels, region)

    def given(self, region: Region, points: Points | None = None, label: int = 0) -> RegionPrompts:
        """What was given about a region so far, and now."""
        marks = [*self.marks, *([] if points is None else [(points, label)])]
        sides: dict[bool, list[Points]] = {True: [], False: []}
        for at, value in marks:
            sides[value in region.labels].append(at)
        empty = np.zeros((0, 2), np.intp)
        boxes = [(low, high) for low, high, value in self.boxes if value == region.label]
        box = (*map(float, boxes[-1][0]), boxes[-1][1][0] + 1.0, boxes[-1][1][1] + 1.0) if boxes else None
        return RegionPrompts(
            np.concatenate([*sides[True], empty]),
            np.concatenate([*sides[False], empty]),
            box,  # type: ignore[arg-type]
            len(marks),
        )

    def is_free(self, region: Region, points: Points) -> bool:
        """May an answer reshape the piece at `points`? Not if the session began with it, nor after `FREE` prompts."""
        if self.begun is not None and mask_of(self.begun, region).any():
            return False
        return len(self.marks) + len(self.boxes) < FREE


def region_of_label(task: Task, label: int) -> Region:
    """The region whose own label that is."""
    return next(r for r in task.regions if r.label == label)


def mask_of(labels: NDArray[np.uint8], region: Region) -> Mask:
    """The pixels of a region: all of its label values."""
    mask: Mask = labels == region.labels[0]
    for value in region.labels[1:]:
        mask |= labels == value
    return mask


def answer_points(state: SliceState, points: Points, label: int) -> str:
    """A click or scribble: its pixels get `label`, and the regions that disagree with it answer. Returns a note."""
    masks: dict[str, Mask] = {}
    at = (points[:, 0], points[:, 1])
    for region in state.task.regions:
        mask, positive = state.mask(region), label in region.labels
        wrong = points[mask[at] != positive]
        if len(wrong):
            given = state.given(region, points, label)
            free = state.is_free(region, wrong)
            mask = correction(state.engine, state.picture, given, mask, wrong, positive, free)
        mask[at] = positive
        masks[region.name] = mask
    write(state, masks, points, label)
    return ""


def answer_box(state: SliceState, low: Corner, high: Corner, label: int) -> str:
    """A box: its object gets `label`; label 0 empties it. Returns a note."""
    inside = np.zeros(state.labels.shape, bool)
    inside[low[0] : high[0] + 1, low[1] : high[1] + 1] = True
    if label == 0:
        write(state, {r.name: state.mask(r) & ~inside for r in state.task.regions})
        return ""
    region = region_of_label(state.task, label)
    given = state.given(region)
    given = RegionPrompts(given.positive, given.negative, (float(low[0]), float(low[1]), high[0] + 1.0, high[1] + 1.0))
    if state.box_engine is not None and given.box is not None:
        answer = state.box_engine.mask(state.picture.rgb, given.box)
    else:
        answer = first_answer(state.engine, state.picture, given, given.positive)
    answer = answer & grown(inside, low, high)
    masks = {r.name: state.mask(r) for r in state.task.regions}
    if region.inside is not None:
        answer &= masks[region.inside]
    if not answer.any():
        return FOUND_NOTHING
    own = pieces_touching(masks[region.name], answer)
    masks[region.name] = (masks[region.name] & ~own) | answer
    write(state, masks)
    return ""


def grown(inside: Mask, low: Corner, high: Corner) -> Mask:
    """The box with a twentieth more on every side: hands are not exact."""
    out = np.zeros_like(inside)
    dy, dx = (round(0.05 * (b - a + 1)) for a, b in zip(low, high))
    out[max(low[0] - dy, 0) : high[0] + dy + 1, max(low[1] - dx, 0) : high[1] + dx + 1] = True
    return out


def changed_window(state: SliceState, masks: dict[str, Mask], points: Points | None) -> Window | None:
    """The part of a slice in which masks by region differ from its labels, or `points` lie; None = nowhere."""
    extents = [] if points is None or not len(points) else [box_of(points)]
    for region in state.task.regions:
        found = extent_of(masks[region.name] ^ state.mask(region))
        extents += [] if found is None else [found]
    return pixels_of(extents, state.labels.shape) if extents else None


def write(state: SliceState, masks: dict[str, Mask], points: Points | None = None, label: int = 0) -> None:
    """Masks by region become labels, in place; `points` get `label`.

    What a region gains over another class, over finished objects and locked labels is refused; regions inside others
    are cut to them; pixels of earlier prompts stay as they are.
    """
    window = changed_window(state, masks, points)
    if window is None:
        return
    old, task = state.labels[window], state.task
    regions = {r.name: r for r in task.regions}
    new = np.zeros_like(old)
    parts = {name: mask[window] for name, mask in masks.items()}
    low, high = ([getattr(w, end) for w in window] for end in ("start", "stop"))
    at = None if points is None else points - low
    for region in task.regions:
        mask = parts[region.name]
        allowed = {0, *region.labels}
        if region.inside is not None:
            mask &= parts[region.inside]
            allowed.add(regions[region.inside].label)
        others = {r.label for r in task.regions} - allowed
        if others:
            given = at[mask[at[:, 0], at[:, 1]]] if at is not None else None
            mask &= ~any_of(old, others)
            if given is not None:
                mask[given[:, 0], given[:, 1]] = True
        new[mask] = region.label
    keep = any_of(old, state.locked) | any_of(new, state.locked) if state.locked else None
    if state.finished is not None:
        keep = state.finished[window] if keep is None else keep | state.finished[window]
    if keep is not None:
        new[keep] = old[keep]
    for told, _ in state.marks:
        p = told[(told >= low).all(1) & (told < high).all(1)] - low
        new[p[:, 0], p[:, 1]] = old[p[:, 0], p[:, 1]]
    if at is not None:
        new[at[:, 0], at[:, 1]] = label
    old[:] = new
