"""Numbers as people read them: with their unit, with a word where there is none, in aligned rows."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from ...reports.numbers import NOT_MEASURABLE
from .style import text_label, with_role
from .theme import GAP

LONGEST_NAME = 150
"""Of a row, on one line, px."""
SPARE = 16
"""Room for two more digits, px."""
BIG_HEIGHT = 38
FREE = 16777215
"""The largest size that Qt knows, px."""


def keep_still(label: QLabel, least_height: int = 0) -> None:
    """Fix the size of a number on one line while it fits, so that a changed digit does not lay the whole panel out
    again; a label that is not on show yet has not got its font, and stays free."""
    if not label.isVisible():
        label.setMinimumSize(0, least_height)
        label.setMaximumSize(FREE, FREE)
        return
    wanted, fixed = label.sizeHint().expandedTo(QSize(0, least_height)), label.minimumSize()
    spare = fixed.width() - wanted.width()
    if fixed != label.maximumSize() or not 0 <= spare <= 2 * SPARE or fixed.height() != wanted.height():
        label.setFixedSize(wanted.width() + SPARE, wanted.height())


class BigNumber(QLabel):
    """The one number of a panel, large, with its name beside it."""

    def __init__(self) -> None:
        super().__init__()
        with_role(self, "value")
        self.setTextFormat(Qt.TextFormat.RichText)  # only our own words and numbers are put in
        self.setMinimumHeight(BIG_HEIGHT)

    def show_number(self, name: str, value: str) -> None:
        size = 20 if value != NOT_MEASURABLE else 12
        before = self.text()
        self.setText(f'{name} <span style="font-size:{size}pt">&nbsp;{value}</span>')
        if before not in ("", self.text()):
            keep_still(self, BIG_HEIGHT)


class NumberRows(QWidget):
    """Names left, values right; rows are reused, so that live numbers do not flicker.

    live: the values change while a user paints, and leave the panel's layout alone as long as they fit.
    """

    def __init__(self, live: bool = False) -> None:
        super().__init__()
        self._live = live
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(GAP)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(0, 1)
        self._rows: list[tuple[QLabel, QLabel]] = []

    def set_rows(self, rows: Mapping[str, str]) -> None:
        """Show `name -> value`; further rows are hidden."""
        while len(self._rows) < len(rows):
            name, value = text_label("", "hint"), text_label("", "value", selectable=True)
            name.setWordWrap(False)
            value.setAlignment(Qt.AlignmentFlag.AlignRight)
            top, right = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignRight
            for column, where in enumerate((top, top | right)):  # Top of the label itself would add an indent
                self._grid.addWidget((name, value)[column], len(self._rows), column, where)
            self._rows.append((name, value))
        items = list(rows.items())
        for i, (name_label, value_label) in enumerate(self._rows):
            shown = i < len(items)
            name_label.setVisible(shown)
            value_label.setVisible(shown)
            if shown:
                long = name_label.fontMetrics().horizontalAdvance(items[i][0]) > LONGEST_NAME
                if long != name_label.wordWrap():
                    name_label.setWordWrap(long)  # it would widen the whole dock
                name_label.setText(items[i][0])
                changed = value_label.text() not in ("", items[i][1])  # the first value of a row is not waited for
                value_label.setText(items[i][1])
                if self._live and changed:
                    keep_still(value_label)

    def rows(self) -> dict[str, str]:
        """What is shown now."""
        return {n.text(): v.text() for n, v in self._rows if not n.isHidden()}
