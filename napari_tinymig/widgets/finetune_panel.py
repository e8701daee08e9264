"""Fine-tune: a model and an annotation set in, a better model with proof out; keep it, or go back."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFileDialog, QLabel, QLineEdit, QProgressBar

from napari_tinymig import jobs
from napari_tinymig.engine.annotation_set import read_cases
from napari_tinymig.engine.errors import TinyMIGError
from napari_tinymig.engine.lineage import GateRefused, keep, rollback
from napari_tinymig.engine.model_file import read_header
from napari_tinymig.engine.records import Message
from napari_tinymig.engine.registry import find_model
from napari_tinymig.engine.tasks import TASKS

from .charts import LineChart
from .compare_swipe import Swipe
from .model_chooser import ModelChooser
from .numbers import NumberRows
from .predicting import forget_models
from .project import project
from .run_watch import RunWatch
from .settings import setting
from .style import Badge, EmptyState, Panel, button, primary_button, row, text_label

if TYPE_CHECKING:
    import napari.viewer

FIRST_STEPS = "Collect mended masks in 'Annotate cases', or choose a folder with images/ and labels/."


class FineTunePanel(Panel):
    """One fine-tuning run in its own process, its curve and picture, the gate's verdict, and what to do with it."""

    purpose = "Teaches a model your mended masks, in a process of its own. Nothing is replaced unasked."

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.best: Path | None = None
        self.parent_name = ""
        self.verdict_keep = False
        self._curve: dict[str, tuple[list[float], list[float]]] = {}
        self._part: float | None = None
        self._settings_section()
        self._run_section()
        self._result_section()
        self.swipe = Swipe(self, self._pair)
        self.column.addWidget(self.swipe)
        self.swipe.hide()
        self.watch = RunWatch(self, self._messages, self._ended)
        project.moved.connect(self._follow_project)
        self._follow_project()

    # --- parts -------------------------------------------------------------------------------------------------

    def _settings_section(self) -> None:
        section = self.add_section("What teaches what")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("annotation set")
        self.folder.editingFinished.connect(self._refresh)
        section.add(row(self.folder, button("Choose", self._browse)))
        self.set_line = section.add(text_label("", "hint"))
        self.empty = section.add(EmptyState(FIRST_STEPS))
        self.model = ModelChooser()
        section.field("start from", self.model, "The model that learns; it stays as it is, the child is new.")
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.2, 120.0)
        self.minutes.setSingleStep(0.5)
        self.minutes.setDecimals(1)
        self.minutes.setValue(1.0)
        self.minutes.setSuffix(" min")
        section.field("time", self.minutes, "From start to a finished model, with its scores.")
        self.reference = QLineEdit()
        self.reference.setPlaceholderText("optional: images of the original domain")
        section.field("reference", self.reference, "Images (no masks) on which old and new model should still agree.")
        self.guard = QCheckBox("keep what the model knows")
        self.guard.setChecked(True)
        self.guard.setToolTip("Frozen parent as teacher, rehearsal, mixing with the parent. Off: plain fine-tuning.")
        section.add(self.guard)

    def _run_section(self) -> None:
        section = self.add_section()
        self.go = section.add(primary_button("Fine-tune", self.start))
        self.bar = section.add(QProgressBar())
        self.state = section.add(text_label("", "hint"))
        self.stop_button = button("Stop and keep best", self.stop, tip="Ends within two seconds; what is best is kept.")
        self.discard_button = button("Cancel and discard", self.discard, "danger", "Ends at once; nothing is kept.")
        section.add(row(self.stop_button, self.discard_button, stretch=None))
        self.chart = section.add(LineChart(self.palette_colours, (0.0, 1.0)))
        self.picture = section.add(QLabel())
        self.picture_line = section.add(text_label("", "hint"))
        for part in (self.bar, self.stop_button, self.discard_button, self.chart, self.picture, self.picture_line):
            part.hide()

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
        return hasattr(self, "watch") and self.watch.running

    def _refresh(self) -> None:
        folder = Path(self.folder.text()).expanduser() if self.folder.text().strip() else None
        cases, words = [], ""
        if folder is not None:
            try:
                cases = [c for c in read_cases(folder) if c.include]
                words = f"{len(cases)} case(s) are used."
                if len(cases) == 1:
                    words += " With one, the gain cannot be measured on another; a second one helps."
            except TinyMIGError as e:
                words = str(e)
        self.set_line.setText(words)
        self.empty.setVisible(not cases)
        task = (project.task_in(folder) if folder else None) or project.task or "optic"
        if task in TASKS:
            self.model.offer(TASKS[task].input, task)
        self.go.setEnabled(bool(cases) and not self.running and self.model.count() > 0)
        self.go.setToolTip("" if cases else FIRST_STEPS)

    def settings(self) -> dict[str, Any]:
        """The job's settings, plain values."""
        spec = {
            "minutes": self.minutes.value(),
            "guard": self.guard.isChecked(),
            "reference": self.reference.text().strip(),
            "device": str(setting("general", "device")),
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
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
        folder = Path(self.folder.text()).expanduser() / "runs" / stamp
        self.parent_name, self.best = self.model.model_name, None
        try:
            self.watch.start("finetune", self.settings(), folder)
        except TinyMIGError as e:
            self.say_error(e)
            return
        self._curve = {}
        self.bar.setRange(0, 0)
        self.state.setText("Starting; importing torch takes a few seconds.")
        self._show_running(True)

    def _show_running(self, on: bool) -> None:
        for part in (self.bar, self.stop_button, self.discard_button):
            part.setVisible(on)
        if on:
            for part in (self.result_card, self.picture, self.picture_line, self.chart, self.swipe):
                part.hide()
        self.stop_button.setEnabled(on)
        self.discard_button.setEnabled(on)
        self._refresh()

    def stop(self) -> None:
        """Stop and keep best."""
        self.stop_button.setEnabled(False)
        self.state.setText("Stopping; the best is kept...")
        self.watch.stop()

    def discard(self) -> None:
        """Cancel and discard."""
        self.stop_button.setEnabled(False)
        self.discard_button.setEnabled(False)
        self.state.setText("Cancelling...")
        self.watch.discard()

    def _messages(self, batch: list[Message]) -> None:
        """A tenth of a second's messages; only the last picture and the last step are drawn."""
        last = {m.kind: m for m in batch}
        for message in batch:
            if message.kind == "epoch":
                self._add_to_curve(message)
        if "started" in last:
            self.state.setText(last["started"].text)
        if "log" in last and last["log"].total:
            self.state.setText(f"{last['log'].text} ({last['log'].step} of {last['log'].total})")
        if "step" in last:
            self._show_step(last["step"])
        if "warning" in last:
            self.say(last["warning"].text, "warn")
        if "preview" in last:
            self._show_picture(last["preview"])
        if self._curve:
            self.chart.set_series(self._curve)
            self.chart.show()

    def _show_step(self, message: Message) -> None:
        self.bar.setRange(0, max(1, message.total))
        self.bar.setValue(message.step)
        if self.stop_button.isEnabled():
            eta = message.values.get("eta_s", float("nan"))
            left = f", about {eta:.0f} s left" if math.isfinite(eta) else ""
            self.state.setText(
                f"step {message.step} of {message.total}, loss {message.values.get('loss', 0):.3f}{left}"
            )

    def _add_to_curve(self, message: Message) -> None:
        where = "held out" if message.values.get("held_out") else "trained on"
        for name, value in ((f"Dice, {where}", message.values["score"]), ("before", message.values["before"])):
            xs, ys = self._curve.setdefault(name, ([], []))
            if xs and message.values.get("part") != self._part:  # other cases are scored: the line breaks
                xs.append(float(message.step))
                ys.append(math.nan)
            xs.append(float(message.step))
            ys.append(value)
        self._part = message.values.get("part")
        low = min(v for _, y in self._curve.values() for v in y if math.isfinite(v))
        self.chart.y_range = (max(0.0, round(low - 0.1, 1)), 1.0)

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

    def _ended(self, outcome: jobs.Outcome) -> None:
        """The worker is gone: show what came of it."""
        self._show_running(False)
        self.state.setText("")
        if outcome.status == "failed":
            self.say_error(outcome.text)
            return
        if outcome.status == "discarded":
            self.say(outcome.text)
            return
        saved = [p for p in outcome.saved if p.name == "best.safetensors"]
        if not saved:
            self.say(outcome.text, "warn")
            return
        self.best = saved[-1]
        self.show_verdict(self.best)

    def show_verdict(self, path: Path) -> None:
        """Before and after, what the gate says, and what can be done."""
        header, model_id = read_header(path)
        record = header.scores.get("finetune") or {}
        self.verdict_keep = bool(record.get("keep"))
        rows = {}
        for gain in record.get("gains", ()):
            before, after = (sum(gain[k]) / max(1, len(gain[k])) for k in ("before", "after"))
            interval = "" if gain.get("low") is None else f" [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
            rows[f"{gain['name']} Dice"] = f"{100 * before:.1f} -> {100 * after:.1f}{interval}"
        for kind, value in (record.get("proxy") or {}).items():
            rows[f"agreement, {kind}"] = f"{100 * value:.1f} %"
        self.rows.set_rows(rows)
        self.badge.say(
            "better" if self.verdict_keep else "not made the default",
            model_id,
            "good" if self.verdict_keep else "warn",
        )
        self.verdict.setText(" ".join(record.get("reasons", ())))
        self.name.setText(header.name)
        self.keep_button.setEnabled(self.verdict_keep)
        self.keep_button.setToolTip("" if self.verdict_keep else "The gate refused; see the reason.")
        self.knowingly.setVisible(not self.verdict_keep)
        self.result_card.show()
        self.swipe.show()

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
            kept = keep(self.best, None if name in ("", default) else name, knowingly)
        except (GateRefused, TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        forget_models()
        self.best = kept.path
        self.say(f"'{kept.name}' is now the default for {kept.task}.", "good")
        self._refresh()

    def roll_back(self) -> None:
        """Return to the default before."""
        task = project.task or (project.task_in(Path(self.folder.text())) or "optic")
        try:
            name = rollback(task)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        forget_models()
        self.say(f"'{name}' is the default for {task} again; the new model is still in your list.", "good")
        self._refresh()

    def _pair(self) -> tuple[str, str] | None:
        if self.best is None or not self.parent_name:
            return None
        return str(find_model(self.parent_name)), str(self.best)

    def theme_changed(self) -> None:
        if hasattr(self, "chart"):
            self.chart.set_colours(self.palette_colours)

    def released(self) -> None:
        project.moved.disconnect(self._follow_project)
        self.swipe.work.cancel()
        self.watch.leave()
