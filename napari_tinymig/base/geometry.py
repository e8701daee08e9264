"""Where pixels lie: frames put on the network's grid and back, volumes put in patient order and back, positions in mm.

Two coordinate systems are in use and never mixed. Geometry holds RAS affines (millimetres to the patient's Right,
Anterior and Superior count up), as NIfTI does; DICOM and ITK count to the Left and Posterior (LPS), and
`lps_from_ras` is the only bridge. Boxes are in pixel-edge coordinates: 0 is the outer edge of the first pixel, so a
frame of H rows spans 0..H and pixel i has its centre at i + 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from .records import Placement
from .stack import slice_axis

Box = tuple[float, float, float, float]

_UPRIGHT_DEGREES = 0.5
"""Stacks that lean less are upright: headers round their direction cosines."""


def whole_box(shape: tuple[int, ...]) -> Box:
    """The centred square (y0, x0, y1, x1) that holds the whole frame of `shape` (H, W, ...)."""
    height, width = shape[:2]
    return square_box((height / 2, width / 2), max(height, width))


def square_box(centre: tuple[float, float], side: float) -> Box:
    """The square box of `side` pixels around `centre` (y, x), in pixel-edge coordinates; it may leave the frame."""
    y, x = centre
    return (y - side / 2, x - side / 2, y + side / 2, x + side / 2)


def fov_box(
    shape: tuple[int, ...],
    spacing_mm: tuple[float, float],
    side_mm: float,
    centre: tuple[float, float] | None = None,
) -> Box:
    """The box of `side_mm` x `side_mm` around `centre` (y, x; default the frame's centre); not square in pixels
    where `spacing_mm` (row, column) is not."""
    y, x = centre or (shape[0] / 2, shape[1] / 2)
    half_y, half_x = side_mm / spacing_mm[0] / 2, side_mm / spacing_mm[1] / 2
    return (y - half_y, x - half_x, y + half_y, x + half_x)


def place(
    frame: NDArray[Any], box: Box, size: int | tuple[int, int], order: Literal[0, 1] = 1
) -> tuple[NDArray[Any], Placement]:
    """The part of `frame` inside `box`, resampled onto a grid, and the record that undoes it.

    frame: (H, W) or (H, W, C). box: (y0, x0, y1, x1) in pixel-edge coordinates; may reach outside the frame, where
    the grid is 0. size: side of the grid, or its (h, w). order 1 averages over the area a grid pixel covers when
    shrinking (a triangle filter, so nothing aliases) and interpolates linearly when enlarging; the grid is float32.
    order 0 takes the nearest pixel and keeps the dtype: for labels. Raises ValueError for an empty box or frame.
    """
    height, width = _checked_frame(frame)
    grid_shape = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    _check_box(box, grid_shape)
    placement = Placement((height, width), tuple(float(v) for v in box), grid_shape)  # type: ignore[arg-type]
    if order == 0:
        grid = np.zeros((*grid_shape, *frame.shape[2:]), frame.dtype)
        rows, row_at = _nearest(box[0], box[2], grid_shape[0], height)
        columns, column_at = _nearest(box[1], box[3], grid_shape[1], width)
        grid[rows, columns] = frame[np.ix_(row_at, column_at)]
        return grid, placement
    grid = np.zeros((*grid_shape, *frame.shape[2:]), np.float32)
    rows, row_span = _centres_inside(box[0], box[2], grid_shape[0], height)
    columns, column_span = _centres_inside(box[1], box[3], grid_shape[1], width)
    part = (rows.stop - rows.start, columns.stop - columns.start)
    if min(part) > 0:
        grid[rows, columns] = _resample(frame, row_span, column_span, part)
    return grid, placement


def restore(
    values: NDArray[Any], placement: Placement, fill: float | ArrayLike = 0.0, order: Literal[0, 1] = 1
) -> NDArray[Any]:
    """`values` (R, h, w) or (h, w) of the grid, back in the frame: (R, H, W) or (H, W).

    order 1 interpolates linearly (logits, probabilities; float32): decide labels afterwards. order 0 takes the
    nearest grid pixel and keeps the dtype: labels. Pixels outside the box get `fill` (one number, or one per
    channel). `restore(place(x, order=0), order=0)` is x, exactly and inside the box, wherever the grid is at least
    as fine as the frame. With order 1 and an argmax over one-hot channels that holds at scale 1 on whole pixels
    and at whole-numbered scales.
    """
    channels = values[None] if values.ndim == 2 else values
    if channels.ndim != 3 or channels.shape[1:] != placement.grid_shape:
        raise ValueError(
            f"values have shape {values.shape}; expected (R, h, w) with (h, w) = {placement.grid_shape}, as placed."
        )
    height, width = placement.source_shape
    y0, x0, y1, x1 = placement.box
    grid_h, grid_w = placement.grid_shape
    dtype = values.dtype if order == 0 else np.float32
    frame = np.empty((len(channels), height, width), dtype)
    frame[:] = np.asarray(fill, dtype).reshape(-1, 1, 1)
    # The same two questions as in place, with frame and grid exchanged: the frame is a grid on the grid.
    scale_y, scale_x = grid_h / (y1 - y0), grid_w / (x1 - x0)
    frame_rows = (-y0 * scale_y, (height - y0) * scale_y)
    frame_columns = (-x0 * scale_x, (width - x0) * scale_x)
    if order == 0:
        rows, row_at = _nearest(*frame_rows, height, grid_h, ties_down=True)
        columns, column_at = _nearest(*frame_columns, width, grid_w, ties_down=True)
        frame[:, rows, columns] = channels[:, row_at[:, None], column_at[None, :]]
    else:
        rows, row_span = _centres_inside(*frame_rows, height, grid_h)
        columns, column_span = _centres_inside(*frame_columns, width, grid_w)
        part = (rows.stop - rows.start, columns.stop - columns.start)
        if min(part) > 0:
            for target, channel in zip(frame, channels):
                target[rows, columns] = _resample(channel, row_span, column_span, part)
    return frame[0] if values.ndim == 2 else frame


def _checked_frame(frame: NDArray[Any]) -> tuple[int, int]:
    if frame.ndim not in (2, 3) or 0 in frame.shape:
        raise ValueError(f"frame has shape {frame.shape}; expected (H, W) or (H, W, C) with at least one pixel.")
    return frame.shape[0], frame.shape[1]


def _check_box(box: Box, grid_shape: tuple[int, int]) -> None:
    y0, x0, y1, x1 = box
    if not (np.isfinite(box).all() and y1 > y0 and x1 > x0 and min(grid_shape) > 0):
        raise ValueError(f"box {box} on a grid of {grid_shape}; expected y1 > y0, x1 > x0 and a grid of >= 1 pixel.")


def _nearest(
    start: float, stop: float, count: int, source: int, ties_down: bool = False
) -> tuple[slice, NDArray[np.intp]]:
    """Which of `count` cells spread over start..stop have their centre inside 0..source, and the pixel under each.

    A centre on the border of two pixels takes the upper one, or with `ties_down` the lower one, which makes
    placing and restoring undo each other there too.
    """
    centres = start + (np.arange(count) + 0.5) * ((stop - start) / count)
    nearest_whole = np.round(centres)
    centres = np.where(np.abs(centres - nearest_whole) < 1e-9 * max(source, 1), nearest_whole, centres)
    at = (np.ceil(centres) - 1 if ties_down else np.floor(centres)).astype(np.intp)
    inside = np.flatnonzero((at >= 0) & (at < source))
    if not len(inside):
        return slice(0, 0), at[:0]
    return slice(int(inside[0]), int(inside[-1]) + 1), at[inside]


def _centres_inside(start: float, stop: float, count: int, source: int) -> tuple[slice, tuple[float, float]]:
    """The cells of start..stop whose centres lie inside 0..source, and the span that these cells cover."""
    step = (stop - start) / count
    rows, _ = _nearest(start, stop, count, source)
    return rows, (start + rows.start * step, start + rows.stop * step)


def _resample(
    frame: NDArray[Any], rows: tuple[float, float], columns: tuple[float, float], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """The region rows x columns of `frame` (H, W[, C]) on `shape` pixels; beyond the frame its edge goes on."""
    crop, (y0, y1) = _crop_axis(frame, rows, shape[0], axis=0)
    crop, (x0, x1) = _crop_axis(crop, columns, shape[1], axis=1)
    box, size = (x0, y0, x1, y1), (shape[1], shape[0])
    if crop.dtype == np.uint8 and (crop.ndim == 2 or crop.shape[2] == 3):
        return resized(Image.fromarray(np.ascontiguousarray(crop)), (y0, x0, y1, x1), shape)
    channels = crop[..., None] if crop.ndim == 2 else crop
    out = np.empty((*shape, channels.shape[2]), np.float32)
    for c in range(channels.shape[2]):
        picture = Image.fromarray(np.ascontiguousarray(channels[..., c], dtype=np.float32))
        out[..., c] = np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=box))
    return out[..., 0] if crop.ndim == 2 else out


def resized(picture: Image.Image, box: Box, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The part of an 8-bit picture in a box (y0, x0, y1, x1) that does not leave it, on `shape` (h, w) pixels."""
    y0, x0, y1, x1 = box
    # reducing_gap first averages whole blocks: 4x faster for camera photographs, same result to half a level.
    small = picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1), reducing_gap=3.0)
    return np.asarray(small, np.float32)


