"""Drawn leaves: a structure that no bundled student knows, beside round red berries that are none."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def leaf_picture(seed, shape=(220, 260)):
    """(H, W, 3) uint8 and its mask (H, W) uint8: one or two green ellipses with veins on brown noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    ground = ndimage.gaussian_filter(rng.normal(0, 1, shape), 8)
    picture = (ground / ground.std() * 18 + 110)[..., None] * (1.1, 0.9, 0.7)
    mask = np.zeros(shape, np.uint8)
    for _ in range(rng.integers(1, 3)):
        cy, cx = rng.uniform(60, shape[0] - 60), rng.uniform(60, shape[1] - 60)
        turn, a, b = rng.uniform(0, np.pi), rng.uniform(30, 50), rng.uniform(18, 30)
        u = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)
        v = (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        veins = np.sin(u / 3)[..., None] * 12
        picture[inside] = ((60, 130, 70) + veins)[inside]
        mask[inside] = 1
    for _ in range(3):
        berry = (y - rng.uniform(0, shape[0])) ** 2 + (x - rng.uniform(0, shape[1])) ** 2 <= rng.uniform(8, 18) ** 2
        picture[berry & (mask == 0)] = 150, 60, 60
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8), mask
