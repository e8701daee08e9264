"""Small plots in the theme's colours, drawn with QPainter: a few hundred points redraw in about a millisecond."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from .theme import SERIES_COLOURS, Palette


class Chart(QWidget):
    """Frame, theme and text of a small plot; subclasses draw in `paint_data`."""

    def __init__(self, colours: Palette, height: int = 120):
        super().__init__()
        self.colours = colours
        self.setFixedHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_colours(self, colours: Palette) -> None:
        """Follow a new theme."""
        self.colours = colours
        self.update()

    def paintEvent(self, event: object) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(6.5, font.pointSizeF() * 0.82))
        painter.setFont(font)
        self.paint_data(painter, QRectF(self.rect()))
        painter.end()

    def paint_data(self, painter: QPainter, area: QRectF) -> None:
        raise NotImplementedError

    def _muted(self, painter: QPainter) -> None:
        painter.setPen(QPen(QColor(self.colours.muted), 1))


class LineChart(Chart):
    """Lines over steps, e.g. loss and Dice of a run; y range from the data, or fixed by `y_range`.

    `set_series({"Dice": (x, y)})`; NaN points break a line. `markers` are vertical dashed lines at x (best so far).
    """

    def __init__(self, colours: Palette, y_range: tuple[float, float] | None = None, height: int = 130):
        super().__init__(colours, height)
        self.y_range = y_range
        self.series: dict[str, tuple[list[float], list[float]]] = {}
        self.markers: list[float] = []

    def set_series(
        self, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], markers: Sequence[float] = ()
    ) -> None:
        self.series = {k: ([float(v) for v in x], [float(v) for v in y]) for k, (x, y) in series.items()}
        self.markers = [float(m) for m in markers]
        self.update()

    def _limits(self) -> tuple[float, float, float, float] | None:
        xs = [v for x, _ in self.series.values() for v in x]
        ys = [v for _, y in self.series.values() for v in y if math.isfinite(v)]
        if not xs or not ys:
            return None
        y0, y1 = self.y_range or (min(ys), max(ys))
        if y1 - y0 < 1e-9:
            y0, y1 = y0 - 0.5, y1 + 0.5
        x0, x1 = min(xs), max(xs)
        return x0, x1 if x1 > x0 else x0 + 1, y0, y1

    def paint_data(self, painter: QPainter, area: QRectF) -> None:
        limits = self._limits()
        if limits is None:
            self._muted(painter)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "nothing to plot yet")
            return
        x0, x1, y0, y1 = limits
        plot = area.adjusted(38, 16, -6, -16)

        def at(x: float, y: float) -> QPointF:
            return QPointF(
                plot.left() + (x - x0) / (x1 - x0) * plot.width(),
                plot.bottom() - (min(max(y, y0), y1) - y0) / (y1 - y0) * plot.height(),
            )

        self._axes(painter, plot, limits)
        for marker in self.markers:
            painter.setPen(QPen(QColor(self.colours.muted), 1, Qt.PenStyle.DashLine))
            painter.drawLine(at(marker, y0), at(marker, y1))
        left = plot.left()
        for i, (name, (x, y)) in enumerate(self.series.items()):
            colour = QColor(SERIES_COLOURS[i % len(SERIES_COLOURS)])
            painter.setPen(QPen(colour, 1.8))
            run: list[QPointF] = []
            for px, py in [*zip(x, y), (0.0, math.nan)]:
                if math.isfinite(py):
                    run.append(at(px, py))
                elif run:
                    if len(run) == 1:
                        painter.drawEllipse(run[0], 1.5, 1.5)
                    painter.drawPolyline(QPolygonF(run))
                    run = []
            left = self._legend(painter, QPointF(left, plot.top() - 4), name, colour)

    def _legend(self, painter: QPainter, at: QPointF, name: str, colour: QColor) -> float:
        """A patch of the line's colour and its name in the text's, readable on every theme; where the next begins."""
        painter.fillRect(QRectF(at.x(), at.y() - 7, 7, 7), colour)
        painter.setPen(QColor(self.colours.text))
        painter.drawText(QPointF(at.x() + 11, at.y()), name)
        return at.x() + painter.fontMetrics().horizontalAdvance(name) + 22

    def _axes(self, painter: QPainter, plot: QRectF, limits: tuple[float, float, float, float]) -> None:
        x0, x1, y0, y1 = limits
        painter.setPen(QPen(QColor(self.colours.border), 1))
        for k in range(3):
            y = plot.top() + plot.height() * k / 2
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
        self._muted(painter)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for k, value in enumerate((y1, (y0 + y1) / 2, y0)):
            y = plot.top() + plot.height() * k / 2
            painter.drawText(QRectF(0, y - 8, plot.left() - 4, 16), right, f"{value:.3g}")
        painter.drawText(QPointF(plot.left(), plot.bottom() + 13), f"{x0:g}")
        end = f"{x1:g}"
        painter.drawText(QPointF(plot.right() - painter.fontMetrics().horizontalAdvance(end), plot.bottom() + 13), end)


class BarChart(Chart):
    """Named horizontal bars from 0 to `maximum`; an optional mark per bar, a tone where it is beyond the mark.

    `set_bars({"colour": 93.0, "spacing": 12.0}, mark=95)`; NaN reads "not measurable".
    """

    ROW = 20

    def __init__(self, colours: Palette, maximum: float = 100.0, unit: str = ""):
        super().__init__(colours, self.ROW)
        self.maximum, self.unit = maximum, unit
        self.bars: dict[str, float] = {}
        self.mark: float | None = None

    def set_bars(self, bars: Mapping[str, float], mark: float | None = None) -> None:
        self.bars = {k: float(v) for k, v in bars.items()}
        self.mark = mark
        self.setFixedHeight(self.ROW * max(1, len(self.bars)) + 4)
        self.update()

    def paint_data(self, painter: QPainter, area: QRectF) -> None:
        metrics = painter.fontMetrics()
        names = max((metrics.horizontalAdvance(k) for k in self.bars), default=0) + 8
        values = metrics.horizontalAdvance(f"{self.maximum:.0f} {self.unit}") + 14
        width = max(20.0, area.width() - names - values)
        middle = Qt.AlignmentFlag.AlignVCenter
        for i, (name, value) in enumerate(self.bars.items()):
            top = i * self.ROW + 2
            painter.setPen(QColor(self.colours.text))
            painter.drawText(QRectF(0, top, names, self.ROW), middle, name)
            track = QRectF(names, top + 5, width, self.ROW - 10)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self.colours.border))
            painter.drawRoundedRect(track, 3, 3)
            finite = math.isfinite(value)
            if finite:
                beyond = self.mark is not None and value > self.mark
                painter.setBrush(QColor(self.colours.warn if beyond else self.colours.accent))
                part = min(max(value / self.maximum, 0.0), 1.0)
                painter.drawRoundedRect(QRectF(track.left(), track.top(), track.width() * part, track.height()), 3, 3)
            if self.mark is not None:
                x = track.left() + track.width() * self.mark / self.maximum
                painter.setPen(QPen(QColor(self.colours.muted), 1))
                painter.drawLine(QPointF(x, track.top() - 3), QPointF(x, track.bottom() + 3))
            painter.setPen(QColor(self.colours.text))
            said = f"{value:.0f} {self.unit}" if finite else "-"
            painter.drawText(QRectF(track.right() + 6, top, values, self.ROW), middle, said)
