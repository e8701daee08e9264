"""Pictures of two classes that are told apart by the direction of their stripes."""

from __future__ import annotations

import numpy as np


def striped(seed: int, along: bool, side: int = 64) -> np.ndarray:
    """(side, side) uint8: stripes along the rows or across them, of a width of its own, with noise."""
    rng = np.random.default_rng(seed)
    wave = 0.5 + 0.4 * np.sin(np.arange(side) / rng.uniform(1.5, 3))
    picture = np.broadcast_to(wave if along else wave[:, None], (side, side)) + rng.normal(0, 0.1, (side, side))
    return (picture.clip(0, 1) * 255).astype(np.uint8)
