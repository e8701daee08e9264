"""The rim by clock hour: disc and cup as seen from the disc's centre, the thinnest hour marked."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF

from ...measures.clinical import RimProfile
from ...tasks.colours import colour_of
from ...tasks.optic import OPTIC
from ..parts.charts import Chart
from ..parts.theme import Palette


def hours_with_room(thinnest: int) -> list[int]:
    """Hours that are written below the bars: the thinnest, and of 12, 3, 6 and 9 those that are not beside it."""
    return [thinnest] + [
        h for h in (12, 3, 6, 9) if min((h - thinnest) % 12, (thinnest - h) % 12) > 1 and h != thinnest
    ]


class RimPlot(Chart):
    """Polar outline of disc and cup with bars of mean rim width per clock hour beside it."""

    def __init__(self, colours: Palette, height: int = 150):
        super().__init__(colours, height)
        self.profile: RimProfile | None = None

    def set_profile(self, profile: RimProfile | None) -> None:
        self.profile = profile
        self.update()

    def paint_data(self, painter: QPainter, area: QRectF) -> None:
        if self.profile is None:
            self._muted(painter)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "no disc to measure")
            return
        side = area.height()
        self._clock(painter, QRectF(0, 0, side, side), self.profile)
        self._bars(painter, QRectF(side + 10, 4, area.width() - side - 12, area.height() - 8), self.profile)

    def _clock(self, painter: QPainter, box: QRectF, profile: RimProfile) -> None:
        centre = box.center()
        reach = float(profile.disc_radius.max()) or 1.0
        scale = (box.width() / 2 - 14) / reach
        angle = np.deg2rad(profile.angles_deg)

        def outline(radius: np.ndarray) -> QPolygonF:
            xs, ys = centre.x() + np.sin(angle) * radius * scale, centre.y() - np.cos(angle) * radius * scale
            return QPolygonF([QPointF(float(x), float(y)) for x, y in zip(xs, ys)])

        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colour_of(OPTIC, OPTIC.regions[0])))
        painter.drawPolygon(outline(profile.disc_radius))
        painter.setBrush(QColor(colour_of(OPTIC, OPTIC.regions[1])))
        painter.drawPolygon(outline(profile.disc_radius - profile.width))
        painter.setPen(QPen(QColor(self.colours.card), 1))
        for hour in range(12):
            a = np.deg2rad(30 * hour + 15)
            far = reach * scale
            painter.drawLine(centre, QPointF(centre.x() + np.sin(a) * far, centre.y() - np.cos(a) * far))
        for hour in (12, 3, 6, 9):
            a = np.deg2rad(30 * hour)
            r = box.width() / 2 - 6
            at = QPointF(centre.x() + np.sin(a) * r, centre.y() - np.cos(a) * r)
            self._muted(painter)
            painter.drawText(QRectF(at.x() - 10, at.y() - 8, 20, 16), Qt.AlignmentFlag.AlignCenter, str(hour))

    def _bars(self, painter: QPainter, box: QRectF, profile: RimProfile) -> None:
        most = max(*profile.clock_hours.values(), 1e-09)
        step = box.width() / 12
        plot = box.adjusted(0, 14, 0, -16)
        self._muted(painter)
        painter.drawText(QPointF(box.left(), box.top() + 9), f"rim by hour, {profile.unit}")
        named = hours_with_room(profile.thinnest_hour)
        for i, hour in enumerate((12, *range(1, 12))):
            value = profile.clock_hours[hour]
            height = plot.height() * value / most
            thinnest = hour == profile.thinnest_hour
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self.colours.warn) if thinnest else QColor(colour_of(OPTIC, OPTIC.regions[0])))
            left = box.left() + i * step
            painter.drawRoundedRect(QRectF(left + 1, plot.bottom() - height, step - 2, max(height, 1.0)), 2, 2)
            if hour not in named:
                continue
            self._muted(painter)
            where = QRectF(left - 4, plot.bottom() + 2, step + 8, 14)
            painter.drawText(where, Qt.AlignmentFlag.AlignCenter, str(hour))
