"""Models: the lineage tree, and what can be done with a model: default, roll back, rename, export, import, delete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QLineEdit

from ...base.errors import TinyMIGError
from ...models import lineage
from ...models.file import read_header
from ...models.registry import SUFFIX, Entry, add_model, remove_model
from ..masks.compare_swipe import Swipe
from ..parts.numbers import NumberRows
from ..parts.panel import Panel
from ..parts.predicting import default_told, forget_models, preferred_model
from ..parts.style import EmptyState, button, primary_button, row, text_label
from .model_card import show_card
from .model_tree import ModelTree, acceptance_record, facts_of, short_hashes

if TYPE_CHECKING:
    import napari.viewer

FILES = f"Models (*{SUFFIX})"


class ModelsPanel(Panel):
    """The tree, the chosen model's facts and actions, and two models of its task under a swipe."""

    purpose = "Your models and where each came from. A model that is the default is used where none is named."
    tab = "Models"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self._asked: tuple[str, str] | None = None
        self._tree_section()
        self._model_section()
        self.swipe = Swipe(self)
        self.column.addWidget(self.swipe)
        self.refresh()

    # --- parts -------------------------------------------------------------------------------------------------

    def _tree_section(self) -> None:
        section = self.add_section("Lineage")
        self.tree = section.add(ModelTree())
        self.tree.itemSelectionChanged.connect(self._chosen)
        self.import_button = button("Import a file", self._browse_import, tip="Every hash is checked; nothing is run.")
        section.add(
            row(self.import_button, button("Refresh", self.refresh, tip="Read the folders again."), stretch=None)
        )

    def _model_section(self) -> None:
        self.empty = EmptyState("Choose a model in the tree.")
        self.column.addWidget(self.empty)
        self.card = section = self.add_section("Chosen model")
        self.rows = section.add(NumberRows())
        self.words = section.add(text_label("", "hint", selectable=True))
        self.default_button = section.add(primary_button("Make default", self.make_default))
        self.rollback_button = button("Roll back", self.roll_back, tip="Return to the default before; nothing is lost.")
        self.card_button = button("Model card", self._show_card)
        section.add(row(self.rollback_button, self.card_button, stretch=None))
        self.name = QLineEdit()
        self.name.returnPressed.connect(self.rename)
        self.rename_button = button("Rename", self.rename)
        section.add(row(self.name, self.rename_button))
        self.export_button = button("Export", self._browse_export, tip="Copy it to a file for someone else.")
        self.delete_button = button("Delete", self.delete, "danger")
        section.add(row(self.export_button, self.delete_button, stretch=None))

    # --- what is shown -----------------------------------------------------------------------------------------

    def refresh(self, chosen: str = "") -> None:
        """Read the models again."""
        try:
            self.tree.show_models(chosen)
        except (TinyMIGError, OSError) as e:
            self.say_error(e)

    def _chosen(self) -> None:
        """Another model was chosen: its facts, and what may be done with it."""
        entry = self.tree.chosen
        self._forget_question()
        self.empty.setVisible(entry is None)
        self.card.setVisible(entry is not None)
        self.swipe.setVisible(entry is not None and self._is_segmenter(entry))
        if entry is None:
            return
        self.card.heading.setText(entry.name)
        self.rows.set_rows(facts_of(entry))
        self.rows.setToolTip("Learned from: " + (", ".join(short_hashes(entry)) or "not recorded"))
        self.words.setText(entry.problem or " ".join(acceptance_record(entry).get("reasons", ())))
        self.words.setVisible(bool(self.words.text()))
        self.name.setText(entry.name)
        segmenter = self._is_segmenter(entry)
        self.default_button.setEnabled(segmenter and preferred_model(entry.task) != entry.name)
        why = "Models of the package keep their names and stay." if entry.bundled else ""
        for part in (self.name, self.rename_button, self.delete_button):
            part.setEnabled(not entry.bundled)
            part.setToolTip(why)
        for part in (self.export_button, self.card_button):
            part.setEnabled(entry.header is not None)
        self.rollback_button.setEnabled(segmenter)
        if segmenter:
            self._offer_pair(entry)

    @staticmethod
    def _is_segmenter(entry: Entry) -> bool:
        return entry.header is not None and entry.header.kind == "segmenter"

    def _offer_pair(self, entry: Entry) -> None:
        """The chosen model against its parent, else against the default; any other two can be chosen."""
        parent = self.tree.entry_of(entry.header.lineage.parent if entry.header else None)
        other = parent.name if parent else (preferred_model(entry.task) or entry.name)
        self.swipe.offer(entry.task, other, entry.name)

    # --- what is done ------------------------------------------------------------------------------------------

    def _do(self, action: Callable[[], str], chosen: str = "") -> bool:
        """Do it, show the tree again, say what happened; False and the error's sentence if it went wrong."""
        try:
            sentence = action()
        except (TinyMIGError, ValueError, OSError) as e:
            self.say_error(e)
            return False
        forget_models()
        self.refresh(chosen)
        self.say(sentence, "good")
        return True

    def _sure(self, what: str, question: str) -> bool:
        """True at the second press of the same button for the same model; the first asks."""
        asked = (what, self.tree.chosen_name)
        if self._asked == asked:
            self._forget_question()
            return True
        self._forget_question()
        self._asked = asked
        {"delete": self.delete_button, "default": self.default_button}[what].setText("Yes, I know")
        self.say(question, "warn")
        return False

    def _forget_question(self) -> None:
        if self._asked is not None:
            self._asked = None
            self.say("")
        self.delete_button.setText("Delete")
        self.default_button.setText("Make default")

    def make_default(self) -> None:
        """Use the chosen model where none is named; asks first where the acceptance check refused it."""
        entry = self.tree.chosen
        if entry is None:
            return
        acceptance = acceptance_record(entry)
        if acceptance and not acceptance.get("keep") and not self._sure("default", _refusal(acceptance)):
            return

        def use() -> str:
            lineage.use(entry.name)
            return default_told(entry.name, entry.task)[0]

        self._do(use)

    def roll_back(self) -> None:
        """Return to the default before the present one, for the task of the chosen model."""
        entry = self.tree.chosen
        if entry is not None:
            self._do(lambda: f"'{lineage.rollback(entry.task)}' is the default for {entry.task} again.")

    def rename(self) -> None:
        """Give the chosen model the name in the field."""
        old, new = self.tree.chosen_name, self.name.text().strip()
        if new == old:
            self.say("Write another name into the field first.", "warn")
            return
        self._do(lambda: f"'{old}' is now called '{lineage.rename(old, new).name}'.", new)

    def export_to(self, path: str | Path) -> None:
        """Copy the chosen model to a file."""
        name = self.tree.chosen_name
        self._do(lambda: f"{lineage.export_file(name, path)}: written, every hash checked.")

    def import_from(self, path: str | Path) -> None:
        """Check a model file and copy it among the user's models, under a free name."""
        kept: list[str] = []

        def take() -> str:
            kept.append(add_model(path, lineage.free_name(read_header(Path(path))[0].name)).name)
            return f"'{kept[0]}' was imported; every hash is right. It is not the default."

        if self._do(take):
            self.refresh(kept[0])

    def delete(self) -> None:
        """Delete the chosen model, at the second press."""
        name = self.tree.chosen_name
        if self._sure("delete", f"'{name}' is removed from the disk for good; models made from it stay. Press again."):
            self._do(lambda: f"{remove_model(name).name} was deleted.")

    def _browse_import(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Model file", "", FILES)
        if chosen:
            self.import_from(chosen)

    def _browse_export(self) -> None:
        suggested = f"{self.tree.chosen_name}{SUFFIX}"
        chosen, _ = QFileDialog.getSaveFileName(self, "Export the model", suggested, FILES)
        if chosen:
            self.export_to(chosen)

    def _show_card(self) -> None:
        show_card(self.tree.chosen_name, self)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self.refresh()  # another panel may have kept a model meanwhile

    def released(self) -> None:
        self.swipe.work.cancel()


def _refusal(acceptance: dict) -> str:
    reasons = acceptance.get("reasons") or ["The acceptance check refused this model."]
    return f"{reasons[0]} Press again to make it the default all the same."
