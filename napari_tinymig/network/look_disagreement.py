"""Cheap test-time augmentation: the same frame mirrored and from nearer; where the answers disagree is doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, place, restore, square_box
from ..measures.overlap import dice
from ..recipes.student import ModelHeader
from .labels_from_logits import region_logits, region_probabilities
from .normalise import network_input
from .run import Network
from .seen_frame import SeenFrame

DOUBT_LOOKS: tuple[tuple[bool, float], ...] = ((True, 1.0), (False, 1.12), (True, 1.12), (False, 1.25))
"""Further looks: (mirrored left-right, zoom); one batch of four besides the first. Never from further away: the
padding around a shrunken frame would be a new image, and its doubt not about this one (chosen)."""


@dataclass(frozen=True)
class FurtherLooks:
    """What further looks at one frame said.

    mean: (R, s, s) mean probability over all looks, the first included. spread: (s, s) standard deviation over the
    looks, doubled so that 1 = as different as can be, largest over regions. agreement: region -> mean Dice between
    the first look's mask and the others'; two empty masks agree.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    agreement: dict[str, float]

    @property
    def disagreement(self) -> float:
        """1 - mean agreement over regions: 0 (sure) to 1."""
        return 1 - float(np.mean(list(self.agreement.values())))


def further_looks(network: Network, header: ModelHeader, frame: SeenFrame) -> FurtherLooks:
    """One extra batch through the network, its answers turned back onto the frame's own grid."""
    size = frame.grid.shape[0]
    first = region_logits(frame.logits, header)
    batch, undo = [], []
    for mirrored, zoom in DOUBT_LOOKS:
        grid, inside, back = _looked(frame, mirrored, zoom, size, first)
        batch.append(network_input(grid, inside, header.input))
        undo.append(back)
    output = network.run(np.stack(batch))
    answers = [first] + [back(region_logits(raw, header)) for raw, back in zip(output.logits, undo)]
    probabilities = np.stack([region_probabilities(a, header) for a in answers])  # (L, R, s, s)
    agreement = {
        region.name: float(np.mean([dice(first[i] > 0, a[i] > 0) for a in answers[1:]]))
        for i, region in enumerate(header.segmenter_task.regions)
    }
    spread = 2 * probabilities.std(0).max(0)
    return FurtherLooks(probabilities.mean(0), np.minimum(spread, 1).astype(np.float32), agreement)


Undo = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _looked(
    frame: SeenFrame, mirrored: bool, zoom: float, size: int, first: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Undo]:
    """The frame's grid seen mirrored or from another distance, and the way back for logits (R, s, s)."""
    box: Box = square_box((size / 2, size / 2), size / zoom)
    grid, placement = place(np.asarray(frame.grid, np.float32), box, size)
    inside = place(frame.inside.astype(np.uint8), box, size, order=0)[0] > 0
    flip = slice(None, None, -1) if mirrored else slice(None)

    def back(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        # Beyond the border of a nearer look nothing was seen: the first look keeps its word there.
        seen = restore(np.ascontiguousarray(logits[..., flip]), placement, fill=np.nan)
        return np.where(np.isnan(seen), first, seen)

    return np.ascontiguousarray(grid[:, flip]), np.ascontiguousarray(inside[:, flip]), back
