"""Is this mask fit to learn from? Errors that stop it, warnings worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..base.records import Scan
from ..tasks.task import Task

IGNORE = 255  # not labelled
MOST_CODES = 8  # a mask with more values than this is a picture


@dataclass(frozen=True)
class Finding:
    """One thing about a mask. severity: 'error' stops it, 'warning' is shown. text: found, expected, do this."""

    severity: Literal["error", "warning"]
    text: str


def check_labels(
    labels: NDArray[Any],
    scan: Scan,
    task: Task,
    prediction: NDArray[np.uint8] | None = None,
    foreign: bool = False,
) -> list[Finding]:
    """What is wrong or odd about a mask (`scan.grid_shape`, values of the task, 255 = not labelled).

    foreign: the mask was not made here, so that a 255 in it may mean the object, as in most programs.
    """
    if labels.shape != scan.grid_shape:
        return [
            Finding(
                "error",
                f"The mask has shape {labels.shape}, the image {scan.grid_shape}; expected equal shapes; "
                "draw on a Labels layer made for this image.",
            )
        ]
    if labels.dtype.kind not in "iub":
        return [Finding("error", f"The mask holds {labels.dtype} numbers; expected whole numbers.")]
    found = set(np.unique(labels).tolist())
    allowed = {0, IGNORE} | {r.label for r in task.regions}
    if wrong := sorted(found - allowed):
        return [Finding("error", _wrong_values(wrong, found, task))]
    if found == {IGNORE}:
        return [Finding("error", "Nothing is labelled: every pixel is 255; paint at least one stroke.")]
    painted = found & {r.label for r in task.regions}
    if foreign and not painted and IGNORE in found:
        return [
            Finding(
                "error",
                "The mask holds only 0 and 255, and 255 means 'not labelled' here; if 255 is the "
                f"{task.regions[0].name}, say so with the label codes (--labels) 0:0,255:{task.regions[0].label}.",
            )
        ]
    if not painted and not task.can_be_empty and IGNORE not in found:
        outer = task.regions[0].name
        return [Finding("error", f"The mask is empty; expected a {outer}; paint it, or leave this image out.")]
    if IGNORE not in found and (text := _half_drawn(labels, task, painted)):
        return [Finding("error", text)]
    return list(_oddities(labels, task, prediction, painted))


def _wrong_values(wrong: list[int], found: set[int], task: Task) -> str:
    names = ", ".join(f"{k} = {v}" for k, v in task.class_names.items())
    text = f"The mask holds the values {wrong[:5]}; expected {names}, 255 = not labelled; "
    if len(found) > MOST_CODES:
        return (
            f"{text}so many values come from a JPEG, or from soft edges; save the mask as PNG or TIFF without "
            "compression and smoothing, one number for each class."
        )
    codes = ",".join(f"{code}:?" for code in sorted(found))
    return f"{text}repaint them, or say what each means with the label codes (--labels) {codes}, a class for each ?."


def _half_drawn(labels: NDArray[Any], task: Task, painted: set[int]) -> str:
    """Why a mask of which everything counts as labelled cannot be all that was seen; '' if it can."""
    outer = {r.name: r for r in task.regions}
    for region in task.regions:
        around = outer.get(region.inside or "")
        if around is not None and region.label in painted and around.label not in painted:
            return (
                f"There is a {region.class_name} without any {around.class_name} around it, which would teach that "
                f"the {around.name} ends there; paint the {around.class_name} ({around.label}), too, or set what was "
                "not drawn to 255."
            )
    if labels.ndim == 3 and task.single_object:
        drawn = np.flatnonzero((labels > 0).any(axis=(1, 2)))
        gaps = sorted(set(range(int(drawn[0]), int(drawn[-1]))) - set(drawn.tolist())) if len(drawn) else []
        if gaps:
            return (
                f"{len(gaps)} slice(s) between painted ones are empty (slice {gaps[0] + 1} is the first), which would "
                f"teach that there is no {task.regions[0].name}; tick 'only slices with paint are labelled', or paint "
                "them (in a mask from elsewhere 255 = not labelled)."
            )
    return ""


def _oddities(labels: NDArray[Any], task: Task, prediction: NDArray[np.uint8] | None, painted: set[int]) -> Any:
    """Warnings of a mask that can be used."""
    for region in task.regions:
        if region.label not in painted and painted and region.inside:
            yield Finding("warning", f"No {region.class_name} is labelled; the model learns that there is none.")
        mask = np.isin(labels, region.labels)
        pieces = ndimage.label(mask)[1] if task.single_object and not (labels == IGNORE).any() else 0
        if pieces > 1:
            yield Finding("warning", f"The {region.name} is in {pieces} pieces; expected one; look for stray strokes.")
    if labels.ndim == 3 and task.single_object and not (labels == IGNORE).any():
        drawn = int((labels > 0).any((1, 2)).sum())
        if 0 < drawn <= len(labels) / 4:
            yield Finding(
                "warning",
                f"Only {drawn} of {len(labels)} slices hold paint; the others teach that there is no "
                f"{task.regions[0].name}. If they were not looked at, tick 'only slices with paint are labelled'.",
            )
    if prediction is not None and np.array_equal(labels, prediction):
        yield Finding("warning", "The mask equals the prediction; it confirms the model and teaches nothing new.")


def share_mended(mask: NDArray[np.uint8], prediction: NDArray[Any]) -> float:
    """Changed pixels as a part of the pixels that the mask or the prediction labels; 255, not labelled, counts nowhere.
    0 where both are empty."""
    labelled = mask != IGNORE
    either = labelled & ((mask != 0) | (prediction != 0))
    changed = int(np.count_nonzero((mask != prediction) & labelled))
    return changed / max(int(np.count_nonzero(either)), 1)
