"""The finished model over its own source cases: statistics for shift scores, and Dice on the grid per case."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_tinymig.models.file import ModelFile
from napari_tinymig.network.labels_from_logits import region_logits
from napari_tinymig.network.normalise import normalise
from napari_tinymig.network.run import OnnxNetwork
from napari_tinymig.recipes.student import ModelHeader, Recipe
from napari_tinymig.sets.survey import CORRUPTED_VERSIONS, corrupted_version
from napari_tinymig.shift.fit import make_statistics
from napari_tinymig.shift.frame_record import FrameRecord, record_frame

from ..data.image_set import ImageSet, middle_views

MOST_FRAMES = 300
MOST_CORRUPTED = 600
"""Most corrupted frames; large validation sets need fewer per frame."""


def source_statistics(
    model: ModelFile, data: ImageSet, held: ImageSet | None, recipe: Recipe
) -> tuple[dict[str, object], dict[str, object]]:
    """Statistics for the header, and scores {'source_dice_grid': {region: mean}} on the held-out cases."""
    network = OnnxNetwork(model, threads=1)
    records = list(_records(network, model.header, data, recipe, held=False))
    unseen = list(_records(network, model.header, held, recipe, held=True)) if held is not None else []
    if len(records) + len(unseen) < 4:
        return {}, {}
    statistics = make_statistics(records + unseen, recipe.task.input, ", ".join(sorted(set(recipe.name.split()))))
    names = [r.name for r in recipe.task.regions]
    plain = [r for r in unseen if not r.corruption]
    scores = {n: round(float(np.mean([r.truth[f"{n}_dice"] for r in plain])), 4) for n in names} if plain else {}
    return statistics, {"held_out_grid_dice": scores, "held_out_frames": len(plain)}


def _records(
    network: OnnxNetwork, header: ModelHeader, data: ImageSet, recipe: Recipe, held: bool
) -> Iterator[FrameRecord]:
    """One record per frame; of held-out frames also corrupted ones, from which the expected Dice is learned."""
    rows = [i for i in range(len(data)) if data.targets[i, 0].max() > 127]
    if len(rows) > MOST_FRAMES:
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, MOST_FRAMES).round().astype(int)]
    rng = np.random.default_rng(recipe.seed)
    versions = min(CORRUPTED_VERSIONS, -(-MOST_CORRUPTED // max(len(rows), 1))) if held else 0
    for start in range(0, len(rows), 16):
        some = rows[start : start + 16]
        grids, targets = middle_views(data, some, recipe.input.size)
        if not data.is_volume:
            grids = np.round(grids).clip(0, 255).astype(np.uint8)
        yield from _looked_at(network, header, data, recipe, some, grids, targets, held, [""] * len(some))
        for _ in range(versions):
            changed, said = zip(*(corrupted_version(g, rng) for g in grids))
            yield from _looked_at(network, header, data, recipe, some, np.stack(changed), targets, held, list(said))


def _looked_at(
    network: OnnxNetwork,
    header: ModelHeader,
    data: ImageSet,
    recipe: Recipe,
    rows: list[int],
    grids: np.ndarray,
    targets: np.ndarray,
    held: bool,
    said: list[str],
) -> Iterator[FrameRecord]:
    """Records of one batch; said: the corruption of each frame, '' for none."""
    size = recipe.input.size
    output = network.run(np.stack([normalise(g, recipe.input) for g in grids]))
    for k, row in enumerate(rows):
        fov = float(data.fov_mm[row] * data.view[row])
        yield record_frame(
            grids[k][..., 1] if data.is_volume else grids[k],
            output,
            k,
            tuple(r.name for r in recipe.task.regions),
            case=data.cases[row],
            held_out=held,
            spacing_mm=(fov / size, fov / size) if np.isfinite(fov) else None,
            logits=region_logits(output.logits[k], header),
            truth=targets[k] >= 0.5,
            corruption=said[k],
        )
