"""The task 'any': one structure that nobody trained for, label 1."""

from __future__ import annotations

from typing import Literal

from .task import Region, Task

ANY = "any"


def any_task(kind: Literal["photograph", "volume"], flat: bool = False, name: str = "structure") -> Task:
    """A task with one region, label 1, for an image of `kind`; flat: a volume of one slice, measured by its area."""
    region = Region(name=name, labels=(1,), label=1, class_name=name, colour="#35c2f0", inside=None)
    measures = ("volume",) if kind == "volume" and not flat else ("area",)
    return Task(
        name=ANY,
        title="A structure of your own",
        input=kind,
        regions=(region,),
        measures=measures,
        single_object=False,
        can_be_empty=True,
    )
