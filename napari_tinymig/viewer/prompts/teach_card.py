"""An own structure's cases and its model: collect five, train one in a minute, use it in Segment."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtWidgets import QDoubleSpinBox

from ...annotations.annotation_set import AnnotationSet, read_cases
from ...annotations.run_folders import runs_folder
from ...annotations.structures import offer_model, own_structures, set_folder
from ...base.errors import TinyMIGError
from ...base.records import Message
from ...tasks.task import Task
from ..cases.results import name_of_frame
from ..napari_io.layers import KEY, scan_of
from ..parts.panel import Panel
from ..parts.predicting import forget_models
from ..parts.project import project
from ..parts.run_controls import RunControls, run_stamp
from ..parts.settings import setting
from ..parts.style import Section, text_label

ENOUGH = 5
"""Cases from which a first model is worth its minute; two are the least that can be split."""


class TeachCard(Section):
    """The set of the chosen own structure, and the run that makes its model; hidden for every other structure."""

    def __init__(self, panel: Panel):
        super().__init__("A model of this structure")
        self.panel = panel
        self.task: Task | None = None
        self._scores: dict[str, float] = {}
        self.line = self.add(text_label("", "line"))
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.3, 60.0)
        self.minutes.setSingleStep(0.5)
        self.minutes.setDecimals(1)
        self.minutes.setValue(1.0)
        self.minutes.setSuffix(" min")
        self.field("time", self.minutes, "From the press to a model that Segment can use.")
        self.run = RunControls(
            panel,
            self,
            "Train a model",
            self.start,
            "best.safetensors",
            self._messages,
            lambda _on: self.refresh(),
            self._saved,
            (0.0, 1.0),
        )
        self.run.go.setProperty("role", None)  # 'Accept' is the one blue button of this panel
        self.where = self.add(text_label("", "hint", selectable=True))

    def show_task(self, task: Task | None) -> None:
        """Follow the chosen structure; None or one that has no set hides the card."""
        self.task = task if task is not None and task.name in own_structures() else None
        self.refresh()

    @property
    def cases(self) -> int:
        """Cases of the set that are used."""
        return 0 if self.task is None else sum(c.include for c in read_cases(set_folder(self.task)))

    def refresh(self) -> None:
        """Say how far the set is, and whether a model can be trained."""
        self.setVisible(self.task is not None)
        if self.task is None:
            return
        count = self.cases
        self.heading.setText(f"A model of '{self.task.title}'")
        missing = max(0, ENOUGH - count)
        more = f" {missing} more, and a model can be trained from them." if missing else " Enough for a model."
        self.line.setText(f"{count} of {ENOUGH} cases." + more if missing else f"{count} cases.{more}")
        self.where.setText(f"The cases lie in {set_folder(self.task)}.")
        self.run.go.setEnabled(count >= 2 and not self.run.running)
        self.run.go.setToolTip(
            "Runs in a process of its own." if count >= 2 else "Two cases at least; five are better."
        )

    def add_case(self, image: Layer, mask: Labels, frame: tuple[int, ...] = ()) -> str:
        """Put a mask and its image into the set; words about it. Raises ValueError or TinyMIGError if it cannot."""
        task = self.task
        if task is None:
            return ""
        own = mask.metadata.get(KEY, {}) if mask.metadata else {}
        scan = replace(scan_of(image, frame), name=name_of_frame(image, frame))
        with AnnotationSet(set_folder(task), task) as cases:
            case, warnings = cases.add(
                scan,
                np.asarray(mask.data).reshape(scan.grid_shape),
                source=str(own.get("path") or image.source.path or image.name),
                model_id=str(own.get("model_id", "")),
                replace=True,  # the same image again is the same case mended further; the earlier mask is kept
            )
        project.open(set_folder(task), task.name)
        self.refresh()
        return " ".join([f"'{case.stem}' is case {self.cases} of '{task.title}'.", *(w.text for w in warnings)])

    # --- the run -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Train in a process of its own."""
        if self.task is None:
            return
        self.panel.say("")
        data = set_folder(self.task)
        job = {"data": str(data), "minutes": self.minutes.value(), "asked": time.time()}
        job["device"] = str(setting("general", "device"))
        try:
            self.run.start("structure", job, runs_folder(data) / run_stamp())
        except (TinyMIGError, ValueError) as e:
            self.panel.say_error(e)

    def _messages(self, batch: list[Message]) -> None:
        for message in batch:
            if message.kind == "epoch":
                self._scores = dict(message.values)
                self.run.add_point(float(message.step), {"Dice, held out": message.values.get("score", float("nan"))})

    def _saved(self, best: Path) -> None:
        """The model is there: it is offered from now on."""
        task = self.task
        if task is None:
            return
        try:
            name = offer_model(best, task)
        except (TinyMIGError, ValueError, OSError) as e:
            self.panel.say_error(e)
            return
        forget_models()
        project.models_changed.emit()
        held = [v for k, v in self._scores.items() if k.startswith("dice_") and k != "dice_styled"]
        score = f" Dice {np.mean(held):.2f} on cases that it was not taught (few: a first hint)." if held else ""
        self.panel.say(f"The model '{name}' is ready: choose '{task.title}' in Segment.{score}", "good")
        self.refresh()

    def set_colours(self, colours: Any) -> None:
        """Follow a new theme."""
        self.run.set_colours(colours)

    def leave(self) -> None:
        """The panel is gone; a run that goes on keeps its best."""
        self.run.leave()
