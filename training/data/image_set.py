"""Annotated folders become arrays in memory: cases found, split by case, resampled once onto a square cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.annotations.label_checks import IGNORE
from napari_tinymig.base.errors import UnreadableInput
from napari_tinymig.base.geometry import Box, fov_box, place, square_box, whole_box
from napari_tinymig.formats import open_input
from napari_tinymig.recipes.student import Recipe
from napari_tinymig.tasks.task import Task

from .cases import Case, labels_of
from .read_files import read_votes, scan_of

ROI_MARGIN = 1.8
"""Side of a cached photograph over the deployed region of interest: room for shift, rotation and zooming out."""
VOLUME_CACHE_FOV_MM = 200.0


@dataclass
class ImageSet:
    """Cases on a square cache grid, in memory.

    images: photographs uint8 (N, s, s, 3); volumes float32 (N, s, s), one row per slice. targets: uint8 (N, R, s, s),
    0..255 = share of annotators (or area) inside each region of the task. view: (N,) side of the deployed view over
    the side of the cache (the network normally sees the central `view` part). fov_mm: (N,) side of the cache in mm,
    NaN = unknown. before, after: (N,) rows of the neighbouring slices. centre: (N, 2) of the object (x, y) in -1..1,
    0 if empty: zooming in keeps it in view. names, cases: (N,) of each row. known: uint8 (N, 1, s, s), 0 where the
    image is not annotated; None = annotated everywhere.
    """

    images: NDArray[Any]
    targets: NDArray[np.uint8]
    view: NDArray[np.float32]
    fov_mm: NDArray[np.float32]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    centre: NDArray[np.float32]
    names: list[str]
    cases: list[str]
    known: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_volume(self) -> bool:
        """True for slices of volumes."""
        return self.images.ndim == 3


def region_targets(label: NDArray[np.uint8], task: Task) -> NDArray[np.float32]:
    """(R, H, W) 0/1: which pixels belong to each region of the task."""
    return np.stack([np.isin(label, r.labels) for r in task.regions]).astype(np.float32)


def case_targets(case: Case, label: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """(R, H, W) in 0..1: the label's regions, or what the experts' votes say (agreement level or soft share)."""
    targets = region_targets(label, recipe.task)
    levels = {"disc": recipe.data.disc_agreement, "cup": recipe.data.cup_agreement}
    for index, region in enumerate(recipe.task.regions):
        path, level = case.votes.get(region.name), levels.get(region.name)
        if path is None or (level is None and not recipe.loss.soft_labels):
            continue
        votes = read_votes(path).astype(np.float32)  # counts 0..4
        if not recipe.loss.soft_labels:
            targets[index] = votes >= (level or 4)
        elif level is None:
            targets[index] = votes / 4
        else:
            targets[index] = soft_votes(votes, level)
    return targets


def soft_votes(votes: NDArray[np.float32], level: int) -> NDArray[np.float32]:
    """Share of experts as a soft target whose half lies at the agreement level: (v/4)^p, ((level - 1/2)/4)^p = 1/2.

    Chosen: the border that is learned stays that of the level, the experts' doubt around it is kept.
    """
    power = np.log(0.5) / np.log((level - 0.5) / 4)
    return ((votes / 4) ** power).astype(np.float32)


def roi_of(targets: NDArray[np.float32]) -> tuple[tuple[float, float], float] | None:
    """Centre (y, x) and diameter in pixels of the outermost region, None where it is empty."""
    ys, xs = np.nonzero(targets[0] >= 0.5)
    if not len(ys):
        return None
    y0, y1, x0, x1 = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    return ((y0 + y1) / 2, (x0 + x1) / 2), float(max(y1 - y0, x1 - x0))


def cache_side(recipe: Recipe) -> int:
    """Pixels of the cache's side: the network's resolution in the deployed view, twice that for strong zooms."""
    spec = recipe.input
    factor = ROI_MARGIN if spec.roi_scale else (2.0 if recipe.augment.scale[1] > 2 else 1.15)
    return int(round(spec.size * factor / 32) * 32)


def slice_field(shape: Sequence[int], spacing: tuple[float, ...] | None) -> tuple[Box, float]:
    """The square field (pixel edges) of slices (H, W) that is kept, and its side in mm; NaN = unknown spacing."""
    if spacing is None:
        return whole_box((shape[0], shape[1])), np.nan
    side_mm = min(VOLUME_CACHE_FOV_MM, max(shape[0] * spacing[-2], shape[1] * spacing[-1]))
    return fov_box((shape[0], shape[1]), (spacing[-2], spacing[-1]), side_mm), side_mm


def load_set(cases: Sequence[Case], recipe: Recipe, progress: Callable[[int, int], None] | None = None) -> ImageSet:
    """Every case read, its labels mapped, its region of interest cut out generously and resampled once."""
    names = ("image", "target", "known", "view", "fov", "before", "after", "name", "case")
    rows: dict[str, list[Any]] = {k: [] for k in names}
    for number, case in enumerate(cases):
        opened = open_input(case.image)
        scan = scan_of(opened, recipe.task.input)
        image, spacing = scan.pixels, scan.spacing_mm
        label = labels_of(case, recipe.task, recipe.data, opened).reshape(scan.grid_shape) if case.label else None
        add = _add_photograph if recipe.task.input == "photograph" else _add_volume
        add(rows, case, image, spacing, label, recipe)
        if progress:
            progress(number + 1, len(cases))
    known = np.stack(rows["known"])
    return ImageSet(
        np.stack(rows["image"]),
        np.stack(rows["target"]),
        np.asarray(rows["view"], np.float32),
        np.asarray(rows["fov"], np.float32),
        np.asarray(rows["before"], np.int64),
        np.asarray(rows["after"], np.int64),
        object_centres(np.stack(rows["target"])),
        rows["name"],
        rows["case"],
        None if known.all() else known,
    )


def object_centres(targets: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 2) centre (x, y) of the outermost region's box in -1..1 of the cache; (0, 0) where it is empty."""
    out, side = np.zeros((len(targets), 2), np.float32), targets.shape[-1]
    for row, target in enumerate(targets[:, 0]):
        ys, xs = np.nonzero(target > 127)
        if len(ys):
            out[row] = (xs.min() + xs.max() + 1) / side - 1, (ys.min() + ys.max() + 1) / side - 1
    return out


