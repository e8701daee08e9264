"""A folder segmented for the panel: adapted to first where asked for, then image by image, stopped between two."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..batch.folder import plan, run_all
from ..batch.one_input import Options

_ONE_AT_A_TIME = threading.Lock()
ADAPT_WORTH = (
    "Measured, it mostly harms: on one other camera discs gained .6 points of Dice and cups lost .7, on another discs "
    "lost 1.9, polyps lost 2.2. It needs a task and four images."
)
"""What the panel says beside the choice: `benchmarks/adapt_worth.csv`."""


@dataclass(frozen=True)
class BatchRequest:
    """A folder to be segmented. adapt: by a copy of the model that knows the folder's BatchNorm statistics."""

    source: Path
    target: Path
    options: Options
    adapt: bool = False


def run_batch(request: BatchRequest, report: Callable[[Any], None]) -> dict[str, int]:
    """Segment every image of a folder; `report` gets sentences, the number of images, then one row each. Counts by
    status.

    One worker: the other core stays with the window. Stopping keeps everything that is done. A run that was stopped
    and still finishes its last image is waited for: a second one must know that mask. Raises MissingExtra and
    ValueError where the model cannot be adapted.
    """
    with _ONE_AT_A_TIME:
        return _run_batch(request, report)


def _run_batch(request: BatchRequest, report: Callable[[Any], None]) -> dict[str, int]:
    options = adapted(request, report) if request.adapt else request.options
    jobs = plan([request.source], request.target, options)
    report(len(jobs))
    counts: dict[str, int] = {}
    with (
        ThreadPoolExecutor(1, thread_name_prefix="tinymig-batch") as executor,
        closing(run_all(jobs, request.target, executor)) as outcomes,
    ):
        for outcome in outcomes:
            status = str(outcome.row.get("status"))
            counts[status] = counts.get(status, 0) + 1
            report(outcome.row)
    return counts


def adapted(request: BatchRequest, report: Callable[[Any], None]) -> Options:
    """The options with the model's copy that knows the folder's BatchNorm statistics, kept beside the results."""
    from ..jobs.adapting import adapt_to
    from ..models.registry import default_model

    report("Adapting the model to this folder ...")
    options = request.options
    model = adapt_to(options.model or default_model(options.task), [request.source], request.target)
    report(f"Adapted to {model.header.extra['batchnorm_adapted_frames']} frames: {model.model_id}, {model.path.name}")
    return replace(options, model=str(model.path))
