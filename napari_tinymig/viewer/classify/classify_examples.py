"""The examples of a new classification: classes, each with layers or a folder, as a table and as files for a run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHeaderView, QLineEdit, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from ...formats.declared import image_suffixes
from ..napari_io.layers import kind_of, scan_of
from ..parts.panel import Panel
from ..parts.style import button, row, text_label

FEWEST = 3


@dataclass
class Example:
    """A class name with either a layer or a folder of images."""

    class_name: str
    layer: Layer | None = None
    folder: Path | None = None

    @property
    def files(self) -> list[Path]:
        """Images of the folder; empty for a layer."""
        if self.folder is None:
            return []
        return sorted(p for p in self.folder.rglob("*") if p.name.lower().endswith(image_suffixes()))


class Examples(QWidget):
    """Name a class, give it the selected layers or a folder; `changed` is sent when the examples change."""

    changed = Signal()

    def __init__(self, panel: Panel):
        super().__init__()
        self._viewer = panel.viewer
        self.entries: list[Example] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.name = QLineEdit()
        self.name.setPlaceholderText("class, e.g. pneumonia")
        column.addWidget(self.name)
        add_layers = button("Add selected layers", self.add_layers, tip="The layers selected in the list, as examples.")
        add_folder = button("Add folder...", self._browse, tip="Every image in a folder, as examples of this class.")
        column.addLayout(row(add_layers, add_folder, stretch=None))
        sets = button("Open a set: one folder per class...", self._browse_set, "link", "normal/ pneumonia/ ...")
        column.addWidget(sets)
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["class", "images", "from"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        for fixed in (0, 1):
            self.table.horizontalHeader().setSectionResizeMode(fixed, QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.table.setWordWrap(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideLeft)  # of a folder its own name is what counts
        self.table.setFixedHeight(118)
        column.addWidget(self.table)
        self.remove_button = button("Remove the selected rows", self.remove, "link")
        column.addWidget(self.remove_button)
        self.line = text_label("", "hint")
        column.addWidget(self.line)
        panel.listen(self._viewer.layers.events.removed, self._layer_gone)
        self._show()

    def add_layers(self) -> None:
        """Give the named class the layers that are selected."""
        name = self.name.text().strip()
        chosen = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        fitting = [layer for layer in chosen if kind_of(layer) is not None]
        if not name or not fitting:
            self.line.setText("Type a class name and select image layers first.")
            return
        self.entries = [e for e in self.entries if e.layer is None or e.layer not in fitting]
        self.entries += [Example(name, layer=layer) for layer in fitting]
        self._show()

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Images of one class")
        if chosen:
            self.add_folder(Path(chosen))

    def add_folder(self, folder: Path, name: str = "") -> None:
        """Give a class (the named one, else one called like the folder) the images of a folder."""
        self.entries.append(Example(name or self.name.text().strip() or folder.name, folder=folder))
        self._show()

    def _browse_set(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A folder with one sub-folder per class")
        if chosen:
            self.open_set(Path(chosen))

    def open_set(self, folder: Path) -> None:
        """Every sub-folder with images becomes a class."""
        for inside in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if Example(inside.name, folder=inside).files:
                self.entries.append(Example(inside.name, folder=inside))
        self._show()

    def remove(self) -> None:
        """Take out the selected rows."""
        rows = {index.row() for index in self.table.selectedIndexes()}
        self.entries = [e for i, e in enumerate(self.entries) if i not in rows]
        self._show()

    def _layer_gone(self, event: object = None) -> None:
        self.entries = [e for e in self.entries if e.layer is None or e.layer in self._viewer.layers]
        self._show()

    def counts(self) -> dict[str, int]:
        """Images per class."""
        found: dict[str, int] = {}
        for entry in self.entries:
            found[entry.class_name] = found.get(entry.class_name, 0) + (1 if entry.layer else len(entry.files))
        return found

    def problem(self) -> str:
        """Why these examples cannot be trained on yet; '' if they can."""
        counts = self.counts()
        if len(counts) < 2:
            return "Give examples of at least two classes."
        few = [f"'{name}' has {n}" for name, n in counts.items() if n < FEWEST]
        if few:
            return f"Every class needs at least {FEWEST} images, better 20; {', '.join(few)}."
        return ""

    def _show(self) -> None:
        self.table.setRowCount(len(self.entries))
        for i, entry in enumerate(self.entries):
            origin = f"layer {entry.layer.name}" if entry.layer is not None else str(entry.folder)
            for column, text in enumerate((entry.class_name, str(1 if entry.layer else len(entry.files)), origin)):
                cell = QTableWidgetItem(text)
                cell.setToolTip(text)
                self.table.setItem(i, column, cell)
        self.table.setVisible(bool(self.entries))
        self.remove_button.setVisible(bool(self.entries))
        self.line.setText(self.problem())
        self.line.setVisible(bool(self.problem()))
        self.changed.emit()

    def write(self, folder: Path) -> Path:
        """A CSV (file,label) for a run; layers are written beside it as .npy. The layers are not changed."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for i, entry in enumerate(self.entries):
            if entry.layer is None:
                rows += [(str(path.resolve()), entry.class_name) for path in entry.files]
                continue
            path = folder / f"layer_{i}_{_plain(entry.layer.name)}.npy"
            np.save(path, np.asarray(scan_of(entry.layer).pixels), allow_pickle=False)
            rows.append((path.name, entry.class_name))
        table = folder / "examples.csv"
        with table.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["file", "label"])
            writer.writerows(rows)
        return table


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)[:40]
