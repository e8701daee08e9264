"""What a classifier says of an image, and the layers that show its prompt and where it looked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtWidgets import QComboBox

from ...jobs.classifying import ClassifierAnswer
from ...reports.numbers import Tone
from ..napari_io.layer_geometry import KEY
from ..napari_io.layers import geometry_of, grid_shape
from ..parts.numbers import NumberRows
from ..parts.panel import Panel
from ..parts.style import Badge, Section, button, row, text_label

EVIDENCE_METHODS = {"covering parts (occlusion)": "occlusion", "gradient": "gradient"}
FAR = 95.0  # percentile of the source validation images beyond which an image is called unlike the examples


class ClassAnswerSection(Section):
    """The classes with their probabilities, how far the image is from the examples, and buttons for its pictures.

    Every picture becomes a new layer in exactly the place of the classified image. `on_evidence` is called for
    'Show where it looked': the question is `asked()`, its answer goes to `add_evidence`.
    """

    def __init__(self, panel: Panel, on_evidence: Callable[[], None]):
        super().__init__("Answer")
        self.panel = panel
        self.seen: ClassifierAnswer | None = None
        self.layer: Image | None = None
        self.classifier = ""
        self.badge = self.add(Badge())
        self.rows = self.add(NumberRows())
        self.line = self.add(text_label("", "hint", selectable=True))
        self.prompt_button = button("Show the prompt", self.show_prompt, tip="The learned prompt, on the image.")
        self.prompted_button = button("Show what it sees", self.show_prompted, tip="The image with the prompt on it.")
        self.add(row(self.prompt_button, self.prompted_button, stretch=None))
        self.how = QComboBox()
        self.how.addItems(list(EVIDENCE_METHODS))
        self.evidence_class = QComboBox()
        self.field("evidence for", self.evidence_class)
        self.field("by", self.how, "Covering parts takes about a second; a gradient is quicker and noisier.")
        self.evidence_button = self.add(button("Show where it looked", on_evidence))
        self.hide()

    def show_look(self, layer: Image, found: ClassifierAnswer, classifier: str) -> None:
        """Show what the file `classifier` says of `layer`."""
        self._leave()
        self.seen, self.layer, self.classifier = found, layer, classifier
        self.panel.listen(layer.events.name, self._say_image)
        best = int(found.probabilities.argmax())
        self._say_image()
        trusted = found.shift_score is not None and found.shift_score <= FAR
        tone: Tone = "good" if trusted else "warn"
        self.badge.say(f"{found.classes[best]}  {found.probabilities[best]:.0%}", found.model_id, tone)
        self.rows.set_rows(_rows(found))
        self.evidence_class.clear()
        self.evidence_class.addItems(list(found.classes))
        self.evidence_class.setCurrentIndex(best)
        for made in (self.prompt_button, self.prompted_button):  # without a prompt there is nothing to see
            made.setVisible(found.prompt is not None)
        self.show()

    def follow(self, layer: Image | None, classifier: str) -> None:
        """Go, once another image is chosen than the answer speaks of, or another classifier."""
        if layer != self.layer or classifier != self.classifier:  # not `is`: napari hands out proxies of layers
            self._leave()
            self.hide()

    def _leave(self) -> None:
        if self.layer is not None:
            self.panel.stop_listening_to(self.layer.events.name, self._say_image)
        self.seen = self.layer = None

    def _say_image(self, event: object = None) -> None:
        """The image's name, as it is now."""
        if self.layer is not None and self.seen is not None:
            self.heading.setText(f"Answer: {self.layer.name}")
            self.line.setText(_distance_sentence(self.layer, self.seen))

    # --- the prompt --------------------------------------------------------------------------------------------

    def show_prompt(self) -> None:
        """The learned prompt as an image layer; mid-grey = nothing added."""
        if self.seen is not None and self.seen.prompt is not None and self.layer is not None:
            self._picture_layer(self.seen.prompt, f"{self.layer.name} prompt")

    def show_prompted(self) -> None:
        """The image with the prompt on it, at the backbone's resolution, as an image layer."""
        if self.seen is not None and self.layer is not None:
            self._picture_layer(self.seen.prompted, f"{self.layer.name} prompted")

    def _picture_layer(self, picture: NDArray[np.uint8], name: str) -> None:
        """Add an RGB picture of the frame (H, W, 3) exactly where the classified image lies."""
        layer = self.layer
        if layer is None or layer not in self.panel.viewer.layers:
            self.panel.say("The classified image is no longer among the layers; classify again.", "warn")
            return
        data = picture if layer.rgb or layer.ndim == 2 else np.repeat(picture[None], layer.data.shape[0], axis=0)
        about = {KEY: {"source": layer.name, "classifier": self.classifier}}
        self.panel.viewer.add_image(data, rgb=True, name=name, opacity=0.7, metadata=about, **geometry_of(layer))

    # --- the evidence ------------------------------------------------------------------------------------------

    def asked(self) -> tuple[Image, int, int, str, str] | None:
        """(layer, slice on show, class, its name, how to look) of the evidence wanted; None before an answer."""
        layer = self.layer
        if layer is None or layer not in self.panel.viewer.layers or self.seen is None:
            return None
        label = self.evidence_class.currentIndex()
        return (
            layer,
            self._slice_on_show(layer),
            label,
            self.seen.classes[label],
            EVIDENCE_METHODS[self.how.currentText()],
        )

    def _slice_on_show(self, layer: Image) -> int:
        if layer.rgb or layer.ndim == 2:
            return 0
        index = layer.world_to_data(self.panel.viewer.dims.point[-layer.ndim :])[0]
        return int(np.clip(np.rint(index), 0, layer.data.shape[0] - 1))

    def add_evidence(self, layer: Image, index: int, name: str, grid: NDArray[np.float32]) -> None:
        """Add a map (H, W) in 0..1: the evidence for class `name` on slice `index` of `layer`, if that is open."""
        if layer not in self.panel.viewer.layers:
            return
        data = np.zeros(grid_shape(layer), np.float32)
        if data.ndim == 3:
            data[index] = grid
        else:
            data[:] = grid
        self.panel.viewer.add_image(
            data,
            name=f"{layer.name} evidence for {name}",
            colormap="inferno",
            contrast_limits=(0, 1),
            blending="additive",
            opacity=0.7,
            metadata={KEY: {"source": layer.name, "evidence_for": name}},
            **geometry_of(layer),
        )


def _rows(found: ClassifierAnswer) -> dict[str, str]:
    """Probabilities by class; with a prompt, also those without it and how far apart the two are."""
    if found.prompt is None:
        return {name: f"{p:.2f}" for name, p in zip(found.classes, found.probabilities)}
    rows = {"class": "with prompt   without"}
    for name, p, q in zip(found.classes, found.probabilities, found.plain):
        rows[name] = f"{p:.2f}   {q:.2f}"
    return rows | {"discrepancy of the two": f"{found.discrepancy:.3f} nats"}


def _distance_sentence(layer: Image, found: ClassifierAnswer) -> str:
    score = found.shift_score
    if score is None:
        return f"'{layer.name}': how far it is from the examples is not known."
    if score > FAR:
        return f"'{layer.name}' is unlike the examples (further than {score:.0f} % of them): do not trust the number."
    return f"'{layer.name}' lies among the examples (further than {score:.0f} % of them)."
