"""About: versions, device with its reason, models, licence, and what the software is not for."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from qtpy import API_NAME
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

from ..models.registry import list_models
from ..network.run import resolve_device
from .parts.style import text_label
from .parts.theme import MARGIN, palette, style_sheet

NOTICE = (
    "For research use only. Not a medical device: not for diagnosis, not for decisions about the treatment of "
    "patients. Every mask and number needs to be checked by a person who can."
)
PACKAGES = ("napari-tinymig", "napari", "npe2", "numpy", "onnxruntime", "nibabel", "pydicom", "highdicom", "torch")


def versions_text() -> str:
    """Versions, device and models, one fact a line; nothing personal, so that it can go into a bug report."""
    lines = []
    for package in PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    lines.append(f"Qt binding {API_NAME}")
    lines.append(f"Python {platform.python_version()} on {platform.system()} {platform.release()}")
    lines.append(f"device {resolve_device()}")
    for known in list_models():
        lines.append(f"model {known.model_id or known.name + ' (' + known.problem + ')'}")
    return "\n".join(lines)


class AboutDialog(QDialog):
    """The About box; 'Copy' puts the versions on the clipboard."""

    def __init__(self, parent: QWidget | None = None, theme: str = "dark"):
        super().__init__(parent)
        self.setWindowTitle("About napari-tinymig")
        self.setStyleSheet(style_sheet(palette(theme)))
        self.resize(460, 420)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * MARGIN, 2 * MARGIN, 2 * MARGIN, MARGIN)
        column.addWidget(QLabel("<h2>napari-tinymig</h2>"))
        column.addWidget(
            text_label("Tiny students that segment optic disc and cup, prostate and polyps, and learn from your edits.")
        )
        notice = text_label(NOTICE)
        notice.setProperty("tone", "warn")
        column.addWidget(notice)
        self.text = text_label(versions_text(), "line", selectable=True)
        column.addWidget(self.text)
        column.addWidget(text_label("Software: BSD-3-Clause licence. Models: see each model's card.", "hint"))
        column.addStretch(1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy: Any = buttons.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(lambda _=False: QGuiApplication.clipboard().setText(self.text.text()))
        buttons.rejected.connect(self.reject)
        column.addWidget(buttons)
