"""Why the mask as it is now should be looked at again: amber, with a sentence for each reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ...reports.words import doubts_in
from ..napari_io.layers import KEY
from ..parts.style import Badge, text_label
from ..parts.theme import GAP


class DoubtsLine(QWidget):
    """A badge and its reasons; takes no room while there is no doubt."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        self.badge = Badge("check the outline", tone="warn")
        self.reasons = text_label("", "hint", selectable=True)
        column.addWidget(self.badge)
        column.addWidget(self.reasons)
        self.hide()

    def look_at(self, mask: Labels, live: Sequence[str]) -> None:
        """Say the signs found in the mask now; as long as it is as it was predicted, also what the model itself is
        unsure of (a wide range, a low expected Dice), which says nothing of a mended mask."""
        own = mask.metadata.get(KEY, {}) if isinstance(mask.metadata, Mapping) else {}
        extra = own.get("extra")
        models = doubts_in(extra) if isinstance(extra, Mapping) else ()
        if models and not np.array_equal(mask.data, own.get("predicted")):
            models = ()
        self.reasons.setText(" ".join(dict.fromkeys((*live, *models))))
        self.setVisible(bool(self.reasons.text()))
