"""What an annotator does to a mask by hand, as functions: clean, fill, smooth, fit, interpolate, copy.

Functions on one region take and give a bool mask (H, W) or (D, H, W); `each_region` applies one to every region of a
label array and keeps the nesting. Volumes are treated slice by slice along `axis` where a 3-D treatment would mix
slices that lie far apart.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..measures.ellipse import draw_ellipse, extent, fit_ellipse
from ..tasks.task import Task

Mask = NDArray[np.bool_]


def clean_islands(mask: Mask, smallest: float = 0.1) -> Mask:
    """The mask without components smaller than `smallest` (0..1) of its largest one (0.1: chosen).

    Components touch by faces, edges or corners. An empty mask is returned as it is.
    """
    labelled, n = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if n < 2:
        return mask.copy()
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    keep = sizes >= smallest * sizes.max()
    keep[0] = False
    return keep[labelled]


def count_parts(mask: Mask) -> int:
    """How many components (H, W) or (D, H, W) a mask has, touching by faces, edges or corners."""
    return int(ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[1])


def fill_holes(mask: Mask, axis: int = 0) -> Mask:
    """The mask with holes filled; a volume slice by slice along `axis`, because an annotator sees holes in slices."""
    return _by_slice(mask, axis, ndimage.binary_fill_holes)


def smooth(mask: Mask, radius_px: float = 2.0, axis: int = 0) -> Mask:
    """The mask with a smoother outline and, in every slice, the same number of pixels as before.

    A Gaussian of sigma `radius_px` is cut at the level that keeps the area: a fixed level of one half would shrink a
    small disc with every use.
    """

    def one(plane: Mask) -> Mask:
        area = int(np.count_nonzero(plane))
        if area == 0 or area == plane.size:
            return plane.copy()
        (y0, y1), (x0, x1) = extent(plane)
        pad = int(np.ceil(4 * radius_px)) + 1
        box = (slice(max(0, y0 - pad), y1 + pad), slice(max(0, x0 - pad), x1 + pad))
        soft = ndimage.gaussian_filter(plane[box].astype(np.float32), radius_px, mode="nearest")
        level = np.partition(soft.ravel(), soft.size - area)[soft.size - area]
        out = np.zeros_like(plane)
        out[box] = soft >= level
        return out

    return _by_slice(mask, axis, one)


def ellipse(mask: Mask, axis: int = 0) -> Mask:
    """The filled ellipse with the mask's centre and second moments; slice by slice for a volume."""

    def one(plane: Mask) -> Mask:
        fitted = fit_ellipse(plane)
        return plane.copy() if fitted is None else draw_ellipse((plane.shape[0], plane.shape[1]), fitted)

    return _by_slice(mask, axis, one)


def cup_inside_disc(labels: NDArray[Any]) -> NDArray[Any]:
    """Optic labels (H, W) whose cup (2) stays within the outline of the rim (1): what sticks out becomes background.

    The outline is the convex hull of the rim. Without a rim nothing is changed: there is no outline to go by.
    """
    from skimage.morphology import convex_hull_image

    rim = labels == 1
    if np.count_nonzero(rim) < 3:
        return labels.copy()
    (y0, y1), (x0, x1) = extent(rim)
    outline = np.zeros(labels.shape, bool)
    box = rim[y0:y1, x0:x1]
    outline[y0:y1, x0:x1] = convex_hull_image(box) if min(box.shape) > 1 else box
    out = labels.copy()
    out[(labels == 2) & ~outline] = 0
    return out


def interpolate_slices(mask: Mask, axis: int = 0) -> Mask:
    """The volume with every empty slice between two painted ones filled, by shape.

    Between two painted slices the signed distance to the outline is interpolated linearly and cut at 0 (shape-based
    interpolation, Raya and Udupa 1990). Painted slices are kept, nothing is added beyond the first and last one.
    """
    if mask.ndim != 3:
        raise ValueError(f"the mask has shape {mask.shape}; interpolation between slices needs a volume (D, H, W).")
    planes = np.moveaxis(mask, axis, 0)
    out = planes.copy()
    painted = np.flatnonzero(planes.any(axis=(1, 2)))
    if painted.size == 0:
        return mask.copy()
    _, (y0, y1), (x0, x1) = extent(planes)
    box = (slice(max(0, y0 - 1), y1 + 1), slice(max(0, x0 - 1), x1 + 1))  # a margin, so that an outline exists
    for first, last in pairwise(painted):
        if last - first < 2:
            continue
        before, after = _signed_distance(planes[first][box]), _signed_distance(planes[last][box])
        for k in range(first + 1, last):
            t = (k - first) / (last - first)
            out[k][box] = (1 - t) * before + t * after > 0
    return np.moveaxis(out, 0, axis)


def copy_slice(labels: NDArray[Any], source: int, target: int, axis: int = 0) -> NDArray[Any]:
    """Labels of a volume with slice `target` replaced by slice `source` along `axis`. ValueError outside the volume."""
    n = labels.shape[axis]
    if not (0 <= source < n and 0 <= target < n):
        raise ValueError(f"cannot copy slice {source} to {target}: the volume has slices 0..{n - 1}.")
    out = labels.copy()
    np.moveaxis(out, axis, 0)[target] = np.moveaxis(labels, axis, 0)[source]
    return out


def keep_locked(new: NDArray[Any], mine: NDArray[Any], locked: Mask) -> NDArray[Any]:
    """A new prediction in which every locked pixel has the value the annotator gave it."""
    return np.where(locked, mine, new).astype(new.dtype)


def each_region(labels: NDArray[Any], task: Task | None, change: Callable[[Mask], Mask]) -> NDArray[Any]:
    """Labels after `change` on every region, outermost first; an inner region stays inside the one that holds it.

    task None: every label value is a region of its own, and a larger value wins where two changed regions overlap.
    """
    out = np.zeros_like(labels)
    if task is None:
        for value in np.unique(labels):
            if value:
                out[change(labels == value)] = value
        return out
    done: dict[str, Mask] = {}
    for region in task.regions:
        mask = change(np.isin(labels, region.labels))
        if region.inside is not None:
            mask &= done[region.inside]
        done[region.name] = mask
        out[mask] = region.label
    return out


def _signed_distance(mask: Mask) -> NDArray[np.float64]:
    """Distance to the outline in px, positive inside."""
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    return np.asarray(inside) - np.asarray(outside)


def _by_slice(mask: Mask, axis: int, change: Callable[[Mask], Mask]) -> Mask:
    """`change` on a 2-D mask, or on every non-empty slice of a volume along `axis`."""
    if mask.ndim == 2:
        return np.asarray(change(mask), bool)
    planes = np.moveaxis(mask, axis, 0)
    out = planes.copy()
    for k in np.flatnonzero(planes.any(axis=(1, 2))):
        out[k] = change(planes[k])
    return np.moveaxis(out, 0, axis)
