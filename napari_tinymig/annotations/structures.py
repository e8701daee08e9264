"""Structures of a user's own: a name and classes, with an annotation set each, known before any model is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..base.errors import OutputRefused
from ..models.registry import add_model, list_models, model_paths, set_default, user_folder
from ..tasks.anything import ANY
from ..tasks.colours import OTHER_LABELS
from ..tasks.table import TASKS
from ..tasks.task import Region, Task
from .annotation_set import FILE, AnnotationSet, task_of_set

MOST_CLASSES = 20


@dataclass(frozen=True)
class OwnClass:
    """One class of a new structure. colour: hex. inside: it lies in the first class, as a cup does in its disc."""

    name: str
    colour: str
    inside: bool = False


def task_record_of_set(folder: str | Path) -> Task | None:
    """The whole record of a set's task: the table's, or the one that its list carries; None where neither is there."""
    name = task_of_set(folder)
    if name in TASKS:
        return TASKS[name]
    try:
        raw = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
        return Task.model_validate(raw["task_record"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def structures_folder() -> Path:
    """Where the sets of own structures lie: `structures` beside the user's models."""
    return user_folder().parent / "structures"


def set_folder(task: Task) -> Path:
    """The annotation set of an own structure."""
    return structures_folder() / task.name


def own_structures() -> dict[str, Task]:
    """The structures that have a set, by name; sets that cannot be read are left out."""
    folder = structures_folder()
    sets = sorted(p.parent for p in folder.glob(f"*/{FILE}")) if folder.is_dir() else []
    records = [task_record_of_set(p) for p in sets]
    return {r.name: r for r in records if r is not None}


def tasks_by_name() -> dict[str, Task]:
    """Every task that can be named here: the table's, those of the user's models, and own structures."""
    found = dict(TASKS)
    for entry in list_models():
        if entry.header is not None and entry.header.kind == "segmenter" and entry.header.task is not None:
            found.setdefault(entry.header.task.name, entry.header.task)
    return own_structures() | found


def new_structure(title: str, kind: Literal["photograph", "volume"], classes: Sequence[OwnClass] = ()) -> Task:
    """The record of a structure that nobody knows yet.

    title: in the user's words; the task's name is made of it. classes: the first is the structure itself, default one
    of its title. Raises ValueError for a name that is empty or taken, and for classes without a name or named alike.
    """
    name = re.sub(r"[^\w]+", "-", title.strip().lower()).strip("-_")
    if not name:
        raise ValueError(f"the structure's name is '{title}'; expected a word, such as 'fovea'; give it one.")
    if name == ANY or name in tasks_by_name():
        raise ValueError(f"a structure named '{name}' is there already; expected another name; choose it in the list.")
    classes = classes or (OwnClass(title.strip(), OTHER_LABELS[1]),)
    names = [c.name.strip() for c in classes]
    if not all(names) or len({n.lower() for n in names}) < len(names) or len(names) > MOST_CLASSES:
        raise ValueError(
            f"the classes are named {', '.join(repr(n) for n in names)}; expected 1 to {MOST_CLASSES} different names; "
            "rename them."
        )
    inner = tuple(i for i, c in enumerate(classes, 1) if c.inside and i > 1)
    regions = tuple(
        Region(
            name=n,
            labels=(i, *inner) if i == 1 else (i,),
            label=i,
            class_name=n,
            colour=c.colour,
            inside=names[0] if i in inner else None,
        )
        for i, (n, c) in enumerate(zip(names, classes), 1)
    )
    measures = ("area",) if kind == "photograph" else ("volume",)
    return Task(
        name=name,
        title=title.strip(),
        input=kind,
        regions=regions,
        measures=measures,
        single_object=False,
        can_be_empty=True,
    )


def task_to_prompt(task: str, model: object = None) -> str | Task:
    """What a session takes for a task's name: the name, or the record of an own structure without a model."""
    if model is not None or task == ANY or task in TASKS:
        return task
    trained = {e.header.task.name for e in list_models() if e.header is not None and e.header.task is not None}
    return task if task in trained else own_structures().get(task, task)


def begin_set(task: Task) -> Path:
    """Make the set of a new structure, so that it is known from now on; its folder. Raises OutputRefused."""
    folder = set_folder(task)
    with AnnotationSet(folder, task) as made:
        if made.cases:
            raise OutputRefused(f"{folder} holds cases already; expected a new structure; choose it in the list.")
        made.save()
    return folder


def offer_model(best: Path, task: Task) -> str:
    """Make a trained model of an own structure its default; the name it has from now on, numbered if one is taken.

    Raises what `models.registry.add_model` raises.
    """
    name, number = task.name, 2
    while name in model_paths():
        name, number = f"{task.name}-{number}", number + 1
    add_model(best, name)
    set_default(task.name, name)
    return name
