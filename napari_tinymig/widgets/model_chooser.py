"""A list of the models that can read a kind of image."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from napari_tinymig.engine.registry import Entry, list_models

from .predicting import preferred_model


class ModelChooser(QComboBox):
    """Segmenters of photographs or volumes by name; keeps its choice. `none_text`: a first entry that means none."""

    chosen = Signal()

    def __init__(self, none_text: str = ""):
        super().__init__()
        self._none_text = none_text
        self._input = ""
        self.touched = False  # a user's own choice is not overruled by what the image seems to be
        self.activated.connect(self._touch)
        self.currentIndexChanged.connect(lambda *_: self.chosen.emit())

    @property
    def model_name(self) -> str:
        """Name of the chosen model, '' for none."""
        return str(self.currentData() or "")

    def _touch(self, _index: int) -> None:
        self.touched = True

    def offer(self, kind: str, task: str | None = None, forget: bool = False) -> None:
        """List the segmenters whose task reads `kind` ('photograph' or 'volume'), and choose the best of `task`.

        forget: do not keep what was chosen before.
        """
        entries = [e for e in list_models() if _fits(e, kind)]
        before = self.model_name if kind == self._input and not forget else ""
        self._input = kind
        self.blockSignals(True)
        self.clear()
        if self._none_text:
            self.addItem(self._none_text, "")
        for entry in entries:
            self.addItem(f"{entry.name} ({entry.task})", entry.name)
        best = before or (preferred_model(task) if task else "") or ""
        if not self._none_text or before:
            self.setCurrentIndex(max(0, self.findData(best)))
        self.blockSignals(False)
        self.chosen.emit()


def _fits(entry: Entry, kind: str) -> bool:
    header = entry.header
    return header is not None and header.kind == "segmenter" and header.task is not None and header.task.input == kind
