"""Which image, and which one or two models look at it: the first card of panels that hold an image against models."""

from __future__ import annotations

from collections.abc import Callable

from napari.layers import Layer
from qtpy.QtWidgets import QWidget

from ...tasks.table import usual_task
from ..napari_io.layer_geometry import KEY
from ..napari_io.layers import kind_of, why_no_image
from .choosers import LayerChooser
from .model_chooser import ModelChooser
from .panel import Panel
from .style import EmptyState, Section

MAP, WHAT_IF = KEY + "-map", KEY + "-what-if"  # metadata keys of layers that are made from an image, and are none


def is_an_image(layer: Layer) -> bool:
    """True for a layer that a model can look at; maps and spoiled copies made by the panels are not offered."""
    return kind_of(layer) is not None and not {MAP, WHAT_IF} & set(layer.metadata)


class ImageAndModels(Section):
    """Rows that choose the image, a model that can read it, and a second one; they follow the viewer's layers.

    The panel may add rows of its own between the image and `add_models`, and calls `follow` when all its parts exist.
    """

    def __init__(self, panel: Panel, heading: str, empty: str):
        super().__init__(heading)
        self._panel = panel
        self.empty = EmptyState(empty)
        self._nothing_open = empty
        panel.column.addWidget(self.empty)
        panel.column.addWidget(self)
        self.images = LayerChooser(panel, is_an_image, "no image that fits")
        self.field("layer", self.images)
        self.model = ModelChooser()
        self.other = ModelChooser("no second model")

    def add_models(self, tip: str, other_label: str, other_tip: str) -> None:
        """Append the rows of the two models."""
        self.field("model", self.model, tip)
        self.field(other_label, self.other, other_tip)

    def follow(self, on_image: Callable[[], None], on_layers: Callable[..., None]) -> None:
        """Call `on_image` now and after another image is chosen, `on_layers` when a layer comes or goes."""
        self._on_image = on_image
        self.images.changed.connect(self._image_changed)
        self._panel.listen(self._panel.viewer.layers.events.inserted, on_layers)
        self._panel.listen(self._panel.viewer.layers.events.removed, on_layers)
        self._image_changed()

    @property
    def layer(self) -> Layer | None:
        """The chosen image, None if there is none."""
        return self.images.layer

    @property
    def input(self) -> str:
        """What a model must read to look at the chosen image: 'photograph' or 'volume'."""
        return "photograph" if self.layer is not None and kind_of(self.layer) == "photograph" else "volume"

    @property
    def model_names(self) -> list[str]:
        """The chosen models, one or two; empty where none fits."""
        return [name for name in (self.model.model_name, self.other.model_name) if name]

    def _image_changed(self) -> None:
        if self.layer is not None:
            self.model.offer(self.input, usual_task(self.input).name)
            self.other.offer(self.input)
        self._on_image()

    def enable(self, go: QWidget, tip: str, busy: bool) -> None:
        """Enable a button that needs an image and a model; its tool tip is `tip`, or says what is missing."""
        missing = self.missing()
        self.empty.setVisible(self.layer is None)
        self.empty.setText(why_no_image(self._panel.viewer.layers) or self._nothing_open)
        go.setEnabled(not missing and not busy)
        go.setToolTip(missing or tip)

    def missing(self) -> str:
        """What a user has to do first; '' when there is an image and a model for it."""
        if self.layer is None:
            return why_no_image(self._panel.viewer.layers) or "Open an image first."
        if not self.model.model_name:
            return "No model that reads this kind of image is installed; import one in the Models panel."
        return ""
