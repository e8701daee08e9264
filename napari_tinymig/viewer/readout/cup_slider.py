"""A slider that draws the cup of a mask tighter or more generous: the labelling school of its reader."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QSlider, QVBoxLayout, QWidget

from ..napari_io.layers import put_labels
from ..parts.style import text_label

STEPS = 20
"""Steps of the slider in one unit of log-odds."""


class CupSlider(QWidget):
    """Redraws the cup of one Labels layer inside its disc, live; every way along the slider is one edit to undo.

    The slider starts in the middle, the mask as it was found; painting, undo and another mask put it back there.
    """

    purpose = (
        "Readers draw the cup's border tighter or more generous. This moves the cup of this mask inside its disc: "
        "small and large cups alike, and Ctrl+Z undoes it."
    )

    def __init__(self) -> None:
        super().__init__()
        self._layer: Labels | None = None
        self._before: NDArray[np.uint8] | None = None
        self._drawn: NDArray[np.uint8] | None = None
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(-STEPS, STEPS)
        self.slider.setToolTip(self.purpose)
        self.slider.setAccessibleName("cup drawn: tight to generous")
        self.slider.valueChanged.connect(self._redraw)
        self.value = text_label("", "hint")
        self.value.setWordWrap(False)
        self.value.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.slider)
        ends = QHBoxLayout()
        for part, share in ((text_label("tight", "hint"), 0), (self.value, 1), (text_label("generous", "hint"), 0)):
            ends.addWidget(part, share)
        column.addLayout(ends)
        self._say()

    @property
    def offset(self) -> float:
        """In log-odds of the cup-to-disc ratio."""
        return self.slider.value() / STEPS

    def follow(self, layer: Labels) -> None:
        """Speak of this layer from now on; back to the middle if it is another one or was edited otherwise."""
        if layer is self._layer and self._drawn is not None and np.array_equal(layer.data, self._drawn):
            return
        self._layer, self._before, self._drawn = layer, None, None
        self.slider.blockSignals(True)
        self.slider.setValue(0)
        self.slider.blockSignals(False)
        self._say()

    def _redraw(self) -> None:
        """The mask as it was, with its cup moved: instead of the last place of the slider, not on top of it."""
        from ...predict.cup_school import redraw_cup  # scipy: only when a cup is moved

        layer = self._layer
        if layer is None:
            return
        if self._before is None:
            self._before = np.array(layer.data, np.uint8)
        wanted = redraw_cup(self._before, self.offset)
        if self._drawn is not None and not np.array_equal(self._drawn, self._before):
            layer.undo()
        self._drawn = wanted
        put_labels(layer, wanted)
        self._say()

    def _say(self) -> None:
        self.value.setText("as it is" if self.offset == 0 else f"{self.offset:+.2f}")
