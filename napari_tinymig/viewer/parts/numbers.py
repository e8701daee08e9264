"""Numbers as people read them: with their unit, with a word where there is none, in aligned rows."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from ...reports.numbers import NOT_MEASURABLE
from .style import text_label, with_role
from .theme import GAP

LONGEST_NAME = 150
"""Of a row, on one line, px."""


class BigNumber(QLabel):
    """The one number of a panel, large, with its name beside it."""

    def __init__(self) -> None:
        super().__init__()
        with_role(self, "value")
        self.setTextFormat(Qt.TextFormat.RichText)  # only our own words and numbers are put in
        self.setMinimumHeight(38)

    def show_number(self, name: str, value: str) -> None:
        size = 20 if value != NOT_MEASURABLE else 12
        self.setText(f'{name} <span style="font-size:{size}pt">&nbsp;{value}</span>')


class NumberRows(QWidget):
    """Names left, values right; rows are reused, so that live numbers do not flicker."""

    def __init__(self) -> None:
        super().__init__()
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
            for column, label in enumerate((name, value)):  # Top of the label itself would add an indent to its height
                self._grid.addWidget(label, len(self._rows), column, Qt.AlignmentFlag.AlignTop)
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
                value_label.setText(items[i][1])

    def rows(self) -> dict[str, str]:
        """What is shown now."""
        return {n.text(): v.text() for n, v in self._rows if not n.isHidden()}
