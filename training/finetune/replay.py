"""Replay without the source images: pictures in the source's style whose answer is what the parent says.

Two kinds: drawings shipped with the package, and the user's own images with their colours moved to the quantiles that
the model carries of its source. The parent's soft answer is the target, so the child is asked to keep it. [chosen]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.base.geometry import place, square_box
from napari_tinymig.network.normalise import normalise
from napari_tinymig.recipes.student import Recipe
from napari_tinymig.shift.descriptors import LEVELS

from ..data.image_set import ImageSet, cache_side, object_centres
from ..losses.segmentation import region_probabilities


def to_source_style(grid: NDArray[Any], quantiles: NDArray[Any], strength: float = 1.0) -> NDArray[np.float32]:
    """A photograph's grid (s, s, 3) in 0..255 whose channel quantiles are those of the source, (3, 17) in 0..1."""
    out = np.asarray(grid, np.float32).copy()
    for channel in range(3):
        own = np.quantile(out[..., channel], LEVELS) + np.arange(len(LEVELS)) * 1e-4  # rising, for interp
        moved = np.interp(out[..., channel], own, np.asarray(quantiles[channel]) * 255)
        out[..., channel] += strength * (moved - out[..., channel])
    return np.clip(out, 0, 255)


def deployed_grids(data: ImageSet, rows: Sequence[int], side: int) -> list[NDArray[np.float32]]:
    """The deployed views of rows at any resolution: (side, side, 3) each, volumes with their neighbours."""
    grids = []
    for row in rows:
        size = data.images.shape[1]
        box = square_box((size / 2, size / 2), size * float(data.view[row]))
        frame = data.images[row]
        if data.is_volume:
            frame = np.stack([data.images[i] for i in (data.before[row], row, data.after[row])], -1)
        grids.append(place(frame, box, side)[0])
    return grids


@torch.no_grad()
def soft_answers(parent: nn.Module, grids: Sequence[NDArray[Any]], recipe: Recipe) -> NDArray[np.float32]:
    """Region probabilities (n, R, s, s) of grids (s', s', 3), at the network's size."""
    parent.eval()
    answers = []
    for grid in grids:
        frame = grid
        if grid.shape[0] != recipe.input.size:
            frame = place(grid, (0.0, 0.0, float(grid.shape[0]), float(grid.shape[1])), recipe.input.size)[0]
        x = torch.from_numpy(normalise(frame, recipe.input))[None]
        answers.append(region_probabilities(parent(x).logits.float(), recipe.task, recipe.loss.head)[0].numpy())
    return np.stack(answers)


def replay_set(parent: nn.Module, recipe: Recipe, grids: Sequence[NDArray[Any]], names: Sequence[str]) -> ImageSet:
    """Photograph grids (c, c, 3) on the cache grid with the parent's soft answers as targets, annotated everywhere."""
    side = cache_side(recipe)
    soft = torch.from_numpy(soft_answers(parent, grids, recipe))
    large = F.interpolate(soft, (side, side), mode="bilinear", align_corners=False)
    targets = (large * 255).round().to(torch.uint8).numpy()
    n, ones = len(grids), np.arange(len(grids), dtype=np.int64)
    volume = recipe.task.input == "volume"
    images = np.stack([g[..., 1] if volume else np.clip(np.round(g), 0, 255).astype(np.uint8) for g in grids])
    return ImageSet(
        images,
        targets,
        np.ones(n, np.float32),
        np.full(n, np.nan, np.float32),
        ones,
        ones.copy(),
        object_centres(targets),
        list(names),
        list(names),
        np.full((n, 1, side, side), 255, np.uint8),
    )
