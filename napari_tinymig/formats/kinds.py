"""What a file is: by its content first, by its name where the content says nothing; of a DICOM file, which series;
which data file is whose; why it is none that can be opened."""

from __future__ import annotations

import difflib
import gzip
import os
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ..base.errors import TinyMIGError, UnreadableInput, reading
from .declared import format_by_suffix, image_suffixes, lossy_suffixes
from .scan_file import InputItem, Kind

FOREIGN_IMAGES = (
    *(".gif", ".heic", ".heif", ".avif", ".jp2", ".psd", ".raw", ".nef", ".cr2", ".fda", ".e2e"),
    *(".mgz", ".mgh", ".hdr", ".img", ".npy", ".npz", ".par", ".rec", ".mnc", ".vol", ".svs", ".czi"),
)
DOCUMENTS = (
    *(".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".yaml", ".yml", ".toml"),
    *(".ini", ".cfg", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ods", ".odt", ".ppt", ".pptx", ".py", ".ipynb", ".m"),
    *(".r", ".sh", ".bat", ".ps1", ".db", ".lnk", ".url", ".bval", ".bvec", ".safetensors", ".onnx", ".pt", ".pth"),
)
"""Names that say text, table, script or model: passed over in a folder without a word."""
MAX_FILE_BYTES = 8_000_000_000
"""Largest file that is opened: more than the largest volume that is read takes in any format."""
MOST_MASK_CODES = 16
"""Different grey values up to which a picture called a mask is read as labels (chosen; no task has more than 3)."""
_MASK_NAME = re.compile(r"(^|[_\-. ])(mask|label|labels|seg|segmentation)s?$", re.IGNORECASE)
_GZIPPED = (".nii.gz", ".img.gz", ".hdr.gz", ".raw.gz")
_GZIP = b"\x1f\x8b"
SNIFFED = 352
"""Bytes that tell every format: a NIfTI header's mark stands last."""
Series = tuple[tuple[Any, ...], str]
"""What tells stacks apart, and the series number."""


def suffix_of(path: Path) -> str:
    """The lower-case suffix, '.nii.gz' as one."""
    name = path.name.lower()
    return next((double for double in _GZIPPED if name.endswith(double)), path.suffix.lower())


def stem_of(path: Path) -> str:
    """The file name without its suffix ('.nii.gz' counts as one); a DICOM name such as 1.2.840.7 keeps its dots."""
    suffix = suffix_of(path)
    known = (*image_suffixes(), *FOREIGN_IMAGES, *_GZIPPED)
    return path.name[: len(path.name) - len(suffix)] if suffix in known else path.name


def is_mask_name(path: Path) -> bool:
    """Whether a file says by its name that it is a mask: eye_mask.png, case-seg.nii.gz, labels.png."""
    return _MASK_NAME.search(stem_of(path)) is not None


def is_mask_picture(path: Path) -> bool:
    """Whether a picture is a mask: called one, and of indexed colours or of a few codes in a single channel."""
    import numpy as np
    from PIL import Image

    if (
        not is_mask_name(path)
        or suffix_of(path) in lossy_suffixes()
        or format_by_suffix(suffix_of(path)) != "photograph"
    ):
        return False
    try:
        with Image.open(path) as picture:
            if picture.mode == "P":
                return True
            grey = picture.mode in ("1", "L", "I", "I;16")
            return grey and len(np.unique(np.asarray(picture))) <= MOST_MASK_CODES
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def first_look(path: Path) -> tuple[Kind, Series | str]:
    """What a file is and, of a DICOM file, its series or the sentence why that cannot be told; opened once."""
    try:
        with path.open("rb") as stream:
            start = stream.read(SNIFFED)
            kind = format_of(path, start)
            if kind != "dicom" or is_dicomdir(path):
                return kind, ""
            stream.seek(0)
            with reading(path, "a DICOM image"):
                return kind, _series_key(path, start, stream)
    except TinyMIGError as e:
        return "dicom", str(e)
    except OSError:
        return format_of(path), ""


def _series_key(path: Path, start: bytes, stream: BinaryIO) -> Series:
    """The series of a file, open at its first byte. Raises whatever pydicom raises for damaged files."""
    import pydicom

    tags = [
        "SeriesInstanceUID",
        "SeriesNumber",
        "Rows",
        "Columns",
        "ImageOrientationPatient",
        "NumberOfFrames",
        "Modality",
    ]
    if start[128:132] != b"DICM":
        raise UnreadableInput(
            f"{path.name} is named like DICOM and lacks its mark (DICM at byte 128); expected a DICOM file; export it "
            "again."
        )
    dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=[*tags, "SOPInstanceUID", "SOPClassUID"])
    direction = dataset.get("ImageOrientationPatient")
    rounded = tuple(round(float(v), 2) + 0.0 for v in direction) if direction else ()
    multi = str(dataset.get("SOPInstanceUID")) if int(dataset.get("NumberOfFrames", 1) or 1) > 1 else ""
    series = str(dataset.get("SeriesInstanceUID", path))
    number = str(dataset.get("SeriesNumber", "") or "")
    is_picture = dataset.get("Rows") is not None and dataset.get("Modality") != "SEG"
    return (series, str(dataset.get("Rows")), str(dataset.get("Columns")), rounded, multi, is_picture), number


def is_dicomdir(path: Path) -> bool:
    """Whether this is the index of a DICOM medium, which holds no image."""
    return path.name.upper() == "DICOMDIR"


def format_of(path: Path, start: bytes | None = None) -> Kind:
    """The format by the first bytes, whatever the name says; by the name where they say nothing. start: the first
    `SNIFFED` bytes as stored, where they were read already."""
    found = _sniffed(first_bytes(path, SNIFFED) if start is None or start[:2] == _GZIP else start)
    if found != "unknown":
        return found
    return format_by_suffix(suffix_of(path))  # type: ignore[return-value]


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a regular file, unpacked if it is gzip; b'' for anything that cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as stream:
            start = stream.read(count)
            if start[:2] != _GZIP:
                return start
            stream.seek(0)
            with gzip.GzipFile(fileobj=stream) as packed:
                return packed.read(count)
    except (OSError, EOFError, zlib.error):
        return b""


def _sniffed(start: bytes) -> Kind:
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "photograph"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "photograph"
    if (
        start[:2] == b"BM"
        and len(start) > 18
        and struct.unpack("<I", start[14:18])[0] in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "photograph"
    if start.startswith(b"NRRD0"):
        return "nrrd"
    if start.startswith((b"ObjectType", b"NDims")):
        return "mha"
    if start[344:348] in (b"n+1\0", b"ni1\0") or start[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti"
    return "unknown"


def is_text(path: Path) -> bool:
    """Whether the beginning of a file is text: no control bytes but tabs and line ends."""
    start = first_bytes(path, 512)
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in start)


def data_files(header: Path, kind: Kind) -> tuple[Path, ...]:
    """The files in the same folder that hold the voxels of a header (.mhd, .nhdr, .hdr); () where it holds its own."""
    if kind == "nifti":
        is_pair = suffix_of(header) in (".hdr", ".hdr.gz")
        images = [header.with_name(stem_of(header) + ending) for ending in (".img", ".img.gz", ".IMG")]
        return tuple(p for p in images if p.is_file())[:1] if is_pair else ()
    if kind not in ("mha", "nrrd"):
        return ()
    key = rb"(?im)^\s*ElementDataFile\s*=\s*(.+?)\s*$" if kind == "mha" else rb"(?im)^data ?file:\s*(.+?)\s*$"
    named = re.search(key, first_bytes(header, 1 << 16))
    name = named.group(1).decode("utf-8", "replace") if named else ""
    if not name or "\0" in name or name.upper() in ("LOCAL", "LIST"):
        return ()
    path = header.parent / name
    return (path,) if is_there(path) and path.parent == header.parent else ()


def is_there(path: Path) -> bool:
    """Whether a path is a file; no, too, for a name that the system finds too long, where `Path.is_file` raises."""
    return os.path.isfile(path)


def inside_folder(header: Path, name: str) -> Path:
    """The data file that a header names. Raises UnreadableInput where it is not there, or outside the header's folder:
    a file that came from elsewhere must not make others be read."""
    path = header.parent / name
    if "\0" in name or not path.resolve().is_relative_to(header.parent.resolve()):
        raise UnreadableInput(
            f"{header.name} names the data file {name}, outside its own folder; expected it beside; copy both together."
        )
    if not is_there(path):
        raise UnreadableInput(
            f"{header.name} names the data file {name}, which is not there; expected it beside; copy both."
        )
    return path


def owners(files: Iterable[Path]) -> dict[Path, Path]:
    """Data file -> its header, of the headers among `files`."""
    headers = [p for p in files if suffix_of(p) in (".mhd", ".nhdr", ".hdr", ".hdr.gz")]
    return {data: header for header in headers for data in data_files(header, format_of(header))}


def headers_for_data(given: list[Path]) -> list[Path]:
    """The paths with a header in the place of each data file of its own, as a shell's * gives both."""
    out: list[Path] = []
    known: dict[Path, dict[Path, Path]] = {}
    for path in given:
        if path.parent not in known:
            siblings = path.parent.glob("*.[mMnNhH]*") if os.path.isdir(path.parent) else ()
            known[path.parent] = owners(sorted(siblings))
        out.append(known[path.parent].get(path, path))
    return out


def file_item(path: Path, kind: Kind) -> InputItem:
    """One file of a known kind, with the data files of a header."""
    files = (path, *data_files(path, kind))
    return InputItem(path, kind, stem_of(path), files)


def why_no_file(path: Path) -> str:
    """Why `path` is no file that can be opened, '' if it is one."""
    if not os.path.exists(path):  # unlike `Path.exists`, no error where a name is too long
        return _not_there(path)
    if not path.is_file():
        return f"{path} is a device or a pipe; expected an image file or a folder; check the path."
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        limit = f"{MAX_FILE_BYTES / 1e9:.0f} GB"
        return f"{path.name} holds {size / 1e9:.0f} GB; expected at most {limit}; crop the image or cut it into parts."
    return ""


def _not_there(path: Path) -> str:
    if os.path.islink(path):
        return f"{path} is a link to {path.readlink()}, which is not there; expected an image; copy the file itself."
    siblings = [p.name for p in path.parent.iterdir()] if os.path.isdir(path.parent) else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"did you mean {close[0]}?" if close else "check the path."
    return f"{path} does not exist; expected an image file or a folder; {hint}"
