"""The user's reference folder: images of the original domain on which old and new model should agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..base.errors import TinyMIGError, UnreadableInput
from ..base.records import Scan
from ..formats import InputItem, find_images, open_input
from ..tasks.task import Task

MOST_REFERENCES = 20


def reference_items(folder: str | Path) -> list[InputItem]:
    """The first images of the folder (of images/ and labels/: of images/). Raises UnreadableInput if there is none."""
    items = find_images([folder])[:MOST_REFERENCES]
    if all(i.problem for i in items):
        raise UnreadableInput(f"reference folder: {items[0].problem if items else f'{folder} holds no image.'}")
    return items


def reference_scans(folder: str | Path, task: Task) -> Iterator[Scan]:
    """The scans of a reference folder that the task can read; the others are left out.

    Raises UnreadableInput if there is no image in it, or, after the last one, if none could be read.
    """
    problem, read = "", 0
    for item in reference_items(folder):
        try:
            scan = open_input(item).scan
        except TinyMIGError as e:
            problem = problem or str(e)
            continue
        if scan.kind != task.input:
            problem = problem or f"{item.name} is a {scan.kind}; '{task.name}' reads {task.input}s."
            continue
        read += 1
        yield scan
    if not read:
        raise UnreadableInput(f"reference folder: no image of {folder} can be used: {problem}")


def check_reference(folder: str | Path, task: Task) -> None:
    """Raise UnreadableInput if no image of a reference folder can be read; stops at the first that can."""
    next(reference_scans(folder, task))
