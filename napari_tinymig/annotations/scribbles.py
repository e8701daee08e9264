"""Sparse masks on a canvas: what a Labels layer shows of a mask in which most pixels say nothing, and back.

In a mask 0 means background and 255 means not labelled. On a canvas 0 is what the eraser leaves, so that it can only
mean "nothing was said"; background is a class with a value of its own, painted as every other class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..tasks.task import Task
from .label_checks import IGNORE

Labelled = Literal["all", "painted", "slices"]
"""What of a canvas is labelled: every pixel, the painted pixels, or the slices with paint."""
BACKGROUND_NAME = "background (painted)"


def background_value(task: Task) -> int:
    """Canvas value of painted background: the first one above the task's classes that is free."""
    used = {r.label for r in task.regions}
    return next(v for v in (*range(max(used) + 1, IGNORE), *range(1, IGNORE)) if v not in used)


def canvas_classes(task: Task) -> dict[int, str]:
    """Class name by canvas value."""
    return task.class_names | {0: "not labelled", background_value(task): BACKGROUND_NAME}


def shows_background(features: Mapping[str, Any], task: Task) -> bool:
    """True for the class table (columns index and class) of a layer in which background can be painted."""
    return background_value(task) in list(features.get("index", ()))


def to_canvas(labels: NDArray[np.uint8], task: Task) -> tuple[NDArray[np.uint8], Labelled]:
    """The canvas of a mask (same shape), and what of it is labelled.

    In a volume whose slices are labelled whole or not at all, 0 stays 0 in a labelled slice with paint; a labelled
    slice without any is filled with the painted background, which tells it from the others.
    """
    unknown = labels == IGNORE
    if not unknown.any():
        return labels.astype(np.uint8), "all"
    background = background_value(task)
    if labels.ndim == 3 and bool((unknown.all((1, 2)) | ~unknown.any((1, 2))).all()):
        canvas = np.where(unknown, 0, labels)
        canvas[~unknown.any((1, 2)) & ~(labels > 0).any((1, 2))] = background
        return canvas.astype(np.uint8), "slices"
    return np.where(unknown, 0, np.where(labels == 0, background, labels)).astype(np.uint8), "painted"


def from_canvas(canvas: NDArray[Any], task: Task, labelled: Labelled) -> NDArray[Any]:
    """The mask of a canvas: painted background becomes 0, and what is not labelled 255.

    Values keep their type where it holds 255, so that wrong ones can still be named.
    """
    mask = np.where(canvas == background_value(task), 0, canvas)
    if labelled == "painted":
        return np.where(canvas == 0, IGNORE, mask)
    if labelled == "slices":
        empty = ~(canvas > 0).any(axis=tuple(range(1, canvas.ndim)), keepdims=True)
        return np.where(empty, IGNORE, mask)
    return mask
