"""One case on show: every layer of the others hidden, this one as it was left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..napari_io.planes import is_volume, leave_3d, stand_as_scanned, stay_in_3d
from .case import Case, View


def show_alone(viewer: Any, case: Case, before: Case | None, cases: Iterable[Case], lost: bool) -> None:
    """Hide all layers of every other case; show those of `case` that were not hidden, with its camera, plane and slice.
    before: the case on show so far, whose view was remembered. lost: `lost_among_all` said so of `case`."""
    for other in cases:
        for layer in other.all_layers if other is not case else []:
            layer.visible = False
    for layer in case.all_layers:
        layer.visible = layer.unique_id not in case.hidden
    viewer.layers.selection.active = case.mask or case.image
    if case is not before:
        _restore_view(viewer, case)
    elif lost:
        frame(viewer, case.image)


def show_layer_alone(viewer: Any, layer: Any) -> None:
    """Hide every other layer, choose this one, and fit the view to it."""
    for other in viewer.layers:
        other.visible = other == layer
    viewer.layers.selection.active = layer
    viewer.reset_view(layers=[layer])


def remember_view(viewer: Any, case: Case) -> None:
    """Keep camera, plane, slice and hidden layers of a case that is left."""
    camera, dims = viewer.scene.camera, viewer.dims
    case.hidden = {layer.unique_id for layer in case.all_layers if not layer.visible}
    case.view = View(
        *(tuple(camera.center), float(camera.zoom), tuple(dims.point), tuple(dims.order)),
        *(int(dims.ndisplay), tuple(camera.angles), tuple(camera.orientation)),
    )


def lost_among_all(viewer: Any, image: Any) -> bool:
    """Whether the camera looks at every layer together, as napari leaves it when one is added and nobody moved it, and
    an image is a smaller part of that, perhaps in a corner."""
    seen = list(viewer.dims.displayed)
    if image.ndim < len(seen) or viewer.dims.ndisplay != 2:
        return False
    whole = np.asarray(viewer.layers.extent.world)[:, seen]
    own = np.asarray(image.extent.world)[:, [axis - viewer.dims.ndim for axis in seen]]
    near = 0.02 * float(np.ptp(whole, axis=0).max())
    centre = np.asarray(viewer.scene.camera.center)[-2:]
    return bool(np.abs(centre - whole.mean(axis=0)).max() <= near < np.abs(whole - own).max())


def _restore_view(viewer: Any, case: Case) -> None:
    view, camera, dims = case.view, viewer.scene.camera, viewer.dims
    if view is None or len(view.order) != dims.ndim:
        stand_as_scanned(viewer, case.image)
        frame(viewer, case.image)
        return
    leave_3d(viewer)
    dims.order, dims.point = view.order, view.point
    if view.ndisplay == 3 and is_volume(case.image):
        stay_in_3d(viewer, case.image)
    camera.orientation, camera.angles = view.orientation, view.angles
    camera.center, camera.zoom = view.center, view.zoom


def frame(viewer: Any, image: Any) -> None:
    """Put an image into the middle of the canvas, whole.

    napari cannot frame a flat image in a window that knows a volume, too: then the zoom at which everything fits is
    scaled by how much larger everything is.
    """
    if image.ndim == viewer.dims.ndim or viewer.dims.ndisplay == 3:
        viewer.reset_view(layers=[image] if image.ndim == viewer.dims.ndim else None)
        return
    viewer.reset_view()
    low, high = np.asarray(image.extent.world)[:, -2:]
    whole = np.ptp(np.asarray(viewer.layers.extent.world)[:, list(viewer.dims.displayed)], axis=0)
    viewer.scene.camera.center = tuple((low + high) / 2)
    viewer.scene.camera.zoom *= float(np.min((whole + 1e-9) / (high - low + 1e-9)))
