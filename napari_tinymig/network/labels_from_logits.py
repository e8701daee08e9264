"""From logits on the network's grid to labels on the scan's own grid: resample first, decide there, then clean up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.binary_masks import dilate, fill_holes, label_pieces
from ..base.geometry import restore
from ..base.records import Placement
from ..recipes.student import ModelHeader
from ..tasks.task import Task

FAR = 12.0
"""A logit that is as good as certain."""

SMALLEST_OBJECT = 0.002
"""Part of the frame below which an island among several objects is dropped (chosen)."""

SMALLEST_END = 0.2
"""Part of the largest slice's area below which slices at either end of a gland are dropped (chosen; true apices go down
to 0.1)."""


def region_logits(raw: NDArray[np.float32], header: ModelHeader) -> NDArray[np.float32]:
    """Logits (R, ...) whose zero is the decision: temperature divided out, thresholds subtracted.

    raw: network output (R, h, w) for sigmoid heads; (1 + labels, h, w) for softmax heads, whose regions become
    log-odds of the union of their labels.
    """
    task = header.segmenter_task
    if header.head == "softmax":
        raw = _softmax_regions(raw, task)
    scaled = raw / np.float32(header.temperature)
    offsets = [_logit(header.thresholds.get(r.name, 0.5)) for r in task.regions]
    return scaled - np.asarray(offsets, np.float32).reshape(-1, *(1,) * (raw.ndim - 1))


def region_probabilities(logits: NDArray[np.float32], header: ModelHeader) -> NDArray[np.float32]:
    """Probabilities (R, ...) of `region_logits`, with the thresholds taken back out."""
    offsets = [_logit(header.thresholds.get(r.name, 0.5)) for r in header.segmenter_task.regions]
    shifted = logits + np.asarray(offsets, np.float32).reshape(-1, *(1,) * (logits.ndim - 1))
    return 1 / (1 + np.exp(-np.clip(shifted, -60, 60)))


def _logit(probability: float) -> float:
    p = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(p / (1 - p))


def _softmax_regions(raw: NDArray[np.float32], task: Task) -> NDArray[np.float32]:
    """Log-odds of each region from class logits (1 + labels, h, w); class i is label i."""
    shifted = raw - raw.max(axis=0, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(axis=0, keepdims=True)
    inside = np.stack([p[list(r.labels)].sum(axis=0) for r in task.regions])
    inside = np.clip(inside, 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside)).astype(np.float32)


def labels_of(logits: NDArray[np.float32], task: Task) -> NDArray[np.uint8]:
    """uint8 labels (...) of logits (R, ...): outermost region first; a region counts only inside its container."""
    labels = np.zeros(logits.shape[1:], np.uint8)
    masks: dict[str, NDArray[np.bool_]] = {}
    for region, values in zip(task.regions, logits):
        mask = values > 0
        if region.inside is not None:
            mask &= masks[region.inside]
        masks[region.name] = mask
        labels[mask] = region.label
    return labels


def keep_one_object(logits: NDArray[np.float32], task: Task) -> NDArray[np.float32]:
    """Logits (R, h, w) in which every region is one filled piece: the likeliest component, inside its container.

    Works on the grid, where it costs nothing; the resampled logits then show the same single piece.
    """
    out = logits.copy()
    kept: dict[str, NDArray[np.bool_]] = {}
    for i, region in enumerate(task.regions):
        mask = out[i] > 0
        if region.inside is not None:
            mask &= kept[region.inside]
        where = _extent(mask, margin=2)
        piece, away = _one_piece(mask[where], out[i][where])
        kept[region.name] = np.zeros_like(mask)
        kept[region.name][where] = piece
        lowered = np.ones_like(mask)
        lowered[where] = away
        np.minimum(out[i], -FAR / 4, out=out[i], where=lowered)
    return out


def _one_piece(mask: NDArray[np.bool_], logits: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The likeliest piece of a mask (h, w), filled, and what is to be no part of the object, borders left as they are.

    logits: (h, w), raised in place where a hole is filled.
    """
    areas, count = label_pieces(mask)
    if count > 1:
        weight = np.bincount(areas.ravel(), np.minimum(logits, 4.0).ravel())[1:]
        mask = areas == int(np.argmax(weight)) + 1
    if count:
        filled = fill_holes(mask)
        logits[filled & ~mask] = np.maximum(logits[filled & ~mask], FAR / 4)
        mask = filled
    # Two pixels of margin keep the border's own logits, so that its sub-pixel place survives resampling.
    away = ~dilate(mask, 2)
    return mask, away | (logits > 0) & ~mask


def drop_doubtful(logits: NDArray[np.float32], at_least: float) -> tuple[NDArray[np.float32], int]:
    """Logits (R, h, w) without the objects of which the model is less sure than `at_least`, and how many these were.

    An object is a connected part of the outermost region; how sure the model is of it is the mean of its logits, zero
    being the decision. Sizes do not matter, so that a small sure polyp stays and a wide vague one goes.
    """
    areas, count = label_pieces(logits[0] > 0)
    if not count:
        return logits, 0
    sure = np.bincount(areas.ravel(), logits[0].ravel())[1:] / np.bincount(areas.ravel())[1:]
    doubtful = np.isin(areas, 1 + np.flatnonzero(sure < at_least))
    out = logits.copy()
    out[:, doubtful] = np.minimum(out[:, doubtful], -FAR / 4)
    return out, int((sure < at_least).sum())


