"""A prediction as the mask of its image: its own untouched mask is replaced, undoably; others stay, hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels, Layer
from numpy.typing import NDArray

from ...base.records import Prediction
from ...tasks.task import Task
from ..masks.locked_edits import is_locked, locked_layers, with_locked_edits
from ..napari_io.layers import KEY, grid_shape, probability_layers, put_labels, result_layer
from .case import Case

ABOUT = ("model_id", "measures", "extra", "uncertainty", "shift_score", "seconds", "status")
MOST_PREDICTIONS = 5
"""Predictions that one mask remembers, so that undo finds the numbers that belong to its labels."""

_answers: WeakKeyDictionary[Labels, list[tuple[tuple[int, ...], Prediction]]] = WeakKeyDictionary()
"""Mask -> the latest predictions that it showed, without their arrays, each with the frame of its image."""


def name_of_frame(image: Layer, frame: tuple[int, ...]) -> str:
    """What was looked at, for headings and layers: the image, or one frame of it."""
    return f"{image.name}, frame {' '.join(map(str, frame))}" if frame else image.name


def add_result(
    viewer: Any, case: Case | None, image: Layer, frame: tuple[int, ...], prediction: Prediction, task: Task
) -> tuple[Labels, str]:
    """Show a prediction of an image of a case, or of one frame of it: the layer that holds the mask, and what became of
    an earlier one ('': nothing to tell). Probabilities that it carries become layers below the mask."""
    locked = locked_layers(viewer.layers, image)
    labels, kept = with_locked_edits(prediction.labels.reshape(grid_shape(image, frame)), locked)
    about: dict[str, Any] = {key: getattr(prediction, key) for key in ABOUT}
    mask = result_layer(image, labels, task, f"{name_of_frame(image, frame)} mask", about, frame)
    for extra in probability_layers(image, prediction, task, frame):
        viewer.add_layer(extra)
    earlier = case.mask if case is not None else None
    shown = put_result(viewer, case, mask)
    slim = replace(prediction, labels=prediction.labels[:0], probabilities=None, uncertainty_map=None)
    _answers[shown] = [*_answers.get(shown, []), (frame, slim)][-MOST_PREDICTIONS:]
    told = [f"{kept} locked pixels were kept as you painted them."] if kept else []
    if earlier not in (None, shown) and not earlier.visible:
        told.append(f"'{earlier.name}', which you mended, stays as a hidden layer.")
    return shown, " ".join(told)


def answer_of(mask: Labels, frame: tuple[int, ...]) -> Prediction | None:
    """The prediction of a frame whose numbers a mask carries now, without its arrays; None where none was made."""
    numbers = mask.metadata.get(KEY, {}).get("measures")
    known = [p for of, p in _answers.get(mask, []) if of == frame and p.measures == numbers]
    return known[-1] if known else None


def put_result(viewer: Any, case: Case | None, new: Labels) -> Labels:
    """Add a mask made by `result_layer`; the layer that shows it now.

    The newest mask of the case that lies in the same place, is for the same task, and is as it was predicted takes the
    labels (Ctrl-Z gives the old ones back); a mended or locked mask stays, hidden, and the new one becomes a layer of
    its own: two masks over each other show neither.
    """
    own = untouched_mask(case, new)
    if own is None:
        earlier = case.mask if case is not None else None
        if case is not None and earlier is not None and _alike(earlier, new):
            earlier.visible = False
            case.hidden.add(earlier.unique_id)  # also in a case that is not on show now
        viewer.add_layer(new)
        return new
    kept = new.metadata[KEY]
    replace_prediction(own, np.asarray(new.data), {k: kept[k] for k in ABOUT if k in kept})
    return own


def untouched_mask(case: Case | None, new: Labels) -> Labels | None:
    """The mask of a case that a new one may replace: same task, same place, nobody changed or locked it."""
    mask = case.mask if case is not None else None
    if mask is None or is_locked(mask) or not _alike(mask, new):
        return None
    return mask if np.array_equal(mask.data, mask.metadata[KEY].get("predicted")) else None


def _alike(mask: Labels, new: Labels) -> bool:
    tasks = [layer.metadata.get(KEY, {}).get("task") for layer in (mask, new)]
    names = [task.get("name") if isinstance(task, dict) else None for task in tasks]
    if names[0] is None or names[0] != names[1] or mask.data.shape != new.data.shape:
        return False
    return bool(np.allclose(mask.extent.world, new.extent.world))


def replace_prediction(mask: Labels, labels: NDArray[np.uint8], about: dict[str, Any]) -> None:
    """Put another prediction into a mask: one undoable edit; `follow_undo` brings its numbers back."""
    own = mask.metadata[KEY]
    before = {key: own.get(key) for key in ("predicted", *about)}
    after = {"predicted": labels.copy(), **about}
    own["predictions"] = [*own.get("predictions", [before]), after][-MOST_PREDICTIONS:]
    own.update(after)
    put_labels(mask, labels)


def follow_undo(mask: Labels) -> None:
    """After an undo: if the labels are those of another prediction of this mask, its numbers are the mask's again."""
    own = mask.metadata.get(KEY, {})
    if np.array_equal(mask.data, own.get("predicted")):
        return
    for known in own.get("predictions", []):
        if np.array_equal(mask.data, known["predicted"]):
            own.update(known)
            return
