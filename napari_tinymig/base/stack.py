"""Which way the slices of a stack run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def slice_axis(spacing_mm: Sequence[float] | None) -> int:
    """The axis (0 z, 1 y, 2 x) of a volume in patient order across its slices: the one of the largest spacing, 0 if
    none stands out by a quarter. 1 is a coronal and 2 a sagittal stack."""
    if spacing_mm is None or max(spacing_mm) < 1.25 * sorted(spacing_mm)[1]:
        return 0
    return int(np.argmax(spacing_mm))
