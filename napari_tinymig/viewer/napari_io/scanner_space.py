"""Layers at their true place in the scanner: oblique stacks as they were scanned, in 3-D.

In the slice view every volume is shown along its own axes (napari cannot slice oblique layers). Here a layer's affine
is set so that its world is the scanner's: axes (z, y, x) = millimetres towards Superior, Posterior and Left. Images are
shown as one plane each, where they were scanned. The transform and the depiction they had are kept and put back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from .layer_geometry import KEY, geometry_of, scanner_affine

BEFORE = "slice_view_affine"
HEAD_UP = (1.0, 0.0, 0.0)
FROM_FRONT = (-0.8, 1.0, -0.6)
"""Camera in 3-D, (z, y, x): looks to the back, a little down and to the patient's right (chosen)."""
TRUE_SIDES = ("away", "down", "right")
"""Camera orientation in which a world of (superior, posterior, left) is no mirror image; napari's own shows it so."""


def look_from_the_front(viewer: Any, layers: list[Layer]) -> None:
    """3-D, head up, the patient's left at the right: as one stands before the patient."""
    viewer.scene.camera.orientation = TRUE_SIDES
    viewer.reset_view(layers=layers)
    viewer.scene.camera.set_view_direction(view_direction=FROM_FRONT, up_direction=HEAD_UP)


def added_affine(layer: Layer) -> NDArray[np.float64] | None:
    """The affine (4, 4) that puts a volume layer at its scanner position; None if its position is unknown.

    napari applies scale, shear, rotate and translate first and `affine` last: world = affine @ (layer's own).
    """
    geometry = geometry_of(layer)
    if geometry is None or layer.ndim != 3:
        return None
    return scanner_affine(geometry) @ np.linalg.inv(own_transform(layer))


def own_transform(layer: Layer) -> NDArray[np.float64]:
    """Data -> world of a 3-D layer without its `affine`, as a (4, 4) matrix."""
    corners = np.vstack([np.zeros(3), np.eye(3)])
    world = np.array([layer.data_to_world(c) for c in corners])
    whole = np.eye(4)
    whole[:3, :3] = (world[1:] - world[0]).T
    whole[:3, 3] = world[0]
    return np.linalg.inv(layer.affine.affine_matrix) @ whole


def in_scanner_space(viewer: Any) -> bool:
    """Whether any layer is shown at its scanner position now."""
    return any(BEFORE in layer.metadata.get(KEY, {}) for layer in viewer.layers)


def _show_one_plane(layer: Image) -> None:
    """Show the middle slice of an image as a plane, in the plane in which it was scanned."""
    geometry = geometry_of(layer)
    if geometry is None:
        return
    layer.plane.position = tuple((n - 1) / 2 for n in layer.data.shape)
    layer.plane.normal = tuple(float(axis == geometry.slice_axis) for axis in range(3))
    layer.plane.thickness = 1
    layer.depiction = "plane"


def toggle_scanner_space(viewer: Any) -> str:
    """Show all layers that know their scanner position there, in 3-D, or back in the slice view; a sentence."""
    if in_scanner_space(viewer):
        for layer in viewer.layers:
            before = layer.metadata.get(KEY, {}).pop(BEFORE, None)
            if before is not None:
                layer.affine, depiction, viewer.scene.camera.orientation = before
                if isinstance(layer, Image):
                    layer.depiction = depiction
        viewer.dims.ndisplay = 2
        return "Back in the slice view."
    placed = {layer: added_affine(layer) for layer in viewer.layers}
    known = {layer: affine for layer, affine in placed.items() if affine is not None}
    if not known:
        return "No layer knows its scanner position; open a NIfTI, NRRD, MetaImage or DICOM volume."
    orientation = tuple(viewer.scene.camera.orientation)
    viewer.dims.ndisplay = 3  # first: napari cannot slice oblique layers in 2-D
    for layer, affine in known.items():
        depiction = str(layer.depiction) if isinstance(layer, Image) else ""
        layer.metadata.setdefault(KEY, {})[BEFORE] = (layer.affine.affine_matrix.copy(), depiction, orientation)
        layer.affine = affine
        if isinstance(layer, Image):
            _show_one_plane(layer)
    viewer.dims.order = tuple(range(viewer.dims.ndim))
    look_from_the_front(viewer, list(known))
    shown = sum(layer.visible for layer in known)
    hidden = f"; {len(known) - shown} more where their eye is clicked" if shown < len(known) else ""
    return f"{shown} layer(s) are shown in scanner space{hidden}. The same command goes back."
