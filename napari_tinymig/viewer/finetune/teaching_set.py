"""What a chosen folder could teach: its cases, the numbers in its masks, the kind of image, in words for the panel."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...annotations.annotation_set import Case, is_set, read_cases, task_of_set
from ...annotations.plain_folder import without_mask
from ...annotations.structures import task_record_of_set
from ...base.errors import TinyMIGError
from ...formats import open_mask
from ...formats.declared import FORMATS
from ...formats.foreign_masks.kept_legend import kept_legend
from ...formats.kinds import suffix_of

MOST_CODES = 8


@dataclass(frozen=True)
class TeachingSet:
    """cases: how many are used. words: about them, or why there are none. task: of an annotation set, '' for a plain
    folder, whose masks may have foreign codes. kind: 'photograph' or 'volume', as far as the names tell.
    """

    cases: int = 0
    words: str = ""
    task: str = ""
    kind: str = "photograph"
    plain: bool = False


def look_into(folder: Path | None) -> TeachingSet:
    """What is in the folder; never raises, what is wrong is in the words."""
    if folder is None:
        return TeachingSet()
    try:
        cases = [c for c in read_cases(folder) if c.include]
        if is_set(folder):
            task = task_of_set(folder)
            record = task_record_of_set(folder)
            kind = record.input if record is not None else "photograph"
            return TeachingSet(len(cases), _counted(cases), task, kind)
        words = [_counted(cases), without_mask(folder)]
        if kept := kept_legend(folder / "labels"):
            words.append(f"Label codes as told before: {kept}.")
    except TinyMIGError as e:
        return TeachingSet(words=str(e))
    if not cases:
        return TeachingSet(words=f"{folder} holds no image with a mask.", plain=True)
    first = folder / cases[0].label
    words.append(_codes(first, first.stat().st_mtime_ns if first.is_file() else 0))
    photographs = suffix_of(Path(cases[0].image)) in FORMATS["photograph"].suffixes
    kind = "photograph" if photographs else "volume"
    return TeachingSet(len(cases), " ".join(w for w in words if w), "", kind, plain=True)


def _counted(cases: list[Case]) -> str:
    words = f"{len(cases)} case(s) are used."
    if len(cases) == 1:
        words += " With one, the gain cannot be measured on another; a second one helps."
    return words


@functools.lru_cache(maxsize=16)
def _codes(mask: Path, _changed: int) -> str:
    """The numbers in one mask, which its owner can tell the meaning of; read once for each state of the file."""
    try:
        found = np.unique(open_mask(mask).labels).tolist()
    except (TinyMIGError, OSError) as e:
        return str(e)
    if len(found) > MOST_CODES:
        return (
            f"{mask.name} holds {len(found)} different numbers (a JPEG, or soft edges?); expected one for each class."
        )
    return f"Numbers in the mask {mask.name}: {', '.join(map(str, found))}."