def concatenate(first: ImageSet, second: ImageSet) -> ImageSet:
    """Two sets of one recipe as one; rows of the second follow the first's."""
    n = len(first)
    arrays = {
        k: np.concatenate([getattr(first, k), getattr(second, k) + (n if k in ("before", "after") else 0)])
        for k in ("images", "targets", "view", "fov_mm", "before", "after", "centre")
    }
    known = None
    if first.known is not None or second.known is not None:
        parts = (s.known if s.known is not None else np.full_like(s.targets[:, :1], 255) for s in (first, second))
        known = np.concatenate(list(parts))
    return ImageSet(**arrays, names=first.names + second.names, cases=first.cases + second.cases, known=known)


def _add_photograph(
    rows: dict[str, list[Any]], case: Case, image: NDArray[Any], _spacing: Any, label: Any, recipe: Recipe
) -> None:
    if image.ndim != 3 or image.shape[-1] != 3:
        raise UnreadableInput(f"{case.image} has shape {image.shape}; expected an RGB photograph (H, W, 3)")
    empty = np.zeros((len(recipe.task.regions), *image.shape[:2]), np.float32)
    targets = empty if label is None else case_targets(case, label, recipe)
    side, view = cache_side(recipe), 1.0
    box = whole_box(image.shape)
    known = np.ones(image.shape[:2], np.float32) if label is None else (label != IGNORE).astype(np.float32)
    roi = roi_of(targets) if recipe.input.roi_scale else None
    if roi is not None and recipe.input.roi_scale:
        box = square_box(roi[0], roi[1] * recipe.input.roi_scale * ROI_MARGIN)
        view = 1 / ROI_MARGIN
    rows["image"].append(np.clip(np.round(place(image, box, side)[0]), 0, 255).astype(np.uint8))
    rows["target"].append(_placed_targets(targets, box, side))
    rows["known"].append(placed_known(known, box, side))
    rows["view"].append(view)
    rows["fov"].append(np.nan)
    for key in ("before", "after"):
        rows[key].append(len(rows[key]))
    rows["name"].append(case.name)
    rows["case"].append(case.case)


