"""Colours of regions: a known task's from the table of tasks, whatever its model's header says; else the record's."""

from __future__ import annotations

from .table import TASKS
from .task import Region, Task

OTHER_LABELS = {1: "#35c2f0", 2: "#ffb000", 3: "#e5446d", 4: "#7bd389", 5: "#9b7ede"}
"""Label -> colour where no task is known."""
BACKGROUND_COLOUR = "#e0529c"
"""Strokes that say 'nothing here'."""
TAKEN_AWAY = "#ff4d6d"
"""Marks that take away."""


def colour_of(task: Task, region: Region) -> str:
    """Hex colour of a region: the table's where the task is known there by name and has that region."""
    known = TASKS.get(task.name, task)
    return next((r.colour for r in known.regions if r.name == region.name), region.colour)


def label_colours(task: Task) -> dict[int, str]:
    """Label -> hex colour of a task's regions."""
    return {r.label: colour_of(task, r) for r in task.regions}


def rgb(colour: str) -> tuple[int, int, int]:
    """'#ffb000' as (255, 176, 0)."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def palette(task: Task | None = None) -> list[int]:
    """768 numbers: RGB of every label; 0 is black, the task's labels in its colours, others in a fixed cycle."""
    colours = OTHER_LABELS | (label_colours(task) if task is not None else {})
    cycle = list(OTHER_LABELS.values())
    table = [0, 0, 0]
    for label in range(1, 256):
        table += rgb(colours.get(label, cycle[label % len(cycle)]))
    return table
