"""A volume through a 2-D student: slices with neighbours, on all cores, then one solid body in three dimensions."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, fov_box, place, whole_box
from ..base.records import Placement, Scan
from ..base.stack import slice_axis
from ..base.threads import in_threads
from ..network.labels_from_logits import labels_of, region_probabilities, tidy_volume
from ..network.look_disagreement import further_looks
from ..network.normalise import channel_slices, inside_frame, network_input
from ..network.run import Network, threads_of
from ..network.seen_frame import DecidedMask, SeenFrame
from ..network.several_looks import NEARER_LOOK, averaged_logits
from ..recipes.student import InputSpec, ModelHeader
from .slabs import SLAB_MM, Slabs

Progress = Callable[[int, int], None]
"""Called with (done, total) frames."""

BATCH = 8
THICK = 3.0
"""Largest over smallest spacing above which nothing is smoothed or interpolated across slices."""


def slice_box(shape: tuple[int, int], spacing_mm: tuple[float, ...] | None, fov_mm: float | None) -> Box:
    """The square field of slices (H, W): centred, `fov_mm` wide where the spacing is known, else the whole frame."""
    if fov_mm is None or spacing_mm is None:
        return whole_box(shape)
    return fov_box(shape, (spacing_mm[1], spacing_mm[2]), fov_mm)


def predict_volume(
    network: Network,
    header: ModelHeader,
    scan: Scan,
    probabilities: bool = False,
    uncertainty: bool = False,
    progress: Progress | None = None,
) -> DecidedMask:
    """Labels (D, H, W) of a volume, decided on its own grid from resampled logits.

    Slices go through the network in batches of 8, then each once more, mirrored and from nearer; they share the
    network's threads. Each is placed in-plane by mm where the spacing is known and by frame where it is not. Across
    slices nothing is interpolated; where slices are nearly as thin as pixels (spacing ratio <= 3), the logits of
    neighbours are averaged, 1:2:1.
    Sagittal and coronal stacks are answered in axial slabs, see `slabs`.
    """
    spec, task = header.input, header.segmenter_task
    slabs = Slabs.of(scan, spec.fov_mm)
    header = header if slabs.plain else header.model_copy(update={"thresholds": {}})  # students doubt what is blurred
    seen = slabs.seen(scan.pixels)
    placement = Placement(
        seen.shape[1:], slice_box(seen.shape[1:], scan.spacing_mm, spec.fov_mm), (spec.size, spec.size)
    )
    grid_logits, frames = _every_slice(network, header, seen, placement, progress)
    thin = scan.spacing_mm is not None and max(scan.spacing_mm) <= THICK * min(scan.spacing_mm)
    if len(scan.pixels) > 2 and thin:
        grid_logits = _smooth_through(grid_logits)

    def native(z: int) -> NDArray[np.float32]:  # (R, H, W)
        return slabs.row(grid_logits, placement, z, fill=-60.0)

    raw = np.stack(in_threads(lambda z: labels_of(native(z), task), range(slabs.depth), threads_of(network)))
    answer = DecidedMask(tidy_volume(raw), frames=frames)
    answer.notes += left_out_notes(raw > 0, answer.labels > 0)
    if probabilities:
        stacked = [region_probabilities(native(z), header).astype(np.float16) for z in range(slabs.depth)]
        answer.probabilities = np.stack(stacked, axis=1)  # (R, D, H, W)
    if uncertainty:
        _add_uncertainty(answer, network, header, grid_logits, slabs, placement)
    answer.notes += _spacing_notes(scan.spacing_mm)
    return answer


def _add_uncertainty(
    answer: DecidedMask,
    network: Network,
    header: ModelHeader,
    grid_logits: NDArray[np.float32],
    slabs: Slabs,
    placement: Placement,
) -> None:
    """Where further looks at the answer's frames disagree, on the volume's own voxels, and how much on the whole."""
    looks = [further_looks(network, header, f) for f in answer.frames]
    gaps = [look.disagreement for look, g in zip(looks, grid_logits) if (g > 0).any()]
    answer.findings.look_disagreement = round(float(np.mean(gaps)), 4) if gaps else 0.0
    spread = np.stack([look.spread for look in looks])
    maps = [slabs.row(spread, placement, z) for z in range(slabs.depth)]
    answer.uncertainty_map = np.stack(maps).astype(np.float16)


def _every_slice(
    network: Network,
    header: ModelHeader,
    volume: NDArray[Any],
    placement: Placement,
    progress: Progress | None,
) -> tuple[NDArray[np.float32], list[SeenFrame]]:
    """Logits (D, R, s, s), the mean of two looks at every slice, and the first looks."""
    spec, inside, threads = header.input, inside_frame(placement), threads_of(network)
    on_grid = frames_on_grid(volume, spec)

    def see(z: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        grid = on_grid(z, placement.box)[0]
        return grid, network_input(grid, inside, spec)

    logits: list[NDArray[np.float32]] = []
    frames: list[SeenFrame] = []
    for start in range(0, len(volume), BATCH):
        seen = in_threads(see, range(start, min(start + BATCH, len(volume))), threads)
        output = network.run(np.stack([ready for _, ready in seen]))
        batch = [SeenFrame(grid, inside, output, i, placement) for i, (grid, _) in enumerate(seen)]
        pairs = [(partial(on_grid, start + i), frame) for i, frame in enumerate(batch)]
        logits += in_threads(lambda pair: averaged_logits(*pair, network, header, NEARER_LOOK), pairs, threads)
        frames += batch
        if progress:
            progress(len(frames), len(volume))
    return np.stack(logits), frames


def frames_on_grid(volume: NDArray[Any], spec: InputSpec) -> Callable[[int, Box], tuple[NDArray[Any], Placement]]:
    """A function of a slice and a box: the slice and the ones beside it as channels on the network's grid (s, s, 3),
    and its placement. A slice is resampled once a box, though it is a channel of its neighbours' frames, too."""

    @lru_cache(maxsize=4 * BATCH)
    def plane(z: int, box: Box) -> tuple[NDArray[Any], Placement]:
        return place(volume[z], box, spec.size)

    def frame(z: int, box: Box) -> tuple[NDArray[Any], Placement]:
        planes = [plane(i, box) for i in channel_slices(len(volume), z, spec.context_slices)]
        return np.stack([grid for grid, _ in planes], axis=-1), planes[1][1]

    return frame


