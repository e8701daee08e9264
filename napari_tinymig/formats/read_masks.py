"""Masks read back: pictures, volumes, DICOM-SEG; foreign label codes turned into ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnreadableInput, UnsupportedInput
from ..base.records import Scan
from .kinds import format_of, stem_of
from .photographs import decode_picture_file, turn_upright
from .scan_file import MaskFile, ScanFile, StoredVolume, reading


def parse_label_map(text: str) -> dict[int, int]:
    """'0:2,128:1,255:0' as {0: 2, 128: 1, 255: 0}: foreign code -> ours. Raises ValueError with the right form."""
    wrong = f"label map '{text}' is not understood; expected foreign:ours pairs such as 0:2,128:1,255:0, each 0-255"
    pairs: dict[int, int] = {}
    for part in text.split(","):
        try:
            foreign, ours = (int(v) for v in part.split(":"))
        except ValueError as e:
            raise ValueError(f"{wrong} (at '{part}').") from e
        if foreign in pairs or not 0 <= ours <= 255:
            raise ValueError(f"{wrong} (at '{part}').")
        pairs[foreign] = ours
    return pairs


def apply_label_map(
    codes: NDArray[Any], label_map: Mapping[int, int] | None, allowed: Iterable[int] | None, name: str
) -> NDArray[np.uint8]:
    """Codes turned into our labels (uint8, same shape). Raises UnsupportedInput naming codes that are unknown."""
    if np.issubdtype(codes.dtype, np.floating):
        if not np.isfinite(codes).all() or (codes != np.round(codes)).any():
            raise UnsupportedInput(f"{name} holds fractions or NaN; expected whole label numbers; is it an image?")
        codes = codes.astype(np.int64)
    found = np.unique(codes)
    known = set(label_map) if label_map else set(allowed) if allowed is not None else set(range(256))
    unknown = [int(c) for c in found if int(c) not in known]
    if unknown:
        shown = ", ".join(map(str, unknown[:8])) + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        hint = "is it an image or a JPEG?" if len(unknown) > 8 else f"say what they mean: --labels {_example(found)}"
        raise UnsupportedInput(
            f"{name} holds the label codes {shown}; expected {', '.join(map(str, sorted(known)))}; {hint}"
        )
    if not label_map:
        return codes.astype(np.uint8)
    out = np.zeros(codes.shape, np.uint8)
    for foreign, ours in label_map.items():
        out[codes == foreign] = ours
    return out


def _example(found: NDArray[Any]) -> str:
    return ",".join(f"{int(code)}:{i}" for i, code in enumerate(found[:8]))


def read_mask(
    path: str | Path,
    label_map: Mapping[int, int] | None = None,
    *,
    allowed: Iterable[int] | None = None,
    like: ScanFile | None = None,
) -> NDArray[np.uint8]:
    """Labels of a mask file: (H, W) of a picture, upright; (D, H, W) in patient order of a volume or DICOM-SEG.

    label_map: foreign code -> ours. allowed: codes that may occur where no map is given (default 0-255). like: the
    image it belongs to; its grid is then demanded. Raises UnreadableInput, or UnsupportedInput naming unknown codes
    or another grid.
    """
    return open_mask(path, label_map, allowed=allowed, like=like).labels


def open_mask(
    path: str | Path,
    label_map: Mapping[int, int] | None = None,
    *,
    allowed: Iterable[int] | None = None,
    like: ScanFile | None = None,
) -> MaskFile:
    """As `read_mask`, with spacing and geometry: from the file, or for pictures from `like`."""
    path = Path(path)
    if not path.is_file():
        raise UnreadableInput(f"{path} does not exist; expected a mask file; check the path.")
    kind = format_of(path)
    with reading(path, "a mask"):
        if kind == "photograph":
            return _picture_mask(path, label_map, allowed, like)
        if kind not in LOADERS:
            raise UnreadableInput(
                f"{path.name} is of a type that is not read as a mask; expected PNG, NIfTI, NRRD or MHA."
            )
        stored = LOADERS[kind](path, like)
        codes = stored.geometry.to_canonical(stored.array)
        labels = np.ascontiguousarray(apply_label_map(codes, label_map, allowed, path.name))
        if like is not None:
            _same_grid(labels.shape, like, path.name)
            _same_place(stored, like, path.name)
        return MaskFile(path, stem_of(path), labels, stored.geometry.spacing_mm, stored.geometry, stored)


def _nifti(path: Path, like: ScanFile | None) -> StoredVolume:
    from .nifti import load_nifti

    return load_nifti(path)


def _nrrd(path: Path, like: ScanFile | None) -> StoredVolume:
    from .nrrd import load_nrrd

    return load_nrrd(path)


def _metaimage(path: Path, like: ScanFile | None) -> StoredVolume:
    from .metaimage import load_metaimage

    return load_metaimage(path)


def _dicom_seg(path: Path, like: ScanFile | None) -> StoredVolume:
    from .dicom_seg import load_dicom_seg

    return load_dicom_seg(path, like)


LOADERS: dict[str, Callable[[Path, ScanFile | None], StoredVolume]] = {
    "nifti": _nifti,
    "nrrd": _nrrd,
    "mha": _metaimage,
    "dicom": _dicom_seg,
}
"""Format -> its stored volume, from (path, the image that a mask belongs to)."""


def _picture_mask(
    path: Path, label_map: Mapping[int, int] | None, allowed: Iterable[int] | None, like: ScanFile | None
) -> MaskFile:
    codes, orientation, _ = decode_picture_file(path, labels=True)
    if codes.ndim == 3:
        if not ((codes[..., 0] == codes[..., 1]) & (codes[..., 0] == codes[..., 2])).all():
            raise UnsupportedInput(
                f"{path.name} is a colour picture; expected a grey or indexed one whose values are label numbers; "
                "convert it first."
            )
        codes = codes[..., 0]
    labels = apply_label_map(codes, label_map, allowed, path.name)
    upright = np.ascontiguousarray(turn_upright(labels, orientation))
    if like is None:
        return MaskFile(path, stem_of(path), upright, None, None, None, orientation)
    grid = like.scan.grid_shape[-2:]
    if upright.shape != grid and orientation == 1 and like.exif_orientation >= 5:
        # painted by a program that ignores the photograph's tag: its grid is the stored one
        turned = turn_upright(labels, like.exif_orientation)
        upright = np.ascontiguousarray(turned) if turned.shape == grid else upright
    _same_grid(upright.shape, like, path.name)
    spacing = None if like.scan.spacing_mm is None else like.scan.spacing_mm[-2:]
    return MaskFile(path, stem_of(path), upright, spacing, None, None, orientation)


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
