"""Charts of the shift panel: two sets as points with thumbnails on hover, and their colour histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap, QPolygonF

from ...reports.page_colours import PLOT_COLOURS, PlotColours
from ..parts.charts import Chart
from ..parts.theme import Palette

ACROSS, UP = "direction of most spread", "second most"
"""The axes: principal directions of all images together, as the model sees them; they have no unit."""
CLICK = "click a point to open it"
HIT = 9.0  # a click this near to a point opens it, px


@dataclass(frozen=True)
class SetPoint:
    """One image in a scatter: place (x, y), which set (0 = A, 1 = B), what hovering says, its thumbnail, its key."""

    x: float
    y: float
    group: int
    text: str
    thumbnail: NDArray[np.uint8] | None = None
    key: object = None


def look_of(colours: Palette) -> PlotColours:
    """The plots' colours for the viewer's theme."""
    return PLOT_COLOURS["dark" if colours.dark else "light"]


class SetScatter(Chart):
    """Two sets of images as points; hovering shows the image, clicking sends `opened(key)`.

    Set A is drawn as circles and B as squares, so that colour alone never tells them apart.
    """

    opened = Signal(object)

    def __init__(self, colours: Palette, height: int = 220):
        super().__init__(colours, height)
        self.setMouseTracking(True)
        self.setToolTip(
            f"Across: the {ACROSS} of all images as the model sees them; up: the {UP}. {CLICK.capitalize()}."
        )
        self.points: list[SetPoint] = []
        self.names = ("A", "B")
        self.hovered: int | None = None

    def set_points(self, points: Sequence[SetPoint], names: tuple[str, str]) -> None:
        """Show these points; `names` of set A and set B with their n."""
        self.points, self.names, self.hovered = list(points), names, None
        self.update()

    def position(self, index: int) -> QPointF:
        """Where a point is drawn, in the widget's pixels."""
        xs, ys = [p.x for p in self.points], [p.y for p in self.points]
        box = QRectF(self.rect()).adjusted(22, 26, -12, -26)

        def along(value: float, values: list[float], start: float, length: float) -> float:
            low, high = min(values), max(values)
            return start + length * ((value - low) / (high - low) if high > low else 0.5)

        p = self.points[index]
        return QPointF(along(p.x, xs, box.left(), box.width()), along(-p.y, [-y for y in ys], box.top(), box.height()))

    def nearest(self, at: QPointF) -> int | None:
        """Index of the point under the mouse, None if none is within reach."""
        best, best_gap = None, HIT
        for i in range(len(self.points)):
            gap = (self.position(i) - at).manhattanLength()
            if gap < best_gap:
                best, best_gap = i, gap
        return best

    def mouseMoveEvent(self, event: Any) -> None:
        """Hover: remember the point and show its image."""
        found = self.nearest(event.position())
        if found != self.hovered:
            self.hovered = found
            can_open = found is not None and self.points[found].key is not None
            self.setCursor(Qt.CursorShape.PointingHandCursor if can_open else Qt.CursorShape.ArrowCursor)
            self.update()

    def leaveEvent(self, event: Any) -> None:
        """Mouse gone: nothing is hovered."""
        self.hovered = None
        self.update()

    def mousePressEvent(self, event: Any) -> None:
        """Click: ask to open the image under the mouse."""
        found = self.nearest(event.position())
        if found is not None and self.points[found].key is not None:
            self.opened.emit(self.points[found].key)

    def paint_data(self, painter: QPainter, area: QRectF) -> None:
        if not self.points:
            self._muted(painter)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "nothing to plot yet")
            return
        look = look_of(self.colours)
        for i, p in enumerate(self.points):
            self._mark(painter, self.position(i), p.group, look, 3.4 if i != self.hovered else 5.5)
        left = 12.0
        for group, name in enumerate(self.names):
            self._mark(painter, QPointF(left, 12), group, look, 4)
            painter.setPen(QColor(self.colours.text))
            said = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, int(area.width() / 2 - 34))
            painter.drawText(QPointF(left + 9, 16), said)
            left += painter.fontMetrics().horizontalAdvance(said) + 30
        self._axes(painter)
        if self.hovered is not None:
            self._card(painter, area, self.points[self.hovered], self.position(self.hovered))

    def _axes(self, painter: QPainter) -> None:
        """What the two directions are, and that points can be clicked."""
        self._muted(painter)
        bottom = QRectF(22, self.height() - 17, self.width() - 26, 15)
        said = f"{ACROSS}{';  ' + CLICK if any(p.key is not None for p in self.points) else ''}"
        said = painter.fontMetrics().elidedText(said, Qt.TextElideMode.ElideRight, int(bottom.width()))
        painter.drawText(bottom, Qt.AlignmentFlag.AlignLeft, said)
        painter.save()
        painter.rotate(-90)
        painter.drawText(QRectF(-self.height() + 20, 3, self.height() - 46, 15), Qt.AlignmentFlag.AlignCenter, UP)
        painter.restore()

    def _mark(self, painter: QPainter, at: QPointF, group: int, look: PlotColours, radius: float) -> None:
        colour = QColor(look.b if group else look.a)
        colour.setAlphaF(0.85)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        if group:
            painter.drawRect(QRectF(at.x() - radius * 0.9, at.y() - radius * 0.9, radius * 1.8, radius * 1.8))
        else:
            painter.drawEllipse(at, radius, radius)

    def _card(self, painter: QPainter, area: QRectF, point: SetPoint, at: QPointF) -> None:
        """Thumbnail and words beside the hovered point, kept inside the chart."""
        picture = 72.0 if point.thumbnail is not None else 0.0
        width, height = min(area.width() - 8, picture + 150), max(picture, 58.0) + 8
        left = min(max(4.0, at.x() + 10), area.width() - width - 4)
        top = min(max(4.0, at.y() - height / 2), area.height() - height - 4)
        box = QRectF(left, top, width, height)
        painter.setPen(QPen(QColor(self.colours.border), 1))
        painter.setBrush(QColor(self.colours.background))
        painter.drawRoundedRect(box, 4, 4)
        if point.thumbnail is not None:
            painter.drawPixmap(QRectF(left + 4, top + 4, 72, 72).toRect(), pixmap_of(point.thumbnail))
        painter.setPen(QColor(self.colours.text))
        words = box.adjusted(picture + 10, 4, -6, -4)
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap, point.text)


