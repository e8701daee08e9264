"""One prompt, one region, one slice: look, and change the mask by the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage

from ..base.binary_masks import label_pieces
from ..base.geometry import Box, place
from .maps import prompt_maps
from .network import PromptEngine
from .rules import Mask, added, depths, disks, pieces_at, taken, within_reach
from .zoom import View, Window, box_of, extent_of, first_views, view_around

REACH = 5.0
"""How far a correction of a given mask acts, in distances of the click from the mask's border (chosen on development
images)."""
WIDE = 2.2
"""Side of the view of a deep fault in sides of the piece and the prompt: nearer to the middle of what the network was
taught on (1.15 to 3.5) than RITM's 1.4, which shows a shallow one's border better (chosen on development images)."""
DEEP = 0.2
"""A click this far from the mask's border, in parts of the root of its area, means a large fault: the mask so far is
trusted less (chosen on development images)."""
SHALLOW = 0.08
"""A click nearer to the border than this, in the same measure, is a small fault: it is mended locally even where the
mask was made by prompts alone (chosen on development images)."""
DOUBT = 0.2
"""Every further prompt on a slice asks the network to be surer, by so many logits, before a pixel of a shallow fault is
changed: of a mask that is nearly right, what the network doubts is as likely right as wrong (chosen on development
images)."""
MOST_DOUBT = 1.0
"""... up to so many (chosen on development images)."""
NEAR = 8.0
"""A fault is shallow whose prompt lies nearer to the border than this, in pixels of the network's grid (chosen on
development images)."""
MOST_POINTS = 48
"""Points of a scribble that the network sees; all of them are obeyed."""
Points = NDArray[np.intp]


def _none() -> Points:
    return np.zeros((0, 2), np.intp)


@dataclass(frozen=True)
class RegionPrompts:
    """All prompts about one region on one slice: points (n, 2) in pixels, and the last box (pixel edges).

    count: how many clicks and scribbles the points come from.
    """

    positive: Points = field(default_factory=_none)
    negative: Points = field(default_factory=_none)
    box: Box | None = None
    count: int = 0


@dataclass(frozen=True)
class Picture:
    """A slice as the networks see it, (H, W, 3) uint8."""

    rgb: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @cached_property
    def pillow(self) -> Image.Image:
        """The same for Pillow, made once: most of what a view of a photograph cost was to make it again."""
        return Image.fromarray(np.ascontiguousarray(self.rgb))


def look(
    engine: PromptEngine, picture: Picture, views: Sequence[View], given: RegionPrompts, mask: Mask | None
) -> NDArray[np.float32]:
    """Logits (n, size, size) of some views in one batch; mask (H, W): the mask so far, None = none."""
    previous = [None if mask is None else view.mask_on_grid(mask) for view in views]
    batch = [network_input(picture, v, given, p) for v, p in zip(views, previous)]
    return engine.run(np.stack(batch))


def look_both_ways(
    engine: PromptEngine, picture: Picture, view: View, given: RegionPrompts, previous: Mask
) -> NDArray[np.float32]:
    """Logits (size, size) of a view: the mean of two looks, one of which does not know the mask so far.

    previous: that mask on the view's grid. Alone, the look with the mask clings to it, and the look without it forgets
    what earlier prompts have settled.
    """
    known = network_input(picture, view, given, previous)
    fresh = known.copy()
    fresh[-2:] = 0
    return np.asarray(engine.run(np.stack([known, fresh])).mean(0))


def network_input(picture: Picture, view: View, given: RegionPrompts, previous: Mask | None) -> NDArray[np.float32]:
    """(8, size, size): a view's image and prompt maps."""
    box = None
    if given.box is not None:
        (y0, x0), (y1, x1) = view.on_grid([given.box[:2], (given.box[2] - 1, given.box[3] - 1)])
        box = (y0, x0, y1, x1)
    positive, negative = (view.on_grid(_thinned(p)) for p in (given.positive, given.negative))
    maps = prompt_maps(view.size, positive, negative, box, previous)
    return np.concatenate([view.picture(picture.rgb, picture.pillow), maps]).astype(np.float32, copy=False)


