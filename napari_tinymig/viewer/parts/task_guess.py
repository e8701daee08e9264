"""What does this image show? Metadata and the shipped gate, asked for the Segment panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...base.errors import TaskRefused
from ...base.records import Scan


@dataclass(frozen=True)
class TaskGuess:
    """task: name of a built-in task, None if the image was not recognised. reason: for people."""

    task: str | None
    reason: str


def guess_task(scan: Scan, metadata: Mapping[str, Any], report: Callable[[Any], None]) -> TaskGuess:
    """The task of a scan; runs in a thread."""
    from ...batch.one_input import gate

    report(None)
    try:
        task = gate().task_of(scan, metadata)
    except TaskRefused as e:
        return TaskGuess(None, str(e).replace("name the task with --task", "choose the task:"))
    return TaskGuess(task, "found from the image; choose another if it is wrong")
