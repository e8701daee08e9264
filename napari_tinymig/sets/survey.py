"""A model looks at images the way it predicts them, and what it saw is kept as records: statistics, shift, benchmarks.

At the end of a run, when the model file is written:

    add_statistics("RUN/best.safetensors", (Known(scan, labels, case, held_out) for ...), domain="drishti")
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import ModelFileError
from ..base.geometry import place
from ..base.records import Scan
from ..models.file import ModelFile, read_model_file, write_model_file
from ..network.frame import Frame
from ..network.labels_from_logits import region_logits
from ..predict.volume import predict_volume
from ..recipes.student import ModelHeader
from ..shift.corruptions import CORRUPTIONS, TWO_SIDED, corrupt
from ..shift.source_statistics import FrameRecord, make_statistics, record_frame

if TYPE_CHECKING:
    from ..predict.predictor import Predictor

LESSONS = 8
"""Corrupted versions of every held-out image from which the expected Dice is learned (chosen)."""
LESSON_STRENGTHS = (0.15, 1.0)


@dataclass(frozen=True)
class Known:
    """A source image with its truth.

    labels: (H, W) or (D, H, W) in the scan's grid, None if unknown. case: patient, eye or volume. held_out: not
    trained on.
    """

    scan: Scan
    labels: NDArray[np.uint8] | None = None
    case: str = ""
    held_out: bool = False


def frames_of(predictor: Predictor, scan: Scan) -> list[Frame]:
    """The frames that a prediction of `scan` is made from; empty where the region of interest was not found."""
    if predictor.task.input == "volume":
        return predict_volume(predictor, scan, False, False, None).frames
    return predictor.answer_photograph(scan, "auto", False, False).frames


def record_of(
    frame: Frame,
    header: ModelHeader,
    scan: Scan,
    labels: NDArray[np.uint8] | None = None,
    case: str = "",
    held_out: bool = False,
    corruption: str = "",
) -> FrameRecord:
    """What one frame of a prediction looked like. labels: (H, W), the truth of this frame in the scan's pixels."""
    task = header.task
    if task is None:
        raise ValueError(f"model '{header.name}' names no task; expected a segmenter.")
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


def survey_one(predictor: Predictor, known: Known, corruption: str = "") -> list[FrameRecord]:
    """Records of one image: one of a photograph, one per slice of a volume, none where nothing could be located."""
    frames = frames_of(predictor, known.scan)
    volume = known.scan.kind == "volume"
    records = []
    for z, frame in enumerate(frames):
        labels = known.labels if known.labels is None or not volume else known.labels[z]
        case = known.case or known.scan.name
        records.append(record_of(frame, predictor.header, known.scan, labels, case, known.held_out, corruption))
    return records


def survey(predictor: Predictor, known: Iterable[Known], lessons: int = LESSONS, seed: int = 0) -> list[FrameRecord]:
    """Records of source images, and of `lessons` corrupted versions of every held-out one with truth.

    Volumes get a quarter of the lessons, because every slice counts. A lesson is one corruption of random kind and
    strength, seeded.
    """
    rng = np.random.default_rng(seed)
    records: list[FrameRecord] = []
    for one in known:
        records += survey_one(predictor, one)
        if not one.held_out or one.labels is None:
            continue
        for _ in range(lessons if one.scan.kind == "photograph" else max(1, lessons // 4)):
            pixels, said = lesson(one.scan.pixels, rng)
            records += survey_one(predictor, replace(one, scan=replace(one.scan, pixels=pixels)), said)
    return records


def lesson(pixels: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[Any], str]:
    """`pixels` after one corruption of random kind and strength, and its name: 'blur 0.67'.

    pixels: a photograph, a volume, or a grid (s, s, 3) of either; only uint8 photographs change colour.
    """
    coloured = pixels.dtype == np.uint8 and pixels.shape[-1] == 3
    name = str(rng.choice([c for c in CORRUPTIONS if coloured or c != "temperature"]))
    strength = float(rng.uniform(*LESSON_STRENGTHS))
    if name in TWO_SIDED and rng.random() < 0.5:
        strength = -strength
    return corrupt(pixels, name, strength, int(rng.integers(2**31))), f"{name} {strength:.2f}"


def add_statistics(
    path: str | Path, known: Iterable[Known], domain: str = "", predictor: Predictor | None = None, seed: int = 0
) -> ModelFile:
    """A finished model file with source statistics in its header; written in place, returned.

    predictor: a ready one for this model, e.g. on a GPU. The calibrated temperature is reported under
    `statistics['trust']['temperature']` and not applied, so that masks stay as they were scored. Raises ModelFileError
    for a model that is no segmenter.
    """
    from ..predict.predictor import Predictor as Opened

    model = read_model_file(path)
    if model.header.task is None or model.header.kind != "segmenter":
        raise ModelFileError(f"{path} is a {model.header.kind}; source statistics belong to segmenters.")
    records = survey(predictor or Opened(model), known, seed=seed)
    statistics: dict[str, Any] = make_statistics(records, model.header.task.input, domain)
    header = model.header.model_copy(update={"statistics": statistics})
    return write_model_file(model.path, header, model.weights(), model.onnx)
