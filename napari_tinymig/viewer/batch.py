"""Segment a folder: masks, a table and pictures, with time left, cancel, resume, and reasons for what failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHeaderView,
    QLineEdit,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
)

from ..batch.one_input import Options
from ..jobs.accelerate import open_network
from ..measures.declared import DECLARED, VCDR, VOLUME_ML
from ..reports.numbers import with_unit
from ..tasks.table import TASKS
from .batch_run import ADAPT_WORTH, BatchRequest, run_batch
from .napari_io.layers import changed_by_user, result_layer
from .napari_io.readers import read_layers
from .parts.background import Work
from .parts.panel import Panel
from .parts.predicting import preferred_model
from .parts.settings import setting
from .parts.style import EmptyState, QuietLabel, button, primary_button, row

if TYPE_CHECKING:
    import napari.viewer

COLUMNS = ("file", "status", "result", "reason")


def open_pair(file: str, mask: str, report: Callable[[Any], None]) -> tuple[Any, Any]:
    """Layer data of an image and its mask (None if there is none), read in a thread."""
    report(None)
    image = read_layers(file)[0]
    return image, (read_layers(mask)[0] if mask else None)


class BatchPanel(Panel):
    """A folder in; masks, measurements.csv and overlays out; click a row to open it."""

    purpose = "Segments every image of a folder. What is done already is skipped, so a cancelled run can go on."
    tab = "Folder"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self._total = 0
        self.rows: list[dict[str, Any]] = []
        self._opened: list[Layer] = []
        self._folders_section()
        self._run_section()
        self._table_section()
        self.work = Work(self, self._finished, self.say_error, self._progressed, self._ticked, self._ended)
        self.opening = Work(self, self._show_pair, self.say_error)

    def _folders_section(self) -> None:
        section = self.add_section("Folders")
        self.source, self.target = QLineEdit(), QLineEdit()
        self.source.setPlaceholderText("photographs, volumes or DICOM series")
        self.target.setPlaceholderText("a folder for the results")
        section.field("images", self.source)
        section.field("results", self.target)
        section.add(
            row(
                button("choose images", lambda: self._browse(self.source), "link"),
                button("choose results", lambda: self._browse(self.target), "link"),
                stretch=None,
            )
        )
        self.task = QComboBox()
        self.task.addItem("auto: found per image", "auto")
        for task in TASKS.values():
            self.task.addItem(task.title, task.name)
        section.field("task", self.task)
        self.overlay = QCheckBox("also write overlay pictures")
        self.overlay.setChecked(True)
        section.add(self.overlay)
        self.overwrite = QCheckBox("replace results that exist")
        section.add(self.overwrite)
        self.adapt = QCheckBox("adapt the model to this folder first")
        self.adapt.setToolTip("BatchNorm statistics of this folder are mixed in; the model is kept with the results.")
        section.add(self.adapt)
        self.worth = section.add(QuietLabel())
        self.adapt.toggled.connect(lambda on: self.worth.setText(ADAPT_WORTH if on else ""))

    def _run_section(self) -> None:
        section = self.add_section()
        self.go = section.add(primary_button("Segment folder", self.start))
        self.bar = section.add(QProgressBar())
        self.bar.hide()
        self.left = QuietLabel()
        self.cancel = button("Cancel", self.stop, "danger", "Keeps everything that is done.")
        section.add(row(self.left, self.cancel))
        self.cancel.hide()

    def _table_section(self) -> None:
        section = self.add_section("Results")
        self.empty = section.add(EmptyState("Choose a folder with images and one for the results."))
        self.only_failed = QCheckBox("failures only")
        self.only_failed.toggled.connect(self._filter)
        section.add(self.only_failed)
        self.only_failed.hide()
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.setMinimumHeight(220)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setWordWrap(False)
        self.table.verticalHeader().hide()
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        for column, width in enumerate((76, 48, 72, 40)):
            self.table.setColumnWidth(column, width)
        self.table.cellClicked.connect(lambda index, _column: self.open_row(index))
        section.add(self.table)
        self.table.hide()

    def _browse(self, into: QLineEdit) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Choose a folder", into.text() or str(Path.home()))
        if chosen:
            into.setText(chosen)
            if into is self.source and not self.target.text():
                self.target.setText(str(Path(chosen) / "tinymig_results"))

    # --- run ---------------------------------------------------------------------------------------------------

    def options(self) -> Options:
        """What the panel's choices ask for."""
        task = str(self.task.currentData())
        model = preferred_model(task) if task != "auto" else None
        return Options(
            task=task,
            model=model,
            device=str(setting("general", "device")),
            overlay=self.overlay.isChecked(),
            overwrite=self.overwrite.isChecked(),
            threads=int(setting("general", "threads")) or 1,
            on_gpu=open_network,
        )

    def start(self) -> None:
        """Start, or go on with, the folder."""
        source, target = self.source.text().strip(), self.target.text().strip()
        if not source or not Path(source).expanduser().is_dir():
            self.say(f"'{source}' is not a folder; choose the folder that holds the images.", "warn")
            return
        if not target:
            self.say("Choose a folder for the results.", "warn")
            return
        if self.adapt.isChecked() and self.task.currentData() == "auto":
            self.say("Choose the task first: adapting needs to know the model before it looks.", "warn")
            return
        self.say("")
        self.rows.clear()
        self.table.setRowCount(0)
        self._total = 0
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel.show()
        self.go.setEnabled(False)
        adapt = self.adapt.isChecked()
        request = BatchRequest(Path(source).expanduser(), Path(target).expanduser(), self.options(), adapt)
        self._target = request.target
        self.work.start_call(run_batch, request)

    def stop(self) -> None:
        """Stop after the image that is being done; everything done is kept."""
        done = len(self.rows)
        self.work.cancel()
        self.say(f"Cancelled after {done} of {self._total}; all that is done is kept. Press again to go on.")

    def _progressed(self, value: Any) -> None:
        if isinstance(value, str):
            self.say(value)
            return
        if isinstance(value, int):
            self._total = value
            self.bar.setRange(0, value)
            self.empty.hide()
            self.table.show()
            self.only_failed.show()
            return
        self.rows.append(value)
        self.bar.setValue(len(self.rows))
        self._add_row(value)

    def _add_row(self, values: dict[str, Any]) -> None:
        index = self.table.rowCount()
        self.table.insertRow(index)
        status = str(values.get("status"))
        for column, text in enumerate((Path(str(values["file"])).name, status, self._result(values), "")):
            shown = str(values.get("error") or "") if column == 3 else text
            item = QTableWidgetItem(shown)
            item.setToolTip(shown)
            self.table.setItem(index, column, item)
        self.table.setRowHidden(index, self.only_failed.isChecked() and status != "failed")
        self.table.scrollToItem(self.table.item(index, 0))

    @staticmethod
    def _result(values: dict[str, Any]) -> str:
        for measure, name in ((DECLARED[VCDR], "vCDR "), (DECLARED[VOLUME_ML], "")):
            value = values.get(measure.key)
            if isinstance(value, float | int) and value == value:
                return name + with_unit(float(value), measure.unit, measure.digits)
        return ""

    def _filter(self, failed_only: bool) -> None:
        for index, values in enumerate(self.rows):
            self.table.setRowHidden(index, failed_only and values.get("status") != "failed")

    def _ticked(self, seconds: float) -> None:
        done = len(self.rows)
        worked = sum(r.get("status") != "skipped" for r in self.rows)
        if not worked or not self._total:
            self.left.setText(f"{seconds:.0f} s")
            return
        remaining = seconds / worked * (self._total - done)
        self.left.setText(f"{done} of {self._total}, about {_duration(remaining)} left")

    def _ended(self) -> None:
        self.bar.hide()
        self.cancel.hide()
        self.left.setText("")
        self.go.setEnabled(True)

    def _finished(self, counts: dict[str, int]) -> None:
        said = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items()) or "no image"
        failed = counts.get("failed", 0)
        self.say(f"{said}. Results in {self._target}", "warn" if failed else "good")

    # --- open a row --------------------------------------------------------------------------------------------

    def open_row(self, index: int) -> None:
        """Open the image of a row with its mask; the pair opened before is closed unless its mask was edited."""
        values = self.rows[index]
        mask = self._target / str(values["mask"]) if values.get("mask") else None
        self._pending = values
        self.opening.start_call(open_pair, str(values["file"]), str(mask) if mask and mask.exists() else "")

    def _show_pair(self, pair: tuple[Any, Any]) -> None:
        edited = any(isinstance(o, Labels) and changed_by_user(o).any() for o in self._opened)
        for old in [] if edited else self._opened:
            if old in self.viewer.layers:
                self.viewer.layers.remove(old)
        image_data, mask_data = pair
        image = Layer.create(*image_data)
        self._opened = [image]
        self.viewer.add_layer(image)
        task = TASKS.get(str(self._pending.get("task")))
        if mask_data is not None and task is not None and isinstance(image, Image):
            about = {"model_id": self._pending.get("model"), "path": str(self._pending["file"])}
            mask = result_layer(image, mask_data[0].reshape(_grid(image)), task, f"{image.name} mask", about)
            self._opened.append(self.viewer.add_layer(mask))
        if self._pending.get("error"):
            self.say(str(self._pending["error"]), "bad")

    def released(self) -> None:
        self.work.cancel()
        self.opening.cancel()


def _grid(image: Image) -> tuple[int, ...]:
    return tuple(image.data.shape[:2] if image.rgb else image.data.shape)


def _duration(seconds: float) -> str:
    """'40 s', '3 min', '1 h 20 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