def pixmap_of(pixels: NDArray[np.uint8]) -> QPixmap:
    """RGB (h, w, 3) uint8 as a QPixmap."""
    data = np.ascontiguousarray(pixels)
    h, w = data.shape[:2]
    return QPixmap.fromImage(QImage(data.tobytes(), w, h, 3 * w, QImage.Format.Format_RGB888).copy())


class ChannelHistogram(Chart):
    """Mean histogram per channel of two sets: A filled, B as a line."""

    def __init__(self, colours: Palette, height: int = 110):
        super().__init__(colours, height)
        self.shares: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []

    def set_shares(self, a: Sequence[NDArray[np.float64]], b: Sequence[NDArray[np.float64]]) -> None:
        """Histograms (bins,) of the same channels of both sets."""
        self.shares = list(zip(a, b))
        self.update()

    def paint_data(self, painter: QPainter, area: QRectF) -> None:
        self._muted(painter)
        painter.drawText(QPointF(4, 12), "light and colour: A filled, B as a line")
        if not self.shares:
            return
        look = look_of(self.colours)
        colours = look.channels if len(self.shares) == 3 else (look.text,)
        top = max(float(s.max()) for pair in self.shares for s in pair) or 1.0
        plot = area.adjusted(6, 20, -6, -14)
        for (a, _), name in zip(self.shares, colours):
            colour = QColor(name)
            painter.setPen(Qt.PenStyle.NoPen)
            colour.setAlphaF(0.28)
            painter.setBrush(colour)
            outline = self._line(a, plot, top)
            outline.append(QPointF(plot.right(), plot.bottom()))
            outline.prepend(QPointF(plot.left(), plot.bottom()))
            painter.drawPolygon(outline)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for (_, b), name in zip(self.shares, colours):
            painter.setPen(QPen(QColor(name), 1.8))
            painter.drawPolyline(self._line(b, plot, top))
        self._muted(painter)
        painter.drawText(QPointF(plot.left(), area.bottom() - 2), "dark")
        painter.drawText(
            QRectF(plot.left(), area.bottom() - 14, plot.width(), 14), Qt.AlignmentFlag.AlignRight, "bright"
        )

    def _line(self, share: NDArray[np.float64], plot: QRectF, top: float) -> QPolygonF:
        n = len(share)
        return QPolygonF(
            [
                QPointF(plot.left() + plot.width() * i / max(n - 1, 1), plot.bottom() - plot.height() * float(v) / top)
                for i, v in enumerate(share)
            ]
        )
