"""The table of known tasks: a new task is a file of this folder and its name here.

Names alone cost nothing: a task's file, and the library that checks records, is loaded when the task is first asked for
(`tinymig --help` names every task and loads none).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .known_task import KnownTask
    from .task import Task

FILES = ("optic", "prostate", "polyp")
"""In the order in which tasks are offered; the first of a kind of image is its usual one, the first of all is meant
where none is named."""
DEFAULT_TASK = FILES[0]


class _KnownTasks(MutableMapping[str, "KnownTask"]):
    """Name -> what is known of the task; `KNOWN` of the file of that name, loaded when first asked for."""

    def __init__(self, names: Iterable[str]) -> None:
        self._loaded: dict[str, KnownTask | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> KnownTask:
        known = self._loaded[name]
        if known is None:
            known = self._loaded[name] = importlib.import_module(f"{__package__}.{name}").KNOWN
        return known

    def __setitem__(self, name: str, known: KnownTask) -> None:
        self._loaded[name] = known

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    def __contains__(self, name: object) -> bool:
        return name in self._loaded


KNOWN: MutableMapping[str, KnownTask] = _KnownTasks(FILES)


class _Records(Mapping[str, "Task"]):
    """The records of the table, always as it stands."""

    def __getitem__(self, name: str) -> Task:
        return KNOWN[name].task

    def __iter__(self) -> Iterator[str]:
        return iter(KNOWN)

    def __len__(self) -> int:
        return len(KNOWN)

    def __contains__(self, name: object) -> bool:
        return name in KNOWN


TASKS: Mapping[str, Task] = _Records()


def usual_task(kind: str) -> Task:
    """The task meant by an image of `kind` ('photograph' or 'volume') of which nothing else is known."""
    return next(t for t in TASKS.values() if t.input == kind)


def listed(words: Iterable[str]) -> str:
    """Words in a sentence: 'optic, prostate or polyp'."""
    *first, end = words
    return f"{', '.join(first)} or {end}" if first else end