def first_answer(engine: PromptEngine, picture: Picture, given: RegionPrompts, points: ArrayLike) -> Mask:
    """The object at a click, scribble or box where the mask holds nothing yet, (H, W).

    Without a box the whole slice and nearer views are looked at in one batch; the view in which the object is
    surest, of a good size and away from the edge, is taken. Then a second look zooms on what was found.
    """
    at = np.asarray(points, np.intp).reshape(-1, 2)
    if given.box is not None:
        views = [view_around([given.box], picture.shape, engine.size)]
    elif np.ptp(at, axis=0).max() > 8:
        views = [view_around([box_of(at)], picture.shape, engine.size, m) for m in (1.6, 3.0)]
    else:
        views = first_views(at[0], picture.shape, engine.size)
    logits = look(engine, picture, views, given, None)
    aims = at if given.box is None else [box_centre(given.box)]
    pieces = [_piece(g, v.on_grid(aims)) for g, v in zip(logits, views)]
    best = int(np.argmax([_goodness(g, p) for g, p in zip(logits, pieces)]))
    view, piece = views[best], pieces[best] if given.box is None else logits[best] > 0
    extent = extent_of(piece)
    if extent is None:
        return np.zeros(picture.shape, bool)
    found: Box = tuple(view.box[i % 2] + v / view.scale for i, v in enumerate(extent))  # type: ignore[assignment]
    nearer = view_around([found] if given.box is None else [found, given.box], picture.shape, engine.size)
    seen = [(b - view.box[i % 2]) * view.scale for i, b in enumerate(nearer.box)]
    previous, _ = place(logits[best], tuple(seen), engine.size)  # type: ignore[arg-type]
    return _on_slice(look_both_ways(engine, picture, nearer, given, previous > 0), nearer)


def correction(
    engine: PromptEngine, picture: Picture, given: RegionPrompts, mask: Mask, points: Points, positive: bool, free: bool
) -> Mask:
    """The mask (H, W) after a click or scribble of `points` (n, 2) that a region's mask contradicts.

    free: the mask was made by prompts alone, so that the answer may reshape the whole piece; otherwise only the fault
    at the points is mended.
    """
    own = near_piece(mask, points)
    if own is None:
        return appeared(engine, picture, given, mask, points) if positive else mask
    view = view_around([own, box_of(points)], picture.shape, engine.size)
    part, at = _in_window(mask, view.window, points)
    deep = depths(part, at, positive)
    if float(deep.max()) * view.scale >= NEAR:
        view = view_around([own, box_of(points)], picture.shape, engine.size, WIDE)
        part, at = _in_window(mask, view.window, points)
    share = float(deep.max()) / np.sqrt(np.count_nonzero(part) + 1)
    free = free and share > SHALLOW
    logits = fault_logits(engine, picture, view, given, mask, fresh=free or share > DEEP)
    sure = 0.0 if free else doubt(given.count, float(deep.max()) * view.scale)
    radius = None if free else np.maximum(deep * REACH, 6 / view.scale)
    window = view.window if radius is None else around(points, float(radius.max()), view.window)
    part, at = _in_window(mask, window, points)
    answer = view.in_window(logits, window) > (sure if positive else -sure)
    core = disks(part.shape, at, round(2 / view.scale) if len(points) == 1 else 0)
    where = None if radius is None else within_reach(part.shape, at, radius)
    out = mask.copy()
    out[window] = (added if positive else taken)(part, answer, at, core, where)
    return out


def _in_window(mask: Mask, window: Window, points: Points) -> tuple[Mask, Points]:
    """The part of a mask (H, W) in a window that holds the points (n, 2), and the points in its pixels."""
    rows, columns = window
    return mask[rows, columns], points - (rows.start, columns.start)


def around(points: Points, radius: float, window: Window) -> Window:
    """The part of a window that lies within `radius` of points (n, 2): what is mended locally costs what it changes."""
    if not np.isfinite(radius):
        return window
    low, high = points.min(0) - int(np.ceil(radius)), points.max(0) + int(np.ceil(radius)) + 1
    rows, columns = (slice(max(int(a), w.start), min(int(b), w.stop)) for a, b, w in zip(low, high, window))
    return rows, columns


def fault_logits(
    engine: PromptEngine, picture: Picture, view: View, given: RegionPrompts, mask: Mask, fresh: bool
) -> NDArray[np.float32]:
    """Logits (size, size) of a view after a prompt that a mask (H, W) contradicts. fresh: do not cling to the mask."""
    if fresh:
        return look_both_ways(engine, picture, view, given, view.mask_on_grid(mask))
    return np.asarray(look(engine, picture, [view], given, mask)[0])


