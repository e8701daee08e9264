"""Masks read back: pictures, volumes, DICOM-SEG; foreign label codes turned into ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnreadableInput, UnsupportedInput, reading
from ..base.records import Scan
from .foreign_masks.class_files import class_files, lone_inner, put_together
from .foreign_masks.legend import apply_label_map, names_colours
from .foreign_masks.other_grids import in_place, shrunk
from .foreign_masks.smeared import settled_codes
from .kinds import format_of, is_there, stem_of
from .photographs import decode_picture_file, turn_upright
from .scan_file import MaskFile, ScanFile, StoredVolume

__all__ = ["mask_scan_file", "open_codes", "open_mask", "read_mask"]


_GREY_JPEG_SPREAD = 12  # what compression alone makes of three equal channels


def read_mask(
    path: str | Path,
    label_map: Mapping[int, int] | None = None,
    *,
    allowed: Iterable[int] | None = None,
    like: ScanFile | None = None,
) -> NDArray[np.uint8]:
    """Labels of a mask file: (H, W) of a picture, upright; (D, H, W) in patient order of a volume or DICOM-SEG.

    label_map: foreign code -> ours, see `parse_label_map`. allowed: codes that may occur where no map is given (default
    0-255). like: the image it belongs to; its grid is then demanded. Raises UnreadableInput, or UnsupportedInput naming
    unknown codes or another grid.
    """
    return open_mask(path, label_map, allowed=allowed, like=like).labels


def open_mask(
    path: str | Path,
    label_map: Mapping[int, int] | None = None,
    *,
    allowed: Iterable[int] | None = None,
    like: ScanFile | None = None,
) -> MaskFile:
    """As `read_mask`, with spacing and geometry: from the file, or for pictures from `like`.

    A file of one class (`a_disc.png`, `disc/a.png`) stands for all classes of its image.
    """
    path = Path(path)
    if not is_there(path):
        raise UnreadableInput(f"{path} does not exist; expected a mask file; check the path.")
    group = class_files(path)
    if group is not None and (like is None or like.name.casefold() in (group.name.casefold(), group.first.name)):
        return put_together(group, lambda one: _open_one(one, label_map, allowed, like))
    mask = _open_one(path, label_map, allowed, like)
    if like is None and label_map is None and (problem := lone_inner(path, mask.labels)):
        raise UnsupportedInput(problem)
    return mask


def open_codes(path: Path) -> NDArray[np.uint8]:
    """The codes of one file as they stand, whatever files of other classes lie beside it."""
    return _open_one(path, None, None, None).labels


def _open_one(
    path: Path, label_map: Mapping[int, int] | None, allowed: Iterable[int] | None, like: ScanFile | None
) -> MaskFile:
    kind = format_of(path)
    with reading(path, "a mask"):
        if kind == "photograph":
            return _picture_mask(path, label_map, allowed, like)
        if kind not in LOADERS:
            raise UnreadableInput(
                f"{path.name} is of a type that is not read as a mask; expected PNG, NIfTI, NRRD or MHA."
            )
        stored = LOADERS[kind](path, like)
        if like is not None and like.geometry is not None:
            stored = in_place(stored, like.geometry, path.name)
        codes = stored.geometry.to_canonical(stored.array)
        labels = np.ascontiguousarray(apply_label_map(codes, label_map, allowed, path.name))
        if like is not None:
            _same_grid(labels.shape, like, path.name)
            _same_place(stored, like, path.name)
        spacing = stored.geometry.spacing_mm
        return MaskFile(path, stem_of(path), labels, spacing, stored.geometry, stored, notes=stored.notes)


def _nifti(path: Path, like: ScanFile | None) -> StoredVolume:
    from .nifti import load_nifti

    return load_nifti(path)


def _nrrd(path: Path, like: ScanFile | None) -> StoredVolume:
    from .nrrd import load_segments

    return load_segments(path)


def _metaimage(path: Path, like: ScanFile | None) -> StoredVolume:
    from .metaimage import load_metaimage

    return load_metaimage(path)


def _dicom(path: Path, like: ScanFile | None) -> StoredVolume:
    """A DICOM-SEG, or contours on `like` or on the series in the file's own folder."""
    from .dicom_seg import is_contours, load_dicom_seg

    if not is_contours(path):
        return load_dicom_seg(path, like)
    from .foreign_masks.contours import load_contours

    return load_contours(path, like or _series_beside(path))


LOADERS: dict[str, Callable[[Path, ScanFile | None], StoredVolume]] = {
    "nifti": _nifti,
    "nrrd": _nrrd,
    "mha": _metaimage,
    "dicom": _dicom,
}
"""Format -> its stored volume, from (path, the image that a mask belongs to)."""


