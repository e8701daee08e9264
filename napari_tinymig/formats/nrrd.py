"""NRRD (.nrrd, .nhdr) through pynrrd: volumes in patient order, masks with the input's space."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnsupportedInput, reading
from ..base.geometry import Geometry
from .foreign_masks.segments import named_structures, one_layer, segments_of
from .kinds import inside_folder
from .nifti import three_axes
from .scan_file import MAX_VOLUME_VOXELS, InputItem, ScanFile, StoredVolume, too_large, volume_file

_SIGNS_TO_RAS = {
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
}
_KEPT = (
    "space",
    "space dimension",
    "space directions",
    "space origin",
    "space units",
    "kinds",
    "spacings",
    "units",
    "centerings",
    "measurement frame",
)
_NOT_SPACE = ("vector", "list", "complex", "color", "tensor", "matrix", "time", "quaternion", "component", "point")


_PACKED: dict[str, Callable[[Any], Any]] = {"gzip": lambda s: gzip.GzipFile(fileobj=s), "bzip2": bz2.BZ2File}
_PACKED |= {"gz": _PACKED["gzip"], "bz2": _PACKED["bzip2"]}


def read_nrrd(item: InputItem) -> ScanFile:
    """The volume of `item` in patient order. Raises UnreadableInput or UnsupportedInput (4-D, vectors)."""
    with reading(item.path, "an NRRD volume"):
        return volume_file(item, load_nrrd(item.path))


def load_nrrd(path: Path) -> StoredVolume:
    """Voxels and geometry of an NRRD file, its data beside the header or in a file of their own."""
    header = dict(nrrd.read_header(str(path)))
    sizes = tuple(int(n) for n in header["sizes"])
    space = _space_axes(header, sizes)
    if any(sizes[i] > 1 for i in range(len(sizes)) if i not in space):
        kinds = ", ".join(map(str, header.get("kinds", []))) or "without a direction"
        raise UnsupportedInput(
            f"{path.name} has sizes {' x '.join(map(str, sizes))} on axes of kind {kinds}; expected three axes of "
            "space; save the one grey volume you mean as a file of its own."
        )
    shape = three_axes(tuple(sizes[i] for i in space), path.name)
    if (count := math.prod(shape)) > MAX_VOLUME_VOXELS:
        raise too_large(count, " x ".join(map(str, shape)), path.name, MAX_VOLUME_VOXELS)
    if "data file" in header or "datafile" in header:
        _check_data_file(path, str(header.get("data file", header.get("datafile"))))
    geometry = nrrd_geometry(_of_axes(header, space), shape, len(space))
    array = _voxels(path)
    return StoredVolume(array.reshape(shape, order="F"), geometry, sizes, array.dtype, _kept(header), "nrrd")


def load_segments(path: Path) -> StoredVolume:
    """A mask: as `load_nrrd`, or a segmentation of 3D Slicer, its layers put into one; a note names its segments."""
    header = dict(nrrd.read_header(str(path)))
    segments = segments_of(header)
    sizes = tuple(int(n) for n in header["sizes"])
    space = _space_axes(header, sizes)
    if not segments or len(sizes) != 4 or space != [1, 2, 3] or sizes[0] == 1:
        return replace(load_nrrd(path), notes=named_structures({value: name for name, _, value in segments}))
    shape = (sizes[1], sizes[2], sizes[3])
    if (count := math.prod(sizes)) > MAX_VOLUME_VOXELS:
        raise too_large(count, " x ".join(map(str, sizes)), path.name, MAX_VOLUME_VOXELS)
    if "data file" in header or "datafile" in header:
        _check_data_file(path, str(header.get("data file", header.get("datafile"))))
    geometry = nrrd_geometry(_of_axes(header, space), shape, 3)
    labels = one_layer(_voxels(path), segments, path.name)
    kept = _of_axes(_kept(header), space)
    kept.pop("kinds", None)
    notes = named_structures({i: name for i, (name, _, _) in enumerate(segments, 1)})
    return StoredVolume(labels, geometry, shape, labels.dtype, kept, "nrrd", notes)


def _voxels(path: Path) -> NDArray[Any]:
    """The voxels (sizes of the header) of a file whose sizes were checked; never more bytes are unpacked than the
    header declares. Raises UnsupportedInput where there are more."""
    with path.open("rb") as stream:
        header = nrrd.read_header(stream)
        encoding = str(header.get("encoding", "")).lower()
        if encoding not in _PACKED and encoding != "raw":
            return np.asarray(nrrd.read(str(path), index_order="F")[0])
        skips = {k: int(header.get(k, header.get(k.replace(" ", ""), 0))) for k in ("line skip", "byte skip")}
        name = header.get("data file", header.get("datafile"))
        with (path.parent / str(name)).open("rb") if name else nullcontext(stream) as data:
            if encoding == "raw":
                if not any(skips.values()):
                    _check_bytes(path.name, os.fstat(data.fileno()).st_size - data.tell(), _declared_bytes(header))
                return np.asarray(nrrd.read(str(path), index_order="F")[0])
            if skips["line skip"] or skips["byte skip"] not in (0, -1):
                raise UnsupportedInput(
                    f"{path.name} skips lines or bytes of packed data; expected none; save it again uncompressed."
                )
            return _unpacked(path.name, dict(header), data, encoding)


def _unpacked(name: str, header: dict[str, Any], data: Any, encoding: str) -> NDArray[Any]:
    """The voxels of a packed stream."""
    declared = _declared_bytes(header)
    with _PACKED[encoding](data) as packed:
        raw = packed.read(declared)
        more = len(packed.read(1))
    _check_bytes(name, len(raw) + more, declared)
    plain = {k: v for k, v in header.items() if k not in ("data file", "datafile", "byte skip", "byteskip")}
    return np.asarray(nrrd.read_data(plain | {"encoding": "raw"}, io.BytesIO(raw), index_order="F"))


def _declared_bytes(header: Mapping[str, Any]) -> int:
    """Bytes that the sizes and the type of a header ask for."""
    kind = str(header["type"]).lower()
    widths = {8: ("int64", "longlong", "long long", "double"), 1: ("char", "int8"), 2: ("short", "int16")}
    width = next((n for n, words in widths.items() if any(word in kind for word in words)), 4)
    return width * math.prod(int(n) for n in header["sizes"])


def _check_bytes(name: str, found: int, declared: int) -> None:
    if found != declared:
        least = "at least " if found > declared else ""
        raise UnsupportedInput(
            f"{name} holds {least}{found} bytes of voxels and its header declares {declared}; expected as many; export "
            "it again."
        )


def _kept(header: dict[str, Any]) -> dict[str, Any]:
    return {key: header[key] for key in _KEPT if key in header}


def _space_axes(header: dict[str, Any], sizes: tuple[int, ...]) -> list[int]:
    """Which axes lie in space: those with a direction, or of no kind that says list, time, colour or the like."""
    kinds = [str(k).lower() for k in header.get("kinds", [])]
    directions = header.get("space directions")
    listed = {i for i, kind in enumerate(kinds) if any(word in kind for word in _NOT_SPACE)}
    if directions is not None:
        rows = [np.full(3, np.nan) if row is None else np.asarray(row, np.float64) for row in directions]
        without = {i for i, row in enumerate(rows) if np.isnan(row).all()}
        listed |= without if len(without) < len(rows) else set()
    return [i for i in range(len(sizes)) if i not in listed]


def _of_axes(header: dict[str, Any], axes: list[int]) -> dict[str, Any]:
    """The header with the directions and spacings of these axes alone."""
    out = dict(header)
    for key in ("space directions", "spacings"):
        if out.get(key) is not None and len(out[key]) >= len(axes):
            out[key] = [out[key][i] for i in axes if i < len(out[key])]
    return out


def _check_data_file(path: Path, name: str) -> None:
    """Raise unless the data file that a header names is one file in the header's own folder or below."""
    if name.upper().startswith("LIST") or "%" in name:
        raise UnsupportedInput(f"{path.name} spreads its slices over several files ({name}); expected one data file.")
    inside_folder(path, name)


