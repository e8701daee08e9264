"""One slice of one volume with the mask on it, and the cross where the scanner position is; a click moves it."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen
from qtpy.QtWidgets import QWidget

from ...base.geometry import Geometry, index_at, world_mm
from ..napari_io.layer_geometry import geometry_of
from ..napari_io.planes import PLANES
from ..parts.theme import Palette

CAPTION = 16  # px above a slice
SMALLEST = 150  # px, of a view


class PlaneView(QWidget):
    """The slice of `layer` through a scanner position, across `axis` (0 axial, 1 coronal, 2 sagittal; None: as it was
    scanned).

    `picked` sends the RAS position (3,) in mm of a click; `opened` is sent on a double click.
    """

    picked = Signal(object)
    opened = Signal()

    def __init__(self, layer: Image, geometry: Geometry, colours: Palette, axis: int | None = None):
        super().__init__()
        self.layer, self.volume_geometry, self.colours = layer, geometry, colours
        self.axis = geometry.slice_axis if axis is None else axis
        self.mask_layer: Labels | None = None
        self.index = np.zeros(3)
        self.inside = True
        self._slice: tuple[Any, QImage] | None = None
        self._where: tuple[Any, NDArray[np.intp]] | None = None
        self.setMinimumSize(SMALLEST, SMALLEST)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip("Click: all planes jump here. Double click: show it in the window.")

    @property
    def plane(self) -> str:
        """The name of the plane."""
        return next(name for name, axis in PLANES.items() if axis == self.axis)

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

    def show_mask(self, mask: Labels | None) -> None:
        """Lay a mask over the slice: of this volume, or of another one where it lies in the scanner."""
        self.mask_layer, self._where = mask, None
        self.update()

    def slice_number(self) -> int:
        """Index of the slice on show along the slice axis."""
        return int(np.rint(self.index[self.axis]))

    # --- what is drawn -----------------------------------------------------------------------------------------

    def _picture(self) -> QImage:
        limits = tuple(self.layer.contrast_limits)
        key = (self.slice_number(), limits, id(self.layer.data))
        if self._slice is None or self._slice[0] != key:
            plane = self._upright(np.asarray(np.take(self.layer.data, self.slice_number(), self.axis), np.float32))
            grey = np.clip((plane - limits[0]) * (255 / max(limits[1] - limits[0], 1e-9)), 0, 255)
            grey = np.ascontiguousarray(grey, np.uint8)
            height, width = grey.shape
            self._slice = key, QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()
        return self._slice[1]

    def _upright(self, plane: NDArray[Any]) -> NDArray[Any]:
        return plane[::-1] if self.axis != 0 else plane  # superior is up in sagittal and coronal planes

    def labels(self) -> NDArray[Any] | None:
        """The mask's labels at the pixels of the slice, as it is drawn; None without a mask that knows its position."""
        geometry = geometry_of(self.mask_layer) if self.mask_layer is not None else None
        if self.mask_layer is None or geometry is None or self.mask_layer.ndim != 3:
            return None
        data = np.asarray(self.mask_layer.data)
        if data.shape == self.layer.data.shape and np.allclose(
            geometry.canonical_affine, self.volume_geometry.canonical_affine
        ):
            return self._upright(np.take(data, self.slice_number(), self.axis))
        key = (self.slice_number(), data.shape)
        if self._where is None or self._where[0] != key:
            self._where = key, self._mask_voxels(geometry, data.shape)
        where = self._where[1]
        return np.where(where < 0, 0, data.reshape(-1)[np.maximum(where, 0)])

    def _mask_voxels(self, geometry: Geometry, shape: tuple[int, ...]) -> NDArray[np.intp]:
        """The flat index of the mask's voxel at every pixel of the slice (rows, columns); -1 outside of it."""
        index = np.indices([1 if a == self.axis else n for a, n in enumerate(self.layer.data.shape)], np.float64)
        index[self.axis] = self.slice_number()
        inside = np.rint(index_at(world_mm(np.moveaxis(index, 0, -1), self.volume_geometry), geometry)).astype(np.intp)
        outside = np.any((inside < 0) | (inside >= np.array(shape)), axis=-1)
        flat = np.ravel_multi_index(tuple(np.moveaxis(inside, -1, 0)), shape, mode="clip")
        return self._upright(np.squeeze(np.where(outside, -1, flat), self.axis))

    def _overlay(self) -> QImage | None:
        labels = self.labels()
        if labels is None or self.mask_layer is None:
            return None
        if self.mask_layer.contour:
            labels = labels * _edges(labels)
        colours = np.zeros((int(labels.max(initial=0)) + 1, 4), np.uint8)
        for value in np.unique(labels):
            colours[value] = np.rint(255 * np.asarray(self.mask_layer.get_color(int(value)) if value else np.zeros(4)))
        rgba = np.ascontiguousarray(colours[labels])
        height, width = labels.shape
        return QImage(rgba.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()

    def aspect(self) -> float:
        """Width of the slice by its height, in mm."""
        rows, columns = self.plane_axes
        spacing = self.volume_geometry.spacing_mm or (1.0, 1.0, 1.0)
        shape = self.volume_geometry.canonical_shape
        return shape[columns] * spacing[columns] / (shape[rows] * spacing[rows])

    def picture_rect(self) -> QRectF:
        """Where the slice is drawn: as large as fits with true proportions."""
        room = max(1, self.height() - CAPTION)
        wide = min(self.width(), room * self.aspect())
        tall = wide / self.aspect()
        return QRectF((self.width() - wide) / 2, CAPTION + (room - tall) / 2, wide, tall)

    def crosshair(self, frame: QRectF) -> QPointF:
        rows, columns = self.plane_axes
        shape = self.volume_geometry.canonical_shape
        y = (self.index[rows] + 0.5) / shape[rows]
        x = (self.index[columns] + 0.5) / shape[columns]
        y = 1 - y if self.axis != 0 else y
        return QPointF(frame.left() + x * frame.width(), frame.top() + y * frame.height())

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        frame = self.picture_rect()
        painter.drawImage(frame, self._picture())
        overlay = self._overlay()
        if overlay is not None and self.mask_layer is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)  # borders of voxels stay sharp
            painter.setOpacity(float(self.mask_layer.opacity))
            painter.drawImage(frame, overlay)
            painter.setOpacity(1.0)
        at = self.crosshair(frame)
        painter.setPen(QPen(QColor(self.colours.accent_hover if self.inside else self.colours.bad), 1))
        painter.drawLine(QPointF(frame.left(), at.y()), QPointF(frame.right(), at.y()))
        painter.drawLine(QPointF(at.x(), frame.top()), QPointF(at.x(), frame.bottom()))
        painter.setPen(QColor(self.colours.muted))
        line = painter.fontMetrics().elidedText(self.caption(), Qt.TextElideMode.ElideMiddle, self.width())
        painter.drawText(QPointF(0, CAPTION - 4), line)
        painter.end()

    def caption(self) -> str:
        """What is on show, in a line."""
        outside = "" if self.inside else ", position outside"
        return f"{self.layer.name}, {self.plane}: slice {self.slice_number()}{outside}"

    # --- the mouse ---------------------------------------------------------------------------------------------

    def position_at(self, x: float, y: float) -> NDArray[np.float64] | None:
        """RAS position in mm of a point of the widget; None outside the slice."""
        frame = self.picture_rect()
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


def _edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Labelled pixels beside one of another label."""
    padded = np.pad(labels, 1)
    shifted = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.any([part != labels for part in shifted], axis=0)
