"""Masks in files and folders: found, paired by name, and the task they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..base.errors import UnreadableInput
from ..tasks.table import TASKS, usual_task
from ..tasks.task import Task
from . import MaskFile, stem_of, suffix_of
from .declared import lossy_suffixes, mask_suffixes
from .folder_ledger import read_ledger
from .foreign_masks.class_files import class_files, one_each
from .kinds import format_of


def find_masks(paths: Sequence[str | Path]) -> list[Path]:
    """Mask files of files and folders, sorted within a folder. In a folder that holds any `*_mask.*`, only those
    count, because the images may lie beside them. Raises UnreadableInput for a path or folder without a mask."""
    found: list[Path] = []
    for given in map(Path, paths):
        if given.is_file():
            found.append(given)
            continue
        if not given.is_dir():
            raise UnreadableInput(f"{given} does not exist; expected a mask file or a folder of masks; check the path.")
        found += _in_folder(given)
    return one_each(found)


def _in_folder(given: Path) -> list[Path]:
    """The masks of one folder; of one that holds folders of single classes alone (disc/, cup/), the files in those."""
    there = [p for p in sorted(given.iterdir()) if not p.name.startswith(".")]
    files = [p for p in there if p.is_file() and not stem_of(p).endswith("_overlay")]
    lossless = [p for p in files if suffix_of(p) in mask_suffixes() and not _is_dicom_image(p)]
    # beside masks, files that cannot hold numbers are the photographs
    files = lossless or [p for p in files if suffix_of(p) in lossy_suffixes()]
    named = [p for p in files if stem_of(p).endswith("_mask")]
    if not files:
        inside = [p for folder in there if folder.is_dir() for p in sorted(folder.iterdir()) if p.is_file()]
        files = list(dict.fromkeys(g.first for p in inside if (g := class_files(p)) is not None))
    if not files:
        raise UnreadableInput(f"{given} holds no mask; expected PNG, NIfTI, NRRD or MHA files; check the path.")
    return named or files


def _is_dicom_image(path: Path) -> bool:
    """Whether a file is DICOM and neither a segmentation nor contours: a slice of the image beside its mask."""
    if format_of(path) != "dicom":
        return False
    from .dicom_seg import is_contours, is_dicom_seg

    return not is_dicom_seg(path) and not is_contours(path)


def case_name(path: Path) -> str:
    """The name two readers' masks of one image share: the stem without '_mask', or '.seg' of 3D Slicer; the image's
    where there is a file for each class."""
    if (group := class_files(path)) is not None:
        return group.name
    return stem_of(path).removesuffix(".seg").removesuffix("_mask")


def pair_masks(a: Path, b: Path) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """(name, mask of a, mask of b) of every image both have, and the names only one has. Two files are one pair."""
    if a.is_file() and b.is_file():
        return [(case_name(a), a, b)], []
    one, two = ({case_name(p): p for p in find_masks([side])} for side in (a, b))
    names = [n for n in one if n in two]
    return [(n, one[n], two[n]) for n in names], sorted(set(one) ^ set(two))


def task_of_mask(path: Path, mask: MaskFile, wanted: str = "auto") -> Task:
    """The task of a mask: as wanted, as recorded beside it by `tinymig segment`, or the usual one of its shape
    (volume or picture). Raises ValueError for an unknown task."""
    if wanted != "auto":
        if wanted not in TASKS:
            raise ValueError(f"no task '{wanted}'; expected auto, {', '.join(TASKS)}.")
        return TASKS[wanted]
    recorded = read_ledger(path.parent).get(path.name, {}).get("task")
    if recorded in TASKS:
        return TASKS[str(recorded)]
    if (group := class_files(path)) is not None:
        return group.task
    return usual_task("volume" if mask.geometry is not None and mask.labels.ndim == 3 else "photograph")


def check_codes(path: Path, mask: MaskFile, task: Task) -> None:
    """Raise UnreadableInput if a mask holds labels its task does not have."""
    unknown = [int(v) for v in np.unique(mask.labels) if int(v) not in task.class_names]
    if unknown:
        shown = ", ".join(map(str, unknown[:6]))
        example = ",".join(f"{int(v)}:{i}" for i, v in enumerate(np.unique(mask.labels)[:6]))
        raise UnreadableInput(
            f"{path.name} holds the label codes {shown}; task '{task.name}' knows "
            f"{', '.join(map(str, task.class_names))}; say what they mean, e.g. --labels {example}."
        )