def _series_beside(path: Path) -> ScanFile | None:
    """The DICOM series in the folder of `path` that it names, or the only one."""
    from .dicom import read_dicom
    from .dicom_seg import referenced_series, series_of
    from .find import find_inputs

    items = [i for i in find_inputs([path.parent]) if i.format == "dicom" and not i.problem and path not in i.files]
    named = referenced_series(path)
    items = [i for i in items if series_of(i.files[0]) in named] or items
    return read_dicom(items[0]) if len(items) == 1 else None


def _picture_mask(
    path: Path, label_map: Mapping[int, int] | None, allowed: Iterable[int] | None, like: ScanFile | None
) -> MaskFile:
    codes, orientation, kind = decode_picture_file(path, labels=not names_colours(label_map))
    if codes.ndim == 3 and not names_colours(label_map):
        spread = int((codes.max(-1).astype(np.int32) - codes.min(-1)).max())
        if spread <= (_GREY_JPEG_SPREAD if kind in ("jpeg", "webp") else 0):
            codes = codes[..., 1]
    elif codes.ndim == 2 and names_colours(label_map):
        codes = np.repeat(codes[..., None], 3, 2)
    known = label_map or allowed
    settled, note = settled_codes(codes, known, path.name)
    labels = apply_label_map(settled, label_map, allowed, path.name)
    upright = np.ascontiguousarray(turn_upright(labels, orientation))
    notes = (note,) if note else ()
    if like is None:
        return MaskFile(path, stem_of(path), upright, None, None, None, orientation, notes)
    grid = like.scan.grid_shape[-2:]
    if upright.shape != grid and orientation == 1 and like.exif_orientation >= 5:
        # painted by a program that ignores the photograph's tag: its grid is the stored one
        turned = turn_upright(labels, like.exif_orientation)
        upright = np.ascontiguousarray(turned) if turned.shape == grid else upright
    if (small := shrunk(upright, grid)) is not None:
        notes = (
            *notes,
            f"Its {upright.shape[1]} x {upright.shape[0]} pixels are blocks of one label each; read on the image.",
        )
        upright = small
    _same_grid(upright.shape, like, path.name)
    spacing = None if like.scan.spacing_mm is None else like.scan.spacing_mm[-2:]
    return MaskFile(path, stem_of(path), upright, spacing, None, None, orientation, notes)


def _same_grid(shape: tuple[int, ...], like: ScanFile, name: str) -> None:
    grid = like.scan.grid_shape
    if shape != grid and (1, *shape) != grid and shape != (1, *grid):
        raise UnsupportedInput(
            f"{name} has {' x '.join(map(str, shape))} pixels and its image {like.name} "
            f"{' x '.join(map(str, grid))}; expected equal grids; resample the mask onto the image."
        )


def _same_place(stored: StoredVolume, like: ScanFile, name: str) -> None:
    """Raise UnsupportedInput if a mask's corners lie more than half a voxel from the image's."""
    mine, theirs = stored.geometry, like.geometry
    if theirs is None or not (mine.oriented and theirs.oriented and mine.has_spacing and theirs.has_spacing):
        return
    corners = np.array([[z, y, x, 1.0] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    corners[:, :3] *= np.array(theirs.canonical_shape) - 1
    apart = np.abs(corners @ (mine.canonical_affine - theirs.canonical_affine).T)[:, :3].max()
    if apart > 0.5 * min(theirs.spacing_mm or (1.0,)):
        raise UnsupportedInput(
            f"{name} lies up to {apart:.1f} mm away from its image {like.name}; expected the same place; "
            "use the mask of this very image."
        )


def mask_scan_file(mask: MaskFile) -> ScanFile:
    """A mask as a ScanFile, so that it can be shown, mended and written again in its own grid.

    scan.pixels are the labels, (1, H, W) for pictures; a picture's format is PNG.
    """
    volume = mask.labels if mask.labels.ndim == 3 else mask.labels[None]
    pixels = volume.astype(np.int16) if volume.shape[-1] == 3 else volume
    stored = mask.stored
    if mask.geometry is None:
        shape, header, kind, orientation = mask.labels.shape[-2:], None, "png", mask.exif_orientation
        shape = shape[::-1] if orientation >= 5 else shape
    elif stored is None:
        shape, header, kind, orientation = mask.geometry.shape, None, "other", 1
    else:
        shape, header, kind, orientation = stored.file_shape, stored.header, stored.format, 1
    return ScanFile(
        path=mask.path,
        name=mask.name,
        scan=Scan(pixels, mask.spacing_mm if mask.labels.ndim == 3 else None, mask.name),
        format=kind,  # type: ignore[arg-type]
        stored_shape=tuple(shape),
        stored_dtype=np.dtype(np.uint8),
        geometry=mask.geometry,
        exif_orientation=orientation,
        header=header,
        files=(mask.path,),
    )
