"""One frame as a finished network saw it: descriptors, moments of its stages, its answer. What shift is made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import place
from ..base.records import Scan
from ..base.threads import in_threads
from ..network.labels_from_logits import region_logits
from ..network.run import NetworkOutput
from ..network.seen_frame import SeenFrame
from ..recipes.student import ModelHeader
from .descriptors import ImageDescriptors, describe_image, describe_output
from .truth import compare_with_truth

STD_FLOOR = 1e-3


@dataclass(frozen=True)
class FrameRecord:
    """One frame as the finished network saw it.

    image: descriptors of the grid. moments: per stage (2 C,), spatial means then log standard deviations. output:
    `describe_output`. case: patient or volume; frames of one case are never split. held_out: not trained on. truth:
    `trust.compare_with_truth` where the true mask is known. corruption: '' for an untouched frame.
    """

    image: ImageDescriptors
    moments: tuple[NDArray[np.float32], ...]
    output: dict[str, float]
    case: str = ""
    held_out: bool = False
    truth: dict[str, Any] = field(default_factory=dict)
    corruption: str = ""


def stage_moments(output: NetworkOutput, index: int = 0) -> tuple[NDArray[np.float32], ...]:
    """Per stage (2 C,): spatial means, then logs of the spatial standard deviations, of one frame of a batch."""
    return tuple(
        np.concatenate([mean[index], np.log(np.maximum(std[index], 0) + STD_FLOOR)]).astype(np.float32)
        for mean, std in zip(output.stage_means, output.stage_stds)
    )


def record_frame(
    grid: NDArray[Any],
    output: NetworkOutput,
    index: int,
    names: tuple[str, ...],
    *,
    case: str = "",
    held_out: bool = False,
    field: NDArray[np.bool_] | None = None,
    spacing_mm: tuple[float, float] | None = None,
    view: float = math.nan,
    logits: NDArray[np.float32] | None = None,
    truth: NDArray[np.bool_] | None = None,
    corruption: str = "",
) -> FrameRecord:
    """The record of frame `index` of one batch.

    grid: the frame on the network's grid BEFORE normalisation, RGB (h, w, 3) 0-255 or grey (h, w) (of a 2.5-D input,
    the middle slice). names: regions of the task, in channel order. field, spacing_mm, view: see `describe_image`.
    logits: (R, h, w) of `decide.region_logits` (temperature, thresholds and head seen to; zero decides); None = the
    network's own. truth: (R, h, w) true regions on the same grid, where they are known.
    """
    logits = np.clip(output.logits[index] if logits is None else logits, -30, 30)
    probabilities = 1 / (1 + np.exp(-logits))  # (R, h, w)
    moments = stage_moments(output, index)
    return FrameRecord(
        describe_image(grid, spacing_mm, field, view),
        moments,
        describe_output(probabilities, names),
        case,
        held_out,
        {} if truth is None else compare_with_truth(logits, truth, names),
        corruption,
    )


def records_of(frames: Sequence[SeenFrame], header: ModelHeader, scan: Scan, threads: int = 1) -> list[FrameRecord]:
    """`record_of` for every frame of one scan, in order, on so many cores."""
    return in_threads(lambda frame: record_of(frame, header, scan), frames, threads)


def record_of(
    frame: SeenFrame,
    header: ModelHeader,
    scan: Scan,
    labels: NDArray[np.uint8] | None = None,
    case: str = "",
    held_out: bool = False,
    corruption: str = "",
) -> FrameRecord:
    """What one frame of a prediction looked like. labels: (H, W), the truth of this frame in the scan's pixels."""
    task = header.segmenter_task
    volume = scan.kind == "volume"
    (y0, x0, y1, x1), (height, width) = frame.placement.box, frame.placement.source_shape
    spacing = None
    if volume and scan.spacing_mm is not None:
        steps = ((y1 - y0) / frame.placement.grid_shape[0], (x1 - x0) / frame.placement.grid_shape[1])
        spacing = (scan.spacing_mm[1] * steps[0], scan.spacing_mm[2] * steps[1])
    truth = None
    if labels is not None:
        placed, _ = place(labels, frame.placement.box, frame.placement.grid_shape, order=0)
        truth = np.stack([np.isin(placed, r.labels) for r in task.regions])  # (R, s, s)
    return record_frame(
        frame.grid[..., 1] if volume else frame.grid,
        frame.output,
        frame.index,
        tuple(r.name for r in task.regions),
        case=case,
        held_out=held_out,
        field=frame.inside,
        spacing_mm=spacing,
        view=(y1 - y0) / min(height, width),
        logits=region_logits(frame.logits, header),
        truth=truth,
        corruption=corruption,
    )
