"""What the lists of the Annotate panel ask of it: the open set, the viewer, and a line to the user."""

from __future__ import annotations

from typing import Any, Protocol

from ...annotations.annotation_set import AnnotationSet
from ...tasks.task import Task


class OpenSet(Protocol):
    """The panel as its lists see it. set: the open annotation set, None before one is chosen."""

    viewer: Any
    set: AnnotationSet | None

    @property
    def chosen_task(self) -> Task:
        """The task that the set is for."""
        ...

    def say(self, text: str, tone: Any = ...) -> None:
        """One line at the foot of the panel."""
        ...

    def say_error(self, error: BaseException) -> None:
        """The same for what went wrong."""
        ...

    def changed(self) -> None:
        """The set was changed: show it again."""
        ...
