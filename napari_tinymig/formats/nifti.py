"""NIfTI (.nii, .nii.gz) through nibabel: volumes in patient order, masks with the input's own header."""

from __future__ import annotations

import gzip
import logging
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnreadableInput, UnsupportedInput
from ..base.geometry import Geometry
from .scan_file import MAX_VOLUME_VOXELS, InputItem, ScanFile, StoredVolume, reading, refuse_large, volume_file

# nibabel prints what it mends in a header through a handler of its own; what matters is said in our notes and errors.
nib.imageglobals.logger.setLevel(logging.CRITICAL)

_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}


def read_nifti(item: InputItem) -> ScanFile:
    """The volume of `item` in patient order. 2-D files and trailing axes of length 1 are read as 3-D.

    Raises UnreadableInput for damaged files, UnsupportedInput for 4-D, complex or colour data.
    """
    with reading(item.path, "a NIfTI volume"):
        return volume_file(item, load_nifti(item.path))


def load_nifti(path: Path) -> StoredVolume:
    """Voxels (scaled as the header says) and geometry of a NIfTI file."""
    image: Any = nib.load(path, mmap=False)
    if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
        raise UnreadableInput(f"{path.name} is {type(image).__name__}; expected NIfTI; convert it with nibabel.")
    file_shape = tuple(int(n) for n in image.shape)
    shape = three_axes(file_shape, path.name)
    refuse_large(math.prod(shape), " x ".join(map(str, shape)), path.name, MAX_VOLUME_VOXELS)
    array = np.asarray(image.dataobj).reshape(shape, order="F")
    geometry = nifti_geometry(image, shape)
    return StoredVolume(array, geometry, file_shape, np.dtype(image.get_data_dtype()), image.header.copy(), "nifti")


def three_axes(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """`shape` as three axes. Raises UnsupportedInput where more than three are longer than 1."""
    if math.prod(shape) == 0 or not shape:
        raise UnsupportedInput(f"{name} has shape {shape}, no voxel at all; expected a 3-D volume; export it again.")
    if any(n > 1 for n in shape[3:]):
        raise UnsupportedInput(
            f"{name} is {len(shape)}-D with shape {shape}; expected a 3-D volume; save the one volume you mean "
            f"(with nibabel: image.slicer[..., {', '.join('0' for _ in shape[3:])}])."
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
