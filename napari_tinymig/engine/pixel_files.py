"""The files inside an annotation set: a scan's own pixels and labels, lossless, in the orientation of `Scan`."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import UnreadableInput
from .records import Scan
from .safe_files import write_atomic


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


def read_pixels(path: Path) -> Scan:
    """The scan of an image file: RGB photograph, or volume in the orientation of `Scan`."""
    name = path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem
    if path.name.lower().endswith((".nii", ".nii.gz")):
        array, spacing = _read_nifti(path)
        return Scan(array, spacing, name)
    image = _open_image(path)
    if image.mode in ("L", "I;16", "I", "1") and not _is_colour(image):
        return Scan(np.asarray(image)[None], None, name)
    return Scan(np.asarray(image.convert("RGB")), None, name)


def read_labels(path: Path, scan: Scan) -> NDArray[np.uint8]:
    """The labels of a mask file, uint8, 2-D for a photograph and 3-D for a volume."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        labels = _read_nifti(path)[0]
    else:
        labels = np.asarray(_open_image(path))
        if labels.ndim == 3:
            raise UnreadableInput(f"{path} is a colour image; expected a mask with one value per pixel")
        labels = labels if scan.kind == "photograph" else labels[None]
    if not np.array_equal(labels, np.clip(np.rint(labels), 0, 255)):
        raise UnreadableInput(f"{path} holds values outside 0-255 or fractions; expected whole label values")
    return labels.astype(np.uint8)


def _is_colour(image: Image.Image) -> bool:
    return image.mode not in ("L", "I;16", "I", "1")


def _open_image(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image.copy()
    except (OSError, ValueError, SyntaxError) as e:
        raise UnreadableInput(f"{path} cannot be read as an image ({e}); get the file again") from e


def _read_nifti(path: Path) -> tuple[NDArray[Any], tuple[float, ...] | None]:
    """Array (z, y, x) in the orientation of `Scan` and its spacing (None where the file says it is unknown)."""
    try:
        image = nib.load(path)
        affine = image.affine
        wanted = nib.orientations.axcodes2ornt(("L", "P", "S"))
        turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), wanted)
        array = nib.orientations.apply_orientation(np.asanyarray(image.dataobj), turn)
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as e:
        raise UnreadableInput(f"{path} cannot be read as NIfTI ({str(e)[:100]}); get the file again") from e
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise UnreadableInput(f"{path} has {array.ndim} dimensions; expected a 3-D volume")
    order = np.argsort(turn[:, 0])
    steps = np.sqrt((affine[:3, :3] ** 2).sum(0))[order]
    known = image.header.get_xyzt_units()[0] != "unknown" or not np.allclose(steps, 1.0)
    spacing = tuple(float(s) for s in steps[::-1]) if known else None
    return np.ascontiguousarray(array.T), spacing
