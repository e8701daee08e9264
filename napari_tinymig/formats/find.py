"""From paths that a user gives to the images in them: files, folders, DICOM series.

Rules for a folder: its own files only, no sub-folders, except sub-folders (three levels deep) that hold DICOM files.
Ignored without a word: hidden files, DICOMDIR, text, and files whose name says document, table or model; masks and
overlays beside the folders of their DICOM series; DICOM objects without an image (reports, segmentations) beside some
with. Masks and overlays beside their images are left out, and `masks_left_out` says which. The data file of a .mhd,
.nhdr or .hdr header belongs to its header. Every other file becomes an item, even if it turns out unreadable: it then
fails with its reason instead of vanishing.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..tasks.table import listed
from .declared import FORMATS
from .foreign_masks.beside_images import OWN_ENDINGS, masks_beside, why_no_image
from .kinds import (
    DOCUMENTS,
    FOREIGN_IMAGES,
    Series,
    file_item,
    first_look,
    headers_for_data,
    is_dicomdir,
    is_text,
    owners,
    stem_of,
    suffix_of,
    why_no_file,
)
from .scan_file import InputItem

_MAX_DICOM_DEPTH = 3


def find_inputs(paths: Iterable[str | Path]) -> list[InputItem]:
    """The images that `paths` (files, folders, DICOM series folders) stand for, in order, each once.

    For what is opened as it is: a mask given by its name is an item like any other. A model looks at `find_scans`.
    Nothing is raised: a path that does not exist, an empty folder or a file of an unknown type becomes an item whose
    `problem` is raised by `open_input`, so that every other input is still done.
    """
    given = headers_for_data([Path(p) for p in paths])
    items: list[InputItem] = []
    named_dicom: dict[Path, dict[Path, Series | str]] = {}
    for path in given:
        if os.path.isdir(path):
            items += _in_folder(path)
        elif problem := why_no_file(path):
            items.append(_problem(path, problem))
        elif (look := first_look(path))[0] == "dicom":
            if path.parent not in named_dicom:
                items.append(InputItem(path, "dicom", stem_of(path)))  # its place; replaced below
            named_dicom.setdefault(path.parent, {})[path] = look[1]
        elif look[0] == "unknown":
            items.append(_problem(path, _unknown_type(path)))
        else:
            items.append(file_item(path, look[0]))
    for folder, files in named_dicom.items():
        at = next(i for i, item in enumerate(items) if item.path in files and not item.files)
        items[at : at + 1] = _named_dicom(folder, files)
    unique: dict[tuple[Path, ...], InputItem] = {}
    for item in items:
        unique.setdefault(tuple(map(Path.resolve, item.files or (item.path,))), item)
    return list(unique.values())


def find_images(paths: Iterable[str | Path]) -> list[InputItem]:
    """As `find_scans`, but a folder of images/ and labels/ (an annotation set, a domain folder) means its images/."""
    return find_scans([_images_of(Path(p)) for p in paths])


def find_scans(paths: Iterable[str | Path]) -> list[InputItem]:
    """As `find_inputs`, for what a model looks at: a file that is a mask has that as its problem."""
    items = find_inputs(paths)
    return [
        item if item.problem or item.format == "dicom" else replace(item, problem=why_no_image(item.path))
        for item in items
    ]


def masks_left_out(paths: Iterable[str | Path], known: Container[Path] = ()) -> str:
    """A sentence about the masks of images beside them that folders among `paths` hold, without those in `known`; ''
    where there are none."""
    folders = [Path(p) for p in paths if os.path.isdir(p)]
    masks = [
        m for folder in folders for m in _masks_in(folder) if m not in known and not stem_of(m).endswith("_overlay")
    ]
    if not masks:
        return ""
    names = ", ".join(m.name for m in masks[:6]) + (f" and {len(masks) - 6} more" if len(masks) > 6 else "")
    return f"Taken for masks of the images beside them, and left out: {names}."


def _masks_in(folder: Path) -> list[Path]:
    try:
        return masks_beside(sorted(p for p in folder.iterdir() if _is_listed(p)), [folder.resolve().name])
    except OSError:
        return []  # a folder that cannot be listed is an item with its problem


def _images_of(path: Path) -> Path:
    inside = path / "images"
    return inside if inside.is_dir() and all(item.problem for item in find_inputs([path])) else path


def _problem(path: Path, sentence: str) -> InputItem:
    return InputItem(path, "unknown", stem_of(path), (path,), sentence)


def _unknown_type(path: Path) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return f"{path.name} is empty (0 bytes); expected an image; copy or export it again."
    return (
        f"{path.name} is of a type that is not read; expected {listed(f.name for f in FORMATS.values())}; export it as "
        "one of these."
    )


def _in_folder(folder: Path) -> list[InputItem]:
    try:
        files = sorted(p for p in folder.iterdir() if _is_listed(p))
        folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as e:
        return [_problem(folder, f"{folder} cannot be listed ({e.strerror}); change its permissions.")]
    items: list[InputItem] = []
    dicom: dict[Path, Series | str] = {}
    passed = {*owners(files), *masks_beside(files, [folder.resolve().name])}
    for path in [p for p in files if p not in passed and not _made_of_a_series(p, folders)]:
        if problem := why_no_file(path):
            items.append(_problem(path, problem))
        elif (look := first_look(path))[0] == "dicom":
            dicom[path] = look[1]
        elif look[0] != "unknown":
            items.append(file_item(path, look[0]))
        elif not _is_document(path):
            items.append(_problem(path, _unknown_type(path)))
    items += dicom_series(folder, {p: series for p, series in dicom.items() if not is_dicomdir(p)})
    if not items:
        items = [item for sub in folders for item in _dicom_below(sub, 1)]
    if not items:
        inside = f"only the folders {', '.join(p.name for p in folders[:5])}" if folders else "no image"
        advice = "give one of them" if folders else "give a folder with images"
        return [_problem(folder, f"{folder} holds {inside}; expected photographs, volumes or DICOM files; {advice}.")]
    return items


def _made_of_a_series(path: Path, folders: Iterable[Path]) -> bool:
    """Whether `path` is a mask or overlay lying beside the folder of its DICOM series."""
    stem = stem_of(path)
    owners = [stem[: -len(ending)] for ending in OWN_ENDINGS if stem.endswith(ending)]
    of = [f for f in folders for owner in owners if owner == f.name or owner.startswith(f"{f.name}_series")]
    inside = [next((p for p in sorted(f.rglob("*")) if p.is_file() and not p.name.startswith(".")), None) for f in of]
    return any(first is not None and first_look(first)[0] == "dicom" for first in inside)


def _is_listed(path: Path) -> bool:
    """Whether a folder's entry counts: a file, or a link whose file is gone; not hidden, not a document's lock."""
    return (path.is_file() or (path.is_symlink() and not path.exists())) and not path.name.startswith((".", "~$"))


def _is_document(path: Path) -> bool:
    """Whether a file of unknown type is text, or its name says that it is no image."""
    suffix = suffix_of(path)
    if suffix in FOREIGN_IMAGES:
        return False
    return suffix in DOCUMENTS or is_dicomdir(path) or (path.stat().st_size > 0 and is_text(path))


def _dicom_below(folder: Path, depth: int) -> list[InputItem]:
    inside = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    folders = [p for p in inside if p.is_dir()]
    files = [p for p in inside if p.is_file() and not _made_of_a_series(p, folders)]
    looks = {p: first_look(p) for p in files if not is_dicomdir(p)}
    items = dicom_series(folder, {p: series for p, (kind, series) in looks.items() if kind == "dicom"})
    if depth < _MAX_DICOM_DEPTH:
        for sub in folders:
            items += _dicom_below(sub, depth + 1)
    return items


def _named_dicom(folder: Path, files: Mapping[Path, Series | str]) -> list[InputItem]:
    """Items of DICOM files given by name: those of one series together, a single one as itself."""
    items = dicom_series(folder, files)
    return [
        InputItem(i.files[0], "dicom", stem_of(i.files[0]), i.files, i.problem) if len(i.files) == 1 else i
        for i in items
    ]


def dicom_series(folder: Path, files: Mapping[Path, Series | str]) -> list[InputItem]:
    """One item per series (and per slice direction and size within it) among the DICOM `files` of `folder`, given with
    the series of each, or the sentence why it cannot be told.

    A folder with one series gives its own name; with several, the series number is added. Objects without an image of
    their own (reports, presentation states, segmentations) are left out where there are images.
    """
    if not files:
        return []
    groups: dict[tuple[Any, ...], list[Path]] = {}
    numbers: dict[tuple[Any, ...], str] = {}
    items: list[InputItem] = []
    for path, series in files.items():
        if isinstance(series, str):
            items.append(InputItem(path, "dicom", stem_of(path), (path,), series))
            continue
        key, number = series
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
