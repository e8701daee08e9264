"""Sparse annotation in a Labels layer: what of it is labelled, painted background, and the class under the brush."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray
from qtpy.QtWidgets import QComboBox

from ...annotations.scribbles import (
    Labelled,
    background_value,
    canvas_classes,
    from_canvas,
    shows_background,
)
from ...tasks.colours import BACKGROUND_COLOUR
from ...tasks.task import Task
from ..napari_io.layers import KEY, class_colours, class_features

if TYPE_CHECKING:
    from ..parts.choosers import LayerChooser


def labelled_of(layer: Labels) -> Labelled | None:
    """What of a layer is labelled, where that was ever said."""
    return layer.metadata.get(KEY, {}).get("labelled") if layer.metadata else None


def set_labelled(layer: Labels, labelled: Labelled, task: Task) -> None:
    """Keep what of a layer is labelled with the layer; a sparse one gets a painted background among its classes."""
    layer.metadata.setdefault(KEY, {})["labelled"] = labelled
    if labelled != "all" and not shows_background(layer.features, task):
        looks = canvas_looks(task, labelled)
        layer.colormap = looks["colormap"]
        layer.features = looks["features"]


def canvas_looks(task: Task, labelled: Labelled) -> dict[str, Any]:
    """Colours and class list of a layer, as keyword arguments: with the painted background where it is sparse."""
    colours = class_colours(task)
    if labelled == "all":
        return {"colormap": colours, "features": class_features(task.class_names)}
    table = dict(colours.color_dict) | {background_value(task): BACKGROUND_COLOUR}
    return {"colormap": DirectLabelColormap(color_dict=table), "features": class_features(canvas_classes(task))}


def mask_of(layer: Labels, task: Task, labelled: Labelled) -> NDArray[Any]:
    """The mask that a layer means: 255 where nothing was said."""
    canvas = np.asarray(layer.data)
    if labelled == "all" and not shows_background(layer.features, task):
        return canvas
    return from_canvas(canvas, task, labelled)


class BrushClass(QComboBox):
    """The classes of a sparse mask by name, background among them; choosing one takes the brush with it."""

    def __init__(self, layers: LayerChooser) -> None:
        super().__init__()
        self._layers = layers
        self.activated.connect(self._take)

    def offer(self, task: Task) -> None:
        """List the classes of a task; the one that the layer's brush has is chosen."""
        self.clear()
        for value, name in canvas_classes(task).items():
            if value:
                self.addItem(f"{name} = {value}", value)
        layer = self._layers.layer
        if layer is not None:
            self.setCurrentIndex(max(0, self.findData(int(layer.selected_label))))

    def _take(self, _index: int) -> None:
        layer = self._layers.layer
        if layer is not None:
            layer.selected_label = self.currentData()
            layer.mode = "paint"
