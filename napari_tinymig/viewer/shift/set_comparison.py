"""Work of the shift panel that runs in a thread: one image through one or two models, two sets through one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...base.records import Prediction, Scan
from ...formats import find_scans
from ...predict.task_guess import scan_for_task
from ...sets.compare import Comparison, SeenSet, compare_sets, see, see_scan, training_images
from ...shift.source_statistics import read_statistics
from ..parts.predicting import ready


@dataclass(frozen=True)
class SetSpec:
    """Where a set comes from. kind: the model's training images, scans of open layers, or a folder."""

    kind: Literal["training", "layers", "folder"]
    name: str
    folder: Path | None = None
    scans: tuple[Scan, ...] = ()


@dataclass(frozen=True)
class Compared:
    """Two sets as one model sees them, and whose eyes they were."""

    model_id: str
    statistics: dict[str, Any]
    comparison: Comparison


def judge_image(
    scan: Scan, models: list[str], device: str, looks: bool, report: Callable[[Any], None]
) -> list[tuple[str, Prediction]]:
    """(model name, prediction) per model; looks: also take the further looks that make an uncertainty map."""
    answers = []
    for name in models:
        report(None)
        predictor = ready(name, device, 0)
        answers.append((name, predictor.predict(scan_for_task(scan, predictor.task.input), uncertainty=looks)))
    return answers


def compare_in_steps(a: SetSpec, b: SetSpec, model: str) -> Generator[tuple[int, int, str], None, Compared]:
    """Both sets through the model, an image at a time; yields (done, total, name). Raises ValueError if it cannot."""
    predictor = ready(model, "cpu", 0)
    statistics = read_statistics(predictor.header.statistics, model)
    if statistics is None:
        raise ValueError(f"model '{model}' carries no statistics of its training images; choose another one.")
    sets = []
    for spec in (a, b):
        if spec.kind == "training":
            sets.append(training_images(f"training images of {predictor.header.name}", statistics))
            continue
        seen = SeenSet(spec.name)
        if spec.folder is not None:
            inner = spec.folder / "images"
            items = find_scans([inner if inner.is_dir() else spec.folder])
            for i, image in enumerate(see(predictor, statistics, items)):
                seen.images.append(image)
                yield i + 1, len(items), image.name
        for i, scan in enumerate(spec.scans):
            fitting = scan_for_task(scan, predictor.task.input)
            seen.images.append(see_scan(predictor, statistics, fitting, Path(scan.name)))
            yield i + 1, len(spec.scans), scan.name
        sets.append(seen)
    return Compared(predictor.model_id, statistics, compare_sets(statistics, sets[0], sets[1]))
