"""Controls of a training run: start, progress, stop, cancel and the live curve, the same in every panel that trains."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QProgressBar

from ... import jobs
from ...base.records import Message
from .charts import LineChart
from .panel import Panel
from .run_watch import RunWatch
from .style import Section, button, primary_button, row, text_label
from .theme import Palette


class RunControls:
    """One run at a time, in a process of its own, with its buttons, progress bar, line of words and curve.

    The parts are appended to `section`; all but the start button are hidden until something runs. What every run
    tells is shown here: warnings at the panel's foot, words and time left in the line, steps in the bar. What only
    one kind of run tells is the panel's: `on_messages(batch)` comes at most ten times a second, in the window's
    thread, and may call `add_point`. `on_running(True or False)` comes when a run starts and when it is gone.
    `on_saved(path)` comes at the end of a run that saved a file named `product`; every other end is said here.
    """

    def __init__(
        self,
        panel: Panel,
        section: Section,
        label: str,
        on_click: Callable[[], None],
        product: str,
        on_messages: Callable[[list[Message]], None],
        on_running: Callable[[bool], None],
        on_saved: Callable[[Path], None],
        y_range: tuple[float, float] | None = None,
    ):
        self.panel, self.product = panel, product
        self._on_messages, self._on_running, self._on_saved = on_messages, on_running, on_saved
        self.curve: dict[str, tuple[list[float], list[float]]] = {}
        self.go = section.add(primary_button(label, on_click))
        self.bar = section.add(QProgressBar())
        self.state = section.add(text_label("", "hint"))
        self.stop_button = button("Stop and keep best", self.stop, tip="Ends within two seconds; what is best is kept.")
        self.discard_button = button("Cancel and discard", self.discard, "danger", "Ends at once; nothing is kept.")
        section.add(row(self.stop_button, self.discard_button, stretch=None))
        self.chart = section.add(LineChart(panel.palette_colours, y_range))
        for part in (self.bar, self.state, self.stop_button, self.discard_button, self.chart):
            part.hide()
        self.watch = RunWatch(panel, self._messages, self._ended)

    @property
    def running(self) -> bool:
        """True while a worker is at work."""
        return self.watch.running

    def start(self, kind: str, settings: dict[str, Any], folder: Path) -> None:
        """Start the worker. Raises what `jobs.start` raises; nothing has changed then."""
        self.watch.start(kind, settings, folder)
        self.curve = {}
        self.bar.setRange(0, 0)
        self._write("Starting; importing torch takes a few seconds.")
        self._show_running(True)

    def stop(self) -> None:
        """Stop and keep best."""
        self.stop_button.setEnabled(False)
        self._write("Stopping; the best is kept...")
        self.watch.stop()

    def discard(self) -> None:
        """Cancel and discard."""
        self.stop_button.setEnabled(False)
        self.discard_button.setEnabled(False)
        self._write("Cancelling...")
        self.watch.discard()

    def leave(self) -> None:
        """The panel is gone: a run that goes on keeps its best, and nobody listens."""
        self.watch.leave()

    def set_colours(self, colours: Palette) -> None:
        """Follow a new theme."""
        self.chart.set_colours(colours)

    def tell(self, text: str) -> None:
        """Words on the run's progress; what the user asked for (stop, cancel) is not overwritten."""
        if self.stop_button.isEnabled():
            self._write(text)

    def _write(self, text: str) -> None:
        self.state.setText(text)
        self.state.setVisible(bool(text))

    def add_point(self, step: float, values: dict[str, float], gap: bool = False) -> None:
        """A point on each named line of the curve. gap: the line breaks before it."""
        for name, value in values.items():
            xs, ys = self.curve.setdefault(name, ([], []))
            if gap and xs:
                xs.append(step)
                ys.append(math.nan)
            xs.append(step)
            ys.append(value)

    def _show_running(self, on: bool) -> None:
        for part in (self.bar, self.stop_button, self.discard_button):
            part.setVisible(on)
            part.setEnabled(on)
        if on:
            self.chart.hide()
        self._on_running(on)

    def _messages(self, batch: list[Message]) -> None:
        for message in batch:
            self._show(message)
        self._on_messages(batch)
        if self.curve:
            self.chart.set_series(self.curve)
            self.chart.show()

    def _show(self, message: Message) -> None:
        counted = f" ({message.step} of {message.total})" if message.total else ""
        if message.kind == "warning":
            self.panel.say(message.text, "warn")
        elif message.kind == "started":
            self.tell(message.text)
        elif message.kind == "log":
            self.tell(message.text + counted)
        elif message.kind in ("step", "epoch") and message.total:
            self.bar.setRange(0, message.total)
            self.bar.setValue(message.step)
            if "eta_s" in message.values:
                self.tell(_step_line(message))

    def _ended(self, outcome: jobs.Outcome) -> None:
        self._show_running(False)
        self._write("")
        saved = [path for path in outcome.saved if path.name == self.product]
        if outcome.status == "failed":
            self.panel.say_error(outcome.text)
        elif outcome.status == "discarded":
            self.panel.say(outcome.text)
        elif not saved:
            self.panel.say(outcome.text, "warn")
        else:
            self._on_saved(saved[-1])


def _step_line(message: Message) -> str:
    eta = message.values["eta_s"]
    left = f", about {eta:.0f} s left" if math.isfinite(eta) else ""
    return f"step {message.step} of {message.total}, loss {message.values.get('loss', 0):.3f}{left}"


def run_stamp() -> str:
    """Date and time (UTC) as the name of a run's folder, e.g. 20260131-235959."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
