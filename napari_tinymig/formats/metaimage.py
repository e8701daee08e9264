"""MetaImage (.mha, .mhd with its data file): a small reader and writer of the plain format that ITK writes."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnreadableInput, UnsupportedInput, reading
from ..base.geometry import Geometry, lps_from_ras
from .kinds import inside_folder
from .nifti import three_axes
from .scan_file import MAX_VOLUME_VOXELS, InputItem, ScanFile, StoredVolume, too_large, volume_file

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class MetaHeader:
    """Fields of a MetaImage header by lower-case key, and where in the file the data begin."""

    fields: dict[str, str]
    data_offset: int

    def numbers(self, *keys: str) -> NDArray[np.float64] | None:
        """The numbers of the first of `keys` that is there, else None."""
        for key in keys:
            if key in self.fields:
                return np.array([float(v) for v in self.fields[key].split()])
        return None

    def true(self, *keys: str) -> bool:
        """Whether one of `keys` is there and says true."""
        return any(self.fields.get(key, "").lower() in ("true", "1") for key in keys)


def read_metaimage(item: InputItem) -> ScanFile:
    """The volume of `item` in patient order. Raises UnreadableInput or UnsupportedInput (4-D, several channels)."""
    with reading(item.path, "a MetaImage volume (MHA, MHD)"):
        return volume_file(item, load_metaimage(item.path))


def load_metaimage(path: Path) -> StoredVolume:
    """Voxels and geometry of a MetaImage, its data behind the header or in a file of their own."""
    header = read_meta_header(path)
    sizes = tuple(int(n) for n in header.fields["dimsize"].split())
    shape = three_axes(sizes, path.name)
    if (count := math.prod(shape)) > MAX_VOLUME_VOXELS:
        raise too_large(count, " x ".join(map(str, shape)), path.name, MAX_VOLUME_VOXELS)
    channels = header.fields.get("elementnumberofchannels", "1")
    if int(channels) != 1:
        raise UnsupportedInput(f"{path.name} has {channels} channels; expected 1; export a grey volume.")
    geometry = meta_geometry(header, shape, len(sizes))
    array = _voxels(path, header, shape)
    return StoredVolume(array, geometry, sizes, array.dtype, header, "mha")


def read_meta_header(path: Path) -> MetaHeader:
    """The header of a .mha or .mhd file. Raises UnreadableInput where there is none."""
    with path.open("rb") as f:
        start = f.read(_MAX_HEADER_BYTES)
    fields: dict[str, str] = {}
    at = 0
    while at < len(start):
        end = start.find(b"\n", at)
        end = len(start) if end < 0 else end
        key, equals, value = start[at:end].decode("latin-1").partition("=")
        at = end + 1
        if not equals:
            if key.strip():
                break
            continue
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            break
    missing = [k for k in ("dimsize", "elementtype", "elementdatafile") if k not in fields]
    if missing:
        raise UnreadableInput(
            f"{path.name} has no MetaImage header (no {', '.join(missing)}); expected .mha or .mhd as ITK writes it; "
            "export it again."
        )
    return MetaHeader(fields, at)


def meta_geometry(header: MetaHeader, shape: tuple[int, int, int], axes: int) -> Geometry:
    """Geometry in mm; MetaImage positions are LPS, and its matrix lists the direction of each axis in turn."""
    spacing = header.numbers("elementspacing", "elementsize")
    known = spacing is not None and len(spacing) >= axes and bool((np.isfinite(spacing) & (spacing != 0)).all())
    sizes = np.ones(3)
    if known and spacing is not None:
        sizes[: min(3, axes)] = np.abs(spacing[: min(3, axes)])
    matrix = header.numbers("transformmatrix", "orientation", "rotation")
    origin = header.numbers("offset", "position", "origin")
    n = min(3, axes)
    direction, offset = np.eye(3), np.zeros(3)
    if matrix is not None and len(matrix) == axes * axes:
        direction[:n, :n] = matrix.reshape(axes, axes)[:n, :n].T
    if origin is not None and len(origin) >= n:
        offset[:n] = origin[:n]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * sizes, offset
    oriented = matrix is not None and axes >= 3 and abs(np.linalg.det(direction)) > 1e-12
    if not oriented:
        affine[:3, :3] = np.diag(sizes)
    return Geometry(shape, lps_from_ras(affine), oriented=oriented, has_spacing=known)


def _voxels(path: Path, header: MetaHeader, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Voxels (i, j, k) in the machine's byte order, from the same file or the one the header names."""
    kind = header.fields["elementtype"].upper().removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise UnsupportedInput(f"{path.name} has voxels of type {kind}; expected one of {', '.join(_TYPES)}.")
    big = header.true("binarydatabyteordermsb", "elementbyteordermsb")
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if big else "<")
    needed = math.prod(shape) * dtype.itemsize
    raw = _data_bytes(path, header, needed)
    if len(raw) < needed:
        raise UnreadableInput(
            f"{path.name} is cut short: {len(raw)} bytes of voxels found, {needed} expected; copy it again."
        )
    stored = np.frombuffer(raw, dtype, math.prod(shape)).reshape(shape, order="F")
    return stored.astype(dtype.newbyteorder("="))


