"""One slice of one volume, drawn small, with the cross where the scanner position is; a click moves the position."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from ...base.geometry import Geometry, index_at, world_mm
from ..parts.theme import Palette


class PlaneView(QWidget):
    """The slice of `layer` through a scanner position, in the plane in which it was scanned.

    `picked` sends the RAS position (3,) in mm of a click; `opened` is sent on a double click.
    """

    picked = Signal(object)
    opened = Signal()

    def __init__(self, layer: Image, geometry: Geometry, colours: Palette):
        super().__init__()
        self.layer, self.volume_geometry, self.colours = layer, geometry, colours
        self.axis = geometry.slice_axis
        self.index = np.zeros(3)
        self.inside = True
        self.setMinimumHeight(150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip("Click: all planes jump here. Double click: show this series in the window.")

    @property
    def plane_axes(self) -> tuple[int, int]:
        """The two patient-order axes of the slice: rows, columns."""
        rows, columns = (a for a in range(3) if a != self.axis)
        return rows, columns

    def show_position(self, position_mm: NDArray[np.float64]) -> None:
        """Show the slice through a RAS position; outside the volume the nearest slice, and say so."""
        index = index_at(position_mm, self.volume_geometry)
        shape = np.array(self.volume_geometry.canonical_shape)
        self.inside = bool(np.all(index > -0.5) and np.all(index < shape - 0.5))
        self.index = np.clip(index, 0, shape - 1)
        self.update()

    def slice_number(self) -> int:
        """Index of the slice on show along the slice axis."""
        return int(np.rint(self.index[self.axis]))

    def _picture(self) -> QImage:
        plane = np.asarray(np.take(self.layer.data, self.slice_number(), axis=self.axis), np.float32)
        if self.axis != 0:
            plane = plane[::-1]  # superior is up in sagittal and coronal planes
        low, high = self.layer.contrast_limits
        grey = np.clip((plane - low) * (255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
        grey = np.ascontiguousarray(grey)
        height, width = grey.shape
        return QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()

    def _frame(self) -> QRectF:
        """Where the slice is drawn: as large as fits with true proportions."""
        rows, columns = self.plane_axes
        spacing = self.volume_geometry.spacing_mm or (1.0, 1.0, 1.0)
        shape = self.volume_geometry.canonical_shape
        tall, wide = shape[rows] * spacing[rows], shape[columns] * spacing[columns]
        scale = min(self.width() / wide, (self.height() - 16) / tall)
        return QRectF((self.width() - wide * scale) / 2, 16, wide * scale, tall * scale)

    def _point(self, frame: QRectF) -> QPointF:
        rows, columns = self.plane_axes
        shape = self.volume_geometry.canonical_shape
        y = (self.index[rows] + 0.5) / shape[rows]
        x = (self.index[columns] + 0.5) / shape[columns]
        y = 1 - y if self.axis != 0 else y
        return QPointF(frame.left() + x * frame.width(), frame.top() + y * frame.height())

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        frame = self._frame()
        painter.drawImage(frame, self._picture())
        at = self._point(frame)
        painter.setPen(QPen(QColor(self.colours.accent_hover if self.inside else self.colours.bad), 1))
        painter.drawLine(QPointF(frame.left(), at.y()), QPointF(frame.right(), at.y()))
        painter.drawLine(QPointF(at.x(), frame.top()), QPointF(at.x(), frame.bottom()))
        painter.setPen(QColor(self.colours.muted))
        outside = "" if self.inside else ", position outside"
        text = f"{self.layer.name}: slice {self.slice_number()}{outside}"
        line = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, self.width())
        painter.drawText(QPointF(0, 12), line)
        painter.end()

    def position_at(self, x: float, y: float) -> NDArray[np.float64] | None:
        """RAS position in mm of a point of the widget; None outside the slice."""
        frame = self._frame()
        if not frame.contains(QPointF(x, y)):
            return None
        rows, columns = self.plane_axes
        shape = self.volume_geometry.canonical_shape
        across, down = (x - frame.left()) / frame.width(), (y - frame.top()) / frame.height()
        down = 1 - down if self.axis != 0 else down
        index = self.index.copy()
        index[rows], index[columns] = down * shape[rows] - 0.5, across * shape[columns] - 0.5
        return world_mm(index, self.volume_geometry)

    def mousePressEvent(self, event: Any) -> None:
        at = event.position()
        position = self.position_at(at.x(), at.y())
        if position is not None:
            self.picked.emit(position)

    def mouseDoubleClickEvent(self, event: Any) -> None:
        self.opened.emit()
