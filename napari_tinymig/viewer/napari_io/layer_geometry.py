"""Where a napari layer lies in the scanner: the one function behind cursor read-out, plane jumping, writers and tests.

Layers made by this plugin's reader show their volume in patient order (z, y, x) with a diagonal transform, because
napari cannot slice oblique ones in 2-D; the true position is computed from the file's own geometry, kept in
`layer.metadata["tinymig"]["scan_file"]`. Needs neither Qt nor napari: any object with `metadata`, `world_to_data` and
`data_to_world` will do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...base.geometry import Geometry, index_at, lps_from_ras
from ...base.geometry import world_mm as world_of_index
from ...formats import ScanFile

KEY = "tinymig"


def scan_file_of(layer: Any) -> ScanFile | None:
    """The file that a layer, or the image its mask was made for, was read from; None if this plugin did not read it."""
    kept = layer.metadata.get(KEY, {}) if layer.metadata else {}
    found = kept.get("scan_file")
    return found if isinstance(found, ScanFile) else None


def geometry_of(layer: Any) -> Geometry | None:
    """The true geometry of a volume layer; None where the file said nothing about orientation."""
    scan_file = scan_file_of(layer)
    geometry = None if scan_file is None else scan_file.geometry
    return geometry if geometry is not None and geometry.oriented else None


def world_mm(layer: Any, point: ArrayLike) -> NDArray[np.float64] | None:
    """The RAS scanner position in mm of `point`, (z, y, x) in napari's world, such as `viewer.cursor.position`.

    None where the layer's scanner position is unknown. `lps_from_ras` gives what DICOM calls the position.
    """
    geometry = geometry_of(layer)
    if geometry is None:
        return None
    return world_of_index(np.asarray(layer.world_to_data(np.asarray(point, np.float64)[-3:])), geometry)


def point_at(layer: Any, position_mm: ArrayLike) -> NDArray[np.float64] | None:
    """The point (z, y, x) in napari's world where `layer` shows the RAS scanner position; undoes `world_mm`."""
    geometry = geometry_of(layer)
    if geometry is None:
        return None
    return np.asarray(layer.data_to_world(index_at(position_mm, geometry)), np.float64)


def display_transform(geometry: Geometry) -> dict[str, Any]:
    """scale, translate, units and axis_labels that show a volume in patient order.

    The world is LPS mm in the order (z, y, x): exact for volumes along the scanner's axes; an oblique one is shown
    straight, its centre in its true place.
    """
    spacing = geometry.spacing_mm or (1.0, 1.0, 1.0)
    attributes: dict[str, Any] = {
        "scale": spacing,
        "axis_labels": ("z", "y", "x"),
        "units": ("mm",) * 3 if geometry.has_spacing else ("pixel",) * 3,
    }
    if geometry.oriented:
        middle = (np.array(geometry.canonical_shape) - 1) / 2
        centre = lps_from_ras(world_of_index(middle, geometry))[::-1]
        attributes["translate"] = tuple(float(v) for v in centre - middle * np.array(spacing))
    return attributes


def scanner_affine(geometry: Geometry) -> NDArray[np.float64]:
    """(4, 4) layer affine, to be used with scale 1 and translate 0, that shows an oblique volume truly (3-D view only):
    index (z, y, x) -> LPS mm in the order (z, y, x)."""
    turn = np.zeros((4, 4))
    turn[0, 2] = turn[1, 1] = turn[2, 0] = turn[3, 3] = 1.0
    return turn @ lps_from_ras(geometry.canonical_affine)
