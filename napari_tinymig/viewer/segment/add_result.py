"""A prediction becomes layers: the mask, what an annotator locked kept in it, and probabilities where asked for."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels, Layer

from ...base.records import Prediction
from ...tasks.task import Task
from ..masks.locked_edits import locked_layers, with_locked_edits
from ..napari_io.layers import grid_shape, probability_layers, result_layer


def name_of_frame(image: Layer, frame: tuple[int, ...]) -> str:
    """What was looked at, for headings and layers: the image, or one frame of it."""
    return f"{image.name}, frame {' '.join(map(str, frame))}" if frame else image.name


def add_result(
    viewer: Any, image: Layer, frame: tuple[int, ...], prediction: Prediction, task: Task
) -> tuple[Labels, int]:
    """Add the mask of `image`, or of one frame of it, on top of all layers; the layer, and how many locked pixels were
    kept in it."""
    locked = locked_layers(viewer.layers, image)
    labels, kept = with_locked_edits(prediction.labels.reshape(grid_shape(image, frame)), locked)
    about: dict[str, Any] = {
        "model_id": prediction.model_id,
        "measures": prediction.measures,
        "extra": prediction.extra,
        "uncertainty": prediction.uncertainty,
        "shift_score": prediction.shift_score,
        "seconds": prediction.seconds,
        "status": prediction.status,
    }
    mask = result_layer(image, labels, task, f"{name_of_frame(image, frame)} mask", about, frame)
    for extra in probability_layers(image, prediction, task, frame):
        viewer.add_layer(extra)
    viewer.add_layer(mask)
    return mask, kept
