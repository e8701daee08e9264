"""Fine-tune: a model and an annotation set in, a better model with proof out; keep it, or go back."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFileDialog, QLabel, QLineEdit

from napari_tinymig.engine.annotation_set import label_map_for
from napari_tinymig.engine.config import ModelHeader
from napari_tinymig.engine.errors import TinyMIGError
from napari_tinymig.engine.lineage import GateRefused, keep, rollback, use
from napari_tinymig.engine.model_file import read_header
from napari_tinymig.engine.records import Message
from napari_tinymig.engine.registry import entry, find_model, user_folder
from napari_tinymig.engine.tasks import TASKS

from .compare_swipe import Swipe
from .model_chooser import ModelChooser
from .numbers import NumberRows
from .panel import Panel
from .predicting import default_told, forget_models, preferred_model
from .project import project
from .reference_field import ReferenceField
from .run_controls import RunControls, run_stamp
from .settings import setting
from .style import Badge, EmptyState, button, row, text_label
from .teaching_set import look_into

if TYPE_CHECKING:
    import napari.viewer

CODES_TIP = "What the numbers in these masks mean, theirs:ours; empty: they are the task's own, 255 = not labelled."
SHORT = {"drawn pictures": "drawings agree", "your reference folder": "reference agrees"}
"""Kinds of reference as a narrow panel names them."""
FIRST_STEPS = "Collect mended masks in 'Annotate cases', or choose a folder with images/ and labels/."


class FineTunePanel(Panel):
    """One fine-tuning run in its own process, its curve and picture, the gate's verdict, and what to do with it."""

    purpose = "Teaches a model your mended masks, in a process of its own. Nothing is replaced unasked."

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.best: Path | None = None
        self.parent_name = ""
        self.verdict_keep = False
        self._part: float | None = None
        self._settings_section()
        self._run_section()
        self._result_section()
        self.swipe = Swipe(self)
        self.column.addWidget(self.swipe)
        self.swipe.hide()
        project.moved.connect(self._follow_project)
        self._follow_project()

    # --- parts -------------------------------------------------------------------------------------------------

    def _settings_section(self) -> None:
        section = self.what_teaches = self.add_section("What teaches what")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("annotation set")
        self.folder.editingFinished.connect(self._refresh)
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
        self.minutes.setValue(1.0)
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
            self._messages,
            self._running_changed,
            self._saved,
            (0.0, 1.0),
        )
        self.go = self.run.go
        self.picture = section.add(QLabel())
        self.picture.setMinimumWidth(1)  # else the panel could never be made narrower than the picture
        self.picture_line = section.add(text_label("", "hint"))
        self.picture.hide()
        self.picture_line.hide()

    def _result_section(self) -> None:
        self.result_card = self.add_section("Before and after")
        self.badge = self.result_card.add(Badge())
        self.rows = self.result_card.add(NumberRows())
        self.verdict = self.result_card.add(text_label("", "hint", selectable=True))
        self.name = QLineEdit()
        self.result_card.field("name", self.name, "Name of the new model.")
        self.keep_button = button("Keep as default", self.keep, tip="The new model is used from now on.")
        self.rollback_button = button("Roll back", self.roll_back, tip="Return to the default model before.")
        self.result_card.add(row(self.keep_button, self.rollback_button, stretch=None))
        self.knowingly = self.result_card.add(button("Keep it all the same", self.keep_knowingly, "danger"))
        self.result_card.hide()
        self.knowingly.hide()

    # --- what is chosen ----------------------------------------------------------------------------------------

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Annotation set", self.folder.text())
        if chosen:
            self.folder.setText(chosen)
            self._refresh()

    def _follow_project(self) -> None:
        """The annotation panel opened another set, or added a case."""
        if project.folder is not None and not self.running:
            self.folder.setText(str(project.folder))
        self._refresh()

    @property
    def running(self) -> bool:
        """True while a worker is at work."""
        return self.run.running

    def _refresh(self) -> None:
        folder = Path(self.folder.text()).expanduser() if self.folder.text().strip() else None
        found = look_into(folder)
        self.set_line.setText(found.words)
        self.set_line.setVisible(bool(found.words))
        self.what_teaches.show_field(self.codes, found.plain and bool(found.cases))
        self.empty.setVisible(not found.cases)
        if found.task:
            self.model.offer(found.kind, found.task, among="task")
        else:
            usual = "optic" if found.kind == "photograph" else "prostate"
            fits = project.task in TASKS and TASKS[project.task].input == found.kind
            self.model.offer(found.kind, project.task if fits else usual, among="all" if found.plain else "kind")
        self.go.setEnabled(bool(found.cases) and not self.running and self.model.count() > 0)
        self.go.setToolTip("" if found.cases else FIRST_STEPS)

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
            "spec": spec,
        }

    # --- the run -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker."""
        self.say("")
        if problem := self.reference.check():
            self.say_error(problem)
            return
        data = Path(self.folder.text()).expanduser()
        home = data if os.access(data, os.W_OK) else user_folder().parent  # a set on a read-only share teaches, too
        folder = home / "runs" / run_stamp()
        self.parent_name, self.best = self.model.model_name, None
        try:
            label_map_for(data, self._labels_mean)
            self.run.start("finetune", self.settings(), folder)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)

    def _running_changed(self, on: bool) -> None:
        if on:
            for part in (self.result_card, self.picture, self.picture_line, self.swipe):
                part.hide()
        self._refresh()

    def _messages(self, batch: list[Message]) -> None:
        """A tenth of a second's messages; only the last picture is drawn."""
        for message in batch:
            if message.kind == "epoch":
                self._add_to_curve(message)
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

    def _saved(self, path: Path) -> None:
        self.best = path
        self.show_verdict(path)

    def show_verdict(self, path: Path) -> None:
        """Before and after, what the gate says, and what can be done."""
        header, model_id = read_header(path)
        record = header.scores.get("finetune") or {}
        self.verdict_keep = bool(record.get("keep"))
        rows = {}
        for gain in record.get("gains", ()):
            before, after = (sum(gain[k]) / max(1, len(gain[k])) for k in ("before", "after"))
            rows[f"{gain['name']} Dice"] = f"{100 * before:.1f} -> {100 * after:.1f}"
            if gain.get("low") is not None:
                interval = f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
                rows[f"{gain['name']} gain, 95 %"] = f"{100 * (after - before):+.1f} {interval}"
        for kind, value in (record.get("proxy") or {}).items():
            rows[SHORT.get(kind, kind)] = f"{100 * value:.1f} %"
        self.rows.set_rows(rows)
        self.badge.say(
            "better" if self.verdict_keep else "not made the default",
            model_id,
            "good" if self.verdict_keep else "warn",
        )
        self.verdict.setText(" ".join(record.get("reasons", ())))
        self.name.setText(header.name)
        self._offer_keeping(True)
        self.result_card.show()
        self._offer_pair(header)
        self.swipe.show()

    def _offer_pair(self, header: ModelHeader) -> None:
        """The parent left, the new model right; any other two of the task can be chosen."""
        if header.task is not None and self.best is not None:
            kept = self.best.parent == user_folder()
            self.swipe.offer(header.task.name, self.parent_name, header.name, None if kept else self.best)

    def keep(self) -> None:
        """Make the new model the default."""
        self._keep(knowingly=False)

    def keep_knowingly(self) -> None:
        """The user read why the gate refused, and wants it all the same."""
        self._keep(knowingly=True)

    def _keep(self, knowingly: bool) -> None:
        if self.best is None:
            self.say("There is no new model yet.", "warn")
            return
        name = self.name.text().strip()
        try:
            default = read_header(self.best)[0].name
            if self.best.parent == user_folder():  # kept before, and rolled back since
                use(self.best.stem)
                kept = entry(self.best.stem, self.best)
            else:
                kept = keep(self.best, None if name in ("", default) else name, knowingly)
        except (GateRefused, TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        forget_models()
        self.best = kept.path
        if kept.header is not None:
            self._offer_pair(kept.header)
        words, used = default_told(kept.name, kept.task)
        self.say(words, "good" if used else "warn")
        self.badge.say("kept", kept.model_id or kept.name, "good")
        self.name.setText(kept.name)
        self._offer_keeping(False)
        self._refresh()

    def _offer_keeping(self, on: bool) -> None:
        """The button that makes the new model the default: the usual one, or where the gate refused the other one."""
        self.keep_button.setEnabled(on and self.verdict_keep)
        refused = "" if self.verdict_keep else "The gate refused; see the reason."
        self.keep_button.setToolTip(refused if on else "It is the default already.")
        self.knowingly.setVisible(on and not self.verdict_keep)

    def roll_back(self) -> None:
        """Return to the default before."""
        try:
            task = entry(self.model.model_name, find_model(self.model.model_name)).task
            name = rollback(task)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        forget_models()
        used = preferred_model(task) == name
        words = f"'{name}' is the default for {task} again; the new model is still in your list."
        self.say(words if used else default_told(name, task)[0], "good" if used else "warn")
        if self.best is not None and self.best.parent == user_folder() and self.best.stem != name:
            self.badge.say("not the default", self.best.stem, "warn")
            self._offer_keeping(True)
        self._refresh()

    def theme_changed(self) -> None:
        if hasattr(self, "run"):
            self.run.set_colours(self.palette_colours)

    def released(self) -> None:
        project.moved.disconnect(self._follow_project)
        self.swipe.work.cancel()
        self.run.leave()
