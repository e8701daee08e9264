"""The offer to segment every open case as the one on show."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from ..cases.worklist import Worklist
from ..docks.keys import with_key
from ..parts.style import button
from ..parts.theme import GAP


class AllCases(QWidget):
    """A button and its progress, there where several cases are open; while it runs, the button stops it."""

    def __init__(self, worklist: Worklist, on_click: Callable[[], None]):
        super().__init__()
        self.worklist = worklist
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        tip = "With the task and model above. Masks that you mended or saved are left as they are."
        self.go = button("All cases", on_click, tip=with_key(tip, "segment_all"))
        self.bar = QProgressBar()
        self.bar.hide()
        column.addWidget(self.go)
        column.addWidget(self.bar)
        worklist.book.changed.connect(self._show)
        worklist.progressed.connect(self._progressed)
        self._show()

    def _show(self) -> None:
        count = len(self.worklist.book.cases)
        self.setVisible(count > 1)
        self.go.setText("Stop after this case" if self.worklist.work.running else f"All {count} cases")

    def start_or_stop(self, task: str | None, model: str | None) -> None:
        """Segment every case (task None: found for each), or stop after the present one."""
        if self.worklist.work.running:
            self.worklist.stop_segmenting()
        else:
            self.worklist.segment(self.worklist.book.cases, task, model)

    def _progressed(self, done: int, total: int) -> None:
        self.bar.setVisible(total > 0)
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self.bar.setFormat(f"{done} of {total}")
        self._show()

    def released(self) -> None:
        """Leave the worklist."""
        self.worklist.book.changed.disconnect(self._show)
        self.worklist.progressed.disconnect(self._progressed)
