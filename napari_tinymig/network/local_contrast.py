"""Local contrast of a photograph made even, so that haze and a dark side of the field weigh less."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TILES = 4
"""Tiles along each side of the grid [chosen]."""
CLIP_LIMIT = 0.01
"""Slope limit of each tile's histogram, scikit-image's own choice [known]."""


def equalise_local_contrast(grid: NDArray[np.floating]) -> NDArray[np.float32]:
    """Contrast-limited adaptive histogram equalisation (CLAHE, Zuiderveld 1994) of the brightness of RGB (s, s, 3) in
    0..255; hue and saturation stay. A grid of one brightness is returned as it is."""
    from skimage.exposure import equalize_adapthist  # its modules are not paid for by a start that needs no look

    colours = np.clip(grid, 0, 255).astype(np.float32)
    value = colours.max(-1)  # the V of HSV
    if value.max() - value.min() < 1:
        return colours
    even = equalize_adapthist(value.astype(np.uint8), kernel_size=max(1, len(value) // TILES), clip_limit=CLIP_LIMIT)
    return colours * (255 * even.astype(np.float32) / np.maximum(value, 1))[..., None]