def _crop_axis(
    frame: NDArray[Any], span: tuple[float, float], count: int, axis: int
) -> tuple[NDArray[Any], tuple[float, float]]:
    """Only what the filter can see of one axis, its edge repeated where the span leaves the frame."""
    start, stop = span
    length = frame.shape[axis]
    margin = int(np.ceil(2 * max(1.0, (stop - start) / count))) + 1
    low, high = int(np.floor(start)) - margin, int(np.ceil(stop)) + margin
    low, high = max(low, min(0, int(np.floor(start)))), min(high, max(length, int(np.ceil(stop))))
    crop = frame[(slice(None),) * axis + (slice(max(low, 0), min(high, length)),)]
    if low < 0 or high > length:
        padding = [(0, 0)] * frame.ndim
        padding[axis] = (max(0, -low), max(0, high - length))
        crop = np.pad(crop, padding, mode="edge")
    return crop, (start - low, stop - low)


@dataclass(frozen=True)
class Geometry:
    """How a stored volume lies in the patient, and how it is turned into patient order.

    shape: of the stored array, axes in the order of the file's own index (i, j, k). affine: (4, 4), stored index ->
    RAS millimetres. oriented: False where the file says nothing about orientation; then axes are only reversed to
    (k, j, i) and never flipped. has_spacing: False where the voxel size is unknown too.

    Patient order ("canonical"): axes (z, y, x) with slices inferior -> superior, rows anterior -> posterior, columns
    patient right -> left; an oblique volume takes the closest axes and stays oblique in `canonical_affine`.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    oriented: bool = True
    has_spacing: bool = True

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise ValueError(f"affine is {affine.tolist()}; expected a finite, invertible (4, 4) matrix in mm.")
        object.__setattr__(self, "affine", affine)

    @cached_property
    def orientation(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """(axes, flips): for z, y, x the stored axis it is, and whether that axis runs the other way."""
        if not self.oriented:
            return (2, 1, 0), (False, False, False)
        from nibabel.orientations import io_orientation

        ornt = io_orientation(self.affine)  # row a: (world axis of stored axis a, +1 or -1), RAS
        stored_of_world = {int(world): (axis, sign) for axis, (world, sign) in enumerate(ornt)}
        wanted = ((2, 1.0), (1, -1.0), (0, -1.0))  # z towards S, y towards P, x towards L, as signs of R, A, S
        axes = tuple(stored_of_world[world][0] for world, _ in wanted)
        flips = tuple(bool(stored_of_world[world][1] != sign) for world, sign in wanted)
        return axes, flips  # type: ignore[return-value]

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the volume in patient order."""
        z, y, x = self.orientation[0]
        return self.shape[z], self.shape[y], self.shape[x]

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Voxel size (z, y, x) in patient order, None where it is unknown. Where slices do not stand upright on each
        other (a tilted gantry), the distance between their planes: the product is the true volume of a voxel."""
        if not self.has_spacing:
            return None
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        if self.shear_degrees > _UPRIGHT_DEGREES:
            lengths[self._leaning_axis] *= np.cos(np.radians(self.shear_degrees))
        z, y, x = self.orientation[0]
        return float(lengths[z]), float(lengths[y]), float(lengths[x])

    @cached_property
    def _leaning_axis(self) -> int:
        """The stored axis that leans against the plane of the two others: the one whose others are nearest upright."""
        unit = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        cosines = np.abs(unit.T @ unit)
        others = [cosines[1, 2], cosines[0, 2], cosines[0, 1]]
        return 2 if others[2] <= min(others) + 1e-6 else int(np.argmin(others))

    @cached_property
    def shear_degrees(self) -> float:
        """How far one axis leans from the normal of the plane of the two others: 0 for an upright stack."""
        unit = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(np.degrees(np.arccos(min(1.0, abs(np.linalg.det(unit))))))

    @cached_property
    def canonical_affine(self) -> NDArray[np.float64]:
        """(4, 4): index (z, y, x) in patient order -> RAS millimetres."""
        axes, flips = self.orientation
        stored_from_canonical = np.zeros((4, 4))
        stored_from_canonical[3, 3] = 1.0
        for canonical, (axis, flip) in enumerate(zip(axes, flips)):
            stored_from_canonical[axis, canonical] = -1.0 if flip else 1.0
            if flip:
                stored_from_canonical[axis, 3] = self.shape[axis] - 1
        return self.affine @ stored_from_canonical

    @property
    def slice_axis(self) -> int:
        """The patient-order axis across the slices, see the function of that name."""
        return slice_axis(self.spacing_mm)

    def to_canonical(self, stored: NDArray[Any]) -> NDArray[Any]:
        """A view of a stored array (i, j, k) in patient order (z, y, x); no value is interpolated."""
        if stored.shape != self.shape:
            raise ValueError(f"the stored array has shape {stored.shape}; expected {self.shape}.")
        axes, flips = self.orientation
        return stored.transpose(axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)]

    def to_stored(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """A view of an array in patient order (z, y, x) in the file's own order (i, j, k); undoes `to_canonical`."""
        if canonical.shape != self.canonical_shape:
            raise ValueError(f"the array has shape {canonical.shape}; expected {self.canonical_shape} (z, y, x).")
        axes, flips = self.orientation
        return canonical[tuple(slice(None, None, -1 if f else 1) for f in flips)].transpose(np.argsort(axes))


def world_mm(index: ArrayLike, geometry: Geometry) -> NDArray[np.float64]:
    """RAS scanner position in mm of `index` (..., 3), patient-order voxel indices (z, y, x), fractions allowed."""
    points = np.asarray(index, np.float64)
    affine = geometry.canonical_affine
    return points @ affine[:3, :3].T + affine[:3, 3]


def index_at(position_mm: ArrayLike, geometry: Geometry) -> NDArray[np.float64]:
    """Patient-order index (z, y, x), in fractions of a voxel, at RAS positions (..., 3) in mm; undoes `world_mm`."""
    inverse = np.linalg.inv(geometry.canonical_affine)
    return np.asarray(position_mm, np.float64) @ inverse[:3, :3].T + inverse[:3, 3]


def lps_from_ras(values: ArrayLike) -> NDArray[np.float64]:
    """RAS positions (..., 3) or a RAS affine (4, 4) in LPS, the convention of DICOM and ITK; its own inverse."""
    values = np.asarray(values, np.float64)
    if values.shape == (4, 4):
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ values
    return values * np.array([-1.0, -1.0, 1.0])