def drop_islands(labels: NDArray[np.uint8], smallest: float = SMALLEST_OBJECT) -> NDArray[np.uint8]:
    """Labels (H, W) without objects smaller than `smallest` of the frame, and without holes."""
    if not labels.any():
        return labels
    areas, _ = label_pieces(labels > 0, corners=True)
    sizes = np.bincount(areas.ravel())
    small = sizes < max(4.0, smallest * labels.size)
    small[0] = False
    out = np.where(small[areas], np.uint8(0), labels)
    holes = fill_holes(out > 0) & (out == 0)
    out[holes] = 1
    return out


def paste_labels(
    logits: NDArray[np.float32], placement: Placement, task: Task
) -> tuple[NDArray[np.uint8], tuple[slice, slice], NDArray[np.float32]]:
    """Labels (H, W) of the frame from grid logits (R, h, w), decided on the frame's own pixels.

    Only the part of the frame under the grid's objects is resampled: a 12-megapixel photograph costs what its disc
    costs. Returns the labels, that part, and its resampled logits (R, h', w').
    """
    labels = np.zeros(placement.source_shape, np.uint8)
    where, part = window(logits.max(axis=0) > -1.0, placement)
    if where[0].stop <= where[0].start or where[1].stop <= where[1].start:
        return labels, (slice(0, 0), slice(0, 0)), np.zeros((len(logits), 0, 0), np.float32)
    native = restore(logits, part, fill=-FAR)  # (R, h', w')
    labels[where] = labels_of(native, task)
    return labels, where, native


def window(mask: NDArray[np.bool_], placement: Placement) -> tuple[tuple[slice, slice], Placement]:
    """The part of the frame that lies under the true pixels of a grid mask (h, w), with a margin of two grid pixels,
    and the placement of the same grid on that part alone."""
    (y0, x0, y1, x1), (gh, gw), (height, width) = placement.box, placement.grid_shape, placement.source_shape
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (slice(0, 0), slice(0, 0)), placement
    sy, sx = (y1 - y0) / gh, (x1 - x0) / gw
    top = min(max(0, math.floor(y0 + (rows[0] - 2) * sy)), height)
    bottom = max(min(height, math.ceil(y0 + (rows[-1] + 3) * sy)), top)
    left = min(max(0, math.floor(x0 + (cols[0] - 2) * sx)), width)
    right = max(min(width, math.ceil(x0 + (cols[-1] + 3) * sx)), left)
    part = Placement((bottom - top, right - left), (y0 - top, x0 - left, y1 - top, x1 - left), placement.grid_shape)
    return (slice(top, bottom), slice(left, right)), part


def tidy_volume(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A gland in (D, H, W) as one solid body: the largest connected body, holes filled, lone gaps bridged.

    Bodies are joined through slices by overlap; slices at either end that are small beside the largest one are dropped,
    because a student that sees one slice at a time does not know where the gland ends. A single empty slice between
    two filled ones is filled where both neighbours agree; nothing is interpolated across more.
    """
    if not labels.any():
        return labels
    mask = labels > 0
    for z in range(1, len(mask) - 1):
        if not mask[z].any() and mask[z - 1].any() and mask[z + 1].any():
            mask[z] = mask[z - 1] & mask[z + 1]
    where = (slice(None), *_extent(np.asarray(mask.any(axis=0))))  # a gland is a small part of its slices
    out = np.zeros_like(labels)
    out[where] = np.where(_one_body(mask[where]), np.maximum(labels[where], 1), 0)
    return out


def _one_body(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest body of a mask (D, h, w) without its small ends, each slice one piece without holes."""
    areas, count = label_pieces(mask)
    if count > 1:
        sizes = np.bincount(areas.ravel())
        sizes[0] = 0
        mask = areas == int(sizes.argmax())
    sizes_by_slice = mask.sum(axis=(1, 2))
    large = np.flatnonzero(sizes_by_slice >= SMALLEST_END * sizes_by_slice.max())
    mask[: large[0]], mask[large[-1] + 1 :] = False, False
    for filled in np.flatnonzero(mask.any(axis=(1, 2))):
        mask[filled] = fill_holes(_largest(mask[filled]))
    return mask


def _extent(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice]:
    """The rows and columns that the true pixels of a mask (h, w) span, with a margin; empty for an empty mask."""
    spans = []
    for axis in (1, 0):
        at = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(int(at[0]) - margin, 0), int(at[-1]) + 1 + margin) if at.size else slice(0, 0))
    return spans[0], spans[1]


def _largest(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The largest component of one slice."""
    areas, count = label_pieces(mask)
    if count < 2:
        return mask
    sizes = np.bincount(areas.ravel())
    sizes[0] = 0
    return areas == int(sizes.argmax())
