"""The field for the reference folder of a fine-tuning run, with a line that says what is in it."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QLineEdit

from ...annotations.reference_folder import reference_items
from ...base.errors import TinyMIGError
from ..parts.style import text_label


class ReferenceField(QLineEdit):
    """A folder of images of the original domain, or nothing; `line` belongs under the field."""

    def __init__(self) -> None:
        super().__init__()
        self.setPlaceholderText("folder, optional")
        self.line = text_label("", "hint")
        self.line.hide()
        self.editingFinished.connect(self.check)

    @property
    def folder(self) -> Path | None:
        """The folder as an absolute path, because the worker runs in another one; None where nothing is named."""
        text = self.text().strip()
        return Path(text).expanduser().resolve() if text else None

    def check(self) -> str:
        """Say in the line how many images there are; what is wrong with the folder comes back, else ''."""
        problem, words = "", ""
        if self.folder is not None:
            try:
                words = f"{len(reference_items(self.folder))} image(s) are compared."
            except TinyMIGError as e:
                problem = str(e)
        self.line.setText(problem or words)
        self.line.setVisible(bool(problem or words))
        return problem