def _spacing_notes(spacing_mm: tuple[float, ...] | None) -> list[str]:
    """What the user should know where the spacing is missing or the stack is not axial."""
    if spacing_mm is None:
        return ["The spacing of this image is unknown: volume and diameters cannot be given in mL and mm."]
    across = slice_axis(spacing_mm)
    if across == 0:
        return []
    plane, sides = (("coronal", "front and back"), ("sagittal", "left and right"))[across - 1]
    return [
        f"This is a {plane} stack: it was read as axial slabs of {SLAB_MM:g} mm and answered there. Its own slices are "
        f"{max(spacing_mm):.1f} mm apart, so look at the borders to the {sides} with care."
    ]


def left_out_notes(raw: NDArray[np.bool_], kept: NDArray[np.bool_]) -> list[str]:
    """What was taken from a raw gland (D, H, W) on the way to one body `kept`: slices at the apex (low indices), slices
    at the base, bodies elsewhere."""
    rows = np.flatnonzero(kept.any(axis=(1, 2)))
    found = np.flatnonzero(raw.any(axis=(1, 2)))
    if not rows.size:
        return []
    parts = []
    for end, count in (("apex", np.count_nonzero(found < rows[0])), ("base", np.count_nonzero(found > rows[-1]))):
        if count:
            parts.append(f"{count} slice{'s' if count > 1 else ''} at the {end}")
    away = np.count_nonzero(raw[rows[0] : rows[-1] + 1] & ~kept[rows[0] : rows[-1] + 1])
    if away:
        parts.append(f"{away} voxels beside the largest body")
    return [f"Left out of the mask: {', '.join(parts)}."] if parts else []


def _smooth_through(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (D, ...) averaged 1:2:1 with their neighbours; ends keep their own."""
    before = np.concatenate([logits[:1], logits[:-1]])
    after = np.concatenate([logits[1:], logits[-1:]])
    return (0.25 * before + 0.5 * logits + 0.25 * after).astype(np.float32)
