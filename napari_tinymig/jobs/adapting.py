"""A model adapted to a folder before it segments it: BatchNorm statistics of the folder's own images, no labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import MissingExtra, TinyMIGError
from ..base.records import Scan
from ..formats import find_scans, open_input
from ..models.file import ModelFile
from ..network.seen_frame import SeenFrame
from ..predict.predictor import Predictor
from ..predict.task_guess import scan_for_task
from ..predict.volume import predict_volume

ADAPTED = "adapted.safetensors"
MOST_IMAGES = 100
"""Images whose statistics are taken, evenly from the folder: more change nothing (chosen)."""
FEWEST_IMAGES = 4


def adapt_to(model: str | Path, inputs: Sequence[Path], out: Path) -> ModelFile:
    """OUT/adapted.safetensors: the model with its BatchNorm statistics mixed with those of the images in `inputs`.

    The same model and images give the same file. What it is worth is in benchmarks/shift.md; it may harm. Masks, and
    images that cannot be read or in which the model finds no region of interest, teach nothing. Raises MissingExtra
    without the [train] extra, ValueError where fewer than four images are left.
    """
    try:
        from napari_tinymig.training.networks.batchnorm import adapt_batchnorm
    except ModuleNotFoundError as e:
        raise MissingExtra("--adapt", "train") from e
    predictor = Predictor(model, "cpu")
    items = find_scans(inputs)
    picks = np.unique(np.linspace(0, len(items) - 1, min(len(items), MOST_IMAGES)).round().astype(int))
    grids: list[NDArray[Any]] = []
    taught = 0
    for index in picks:
        try:
            frames = teaching_frames(predictor, scan_for_task(open_input(items[index]).scan, predictor.task.input))
        except TinyMIGError:
            continue
        taught += bool(frames)
        grids += [frame.grid for frame in frames]
    if taught < FEWEST_IMAGES:
        raise ValueError(
            f"only {taught} of {len(items)} images can be used to adapt {predictor.model_id}; expected at least "
            f"{FEWEST_IMAGES}; leave the adaptation out or give more images of this camera."
        )
    out.mkdir(parents=True, exist_ok=True)
    return adapt_batchnorm(predictor.model, grids, out / ADAPTED, prior=16.0 * len(grids) / taught)


def teaching_frames(predictor: Predictor, scan: Scan) -> list[SeenFrame]:
    """The frames that a mask of the scan is made from; none where the region of interest was not found."""
    if predictor.task.input == "volume":
        return predict_volume(predictor.network, predictor.header, scan).frames
    answer = predictor.answer_photograph(scan, "auto", False, False)
    return [] if answer.findings.roi is None else answer.frames
