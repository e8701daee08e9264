"""A second opinion on the cup's size: a small network reads the disc in its own coordinates.

The student's cup keeps its shape and gets the size of the mean of both on the log-odds of the vertical ratio. The
head's cup cannot leave the disc, and discs of any size look alike to it. Everything here is chosen.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..network.disc_polar import DiscBorder, border_of, unwrapped, vertical_ratio_of
from ..network.run import Network
from ..recipes.student import ModelHeader

QUANTILE = "cup_quantile"
"""Header constant of a head: how likely a radius must lie in the cup to be drawn as cup (median: .5)."""
WEIGHT = 0.5
"""The head's part of the mean on log-odds (chosen: two opinions, fixed before any was scored)."""
FARTHEST = (0.03, 0.97)
"""Ratios beyond are read as these (chosen: log-odds stay finite)."""


class CupHead(Protocol):
    """A bundled model that reads cups in unwrapped discs."""

    network: Network
    header: ModelHeader


def cup_shares(
    head: CupHead, grid: NDArray[Any], disc: NDArray[np.bool_], border: DiscBorder | None = None
) -> NDArray[np.float64] | None:
    """Per angle (A,) the cup's share of the disc's radius; None without a disc. border: the disc's, if known.

    grid: (s, s, 3) colours in 0..255. disc: (s, s). The head is asked twice, as it is and mirrored, in one batch.
    """
    border = border or border_of(disc)
    if border is None:
        return None
    polar = np.moveaxis(unwrapped(grid, border), -1, 0) / np.float32(255)  # (3, ANGLES, RADII)
    batch = np.ascontiguousarray(np.stack([polar, polar[:, ::-1]]))
    plain, mirrored = np.exp(head.network.run(batch).logits.astype(np.float64))  # (A, bins) each
    return at_quantile((plain + mirrored[::-1]) / 2, head.header.constants.get(QUANTILE, 0.5))


def at_quantile(place: NDArray[np.float64], likely: float) -> NDArray[np.float64]:
    """(A,) the share up to which a radius lies in the cup with probability >= `likely`.

    place: (A, bins), rows sum to 1: how likely the cup's border lies in each bin of the disc's radius.
    """
    below = np.cumsum(place, 1)
    bins = place.shape[1]
    index = np.minimum((below < 1 - likely).sum(1), bins - 1)
    rows = np.arange(len(place))
    before = np.where(index > 0, below[rows, index - 1], 0.0)
    part = (1 - likely - before) / np.maximum(place[rows, index], 1e-6)
    return np.asarray((index + np.clip(part, 0, 1)) / bins)


def offset_towards(head: CupHead, grid: NDArray[Any], logits: NDArray[np.float32]) -> float:
    """How far the student's cup goes towards the head's, on the log-odds of the vertical ratio; 0 without both.

    grid: (s, s, 3) as the student saw it. logits: (2, s, s), disc first, shapes drawn.
    """
    disc, cup = logits > 0
    border, own = border_of(disc), cup_of_mask(cup & disc, disc)
    if border is None or own is None or (share := cup_shares(head, grid, disc, border)) is None:
        return 0.0
    return WEIGHT * (log_odds(vertical_ratio_of(share, border)) - log_odds(own))


def cup_of_mask(cup: NDArray[np.bool_], disc: NDArray[np.bool_]) -> float | None:
    """Vertical ratio of two masks (s, s); None without a cup."""
    inner, outer = np.flatnonzero(cup.any(1)), np.flatnonzero(disc.any(1))
    return None if not inner.size else float((np.ptp(inner) + 1) / (np.ptp(outer) + 1))


def log_odds(ratio: float) -> float:
    """Of a ratio, kept within `FARTHEST`."""
    r = min(max(ratio, FARTHEST[0]), FARTHEST[1])
    return float(np.log(r / (1 - r)))
