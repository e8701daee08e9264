"""What the Segment panel begins with: what to open first, and which tasks there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...models.registry import Entry, list_models
from ...samples.shown import SHOWN
from ...tasks.table import TASKS
from ...tasks.task import Task
from ..parts.panel import Panel
from ..parts.project import project
from ..parts.style import EmptyState, Section, button, row

NOTHING_OPEN = "Open a photograph or a scan (drag a file into the window), or try one of these:"


def first_steps(panel: Panel) -> tuple[EmptyState, Section]:
    """What to do while no image is open, and the samples to try, at the end of a panel."""
    empty = EmptyState(NOTHING_OPEN)
    panel.column.addWidget(empty)
    samples = panel.add_section()
    offered = sorted(SHOWN.items(), key=lambda sample: sample[1].drawn)  # a real photograph first
    buttons = [
        button(shown.words, partial(panel.viewer.open_sample, "napari-tinymig", name), tip=shown.tip)
        for name, shown in offered
    ]
    samples.add(row(*buttons, stretch=None))
    return empty, samples


def follow_layers_and_models(
    panel: Panel, layers_changed: Callable[..., None], models_changed: Callable[[], None]
) -> None:
    """Call a panel back when layers come or go, and when a model was added, for as long as it lives."""
    for emitter in (panel.viewer.layers.events.inserted, panel.viewer.layers.events.removed):
        panel.listen(emitter, layers_changed)
    panel.listen(project.models_changed, models_changed)


def segmenters() -> list[Entry]:
    """Every installed model that segments."""
    return [e for e in list_models() if e.header and e.header.kind == "segmenter" and e.header.task]


def known_tasks(entries: list[Entry]) -> list[Task]:
    """Built-in tasks, and those of the user's own models."""
    tasks = dict(TASKS)
    for entry in entries:
        if entry.header is not None and entry.header.task is not None:
            tasks.setdefault(entry.header.task.name, entry.header.task)
    return list(tasks.values())
