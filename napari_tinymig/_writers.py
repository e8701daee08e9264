"""napari writers: layers go back into the exact grid of the file that they or their image were read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine.io import ScanFile, write_mask, write_volume
from .engine.io.labels import MaskFile, mask_scan_file
from .engine.io.photographs import photograph_orientation, turn_upright
from .engine.spatial import Geometry, lps_from_ras
from .engine.tasks import TASKS, Task
from .layer_geometry import KEY

_MM_PER_UNIT = {"millimeter": 1.0, "mm": 1.0, "centimeter": 10.0, "cm": 10.0, "meter": 1000.0, "m": 1000.0}
_MM_PER_UNIT |= {"micrometer": 1e-3, "um": 1e-3, "micron": 1e-3, "µm": 1e-3}


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer at `path` (.nii.gz, .nii, .nrrd, .mha, .png, or .dcm for DICOM sources); its path in a list.

    data: (H, W) or (D, H, W). meta: napari's layer attributes. A layer of this plugin is written in the grid of its
    source file; any other with its own scale and translate, read as LPS mm in the order (z, y, x). An existing file is
    replaced: napari has asked. Raises OutputRefused or ValueError with a sentence.
    """
    labels = np.asarray(data)
    kept = (meta.get("metadata") or {}).get(KEY, {})
    scan_file = kept.get("scan_file")
    if not isinstance(scan_file, ScanFile) or not _fits(labels, scan_file):
        turned = photograph_orientation(Path(kept["path"])) if labels.ndim == 2 and kept.get("path") else 1
        labels = turn_upright(labels, turned)  # napari shows a photograph as stored, whatever its EXIF tag says
        scan_file = _scan_file_of_layer(Path(path), labels, meta, turned)
    write_mask(labels, scan_file, Path(path), task=_task(kept.get("task")), overwrite=True)
    return [str(path)]


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a volume (D, H, W) at `path` (.nii.gz, .nii, .nrrd, .mha) in the grid of its source file, or, where another
    reader made the layer, by its scale and translate; its path in a list. Raises ValueError or OutputRefused."""
    values = np.asarray(data)
    if meta.get("rgb") or values.ndim != 3:
        raise ValueError(f"the layer has shape {values.shape}; expected a grey volume (D, H, W); save pictures as PNG.")
    scan_file = (meta.get("metadata") or {}).get(KEY, {}).get("scan_file")
    if not isinstance(scan_file, ScanFile) or not _fits(values, scan_file):
        scan_file = _scan_file_of_layer(Path(path), values, meta)
    write_volume(values, scan_file, Path(path), overwrite=True)
    return [str(path)]


def _fits(labels: NDArray[Any], scan_file: ScanFile) -> bool:
    grid = scan_file.scan.grid_shape
    return labels.shape == grid or (1, *labels.shape) == grid or labels.shape == (1, *grid)


def _task(kept: Any) -> Task | None:
    if isinstance(kept, Task):
        return kept
    return TASKS.get(kept) if isinstance(kept, str) else Task.model_validate(kept) if isinstance(kept, dict) else None


def _scan_file_of_layer(path: Path, labels: NDArray[Any], meta: dict[str, Any], orientation: int = 1) -> ScanFile:
    """The grid of a layer that another reader made."""
    if labels.ndim not in (2, 3):
        raise ValueError(f"the layer is {labels.ndim}-D with shape {labels.shape}; expected (H, W) or (D, H, W).")
    grid = np.zeros(labels.shape, np.uint8)  # only its shape matters here
    factors = [_MM_PER_UNIT.get(str(unit)) for unit in meta.get("units") or ()][-labels.ndim :]
    if labels.ndim == 2:
        return mask_scan_file(MaskFile(path, path.stem, grid, None, None, None, orientation))
    known = len(factors) == 3 and all(factors)
    in_mm = np.array([f or 1.0 for f in factors] if known else [1.0] * 3)
    scale = np.asarray(meta.get("scale", np.ones(3)), np.float64)[-3:] * in_mm
    translate = np.asarray(meta.get("translate", np.zeros(3)), np.float64)[-3:] * in_mm
    lps = np.eye(4)
    lps[:3, :3] = np.diag(scale[::-1])
    lps[:3, 3] = translate[::-1]
    if abs(np.linalg.det(lps)) < 1e-12:
        lps[:3, :3] = np.eye(3)
    geometry = Geometry(labels.shape[::-1], lps_from_ras(lps), oriented=known, has_spacing=known)  # type: ignore[arg-type]
    stored_first = geometry.to_canonical(grid.transpose(2, 1, 0))
    return mask_scan_file(MaskFile(path, path.stem, stored_first, geometry.spacing_mm, geometry))
