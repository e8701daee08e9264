"""Two models on one image, told apart by a swipe: left of the line one mask, right of it the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSlider

from ...base.records import Prediction
from ...models.registry import list_models
from ...tasks.task import Task
from ..napari_io.layers import class_colours, geometry_of, grid_shape, kind_of, scan_of
from ..parts.background import Work
from ..parts.choosers import LayerChooser
from ..parts.panel import Panel
from ..parts.predicting import Request, predict
from ..parts.style import Section, button, row, text_label

if TYPE_CHECKING:
    from numpy.typing import NDArray


def swiped(left: NDArray[np.uint8], right: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """`left` in the first `share` of the columns (last axis), `right` in the others."""
    column = round(np.clip(share, 0, 1) * left.shape[-1])
    out = right.copy()
    out[..., :column] = left[..., :column]
    return out


class Swipe(Section):
    """Predicts the chosen image with any two models of a task and shows both in one Labels layer under a slider."""

    def __init__(self, panel: Panel):
        super().__init__("Compare two models on an image")
        self.panel = panel
        self.left, self.right = QComboBox(), QComboBox()
        self.field("left", self.left, "Its mask is shown left of the line.")
        self.field("right", self.right, "Its mask is shown right of the line.")
        self.images = LayerChooser(panel, lambda layer: kind_of(layer) is not None, "no image")
        self.field("image", self.images)
        self.go = button("Compare", self.start, tip="Both models look at the image, in the background.")
        self.done = button("Done", self.finish, tip="Remove the comparison layer.")
        self.add(row(self.go, self.done))
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 1000)
        self.slider.setValue(500)
        self.slider.valueChanged.connect(self._moved)
        self.add(self.slider)
        self.line = self.add(text_label("", "hint"))
        self.masks: list[NDArray[np.uint8]] = []
        self.layer: Labels | None = None
        self._image: Layer | None = None
        self.work = Work(panel, self._answered, panel.say_error, None, None, self._ended)
        for part in (self.slider, self.done):
            part.hide()

    def offer(self, task: str, left: str, right: str, new: Path | None = None) -> None:
        """List the models of a task; `left` and `right` are chosen. new: a file not yet among them, chosen right."""
        names = [e.name for e in list_models() if e.task == task and e.header and e.header.kind == "segmenter"]
        for box, chosen in ((self.left, left), (self.right, right)):
            box.clear()
            for name in names:
                box.addItem(name, name)
            if new is not None:
                box.addItem(f"{right} (not kept yet)", str(new))
            at_file = new is not None and box is self.right
            box.setCurrentIndex(box.count() - 1 if at_file else max(0, box.findData(chosen)))

    @property
    def models(self) -> tuple[str, str]:
        """Names or files of the two chosen models, '' for none."""
        return str(self.left.currentData() or ""), str(self.right.currentData() or "")

    def start(self) -> None:
        """Predict with both models, in the background."""
        pair, image = self.models, self.images.layer
        if image is None:
            self.panel.say("Open an image first.", "warn")
            return
        if not all(pair) or pair[0] == pair[1]:
            self.panel.say("Choose two different models.", "warn")
            return
        self._image = image
        self.go.setEnabled(False)
        self.line.setText("Two models are looking...")
        scan = scan_of(image)
        self.work.start(_both, [Request(scan, name, "cpu", 1) for name in pair])

    def _ended(self) -> None:
        self.go.setEnabled(True)

    def _answered(self, answers: list[tuple[Prediction, Task]]) -> None:
        image = self._image
        if image is None or image not in self.panel.viewer.layers:
            return
        self.finish()
        shape = grid_shape(image)
        self.masks = [p.labels.reshape(shape) for p, _ in answers]
        task = answers[0][1]
        self.layer = Labels(
            swiped(self.masks[0], self.masks[1], self.slider.value() / 1000),
            name="left | right",
            colormap=class_colours(task),
            opacity=0.7,
            **geometry_of(image),
        )
        if shape[-1] > 200:
            self.layer.contour = 2
        self.panel.viewer.add_layer(self.layer)
        differ = float(np.mean(self.masks[0] != self.masks[1]))
        old, new = (str(p.model_id).split("@")[0] for p, _ in answers)
        self.line.setText(f"{old} | {new}; {100 * differ:.2f} % of the pixels differ. Move the slider.")
        for part in (self.slider, self.done):
            part.show()

    def _moved(self, value: int) -> None:
        if self.layer is not None and self.layer in self.panel.viewer.layers:
            self.layer.data = swiped(self.masks[0], self.masks[1], value / 1000)

    def finish(self) -> None:
        """Remove the comparison."""
        if self.layer is not None and self.layer in self.panel.viewer.layers:
            self.panel.viewer.layers.remove(self.layer)
        self.layer, self.masks = None, []
        for part in (self.slider, self.done):
            part.hide()
        self.line.setText("")


def _both(requests: list[Request]) -> Any:
    """Answers of all requests, one after the other; in a thread."""
    answers = []
    for request in requests:
        answers.append(predict(request, lambda _value: None))
        yield len(answers)
    return answers
