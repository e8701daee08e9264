"""Which cases of a set can teach a model: read, brought to the task's kind, checked. No torch, so that it can be asked
before a training process is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.errors import TinyMIGError
from ..base.records import Scan
from ..formats import as_photograph, as_volume, parse_label_map
from ..formats.foreign_masks.kept_legend import kept_legend
from ..tasks.task import Task
from .annotation_set import Case, check_task_of_set, is_set, load_case, read_cases
from .label_checks import check_labels


def label_map_for(folder: str | Path, text: str) -> dict[int, int] | None:
    """What the foreign label codes of a plain folder mean, from '0:2,128:1,255:0'; for '' as it was kept beside the
    masks (`kept_legend`), None where nothing was.

    Raises ValueError for another form, and for an annotation set, whose masks have no foreign codes.
    """
    if not text.strip():
        kept = "" if is_set(folder) else kept_legend(Path(folder) / "labels")
        return parse_label_map(kept) if kept else None
    if is_set(folder):
        raise ValueError(f"{folder} is an annotation set, whose masks have the task's own codes; leave --labels out")
    return parse_label_map(text)


@dataclass(frozen=True)
class TeachingCase:
    """A case with its scan and labels (scan.grid_shape); odd: warnings about the mask."""

    case: Case
    scan: Scan
    labels: NDArray[np.uint8]
    odd: tuple[str, ...] = ()


def teaching_cases(folder: Path, task: Task, labels_mean: str = "") -> Iterator[TeachingCase | str]:
    """Every included case, or the sentence that says why it is left out; one is in memory at a time.

    labels_mean: foreign label codes of a plain folder, e.g. '0:2,128:1,255:0'. Raises UnreadableInput for a folder
    that is no set, ValueError for a set of another task and for codes in another form.
    """
    label_map = label_map_for(folder, labels_mean)
    check_task_of_set(folder, task)
    for case in [c for c in read_cases(folder) if c.include]:
        try:
            scan, labels = load_case(folder, case, label_map)
            scan = as_photograph(scan) if task.input == "photograph" else as_volume(scan)
            labels = labels.reshape(scan.grid_shape)
        except TinyMIGError as e:
            yield f"Left out: {e}"
            continue
        findings = check_labels(labels, scan, task, foreign=not case.image_sha256 and label_map is None)
        if errors := [f.text for f in findings if f.severity == "error"]:
            yield f"Left out: {case.stem}: {errors[0]}"
            continue
        yield TeachingCase(case, scan, labels, tuple(f.text for f in findings))


def refuse_useless(folder: Path, usable: int, left_out: Sequence[str]) -> None:
    """Raise ValueError where nothing can teach, and where most of a plain folder is left out."""
    if not usable:
        more = f" {len(left_out) - 1} more are left out." if len(left_out) > 1 else ""
        first = left_out[0] if left_out else "It holds no annotated image that is included."
        raise ValueError(f"no usable annotated image in {folder}; expected at least one mended mask. {first}{more}")
    if usable < len(left_out) and not is_set(folder):  # what is wrong with most of them is wrong with the folder
        raise ValueError(
            f"only {usable} of {usable + len(left_out)} annotated images in {folder} can be used; expected "
            f"most of them. {left_out[0]}"
        )


def check_roles(roles: Sequence[str]) -> None:
    """Raise ValueError where every case is held out by its role."""
    if roles and all(role == "val" for role in roles):
        raise ValueError("every case of the set has the role 'validation'; expected at least one to train on")


def check_teaching(folder: Path, task: Task, labels_mean: str = "", go_on: Callable[[], object] = lambda: None) -> None:
    """Raise what a training run on this folder would raise; reads no more cases than needed to be sure.

    go_on: called between two cases; may raise, which ends the check. Raises as `teaching_cases`, `refuse_useless` and
    `check_roles`.
    """
    included = [c for c in read_cases(folder) if c.include]
    check_roles([c.role for c in included])
    usable, left_out = 0, []
    for found in teaching_cases(folder, task, labels_mean):
        if isinstance(found, str):
            left_out.append(found)
        else:
            usable += 1
        if usable and (is_set(folder) or 2 * usable >= len(included)):
            return
        go_on()
    refuse_useless(folder, usable, left_out)
