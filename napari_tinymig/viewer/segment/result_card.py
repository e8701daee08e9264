"""What one prediction says: a badge, its main numbers, and notes, or why nothing was found."""

from __future__ import annotations

from ...base.records import Prediction
from ...reports.words import result_rows, trust_badge, why_nothing
from ..parts.numbers import NumberRows
from ..parts.style import Badge, Section, text_label


class ResultCard(Section):
    """The card of the last prediction; hidden until `show_prediction`."""

    def __init__(self) -> None:
        super().__init__("Result")
        self.badge = self.add(Badge())
        self.rows = self.add(NumberRows())
        self.notes = self.add(text_label("", "hint", selectable=True))
        self.hide()

    def show_prediction(self, prediction: Prediction, image_name: str) -> None:
        """Show a prediction of the named image, found or not."""
        self.heading.setText(f"Result: {image_name}")
        found = prediction.status == "ok"
        text, tone = trust_badge(prediction)
        self.badge.say(text, tone=tone)
        self.rows.set_rows(result_rows(prediction))
        self.notes.setText(" ".join(prediction.notes) if found else why_nothing(prediction))
        self.notes.setVisible(bool(self.notes.text()))
        self.show()
