"""Annotated scans of a user become rows of an ImageSet: sparse labels, single slices, regions of interest included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.annotations.label_checks import IGNORE
from napari_tinymig.base.geometry import Box, place, square_box, whole_box
from napari_tinymig.base.records import Scan
from napari_tinymig.recipes.student import Recipe

from .image_set import ROI_MARGIN, ImageSet, cache_side, object_centres, region_targets, slice_field


@dataclass(frozen=True)
class Annotated:
    """One image with its mask (scan.grid_shape, 255 = not labelled).

    roi: (y0, x0, y1, x1), the deployed region of interest of a photograph; None = from the mask, or the whole frame.
    """

    name: str
    scan: Scan
    labels: NDArray[np.uint8]
    roi: Box | None = None

    @property
    def labelled_slices(self) -> list[int]:
        """Slices of a volume with any label; [0] for a photograph."""
        if self.scan.kind == "photograph":
            return [0]
        return [int(z) for z in np.flatnonzero((self.labels != IGNORE).any(axis=(1, 2)))]


def roi_from_labels(labels: NDArray[np.uint8], recipe: Recipe) -> Box | None:
    """The deployed box around a fully outlined outermost region; None where the outline is not whole."""
    scale = recipe.input.roi_scale
    outer = np.isin(labels, recipe.task.regions[0].labels)
    if scale is None or not outer.any() or (labels == IGNORE).any():
        return None
    ys, xs = np.flatnonzero(outer.any(1)), np.flatnonzero(outer.any(0))
    centre = ((ys[0] + ys[-1] + 1) / 2, (xs[0] + xs[-1] + 1) / 2)
    return square_box(centre, scale * max(ys[-1] + 1 - ys[0], xs[-1] + 1 - xs[0]))


def annotated_set(items: Sequence[Annotated], recipe: Recipe) -> tuple[ImageSet, list[list[int]]]:
    """Every item on the cache grid, and for each item its rows with labels (the others are neighbours for context)."""
    rows: list[dict[str, Any]] = []
    labelled: list[list[int]] = []
    for item in items:
        start = len(rows)
        new = [_photograph_row(item, recipe)] if item.scan.kind == "photograph" else _volume_rows(item, recipe)
        for row in new:
            row["before"] += start
            row["after"] += start
        rows += new
        labelled.append([start + i for i, row in enumerate(new) if row["labelled"]])
    targets = np.stack([r["target"] for r in rows])
    data = ImageSet(
        np.stack([r["image"] for r in rows]),
        targets,
        np.asarray([r["view"] for r in rows], np.float32),
        np.asarray([r["fov"] for r in rows], np.float32),
        np.asarray([r["before"] for r in rows], np.int64),
        np.asarray([r["after"] for r in rows], np.int64),
        object_centres(targets),
        [r["name"] for r in rows],
        [r["case"] for r in rows],
        np.stack([r["known"] for r in rows]),
    )
    return data, labelled


def _grid(labels: NDArray[np.uint8], box: Box, side: int, recipe: Recipe) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets (R, s, s) and known (1, s, s), uint8 0..255, of a label map (H, W)."""
    both = np.concatenate([region_targets(labels, recipe.task), (labels != IGNORE)[None]]).astype(np.float32)
    both[-1] += 1e-3  # told apart from the padding around the frame, which is background and known
    placed = np.moveaxis(place(np.moveaxis(both * 255, 0, -1), box, side)[0], -1, 0)  # (R + 1, s, s)
    known = np.where((placed[-1] > 254) | (placed[-1] == 0), 255, 0).astype(np.uint8)
    return np.clip(np.round(placed[:-1]), 0, 255).astype(np.uint8), known[None]


def _photograph_row(item: Annotated, recipe: Recipe) -> dict[str, Any]:
    side, view, shape = cache_side(recipe), 1.0, item.labels.shape
    box = item.roi or roi_from_labels(item.labels, recipe)
    if box is None or recipe.input.roi_scale is None:
        box = whole_box(shape)
    else:
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        box, view = square_box(centre, (box[2] - box[0]) * ROI_MARGIN), 1 / ROI_MARGIN
    image = np.clip(np.round(place(item.scan.pixels, box, side)[0]), 0, 255).astype(np.uint8)
    target, known = _grid(item.labels, box, side, recipe)
    return {
        "image": image,
        "target": target,
        "known": known,
        "view": view,
        "fov": np.nan,
        "before": 0,
        "after": 0,
        "labelled": bool((item.labels != IGNORE).any()),
        "name": item.name,
        "case": item.name,
    }


def _volume_rows(item: Annotated, recipe: Recipe) -> list[dict[str, Any]]:
    """Labelled slices and their neighbours, in order."""
    volume, spacing, side = item.scan.pixels, item.scan.spacing_mm, cache_side(recipe)
    wanted = sorted({min(max(z + d, 0), len(volume) - 1) for z in item.labelled_slices for d in (-1, 0, 1)})
    place_of = {z: i for i, z in enumerate(wanted)}
    shape = volume.shape[1:]
    box, fov = slice_field(shape, spacing)
    rows = []
    for z in wanted:
        target, known = _grid(item.labels[z], box, side, recipe)
        rows.append(
            {
                "image": place(np.asarray(volume[z], np.float32), box, side)[0],
                "target": target,
                "known": known,
                "view": 1.0 if recipe.input.fov_mm is None or np.isnan(fov) else recipe.input.fov_mm / fov,
                "fov": fov,
                "before": place_of.get(max(z - 1, 0), place_of[z]),
                "after": place_of.get(min(z + 1, len(volume) - 1), place_of[z]),
                "labelled": bool((item.labels[z] != IGNORE).any()),
                "name": f"{item.name}:{z}",
                "case": item.name,
            }
        )
    return rows
