"""The annotation set that this program works on: one folder, known to all panels, remembered between sessions."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from ...annotations.annotation_set import FILE
from ...annotations.journal import state_folder
from ...base.errors import OutputRefused
from ...base.safe_files import write_atomic

REMEMBERED = "last_set.json"


class Project(QObject):
    """The open set's folder and task; `moved` is sent when another is opened or its cases change, `models_changed` when
    a model was added."""

    moved = Signal()
    models_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.task = ""

    def open(self, folder: Path, task: str) -> None:
        """Make a folder the open set and remember it."""
        self.folder, self.task = Path(folder), task
        with contextlib.suppress(OutputRefused):  # remembering is a comfort; the set itself is on the disk
            write_atomic(state_folder().parent / REMEMBERED, json.dumps({"folder": str(folder)}).encode())
        self.moved.emit()

    def changed(self) -> None:
        """The open set has other cases now."""
        self.moved.emit()

    @staticmethod
    def remembered() -> Path | None:
        """The set of the last session, if it is still there."""
        try:
            folder = Path(json.loads((state_folder().parent / REMEMBERED).read_text(encoding="utf-8"))["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return folder if (folder / FILE).exists() else None

    @staticmethod
    def task_in(folder: Path) -> str | None:
        """The task that a folder's list names; None for a new folder."""
        try:
            return str(json.loads((folder / FILE).read_text(encoding="utf-8"))["task"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


project = Project()
