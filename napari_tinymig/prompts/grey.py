"""A grey slice as the eight-bit picture that a prompted network looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIP_PERCENTILES = (0.5, 99.5)


def slice_picture(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """A slice (H, W) in any real unit as RGB uint8 (H, W, 3), its 0.5 and 99.5 percentile at 0 and 255.

    NaN and infinities count as the lowest finite value.
    """
    values = np.asarray(pixels, np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros((*values.shape, 3), np.uint8)
    low, high = np.percentile(values[finite], CLIP_PERCENTILES)
    values = np.where(finite, values, low)
    grey = np.clip((values - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
