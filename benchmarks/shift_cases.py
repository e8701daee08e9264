"""The images of the shift benchmark: photographs with their truth, held-out ones, and what is done to them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from napari_tinymig.formats import find_inputs
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import recipe_from_dict
from napari_tinymig.shift.corruptions import corrupt


class Case:
    """One image with its truth (None if unknown)."""

    def __init__(self, name: str, pixels: np.ndarray, labels: np.ndarray | None = None, path: Path | None = None):
        self.name, self.pixels, self.labels, self.path = name, pixels, labels, path


def photographs(folder: Path, limit: int | None = None) -> list[Case]:
    """Images of a folder (evenly spaced if limited), with ../labels/<stem>.png where it exists."""
    items = find_inputs([folder])
    if limit and len(items) > limit:
        items = [items[round(i * (len(items) - 1) / (limit - 1))] for i in range(limit)]
    cases = []
    for item in items:
        truth = folder.parent / "labels" / f"{item.name}.png"
        labels = np.asarray(Image.open(truth)) if folder.name == "images" and truth.is_file() else None
        with Image.open(item.path) as picture:
            cases.append(Case(item.name, np.asarray(picture.convert("RGB")), labels, item.path))
    return cases


def held_out(cases: list[Case], predictor: Predictor, folder: Path) -> list[Case]:
    """The cases that the model's own split held back."""
    from napari_tinymig.training.data.cases import find_cases, split_cases

    recipe = recipe_from_dict(dict(predictor.header.lineage.recipe))
    _, held = split_cases(find_cases(folder, recipe.data), recipe.data, recipe.seed)
    names = {c.name for c in held}
    return [c for c in cases if c.name in names]


def re_encoded(case: Case, quality: int) -> Case:
    """The same photograph after one more JPEG at its own size."""
    stream = io.BytesIO()
    Image.fromarray(case.pixels).save(stream, "JPEG", quality=quality)
    return Case(case.name, np.asarray(Image.open(stream).convert("RGB")), case.labels)


def half_size(case: Case) -> Case:
    """A photograph at half its size: corruptions are made there, because the network sees less still."""
    h, w = case.pixels.shape[:2]
    size = (w // 2, h // 2)
    labels = np.asarray(Image.fromarray(case.labels).resize(size, Image.Resampling.NEAREST))
    return Case(case.name, np.asarray(Image.fromarray(case.pixels).resize(size, Image.Resampling.BOX)), labels)


def corrupted(cases: list[Case], name: str, strength: float) -> list[Case]:
    """Every case after one corruption, each with its own seed."""
    return [Case(c.name, corrupt(c.pixels, name, strength, i), c.labels) for i, c in enumerate(cases)]
