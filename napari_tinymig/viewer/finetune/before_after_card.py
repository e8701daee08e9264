"""What a fine-tuning run gave: before and after, whether it was accepted, and keeping it or going back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QLineEdit

from ...annotations.run_folders import mark_seen
from ...base.errors import TinyMIGError
from ...models.file import read_header
from ...models.lineage import NotAccepted, keep, parent_of, rollback, use
from ...models.registry import entry, find_model, user_folder
from ...recipes.student import ModelHeader
from ...reports.numbers import dice_change
from ..masks.compare_swipe import Swipe
from ..parts.numbers import NumberRows
from ..parts.panel import Panel
from ..parts.predicting import default_told, forget_models, preferred_model
from ..parts.style import Badge, Section, button, row, text_label

SHORT = {"drawn pictures": "drawings agree", "your reference folder": "reference agrees"}
"""Kinds of reference as a narrow panel names them."""


class BeforeAfterCard(Section):
    """The card of a finished run; hidden, and its swipe with it, until `show_acceptance`.

    chosen_model: name of the panel's chosen model, by whose task *Roll back* goes. on_change: called when the default
    model has changed.
    """

    def __init__(self, panel: Panel, chosen_model: Callable[[], str], on_change: Callable[[], None]):
        super().__init__("Before and after")
        self.panel, self._chosen_model, self._on_change = panel, chosen_model, on_change
        self.best: Path | None = None
        self.parent_name = ""
        self.verdict_keep = False
        self.badge = self.add(Badge())
        self.rows = self.add(NumberRows())
        self.acceptance = self.add(text_label("", "hint", selectable=True))
        self.name = QLineEdit()
        self.field("name", self.name, "Name of the new model.")
        self.keep_button = button("Keep as default", self.keep, tip="The new model is used from now on.")
        self.rollback_button = button("Roll back", self.roll_back, tip="Return to the default model before.")
        self.add(row(self.keep_button, self.rollback_button, stretch=None))
        self.knowingly = self.add(button("Keep it all the same", self.keep_knowingly, "danger"))
        self.knowingly.hide()
        self.swipe = Swipe(panel)
        self.clear()

    def clear(self) -> None:
        """Nothing to show: a run has begun, or none has ended yet."""
        self.best = None
        self.hide()
        self.swipe.hide()

    def show_acceptance(self, path: Path) -> None:
        """Before and after, what the acceptance check says, and what can be done with a run's best model."""
        header, model_id = read_header(path)
        self.best = path
        mark_seen(path)
        parent = parent_of(entry(header.name, path))
        self.parent_name = parent.name if parent else ""
        record = header.scores.get("finetune") or {}
        self.verdict_keep = bool(record.get("keep"))
        rows = {}
        for gain in record.get("gains", ()):
            rows[f"{gain['name']} Dice"], change = dice_change(gain["before"], gain["after"])
            if gain.get("low") is not None:
                interval = f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
                rows[f"{gain['name']} gain, 95 %"] = f"{change} {interval}"
        for kind, value in (record.get("proxy") or {}).items():
            rows[SHORT.get(kind, kind)] = f"{100 * value:.1f} %"
        self.rows.set_rows(rows)
        words, tone = ("better", "good") if self.verdict_keep else ("not made the default", "warn")
        self.badge.say(words, model_id, tone)  # type: ignore[arg-type]
        self.acceptance.setText(" ".join(record.get("reasons", ())))
        self.name.setText(header.name)
        self._offer_keeping(True)
        self.show()
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
        """The user read why the acceptance check refused, and wants it all the same."""
        self._keep(knowingly=True)

    def _keep(self, knowingly: bool) -> None:
        if self.best is None:
            self.panel.say("There is no new model yet.", "warn")
            return
        name = self.name.text().strip()
        try:
            default = read_header(self.best)[0].name
            if self.best.parent == user_folder():  # kept before, and rolled back since
                use(self.best.stem)
                kept = entry(self.best.stem, self.best)
            else:
                kept = keep(self.best, None if name in ("", default) else name, knowingly)
        except (NotAccepted, TinyMIGError, ValueError) as e:
            self.panel.say_error(e)
            return
        forget_models()
        self.best = kept.path
        if kept.header is not None:
            self._offer_pair(kept.header)
        words, used = default_told(kept.name, kept.task)
        self.panel.say(words, "good" if used and self.verdict_keep else "warn")
        words = "kept" if self.verdict_keep else "kept although the check refused"
        self.badge.say(words, kept.model_id or kept.name, "good" if self.verdict_keep else "warn")
        self.name.setText(kept.name)
        self._offer_keeping(False)
        self._on_change()

    def _offer_keeping(self, on: bool) -> None:
        """The button that makes the new model the default: the usual one, or where the acceptance check refused the
        other one."""
        self.keep_button.setEnabled(on and self.verdict_keep)
        refused = "" if self.verdict_keep else "The acceptance check refused; see the reason."
        self.keep_button.setToolTip(refused if on else "It is the default already.")
        self.knowingly.setVisible(on and not self.verdict_keep)

    def roll_back(self) -> None:
        """Return to the default before."""
        chosen = self._chosen_model()
        try:
            task = entry(chosen, find_model(chosen)).task
            name = rollback(task)
        except (TinyMIGError, ValueError) as e:
            self.panel.say_error(e)
            return
        forget_models()
        used = preferred_model(task) == name
        words = f"'{name}' is the default for {task} again; the new model is still in your list."
        self.panel.say(words if used else default_told(name, task)[0], "good" if used else "warn")
        if self.best is not None and self.best.parent == user_folder() and self.best.stem != name:
            self.badge.say("not the default", self.best.stem, "warn")
            self._offer_keeping(True)
        self._on_change()
