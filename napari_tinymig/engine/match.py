"""Test-time help without training: bring a frame's light and colour to those of the training images.

Off by default. It helps where the camera differs and harms where the picture itself does (another field of view, a
pale disc); docs/SHIFT.md has the measured benefit and harm per domain.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .descriptors import LEVELS

Help = Literal["none", "colour", "histogram"]
HELPS: tuple[str, ...] = ("none", "colour", "histogram")


def match_to_source(
    grid: NDArray[Any], inside: NDArray[np.bool_], statistics: dict[str, Any], how: Help
) -> NDArray[np.float32]:
    """A photograph's grid (s, s, 3), 0-255, with the source's light and colour; padding stays.

    colour: every channel gets the source's mean and spread between its 10 % and 90 % quantiles (after Reinhard et
    al., 2001, per RGB channel; chosen). histogram: every channel gets the source's mean quantile function, which is
    the 1-D Wasserstein barycentre of the training images. Raises ValueError for another word, or for statistics of
    grey images.
    """
    if how not in HELPS:
        raise ValueError(f"help is '{how}'; expected one of {', '.join(HELPS)}.")
    if how == "none":
        return grid
    target = np.asarray(statistics["quantiles"], np.float32)  # (C, 17)
    if len(target) != 3 or grid.ndim != 3:
        raise ValueError("matching to the source is for colour photographs; volumes are normalised slice by slice.")
    out = np.array(grid, np.float32)
    seen = out[inside] / 255  # (n, 3)
    own = np.quantile(seen[:: max(1, len(seen) // 20_000)], LEVELS, axis=0).T  # (3, 17)
    for c in range(3):
        values = out[..., c] / 255
        if how == "histogram":
            changed = np.interp(values, np.maximum.accumulate(own[c] + np.linspace(0, 1e-5, len(LEVELS))), target[c])
        else:
            spread = np.interp(0.9, LEVELS, own[c]) - np.interp(0.1, LEVELS, own[c])
            wanted = np.interp(0.9, LEVELS, target[c]) - np.interp(0.1, LEVELS, target[c])
            gain = np.clip(wanted / max(float(spread), 1e-3), 0.5, 2.0)
            changed = (values - own[c].mean()) * gain + target[c].mean()
        out[..., c][inside] = np.clip(changed[inside], 0, 1) * 255
    return out
