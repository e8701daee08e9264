"""Simulated users: where they click, scribble and draw boxes, and how often they are mistaken."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_tinymig.prompts.maps import prompt_maps

Points = list[tuple[float, float]]
COARSE = 2
"""Users are simulated on every second pixel: half a pixel of a mouse, a quarter of the time."""
ANYWHERE = 0.3
"""Share of clicks that fall anywhere in the place meant, also at its border; the others seek its middle (chosen)."""


@dataclass
class Marks:
    """What one user has drawn so far, in pixels of the network's grid."""

    positive: Points = field(default_factory=list)
    negative: Points = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None

    def maps(self, previous: NDArray[np.bool_] | None, size: int) -> NDArray[np.float32]:
        """The five prompt maps (5, size, size)."""
        return prompt_maps(size, self.positive, self.negative, self.box, previous)


def first_mark(marks: Marks, truth: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """From nothing: a click, a scribble or a box on the object of `truth` (s, s); adds to `marks`."""
    if not truth.any():  # cropped away
        return
    kind = rng.choice(["click", "scribble", "box", "box_click"], p=[0.55, 0.15, 0.2, 0.1])
    if kind in ("box", "box_click"):
        marks.box = loose_box(truth, rng)
    if kind in ("click", "box_click"):
        marks.positive.append(deep_point(truth, rng))
    if kind == "scribble":
        marks.positive += stroke(truth, rng)


def correct(marks: Marks, mask: NDArray[np.bool_], truth: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """A click or scribble where `mask` and `truth` differ most; one in fifty is mistaken in its sign."""
    missed, extra = truth & ~mask, mask & ~truth
    depth_missed, depth_extra = _depth(missed), _depth(extra)
    if max(depth_missed.max(), depth_extra.max()) <= 0:
        return
    add = depth_missed.max() >= depth_extra.max()
    region, depth = (missed, depth_missed) if add else (extra, depth_extra)
    points = stroke(region, rng) if rng.random() < 0.25 else [_pick(depth, rng)]
    if rng.random() < 0.02:
        add = not add
    (marks.positive if add else marks.negative).extend(points)


def loose_box(truth: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """The object's box, every side off by up to a tenth of the object's size."""
    ys, xs = np.nonzero(truth)
    h, w = np.ptp(ys) + 1, np.ptp(xs) + 1
    jitter = rng.uniform(-0.05, 0.1, 4) * (h, w, h, w)
    return (
        float(ys.min() - jitter[0]),
        float(xs.min() - jitter[1]),
        float(ys.max() + jitter[2]),
        float(xs.max() + jitter[3]),
    )


def deep_point(region: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    """A point inside a region, the more likely the further from its border."""
    return _pick(_depth(region), rng)


def stroke(region: NDArray[np.bool_], rng: np.random.Generator) -> Points:
    """A scribble: a bent line between three deep points, where it stays inside the region."""
    depth = _depth(region)
    corners = np.array([_pick(depth, rng) for _ in range(3)])
    steps = np.linspace(0, 1, 12)[:, None]
    line = np.concatenate([corners[i] * (1 - steps) + corners[i + 1] * steps for i in range(2)])
    at = np.clip(np.rint(line).astype(int), 0, np.array(region.shape) - 1)
    inside = region[at[:, 0], at[:, 1]]
    return [(float(y), float(x)) for y, x in line[inside]] or [_pick(depth, rng)]


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance to the region's border on the coarse grid; the frame's edge is a border too."""
    return distance_transform_edt(np.pad(region[::COARSE, ::COARSE], 1))[1:-1, 1:-1]


def _pick(depth: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """A point, mostly with probability by the square of its depth, moved by up to a pixel and a half."""
    weight = (depth > 0).ravel().astype(float) if rng.random() < ANYWHERE else np.square(depth).ravel()
    total = weight.sum()
    if total <= 0:
        y, x = (v / 2 for v in depth.shape)
    else:
        index = int(np.searchsorted(np.cumsum(weight), rng.random() * total))
        y, x = divmod(min(index, weight.size - 1), depth.shape[1])
    wobble = rng.uniform(-1.5, 1.5, 2)
    return float(y * COARSE + wobble[0]), float(x * COARSE + wobble[1])
