"""The files inside an annotation set: a scan's own pixels and labels, lossless, in the orientation of `Scan`."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.records import Scan
from ..base.safe_files import write_atomic
from . import open_input, read_mask


def canonical_affine(spacing_mm: tuple[float, ...] | None) -> NDArray[np.float64]:
    """RAS affine of an (x, y, z) file whose array is `Scan.pixels.T`.

    Columns run to the patient's left (x falls), rows to the back (y falls), slices up. Unknown spacing counts as 1 mm.
    """
    z, y, x = spacing_mm or (1.0, 1.0, 1.0)
    return np.diag([-x, -y, z, 1.0])


def _nifti_bytes(array: NDArray[Any], spacing_mm: tuple[float, ...] | None) -> bytes:
    dtype = array.dtype if array.dtype not in (np.dtype(bool), np.dtype(np.float16)) else np.dtype(np.float32)
    image = nib.Nifti1Image(np.ascontiguousarray(array.T).astype(dtype), canonical_affine(spacing_mm), dtype=dtype)
    image.header.set_xyzt_units("mm" if spacing_mm else "unknown")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def _png_bytes(array: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def write_pixels(path: Path, scan: Scan) -> None:
    """Write a scan: a photograph or an 8-bit slice as PNG, a volume as .nii.gz with its spacing. Atomic."""
    if path.suffix == ".png":
        write_atomic(path, _png_bytes(scan.pixels if scan.kind == "photograph" else scan.pixels[0]))
    else:
        write_atomic(path, _nifti_bytes(scan.pixels, scan.spacing_mm))


def write_labels(path: Path, labels: NDArray[np.uint8], scan: Scan) -> None:
    """Write labels beside their scan, in the same kind of file. Atomic."""
    if path.suffix == ".png":
        write_atomic(path, _png_bytes(labels if labels.ndim == 2 else labels[0]))
    else:
        write_atomic(path, _nifti_bytes(labels, scan.spacing_mm))


def read_pair(image: Path, label: Path, label_map: Mapping[int, int] | None = None) -> tuple[Scan, NDArray[np.uint8]]:
    """An image file's scan and its mask's labels, uint8 in the scan's shape. label_map: foreign code -> ours.

    The mask lies where its image lies: a photograph's turn and a volume's place in the scanner are followed. Raises
    UnreadableInput, and UnsupportedInput for another grid or place and for codes that are not in the map.
    """
    opened = open_input(image)
    labels = read_mask(label, label_map, like=opened)
    return opened.scan, labels.reshape(opened.scan.grid_shape)
