"""Classifying one image through the door: plain arrays and numbers out, torch imported only when it is asked for.

Call from a background thread: the first call imports torch and opens the backbone, which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.engine.errors import MissingExtra
from napari_tinymig.engine.records import Scan

_opened: dict[tuple[str, int, str], Any] = {}


@dataclass(frozen=True)
class Look:
    """What a classifier says of one scan.

    classes: names; probabilities, plain: (C,), with and without the prompt. discrepancy: KL(P- || P+), nats.
    shift_score: percentile 0-100 of the source validation images, None if unknown. prompt: (H, W, 3) uint8 in the
    scan's frame, grey = no change, None without a prompt. prompted: (H, W, 3) uint8, what the backbone sees.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    plain: NDArray[np.float32]
    discrepancy: float
    shift_score: float | None
    prompt: NDArray[np.uint8] | None
    prompted: NDArray[np.uint8]
    model_id: str


def open_classifier(path: str | Path, weights: str | None = None) -> Any:
    """A classifier, kept open as long as its file does not change. Raises TinyMIGError, ValueError."""
    try:
        from napari_tinymig.training.classify import Classifier
    except ModuleNotFoundError as e:
        raise MissingExtra("Classifying images", "train") from e
    path = Path(path)
    key = (str(path.resolve()), path.stat().st_mtime_ns if path.exists() else 0, weights or "")
    if key not in _opened:
        _opened.clear()  # one backbone in memory is enough
        _opened[key] = Classifier.open(path, weights)
    return _opened[key]


def look(path: str | Path, weights: str | None, scan: Scan) -> Look:
    """Classify one scan. Raises TinyMIGError for a classifier, backbone or image that cannot be used."""
    classifier = open_classifier(path, weights)
    from napari_tinymig.training.classify_data import load_pixels, scan_item

    item = scan_item(scan)
    pixels = load_pixels([item], classifier.card.backbone.size, classifier.card.max_slices)
    if pixels.failed:
        raise ValueError(next(iter(pixels.failed.values())))
    answer = classifier.answer(pixels, plain=True)[0]
    frame = scan.grid_shape[-2:]
    drawn = classifier.prompt_picture()
    span = float(np.abs(drawn).max())
    grey = ((drawn / (2 * span) + 0.5) * 255).round().astype(np.uint8) if span else None
    return Look(
        classifier.classes,
        answer.probabilities,
        answer.plain,
        float(answer.discrepancy),
        answer.shift_score,
        _stretched(grey, frame) if grey is not None else None,
        _stretched(classifier.prompted_picture(item), frame),
        classifier.file.model_id,
    )


def evidence(
    path: str | Path, weights: str | None, plane: NDArray[np.uint8], label: int, how: str
) -> NDArray[np.float32]:
    """Where in one picture (H, W, 3) uint8 the evidence for a class lies: float32 (H, W), largest magnitude 1."""
    return open_classifier(path, weights).attribution(plane, label, how)


def plane_of(scan: Scan, index: int) -> NDArray[np.uint8]:
    """One slice of a scan as the classifier sees it: uint8 (H, W, 3)."""
    from napari_tinymig.training.classify_data import to_grey8

    if scan.kind == "photograph":
        return scan.pixels
    return np.repeat(to_grey8(np.asarray(scan.pixels))[index][..., None], 3, axis=2)


def _stretched(picture: NDArray[np.uint8], frame: tuple[int, ...]) -> NDArray[np.uint8]:
    """A square picture of the network's grid stretched back over the whole frame (H, W): the inverse of `fit_to`."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((frame[1], frame[0]), Image.Resampling.BILINEAR))
