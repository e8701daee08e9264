"""Is this mask fit to learn from? Errors that stop it, warnings worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .records import Scan
from .tasks import Task

IGNORE = 255  # not labelled


@dataclass(frozen=True)
class Finding:
    """One thing about a mask. severity: 'error' stops it, 'warning' is shown. text: found, expected, do this."""

    severity: Literal["error", "warning"]
    text: str


def check_labels(
    labels: NDArray[Any], scan: Scan, task: Task, prediction: NDArray[np.uint8] | None = None
) -> list[Finding]:
    """What is wrong or odd about a mask (`scan.grid_shape`, values of the task, 255 = not labelled)."""
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
        names = ", ".join(f"{k} = {v}" for k, v in task.class_names.items())
        return [
            Finding(
                "error",
                f"The mask holds the values {wrong[:5]}; expected {names}, 255 = not labelled; repaint them, or say "
                f"what the codes of a foreign mask mean, e.g. tinymig finetune --labels 0:0,{wrong[0]}:1.",
            )
        ]
    if found == {IGNORE}:
        return [Finding("error", "Nothing is labelled: every pixel is 255; paint at least one stroke.")]
    painted = found & {r.label for r in task.regions}
    if not painted and not task.can_be_empty and IGNORE not in found:
        outer = task.regions[0].name
        return [Finding("error", f"The mask is empty; expected a {outer}; paint it, or leave this image out.")]
    return list(_oddities(labels, task, prediction, painted))


def _oddities(labels: NDArray[Any], task: Task, prediction: NDArray[np.uint8] | None, painted: set[int]) -> Any:
    """Warnings of a mask that can be used."""
    for region in task.regions:
        if region.label not in painted and painted and region.inside:
            yield Finding("warning", f"No {region.class_name} is labelled; the model learns that there is none.")
        mask = np.isin(labels, region.labels)
        pieces = ndimage.label(mask)[1] if task.single_object and not (labels == IGNORE).any() else 0
        if pieces > 1:
            yield Finding("warning", f"The {region.name} is in {pieces} pieces; expected one; look for stray strokes.")
    if prediction is not None and np.array_equal(labels, prediction):
        yield Finding("warning", "The mask equals the prediction; it confirms the model and teaches nothing new.")
