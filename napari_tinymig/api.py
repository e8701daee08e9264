"""The Python interface: arrays in, a Prediction out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .base.records import Message, Prediction, Scan
from .jobs.accelerate import open_network
from .jobs.beside_window import torch_beside_window
from .models.registry import default_model
from .predict.given_array import scan_of_array, with_spacing
from .predict.predictor import Predictor, Roi, kept_predictor
from .predict.task_guess import TaskGate, scan_for_task
from .tasks.table import DEFAULT_TASK

if TYPE_CHECKING:
    from .prompts.session import PromptSession

ASKED_BY_OTHERS = {
    "gate": "tells the task of an image (task='auto' asks it)",
    "locator": "finds the disc for the students of disc and cup",
    "prompted": "answers prompts (napari_tinymig.prompt asks it)",
}
"""Kinds of models that other parts ask."""


def load_model(
    model: str | Path, device: str = "auto", threads: int | None = None, cup_offset: float | None = None
) -> Predictor:
    """A model by name or file, ready to predict many scans: `load_model("optic").predict(Scan(pixels))`.

    Raises ValueError for a model that segments nothing by itself, such as the one that tells the task.
    """
    opened = Predictor(model, device, threads, cup_offset=cup_offset, on_gpu=open_network)
    if what := ASKED_BY_OTHERS.get(opened.header.kind):
        raise ValueError(f"model '{opened.header.name}' {what} and segments nothing by itself; expected a segmenter.")
    return opened


def segment(
    image: ArrayLike | str | Path | Scan,
    spacing: tuple[float, ...] | None = None,
    task: str = "auto",
    model: str | Path | Predictor | None = None,
    *,
    roi: Roi = "auto",
    device: str = "auto",
    probabilities: bool = False,
    uncertainty: bool = False,
    psa_ng_ml: float | None = None,
    cup_offset: float | None = None,
) -> Prediction:
    """Mask, measures and trust of one image; the labels have the image's shape, (H, W) or (D, H, W).

    Parameters
    ----------
    image
        A path; a Scan; an RGB photograph (H, W, 3) or (H, W, 4), 8 or 16 bit, or without a spacing also (3, H, W); a
        grey slice (H, W); or a volume (D, H, W), rows front to back, columns patient right to left.
    spacing
        mm per pixel in array order; None = unknown (no mL, no mm). Of a grey slice two numbers (no mL), or three with
        its thickness first. Of a file or Scan only where it has none of its own.
    task, model
        auto (metadata, then the shipped gate), or optic, prostate, polyp. A name, file, or what `load_model` gave;
        None = the task's default.
    cup_offset
        Optic: cups tighter (below 0) or more generous, in log-odds of the cup-to-disc ratio; None = the model's own.

    Raises
    ------
    ValueError, TinyMIGError
        Wrong arguments; images and models that cannot be used (`napari_tinymig.base.errors`).
    """
    (scan, metadata), flat = _scan_of(image, spacing), _is_grey_picture(image)
    if isinstance(model, Predictor) and cup_offset is not None:
        raise ValueError("the opened model has a cup offset of its own; give it to load_model instead.")
    if not isinstance(model, Predictor):
        name = str(model or default_model(TaskGate().task_of(scan, metadata) if task == "auto" else task))
        model = kept_predictor(name, device, cup_offset=cup_offset, on_gpu=open_network)
    does = model.header.segmenter_task
    if task not in ("auto", does.name):
        raise ValueError(f"the model does '{does.name}', not '{task}'; leave one of them out.")
    found = model.predict(scan_for_task(scan, does.input), roi, probabilities, uncertainty, psa_ng_ml=psa_ng_ml)
    return _flat(found) if flat else found


def prompt(
    image: ArrayLike | str | Path | Scan,
    spacing: tuple[float, ...] | None = None,
    task: str = DEFAULT_TASK,
    model: str | Path | Predictor | None = None,
    start: ArrayLike | str | None = "auto",
    *,
    engine: str = "student",
    follow: bool = True,
) -> PromptSession:
    """A session in which clicks, scribbles and boxes make or mend the mask of one image.

    Parameters
    ----------
    image, spacing
        As for `segment`.
    task
        optic, prostate, polyp, a task or structure of your own by its name, or 'any': nobody trained for it, label 1.
    model
        The student of the automatic mask: name, file, or what `load_model` gave; None = the task's default.
    start
        'auto': the student's own mask (empty for 'any'); None: empty; an array: labels of this image to mend.
    engine
        'student': the bundled prompted student. 'litemedsam': boxes are answered by LiteMedSAM, which the extra
        [medsam] installs; everything else by the student.
    follow
        Volumes: every prompt is followed through the neighbouring slices before it returns. False = only where
        `session.follow()` is asked for, as the viewer does in a worker.

    Raises
    ------
    ValueError, TinyMIGError
        Wrong arguments; images and models that cannot be used (`napari_tinymig.base.errors`).
    """
    from .annotations.structures import task_to_prompt
    from .jobs.box_engine import open_box_engine
    from .prompts.begin import begin

    scan, _ = _scan_of(image, spacing)
    flat = _is_grey_picture(image)
    task, boxes = task_to_prompt(task, model), open_box_engine(engine)  # type: ignore[assignment]
    return begin(scan, task, model, start, follow=follow, flat=flat, box_engine=boxes)


def _is_grey_picture(image: Any) -> bool:
    """Whether an array (H, W) was given, whose mask is to be (H, W), too."""
    return not isinstance(image, Scan | str | Path) and np.ndim(image) == 2


def _flat(prediction: Prediction) -> Prediction:
    """The prediction of one slice without the axis of slices."""
    if prediction.labels.ndim == 2:
        return prediction
    prediction.labels = prediction.labels[0]
    if prediction.probabilities is not None:
        prediction.probabilities = prediction.probabilities[:, 0]
    if prediction.uncertainty_map is not None:
        prediction.uncertainty_map = prediction.uncertainty_map[0]
    return prediction


def _scan_of(image: Any, spacing: tuple[float, ...] | None) -> tuple[Scan, dict[str, Any]]:
    """The image as a Scan, with the metadata of a file."""
    if isinstance(image, Scan):
        return with_spacing(image, spacing), {}
    if isinstance(image, str | Path):
        from .formats import open_input

        opened = open_input(image)
        return with_spacing(opened.scan, spacing), opened.metadata
    return scan_of_array(image, spacing), {}


def finetune(model: str | Path, data: str | Path, out: str | Path, **settings: Any) -> Iterator[Message]:
    """Fine-tune a model on a folder of corrected masks, in this process; yields the messages of the run.

    model: name or file. data: a domain folder (images/ and labels/). out: the run's folder. settings: those of
    `tinymig finetune`, such as minutes=1. Raises MissingExtra without the [train] extra.
    """
    from .base.errors import MissingExtra

    try:
        with torch_beside_window():  # napari's console may ask
            from napari_tinymig.training.finetune.run import finetune as run
    except ImportError as e:
        if e.name and e.name.startswith("napari_tinymig"):
            raise
        raise MissingExtra("Fine-tuning", "train") from e
    yield from run(model=model, data=data, out=out, **settings)