def _data_bytes(path: Path, header: MetaHeader, needed: int) -> bytes:
    where = header.fields["elementdatafile"]
    if where.upper() == "LIST" or "%" in where:
        raise UnsupportedInput(
            f"{path.name} spreads its slices over several files ({where}); expected one data file; save it as .mha."
        )
    packed = header.true("compresseddata")
    most = needed + (1 << 20) if packed else needed  # what is packed badly is hardly longer than what it holds
    if where.upper() == "LOCAL":
        data_path, skip = path, header.data_offset
    else:
        data_path = inside_folder(path, where)
        skip = int(header.fields.get("headersize", "0"))
        skip = max(0, data_path.stat().st_size - needed) if skip < 0 else skip
    with data_path.open("rb") as stream:
        stream.seek(skip)
        raw = stream.read(most)
    if not header.true("binarydata") and "binarydata" in header.fields:
        raise UnsupportedInput(f"{path.name} holds its voxels as text; expected binary data; save it as .mha.")
    if packed:
        # 32 allows zlib and gzip streams; no more than needed is ever unpacked
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(raw, needed + 1)[:needed]
    return raw


def meta_bytes(array: NDArray[Any], scan_file: ScanFile) -> bytes:
    """A compressed .mha of `array` (i, j, k), stored order; from a MetaImage with its own geometry lines, from any
    other with the geometry's affine in LPS."""
    if scan_file.format == "mha":
        lines = _own_geometry_lines(scan_file.header, len(scan_file.stored_shape))
        sizes = scan_file.stored_shape
    else:
        lines, sizes = _geometry_lines(scan_file.geometry), array.shape
    kind = next((k for k, v in _TYPES.items() if np.dtype(v) == array.dtype), None)
    if kind is None:
        raise ValueError(
            f"voxels of type {array.dtype} do not fit into MetaImage; expected one of {set(_TYPES.values())}."
        )
    data = zlib.compress(array.astype(array.dtype.newbyteorder("<")).tobytes(order="F"), 4)
    header = [
        "ObjectType = Image",
        f"NDims = {len(sizes)}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(data)}",
        *lines,
        f"DimSize = {' '.join(map(str, sizes))}",
        f"ElementType = {kind}",
        "ElementDataFile = LOCAL",
    ]
    return "\n".join(header).encode("ascii") + b"\n" + data


_GEOMETRY_KEYS = {
    "TransformMatrix": ("transformmatrix", "orientation", "rotation"),
    "Offset": ("offset", "position", "origin"),
    "CenterOfRotation": ("centerofrotation",),
    "AnatomicalOrientation": ("anatomicalorientation",),
    "ElementSpacing": ("elementspacing", "elementsize"),
}


def _own_geometry_lines(header: MetaHeader, axes: int) -> list[str]:
    """The input's own geometry lines, to the digit."""
    lines = []
    for name, keys in _GEOMETRY_KEYS.items():
        value = next((header.fields[k] for k in keys if k in header.fields), None)
        if value:
            lines.append(f"{name} = {value}")
    return lines


def _geometry_lines(geometry: Geometry | None) -> list[str]:
    if geometry is None:
        return []
    lps = lps_from_ras(geometry.affine)
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    lines = []
    if geometry.oriented:
        lines += [f"TransformMatrix = {_digits((lps[:3, :3] / sizes).T.ravel())}", f"Offset = {_digits(lps[:3, 3])}"]
    return [*lines, f"ElementSpacing = {_digits(sizes)}"] if geometry.has_spacing else lines


def _digits(values: NDArray[np.float64]) -> str:
    return " ".join(repr(float(v)) for v in values)
