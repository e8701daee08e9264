"""How familiar one image is to one model: badge, reason, numbers, and a bar per part of the network."""

from __future__ import annotations

import numpy as np

from ...base.findings import ShiftFindings
from ...base.records import Prediction
from ...measures.declared import VCDR, VOLUME_ML
from ...reports.numbers import Tone, with_unit
from ...reports.words import shift_rows
from .charts import BarChart
from .numbers import NumberRows
from .style import Badge, Section, text_label
from .theme import Palette

TONES: dict[str, Tone] = {"known ground": "good", "some shift": "warn", "far away": "warn", "drawn image": "plain"}

PART_WORDS = {
    "stage 1": "edges, grain",
    "stage 2": "texture",
    "stage 3": "shapes",
    "stage 4": "the whole",
    "neighbours": "nearest image",
    "image": "colour, light",
    "output": "the mask",
}
"""What a part of the distance looks at, for people: the network's four stages from fine to coarse, the nearest of the
training images, the picture's own numbers, size and doubt of the answer."""


class ShiftCard(Section):
    """The card of one model; hidden until `show_prediction`."""

    def __init__(self, colours: Palette):
        super().__init__()
        self.badge = self.add(Badge())
        self.reason = self.add(text_label("", "line", selectable=True))
        self.rows = self.add(NumberRows())
        self.rows.setToolTip("In brackets: 80 % range of the expected Dice, 90 % interval of the measures.")
        self.title = self.add(text_label("what differs: percentile among the training images", "hint"))
        self.bars = self.add(BarChart(colours, 100))
        self.title.setToolTip("How far what the model sees is from its training images, from fine to coarse.")
        self.notes = self.add(text_label("", "hint"))
        self.hide()

    def show_prediction(self, name: str, prediction: Prediction) -> None:
        """Show what model `name` makes of an image; a model without source statistics cannot say."""
        self.heading.setText(name)
        self.heading.show()
        shift = prediction.findings.shift
        known = prediction.shift_score is not None and shift is not None
        for part in (self.rows, self.title, self.bars):
            part.setVisible(known)
        if shift is not None:
            self._show_score(prediction, shift)
        else:
            self.badge.say("cannot say", "this model carries no source statistics")
            self.reason.setText(
                " ".join(prediction.notes) or "This model carries no statistics of its training images."
            )
            self.notes.hide()
        self.show()

    def _show_score(self, prediction: Prediction, shift: ShiftFindings) -> None:
        self.badge.say(shift.level, tone=TONES[shift.level])
        self.reason.setText(prediction.shift_reason)
        self.rows.set_rows(_shift_rows(prediction))
        self.bars.set_bars({PART_WORDS.get(part, part): value for part, value in shift.profile.items()}, mark=97.5)
        self.notes.setText(" ".join(shift.notes))
        self.notes.setVisible(bool(self.notes.text()))


def _shift_rows(prediction: Prediction) -> dict[str, str]:
    """Name -> value of the score, the expected Dice and the intervals of the measures."""
    found = prediction.findings
    rows = shift_rows(prediction)
    rows.pop("domain shift", None)  # the badge says it
    for region, (middle, low, high) in found.expected_dice.items():
        rows[f"expected Dice, {region}"] = f"{middle:.2f} ({low:.2f}-{high:.2f})"
    if VCDR in found.intervals:
        low, high = found.intervals[VCDR]
        rows["vertical CDR"] = f"{with_unit(prediction.measures[VCDR])} ({low:.2f}-{high:.2f})"
    if VOLUME_ML in found.intervals:
        low, high = found.intervals[VOLUME_ML]
        rows["volume"] = f"{prediction.measures[VOLUME_ML]:.0f} ({low:.0f}-{high:.0f}) mL"
    slices = found.shift.slices if found.shift else ()
    if len(slices) > 1:
        rows["furthest slice"] = f"{int(np.argmax(slices))}"
    return rows
