"""Save: the mask into its source's grid, its numbers into a table, and a one-page report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from qtpy.QtWidgets import QComboBox, QFileDialog, QLineEdit

from ..base.errors import TinyMIGError
from ..formats.declared import FORMATS, PICTURE_FILE, mask_choices
from ..formats.dicom_seg import can_write_seg
from ..measures.clinical import measure
from ..measures.csv_table import Table, diameters
from ..measures.declared import cells
from ..measures.plausible import implausible
from ..reports.one_page import report_bytes, write_report
from ..tasks.task import Task
from .masks.journal_keeper import mark_saved
from .napari_io.layer_geometry import KEY, scan_file_of
from .napari_io.layers import (
    changed_by_user,
    geometry_of,
    grid_shape,
    kind_of_frames,
    measured_grid,
    scan_of,
    spacing_mm,
    task_of_labels,
)
from .napari_io.writers import write_labels
from .parts.background import Work
from .parts.choosers import LayerChooser
from .parts.panel import Panel
from .parts.style import EmptyState, button, primary_button, row, text_label

if TYPE_CHECKING:
    import napari.viewer


@dataclass(frozen=True)
class SaveRequest:
    """A mask to be written: a copy of its labels, so that painting may go on."""

    path: Path
    labels: NDArray[np.uint8]
    meta: dict[str, Any]


def write_in_thread(request: SaveRequest, report: Callable[[Any], None]) -> str:
    """Write a mask; a sentence."""
    report(None)
    write_labels(str(request.path), request.labels, request.meta)
    return f"Saved {request.path}"


class SavePanel(Panel):
    """Mask in the source's format and grid, DICOM-SEG for DICOM sources, a CSV row, a PDF or PNG report."""

    purpose = "Writes the mask into the exact grid of its source. Reopened, it lies on the same pixels."
    tab = "Save"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self._replace_ok: Path | None = None
        self._saving: Labels | None = None
        self.empty = EmptyState("Segment an image, or paint a Labels layer; then save it here.")
        self.column.addWidget(self.empty)
        self.mask_section = self.add_section("Mask")
        self.layers = LayerChooser(self, lambda layer: isinstance(layer, Labels), "no labels layer")
        self.mask_section.field("layer", self.layers)
        self.format = QComboBox()
        self.mask_section.field("format", self.format, "The first one is the source's own format.")
        self.folder = QLineEdit()
        self.mask_section.field("folder", self.folder)
        self.name = QLineEdit()
        self.mask_section.field("file", self.name)
        browse = button("choose folder", self._browse, "link")
        self.mask_section.add(row(browse))
        self.save = self.mask_section.add(primary_button("Save mask", self.save_mask))
        self.source = self.mask_section.add(text_label("", "hint"))
        self.more_section = self.add_section("Numbers and report")
        table = button("Add row to measurements.csv", self.save_row, tip="One row per image, in the folder above.")
        self.more_section.add(table)
        pdf = button("Report (PDF)", lambda: self.save_report(".pdf"))
        png = button("Report (PNG)", lambda: self.save_report(".png"))
        self.more_section.add(row(pdf, png, stretch=None))
        self.work = Work(self, self.say_done, self.say_error)
        self.layers.changed.connect(self._layer_changed)
        self.format.currentIndexChanged.connect(self._format_changed)
        for edit in (self.folder, self.name):
            edit.textChanged.connect(self._forget_confirmation)
        self._layer_changed()

    def say_done(self, sentence: str) -> None:
        """What was written."""
        self.say(sentence, "good")
        if self._saving is not None:
            mark_saved(self.viewer, self._saving)
            self._saving = None

    def _layer_changed(self) -> None:
        layer = self.layers.layer
        self.empty.setVisible(layer is None)
        self.mask_section.setVisible(layer is not None)
        self.more_section.setVisible(layer is not None)
        if layer is None:
            return
        scan_file = scan_file_of(layer)
        kept = layer.metadata.get(KEY, {})
        source = Path(scan_file.path) if scan_file else Path(kept["path"]) if kept.get("path") else None
        self.format.blockSignals(True)
        self.format.clear()
        for title, suffix in self._fitting_formats(layer).items():
            self.format.addItem(title, suffix)
        self.format.blockSignals(False)
        self.folder.setText(str(source.parent if source else Path.home()))
        stem = scan_file.name if scan_file else (source.stem if source else str(kept.get("source") or layer.name))
        stem += "".join(f"_frame{i}" for i in kept.get("frame", ()))
        stem = re.sub(r"_masks?$", "", stem)  # a mask opened again keeps its name
        self._stem = stem.replace("/", "_").replace("\\", "_")
        self._format_changed()
        self.source.setText(self._describe(layer, source))

    @staticmethod
    def _fitting_formats(layer: Labels) -> dict[str, str]:
        """Title -> suffix of the formats that can hold the mask, the source's own first: of a DICOM series DICOM-SEG,
        where highdicom is installed."""
        scan_file = scan_file_of(layer)
        source = None
        if scan_file is not None:
            source = scan_file.format if scan_file.format in FORMATS else "photograph"
        found = mask_choices(source, layer.ndim == 2 or layer.data.shape[0] == 1, layer.ndim == 3)
        first = FORMATS["dicom"].writes[0] if can_write_seg(scan_file) else None
        return dict(sorted(found.items(), key=lambda choice: choice[1] != first))

    def _describe(self, layer: Labels, source: Path | None) -> str:
        if scan_file_of(layer) is not None:
            return f"Grid, axis order and position of {source.name if source else 'the source'} are kept exactly."
        if layer.ndim == 2:
            return "Written pixel for pixel on the photograph's own grid."
        size = spacing_mm(layer)
        said = " x ".join(f"{s:g}" for s in size) + " mm" if size else "unknown pixel size"
        return f"The source's own header is not known (opened by another reader): written with {said}."

    def _format_changed(self) -> None:
        self.name.setText(f"{self._stem}_mask{self.format.currentData() or PICTURE_FILE}")

    def _forget_confirmation(self) -> None:
        self._replace_ok = None
        self.save.setText("Save mask")

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the mask", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    def path(self) -> Path:
        """Where the mask goes."""
        return Path(self.folder.text()).expanduser() / self.name.text().strip()

    def save_mask(self) -> None:
        """Write the mask; an existing file needs a second press."""
        layer, path = self.layers.layer, self.path()
        if layer is None or not self.name.text().strip():
            self.say("Give the mask a file name.", "warn")
            return
        if path.exists() and self._replace_ok != path:
            self._replace_ok = path
            self.save.setText("Replace the existing file")
            self.say(f"{path.name} exists already. Press again to replace it, or change the name.", "warn")
            return
        meta = {"metadata": dict(layer.metadata), "features": layer.features, **geometry_of(layer)}
        meta["units"] = tuple(str(u) for u in layer.units)
        self._forget_confirmation()
        self._saving = layer
        self.work.start_call(write_in_thread, SaveRequest(path, np.array(layer.data, np.uint8), meta))

    # --- numbers and report ------------------------------------------------------------------------------------

    def _task(self, layer: Labels) -> Task | None:
        task = task_of_labels(layer)
        if task is None:
            self.say("What these labels mean is not known; segment an image first, or name the layer's task.", "warn")
        return task

    def image_of(self, layer: Labels) -> Layer | None:
        """The image layer that a mask belongs to: its source by name, else one with the same grid."""
        kept = layer.metadata.get(KEY, {})
        name, frame = kept.get("source"), kept.get("frame", ())
        fitting = [
            image
            for image in self.viewer.layers
            if isinstance(image, Image) and kind_of_frames(image) and grid_shape(image, frame) == layer.data.shape
        ]
        return next((i for i in fitting if i.name == name), fitting[-1] if fitting else None)

    def save_row(self) -> None:
        """Add the mask's numbers, as it is now, to measurements.csv in the chosen folder."""
        layer = self.layers.layer
        task = self._task(layer) if layer is not None else None
        if layer is None or task is None:
            return
        measured = measured_grid(layer, task)
        if measured is None:
            self.say(f"'{layer.name}' has {layer.ndim} dimensions; {task.title} expects another kind of mask.", "warn")
            return
        labels, spacing = measured
        values = measure(labels, task, spacing)
        kept = layer.metadata.get(KEY, {})
        line = {
            "file": str(kept.get("path") or kept.get("source") or layer.name),
            "mask": self.name.text(),
            "status": "ok" if labels.any() else "not_found",
            "task": task.name,
            "model": kept.get("model_id") or "by hand",
            **cells(values),
            "diameters_mm": diameters(values),
            "uncertainty": kept.get("uncertainty"),
            "shift_score": kept.get("shift_score"),
            "shift_level": (kept.get("extra") or {}).get("shift_level"),
            "doubts": " ".join(implausible(labels, task, values)),
        }
        try:
            table = Table(Path(self.folder.text()).expanduser() / "measurements.csv")
            table.put(line)
            table.write()
        except (TinyMIGError, OSError) as e:
            self.say_error(e)
            return
        self.say_done(f"Row written to {table.path}")

    def save_report(self, suffix: str) -> None:
        """Write the one-page report beside the mask."""
        layer = self.layers.layer
        task = self._task(layer) if layer is not None else None
        if layer is None or task is None:
            return
        image = self.image_of(layer)
        if image is None:
            self.say("The image of this mask is not open; open it, so that the report can show it.", "warn")
            return
        kept = layer.metadata.get(KEY, {})
        edited = int(np.count_nonzero(changed_by_user(layer))) if kept.get("model_id") else 0
        about = {"model_id": kept.get("model_id"), "edited_px": edited, "source": kept.get("path") or image.name}
        about |= {"extra": kept.get("extra"), "shift_score": kept.get("shift_score")}
        path = Path(self.folder.text()).expanduser() / f"{self._stem}_report{suffix}"
        self.say("Writing the report...")
        labels = np.array(layer.data, np.uint8)
        self.work.start_call(_report_in_thread, path, scan_of(image, kept.get("frame", ())), labels, task, about)

    def released(self) -> None:
        self.work.cancel()


def _report_in_thread(
    path: Path, scan: Any, labels: NDArray[np.uint8], task: Task, about: dict[str, Any], report: Callable[[Any], None]
) -> str:
    report(None)
    write_report(path, report_bytes(scan, labels, task, about, path.suffix))
    return f"Report written to {path}"
