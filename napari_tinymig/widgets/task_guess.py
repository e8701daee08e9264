"""What does this image show? The answer of the shipped gate, for the Segment panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari_tinymig.engine.records import Scan


@dataclass(frozen=True)
class TaskGuess:
    """task: name of a built-in task, None if the image was not recognised. reason: for people."""

    task: str | None
    reason: str


def guess_task(scan: Scan, name: str, report: Callable[[Any], None]) -> TaskGuess:
    """The task of a scan by its pixels; runs in a thread."""
    report(None)
    if scan.kind == "volume":
        return TaskGuess("prostate", "a grey image or volume")
    return TaskGuess("optic", "a colour photograph")
