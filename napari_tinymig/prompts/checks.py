"""What a session refuses, each with one sentence: found, expected, do this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.errors import UnsupportedInput
from ..tasks.task import Task
from .planes import Planes
from .records import Prompt

Position = tuple[int, ...]


def checked_position(position: ArrayLike, shape: tuple[int, ...]) -> Position:
    """A position in whole pixels. Raises ValueError for the wrong number of axes, NaN, or outside the image."""
    axes = "(y, x)" if len(shape) == 2 else "(z, y, x)"
    try:
        values = np.asarray(position, np.float64).reshape(-1)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.size != len(shape) or not np.isfinite(values).all():
        raise ValueError(f"the prompt is at {position!r}; expected {len(shape)} finite numbers {axes}; give its pixel.")
    at = tuple(int(v) for v in np.floor(values + 0.5))
    if any(not 0 <= v < n for v, n in zip(at, shape)):
        shown = tuple(float(v) for v in values)
        raise ValueError(f"the prompt at {shown} lies outside the image of shape {shape}; click inside it.")
    return at


def checked_label(label: Any, task: Task) -> int:
    """A label of the task, or 0. Raises ValueError naming the labels there are."""
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or int(label) not in task.class_names:
        known = ", ".join(f"{k} = {v}" for k, v in task.class_names.items())
        raise ValueError(f"label {label!r} is not one of task '{task.name}'; expected {known}; choose one of them.")
    return int(label)


def checked_box(positions: tuple[Position, ...], planes: Planes) -> None:
    """Raise ValueError for a box that is not two corners, or without area in its slices."""
    if len(positions) != 2:
        raise ValueError(f"the box has {len(positions)} corners; expected two opposite ones; give both.")
    low, high = planes.corners(positions)
    if min(b - a for a, b in zip(low, high)) < 2:
        if planes.slice_of(positions[0]) == planes.slice_of(positions[1]):
            raise ValueError(f"the box from {low} to {high} is empty; expected at least 3 pixels each way; draw it.")
        raise ValueError(
            f"the box from {positions[0]} to {positions[1]} is drawn across the slices and flat within them; expected "
            f"at least 3 pixels each way in a slice (axis {planes.axis} counts the slices); draw it in a slice."
        )


def checked_prompt(prompt: Prompt, planes: Planes, task: Task) -> Prompt:
    """A prompt of a file, checked as a user's would be."""
    positions = tuple(checked_position(p, planes.shape) for p in prompt.positions)
    if prompt.kind in ("click", "scribble", "box") and not positions:
        raise ValueError(f"a {prompt.kind} holds no position; expected {planes.shape} pixels; give them.")
    if prompt.kind == "box":
        checked_box(positions, planes)
    return replace(prompt, positions=positions, label=checked_label(prompt.label, task))


def checked_start(start: ArrayLike, shape: tuple[int, ...], task: Task) -> NDArray[np.uint8]:
    """A copy of labels to mend. Raises ValueError for another shape or for labels that the task lacks."""
    labels = np.asarray(start)
    if labels.shape != shape:
        raise ValueError(f"start has shape {labels.shape}; expected the image's {shape}; give labels of this image.")
    found = np.unique(labels)
    if wrong := [v for v in found.tolist() if v not in task.class_names]:
        known = ", ".join(f"{k} = {v}" for k, v in task.class_names.items())
        raise ValueError(f"start holds the labels {wrong[:5]}; expected {known} of task '{task.name}'; map them first.")
    return labels.astype(np.uint8)


def checked_pixels(pixels: NDArray[Any]) -> NDArray[Any]:
    """The image. Raises UnsupportedInput where it is empty or holds no finite number."""
    if not pixels.size or min(pixels.shape[:2]) < 1:
        raise UnsupportedInput(f"the image has shape {pixels.shape}; expected at least one pixel; open another.")
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).any():
        raise UnsupportedInput("the image holds no finite number (all NaN or Inf); expected an image; export it again.")
    return pixels


def refuse_locked(found: Iterable[int], label: int, locked: Iterable[int], task: Task) -> None:
    """Raise ValueError if a prompt would write a locked label or over one (`found`: labels at its pixels)."""
    held = set(locked)
    names = task.class_names
    for value in sorted({*found, label} & held):
        raise ValueError(
            f"label {value} ({names.get(value, 'unknown')}) is locked and stays as it is; expected an unlocked label; "
            "unlock it first."
        )
