"""Image and label files as arrays in the engine's order, through the engine's own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.base.records import Scan
from napari_tinymig.formats import ScanFile, as_photograph, open_input, read_mask
from napari_tinymig.formats.kinds import stem_of
from napari_tinymig.formats.read_masks import open_codes

__all__ = ["read_image", "read_label", "read_scan", "read_votes", "scan_of", "stem_of"]


def read_scan(path: Path, kind: str) -> Scan:
    """The image of a file as a task of input `kind` reads it: grey pictures become RGB for photographs."""
    return scan_of(open_input(path), kind)


def scan_of(opened: ScanFile, kind: str) -> Scan:
    """The image of an opened file as a task of input `kind` reads it."""
    return as_photograph(opened.scan) if kind == "photograph" and opened.scan.kind == "volume" else opened.scan


def read_image(path: Path, kind: str = "photograph") -> tuple[NDArray[Any], tuple[float, ...] | None]:
    """Pixels (H, W, 3) uint8 or (D, H, W) in patient order, and spacing in mm where known."""
    scan = read_scan(path, kind)
    return scan.pixels, scan.spacing_mm


def read_label(
    path: Path, label_map: dict[int, int] | None = None, like: ScanFile | None = None
) -> tuple[NDArray[np.uint8], tuple[float, ...] | None]:
    """Labels (H, W) or (D, H, W) uint8 after the label map; without a map every code stays. like: the image, whose
    grid and place are then demanded."""
    return read_mask(path, label_map or None, like=like), None


def read_votes(path: Path) -> NDArray[np.uint8]:
    """How many experts drew each pixel: one file's values, though votes on other classes lie beside it."""
    return open_codes(path)
