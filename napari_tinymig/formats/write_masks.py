"""Masks written in the input's own grid, whole or not at all."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.errors import OutputRefused
from ..base.safe_files import write_atomic
from ..tasks.colours import palette
from ..tasks.task import Task
from .declared import FORMATS, PICTURE_FILE, VOLUME_FILE, options, written_format
from .kinds import suffix_of
from .photographs import exif_with_orientation
from .scan_file import InputItem, ScanFile
from .stored_grid import stored_labels


def mask_paths(folder: Path, items: Sequence[InputItem], format: str = "same") -> list[Path]:
    """Where the mask of each item goes: folder/<stem>_mask.<ext>; the whole file name where two items share the stem
    (a.jpg_mask.png), with the parent folder's name before it where they share that too, and a number at last. Letter
    case is ignored, because some disks ignore it.

    format: 'same' (PNG for photographs, nii.gz, nrrd or mha like the input, nii.gz for DICOM), 'png', 'nifti' or
    'dicomseg'. Raises ValueError for another.
    """
    if format != "same" and format not in options():
        raise ValueError(f"no mask format '{format}'; expected same, {', '.join(options())}.")
    names = [item.name for item in items]
    for longer in (_file_name, _folder_and_file_name):
        count = Counter(name.lower() for name in names)
        names = [longer(item) if count[n.lower()] > 1 else n for item, n in zip(items, names)]
    count = Counter(name.lower() for name in names)
    names = [f"{n}_{i}" if count[n.lower()] > 1 else n for i, n in enumerate(names, 1)]
    own = [FORMATS[item.format].mask_suffix if item.format in FORMATS else PICTURE_FILE for item in items]
    suffixes = own if format == "same" else [options()[format]] * len(items)
    return [Path(folder) / f"{name}_mask{suffix}" for name, suffix in zip(names, suffixes)]


def mask_path(folder: Path, item: InputItem, items: Sequence[InputItem], format: str = "same") -> Path:
    """Where the mask of one of `items` goes; `mask_paths` gives all at once."""
    return mask_paths(folder, items, format)[list(items).index(item)]


def _file_name(item: InputItem) -> str:
    return item.path.name


def _folder_and_file_name(item: InputItem) -> str:
    return f"{item.path.resolve().parent.name}_{item.path.name}"


def write_mask(
    labels: NDArray[np.uint8],
    scan_file: ScanFile,
    path: Path,
    *,
    task: Task | None = None,
    overwrite: bool = False,
    plain: bool = False,
) -> Path:
    """Write `labels` at `path`, in the grid of the file that `scan_file` was read from; its suffix says the format.

    labels: (H, W) for photographs and single slices, (D, H, W) in patient order for volumes; values 0-255. The file
    gets the input's shape, axis order, affine and spacing. PNG is indexed, in the task's colours, or, if `plain`, grey.
    The file appears whole or not at all. Raises OutputRefused where `path` exists (unless `overwrite`) or cannot be
    written, and ValueError for labels of another shape or a suffix that cannot hold them.
    """
    path = Path(path)
    write_atomically(path, mask_bytes(labels, scan_file, path, task, plain), overwrite=overwrite)
    return path


def mask_bytes(
    labels: NDArray[np.uint8], scan_file: ScanFile, path: Path, task: Task | None = None, plain: bool = False
) -> bytes:
    """What `write_mask` puts at `path`, without writing it."""
    if (kind := written_format(suffix_of(path))) == "dicom":
        from .dicom_seg import dicom_seg_bytes

        return dicom_seg_bytes(labels, scan_file, task)
    if kind == "photograph":
        return _png_bytes(_plane(labels, scan_file), scan_file, None if plain else palette(task))
    return _volume_bytes(stored_labels(labels, scan_file), scan_file, path)


def write_volume(values: NDArray[Any], scan_file: ScanFile, path: Path, *, overwrite: bool = False) -> Path:
    """Write `values` (D, H, W) in patient order, any real dtype, at `path` (.nii, .nii.gz, .nrrd, .mha) in the grid of
    the file that `scan_file` was read from: probabilities, or the image itself. Raises as `write_mask`."""
    path = Path(path)
    grid = np.asarray(values).reshape(scan_file.scan.grid_shape)
    if grid.dtype in (np.dtype(bool), np.dtype(np.float16)):
        grid = grid.astype(np.float32 if grid.dtype == np.float16 else np.uint8)
    geometry = scan_file.geometry
    stored = geometry.to_stored(grid) if geometry is not None else grid.reshape(grid.shape[-2:]).T[..., None]
    write_atomically(path, _volume_bytes(np.ascontiguousarray(stored), scan_file, path), overwrite=overwrite)
    return path


def _volume_bytes(stored: NDArray[Any], scan_file: ScanFile, path: Path) -> bytes:
    """The bytes of a volume file of `stored` (i, j, k), of the format that the suffix of `path` names."""
    suffix = suffix_of(path)
    kind = written_format(suffix)
    if kind not in WRITERS:
        *known, last = (s for f in FORMATS.values() for s in reversed(f.writes))
        raise ValueError(f"{path.name}: expected a name that ends in {', '.join(known)} or {last}.")
    return WRITERS[kind](stored, scan_file, suffix)


def _nifti(stored: NDArray[Any], scan_file: ScanFile, suffix: str) -> bytes:
    from .nifti import nifti_bytes

    return nifti_bytes(stored, scan_file, compressed=suffix == VOLUME_FILE)


def _nrrd(stored: NDArray[Any], scan_file: ScanFile, suffix: str) -> bytes:
    from .nrrd import nrrd_bytes

    return nrrd_bytes(stored, scan_file)


def _metaimage(stored: NDArray[Any], scan_file: ScanFile, suffix: str) -> bytes:
    from .metaimage import meta_bytes

    return meta_bytes(stored, scan_file)


WRITERS: dict[str, Callable[[NDArray[Any], ScanFile, str], bytes]] = {
    "nifti": _nifti,
    "nrrd": _nrrd,
    "mha": _metaimage,
}
"""Format of volumes -> its bytes, from (values (i, j, k) as stored, the image's file, suffix)."""


def _plane(labels: NDArray[Any], scan_file: ScanFile) -> NDArray[np.uint8]:
    """One picture (row, column) in the stored grid, or a ValueError for several slices."""
    stored = stored_labels(labels, scan_file)
    if stored.shape[2] != 1:
        raise ValueError(
            f"{scan_file.name} has {stored.shape[2]} slices, and a PNG holds one; use --format nifti or same."
        )
    return np.ascontiguousarray(stored[..., 0].T)


def _png_bytes(plane: NDArray[np.uint8], scan_file: ScanFile, colours: list[int] | None) -> bytes:
    picture = Image.fromarray(plane).copy()
    if colours is not None:
        picture.putpalette(colours)
    out = io.BytesIO()
    extra = {}
    if scan_file.exif_orientation != 1:
        extra["exif"] = exif_with_orientation(scan_file.exif_orientation)
    picture.save(out, "PNG", compress_level=1, compress_type=zlib.Z_RLE, bits=8, **extra)  # long runs: small and quick
    return out.getvalue()


def write_atomically(path: Path, content: bytes, *, overwrite: bool = False) -> None:
    """Put `content` at `path` in one step, making its folder; raises OutputRefused where that cannot or may not be."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputRefused(f"{path} exists and is not overwritten; give another folder, or --overwrite.")
    write_atomic(path, content)
