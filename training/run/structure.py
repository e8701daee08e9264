"""A first model of a structure that nobody trained for: a few cases of an annotation set, within a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from napari_tinymig.annotations.annotation_set import read_cases
from napari_tinymig.annotations.structures import task_record_of_set
from napari_tinymig.base.errors import ModelFileError
from napari_tinymig.base.records import Message
from napari_tinymig.models.registry import Entry, list_models
from napari_tinymig.recipes.structure import BATCH, FEWEST, epochs_in, structure_recipe
from napari_tinymig.tasks.task import Task

from .train import build_student, pick_device, train

RESERVE_S = 12.0
"""Kept back of the time for reading, export and its check (measured: 6 to 10 s on one thread)."""
DRAWING = 1.5
"""A step with its augmented views takes so many times as long as its arithmetic alone (measured)."""


def train_structure(
    data: str | Path,
    out: str | Path,
    minutes: float = 1.0,
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    before_s: float = 0.0,
) -> Iterator[Message]:
    """Train a model of an annotation set's own structure; messages as `train` gives them, 'done' last.

    A fifth of the cases, at least one, is held back and scored after every epoch. before_s: passed since the user
    asked. Raises ValueError for a set without a record of its task, or without two cases.
    """
    begun = time.monotonic() - before_s
    task = task_record_of_set(data)
    if task is None:
        raise ValueError(f"{data} does not say what its masks show; expected the set of a structure; choose one.")
    used = [c for c in read_cases(data) if c.include]
    if len(used) < 2:
        raise ValueError(f"{data} holds {len(used)} case(s); expected at least 2, better 5; mend and add more.")
    parent = starting_student(task)
    header = parent.header
    if header is None:
        raise ModelFileError(f"{parent.path} cannot be read ({parent.problem}); expected a student; add it again.")

    def recipe_of(epochs: int) -> Any:
        return structure_recipe(task, parent.path, header.input, header.student, epochs)

    step_s = DRAWING * seconds_per_step(recipe_of(FEWEST), pick_device(device))
    left = 60 * minutes - RESERVE_S - (time.monotonic() - begun)
    recipe = recipe_of(epochs_in(left, step_s))
    yield Message("log", text=f"{len(used)} cases; {recipe.optim.epochs} rounds fit into {minutes:g} min here")
    for message in train(recipe, Path(data), (), Path(out), device, stop=stop):
        values = message.values | {"total_s": time.monotonic() - begun}
        yield Message(message.kind, message.step, message.total, values, message.text)


def starting_student(task: Task) -> Entry:
    """The student whose weights a new structure starts from: one of its kind of image that looks at the whole frame.

    Raises ModelFileError where there is none.
    """
    for entry in list_models():
        header = entry.header
        if not entry.bundled or header is None or header.task is None or header.input.roi_scale is not None:
            continue
        usual = header.kind == "segmenter" and header.network == "student" and entry.name == header.task.name
        if usual and header.task.input == task.input:
            return entry
    raise ModelFileError(f"no bundled student looks at a whole {task.input}; expected one; install the package again.")


def seconds_per_step(recipe: Any, device: torch.device) -> float:
    """The arithmetic of one training step here and now, the faster of two; nothing is kept."""
    student = build_student(recipe).to(device).train()
    side = recipe.input.size
    images = torch.zeros(BATCH, 3, side, side, device=device).to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(2):
        tick = time.monotonic()
        student(images).logits.float().mean().backward()
        seconds.append(time.monotonic() - tick)
    return min(seconds)


def run_job(settings: dict[str, Any], stop: Callable[[], bool]) -> Iterator[Message]:
    """`train_structure` as a job of the worker, below the working directory.

    settings: {"data", "minutes", "device", "asked": when the user asked, as time.time()}.
    """
    now = time.time()
    return train_structure(
        find_folder(settings["data"]),
        Path.cwd() / "training",  # the job holds the lock of its own folder
        float(settings.get("minutes", 1.0)),
        str(settings.get("device", "auto")),
        stop,
        max(0.0, now - float(settings.get("asked", now))),
    )


def find_folder(data: str) -> Path:
    """The set's folder. Raises ValueError where it is not there."""
    folder = Path(data)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not there; expected the folder of an annotation set; choose it again.")
    return folder
