"""What a fine-tuning run reads: the user's cases, pictures to replay, references for the acceptance check."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.annotations.annotation_set import is_set, sha16
from napari_tinymig.annotations.label_checks import IGNORE
from napari_tinymig.annotations.plain_folder import without_mask
from napari_tinymig.annotations.reference_folder import check_reference, reference_items, reference_scans
from napari_tinymig.annotations.teaching_cases import refuse_useless, teaching_cases
from napari_tinymig.base.errors import TinyMIGError, UnreadableInput
from napari_tinymig.base.geometry import Box, place, square_box, whole_box
from napari_tinymig.base.records import Scan
from napari_tinymig.models.file import ModelFile
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import ModelHeader, Recipe
from napari_tinymig.samples.table import DRAWN
from napari_tinymig.tasks.table import TASKS
from napari_tinymig.tasks.task import Task

from ..data.annotations import Annotated, roi_from_labels
from ..data.image_set import ImageSet, cache_side
from ..networks.torch_network import TorchNetwork
from .acceptance import region_dice
from .replay import deployed_grids, replay_set, to_source_style

DRAWINGS = 6
STYLED = 6
STOPPED = 2
MOST_LEFT_OUT = 5
USERS_OWN = "your reference folder"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunCases:
    """The cases of a run.

    items: images with masks. annotated: annotated images, a labelled slice of a volume counting as one. hashes: of
    image with label, for the lineage. roles: train | val | auto, per item. warnings: sentences for the user.
    same_case: the items are blocks of slices of one volume.
    """

    items: list[Annotated]
    annotated: int
    hashes: list[str]
    roles: list[str]
    warnings: list[str]
    same_case: bool = False


def gather(folder: Path, model: ModelFile, labels_mean: str = "") -> RunCases:
    """Included cases of an annotation set, checked; what cannot teach is left out with a warning.

    One volume with several labelled slices becomes one item per slice, so that slices can be held out.
    labels_mean: foreign label codes of a plain folder, e.g. '0:2,128:1,255:0'.
    Raises UnreadableInput for a folder that is no set, ValueError for a set of another task and if little is left.
    """
    task = model.header.segmenter_task
    items: list[Annotated] = []
    hashes: list[str] = []
    roles: list[str] = []
    warnings: list[str] = []
    odd: dict[str, list[str]] = {}
    for found in teaching_cases(folder, task, labels_mean):
        if isinstance(found, str):
            warnings.append(found)
            continue
        for text in found.odd:
            odd.setdefault(text, []).append(found.case.stem)
        items.append(Annotated(found.case.stem, found.scan, found.labels))
        both = sha16(found.scan.pixels) + sha16(found.labels)
        hashes.append(sha16(np.frombuffer(both.encode(), np.uint8)))
        roles.append(found.case.role)
    refuse_useless(folder, len(items), warnings)
    warnings = _few(warnings) + [f"{_names(stems)}: {text}" for text, stems in odd.items()]
    if not is_set(folder) and (alone := without_mask(folder)):
        warnings.append(alone)
    if model.header.input.roi_scale is not None:
        items = [_with_roi(i, model) for i in items]
    cases = len(items)
    items, roles = _by_slices(items, roles)
    annotated = sum(len(i.labelled_slices) for i in items)
    return RunCases(items, annotated, hashes, roles, warnings, same_case=len(items) > cases)


def _few(sentences: list[str]) -> list[str]:
    """The first sentences, and how many more there are: two hundred would hide the others."""
    more = len(sentences) - MOST_LEFT_OUT
    return sentences if more <= 0 else [*sentences[:MOST_LEFT_OUT], f"Left out: {more} more for such reasons."]


def _names(stems: list[str]) -> str:
    return ", ".join(stems[:3]) + (f" and {len(stems) - 3} more" if len(stems) > 3 else "")


def _by_slices(items: list[Annotated], roles: list[str]) -> tuple[list[Annotated], list[str]]:
    """A lone volume with several labelled slices is cut into blocks of neighbours, so that some can be held out."""
    if len(items) != 1 or items[0].scan.kind != "volume" or len(items[0].labelled_slices) < 2:
        return items, roles
    item, slices = items[0], items[0].labelled_slices
    blocks = np.array_split(np.asarray(slices), min(4, len(slices)))
    out = []
    for block in blocks:
        labels = np.full_like(item.labels, IGNORE)
        labels[block] = item.labels[block]
        out.append(Annotated(f"{item.name} slices {block[0] + 1}-{block[-1] + 1}", item.scan, labels))
    return out, roles * len(out)


def _with_roi(item: Annotated, model: ModelFile) -> Annotated:
    """The region of interest of a mask that does not outline the whole object: where the model itself looks."""
    if roi_from_labels(item.labels, _roi_recipe(model)) is not None:
        return item
    try:
        prediction = Predictor(model, "cpu", threads=1).predict(item.scan)
    except (TinyMIGError, ValueError) as e:
        log.info("no region of interest for %s: %s", item.name, e)
        return item
    box = prediction.findings.roi
    return item if box is None else Annotated(item.name, item.scan, item.labels, box)


def _roi_recipe(model: ModelFile) -> Recipe:
    return Recipe(name=model.header.name, task=model.header.task, input=model.header.input)


@functools.cache
def drawings(task: str, roi_scale: float | None, count: int = DRAWINGS) -> tuple[tuple[Scan, Box], ...]:
    """Drawn photographs of a task with the box a network looks at; () for tasks without. Drawn once, kept."""
    if task not in DRAWN or TASKS[task].input != "photograph":
        return ()
    rng = np.random.default_rng(1234)
    samples = [DRAWN[task].vary(number, rng) for number in range(count)]
    around = TASKS[task].single_object
    return tuple(
        (s.scan, _box_around(s.truth, roi_scale) if around else whole_box(s.scan.pixels.shape)) for s in samples
    )


def _box_around(truth: NDArray[np.uint8], roi_scale: float | None) -> Box:
    """The square region of interest of a drawn truth (H, W)."""
    ys, xs = np.nonzero(truth)
    reach = float(max(np.ptp(ys), np.ptp(xs)) + 1)
    return square_box((ys.mean() + 0.5, xs.mean() + 0.5), reach * (roi_scale or 3.0))


def _drawn_volumes(task: Task, count: int = 2) -> list[Scan]:
    """Drawn volumes of a task; [] for tasks of photographs and tasks without drawings."""
    if task.name not in DRAWN or task.input != "volume":
        return []
    rng = np.random.default_rng(1234)
    return [DRAWN[task.name].vary(number, rng).scan for number in range(count)]


def replay_pictures(
    cases: RunCases,
    images: ImageSet,
    rows: list[list[int]],
    parent: nn.Module,
    recipe: Recipe,
    header: ModelHeader,
) -> tuple[ImageSet | None, list[NDArray[Any]]]:
    """Pictures in the source's style with the parent's answers, and the same as grids for the drift check.

    Drawings of the task, and the user's photographs recoloured to the source's quantiles where the header has them.
    """
    side = cache_side(recipe)
    quantiles = header.statistics.get("quantiles")
    photograph = recipe.task.input == "photograph"
    grids = [place(scan.pixels, box, side)[0] for scan, box in drawings(recipe.task.name, recipe.input.roi_scale)]
    if photograph and quantiles is not None and np.shape(quantiles) == (3, 17):
        own = deployed_grids(images, [r for some in rows for r in some][:STYLED], side)
        grids = [to_source_style(g, np.asarray(quantiles)) for g in (*grids, *own)]
    if not grids:
        return None, []
    return replay_set(parent, recipe, grids, [f"replayed {i}" for i in range(len(grids))]), grids


def reference_problem(folder: str, header: ModelHeader) -> str:
    """What is wrong with a reference folder, '' if at least one of its images can be read."""
    try:
        if header.task is not None:
            check_reference(folder, header.task)
    except UnreadableInput as e:
        return f"{e} Forgetting is not checked on it."
    return ""


def references_seconds(model: ModelFile, parent: nn.Module, folder: str, clock: Callable[[], float]) -> float:
    """Seconds that `references` will take here and now, from one answer of each kind; 0 where nothing can be asked."""
    task = model.header.task
    if task is None:
        return 0.0
    photographs, volumes = drawings(task.name, model.header.input.roi_scale), _drawn_volumes(task)
    kinds: list[tuple[Scan, Any, int]] = [(scan, box, len(photographs)) for scan, box in photographs[:1]]
    kinds += [(scan, "auto", len(volumes)) for scan in volumes[:1]]
    with contextlib.suppress(UnreadableInput):  # said elsewhere
        count = len(reference_items(folder)) if folder else 0
        first = next(iter(reference_scans(folder, task)), None) if folder else None
        kinds += [(first, "auto", count)] if first is not None else []
    old, seconds = Predictor(model, "cpu", network=TorchNetwork(parent)), 0.0
    for scan, roi, count in kinds:
        tick = clock()
        with contextlib.suppress(TinyMIGError, ValueError):
            old.predict(scan, roi)
        seconds += 2 * count * (clock() - tick)
    return seconds


def references(
    model: ModelFile, header: ModelHeader, parent: nn.Module, child: nn.Module, folder: str, few: bool = False
) -> tuple[dict[str, list[float]], str]:
    """Agreement (mean Dice over regions) of parent's and child's masks, per kind of reference.

    few: two drawings instead of all of them, for a run that was asked to stop and should end within two seconds.
    A kind on which the parent finds nothing at all is left out: two empty masks agree, whatever was forgotten.
    Also a sentence if the user's reference folder could not be used, '' otherwise.
    """
    task = model.header.task
    if task is None:
        return {}, ""
    old = Predictor(model, "cpu", network=TorchNetwork(parent))
    new = Predictor(ModelFile(model.path, header, b"", "child"), "cpu", network=TorchNetwork(child))
    out: dict[str, list[float]] = {}
    found: set[str] = set()

    def compare(kind: str, scan: Scan, roi: Any) -> None:
        try:
            a, b = old.predict(scan, roi).labels, new.predict(scan, roi).labels
        except (TinyMIGError, ValueError) as e:
            log.info("reference left out: %s", e)
            return
        out.setdefault(kind, []).append(float(np.mean(list(region_dice(a, b, task).values()))))
        if a.any():
            found.add(kind)

    for scan, box in drawings(task.name, header.input.roi_scale)[: STOPPED if few else None]:
        compare("drawn pictures", scan, box)
    for scan in _drawn_volumes(task):
        compare("drawn pictures", scan, "auto")
    try:
        for scan in reference_scans(folder, task) if folder else ():
            compare(USERS_OWN, scan, "auto")
    except UnreadableInput as e:
        return {k: v for k, v in out.items() if k in found}, str(e)
    unusable = bool(folder) and USERS_OWN not in found
    problem = f"reference folder: the model finds nothing in any image of {folder}" if unusable else ""
    return {k: v for k, v in out.items() if k in found}, problem
