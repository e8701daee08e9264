"""Annotated folders: which cases they hold, how they are split, what their labels say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.annotations.annotation_set import FILE as ANNOTATIONS
from napari_tinymig.annotations.annotation_set import read_cases
from napari_tinymig.annotations.label_checks import IGNORE
from napari_tinymig.annotations.plain_folder import listed_pairs, masks_by_name, name_key
from napari_tinymig.base.errors import UnreadableInput
from napari_tinymig.formats import ScanFile
from napari_tinymig.formats.foreign_masks.class_files import class_files
from napari_tinymig.recipes.train import DataSpec
from napari_tinymig.tasks.task import Task

from .read_files import read_label, stem_of


@dataclass(frozen=True)
class Case:
    """One annotated image: files, the case (patient, volume, sequence) that must not be split, its domain.

    role: of an annotation set: 'train' and 'val' are the user's choice, 'auto' leaves it to the split.
    """

    name: str
    case: str
    image: Path
    label: Path | None
    domain: str = ""
    votes: dict[str, Path] = field(default_factory=dict)
    role: str = "auto"

    def content_hash(self) -> str:
        """First 16 hex digits of the SHA-256 over image and label bytes."""
        digest = hashlib.sha256(self.image.read_bytes())
        if self.label is not None:
            group = class_files(self.label)
            for path in [p for _, p in group.files] if group else [self.label]:
                digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def find_cases(folder: str | Path, spec: DataSpec | None = None, need_labels: bool = True) -> list[Case]:
    """Every case of a domain folder (images/ and labels/), an nnU-Net raw folder or a Decathlon dataset.json.

    In an annotation set (annotations.json) only included cases count, with their roles. Sorted by name. Raises
    UnreadableInput naming the folder and what was expected where nothing can be found.
    """
    spec = spec or DataSpec()
    folder = Path(folder)
    if (folder / "imagesTr").is_dir():
        pairs = list(listed_pairs(folder))
    elif (folder / "images").is_dir():
        pairs = list(_stem_pairs(folder / "images", folder / "labels"))
    else:
        raise UnreadableInput(
            f"{folder} has neither images/ nor imagesTr/; expected a domain folder (images/ and labels/ with equal "
            "stems), an nnU-Net raw folder or a Decathlon folder with dataset.json"
        )
    if need_labels:
        pairs = [p for p in pairs if p[2] is not None]
    listed = {c.stem: c for c in read_cases(folder)} if (folder / ANNOTATIONS).is_file() else None
    if listed is not None:
        pairs = [p for p in pairs if p[0] in listed and listed[p[0]].include]
    if not pairs:
        raise UnreadableInput(f"{folder} holds no image with a label of the same stem; expected images/ and labels/")
    votes = {k: folder / "experts" / k for k in ("disc", "cup") if (folder / "experts" / k).is_dir()}
    cases = [
        Case(
            name,
            _case_of(name, spec.case_pattern),
            image,
            label,
            folder.name,
            {k: d / f"{name}.png" for k, d in votes.items() if (d / f"{name}.png").is_file()},
            listed[name].role if listed is not None else "auto",
        )
        for name, image, label in sorted(pairs, key=lambda p: p[0])
    ]
    return cases[: spec.limit] if spec.limit else cases


def _case_of(name: str, pattern: str | None) -> str:
    found = re.search(pattern, name) if pattern else None
    return found.group(1) if found and found.groups() else name


def _stem_pairs(images: Path, labels: Path) -> Iterable[tuple[str, Path, Path | None]]:
    masks = masks_by_name(labels)
    for path in images.iterdir():
        if not path.name.startswith(".") and path.is_file():
            yield stem_of(path), path, masks.get(name_key(stem_of(path)))


def split_cases(cases: Sequence[Case], spec: DataSpec, seed: int) -> tuple[list[Case], list[Case]]:
    """(training, validation), split by `Case.case`, never inside one: a fold of `spec`, or `val_fraction` of them.

    Where an annotation set names validation cases, these and no others are held back.
    Raises ValueError where fewer than two different cases are left to split.
    """
    if chosen := {c.case for c in cases if c.role == "val"}:
        return [c for c in cases if c.case not in chosen], [c for c in cases if c.case in chosen]
    groups = sorted({c.case for c in cases} - {c.case for c in cases if c.role == "train"})
    if not groups:  # every case was given to training by hand
        return list(cases), []
    order = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    if spec.folds:
        if len(order) < spec.folds:
            raise ValueError(f"{len(order)} cases cannot be split into {spec.folds} folds; expected folds <= cases")
        held = set(order[spec.fold % spec.folds :: spec.folds])
    else:
        held = set(order[: round(len(order) * spec.val_fraction)] if spec.val_fraction else [])
        if spec.val_fraction and not held and len(order) > 1:
            held = {order[0]}
    return [c for c in cases if c.case not in held], [c for c in cases if c.case in held]


def labels_of(case: Case, task: Task, spec: DataSpec, like: ScanFile | None = None) -> NDArray[np.uint8]:
    """A case's labels after the label map: codes of the task, and 255 = not labelled. like: its image, whose grid and
    place are then demanded, as everywhere a mask meets its image.

    Raises UnreadableInput for other codes, for labels in which nothing is labelled, and for an object that must be
    there and is not: a mistaken code would otherwise be learned, or scored, as background.
    """
    if case.label is None:
        raise UnreadableInput(f"{case.name} has no label; expected one of the same stem in labels/")
    label, _ = read_label(case.label, spec.label_map, like)
    found = {int(v) for v in np.unique(label)}
    painted = {v for region in task.regions for v in region.labels}
    names = ", ".join(f"{k} = {v}" for k, v in task.class_names.items())
    how = "map foreign codes: --labels 128:1,0:2,255:0, in a recipe data.label_map"
    if wrong := sorted(found - painted - {0, IGNORE}):
        raise UnreadableInput(f"{case.label} holds the codes {wrong[:5]}; expected {names}, 255 = not labelled; {how}")
    if not found & painted and (IGNORE in found or not task.can_be_empty):
        held = " and ".join(str(v) for v in sorted(found))
        raise UnreadableInput(f"{case.label} holds only {held}; expected {names} (255 = not labelled); {how}")
    return label
