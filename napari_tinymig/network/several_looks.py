"""Several looks at one region, averaged: further away, nearer, mirrored, in even contrast. Steadier than one look."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, place
from ..base.records import Placement
from .labels_from_logits import region_logits
from .local_contrast import equalise_local_contrast
from .normalise import inside_frame, network_input
from .seen_frame import SeenFrame

if TYPE_CHECKING:
    from ..recipes.student import ModelHeader
    from .run import Network

PlaceIn = Callable[[Box], tuple[NDArray[Any], Placement]]
"""What lies in a box, on the network's grid (s, s, 3), and the record that undoes it (`geometry.place`)."""


class Look(NamedTuple):
    """A further, mirrored look. side: in units of the first look's. equalised: in even local contrast (photographs)."""

    side: float
    equalised: bool = False


PHOTOGRAPH_LOOKS = (Look(1.4, equalised=True), Look(0.75))
"""The further looks at a region of a photograph (chosen on development sets)."""
NEARER_LOOK = (Look(0.87),)
"""The same for slices of volumes and for frames without a region of interest (chosen on development sets)."""


def averaged_logits(
    pixels: NDArray[Any] | PlaceIn,
    frame: SeenFrame,
    network: Network,
    header: ModelHeader,
    looks: tuple[Look, ...] = PHOTOGRAPH_LOOKS,
) -> NDArray[np.float32]:
    """Logits (R, s, s): the mean of the first look's and those of further looks at the same place of a photograph
    (H, W, 3), or of whatever `pixels` puts on the grid."""
    place_in: PlaceIn = pixels if callable(pixels) else partial(place, pixels, size=header.input.size)
    first = region_logits(frame.logits, header)  # (R, s, s)
    boxes = [_zoomed(frame.placement.box, look.side) for look in looks]
    batch = [_mirrored_input(place_in, box, look, header) for box, look in zip(boxes, looks)]
    outputs = network.run(np.stack(batch)).logits
    total, weight = first.copy(), np.ones(first.shape[1:], np.float32)
    for raw, box in zip(outputs, boxes):
        logits, covered = _on_grid_of(frame, region_logits(raw, header)[..., ::-1], box)
        total += logits
        weight += covered
    return total / weight


def _zoomed(box: Box, factor: float) -> Box:
    """A box of `factor` times the side around the same centre."""
    y0, x0, y1, x1 = box
    cy, cx, hy, hx = (y0 + y1) / 2, (x0 + x1) / 2, (y1 - y0) / 2 * factor, (x1 - x0) / 2 * factor
    return (cy - hy, cx - hx, cy + hy, cx + hx)


def _mirrored_input(place_in: PlaceIn, box: Box, look: Look, header: ModelHeader) -> NDArray[np.float32]:
    grid, placement = place_in(box)  # (s, s, 3)
    grid = equalise_local_contrast(grid) if look.equalised else grid
    return np.ascontiguousarray(network_input(grid, inside_frame(placement), header.input)[..., ::-1])  # (3, s, s)


def _on_grid_of(
    frame: SeenFrame, logits: NDArray[np.float32], box: Box
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits of another look, (R, s, s), on the first look's grid, and how far each grid pixel is covered (0..1)."""
    size = logits.shape[-1]
    (y0, x0, y1, x1), (b0, c0, b1, c1) = frame.placement.box, box
    ky, kx = size / (b1 - b0), size / (c1 - c0)
    here = ((y0 - b0) * ky, (x0 - c0) * kx, (y1 - b0) * ky, (x1 - c0) * kx)
    grid_shape = frame.placement.grid_shape
    moved = np.stack([place(np.ascontiguousarray(channel), here, grid_shape)[0] for channel in logits])
    return moved, _cover(here, size, grid_shape)


@lru_cache(maxsize=8)
def _cover(box: Box, size: int, grid_shape: tuple[int, int]) -> NDArray[np.float32]:
    """How far each pixel of a grid over `box` is covered (0..1) by one of `size` pixels; a volume's slices share it."""
    return place(np.ones((size, size), np.float32), box, grid_shape)[0]
