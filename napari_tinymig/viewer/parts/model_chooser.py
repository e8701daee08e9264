"""A list of the models that can read a kind of image."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from ...models.registry import Entry, list_models
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

    def offer(self, kind: str, task: str | None = None, forget: bool = False, among: str = "kind") -> None:
        """List the segmenters whose task reads `kind` ('photograph' or 'volume'), and choose the best of `task`.

        forget: do not keep what was chosen before. among: 'task' lists the models of the task alone, 'all' every
        segmenter, where the kind is a guess.
        """
        entries = [e for e in list_models() if _fits(e, kind if among != "all" else "")]
        if among == "task":
            entries = [e for e in entries if e.task == task]
        group = task if among == "task" and task else kind
        before = self.model_name if group == self._input and not forget else ""
        self._input = group
        self.blockSignals(True)
        self.clear()
        if self._none_text:
            self.addItem(self._none_text, "")
        for entry in entries:
            same = entry.name == entry.task  # 'optic (optic)' would say one thing twice
            self.addItem(entry.name if same else f"{entry.name} ({entry.task})", entry.name)
        best = before or (preferred_model(task) if task else "") or ""
        if not self._none_text or before:
            self.setCurrentIndex(max(0, self.findData(best)))
        self.blockSignals(False)
        self.chosen.emit()


def _fits(entry: Entry, kind: str) -> bool:
    header = entry.header
    if header is None or header.kind != "segmenter" or header.task is None:
        return False
    return kind in ("", header.task.input)
