"""Many cases segmented one after another, in the background: open images and files that are not open."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import TinyMIGError
from ...base.records import Prediction, Scan
from ...formats import ScanFile, open_input, write_mask
from ...formats.dicom_seg import can_write_seg
from ...tasks.table import TASKS
from ...tasks.task import Task
from ..napari_io.layer_geometry import scan_file_of
from ..napari_io.layers import axes_of, finest, scan_of
from ..parts.predicting import predict, preferred_model, request_as_preferred
from ..parts.task_guess import guess_task
from .case import Case
from .mask_files import as_volume_file, is_seg
from .pictures import picture_of_scan
from .remembered import predicted_path


@dataclass(frozen=True)
class ToSegment:
    """One case and how it is to be segmented. task, model: None = found from the image, its default model. frames: of
    a movie, the index of each; they are read one after another, by the worker."""

    case: Case
    scan: Scan | None
    metadata: dict[str, Any]
    wait_at: Path | None
    task: str | None
    model: str | None
    frames: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Segmented:
    """The answer for one case: a prediction with its task and, for a file that is not open, where its mask waits; or
    why there is none."""

    case: Case
    prediction: Prediction | None = None
    task: Task | None = None
    mask_file: Path | None = None
    picture: NDArray[np.uint8] | None = None
    problem: str = ""


def to_segment(case: Case, folder: Path | None, task: str | None, model: str | None) -> ToSegment:
    """What is asked for one case, taken from its layer in the window's thread. folder: of the opened files."""
    if case.image is not None:
        flat = task is not None and task in TASKS and TASKS[task].input == "photograph"
        count = axes_of(case.image, flat).frames
        if count:
            frames = tuple(np.ndindex(*finest(case.image).shape[:count]))
            return ToSegment(case, None, {}, None, task, model, frames)
        scan_file = scan_file_of(case.image)
        return ToSegment(case, scan_of(case.image), scan_file.metadata if scan_file else {}, None, task, model)
    wait_at = predicted_path(folder, case.target) if folder is not None and case.target is not None else None
    return ToSegment(case, None, {}, wait_at, task, model)


def segment_all(jobs: list[ToSegment]) -> Generator[Segmented, None, None]:
    """An answer for every case, in order; a generator for a working thread. One that fails does not stop the rest."""
    for job in jobs:
        try:
            yield _segment(job)
        except (TinyMIGError, ValueError, OSError) as e:
            yield Segmented(job.case, problem=f"'{job.case.name}': {e}")


def _segment(job: ToSegment) -> Segmented:
    if job.frames:
        return _segment_frames(job)
    scan, metadata, scan_file = job.scan, job.metadata, None
    if scan is None:
        if job.case.item is None:
            raise ValueError("the image was closed.")
        scan_file = open_input(job.case.item)
        scan, metadata = scan_file.scan, scan_file.metadata
    model = job.model or _model_for(job.task or _task_of(scan, metadata))
    prediction, made_for = predict(request_as_preferred(scan, model), lambda _value: None)
    waits_at = _put_aside(job, scan_file, prediction, made_for)
    picture = picture_of_scan(scan, prediction.labels, made_for) if waits_at is not None else None
    return Segmented(job.case, prediction, made_for, waits_at, picture)


def _task_of(scan: Scan, metadata: dict[str, Any]) -> str:
    guess = guess_task(scan, metadata, lambda _value: None)
    if guess.task is None:
        raise ValueError(guess.reason)
    return guess.task


def _model_for(task: str) -> str:
    model = preferred_model(task)
    if model is None:
        raise ValueError(f"no model for '{task}' is installed; add one in the Models panel.")
    return model


def _segment_frames(job: ToSegment) -> Segmented:
    """Every frame of a movie: one mask of all frames, without numbers, which are of one frame each."""
    image = job.case.image
    if image is None:
        raise ValueError("the image was closed.")
    model, problems = job.model, []
    answers: list[tuple[Prediction, Task] | None] = []
    for frame in job.frames:
        scan = scan_of(image, frame)
        model = model or _model_for(job.task or _task_of(scan, {}))
        try:
            answers.append(predict(request_as_preferred(scan, model), lambda _value: None))
        except (TinyMIGError, ValueError) as e:
            problems.append(f"frame {' '.join(map(str, frame))}: {e}")
            answers.append(None)
    known = next((a for a in answers if a is not None), None)
    if known is None:
        raise ValueError(problems[0])
    empty = np.zeros(known[0].labels.shape, np.uint8)
    labels = np.stack([a[0].labels if a is not None else empty for a in answers])
    seconds = sum(a[0].seconds for a in answers if a is not None)
    whole = Prediction(labels, known[0].class_names, {}, known[0].task, known[0].model_id, seconds=seconds)
    whole.status = "ok" if labels.any() else "not_found"
    whole.notes = problems
    return Segmented(job.case, whole, known[1])


def _put_aside(job: ToSegment, scan_file: ScanFile | None, prediction: Prediction, task: Task) -> Path | None:
    """Write the mask of a file that is not open where it waits until it is opened."""
    if scan_file is None or job.wait_at is None:
        return None
    job.wait_at.parent.mkdir(parents=True, exist_ok=True)
    able = not is_seg(job.wait_at) or can_write_seg(scan_file)
    wait_at = job.wait_at if able else as_volume_file(job.wait_at)
    return write_mask(prediction.labels, scan_file, wait_at, task=task, overwrite=True)
