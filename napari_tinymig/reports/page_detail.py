"""The second picture of a report: the rim by clock hour of a disc, or a volume's mask in three planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.records import Scan
from ..measures.clinical import rim_profile
from ..measures.ellipse import extent
from ..tasks.colours import colour_of
from ..tasks.task import Task
from .page_colours import PRINT_THINNEST, PRINT_TICKS

Box = tuple[float, float, float, float]
"""Left, bottom, width, height in parts of the page."""


def draw_detail(figure: Any, scan: Scan, labels: NDArray[np.uint8], task: Task, box: Box) -> bool:
    """Draw what fits the task's measures into `box` of a matplotlib figure; False where nothing does."""
    draw = next((DETAILS[group] for group in task.measures if group in DETAILS), None)
    return bool(labels.any()) and draw is not None and draw(figure, scan, labels, task, box)


def _rim_clock(figure: Any, scan: Scan, labels: NDArray[np.uint8], task: Task, box: Box) -> bool:
    """Width of the rim at every clock hour, as seen in the photograph, the thinnest hour marked."""
    profile = rim_profile(labels, None, scan.spacing_mm)
    if profile is None:
        return False
    left, bottom, width, height = box
    axes = figure.add_axes((left, bottom + 0.015, width, height - 0.05), projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    hours = np.arange(1, 13)
    widths = [profile.clock_hours[int(h)] for h in hours]
    colours = [PRINT_THINNEST if h == profile.thinnest_hour else colour_of(task, task.regions[0]) for h in hours]
    axes.bar(np.deg2rad(30 * hours), widths, width=np.deg2rad(27), color=colours, alpha=0.85)
    axes.set_xticks(np.deg2rad(30 * hours), [str(h) for h in hours], fontsize=9)
    axes.set_yticks(axes.get_yticks()[1::2])
    axes.tick_params(axis="y", labelsize=7, colors=PRINT_TICKS)
    axes.set_rlabel_position(15)
    axes.set_title(f"rim by clock hour, {profile.unit} (amber: thinnest)", fontsize=9, pad=8)
    return True


def _three_planes(figure: Any, scan: Scan, labels: NDArray[np.uint8], task: Task, box: Box) -> bool:
    """The mask's outline in the axial, coronal and sagittal plane through its middle."""
    pixels = np.asarray(scan.pixels)
    spacing = scan.spacing_mm or (1.0, 1.0, 1.0)
    around = _around(labels)
    pixels, labels = pixels[around], labels[around]
    middle = [int(np.round(c.mean())) for c in np.nonzero(labels)]
    low, high = np.percentile(pixels[middle[0]], (0.5, 99.5))
    left, bottom, width, height = box
    for k, name in enumerate(("axial", "coronal", "sagittal")):
        rows, columns = (a for a in range(3) if a != k)
        plane, mask = np.take(pixels, middle[k], axis=k), np.take(labels, middle[k], axis=k)
        if k:  # feet below
            plane, mask = plane[::-1], mask[::-1]
        part = (left, bottom + 0.13, width, height - 0.17) if k == 0 else None
        axes = figure.add_axes(part or (left + (k - 1) * width / 2, bottom, width / 2 - 0.01, 0.11))
        axes.imshow(plane, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=spacing[rows] / spacing[columns])
        for region in task.regions:
            inside = np.isin(mask, region.labels)
            if inside.any():
                axes.contour(inside, levels=[0.5], colors=[colour_of(task, region)], linewidths=1.2)
        axes.set_title(name, fontsize=8, pad=2)
        axes.set_axis_off()
    return True


def _around(labels: NDArray[np.uint8]) -> tuple[slice, ...]:
    """The part of a volume that holds the mask, half its size more on every side, and every slice."""
    box = [slice(0, labels.shape[0])]
    for (first, last), length in zip(extent(labels > 0)[1:], labels.shape[1:]):
        margin = (last - first) // 2
        box.append(slice(max(0, first - margin), min(length, last + margin)))
    return tuple(box)


DETAILS: dict[str, Callable[[Any, Scan, NDArray[np.uint8], Task, Box], bool]] = {
    "cup_disc": _rim_clock,
    "volume": _three_planes,
}
"""Group of measures -> its picture."""
