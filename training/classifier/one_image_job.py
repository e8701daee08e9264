"""One image asked of one classifier, as a job of the worker: the viewer's process never imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.base.records import Message, Scan

from .classify import Classifier
from .images import load_pixels, scan_item, to_grey8


def run_job(settings: dict[str, Any], stop: Callable[[], bool]) -> Iterator[Message]:
    """Answer, or find the evidence for a class; the arrays go to an .npz in the run's folder, named in 'saved'.

    settings: classifier (file), weights (file or None), image (.npy of a scan's pixels), out (.npz); for evidence also
    label (index of the class), index (slice of a volume), how (occlusion or gradient). The arrays of an answer are
    those of `jobs.classifying.Look`; evidence is 'evidence' (H, W).
    """
    classifier = Classifier.open(settings["classifier"], settings.get("weights"))
    yield Message("started", text=f"{classifier.card.backbone.name} is open")
    if stop():
        yield Message("stopped", text="Stopped.")
        return
    scan = Scan(np.load(settings["image"], allow_pickle=False), None, Path(settings["image"]).stem)
    if settings.get("label") is None:
        arrays = _answer(classifier, scan)
    else:
        plane = _plane(scan, int(settings.get("index", 0)))
        arrays = {"evidence": classifier.attribution(plane, int(settings["label"]), settings["how"])}
    np.savez(settings["out"], **arrays)  # type: ignore[arg-type]
    yield Message("saved", text=str(settings["out"]))
    yield Message("done")


def _answer(classifier: Classifier, scan: Scan) -> dict[str, NDArray[Any]]:
    item = scan_item(scan)
    pixels = load_pixels([item], classifier.card.backbone.size, classifier.card.max_slices)
    if pixels.failed:
        raise ValueError(next(iter(pixels.failed.values())))
    answer = classifier.answer(pixels, plain=True)[0]
    frame = scan.grid_shape[-2:]
    score = np.nan if answer.shift_score is None else answer.shift_score
    arrays: dict[str, Any] = {
        "classes": np.array(classifier.classes),
        "probabilities": answer.probabilities,
        "plain": answer.plain,
        "numbers": np.array([answer.discrepancy, score], np.float64),
        "prompted": _stretched(classifier.prompted_picture(item), frame),
        "model_id": np.array(classifier.file.model_id),
    }
    drawn = classifier.prompt_picture()
    span = float(np.abs(drawn).max())
    if span:
        arrays["prompt"] = _stretched(((drawn / (2 * span) + 0.5) * 255).round().astype(np.uint8), frame)
    return arrays


def _plane(scan: Scan, index: int) -> NDArray[np.uint8]:
    """One slice of a scan as the classifier sees it: uint8 (H, W, 3)."""
    if scan.kind == "photograph":
        return scan.pixels
    return np.repeat(to_grey8(np.asarray(scan.pixels))[index][..., None], 3, axis=2)


def _stretched(picture: NDArray[np.uint8], frame: tuple[int, ...]) -> NDArray[np.uint8]:
    """A square picture of the network's grid stretched back over the whole frame (H, W): the inverse of `fit_to`."""
    return np.asarray(Image.fromarray(picture).resize((frame[1], frame[0]), Image.Resampling.BILINEAR))
