"""Which image to annotate next: a folder looked at in the background, the most instructive first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem

from ...base.errors import TinyMIGError
from ...formats import find_images
from ...formats.declared import volume_suffixes
from ...sets.next_image import Ranked, look_at, rank
from ..parts.background import Work
from ..parts.predicting import preferred_model, ready
from ..parts.style import Section, button, row, text_label
from .open_set import OpenSet

SHOWN = 8


class NextList(Section):
    """Choose a folder; its images are ranked by doubt and shift; double click opens one."""

    def __init__(self, panel: OpenSet):
        super().__init__("Which image next?")
        self.panel = panel
        self.line = self.add(text_label("Ranks a folder by how much an annotation would teach.", "hint"))
        self.choose = button("Rank a folder", self._browse, tip="Looks at every image twice, in the background.")
        self.cancel = button("Cancel", self.stop, "danger")
        self.cancel.hide()
        self.add(row(self.choose, self.cancel))
        self.list = QListWidget()
        self.list.setMinimumHeight(120)
        self.list.setWordWrap(True)
        self.list.itemDoubleClicked.connect(lambda item: self._open(item.data(Qt.ItemDataRole.UserRole)))
        self.list.hide()
        self.add(self.list)
        self.work = Work(panel, self._ranked, panel.say_error, self._progressed, None, self._ended)  # type: ignore[arg-type]

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of images to rank")
        if chosen:
            self.start(Path(chosen))

    def start(self, folder: Path) -> None:
        """Rank the images of a folder that are not in the set yet."""
        model = preferred_model(self.panel.chosen_task.name)
        if model is None:
            self.panel.say(f"No model for '{self.panel.chosen_task.name}' is installed.", "warn")
            return
        known = {Path(c.source).name for c in self.panel.set.cases} if self.panel.set else set()
        self.choose.setEnabled(False)
        self.cancel.show()
        self.work.start(_look, folder, model, known)

    def stop(self) -> None:
        """Stop looking."""
        self.work.cancel()

    def _progressed(self, progress: tuple[int, int]) -> None:
        self.line.setText(f"{progress[0]} of {progress[1]} images looked at")

    def _ended(self) -> None:
        self.choose.setEnabled(True)
        self.cancel.hide()

    def _ranked(self, ranking: list[Ranked]) -> None:
        self.list.clear()
        for place, entry in enumerate(ranking[:SHOWN], start=1):
            item = QListWidgetItem(f"{place}. {entry.candidate.name}: {entry.reason}")
            item.setData(Qt.ItemDataRole.UserRole, str(entry.candidate.path))
            item.setToolTip(str(entry.candidate.path))
            self.list.addItem(item)
        self.list.setVisible(bool(ranking))
        self.line.setText(f"{len(ranking)} images ranked; double click opens one." if ranking else "No image found.")

    def _open(self, path: str) -> None:
        volume = path.lower().endswith(volume_suffixes()) or Path(path).is_dir()
        self.panel.viewer.open(path, plugin="napari-tinymig" if volume else "napari")


def _look(folder: Path, model: str, known: set[str]) -> Any:
    """Candidates one by one, then their ranking; in a thread."""
    items = [i for i in find_images([folder]) if i.path.name not in known]
    if not items:
        raise TinyMIGError(f"no image left in {folder}; expected images that are not in the set yet")
    if all(i.problem for i in items):
        raise TinyMIGError(items[0].problem)
    predictor = ready(model, "auto", 1)
    found = []
    for candidate in look_at(items, predictor):
        found.append(candidate)
        yield len(found), len(items)
    return rank(found)
