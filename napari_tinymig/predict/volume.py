"""A volume through a 2-D student: slices with their neighbours, in batches, then one solid body in three dimensions."""

from __future__ import annotations

from collections.abc import Callable

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
    volume = scan.pixels
    box = slice_box(scan, spec.fov_mm)
    placement = Placement(volume.shape[1:], box, (spec.size, spec.size))
    inside = inside_frame(placement)
    logits, frames = [], []
    for start in range(0, len(volume), BATCH):
        stop = min(start + BATCH, len(volume))
        grids = [place(neighbours(volume, z, spec.context_slices), box, spec.size)[0] for z in range(start, stop)]
        output = network.run(np.stack([network_input(g, inside, spec) for g in grids]))
        batch = [SeenFrame(g, inside, output, i, placement) for i, g in enumerate(grids)]
        for z, frame in enumerate(batch, start):
            pixels = neighbours(volume, z, spec.context_slices)
            logits.append(averaged_logits(pixels, frame, network, header, NEARER_LOOK))
        frames += batch
        if progress:
            progress(stop, len(volume))
    grid_logits = np.stack(logits)  # (D, R, s, s)
    if len(volume) > 2 and scan.spacing_mm is not None and max(scan.spacing_mm) <= THICK * min(scan.spacing_mm):
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
        answer.extra["look_disagreement"] = round(float(np.mean(gaps)), 4) if gaps else 0.0
        answer.uncertainty_map = np.stack([restore(look.spread, placement) for look in looks]).astype(np.float16)
    if scan.spacing_mm is None:
        answer.notes.append("The spacing of this image is unknown: volume and diameters cannot be given in mL and mm.")
    elif scan.spacing_mm.index(max(scan.spacing_mm)) > 0 and max(scan.spacing_mm) > 1.25 * sorted(scan.spacing_mm)[1]:
        plane = ("", "coronal", "sagittal")[scan.spacing_mm.index(max(scan.spacing_mm))]
        answer.notes.append(f"This is a {plane} stack; the model knows axial slices, so look at its mask with care.")
    return answer


def _smooth_through(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (D, ...) averaged 1:2:1 with their neighbours; ends keep their own."""
    before = np.concatenate([logits[:1], logits[:-1]])
    after = np.concatenate([logits[1:], logits[-1:]])
    return (0.25 * before + 0.5 * logits + 0.25 * after).astype(np.float32)
