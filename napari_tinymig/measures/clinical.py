"""Clinical numbers of one mask: cup-to-disc ratios and rim, gland volume and diameters, polyp area.

All functions take labels on the scan's own grid and are quick enough to follow a brush (< 100 ms at 1536 px). A
number that cannot be measured is NaN, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..base.binary_masks import label_pieces
from ..tasks.table import TASKS
from ..tasks.task import Task
from .ellipse import extent

Laterality = Literal["right", "left"]
RAYS = 360
CLOCK_HOURS = tuple(range(1, 13))


@dataclass(frozen=True)
class RimProfile:
    """Width of the neuroretinal rim around the disc.

    angles_deg: (360,) counted clockwise from 12 o'clock as seen in the photograph. width: (360,) rim width along the
    ray from the disc's centre. disc_radius: (360,). Both in pixels, or mm where `unit` says so. clock_hours: mean
    width of the 30-degree sector of each hour 1..12. sectors: mean width over superior and inferior and, where the
    eye is known, nasal and temporal (else image left and right), 90 degrees each. thinnest_hour: hour of the least
    width. isnt: True if inferior >= superior >= nasal >= temporal (the ISNT rule), None if the eye is unknown.
    """

    angles_deg: NDArray[np.float64]
    width: NDArray[np.float64]
    disc_radius: NDArray[np.float64]
    clock_hours: dict[int, float]
    sectors: dict[str, float]
    thinnest_hour: int
    isnt: bool | None
    unit: str = "px"


def measure(
    labels: NDArray[Any],
    task: Task | str,
    spacing_mm: tuple[float, ...] | None = None,
    psa_ng_ml: float | None = None,
) -> dict[str, float]:
    """Measures by name for a label array (H, W) or (D, H, W); NaN where a number does not exist.

    cup_disc: vcdr, hcdr, area_ratio, disc_area_px, cup_area_px, disc_height_px, cup_height_px, disc_width_px,
    cup_width_px, and disc_area_mm2, cup_area_mm2, disc_height_mm where the spacing is known. volume: volume_ml,
    diameter_ap_mm, diameter_transverse_mm, diameter_cc_mm, ellipsoid_volume_ml, gland_voxels and, with a PSA value in
    ng/mL, psa_density (ng/mL per mL). area: area_px, area_fraction, objects, and area_mm2 where the spacing is known.
    """
    task = TASKS[task] if isinstance(task, str) else task
    out: dict[str, float] = {}
    for group in task.measures:
        if group not in GROUPS:
            raise ValueError(f"task '{task.name}' asks for the measures '{group}'; expected {', '.join(GROUPS)}.")
        out |= GROUPS[group](lambda name: _region(labels, task, name), task, spacing_mm, psa_ng_ml)
    return out


def _region(labels: NDArray[Any], task: Task, name: str) -> NDArray[np.bool_]:
    """The mask of a named region: all of its label values."""
    region = next((r for r in task.regions if r.name == name), None)
    if region is None:
        raise ValueError(
            f"task '{task.name}' has no region '{name}'; it has {', '.join(r.name for r in task.regions)}."
        )
    mask = labels == region.labels[0]
    for value in region.labels[1:]:
        mask |= labels == value
    return mask


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan


def cup_disc(
    disc: NDArray[np.bool_], cup: NDArray[np.bool_], spacing_mm: tuple[float, ...] | None = None
) -> dict[str, float]:
    """Cup-to-disc measures of two masks (H, W). A disc without a cup has ratio 0; without a disc ratios are NaN."""
    (dy0, dy1), (dx0, dx1) = extent(disc)
    (cy0, cy1), (cx0, cx1) = extent(cup)
    disc_area, cup_area = float(np.count_nonzero(disc)), float(np.count_nonzero(cup))
    out = {
        "vcdr": _ratio(cy1 - cy0, dy1 - dy0),
        "hcdr": _ratio(cx1 - cx0, dx1 - dx0),
        "area_ratio": _ratio(cup_area, disc_area),
        "disc_area_px": disc_area,
        "cup_area_px": cup_area,
        "disc_height_px": float(dy1 - dy0),
        "cup_height_px": float(cy1 - cy0),
        "disc_width_px": float(dx1 - dx0),
        "cup_width_px": float(cx1 - cx0),
    }
    if spacing_mm is not None:
        out["disc_area_mm2"] = disc_area * spacing_mm[0] * spacing_mm[1]
        out["cup_area_mm2"] = cup_area * spacing_mm[0] * spacing_mm[1]
        out["disc_height_mm"] = (dy1 - dy0) * spacing_mm[0]
    return out


def gland_volume(
    gland: NDArray[np.bool_], spacing_mm: tuple[float, ...] | None, psa_ng_ml: float | None = None
) -> dict[str, float]:
    """Volume and diameters of a gland (D, H, W); spacing_mm (slice, row, column), None = unknown: NaN in mm.

    Diameters are the extents along the scan's axes (slices = craniocaudal, rows = antero-posterior, columns =
    transverse). ellipsoid_volume_ml = pi/6 x the product of the three, the bedside formula, beside the counted volume.
    """
    bounds = extent(gland)
    voxels = float(np.count_nonzero(gland))
    out = {"gland_voxels": voxels}
    if spacing_mm is None or len(spacing_mm) != 3:
        cc = ap = transverse = volume = math.nan
    else:
        cc, ap, transverse = ((b - a) * s for (a, b), s in zip(bounds, spacing_mm, strict=True))
        volume = voxels * math.prod(spacing_mm) / 1000
    out |= {
        "volume_ml": volume,
        "diameter_ap_mm": ap,
        "diameter_transverse_mm": transverse,
        "diameter_cc_mm": cc,
        "ellipsoid_volume_ml": math.pi / 6 * ap * transverse * cc / 1000,
    }
    if psa_ng_ml is not None:
        out["psa_density"] = psa_density(psa_ng_ml, volume)
    return out


def psa_density(psa_ng_ml: float, volume_ml: float) -> float:
    """PSA divided by gland volume, ng/mL per mL; NaN without a volume. Raises ValueError for a negative PSA."""
    if not (math.isfinite(psa_ng_ml) and psa_ng_ml >= 0):
        raise ValueError(f"PSA is {psa_ng_ml}; expected a number >= 0 in ng/mL.")
    return psa_ng_ml / volume_ml if volume_ml > 0 else math.nan


def areas(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...] | None = None) -> dict[str, float]:
    """Area of a mask (H, W), its part of the frame, and the number of separate (8-connected) objects."""
    pixels = float(np.count_nonzero(mask))
    out = {
        "area_px": pixels,
        "area_fraction": pixels / mask.size,
        "objects": float(label_pieces(mask, corners=True)[1]) if pixels else 0.0,
    }
    if spacing_mm is not None and len(spacing_mm) == 2:
        out["area_mm2"] = pixels * spacing_mm[0] * spacing_mm[1]
    return out


def rim_profile(
    labels: NDArray[Any], laterality: Laterality | None = None, spacing_mm: tuple[float, ...] | None = None
) -> RimProfile | None:
    """Rim width by angle, clock hour and ISNT sector for optic labels (H, W) (1 rim, 2 cup); None without a disc.

    In a photograph of a right eye nasal is on the image's right; of a left eye on its left.
    """
    disc, cup = labels >= 1, labels == 2
    (y0, y1), (x0, x1) = extent(disc)
    if y1 == y0:
        return None
    disc, cup = disc[y0:y1, x0:x1], cup[y0:y1, x0:x1]
    ys, xs = np.nonzero(disc)
    scale = spacing_mm if spacing_mm is not None and len(spacing_mm) == 2 else (1.0, 1.0)
    angles = np.linspace(0.0, 360.0, RAYS, endpoint=False, dtype=np.float64)
    outer, inner = (_ray_radius(m, ys.mean(), xs.mean(), angles, scale) for m in (disc, cup))
    width = np.maximum(outer - inner, 0.0)
    hours = {h: _sector_mean(width, angles, 30.0 * h, 15.0) for h in CLOCK_HOURS}
    sides = {
        "superior": _sector_mean(width, angles, 0, 45),
        "inferior": _sector_mean(width, angles, 180, 45),
    }
    right, left = _sector_mean(width, angles, 90, 45), _sector_mean(width, angles, 270, 45)
    isnt = None
    if laterality is None:
        sides |= {"image right": right, "image left": left}
    else:
        nasal, temporal = (right, left) if laterality == "right" else (left, right)
        sides |= {"nasal": nasal, "temporal": temporal}
        isnt = bool(sides["inferior"] >= sides["superior"] >= nasal >= temporal)
    thinnest = min(hours, key=lambda h: hours[h])
    return RimProfile(angles, width, outer, hours, sides, thinnest, isnt, "px" if scale == (1.0, 1.0) else "mm")


def _ray_radius(
    mask: NDArray[np.bool_], cy: float, cx: float, angles: NDArray[np.float64], scale: tuple[float, ...]
) -> NDArray[np.float64]:
    """Distance from (cy, cx) to the last mask pixel along every ray, in units of `scale`; 0 where there is none."""
    reach = math.hypot(*mask.shape)
    steps = np.arange(0.0, reach, 0.5)
    dy, dx = -np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    rows = np.rint(cy + dy[:, None] * steps).astype(np.intp)  # (rays, steps)
    cols = np.rint(cx + dx[:, None] * steps).astype(np.intp)
    inside = (rows >= 0) & (rows < mask.shape[0]) & (cols >= 0) & (cols < mask.shape[1])
    hit = np.zeros(rows.shape, bool)
    hit[inside] = mask[rows[inside], cols[inside]]
    last = hit.shape[1] - 1 - np.argmax(hit[:, ::-1], axis=1)
    # The last pixel's outer edge lies half a step further; half a pixel on average.
    radius = np.where(hit.any(axis=1), steps[last] + 0.25, 0.0)
    return radius * np.hypot(dy * scale[0], dx * scale[1])


def _sector_mean(width: NDArray[np.float64], angles: NDArray[np.float64], centre: float, half: float) -> float:
    away = np.abs((angles - centre + 180) % 360 - 180)
    return float(width[away < half].mean())


def number(value: float, digits: int = 3) -> str:
    """A measure for a table: rounded, 'nan' as an empty field."""
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".rstrip("0").rstrip(".")


GetRegion = Callable[[str], NDArray[np.bool_]]
Group = Callable[[GetRegion, Task, tuple[float, ...] | None, float | None], dict[str, float]]

GROUPS: dict[str, Group] = {
    "cup_disc": lambda region, task, spacing_mm, psa: cup_disc(region("disc"), region("cup"), spacing_mm),
    "volume": lambda region, task, spacing_mm, psa: gland_volume(region(task.regions[0].name), spacing_mm, psa),
    "area": lambda region, task, spacing_mm, psa: areas(region(task.regions[0].name), spacing_mm),
}
"""Group of measures, as a task's record names it -> what it measures: from (region by name, task, spacing, PSA)."""
