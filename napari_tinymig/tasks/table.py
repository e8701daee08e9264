"""The table of known tasks: a new task is a file of this folder and an entry here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from . import optic, polyp, prostate
from .known_task import KnownTask
from .task import Task

KNOWN: dict[str, KnownTask] = {k.task.name: k for k in (optic.KNOWN, prostate.KNOWN, polyp.KNOWN)}
"""In the order in which they are offered; the first of a kind of image is its usual one."""


class _Records(Mapping[str, Task]):
    """The records of the table, always as it stands."""

    def __getitem__(self, name: str) -> Task:
        return KNOWN[name].task

    def __iter__(self) -> Iterator[str]:
        return iter(KNOWN)

    def __len__(self) -> int:
        return len(KNOWN)


TASKS: Mapping[str, Task] = _Records()


def usual_task(kind: str) -> Task:
    """The task meant by an image of `kind` ('photograph' or 'volume') of which nothing else is known."""
    return next(t for t in TASKS.values() if t.input == kind)


DEFAULT_TASK = usual_task("photograph").name


def listed(words: Iterable[str]) -> str:
    """Words in a sentence: 'optic, prostate or polyp'."""
    *first, end = words
    return f"{', '.join(first)} or {end}" if first else end
