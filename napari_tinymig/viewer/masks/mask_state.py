"""How far a mask has come: predicted, mended, saved; and its headline number."""

from __future__ import annotations

import zlib
from typing import Any, Literal

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from ...measures.clinical import measure
from ...measures.declared import DECLARED
from ...reports.numbers import with_unit
from ..napari_io.layers import KEY, spacing_mm, task_of_labels

State = Literal["new", "segmented", "mended", "saved"]


def events_of_change(mask: Labels) -> tuple[Any, ...]:
    """The events after which a mask's labels may be others; napari's own undo and redo send `set_data` alone, as going
    to another slice does."""
    return mask.events.labels_update, mask.events.paint, mask.events.data, mask.events.set_data


def fingerprint(labels: NDArray[Any]) -> int:
    """A number that changes with the labels (CRC-32): whether they are still those that were saved."""
    return zlib.crc32(np.ascontiguousarray(labels).tobytes())


def note_saved(mask: Labels, labels: NDArray[Any]) -> None:
    """Remember that these labels of a mask lie in a file."""
    mask.metadata.setdefault(KEY, {})["saved"] = fingerprint(labels)


def state_of(mask: Labels | None) -> State:
    """new: no mask, or an empty one that nobody predicted. segmented: as predicted. mended: painted. saved: in a file,
    as it is now."""
    if mask is None:
        return "new"
    own, labels = mask.metadata.get(KEY, {}), np.asarray(mask.data)
    if "saved" in own and own["saved"] == fingerprint(labels):
        return "saved"
    predicted = own.get("predicted")
    if predicted is not None and predicted.shape == labels.shape:
        return "segmented" if np.array_equal(labels, predicted) else "mended"
    return "mended" if labels.any() else "new"


def headline(mask: Labels | None) -> str:
    """The first number of the mask's task, with its name and unit; '' where nothing can be measured."""
    task = task_of_labels(mask) if mask is not None else None
    if mask is not None and task is not None and task.input == "photograph" and mask.ndim == 3 and len(mask.data) > 1:
        found = int(np.count_nonzero(np.asarray(mask.data).any(axis=(1, 2))))
        return f"{found} of {len(mask.data)} frames"
    if mask is None or task is None or mask.ndim != (2 if task.input == "photograph" else 3):
        return ""
    values = measure(np.asarray(mask.data), task, spacing_mm(mask))
    for m in DECLARED.values():
        if m.main and m.key in values:
            return f"{m.name} {with_unit(values[m.key], m.unit, m.digits)}"
    return ""
