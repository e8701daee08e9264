"""An image, a task and a starting mask become a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base.records import Prediction, Scan
from ..models.file import read_header
from ..models.registry import default_model, find_model
from ..predict.predictor import Predictor
from ..predict.task_guess import scan_for_task
from ..tasks.anything import ANY, any_task
from ..tasks.table import DEFAULT_TASK, TASKS
from ..tasks.task import Task
from .checks import checked_pixels
from .network import BoxEngine, PromptEngine, prompted_student
from .session import PromptSession

Start = Any
"""'auto' (the student's own mask), None (empty), or labels to mend."""


def begin(
    scan: Scan,
    task: str | Task = DEFAULT_TASK,
    model: str | Path | Predictor | None = None,
    start: Start = "auto",
    engine: PromptEngine | None = None,
    follow: bool = True,
    flat: bool = False,
    box_engine: BoxEngine | None = None,
) -> PromptSession:
    """A session on a scan; see `napari_tinymig.prompt`. flat: the scan is a grey picture (1, H, W) of shape (H, W).

    task: also a whole record, of a structure that no model knows yet; its automatic start is empty.
    """
    checked_pixels(scan.pixels)
    record, predictor = task_and_student(task, model, start, scan.kind, flat)
    scan = scan_for_task(scan, record.input)
    shape = scan.grid_shape[1:] if flat and scan.kind == "volume" else scan.grid_shape
    prediction: Prediction | None = None
    labels: ArrayLike = np.zeros(shape, np.uint8)
    if isinstance(start, str):
        if predictor is not None:
            prediction = predictor.predict(scan)
            labels = prediction.labels.reshape(shape)
    elif start is not None:
        labels = start
    flat = flat and scan.kind == "volume"
    return PromptSession(scan, record, engine or prompted_student(), labels, prediction, follow, flat, box_engine)


def task_and_student(
    task: str | Task, model: str | Path | Predictor | None, start: Start, kind: str, flat: bool
) -> tuple[Task, Predictor | None]:
    """The task's record and, where the start is to be automatic, its student.

    Raises ValueError for a start or task that is not known, and for a model of another task.
    """
    if isinstance(start, str) and start != "auto":
        raise ValueError(f"start is '{start}'; expected 'auto', None (empty), or an array of labels to mend.")
    if isinstance(task, Task):
        return task, None
    if task == ANY:
        return any_task("photograph" if kind == "photograph" else "volume", flat), None
    if isinstance(model, Predictor):
        predictor: Predictor | None = model
    elif isinstance(start, str):
        predictor = Predictor(str(model) if model is not None else default_model(task), "cpu")
    else:
        predictor = None
    if predictor is not None:
        record: Task | None = predictor.task
    elif model is None and task in TASKS:
        record = TASKS[task]
    else:
        header, _ = read_header(find_model(str(model) if model is not None else default_model(task)))
        record = header.task
    if record is None or record.name != task:
        found = "no task" if record is None else f"'{record.name}'"
        raise ValueError(f"the model does {found}, not '{task}'; expected a model of that task; leave model out.")
    return record, predictor if isinstance(start, str) else None
