"""napari writers: layers go back into the exact grid of the file that they or their image were read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...annotations.scribbles import from_canvas, shows_background
from ...base.geometry import Geometry, lps_from_ras
from ...formats import ScanFile, suffix_of, write_mask, write_volume
from ...formats.declared import FORMATS
from ...formats.foreign_masks.kept_legend import in_kept_codes, kept_codes
from ...formats.photographs import photograph_orientation, turn_upright
from ...formats.read_masks import MaskFile, mask_scan_file
from ...tasks.table import TASKS
from ...tasks.task import Task
from .layer_geometry import KEY

_MM_PER_UNIT = {"millimeter": 1.0, "mm": 1.0, "centimeter": 10.0, "cm": 10.0, "meter": 1000.0, "m": 1000.0}
_MM_PER_UNIT |= {"micrometer": 1e-3, "um": 1e-3, "micron": 1e-3, "µm": 1e-3}


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer at `path` (.nii.gz, .nii, .nrrd, .mha, .png, or .dcm for DICOM sources); its path in a list.

    data: (H, W) or (D, H, W). meta: napari's layer attributes. A layer of this plugin is written in the grid of its
    source file; any other by its own transform, its world read as LPS mm in the order (z, y, x). Where a legend is kept
    for the masks of the folder, the file holds its codes. An existing file is replaced: napari has asked. Raises
    OutputRefused, UnreadableInput or ValueError with a sentence.
    """
    labels = np.asarray(data)
    kept = (meta.get("metadata") or {}).get(KEY, {})
    if kept.get("frame") and labels.shape[0] == 1 and path.lower().endswith(".png"):
        labels = labels.reshape(labels.shape[-2:])  # one frame of a stack, as a picture
    scan_file = kept.get("scan_file")
    if not isinstance(scan_file, ScanFile) or not _fits(labels, scan_file):
        if labels.ndim == 2:
            scan_file, labels = _picture_grid(Path(path), labels, kept.get("path"))
        else:
            scan_file, labels = _layer_grid(Path(path), labels, meta)
    task = _task(kept.get("task"))
    if task is not None and shows_background(meta.get("features", {}), task):
        labels = from_canvas(labels, task, "all")
    write_in_folder(labels, scan_file, Path(path), task)
    return [str(path)]


def write_in_folder(labels: NDArray[Any], scan_file: ScanFile, path: Path, task: Task | None) -> None:
    """Write a mask as the others of its folder are: in the codes of the legend that is kept for them, where one is."""
    foreign = suffix_of(path) not in FORMATS["dicom"].writes and kept_codes(path.parent) is not None
    codes = in_kept_codes(path.parent, np.asarray(labels, np.uint8)) if foreign else labels
    write_mask(codes, scan_file, path, task=task, overwrite=True, plain=foreign)


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a volume (D, H, W) at `path` (.nii.gz, .nii, .nrrd, .mha) in the grid of its source file, or, where another
    reader made the layer, by its own transform; its path in a list. Raises ValueError or OutputRefused."""
    values = np.asarray(data)
    if meta.get("rgb") or values.ndim != 3:
        raise ValueError(f"the layer has shape {values.shape}; expected a grey volume (D, H, W); save pictures as PNG.")
    scan_file = (meta.get("metadata") or {}).get(KEY, {}).get("scan_file")
    if not isinstance(scan_file, ScanFile) or not _fits(values, scan_file):
        scan_file, values = _layer_grid(Path(path), values, meta)
    write_volume(values, scan_file, Path(path), overwrite=True)
    return [str(path)]


def _fits(labels: NDArray[Any], scan_file: ScanFile) -> bool:
    grid = scan_file.scan.grid_shape
    return labels.shape == grid or (1, *labels.shape) == grid or labels.shape == (1, *grid)


def _task(kept: Any) -> Task | None:
    if isinstance(kept, Task):
        return kept
    return TASKS.get(kept) if isinstance(kept, str) else Task.model_validate(kept) if isinstance(kept, dict) else None


def _picture_grid(path: Path, labels: NDArray[Any], source: str | None) -> tuple[ScanFile, NDArray[Any]]:
    """A picture's grid and its labels upright; napari shows a photograph as stored, whatever its EXIF tag says."""
    turned = photograph_orientation(Path(source)) if source else 1
    upright = turn_upright(labels, turned)
    shape_only = np.zeros(upright.shape, np.uint8)
    return mask_scan_file(MaskFile(path, path.stem, shape_only, None, None, None, turned)), upright


def _layer_grid(path: Path, values: NDArray[Any], meta: dict[str, Any]) -> tuple[ScanFile, NDArray[Any]]:
    """The grid of a volume layer that another reader made, and its values in patient order."""
    if values.ndim != 3:
        raise ValueError(f"the layer is {values.ndim}-D with shape {values.shape}; expected (H, W) or (D, H, W).")
    factors = [_MM_PER_UNIT.get(str(unit)) for unit in meta.get("units") or ()][-3:]
    known = len(factors) == 3 and all(factors)
    matrix = np.diag([*((f or 1.0) for f in factors), 1.0] if known else np.ones(4)) @ data_to_world(meta)
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        matrix, known = np.eye(4), False
    reverse = np.eye(4)[[2, 1, 0, 3]]  # between napari's order (z, y, x) and the order (x, y, z) of files
    affine = lps_from_ras(reverse @ matrix @ reverse)
    geometry = Geometry(values.shape[::-1], affine, oriented=known, has_spacing=known)  # type: ignore[arg-type]
    in_order = geometry.to_canonical(values.transpose(2, 1, 0))
    shape_only = np.zeros(in_order.shape, np.uint8)
    return mask_scan_file(MaskFile(path, path.stem, shape_only, geometry.spacing_mm, geometry)), in_order


def data_to_world(meta: dict[str, Any]) -> NDArray[np.float64]:
    """(4, 4) matrix from a 3-D layer's index to napari's world, from its scale, shear, rotate, translate and affine."""
    linear = np.diag(np.asarray(meta.get("scale", np.ones(3)), np.float64)[-3:])
    for key in ("shear", "rotate"):
        linear = _square(key, meta.get(key)) @ linear
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, np.asarray(meta.get("translate", np.zeros(3)), np.float64)[-3:]
    affine = meta.get("affine")
    if affine is not None:
        affine = np.asarray(getattr(affine, "affine_matrix", affine), np.float64)
        matrix = affine[-4:, -4:] @ matrix
    return matrix


def _square(key: str, value: Any) -> NDArray[np.float64]:
    """napari's rotate or shear as a (3, 3) matrix: given as one, or shear as its three upper triangular numbers."""
    if value is None:
        return np.eye(3)
    value = np.asarray(value, np.float64)
    if value.shape == (3, 3):
        return value
    if key == "shear" and value.shape == (3,):
        matrix = np.eye(3)
        matrix[np.triu_indices(3, 1)] = value
        return matrix
    raise ValueError(f"the layer's {key} is {value.tolist()}; expected a (3, 3) matrix; reset the layer's transform.")