def _add_volume(
    rows: dict[str, list[Any]],
    case: Case,
    volume: NDArray[Any],
    spacing: tuple[float, ...] | None,
    label: Any,
    recipe: Recipe,
) -> None:
    volume = volume[None] if volume.ndim == 2 else volume
    if label is None:
        label = np.zeros(volume.shape, np.uint8)
    label = label[None] if label.ndim == 2 else label
    side, start = cache_side(recipe), len(rows["image"])
    shape = volume.shape[1:]
    box, fov = slice_field(shape, spacing)
    for z, frame in enumerate(volume):
        rows["image"].append(place(np.asarray(frame, np.float32), box, side)[0])
        rows["target"].append(_placed_targets(region_targets(label[z], recipe.task), box, side))
        rows["known"].append(placed_known((label[z] != IGNORE).astype(np.float32), box, side))
        rows["view"].append(1.0 if recipe.input.fov_mm is None or np.isnan(fov) else recipe.input.fov_mm / fov)
        rows["fov"].append(fov)
        rows["before"].append(start + max(z - 1, 0))
        rows["after"].append(start + min(z + 1, len(volume) - 1))
        rows["name"].append(f"{case.name}:{z}")
        rows["case"].append(case.case)


def _placed_targets(
    targets: NDArray[np.float32], box: tuple[float, float, float, float], side: int
) -> NDArray[np.uint8]:
    placed = place(np.moveaxis(targets * 255, 0, -1), box, side)[0]  # (s, s, R)
    return np.clip(np.round(np.moveaxis(placed.reshape(side, side, -1), -1, 0)), 0, 255).astype(np.uint8)


def placed_known(known: NDArray[np.float32], box: tuple[float, float, float, float], side: int) -> NDArray[np.uint8]:
    """(1, s, s) 0 or 255: which cache pixels are wholly labelled; the padding around the frame is known background."""
    inside = place(np.full_like(known, 255), box, side)[0]
    share = place(known * 255, box, side)[0]
    return np.where(share >= inside - 1, 255, 0).astype(np.uint8)[None]


def middle_views(data: ImageSet, rows: Sequence[int], size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Deployed views without augmentation: grids (n, size, size, 3) not yet normalised, targets (n, R, size, size)."""
    grids, targets = [], []
    for row in rows:
        side = data.images.shape[1]
        box = square_box((side / 2, side / 2), side * float(data.view[row]))
        if data.is_volume:
            frame = np.stack([data.images[i] for i in (data.before[row], row, data.after[row])], -1)
        else:
            frame = data.images[row]
        grids.append(place(frame, box, size)[0])
        target = np.moveaxis(data.targets[row], 0, -1).astype(np.float32)  # (s, s, R)
        placed = place(target, box, size)[0].reshape(size, size, -1)
        targets.append(np.moveaxis(placed, -1, 0) / 255)
    return np.stack(grids), np.stack(targets)


def middle_known(data: ImageSet, rows: Sequence[int], size: int) -> NDArray[np.bool_]:
    """(n, 1, size, size): where the deployed views without augmentation are labelled."""
    out = np.ones((len(rows), 1, size, size), bool)
    if data.known is not None:
        side = data.images.shape[1]
        for i, row in enumerate(rows):
            box = square_box((side / 2, side / 2), side * float(data.view[row]))
            out[i, 0] = place(data.known[row, 0].astype(np.float32), box, size)[0] > 127
    return out
