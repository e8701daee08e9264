"""Is a mask anatomically plausible? A sentence for each sign that it is not.

Thresholds are chosen; every true mask of Drishti-GS, of a second fundus set and of nine prostates passes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..base.binary_masks import dilate, erode, label_pieces
from ..tasks.task import Task
from .clinical import extent
from .declared import DECLARED

VOLUME_TO_ELLIPSOID = (0.8, 1.25)
"""True glands: 0.82 to 1.09 times the ellipsoid of their diameters."""
DISC_HEIGHT_TO_WIDTH = (0.8, 1.4)
"""True discs: 0.89 to 1.29; tilted discs of high myopia reach 1.76 and deserve the look that amber asks for."""
DISC_PART_OF_FRAME = (0.002, 0.35)
"""True discs of whole photographs: 0.009 to 0.052; crops around the disc have more."""
CUP_AT_THE_EDGE = 0.1
"""Part of the cup's border that may touch the outside of the disc; true cups: 0."""
SECOND_PIECE = 0.05
"""Part of the mask that may lie outside its largest piece, of a task with a single object."""

Regions = Mapping[str, NDArray[np.bool_]]


def implausible(
    labels: NDArray[np.uint8], task: Task, values: Mapping[str, float], frame_px: int | None = None
) -> tuple[str, ...]:
    """What in a mask, (H, W) or (D, H, W), is unlike anatomy, as sentences for people; () for an empty mask and for
    groups of measures that nothing is known of. values: its measures (`clinical.measure`). frame_px: pixels of the
    whole frame, where `labels` is only the part of it that holds labels, with an empty pixel around."""
    if not labels.any():
        return ()
    regions = {r.name: np.logical_or.reduce([labels == value for value in r.labels]) for r in task.regions}
    frame = labels.size if frame_px is None else frame_px
    said = [doubt for group in task.measures for doubt in SIGNS.get(group, _none)(regions, values, frame)]
    return tuple(said + (_pieces(next(iter(regions.values())), task) if task.single_object else []))


def too_wide(intervals: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """A sentence for each 90 % range that is wider than its measure can be used with (`Measure.widest`)."""
    return tuple(
        f"The 90 % range of the {DECLARED[key].title} is wide: {low:.{DECLARED[key].digits}f} to "
        f"{high:.{DECLARED[key].digits}f} {DECLARED[key].unit}".rstrip()
        + "."
        for key, (low, high) in intervals.items()
        if key in DECLARED and high - low > DECLARED[key].widest
    )


def _none(regions: Regions, values: Mapping[str, float], frame_px: int) -> list[str]:
    return []


def _gland(regions: Regions, values: Mapping[str, float], frame_px: int) -> list[str]:
    counted, ellipsoid = values.get("volume_ml", math.nan), values.get("ellipsoid_volume_ml", math.nan)
    low, high = VOLUME_TO_ELLIPSOID
    if not ellipsoid > 0 or low <= counted / ellipsoid <= high:
        return []
    return [
        f"The counted volume ({counted:.0f} mL) and the ellipsoid of its diameters ({ellipsoid:.0f} mL) disagree: the "
        "outline may leak or miss a part; look at every slice."
    ]


def _disc_and_cup(regions: Regions, values: Mapping[str, float], frame_px: int) -> list[str]:
    said = []
    ratio = values.get("disc_height_px", math.nan) / max(values.get("disc_width_px", math.nan), 1.0)
    if not DISC_HEIGHT_TO_WIDTH[0] <= ratio <= DISC_HEIGHT_TO_WIDTH[1]:
        said.append(f"The disc is {ratio:.1f} times as high as wide; most are 0.9 to 1.3.")
    share = values["disc_area_px"] / frame_px
    if not DISC_PART_OF_FRAME[0] <= share <= DISC_PART_OF_FRAME[1]:
        size = "small" if share < DISC_PART_OF_FRAME[0] else "large"
        said.append(f"The disc is {size} for this photograph ({100 * share:.1f} % of it).")
    if at_the_edge(regions["cup"], regions["disc"]) > CUP_AT_THE_EDGE:
        said.append("The cup reaches the edge of the disc: no rim is left there.")
    return said


def at_the_edge(cup: NDArray[np.bool_], disc: NDArray[np.bool_]) -> float:
    """Part of the cup's border pixels (H, W) that touch the outside of the disc; 0 without a cup."""
    where = tuple(slice(max(low - 1, 0), high + 1) for low, high in extent(cup | disc))
    cup, disc = cup[where], disc[where]
    border = cup & ~erode(cup)
    outside = dilate(~disc)
    return int(np.count_nonzero(border & outside)) / max(int(np.count_nonzero(border)), 1)


def _pieces(mask: NDArray[np.bool_], task: Task) -> list[str]:
    pieces, count = label_pieces(mask[tuple(slice(*ends) for ends in extent(mask))], corners=True)
    sizes = [int(n) for n in np.bincount(pieces.ravel())[1:]]
    if count < 2 or 1 - max(sizes) / sum(sizes) <= SECOND_PIECE:
        return []
    return [f"The {task.regions[0].name} is in {count} pieces; one is expected."]


SIGNS: dict[str, Callable[[Regions, Mapping[str, float], int], list[str]]] = {
    "volume": _gland,
    "cup_disc": _disc_and_cup,
}
"""Group of measures -> its signs of an implausible mask."""
