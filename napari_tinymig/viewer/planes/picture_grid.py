"""Pictures side by side or one below the other, whichever makes them larger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtWidgets import QSizePolicy, QWidget

from ..parts.theme import GAP
from .plane_view import CAPTION, SMALLEST, PlaneView


class PictureGrid(QWidget):
    """Lays `PlaneView`s out so that they are as large as its own size allows."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[PlaneView] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def set_views(self, views: Sequence[PlaneView]) -> None:
        """Show these pictures, in their order; those shown before are deleted."""
        for view in self.views:
            view.setParent(None)
            view.deleteLater()
        self.views = list(views)
        for view in self.views:
            view.setParent(self)
            view.show()
        self.setMinimumHeight(SMALLEST * max(1, -(-len(self.views) // 2)))
        self._lay_out()

    def columns(self) -> int:
        """How many columns make the smallest picture largest."""
        aspects = [view.aspect() for view in self.views]

        def area(columns: int) -> float:
            rows = -(-len(aspects) // columns)
            wide = (self.width() - (columns - 1) * GAP) / columns
            tall = (self.height() - (rows - 1) * GAP) / rows - CAPTION
            return min(min(wide, max(tall, 1) * a) ** 2 / a for a in aspects)

        return max(range(1, len(aspects) + 1), key=area, default=1)

    def _lay_out(self) -> None:
        columns = self.columns()
        rows = max(1, -(-len(self.views) // columns))
        wide = (self.width() - (columns - 1) * GAP) // columns
        tall = (self.height() - (rows - 1) * GAP) // rows
        for i, view in enumerate(self.views):
            row, column = divmod(i, columns)
            view.setMinimumSize(0, 0)
            view.setGeometry(column * (wide + GAP), row * (tall + GAP), wide, tall)

    def resizeEvent(self, event: Any) -> None:
        self._lay_out()