def nrrd_geometry(header: dict[str, Any], shape: tuple[int, int, int], axes: int) -> Geometry:
    """Geometry in mm of an NRRD header; axis sizes alone where no anatomical space is named."""
    directions = header.get("space directions")
    if directions is not None:
        rows = [np.asarray(row, np.float64) for row in directions if row is not None]
        matrix = np.eye(3)
        for axis, row in enumerate(rows[:3]):
            matrix[: len(row), axis] = row
        matrix[:, len(rows) :] = _completed(matrix[:, : len(rows)])
        signs = _SIGNS_TO_RAS.get(str(header.get("space", "")).lower())
        if np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-12:
            if signs is not None:
                origin = np.asarray(header.get("space origin", np.zeros(3)), np.float64)
                affine = np.eye(4)
                affine[:3, :3], affine[:3, 3] = matrix, np.where(np.isfinite(origin), origin, 0.0)
                return Geometry(shape, np.diag([*signs, 1.0]) @ affine)
            return _axes_alone(shape, np.linalg.norm(matrix, axis=0), True)
    spacings = np.asarray(header.get("spacings", [math.nan]), np.float64)[:axes]
    usable = len(spacings) == axes and bool((np.isfinite(spacings) & (spacings != 0)).all())
    sizes = np.ones(3)
    if usable:
        sizes[: len(spacings[:3])] = np.abs(spacings[:3])
    return _axes_alone(shape, sizes, usable)


def _completed(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit columns that complete one or two direction columns of a 1-D or 2-D image to three; none for three."""
    if columns.shape[1] == 3:
        return np.empty((3, 0))
    if columns.shape[1] == 2:
        normal = np.cross(columns[:, 0], columns[:, 1])
        return (normal / max(float(np.linalg.norm(normal)), 1e-30))[:, None]
    return np.eye(3)[:, columns.shape[1] :]


def _axes_alone(shape: tuple[int, int, int], sizes: NDArray[np.float64], has_spacing: bool) -> Geometry:
    affine = np.diag([-sizes[0], -sizes[1], sizes[2], 1.0])
    return Geometry(shape, affine, oriented=False, has_spacing=has_spacing)


def nrrd_bytes(array: NDArray[Any], scan_file: ScanFile) -> bytes:
    """An NRRD file (gzip) of `array` (i, j, k), stored order, with the input's space; LPS for other formats.

    The same mask gives the same bytes at any time: the writer's comment with the date is left out.
    """
    if scan_file.format == "nrrd":
        header, shape = dict(scan_file.header), scan_file.stored_shape
    else:
        header, shape = _header_of(scan_file.geometry), array.shape
    header |= {"encoding": "gzip"}
    out = io.BytesIO()
    nrrd.write(out, array.reshape(shape, order="F"), header, index_order="F", compression_level=4)
    return re.sub(rb"\n# on [^\n]*", b"", out.getvalue(), count=1)


def _header_of(geometry: Geometry | None) -> dict[str, Any]:
    if geometry is None or not geometry.oriented:
        sizes = np.ones(3) if geometry is None else np.linalg.norm(geometry.affine[:3, :3], axis=0)
        return {"spacings": sizes} if geometry is not None and geometry.has_spacing else {}
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.affine
    return {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        "space directions": lps[:3, :3].T,
        "space origin": lps[:3, 3],
    }
