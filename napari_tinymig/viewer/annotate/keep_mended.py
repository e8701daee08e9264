"""Autosave into the open annotation set: a mended mask goes there when its case is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Labels
from qtpy.QtWidgets import QCheckBox

from ...tasks.task import Task
from ..cases.case import Case
from ..cases.worklist import hold_worklist, let_worklist_go
from ..napari_io.layers import kind_of, task_of_labels


class KeepMended(QCheckBox):
    """Calls `add` with mask and image of a mended case that is left, while it is ticked and its task is `task()`;
    `skipped` gets a sentence where a mended mask does not fit the set."""

    def __init__(
        self,
        viewer: Any,
        task: Callable[[], Task | None],
        add: Callable[[Labels, Image], None],
        skipped: Callable[[str], None],
    ):
        super().__init__("add mended masks when I go on")
        self.setToolTip("An earlier mask of the same case goes to the set's history.")
        self._viewer, self._task, self._add, self._skipped = viewer, task, add, skipped
        self.book = hold_worklist(viewer).book
        self.book.leaving.connect(self._left)

    def _left(self, case: Case) -> None:
        task, mask, image = self._task(), case.mask, case.image
        if not self.isChecked() or task is None or case.state != "mended" or mask is None or image is None:
            return
        painted = task_of_labels(mask)
        if kind_of(image) is None or (painted is not None and painted.name != task.name):
            self._skipped(f"'{case.name}' was not added: the set is of '{task.title}', and one picture a case.")
            return
        self._add(mask, image)

    def leave_cases(self) -> None:
        """Leave the cases."""
        self.book.leaving.disconnect(self._left)
        let_worklist_go(self._viewer)
