"""From paths that a user gives to the images in them: files, folders, DICOM series.

Rules for a folder: its own files only, no sub-folders, except sub-folders (three levels deep) that hold DICOM files.
Ignored without a word: hidden files, DICOMDIR, data files of .mhd/.nhdr headers, files whose name says text or table,
masks and overlays made earlier beside their images, and DICOM objects without an image (reports, segmentations) beside
some with. Every other file that looks like an image becomes an item, even if it turns out unreadable: it then fails
with its reason instead of vanishing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..base.errors import TinyMIGError
from .scan_file import InputItem, reading

PHOTOGRAPH_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
NRRD_SUFFIXES = (".nrrd", ".nhdr")
META_SUFFIXES = (".mha", ".mhd")
DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_FOREIGN_PICTURES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".psd", ".raw", ".nef", ".cr2", ".fda", ".e2e")
_FOREIGN_VOLUMES = (".mgz", ".mgh", ".hdr", ".img", ".npy", ".npz", ".par", ".rec", ".mnc", ".vol", ".svs", ".czi")
_FOREIGN_IMAGES = _FOREIGN_PICTURES + _FOREIGN_VOLUMES
_MASK_ENDINGS = ("_mask", "_overlay")
_MAX_DICOM_DEPTH = 3

Kind = Literal["photograph", "nifti", "nrrd", "mha", "dicom", "unknown"]


def suffix_of(path: Path) -> str:
    """The lower-case suffix, '.nii.gz' as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The file name without its suffix ('.nii.gz' counts as one); a DICOM name such as 1.2.840.7 keeps its dots."""
    suffix = suffix_of(path)
    known = (*PHOTOGRAPH_SUFFIXES, *NIFTI_SUFFIXES, *NRRD_SUFFIXES, *META_SUFFIXES, *DICOM_SUFFIXES, *_FOREIGN_IMAGES)
    return path.name[: len(path.name) - len(suffix)] if suffix in known else path.name


def format_of(path: Path) -> Kind:
    """The format by name, or by the first bytes where the name says nothing."""
    suffix = suffix_of(path)
    for suffixes, kind in (
        (PHOTOGRAPH_SUFFIXES, "photograph"),
        (NIFTI_SUFFIXES, "nifti"),
        (NRRD_SUFFIXES, "nrrd"),
        (META_SUFFIXES, "mha"),
        (DICOM_SUFFIXES, "dicom"),
    ):
        if suffix in suffixes:
            return kind  # type: ignore[return-value]
    return _sniffed(path)


def _sniffed(path: Path) -> Kind:
    try:
        with path.open("rb") as f:
            start = f.read(348)
    except OSError:
        return "unknown"
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")) or start[8:12] == b"WEBP":
        return "photograph"
    if start.startswith(b"NRRD"):
        return "nrrd"
    if start.startswith(b"ObjectType"):
        return "mha"
    if start[344:348] in (b"n+1\0", b"ni1\0"):
        return "nifti"
    return "unknown"


def find_inputs(paths: Iterable[str | Path]) -> list[InputItem]:
    """The images that `paths` (files, folders, DICOM series folders) stand for, in order, each once.

    Nothing is raised: a path that does not exist, an empty folder or a file of an unknown type becomes an item whose
    `problem` is raised by `open_input`, so that every other input is still done.
    """
    given = [Path(p) for p in paths]
    items: list[InputItem] = []
    named_dicom: dict[Path, list[Path]] = {}
    for path in given:
        if path.is_dir():
            items += _in_folder(path)
        elif not path.exists():
            items.append(_problem(path, _not_there(path)))
        elif (kind := format_of(path)) == "dicom":
            if path.parent not in named_dicom:
                items.append(InputItem(path, "dicom", stem_of(path)))  # its place; replaced below
            named_dicom.setdefault(path.parent, []).append(path)
        elif kind == "unknown":
            items.append(_problem(path, _unknown_type(path)))
        else:
            items.append(InputItem(path, kind, stem_of(path), (path,)))
    for folder, files in named_dicom.items():
        at = next(i for i, item in enumerate(items) if item.path in files and not item.files)
        items[at : at + 1] = _named_dicom(folder, files)
    unique: dict[tuple[Path, ...], InputItem] = {}
    for item in items:
        unique.setdefault(tuple(p.resolve() for p in (item.files or (item.path,))), item)
    return list(unique.values())


def find_images(paths: Iterable[str | Path]) -> list[InputItem]:
    """As `find_inputs`, but a folder of images/ and labels/ (an annotation set, a domain folder) means its images/."""
    return find_inputs([_images_of(Path(p)) for p in paths])


def _images_of(path: Path) -> Path:
    inside = path / "images"
    return inside if inside.is_dir() and all(item.problem for item in find_inputs([path])) else path


def _problem(path: Path, sentence: str) -> InputItem:
    return InputItem(path, "unknown", stem_of(path), (path,), sentence)


def _not_there(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"did you mean {close[0]}?" if close else "check the path."
    return f"{path} does not exist; expected an image file or a folder; {hint}"


def _unknown_type(path: Path) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return f"{path.name} is empty (0 bytes); expected an image; copy or export it again."
    return (
        f"{path.name} is of a type that is not read; expected a photograph (PNG, JPEG, TIFF, BMP, WebP), NIfTI, NRRD, "
        "MHA/MHD or DICOM; export it as one of these."
    )


def _in_folder(folder: Path) -> list[InputItem]:
    try:
        files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith((".", "~$")))
        folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as e:
        return [_problem(folder, f"{folder} cannot be listed ({e.strerror}); change its permissions.")]
    items: list[InputItem] = []
    dicom: list[Path] = []
    stems = {stem_of(p) for p in files} | {folder.resolve().name}
    for path in files:
        kind = format_of(path)
        if kind == "dicom":
            dicom.append(path)
        elif _made_here(path, stems):
            continue
        elif kind != "unknown":
            items.append(InputItem(path, kind, stem_of(path), (path,)))
        elif suffix_of(path) in _FOREIGN_IMAGES and not _is_data_file(path, files):
            items.append(_problem(path, _unknown_type(path)))
    items += dicom_series(folder, [p for p in dicom if p.name.upper() != "DICOMDIR"])
    if not items:
        items = [item for sub in folders for item in _dicom_below(sub, 1)]
    if not items:
        inside = f"only the folders {', '.join(p.name for p in folders[:5])}" if folders else "no image"
        advice = "give one of them" if folders else "give a folder with images"
        return [_problem(folder, f"{folder} holds {inside}; expected photographs, volumes or DICOM files; {advice}.")]
    return items


def _made_here(path: Path, stems: set[str]) -> bool:
    """Whether `path` is a mask or overlay lying beside its image."""
    stem = stem_of(path)
    for ending in _MASK_ENDINGS:
        if stem.endswith(ending):
            owner = stem[: -len(ending)]
            return owner in stems or stem_of(Path(owner)) in stems
    return False


def _is_data_file(path: Path, files: Sequence[Path]) -> bool:
    return any(p.stem == path.stem and p.suffix.lower() in (".mhd", ".nhdr") for p in files)


def _dicom_below(folder: Path, depth: int) -> list[InputItem]:
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    dicom = [p for p in files if p.name.upper() != "DICOMDIR" and format_of(p) == "dicom"]
    items = dicom_series(folder, dicom)
    if depth < _MAX_DICOM_DEPTH:
        for sub in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
            items += _dicom_below(sub, depth + 1)
    return items


def _named_dicom(folder: Path, files: list[Path]) -> list[InputItem]:
    """Items of DICOM files given by name: those of one series together, a single one as itself."""
    items = dicom_series(folder, files)
    return [
        InputItem(i.files[0], "dicom", stem_of(i.files[0]), i.files, i.problem) if len(i.files) == 1 else i
        for i in items
    ]


def dicom_series(folder: Path, files: Sequence[Path]) -> list[InputItem]:
    """One item per series (and per slice direction and size within it) among the DICOM `files` of `folder`.

    A folder with one series gives its own name; with several, the series number is added. Objects without an image of
    their own (reports, presentation states, segmentations) are left out where there are images.
    """
    if not files:
        return []
    groups: dict[tuple[Any, ...], list[Path]] = {}
    numbers: dict[tuple[Any, ...], str] = {}
    items: list[InputItem] = []
    for path in files:
        try:
            with reading(path, "a DICOM image"):
                key, number = _series_key(path)
        except TinyMIGError as e:
            items.append(InputItem(path, "dicom", stem_of(path), (path,), str(e)))
            continue
        groups.setdefault(key, []).append(path)
        numbers[key] = number
    pictures = {key: members for key, members in groups.items() if key[-1]}
    groups = pictures or groups
    names: set[str] = set()
    for key, members in groups.items():
        base = folder.resolve().name if len(groups) == 1 else f"{folder.resolve().name}_series{numbers[key]}"
        name, n = base, 2
        while name in names:
            name, n = f"{base}_{n}", n + 1
        names.add(name)
        items.append(InputItem(folder if len(members) > 1 else members[0], "dicom", name, tuple(members)))
    return items


def _series_key(path: Path) -> tuple[tuple[Any, ...], str]:
    """(what tells stacks apart, series number). Raises whatever pydicom raises for damaged files."""
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
    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*tags, "SOPInstanceUID", "SOPClassUID"])
    direction = dataset.get("ImageOrientationPatient")
    rounded = tuple(round(float(v), 2) + 0.0 for v in direction) if direction else ()
    multi = str(dataset.get("SOPInstanceUID")) if int(dataset.get("NumberOfFrames", 1) or 1) > 1 else ""
    series = str(dataset.get("SeriesInstanceUID", path))
    number = str(dataset.get("SeriesNumber", "") or "")
    is_picture = dataset.get("Rows") is not None and dataset.get("Modality") != "SEG"
    return (series, dataset.get("Rows"), dataset.get("Columns"), rounded, multi, is_picture), number
