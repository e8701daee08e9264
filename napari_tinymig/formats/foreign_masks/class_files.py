"""One file for each class: `a_disc.png` beside `a_cup.png`, or `disc/a.png` beside `cup/a.png`, are one mask of `a`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput
from ...tasks.table import KNOWN, TASKS
from ...tasks.task import Region, Task
from ..declared import image_suffixes
from ..kinds import stem_of, suffix_of
from ..scan_file import MaskFile

MOST_OUTSIDE = 0.05
"""Largest share of an inner class (cup) that may lie outside of the one around it (disc) (chosen: two outlines drawn
one after the other cross by a pixel or two; a cup beside its disc is a mistake)."""
_BETWEEN = r"[_\-. ]+"
_ALSO = rf"(?:{_BETWEEN}(?:masks?|labels?|seg))?"


@dataclass(frozen=True)
class Meaning:
    """What a word in a file's name says. labels: that the class covers, the one it is written as first."""

    word: str
    task: Task
    region: Region
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ClassFiles:
    """The files of one image. name: the image's. task: whose classes they are. files: the outermost class first.
    problem: why they cannot be put together, '' = nothing known against it."""

    name: str
    task: Task
    files: tuple[tuple[Meaning, Path], ...]
    problem: str = ""

    @property
    def first(self) -> Path:
        """The file that stands for all of them."""
        return self.files[0][1]


@cache
def meanings() -> tuple[Meaning, ...]:
    """Every word that names a class: regions, labels and usual abbreviations of the known tasks; long words first."""
    found: list[Meaning] = []
    for name, task in TASKS.items():
        for region in task.regions:
            covered = (region.label, *(v for v in region.labels if v != region.label))
            also = [word for word, meant in KNOWN[name].file_words.items() if meant == region.name]
            found += [Meaning(word, task, region, covered) for word in (region.name, *also)]
            if region.class_name != region.name:
                found.append(Meaning(region.class_name, task, region, (region.label,)))
    return tuple(sorted(found, key=lambda m: -len(m.word)))


def named_class(stem: str) -> tuple[str, Meaning] | None:
    """(name of the image, class) of a stem that begins or ends with a class: 'a_cup', 'a_cup_mask', 'cup-a'."""
    folded = stem.casefold()
    for meaning in meanings():
        first, *_ = meaning.word.casefold().split()
        if first not in folded:
            continue
        word = _BETWEEN.join(map(re.escape, meaning.word.split()))
        found = re.fullmatch(rf"(.+?){_BETWEEN}{word}{_ALSO}", stem, re.IGNORECASE)
        found = found or re.fullmatch(rf"{word}{_BETWEEN}(.+?){_ALSO}", stem, re.IGNORECASE)
        if found:
            return re.sub(rf"{_BETWEEN}masks?$", "", found.group(1), flags=re.IGNORECASE), meaning
    return None


def _folder_class(folder: Path) -> Meaning | None:
    """The class that a folder's whole name says: 'cup', 'Cup masks'."""
    for meaning in meanings():
        word = _BETWEEN.join(map(re.escape, meaning.word.split()))
        if re.fullmatch(rf"{word}{_ALSO}", folder.name, re.IGNORECASE):
            return meaning
    return None


def _named(path: Path) -> tuple[str, Meaning | None]:
    """(name of the image, class) of a file in a folder of one class."""
    stem = re.sub(r"_mask$", "", stem_of(path))
    return named_class(stem) or (stem, None)


def class_files(path: Path) -> ClassFiles | None:
    """The files that make up one mask, `path` among them; None where it stands for itself.

    It is one of several if its name, or that of its folder, says a class of a known task and there is a file of
    another class of that task for the same image.
    """
    name, own = _named(path)
    folder = _folder_class(path.parent)
    if folder is not None and (own is None or own.region == folder.region):
        meaning, there = folder, _beside_folders(path, name, folder)
    elif own is not None:
        meaning, there = own, _beside(path, name)
    else:
        return None
    there = [(m, p) for m, p in there if m.task.name == meaning.task.name]
    if len({m.labels for m, _ in there}) < 2:
        return None
    order = {region.name: i for i, region in enumerate(meaning.task.regions)}
    there.sort(key=lambda found: (-len(found[0].labels), order[found[0].region.name], found[1].name))
    return ClassFiles(name, meaning.task, tuple(there), _twice(there))


def _beside(path: Path, name: str) -> list[tuple[Meaning, Path]]:
    """(class, file) of every file in the same folder that is named after a class of the same image."""
    found = []
    for other in path.parent.iterdir():
        if name.casefold() in other.name.casefold() and suffix_of(other) in image_suffixes() and other.is_file():
            theirs, meaning = _named(other)
            if meaning is not None and theirs.casefold() == name.casefold():
                found.append((meaning, other))
    return found


def _beside_folders(path: Path, name: str, own: Meaning) -> list[tuple[Meaning, Path]]:
    """(class, file) of the same image in the folders of the other classes."""
    found = [(own, path)]
    for folder in path.parent.parent.iterdir():
        meaning = _folder_class(folder) if folder != path.parent and folder.is_dir() else None
        if meaning is None:
            continue
        files = [p for p in folder.glob("*") if suffix_of(p) in image_suffixes()]
        found += [(meaning, p) for p in files if _named(p)[0].casefold() == name.casefold()]
    return found


