"""RTSTRUCT: contours in millimetres, filled on the slices of the series they were drawn on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput
from ...base.geometry import Geometry, lps_from_ras
from ..scan_file import ScanFile, StoredVolume
from .segments import named_structures

_SLICE_WITHIN = 0.2  # of the distance between slices


def load_contours(path: Path, like: ScanFile | None) -> StoredVolume:
    """Labels (i, j, k) on the grid of `like`, a DICOM series; structures count 1, 2, ... in the file's order, named in
    a note. A pixel belongs to a structure if its centre lies inside; a contour inside another of the same structure
    is a hole; a structure inside another wins. Raises UnsupportedInput without the series, or beside its slices."""
    geometry = like.geometry if like is not None else None
    if geometry is None or not geometry.oriented:
        raise UnsupportedInput(
            f"{path.name} holds contours (RTSTRUCT), which lie on the slices of an image; expected that series; put "
            "its files into the folder of this file."
        )
    dataset = pydicom.dcmread(path)
    names = {int(r.ROINumber): str(r.get("ROIName", "")) for r in dataset.get("StructureSetROISequence") or []}
    masks: list[NDArray[np.bool_]] = []
    found: list[str] = []
    for structure in dataset.get("ROIContourSequence") or []:
        masks.append(_filled(structure, geometry, path.name))
        found.append(names.get(int(structure.ReferencedROINumber), f"structure {len(found) + 1}"))
    labels = np.zeros(geometry.shape, np.uint8)
    for i in sorted(range(len(masks)), key=lambda n: -int(masks[n].sum())):
        labels[masks[i]] = i + 1
    notes = named_structures(dict(enumerate(found, 1)))
    return StoredVolume(labels, geometry, geometry.shape, labels.dtype, None, "other", notes)


def _filled(structure: Any, geometry: Geometry, name: str) -> NDArray[np.bool_]:
    """(i, j, k) of one structure."""
    mask = np.zeros(geometry.shape, bool)
    to_index = np.linalg.inv(geometry.affine)
    for contour in structure.get("ContourSequence") or []:
        points = lps_from_ras(np.array(contour.ContourData, np.float64).reshape(-1, 3))
        at = points @ to_index[:3, :3].T + to_index[:3, 3]
        k = int(np.round(at[:, 2].mean()))
        if np.abs(at[:, 2] - k).max() > _SLICE_WITHIN or not 0 <= k < geometry.shape[2]:
            raise UnsupportedInput(
                f"{name} has a contour beside the slices of its image (at slice {at[:, 2].mean() + 1:.1f} of "
                f"{geometry.shape[2]}); expected contours on its slices; give the series they were drawn on."
            )
        if len(at) > 2:
            mask[..., k] ^= _inside(at[:, :2], (geometry.shape[0], geometry.shape[1]))
    return mask


def _inside(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(i, j) whether each pixel's centre lies inside a closed contour of points (n, 2)."""
    from skimage.draw import polygon2mask

    low = np.floor(points.min(0)).astype(int).clip(0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + 1, shape)
    inside = np.zeros(shape, bool)
    if (high > low).all():
        inside[low[0] : high[0], low[1] : high[1]] = polygon2mask(tuple(high - low), points - low)
    return inside
