"""The window looks at a volume in one of three planes, head up, or in 3-D with its mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Layer

from .layer_geometry import KEY, scan_file_of
from .layers import finest, kind_of
from .scanner_space import in_scanner_space, look_from_the_front, toggle_scanner_space

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Name of a plane -> the axis (z, y, x) of a volume in patient order that it is sliced along."""
_BEFORE_3D = "depiction_before_3d"


def scanned_axis(layer: Layer) -> int:
    """The axis across the slices as they were scanned; the first one where the file does not say."""
    scan_file = scan_file_of(layer)
    geometry = scan_file.geometry if scan_file is not None else None
    return geometry.slice_axis if geometry is not None else 0


def is_volume(layer: Layer | None) -> bool:
    """Whether a layer can be looked at in three planes."""
    return layer is not None and layer.ndim == 3 and kind_of(layer) == "volume"


def stand_as_scanned(viewer: Any, layer: Layer) -> None:
    """The slice view of a layer as it was scanned; of a picture, rows down and columns right."""
    if is_volume(layer):
        show_plane(viewer, layer, scanned_axis(layer), fit=False)
        return
    viewer.dims.ndisplay, viewer.dims.order = 2, tuple(range(viewer.dims.ndim))
    viewer.scene.camera.orientation2d = ("down", "right")


def show_plane(viewer: Any, layer: Layer, axis: int, fit: bool = True) -> None:
    """Show a volume sliced along one of its axes (z, y, x), superior up, through the point where the window is."""
    leave_3d(viewer)
    offset = viewer.dims.ndim - 3
    rest = [a for a in range(3) if a != axis]
    viewer.dims.order = (*range(offset), *(a + offset for a in (axis, *rest)))
    viewer.scene.camera.orientation2d = ("down" if axis == 0 else "up", "right")
    viewer.dims.last_used = axis + offset
    if fit:
        viewer.reset_view(layers=[layer])


def show_in_3d(viewer: Any, layer: Image) -> None:
    """Show a volume in 3-D from the front, head up: the slice on show as a plane; masks are bodies there."""
    axis = viewer.dims.order[-3] - (viewer.dims.ndim - 3)
    index = np.asarray(layer.world_to_data(viewer.dims.point))[-3:]
    leave_3d(viewer)
    layer.plane.position = tuple(float(v) for v in np.clip(index, 0, np.array(finest(layer).shape) - 1))
    layer.plane.normal = tuple(float(a == axis) for a in range(3))
    layer.plane.thickness = 1
    stay_in_3d(viewer, layer)
    viewer.dims.order = tuple(range(viewer.dims.ndim))
    look_from_the_front(viewer, [layer])


def stay_in_3d(viewer: Any, layer: Image) -> None:
    """3-D with a volume as the plane that it was left with."""
    own = layer.metadata.setdefault(KEY, {})
    own.setdefault(_BEFORE_3D, str(layer.depiction))
    layer.depiction = "plane"
    viewer.dims.ndisplay = 3


def leave_3d(viewer: Any) -> None:
    """Back in the slice view; volumes are depicted as they were before."""
    if in_scanner_space(viewer):
        toggle_scanner_space(viewer)
    for layer in viewer.layers:
        before = layer.metadata.get(KEY, {}).pop(_BEFORE_3D, None)
        if before is not None:
            layer.depiction = before
    viewer.dims.ndisplay = 2
