"""Why the mask as it is now should be looked at again: amber, with a sentence for each reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ...reports.words import doubts_in
from ..napari_io.layers import KEY
from ..parts.style import Badge, text_label
from ..parts.theme import GAP

DOUBTS_MS = 150  # while painting; judging a shape costs more than counting its numbers


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
        self._mask: Labels | None = None
        self._judge: Callable[[], Sequence[str]] = tuple
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(DOUBTS_MS)
        self._soon.timeout.connect(self._look)
        self.hide()

    def follow(self, mask: Labels, judge: Callable[[], Sequence[str]], at_once: bool) -> None:
        """Say what `judge` finds in the mask, now or within `DOUBTS_MS`; as long as the mask is as it was predicted,
        also what the model itself is unsure of (a wide range, a low expected Dice), which says nothing of a mended one.
        """
        self._mask, self._judge = mask, judge
        if at_once:
            self._look()
        elif not self._soon.isActive():
            self._soon.start()

    def _look(self) -> None:
        self._soon.stop()
        mask = self._mask
        if mask is None:
            return
        own = mask.metadata.get(KEY, {}) if isinstance(mask.metadata, Mapping) else {}
        extra = own.get("extra")
        models = doubts_in(extra) if isinstance(extra, Mapping) else ()
        predicted = own.get("predicted")
        if models and (predicted is None or not np.array_equal(mask.data, predicted)):
            models = ()
        self.reasons.setText(" ".join(dict.fromkeys((*self._judge(), *models))))
        self.setVisible(bool(self.reasons.text()))
