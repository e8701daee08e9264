"""What one prediction says: a badge, its main numbers, notes or why nothing was found, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Labels

from ...base.records import Prediction
from ...reports.words import doubts_of, result_rows, trust_badge, why_nothing
from ..docks.keys import CASE_KEYS
from ..docks.tabs import open_panel
from ..napari_io.layer_geometry import KEY
from ..parts.numbers import NumberRows
from ..parts.style import Badge, Section, button, row, text_label

NEXT = {
    "Read-out": ("Live read-out", "The numbers of the mask while you paint."),
    "Correct": ("Correct a mask", "Paint, smooth, fill, clean."),
    "Save": ("Save and report", "The mask as a file, its row in the table, a report."),
}
"""Button -> title of the panel it opens, and its tool tip."""


class ResultCard(Section):
    """The card of the last prediction; hidden until `show_prediction`."""

    def __init__(self, viewer: Any, next_case: Callable[[], None]) -> None:
        super().__init__("Result")
        self.badge = self.add(Badge())
        self.stale = self.add(
            text_label("Edited since: these are the prediction's numbers, the Read-out has the mask's.")
        )
        self.stale.hide()
        self.rows = self.add(NumberRows())
        self.notes = self.add(text_label("", "hint", selectable=True))
        self.next = {
            text: button(text, lambda title=title: open_panel(viewer, title), "step", tip)
            for text, (title, tip) in NEXT.items()
        }
        self.next["Next case"] = button("Next case", next_case, "step", f"Key: {CASE_KEYS['next'].shown}")
        self.add(row(*self.next.values(), stretch=None))
        self.hide()

    def follow(self, mask: Labels, image_name: str) -> bool:
        """Grey once the mask is edited, and follow its image's name; False where the numbers are those of another
        prediction, because undo brought one back."""
        own = mask.metadata.get(KEY, {})
        if own.get("measures") != self._measures:
            return False
        self.heading.setText(f"Result: {image_name}")
        self.say_edited(not np.array_equal(mask.data, own.get("predicted")))
        return True

    def say_edited(self, edited: bool) -> None:
        """Grey the numbers, and say why, once the mask is no longer what was predicted."""
        self.stale.setVisible(edited)
        for part in (self.rows, self.badge):
            part.setEnabled(not edited)

    def show_prediction(self, prediction: Prediction, image_name: str) -> None:
        """Show a prediction of the named image, found or not."""
        self.heading.setText(f"Result: {image_name}")
        self._measures = prediction.measures
        self.say_edited(False)
        found = prediction.status == "ok"
        text, tone = trust_badge(prediction)
        self.badge.say(text, tone=tone)
        self.rows.set_rows(result_rows(prediction))
        self.notes.setText(" ".join((*doubts_of(prediction), *prediction.notes)) if found else why_nothing(prediction))
        self.notes.setVisible(bool(self.notes.text()))
        self.show()
