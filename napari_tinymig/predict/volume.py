"""A volume through a 2-D student: slices with their neighbours, in batches, then one solid body in three dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, fov_box, place, restore, whole_box
from ..base.records import Placement, Scan
from ..network.labels_from_logits import labels_of, region_probabilities, tidy_volume
from ..network.look_disagreement import further_looks
from ..network.normalise import neighbours
from ..network.run import Network
from ..network.seen_frame import DecidedMask, SeenFrame, inside_frame, network_input
from ..network.several_looks import NEARER_LOOK, averaged_logits
from ..recipes.student import ModelHeader

Progress = Callable[[int, int], None]
"""Called with (done, total) frames."""

BATCH = 8
THICK = 3.0
"""Largest over smallest spacing above which nothing is smoothed or interpolated across slices."""


def slice_box(scan: Scan, fov_mm: float | None) -> Box:
    """The square field of every slice: centred, `fov_mm` wide where the spacing is known, else the whole frame."""
    shape = scan.pixels.shape[1:]
    if fov_mm is None or scan.spacing_mm is None:
        return whole_box(shape)
    return fov_box(shape, (scan.spacing_mm[1], scan.spacing_mm[2]), fov_mm)


def predict_volume(
    network: Network,
    header: ModelHeader,
    scan: Scan,
    probabilities: bool = False,
    uncertainty: bool = False,
    progress: Progress | None = None,
) -> DecidedMask:
    """Labels (D, H, W) of a volume, decided on its own grid from resampled logits.

    Slices go through the network in batches of 8, then each once more, mirrored and from nearer. Each is placed
    in-plane by mm where the spacing is known and by frame where it is not. Across slices nothing is interpolated;
    where slices are nearly as thin as pixels (spacing ratio <= 3), the logits of neighbours are averaged, 1:2:1.
    """
    spec, task = header.input, header.task
    if task is None:
        raise ValueError(f"model '{header.name}' is a {header.kind}; expected a segmenter.")
    placement = Placement(scan.pixels.shape[1:], slice_box(scan, spec.fov_mm), (spec.size, spec.size))
    grid_logits, frames = _every_slice(network, header, scan.pixels, placement, progress)
    thin = scan.spacing_mm is not None and max(scan.spacing_mm) <= THICK * min(scan.spacing_mm)
    if len(scan.pixels) > 2 and thin:
        grid_logits = _smooth_through(grid_logits)
    native_labels = np.stack([labels_of(restore(g, placement, fill=-60.0), task) for g in grid_logits])
    answer = DecidedMask(tidy_volume(native_labels), frames=frames)
    if probabilities:
        native = [restore(g, placement, fill=-60.0) for g in grid_logits]  # D of (R, H, W)
        stacked = [region_probabilities(n, header).astype(np.float16) for n in native]
        answer.probabilities = np.stack(stacked, axis=1)  # (R, D, H, W)
    if uncertainty:
        looks = [further_looks(network, header, f) for f in frames]
        gaps = [look.disagreement for look, g in zip(looks, grid_logits) if (g > 0).any()]
        answer.findings.look_disagreement = round(float(np.mean(gaps)), 4) if gaps else 0.0
        answer.uncertainty_map = np.stack([restore(look.spread, placement) for look in looks]).astype(np.float16)
    answer.notes += _spacing_notes(scan.spacing_mm)
    return answer


def _every_slice(
    network: Network,
    header: ModelHeader,
    volume: NDArray[Any],
    placement: Placement,
    progress: Progress | None,
) -> tuple[NDArray[np.float32], list[SeenFrame]]:
    """Logits (D, R, s, s), the mean of two looks at every slice, and the first looks."""
    spec, inside = header.input, inside_frame(placement)
    logits, frames = [], []
    for start in range(0, len(volume), BATCH):
        stop = min(start + BATCH, len(volume))
        slices = [neighbours(volume, z, spec.context_slices) for z in range(start, stop)]
        grids = [place(s, placement.box, spec.size)[0] for s in slices]
        output = network.run(np.stack([network_input(g, inside, spec) for g in grids]))
        batch = [SeenFrame(g, inside, output, i, placement) for i, g in enumerate(grids)]
        logits += [averaged_logits(s, frame, network, header, NEARER_LOOK) for s, frame in zip(slices, batch)]
        frames += batch
        if progress:
            progress(stop, len(volume))
    return np.stack(logits), frames


def _spacing_notes(spacing_mm: tuple[float, ...] | None) -> list[str]:
    """What the user should know where the spacing is missing or the stack is not axial."""
    if spacing_mm is None:
        return ["The spacing of this image is unknown: volume and diameters cannot be given in mL and mm."]
    across = spacing_mm.index(max(spacing_mm))
    if across > 0 and max(spacing_mm) > 1.25 * sorted(spacing_mm)[1]:
        plane = ("", "coronal", "sagittal")[across]
        return [f"This is a {plane} stack; the model knows axial slices, so look at its mask with care."]
    return []


def _smooth_through(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (D, ...) averaged 1:2:1 with their neighbours; ends keep their own."""
    before = np.concatenate([logits[:1], logits[:-1]])
    after = np.concatenate([logits[1:], logits[-1:]])
    return (0.25 * before + 0.5 * logits + 0.25 * after).astype(np.float32)
