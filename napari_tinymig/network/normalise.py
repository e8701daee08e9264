"""Pixels on the network's grid become the network's input: one code for training, validation and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.records import Placement
from ..recipes.student import InputSpec

CLIP_PERCENTILES = (0.2, 99.8)
SMALLEST_SPREAD = 1e-6


def inside_frame(placement: Placement) -> NDArray[np.bool_]:
    """(h, w), False where the grid lies outside the frame."""
    (y0, x0, y1, x1), (h, w), (height, width) = placement.box, placement.grid_shape, placement.source_shape
    ys, xs = y0 + (np.arange(h) + 0.5) * (y1 - y0) / h, x0 + (np.arange(w) + 0.5) * (x1 - x0) / w
    return ((ys >= 0) & (ys < height))[:, None] & ((xs >= 0) & (xs < width))[None]


def network_input(grid: NDArray[Any], inside: NDArray[np.bool_] | None, spec: InputSpec) -> NDArray[np.float32]:
    """(3, s, s): the normalised grid, padding kept out of the statistics where there is any; None = it counts, too."""
    return normalise(grid, spec, None if inside is None or inside.all() else inside)


def normalise(grid: NDArray[Any], spec: InputSpec, inside: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """The network's input (3, s, s) of one frame that already lies on the network's grid.

    Parameters
    ----------
    grid
        (s, s, 3): RGB in 0..255, or the previous, this and next slice of a volume in any real unit; or (s, s), one
        grey frame, repeated in the three channels.
    spec
        rgb_half: (x/255 - 0.5) / 0.5. percentile_z: all channels are clipped at the 0.2 and 99.8 percentile of the
        MIDDLE channel and z-scored with its mean and deviation, so that the step between neighbouring slices
        survives.
    inside
        (s, s), False where the grid lies outside the source frame (padding). Padding takes no part in percentiles and
        moments; it becomes the lower clip value. None = every pixel counts.
    """
    if grid.ndim == 2:
        grid = np.repeat(grid[..., None], 3, axis=2)  # (s, s, 3)
    if grid.ndim != 3 or grid.shape[2] != 3:
        raise ValueError(f"grid has shape {grid.shape}; expected (s, s, 3) or (s, s).")
    channels = np.ascontiguousarray(np.moveaxis(grid, 2, 0), dtype=np.float32)  # (3, s, s)
    if spec.normalisation == "rgb_half":
        channels *= np.float32(1 / 127.5)
        channels -= np.float32(1)
        return channels
    return _percentile_z(channels, inside)


def _percentile_z(channels: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Clip and z-score (3, s, s) by the middle channel; NaN and Inf count as the lowest finite value."""
    if not np.isfinite(channels).all():
        finite = channels[np.isfinite(channels)]
        channels = np.nan_to_num(
            channels,
            nan=float(finite.min()) if finite.size else 0.0,
            posinf=float(finite.max()) if finite.size else 0.0,
            neginf=float(finite.min()) if finite.size else 0.0,
        )
    middle = channels[1] if inside is None or not inside.any() else channels[1][inside]
    low, high = np.percentile(middle, CLIP_PERCENTILES)
    clipped = np.clip(middle, low, high)
    mean, spread = float(clipped.mean()), float(clipped.std())
    out = (np.clip(channels, low, high) - mean) / max(spread, SMALLEST_SPREAD)
    if inside is not None:
        out[:, ~inside] = (low - mean) / max(spread, SMALLEST_SPREAD)
    return out.astype(np.float32, copy=False)


def neighbours(volume: NDArray[Any], index: int, context: bool) -> NDArray[Any]:
    """Slice `index` of a volume (D, H, W) with its neighbours as channels (H, W, 3); edges repeat.

    Without context, or in a one-slice volume, all three channels are the slice itself.
    """
    return np.stack([volume[i] for i in channel_slices(len(volume), index, context)], axis=-1)  # (H, W, 3)


def channel_slices(depth: int, index: int, context: bool) -> tuple[int, int, int]:
    """Which slices of `depth` are the channels of slice `index`: itself, and with `context` the ones beside it."""
    step = 1 if context else 0
    return max(index - step, 0), index, min(index + step, depth - 1)
