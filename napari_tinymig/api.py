"""The Python interface: arrays in, a Prediction out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .base.picture_axes import is_colours_first
from .base.records import Message, Prediction, Scan
from .jobs.accelerate import open_network
from .models.registry import default_model
from .predict.predictor import Predictor, Roi
from .predict.task_guess import TaskGate, scan_for_task
from .tasks.table import DEFAULT_TASK

if TYPE_CHECKING:
    from .prompts.session import PromptSession


@lru_cache(maxsize=4)
def _kept(model: str, device: str, cup_offset: float | None) -> Predictor:
    return Predictor(model, device, cup_offset=cup_offset, on_gpu=open_network)


def load_model(
    model: str | Path, device: str = "auto", threads: int | None = None, cup_offset: float | None = None
) -> Predictor:
    """A model by name or file, ready to predict many scans: `load_model("optic").predict(Scan(pixels))`."""
    return Predictor(model, device, threads, cup_offset=cup_offset, on_gpu=open_network)


def _opened(model: str | Path | Predictor, device: str, cup_offset: float | None) -> Predictor:
    if not isinstance(model, Predictor):
        return _kept(str(model), device, cup_offset)
    if cup_offset is not None:
        raise ValueError("the opened model has a cup offset of its own; give it to load_model instead.")
    return model


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
    """Mask, measures and trust of one image.

    Parameters
    ----------
    image
        A path; a Scan; an RGB photograph (H, W, 3) or (H, W, 4), 8 or 16 bit, or without a spacing also (3, H, W); a
        grey slice (H, W); or a volume (D, H, W), rows front to back, columns patient right to left.
    spacing
        mm per pixel in array order; None = unknown (no mL, no mm).
    task
        auto (metadata, then the shipped gate), or a known task: optic, prostate or polyp.
    model
        Name, file, or what `load_model` gave; None = the task's default.
    cup_offset
        Optic: cups drawn tighter (below 0) or more generous, in log-odds of the cup-to-disc ratio; None = as the model
        draws them. With what `load_model` gave, name it there.

    Raises
    ------
    ValueError, TinyMIGError
        Wrong arguments; images and models that cannot be used (`napari_tinymig.base.errors`).
    """
    scan, metadata = _scan_of(image, spacing)
    if model is None:
        model = default_model(TaskGate().task_of(scan, metadata) if task == "auto" else task)
    predictor = _opened(model, device, cup_offset)
    if task not in ("auto", predictor.task.name):
        raise ValueError(f"the model does '{predictor.task.name}', not '{task}'; leave one of them out.")
    scan = scan_for_task(scan, predictor.task.input)
    return predictor.predict(scan, roi, probabilities, uncertainty, psa_ng_ml=psa_ng_ml)


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
    from .prompts.checks import checked_pixels

    if not isinstance(image, Scan | str | Path):
        image = checked_pixels(np.asarray(image))
    scan, _ = _scan_of(image, spacing)
    flat = not isinstance(image, Scan | str | Path) and np.ndim(image) == 2
    task, boxes = task_to_prompt(task, model), open_box_engine(engine)  # type: ignore[assignment]
    return begin(scan, task, model, start, follow=follow, flat=flat, box_engine=boxes)


def _scan_of(image: Any, spacing: tuple[float, ...] | None) -> tuple[Scan, dict[str, Any]]:
    """The image as a Scan, with the metadata of a file."""
    if isinstance(image, Scan):
        return image, {}
    if isinstance(image, str | Path):
        from .formats import open_input

        opened = open_input(image)
        return opened.scan, opened.metadata
    from .formats import eight_bit

    pixels = np.asarray(image)
    if spacing is None and is_colours_first(pixels.shape, pixels.dtype):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        return Scan(np.ascontiguousarray(eight_bit(pixels[..., :3])), spacing), {}
    if pixels.ndim == 2:
        return Scan(pixels[None], None if spacing is None else (1.0, *spacing[-2:])), {}
    if pixels.ndim == 3:
        return Scan(pixels, spacing), {}
    raise ValueError(
        f"the image has shape {pixels.shape}; expected (H, W, 3) colour, (H, W) grey or (D, H, W); give one at a time."
    )


def finetune(model: str | Path, data: str | Path, out: str | Path, **settings: Any) -> Iterator[Message]:
    """Fine-tune a model on a folder of corrected masks, in this process; yields the messages of the run.

    model: name or file. data: a domain folder (images/ and labels/). out: the run's folder. settings: those of
    `tinymig finetune`, such as minutes=1. Raises MissingExtra without the [train] extra.
    """
    from .base.errors import MissingExtra

    try:
        from napari_tinymig.training.finetune.run import finetune as run
    except ImportError as e:
        if e.name and e.name.startswith("napari_tinymig"):
            raise
        raise MissingExtra("Fine-tuning", "train") from e
    yield from run(model=model, data=data, out=out, **settings)
