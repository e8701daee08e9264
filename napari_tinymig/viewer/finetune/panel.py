"""Fine-tune: a model and an annotation set in, a better model with proof out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFileDialog, QLabel, QLineEdit

from ...annotations.run_folders import UnseenModel, runs_folder, unseen_model
from ...annotations.teaching_cases import check_teaching, label_map_for
from ...base.errors import TinyMIGError
from ...base.records import Message
from ...base.stopwatch import over_budget
from ...formats.foreign_masks.kept_legend import keep_legend
from ...models.file import read_header
from ...models.registry import find_model
from ...tasks.table import TASKS, usual_task
from ..parts.background import Work
from ..parts.model_chooser import ModelChooser
from ..parts.panel import Panel
from ..parts.project import project
from ..parts.run_controls import RunControls, run_stamp
from ..parts.settings import setting
from ..parts.style import EmptyState, button, row, text_label
from .before_after_card import BeforeAfterCard
from .reference_field import ReferenceField
from .teaching_set import look_into

if TYPE_CHECKING:
    import napari.viewer

CODES_TIP = "What the numbers in these masks mean, theirs:ours; empty: they are the task's own, 255 = not labelled."
FIRST_STEPS = "Collect mended masks in 'Annotate cases', or choose a folder with images/ and labels/."


class FineTunePanel(Panel):
    """One fine-tuning run in its own process, its curve and picture, whether it was accepted, and what to do with
    it."""

    purpose = "Teaches a model your mended masks, in a process of its own. Nothing is replaced unasked."
    tab = "Fine-tune"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self._part: float | None = None
        self._job: dict[str, Any] = {}
        self._run_folder = Path()
        self.looking = Work(self, self._start_run, self.say_error, on_end=self.refresh)
        self._settings_section()
        self._run_section()
        self.card = BeforeAfterCard(self, lambda: self.model.model_name, self.refresh)
        self.column.addWidget(self.card)
        self.column.addWidget(self.card.swipe)
        project.moved.connect(self._follow_project)
        self._follow_project()

    # --- parts -------------------------------------------------------------------------------------------------

    def _settings_section(self) -> None:
        section = self.what_teaches = self.add_section("What teaches what")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("annotation set")
        self.folder.editingFinished.connect(self.refresh)
        section.add(row(self.folder, button("Choose", self._browse)))
        self.set_line = section.add(text_label("", "hint"))
        self.empty = section.add(EmptyState(FIRST_STEPS))
        self.model = ModelChooser()
        section.field("start from", self.model, "The model that learns; it stays as it is, the child is new.")
        self.codes = QLineEdit()
        self.codes.setPlaceholderText("e.g. 0:0,128:1,255:2")
        section.field("label codes", self.codes, CODES_TIP)
        section.show_field(self.codes, False)
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.2, 120.0)
        self.minutes.setSingleStep(0.5)
        self.minutes.setDecimals(1)
        self.minutes.setValue(float(setting("fine_tuning", "minutes")))
        self.minutes.setSuffix(" min")
        section.field("time", self.minutes, "From start to a finished model, with its scores.")
        self.reference = ReferenceField()
        section.field("reference", self.reference, "Images (no masks) on which old and new model should still agree.")
        section.add(self.reference.line)
        self.guard = QCheckBox("keep what the model knows")
        self.guard.setChecked(True)
        self.guard.setToolTip("Frozen parent as teacher, rehearsal, mixing with the parent. Off: plain fine-tuning.")
        section.add(self.guard)

    def _run_section(self) -> None:
        section = self.add_section()
        self.run = RunControls(
            self,
            section,
            "Fine-tune",
            self.start,
            "best.safetensors",
            self.take_messages,
            self._running_changed,
            self.take_saved,
            (0.0, 1.0),
        )
        self.go = self.run.go
        self.unseen: UnseenModel | None = None
        self.unseen_line = text_label("", "hint")
        self.show_unseen = button("Show", self._show_unseen, "link", "Before and after, and whether to keep it.")
        section.add(row(self.unseen_line, self.show_unseen))
        self.picture = section.add(QLabel())
        self.picture.setMinimumWidth(1)  # else the panel could never be made narrower than the picture
        self.picture_line = section.add(text_label("", "hint"))
        self.picture.hide()
        self.picture_line.hide()

    # --- what is chosen ----------------------------------------------------------------------------------------

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Annotation set", self.folder.text())
        if chosen:
            self.folder.setText(chosen)
            self.refresh()

    def _follow_project(self) -> None:
        """The annotation panel opened another set, or added a case."""
        if project.folder is not None and not self.running:
            self.folder.setText(str(project.folder))
        self.refresh()

    @property
    def running(self) -> bool:
        """True while the masks are looked at or a worker is at work."""
        return self.looking.running or self.run.running

    def refresh(self) -> None:
        folder = Path(self.folder.text()).expanduser() if self.folder.text().strip() else None
        found = look_into(folder)
        self.set_line.setText(found.words)
        self.set_line.setVisible(bool(found.words))
        self.what_teaches.show_field(self.codes, found.plain and bool(found.cases))
        self.empty.setVisible(not found.cases)
        if found.task:
            self.model.offer(found.kind, found.task, among="task")
        else:
            usual = usual_task(found.kind).name
            fits = project.task in TASKS and TASKS[project.task].input == found.kind
            self.model.offer(found.kind, project.task if fits else usual, among="all" if found.plain else "kind")
        self.go.setEnabled(bool(found.cases) and not self.running and self.model.count() > 0)
        self.go.setToolTip("" if found.cases else FIRST_STEPS)
        self._offer_unseen(folder if found.cases and not self.running else None)

    def _offer_unseen(self, folder: Path | None) -> None:
        """A model that was finished when nobody looked, of a viewer that was closed, say."""
        self.unseen = None if folder is None else unseen_model(folder)
        if self.unseen is not None:
            of = f" of {self.unseen.finished}" if self.unseen.finished else ""
            self.unseen_line.setText(f"A model{of} was finished and not looked at yet.")
        self.unseen_line.setVisible(self.unseen is not None)
        self.show_unseen.setVisible(self.unseen is not None)

    def _show_unseen(self) -> None:
        if self.unseen is not None:
            self.take_saved(self.unseen.path)

    @property
    def _labels_mean(self) -> str:
        """The foreign label codes, '' where the field is not offered."""
        return "" if self.codes.isHidden() else self.codes.text().strip()

    def settings(self) -> dict[str, Any]:
        """The job's settings, plain values."""
        spec = {
            "minutes": self.minutes.value(),
            "guard": self.guard.isChecked(),
            "reference": str(self.reference.folder or ""),
            "device": str(setting("general", "device")),
            "labels": self._labels_mean,
        }
        return {
            "model": self.model.model_name,
            "data": str(Path(self.folder.text()).expanduser().resolve()),
            "asked": time.time(),
            "spec": spec,
        }

    # --- the run -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look at the masks in the background, then start the worker."""
        self.say("")
        if problem := self.reference.check():
            self.say_error(problem)
            return
        data = Path(self.folder.text()).expanduser()
        try:
            label_map_for(data, self._labels_mean)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        self._job, self._run_folder = self.settings(), runs_folder(data) / run_stamp()
        self._forget_picture()
        self.say("Looking at the masks...")
        self.looking.start_call(_check, data, self.model.model_name, self._labels_mean)
        self.refresh()

    def _start_run(self, _: None) -> None:
        """The masks can teach: the worker may start."""
        data, codes = Path(self._job["data"]), str(self._job["spec"]["labels"])
        self.say(keep_legend(data / "labels", codes) if codes else "")
        try:
            self.run.start("finetune", self._job, self._run_folder)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)

    def _running_changed(self, on: bool) -> None:
        if on:
            self.card.clear()
            self._forget_picture()
        self.refresh()

    def _forget_picture(self) -> None:
        self.picture.hide()
        self.picture_line.hide()

    def take_messages(self, batch: list[Message]) -> None:
        """A tenth of a second's messages; only the last picture is drawn."""
        for message in batch:
            if message.kind == "epoch":
                self._add_to_curve(message)
            elif message.kind == "budget":  # the sentence comes with the run's end
                self.minutes.setValue(message.values["needed_minutes"])
            elif message.kind in ("done", "stopped") and (late := over_budget(message.values)):
                self.say(late, "warn")
        pictures = [m for m in batch if m.kind == "preview"]
        if pictures:
            self._show_picture(pictures[-1])

    def _add_to_curve(self, message: Message) -> None:
        where = "held out" if message.values.get("held_out") else "trained on"
        values = {f"Dice, {where}": message.values["score"], "before": message.values["before"]}
        part = message.values.get("part")
        self.run.add_point(float(message.step), values, gap=part != self._part)  # other cases: the line breaks
        self._part = part
        low = min(v for _, y in self.run.curve.values() for v in y if math.isfinite(v))
        self.run.chart.y_range = (max(0.0, round(low - 0.1, 1)), 1.0)

    def _show_picture(self, message: Message) -> None:
        picture = QPixmap(message.text)
        if picture.isNull():
            return
        self.picture.setPixmap(
            picture.scaledToWidth(max(200, self.width() - 48), Qt.TransformationMode.SmoothTransformation)
        )
        kind = "not trained on" if message.values.get("held_out") else "trained on"
        before, now = message.values.get("before", 0), message.values.get("now", 0)
        self.picture_line.setText(f"One case, {kind}: Dice {100 * before:.0f} -> {100 * now:.0f}")
        self.picture.show()
        self.picture_line.show()

    # --- the end -----------------------------------------------------------------------------------------------

    def take_saved(self, path: Path) -> None:
        try:
            self.card.show_acceptance(path)
        except TinyMIGError as e:
            self.say_error(e)
        self.refresh()

    def theme_changed(self) -> None:
        self.run.set_colours(self.palette_colours)

    def released(self) -> None:
        project.moved.disconnect(self._follow_project)
        self.card.swipe.work.cancel()
        self.looking.cancel()
        self.run.leave()


def _check(data: Path, model: str, labels_mean: str, report: Callable[[], Any]) -> None:
    """Raise where the run would fail on its data; in a thread."""
    task = read_header(find_model(model))[0].task
    if task is not None:
        check_teaching(data, task, labels_mean, report)
