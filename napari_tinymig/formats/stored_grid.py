"""Labels in the order in which a file stores its grid: what every writer of masks begins with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Geometry
from .photographs import turn_back
from .scan_file import ScanFile


def _checked(labels: NDArray[Any], scan_file: ScanFile) -> NDArray[np.uint8]:
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}; expected 0 to 255.")
    grid = scan_file.scan.grid_shape
    allowed = {grid, grid[1:] if len(grid) == 3 and grid[0] == 1 else grid, (1, *grid) if len(grid) == 2 else grid}
    if labels.shape not in allowed:
        raise ValueError(f"labels have shape {labels.shape}; expected {grid}, the grid of {scan_file.name}.")
    return labels.reshape(grid).astype(np.uint8)


def stored_labels(labels: NDArray[Any], scan_file: ScanFile) -> NDArray[np.uint8]:
    """Labels (i, j, k) in the stored order of a volume; photographs as (column, row, 1) of the stored picture."""
    grid = _checked(labels, scan_file)
    if scan_file.is_photograph_file or scan_file.scan.kind == "photograph":
        plane = turn_back(grid.reshape(grid.shape[-2:]), scan_file.exif_orientation)
        return np.ascontiguousarray(plane.T[..., None])
    geometry: Geometry = scan_file.geometry  # type: ignore[assignment]
    return np.ascontiguousarray(geometry.to_stored(grid))