def _twice(there: Iterable[tuple[Meaning, Path]]) -> str:
    """A sentence about two files of one class; '' where each has one."""
    seen: dict[tuple[int, ...], Path] = {}
    for meaning, path in there:
        if meaning.labels in seen:
            return (
                f"{seen[meaning.labels].name} and {path.name} both hold the {meaning.word} of one image; expected one "
                "file for each class; move the other away."
            )
        seen[meaning.labels] = path
    return ""


def one_each(paths: Iterable[Path]) -> list[Path]:
    """The paths without those that another one stands for."""
    out: dict[Path, None] = {}
    for path in paths:
        group = class_files(path)
        out.setdefault(group.first if group else path)
    return list(out)


def put_together(group: ClassFiles, read: Callable[[Path], MaskFile]) -> MaskFile:
    """One mask of the files of an image. read: one file's labels, where 0 is not of the class.

    A pixel of two classes of which one lies inside the other (cup, disc) is of the inner one, and what of it lies
    outside counts as the outer one, too. Raises UnsupportedInput where that is not clear.
    """
    if group.problem:
        raise UnsupportedInput(group.problem)
    parts = [(meaning, path, read(path)) for meaning, path in group.files]
    first = parts[0][2]
    owner = np.full(first.labels.shape, -1, np.int8)
    words = [f"{path.name} ({meaning.word})" for meaning, path, _ in parts]
    notes = [f"Put together from {', '.join(words[:-1])} and {words[-1]}.", *(n for p in parts for n in p[2].notes)]
    for i, (_, path, part) in enumerate(parts):
        mask = _of_one_class(part.labels, path.name, group)
        if mask.shape != owner.shape:
            raise UnsupportedInput(
                f"{path.name} has {' x '.join(map(str, mask.shape))} pixels and {group.first.name} "
                f"{' x '.join(map(str, owner.shape))}; expected equal grids of the classes of one image."
            )
        notes += _notes_on_place(mask, owner, i, group)
        owner[mask] = i
    labels = np.array([m.labels[0] for m, _, _ in parts] + [0], np.uint8)[owner]
    stored = None
    if first.stored is not None and first.geometry is not None:
        stored = replace(first.stored, array=first.geometry.to_stored(labels), notes=())
    return replace(first, name=group.name, labels=labels, stored=stored, notes=tuple(notes))


def _of_one_class(labels: NDArray[np.uint8], name: str, group: ClassFiles) -> NDArray[np.bool_]:
    """Where a file says its class. Raises UnsupportedInput for more than one code, and for one all around."""
    codes = np.unique(labels)
    others = [p.name for _, p in group.files if p.name != name]
    if len(codes[codes > 0]) > 1:
        raise UnsupportedInput(
            f"{name} holds the codes {', '.join(map(str, codes))}, and its name, beside {', '.join(others)}, says one "
            "class; expected 0 and one other; rename it if it holds all classes."
        )
    mask = labels > 0
    if mask[..., [0, 0, -1, -1], [0, -1, 0, -1]].all():
        code = int(codes[-1])
        raise UnsupportedInput(
            f"{name} holds {code} in all its corners, as a background does; expected 0 there; if it is meant so, say "
            f"--labels {code}:0,0:1."
        )
    return mask


def _notes_on_place(mask: NDArray[np.bool_], owner: NDArray[np.int8], at: int, group: ClassFiles) -> tuple[str, ...]:
    """A note about pixels of file `at` outside of the class around it. owner: the file that each pixel is of so far,
    -1 = none. Raises UnsupportedInput where two classes disagree."""
    meanings = [m for m, _ in group.files]
    mine, around = meanings[at], [i for i in range(at) if set(meanings[at].labels) < set(meanings[i].labels)]
    clash = int((mask & (owner >= 0) & ~np.isin(owner, around)).sum())
    if clash:
        raise UnsupportedInput(
            f"{group.name}: {clash} pixels of the {mine.word} are of another class, too "
            f"({', '.join(m.word for m in meanings[:at])}); expected classes side by side, or one inside the other; "
            "mend them, or give one file with all classes."
        )
    outside, whole = int((mask & (owner < 0)).sum()) if around else 0, int(mask.sum())
    if outside > MOST_OUTSIDE * whole:
        raise UnsupportedInput(
            f"{group.name}: {outside} of {whole} pixels of the {mine.word} lie outside of the "
            f"{meanings[around[-1]].word}; expected one inside the other; are they of one image?"
        )
    if not outside:
        return ()
    return (f"{outside} pixels of the {mine.word} outside of the {meanings[around[-1]].word} count as both.",)


def lone_inner(path: Path, labels: NDArray[np.uint8]) -> str:
    """A sentence about a file that holds one class and is named after one that lies in another; '' for any other."""
    name, own = _named(path)
    meaning = own or _folder_class(path.parent)
    if meaning is None or meaning.region.inside is None or len(np.unique(labels[labels > 0])) != 1:
        return ""
    return (
        f"{path.name} holds one class and its name says {meaning.word}; expected the {meaning.region.inside} of {name} "
        f"beside it ({name}_{meaning.region.inside}{suffix_of(path)}), or the label code it stands for, "
        f"e.g. --labels 0:0,{int(labels.max())}:{meaning.region.label}."
    )
