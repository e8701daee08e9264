"""The finished model over its own source cases: statistics for shift scores, and Dice on the grid per case."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_tinymig.engine.config import Recipe
from napari_tinymig.engine.model_file import ModelFile
from napari_tinymig.engine.network import OnnxNetwork
from napari_tinymig.engine.normalise import normalise
from napari_tinymig.engine.statistics import FrameRecord, make_statistics, record_frame

from .data import ImageSet, middle_views

MOST_FRAMES = 300


def source_statistics(
    model: ModelFile, data: ImageSet, held: ImageSet | None, recipe: Recipe
) -> tuple[dict[str, object], dict[str, object]]:
    """Statistics for the header, and scores {'source_dice_grid': {region: mean}} on the held-out cases."""
    network = OnnxNetwork(model, threads=1)
    records = list(_records(network, data, recipe, held=False))
    unseen = list(_records(network, held, recipe, held=True)) if held is not None else []
    if len(records) + len(unseen) < 4:
        return {}, {}
    statistics = make_statistics(records + unseen, recipe.task.input, ", ".join(sorted(set(recipe.name.split()))))
    names = [r.name for r in recipe.task.regions]
    scores = {n: round(float(np.mean([r.truth[f"{n}_dice"] for r in unseen])), 4) for n in names} if unseen else {}
    return statistics, {"held_out_grid_dice": scores, "held_out_frames": len(unseen)}


def _records(network: OnnxNetwork, data: ImageSet, recipe: Recipe, held: bool) -> Iterator[FrameRecord]:
    rows = [i for i in range(len(data)) if data.targets[i, 0].max() > 127]
    if len(rows) > MOST_FRAMES:
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, MOST_FRAMES).round().astype(int)]
    names = tuple(r.name for r in recipe.task.regions)
    size = recipe.input.size
    for start in range(0, len(rows), 16):
        some = rows[start : start + 16]
        grids, targets = middle_views(data, some, size)
        output = network.run(np.stack([normalise(g, recipe.input) for g in grids]))
        for k, row in enumerate(some):
            fov = float(data.fov_mm[row] * data.view[row])
            yield record_frame(
                grids[k][..., 1] if data.is_volume else grids[k],
                output,
                k,
                names,
                case=data.cases[row],
                held_out=held,
                spacing_mm=(fov / size, fov / size) if np.isfinite(fov) else None,
                truth=targets[k] >= 0.5,
            )


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2 * int((a & b).sum()) / total