def doubt(count: int, depth: float) -> float:
    """How sure, in logits, the network must be of a pixel that changes: after `count` prompts on the slice, at a fault
    `depth` pixels of its grid from the border."""
    return min(DOUBT * max(count - 1, 0), MOST_DOUBT) if depth < NEAR else 0.0


def appeared(engine: PromptEngine, picture: Picture, given: RegionPrompts, mask: Mask, points: Points) -> Mask:
    """The mask (H, W) with an object that it held nothing of."""
    answer = first_answer(engine, picture, given, points)
    found = extent_of(answer)
    rows, columns = pixels_of([box_of(points), *([] if found is None else [found])], mask.shape)
    part, at = mask[rows, columns], points - (rows.start, columns.start)
    core = disks(part.shape, at, 2 if len(points) == 1 else 0)
    out = mask.copy()
    out[rows, columns] = added(part, answer[rows, columns], at, core, None)
    return out


def pixels_of(extents: Sequence[Box], shape: tuple[int, ...]) -> Window:
    """The whole pixels of a slice that hold some boxes, with one pixel around them."""
    low, high = np.min([e[:2] for e in extents], axis=0) - 1, np.max([e[2:] for e in extents], axis=0) + 1
    rows, columns = (slice(max(int(a), 0), min(int(b), n)) for a, b, n in zip(low, high, shape))
    return rows, columns


def near_piece(mask: Mask, points: Points) -> Box | None:
    """The extent of the piece of a mask that points mean: the one they lie on, or the nearest one.

    The nearest counts if it is not further than three fifths of its size; None = no piece.
    """
    whole = extent_of(mask)
    if whole is None:
        return None
    rows, columns = pixels_of([whole], mask.shape)
    numbers, count = label_pieces(mask[rows, columns], corners=True)
    if count == 1:
        boxes = [whole]
    else:
        found = ndimage.find_objects(numbers)
        boxes = [
            (r.start + rows.start, c.start + columns.start, r.stop + rows.start, c.stop + columns.start)
            for r, c in found
        ]
    at = points - (rows.start, columns.start)
    at = at[(at >= 0).all(1) & (at < numbers.shape).all(1)]
    on = [boxes[n - 1] for n in np.unique(numbers[at[:, 0], at[:, 1]]) if n]
    if not on:
        centre = points.mean(0)
        gaps = [float(np.hypot(*np.maximum(np.maximum(np.subtract(b[:2], centre), centre - b[2:]), 0))) for b in boxes]
        near = int(np.argmin(gaps))
        b = boxes[near]
        on = [b] if gaps[near] <= 0.6 * max(b[2] - b[0], b[3] - b[1]) else []
    if not on:
        return None
    low, high = np.min([b[:2] for b in on], axis=0), np.max([b[2:] for b in on], axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def box_centre(box: Box | None) -> tuple[float, float]:
    """The pixel position in the middle of a box; (0, 0) without one."""
    return (0.0, 0.0) if box is None else ((box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2)


def _on_slice(logits: NDArray[np.float32], view: View) -> Mask:
    """The mask (H, W) of one view's logits; nothing outside the view."""
    mask = np.zeros(view.shape, bool)
    mask[view.window] = view.in_window(logits) > 0
    return mask


def _piece(logits: NDArray[np.float32], points: NDArray[np.float64]) -> Mask:
    """The pieces of a grid's answer at some points of the grid."""
    return pieces_at(logits > 0, np.clip(np.rint(points).astype(np.intp), 0, logits.shape[0] - 1))


def _goodness(logits: NDArray[np.float32], piece: Mask) -> float:
    """How much a view's answer looks like a whole object: sure inside, of a good size, not cut by the edge."""
    area = float(piece.mean())
    if area == 0:
        return -1.0
    sure = float(np.tanh(np.clip(logits[piece], 0, 6) / 2).mean())
    edge = float(np.concatenate([piece[0], piece[-1], piece[:, 0], piece[:, -1]]).mean())
    small = max(0.0, float(np.log(0.03 / area))) * 0.1
    return sure - 1.5 * edge - small - (0.3 if area > 0.6 else 0.0)


def _thinned(points: Points) -> Points:
    """At most `MOST_POINTS` of the points, evenly."""
    if len(points) <= MOST_POINTS:
        return points
    return points[np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)]
