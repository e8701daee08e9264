"""A model looks at images the way it predicts them, and what it saw is kept as records: statistics, shift, benchmarks.

At the end of a run, when the model file is written:

    add_statistics("RUN/best.safetensors", (Known(scan, labels, case, held_out) for ...), domain="drishti")
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import ModelFileError
from ..base.records import Scan
from ..models.file import ModelFile, read_model_file, write_model_file
from ..network.seen_frame import SeenFrame
from ..predict.predictor import Predictor
from ..predict.slabs import Slabs
from ..predict.volume import predict_volume
from ..shift.corruptions import CORRUPTIONS, TWO_SIDED, corrupt
from ..shift.fit import make_statistics
from ..shift.frame_record import FrameRecord, record_of

CORRUPTED_VERSIONS = 8
"""Corrupted versions of every held-out image from which the expected Dice is learned (chosen)."""
CORRUPTION_STRENGTHS = (0.15, 1.0)


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


def frames_of(predictor: Predictor, scan: Scan) -> list[SeenFrame]:
    """The frames that a prediction of `scan` is made from; empty where the region of interest was not found."""
    if predictor.task.input == "volume":
        return predict_volume(predictor.network, predictor.header, scan).frames
    return predictor.answer_photograph(scan, "auto", False, False).frames


def survey_one(predictor: Predictor, known: Known, corruption: str = "") -> list[FrameRecord]:
    """Records of one image: one of a photograph, one per slice of a volume, none where nothing could be located."""
    frames = frames_of(predictor, known.scan)
    volume = known.scan.kind == "volume"
    records = []
    truth = known.labels
    if truth is not None and volume:
        truth = Slabs.of(known.scan, predictor.header.input.fov_mm).seen_labels(truth)
    for z, frame in enumerate(frames):
        labels = truth if truth is None or not volume else truth[z]
        case = known.case or known.scan.name
        records.append(record_of(frame, predictor.header, known.scan, labels, case, known.held_out, corruption))
    return records


def survey(
    predictor: Predictor, known: Iterable[Known], versions: int = CORRUPTED_VERSIONS, seed: int = 0
) -> list[FrameRecord]:
    """Records of source images, and of `versions` corrupted versions of every held-out one with truth.

    Volumes get a quarter of them, because every slice counts. Each is one corruption of random kind and
    strength, seeded.
    """
    rng = np.random.default_rng(seed)
    records: list[FrameRecord] = []
    for one in known:
        records += survey_one(predictor, one)
        if not one.held_out or one.labels is None:
            continue
        for _ in range(versions if one.scan.kind == "photograph" else max(1, versions // 4)):
            pixels, corruption = corrupted_version(one.scan.pixels, rng)
            records += survey_one(predictor, replace(one, scan=replace(one.scan, pixels=pixels)), corruption)
    return records


def corrupted_version(pixels: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[Any], str]:
    """`pixels` after one corruption of random kind and strength, and its name: 'blur 0.67'.

    pixels: a photograph, a volume, or a grid (s, s, 3) of either; only uint8 photographs change colour.
    """
    coloured = pixels.dtype == np.uint8 and pixels.shape[-1] == 3
    name = str(rng.choice([c for c in CORRUPTIONS if coloured or c != "temperature"]))
    strength = float(rng.uniform(*CORRUPTION_STRENGTHS))
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
    model = read_model_file(path)
    if model.header.task is None or model.header.kind != "segmenter":
        raise ModelFileError(f"{path} is a {model.header.kind}; source statistics belong to segmenters.")
    records = survey(predictor or Predictor(model), known, seed=seed)
    statistics: dict[str, Any] = make_statistics(records, model.header.task.input, domain)
    header = model.header.model_copy(update={"statistics": statistics})
    return write_model_file(model.path, header, model.weights(), model.onnx)
