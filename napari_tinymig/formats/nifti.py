"""NIfTI (.nii, .nii.gz) through nibabel: volumes in patient order, masks with the input's own header."""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnreadableInput, UnsupportedInput, reading
from ..base.geometry import Geometry
from .kinds import data_files, first_bytes
from .scan_file import MAX_VOLUME_VOXELS, InputItem, ScanFile, StoredVolume, too_large, volume_file

# nibabel prints what it mends in a header through a handler of its own; what matters is said in our notes and errors.
nib.imageglobals.logger.setLevel(logging.CRITICAL)

_HEADER_BYTES = 540  # of NIfTI-2, the longer one
MAX_EXTENSION_BYTES = 1 << 28
"""Most that may lie between a header and its voxels."""
_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}


def read_nifti(item: InputItem) -> ScanFile:
    """The volume of `item` in patient order. 2-D files and trailing axes of length 1 are read as 3-D.

    Raises UnreadableInput for damaged files, UnsupportedInput for 4-D, complex or colour data.
    """
    with reading(item.path, "a NIfTI volume"):
        return volume_file(item, load_nifti(item.path))


def load_nifti(path: Path) -> StoredVolume:
    """Voxels (scaled as the header says) and geometry of a NIfTI file, packed or not whatever its name says, or of a
    pair .hdr and .img. The size is checked before any voxel is unpacked."""
    start = first_bytes(path, _HEADER_BYTES)
    if start[344:348] not in (b"n+1\0", b"ni1\0") and start[4:8] not in (b"n+2\0", b"ni2\0"):
        found = "is empty (0 bytes)" if not start else f"starts with {start[:8]!r} and bears no mark of NIfTI"
        raise UnreadableInput(f"{path.name} {found}; expected NIfTI-1 or NIfTI-2; export it again.")
    version = 2 if start[4:8] in (b"n+2\0", b"ni2\0") else 1
    if start[344:348] == b"ni1\0" or start[4:8] == b"ni2\0":
        image = _pair(path, nib.Nifti2Pair if version == 2 else nib.Nifti1Pair, start)
    else:
        image = _whole(path, nib.Nifti2Image if version == 2 else nib.Nifti1Image, start)
    file_shape = tuple(int(n) for n in image.shape)
    shape = three_axes(file_shape, path.name)
    array = np.asarray(image.dataobj).reshape(shape, order="F")
    geometry = nifti_geometry(image, shape)
    return StoredVolume(array, geometry, file_shape, np.dtype(image.get_data_dtype()), image.header.copy(), "nifti")


def _checked_header(path: Path, kind: Any, start: bytes) -> tuple[Any, int]:
    """The header in `start`, and how many bytes of voxels it promises. Raises before anything is unpacked."""
    if len(start) < kind.header_class.sizeof_hdr:
        raise UnreadableInput(f"{path.name} is cut short within its header; expected NIfTI; copy it again.")
    header = kind.header_class(start[: kind.header_class.sizeof_hdr], check=False)
    with contextlib.suppress(nib.spatialimages.HeaderDataError):  # nibabel judges what is left, when it reads
        header.check_fix(error_level=50)
    file_shape = tuple(int(n) for n in header.get_data_shape())
    if any(n < 0 for n in file_shape):
        raise UnsupportedInput(f"{path.name} has shape {file_shape}; expected sides above zero; export it again.")
    shape = three_axes(file_shape, path.name)
    if (count := math.prod(shape)) > MAX_VOLUME_VOXELS:
        raise too_large(count, " x ".join(map(str, shape)), path.name, MAX_VOLUME_VOXELS)
    return header, math.prod(shape) * header.get_data_dtype().itemsize


def _whole(path: Path, kind: Any, start: bytes) -> Any:
    header, needed = _checked_header(path, kind, start)
    if not 0 <= float(header["vox_offset"]) <= MAX_EXTENSION_BYTES:
        raise UnreadableInput(f"{path.name} says its voxels begin at byte {header['vox_offset']}; export it again.")
    return kind.from_bytes(_unpacked(path, int(header["vox_offset"]) + needed))


def _pair(path: Path, kind: Any, start: bytes) -> Any:
    found = data_files(path, "nifti")
    if not found:
        raise UnreadableInput(f"{path.name} is the header of a pair; expected {path.stem}.img beside it; copy both.")
    header, needed = _checked_header(path, kind, start)
    files = kind.make_file_map({"header": io.BytesIO(_unpacked(path, len(start)))})
    files["image"].fileobj = io.BytesIO(_unpacked(found[0], int(header["vox_offset"]) + needed))
    return kind.from_file_map(files)


def _unpacked(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file, unpacked if it is gzip."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if not packed:
            return stream.read(count)
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(count)


def three_axes(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """`shape` as three axes. Raises UnsupportedInput where more than three are longer than 1."""
    if math.prod(shape) == 0 or not shape:
        raise UnsupportedInput(f"{name} has shape {shape}, no voxel at all; expected a 3-D volume; export it again.")
    if any(n > 1 for n in shape[3:]):
        raise UnsupportedInput(
            f"{name} is {len(shape)}-D with shape {shape}; expected a 3-D volume; save the one volume you mean (one "
            "time, b-value, echo or channel) as a file of its own."
        )
    padded = (*shape, 1, 1)
    return padded[0], padded[1], padded[2]


def nifti_geometry(image: Any, shape: tuple[int, int, int]) -> Geometry:
    """Geometry in mm of a nibabel image; without any orientation code, or with a broken matrix, its axes alone."""
    header = image.header
    factor = _MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    known = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    affine = np.array(image.affine, np.float64)
    affine[:3] *= factor
    if known and np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12:
        return Geometry(shape, affine)
    zooms = np.abs([float(v) for v in (*header.get_zooms(), 0.0, 0.0)[:3]]) * factor
    usable = bool(np.isfinite(zooms).all() and (zooms[: len(image.shape)] > 0).all())
    sizes = np.where(zooms > 0, zooms, 1.0) if usable else np.ones(3)
    # LPS index axes, so that the rows and columns of the file are shown as they are
    return Geometry(shape, np.diag([-sizes[0], -sizes[1], sizes[2], 1.0]), oriented=False, has_spacing=usable)


def nifti_bytes(array: NDArray[Any], scan_file: ScanFile, compressed: bool) -> bytes:
    """A NIfTI file of `array` (i, j, k), stored order. From a NIfTI input with its matrices, codes and units; from
    any other with the geometry's affine as sform and qform, codes 1 (scanner) if oriented, else 0."""
    if scan_file.format == "nifti":
        header = scan_file.header.copy()
        header.set_data_dtype(array.dtype)
        header.set_slope_inter(1, 0)
        header["cal_min"], header["cal_max"], header["descrip"] = 0, 0, b"napari-tinymig"
        header.extensions.clear()
        make = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        image = make(array.reshape(scan_file.stored_shape, order="F"), None, header)
    else:
        geometry = scan_file.geometry
        affine = geometry.affine if geometry is not None else np.diag([-1.0, -1.0, 1.0, 1.0])
        code = 1 if geometry is not None and geometry.oriented else 0
        image = nib.Nifti1Image(array, affine, dtype=array.dtype)
        image.set_sform(affine, code)
        image.set_qform(affine, code, strip_shears=True)
        image.header.set_xyzt_units("mm" if geometry is not None and geometry.has_spacing else "unknown")
    raw = image.to_bytes()
    return gzip.compress(raw, compresslevel=4, mtime=0) if compressed else raw
