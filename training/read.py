"""Image and label files as arrays in the engine's order: RGB photographs, volumes in patient order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from napari_tinymig.engine.errors import UnreadableInput
from napari_tinymig.engine.spatial import Geometry

VOLUME_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")


def stem_of(path: Path) -> str:
    """File name without its ending, '.nii.gz' counted as one."""
    return path.name[:-7] if path.name.endswith(".nii.gz") else path.stem


def read_image(path: Path) -> tuple[NDArray[Any], tuple[float, ...] | None]:
    """Pixels (H, W, 3) uint8 or (D, H, W) in patient order, and spacing in mm where known."""
    if path.name.endswith(VOLUME_ENDINGS):
        return _read_volume(path)
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB")), None
    except OSError as e:
        raise UnreadableInput(f"{path} cannot be read as a photograph ({e}); expected PNG, JPEG or TIFF") from e


def read_label(
    path: Path, label_map: dict[int, int] | None = None
) -> tuple[NDArray[np.uint8], tuple[float, ...] | None]:
    """Labels (H, W) or (D, H, W) uint8 after the label map; codes that the map does not name stay."""
    if path.name.endswith(VOLUME_ENDINGS):
        values, spacing = _read_volume(path)
    else:
        with Image.open(path) as picture:
            values, spacing = np.asarray(picture if picture.mode in ("L", "P", "I") else picture.convert("L")), None
    labels = np.round(values).astype(np.uint8)
    if label_map:
        table = np.arange(256, dtype=np.uint8)
        for old, new in label_map.items():
            table[old] = new
        labels = table[labels]
    return labels, spacing


def _read_volume(path: Path) -> tuple[NDArray[Any], tuple[float, ...] | None]:
    try:
        image = nib.load(path)
        geometry = Geometry(tuple(image.shape[:3]), image.affine)  # type: ignore[arg-type,attr-defined]
        return geometry.to_canonical(np.asarray(image.dataobj)), geometry.spacing_mm  # type: ignore[attr-defined]
    except (OSError, nib.filebasedimages.ImageFileError) as e:
        raise UnreadableInput(f"{path} cannot be read as a volume ({e}); expected NIfTI") from e
