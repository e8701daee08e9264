"""What reading gives: an InputItem names one image on disk, a ScanFile holds its pixels, geometry and way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnsupportedInput
from ..base.geometry import Geometry
from ..base.records import Scan

Format = Literal["png", "jpeg", "tiff", "bmp", "webp", "nifti", "nrrd", "mha", "dicom", "other"]
Kind = Literal["photograph", "nifti", "nrrd", "mha", "dicom", "unknown"]
"""Formats as inputs are told apart: a `photograph` is any of PNG, JPEG, TIFF, BMP, WebP."""
PHOTOGRAPH_FORMATS: tuple[Format, ...] = ("png", "jpeg", "tiff", "bmp", "webp")

MAX_PHOTOGRAPH_PIXELS = 150_000_000
"""Largest photograph that is decoded: 150 megapixels, 450 MB as RGB."""
MAX_VOLUME_VOXELS = 600_000_000
"""Largest volume that is decoded: 1.2 GB as 16-bit integers."""
MIN_PHOTOGRAPH_SIDE = 16
MIN_SLICE_SIDE = 8
LEANING_DEGREES = 1.0
"""A stack whose slices lean more than this gets a note."""


@dataclass(frozen=True)
class InputItem:
    """One image on disk, not yet read.

    path: the file, or the folder of a DICOM series. format: by name and content; 'photograph' is any of PNG, JPEG,
    TIFF, BMP, WebP. name: stem used for the mask and in tables. files: the files of a DICOM series, else (path,).
    problem: why it cannot be read, said when it is opened ('' = nothing known against it).
    """

    path: Path
    format: Kind
    name: str
    files: tuple[Path, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class ScanFile:
    """An image that was read, and all that is needed to write a mask in its place.

    scan: pixels as the engine sees them: RGB photographs (H, W, 3) uint8 upright (EXIF orientation applied);
    everything else a volume (D, H, W) in patient order, a grey 2-D image being a one-slice volume.
    geometry: of volumes with a medical format; None for photographs. stored_shape: shape of the array in the file,
    in the file's own axis order. exif_orientation: 1-8; a mask is written in the stored grid with the same tag, so
    that it lies on the photograph in every program, whether or not that program reads the tag.
    header: what the format's writer needs, opaque to others. metadata: plain strings and numbers (modality, body
    part, patient sex, series description ...), never a name or identifier. notes: sentences for the user.
    """

    path: Path
    name: str
    scan: Scan
    format: Format
    stored_shape: tuple[int, ...]
    stored_dtype: np.dtype[Any]
    geometry: Geometry | None = None
    exif_orientation: int = 1
    header: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def is_photograph_file(self) -> bool:
        """Whether it came from a photograph format, so that its mask is an indexed PNG."""
        return self.format in PHOTOGRAPH_FORMATS


@dataclass(frozen=True)
class MaskFile:
    """A mask that was read.

    labels: uint8, (H, W) upright for pictures, (D, H, W) in patient order for volumes. spacing_mm: (row, column) or
    (slice, row, column), None = unknown. geometry: of volumes, None for pictures. stored: the file's own grid, for
    writing the mended mask back. notes: what had to be made of a foreign mask, for the user.
    """

    path: Path
    name: str
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, ...] | None
    geometry: Geometry | None
    stored: StoredVolume | None = None
    exif_orientation: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredVolume:
    """A volume as its file holds it: array (i, j, k), geometry, the shape the file gives it, what the writer needs, and
    notes for the user."""

    array: NDArray[Any]
    geometry: Geometry
    file_shape: tuple[int, ...]
    file_dtype: np.dtype[Any]
    header: Any
    format: Format
    notes: tuple[str, ...] = ()


def volume_file(item: InputItem, stored: StoredVolume) -> ScanFile:
    """The ScanFile of a stored volume. Raises UnsupportedInput where its voxels are no image."""
    scan, notes = volume_scan(stored.array, stored.geometry, item.name, item.path.name)
    return ScanFile(
        path=item.path,
        name=item.name,
        scan=scan,
        format=stored.format,
        stored_shape=stored.file_shape,
        stored_dtype=stored.file_dtype,
        geometry=stored.geometry,
        header=stored.header,
        notes=(*stored.notes, *notes),
        files=item.files or (item.path,),
    )


def as_photograph(scan: Scan) -> Scan:
    """`scan` as an RGB photograph (H, W, 3) uint8: itself, or a one-slice volume with its range stretched to 0-255.

    8-bit greys keep their values; wider integers are scaled by the fewest bits that hold their maximum; floats from
    minimum to maximum. Raises UnsupportedInput for a volume of several slices.
    """
    if scan.kind == "photograph":
        return scan
    if scan.pixels.shape[0] != 1:
        raise UnsupportedInput(
            f"{scan.name or 'the volume'} has {scan.pixels.shape[0]} slices; expected a photograph or one grey "
            "slice; choose a task for volumes, such as --task prostate."
        )
    grey = eight_bit(scan.pixels[0])
    spacing = None if scan.spacing_mm is None else tuple(scan.spacing_mm[1:])
    return Scan(np.repeat(grey[..., None], 3, axis=2), spacing, scan.name)


def as_volume(scan: Scan) -> Scan:
    """`scan` as a volume (D, H, W): itself, or a photograph as one slice of its luminance (Rec. 601), float32 unless
    all channels are equal, then uint8 as it was."""
    if scan.kind == "volume":
        return scan
    rgb = scan.pixels
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all():
        grey = rgb[..., 0]
    else:
        grey = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = grey.astype(np.int16) if grey.shape[-1] == 3 and grey.dtype == np.uint8 else grey
    spacing = None if scan.spacing_mm is None else (1.0, *scan.spacing_mm)
    return Scan(grey[None], spacing, scan.name, thickness_known=False)


def eight_bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels as uint8: 8-bit values unchanged, 10-16-bit ones divided so that the bits in use fill 8, floats and
    signed values stretched from minimum to maximum."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    low, high = float(pixels.min()), float(pixels.max())
    if np.issubdtype(pixels.dtype, np.integer) and low >= 0:
        bits = max(8, int(high).bit_length())
        return (pixels.astype(np.float32) * (255.0 / (2**bits - 1)) + 0.5).astype(np.uint8)
    stretched = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-30))
    return (stretched + 0.5).astype(np.uint8)


def volume_scan(stored: NDArray[Any], geometry: Geometry, name: str, file_name: str) -> tuple[Scan, tuple[str, ...]]:
    """The Scan in patient order of a stored array (i, j, k), and notes. Raises UnsupportedInput, naming
    the file, if it is no image."""
    if stored.dtype.fields is not None or np.issubdtype(stored.dtype, np.complexfloating):
        raise UnsupportedInput(
            f"{file_name} has voxels of type {stored.dtype}; expected one real number per voxel; export a grey image."
        )
    pixels = np.ascontiguousarray(geometry.to_canonical(stored))
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    elif pixels.dtype == np.float64 or pixels.dtype.itemsize > 8:
        pixels = pixels.astype(np.float32)
    if pixels.dtype == np.uint8 and pixels.shape[-1] == 3:
        pixels = pixels.astype(np.int16)  # (D, H, 3) uint8 would mean RGB to Scan
    if sum(side >= MIN_SLICE_SIDE for side in pixels.shape) < 2:
        raise UnsupportedInput(
            f"{file_name} has {' x '.join(map(str, geometry.shape))} voxels; expected slices of at least "
            f"{MIN_SLICE_SIDE} x {MIN_SLICE_SIDE}; give the whole image."
        )
    pixels, notes = finite(pixels, file_name)
    refuse_constant(pixels, file_name)
    if not geometry.oriented:
        notes = (*notes, "The file does not say how the patient lies; its axes are taken as they are.")
    elif geometry.shear_degrees > LEANING_DEGREES:
        notes = (
            *notes,
            f"The slices lean by {geometry.shear_degrees:.0f} degrees (a tilted gantry?): volumes use the distance "
            "between their planes, distances across slices ignore the lean.",
        )
    return Scan(pixels, geometry.spacing_mm, name), notes


def finite(pixels: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Voxels without NaN or infinity, those replaced by the lowest finite value and counted in a note."""
    if not np.issubdtype(pixels.dtype, np.floating):
        return pixels, ()
    finite = np.isfinite(pixels)
    bad = pixels.size - int(finite.sum())
    if bad == 0:
        return pixels, ()
    if bad == pixels.size:
        raise UnsupportedInput(
            f"{name} holds no finite number in any of its {bad} voxels (NaN or infinity everywhere); expected an "
            "image; export it again."
        )
    lowest = pixels[finite].min()
    share = 100 * bad / pixels.size
    return np.where(finite, pixels, lowest), (
        f"{bad} voxels ({share:.2g} %) are NaN or infinite and were read as the lowest value, {lowest:g}.",
    )


def refuse_constant(pixels: NDArray[Any], name: str) -> None:
    """Raise UnsupportedInput if every pixel of (H, W, 3) or (D, H, W) has the same value."""
    values = pixels.reshape(-1, 3) if pixels.shape[-1] == 3 and pixels.dtype == np.uint8 else pixels.reshape(-1)
    sample = values[:: max(1, len(values) // 4096)]
    if (sample == values[0]).all() and (values == values[0]).all():
        raise UnsupportedInput(
            f"{name} is constant (every pixel is {np.asarray(values[0]).tolist()}); expected an image with "
            "contrast; check the export."
        )


def too_large(count: int, shape: str, name: str, limit: int) -> UnsupportedInput:
    """The refusal of an image of `count` pixels (`shape` as text, '' = unknown), more than `limit`; to be raised before
    anything is decoded."""
    sides = f"{shape} = " if shape else ""
    return UnsupportedInput(
        f"{name} has {sides}{count / 1e6:.0f} million pixels; expected at most {limit / 1e6:.0f} million; "
        "crop or shrink it first."
    )
