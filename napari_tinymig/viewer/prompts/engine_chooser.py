"""Who answers boxes: the bundled student, or LiteMedSAM where it is installed."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox

from ...jobs.box_engine import INSTALL, missing


class EngineChooser(QComboBox):
    """The engines for boxes; one that is not installed is greyed, with the line that installs it."""

    def __init__(self) -> None:
        super().__init__()
        self.addItem("the student", "student")
        why = missing()
        self.addItem(f"LiteMedSAM: {INSTALL}" if why else "LiteMedSAM", "litemedsam")
        if why:
            self.model().item(1).setEnabled(False)
            self.setItemData(1, why, 3)  # 3: tool tip

    @property
    def chosen(self) -> str:
        """Name of the engine."""
        return str(self.currentData())
