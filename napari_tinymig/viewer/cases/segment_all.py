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
from ...tasks.task import Task
from ..napari_io.layer_geometry import scan_file_of
from ..napari_io.layers import scan_of
from ..parts.predicting import predict, preferred_model, request_as_preferred
from ..parts.task_guess import guess_task
from .case import Case
from .pictures import picture_of_scan
from .remembered import predicted_path


@dataclass(frozen=True)
class ToSegment:
    """One case and how it is to be segmented. task, model: None = found from the image, its default model."""

    case: Case
    scan: Scan | None
    metadata: dict[str, Any]
    wait_at: Path | None
    task: str | None
    model: str | None


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
    scan, metadata, scan_file = job.scan, job.metadata, None
    if scan is None:
        if job.case.item is None:
            raise ValueError("the image was closed.")
        scan_file = open_input(job.case.item)
        scan, metadata = scan_file.scan, scan_file.metadata
    task = job.task
    if task is None:
        guess = guess_task(scan, metadata, lambda _value: None)
        if guess.task is None:
            raise ValueError(guess.reason)
        task = guess.task
    model = job.model or preferred_model(task)
    if model is None:
        raise ValueError(f"no model for '{task}' is installed; add one in the Models panel.")
    prediction, made_for = predict(request_as_preferred(scan, model), lambda _value: None)
    waits_at = _put_aside(job, scan_file, prediction, made_for)
    picture = picture_of_scan(scan, prediction.labels, made_for) if waits_at is not None else None
    return Segmented(job.case, prediction, made_for, waits_at, picture)


def _put_aside(job: ToSegment, scan_file: ScanFile | None, prediction: Prediction, task: Task) -> Path | None:
    """Write the mask of a file that is not open where it waits until it is opened."""
    if scan_file is None or job.wait_at is None:
        return None
    job.wait_at.parent.mkdir(parents=True, exist_ok=True)
    return write_mask(prediction.labels, scan_file, job.wait_at, task=task, overwrite=True)
