"""How masks look, in one place for all cases: opacity, and filled or outline."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from ..parts.settings import setting
from .book import CaseBook

OPACITIES = (0.55, 0.2, 0.0)
OUTLINE_PX = 2


class MaskLook(QObject):
    """Opacity (0..1) and outline of every mask of a book; a mask that is added takes them, too."""

    changed = Signal()

    def __init__(self, book: CaseBook):
        super().__init__(book)
        self._book = book
        self.opacity, self.outline = float(setting("masks", "opacity")), bool(setting("masks", "outline"))
        self._asked = (self.opacity, self.outline) != (OPACITIES[0], False)
        book.changed.connect(self._apply)

    def _masks(self) -> list[Labels]:
        return [layer for case in self._book.cases for layer in case.layers if isinstance(layer, Labels)]

    def _apply(self) -> None:
        if not self._asked:  # nobody asked for a look yet: masks stay as they came
            return
        for mask in self._masks():
            if mask.opacity != self.opacity:
                mask.opacity = self.opacity
            if mask.contour != (OUTLINE_PX if self.outline else 0):
                mask.contour = OUTLINE_PX if self.outline else 0

    def set(self, opacity: float | None = None, outline: bool | None = None) -> None:
        """Change one or both for every mask."""
        self._asked = True
        self.opacity = self.opacity if opacity is None else opacity
        self.outline = self.outline if outline is None else outline
        self._apply()
        self.changed.emit()

    def see_through(self) -> None:
        """The next of full, faint and hidden."""
        nearest = min(range(len(OPACITIES)), key=lambda i: abs(OPACITIES[i] - self.opacity))
        self.set(opacity=OPACITIES[(nearest + 1) % len(OPACITIES)])

    def toggle_outline(self) -> None:
        """Filled or outline."""
        self.set(outline=not self.outline)

    def of(self, mask: Any) -> tuple[float, bool]:
        """Opacity and outline of one mask as it is."""
        return float(mask.opacity), mask.contour > 0
