"""Small pictures of cases for the list."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from ...base.records import Scan
from ...tasks.task import Task
from ..napari_io.layers import class_colours, task_of_labels
from ..napari_io.planes import is_volume, scanned_axis
from .case import Case

SIDE = 44


def picture_of(case: Case) -> NDArray[np.uint8] | None:
    """(44, 44, 3): the image, a volume's middle slice as it was scanned or the one with most mask, with the mask in its
    colours; None for a file that nobody looked at yet."""
    if case.image is None or case.image.multiscale:
        return case.picture
    image, mask = case.image, case.mask
    shape = image.data.shape[: image.ndim]
    labels = np.asarray(mask.data) if mask is not None and tuple(mask.data.shape) == tuple(shape) else None
    data = image.data
    if is_volume(image) and (axis := scanned_axis(image)) != 0:  # as it was scanned, head up
        data = np.moveaxis(data, axis, 0)[:, ::-1]
        labels = np.moveaxis(labels, axis, 0)[:, ::-1] if labels is not None else None
        shape = data.shape
    at: tuple[int, ...] = tuple(n // 2 for n in shape[:-2])
    if labels is not None and labels.ndim == 3 and labels.any():
        at = (int(np.count_nonzero(labels, axis=(1, 2)).argmax()),)
    pick = np.ix_(*(_spread(n, max(shape[-2:])) for n in shape[-2:]))
    small = _as_rgb(np.asarray(data[at])[pick], image)
    if labels is not None and mask is not None:
        _tint_as(small, labels[at][pick], task_of_labels(mask))
    return _square(small.astype(np.uint8))


def picture_of_scan(scan: Scan, labels: NDArray[Any], task: Task) -> NDArray[np.uint8]:
    """The same for a file that was segmented without being opened. labels: (H, W) or (D, H, W)."""
    frame = scan.pixels
    if scan.kind == "volume":
        labels = labels.reshape(scan.grid_shape)
        at = int(np.count_nonzero(labels, axis=(1, 2)).argmax()) if labels.any() else len(frame) // 2
        frame, labels = frame[at], labels[at]
    pick = np.ix_(*(_spread(n, max(labels.shape)) for n in labels.shape))
    small = np.asarray(frame[pick], np.float32)
    if small.ndim == 2:
        low, high = np.nanpercentile(small, (1, 99))
        small = np.repeat((np.clip((small - low) / max(high - low, 1e-6), 0, 1) * 255)[..., None], 3, axis=2)
    _tint_as(small, labels[pick], task)
    return _square(np.nan_to_num(small).astype(np.uint8))


def _spread(length: int, longest: int) -> NDArray[np.intp]:
    count = max(1, round(SIDE * length / longest))
    return ((np.arange(count) + 0.5) * length / count).astype(np.intp)


def _as_rgb(values: NDArray[Any], image: Layer) -> NDArray[np.float32]:
    if image.rgb:
        scale = 255.0 if np.issubdtype(values.dtype, np.floating) else 255.0 / np.iinfo(values.dtype).max
        return np.asarray(values[..., :3], np.float32) * np.float32(scale)
    low, high = image.contrast_limits
    grey = np.clip((np.asarray(values, np.float32) - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.repeat(np.nan_to_num(grey)[..., None], 3, axis=2)


def _tint_as(small: NDArray[np.float32], labels: NDArray[Any], task: Task | None) -> None:
    colours = class_colours(task).color_dict if task is not None else {}
    for value in [v for v in np.unique(labels) if v]:
        colour = np.asarray(colours.get(int(value), (0.2, 0.76, 0.94, 1.0)), np.float32)[:3] * 255
        small[labels == value] = 0.4 * small[labels == value] + 0.6 * colour


def _square(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    whole = np.zeros((SIDE, SIDE, 3), np.uint8)
    y, x = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
    whole[y : y + small.shape[0], x : x + small.shape[1]] = small
    return whole
