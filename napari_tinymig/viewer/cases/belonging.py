"""Which image a layer belongs to: asked once, when the layer is added, so that a later new name changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari.layers import Image, Layer

from ...formats import stem_of
from ..napari_io.layer_geometry import KEY, scan_file_of
from ..napari_io.layers import kind_of_frames
from .case import Case, is_made_by_a_panel

MADE = ("probability_of", "source")
"""Keys of the plugin's metadata that only layers made from an image have."""


def is_source_image(layer: Layer) -> bool:
    """True for an image that a user opened; maps, probabilities and copies made by the panels are none."""
    if not isinstance(layer, Image) or kind_of_frames(layer) is None:
        return False
    return not is_made_by_a_panel(layer) and not any(key in layer.metadata.get(KEY, {}) for key in MADE)


def path_of(layer: Layer) -> Path | None:
    """The file that a layer was read from, by this plugin or by napari; None for a layer made here."""
    scan_file = scan_file_of(layer)
    if scan_file is not None:
        return Path(scan_file.path)
    kept = layer.metadata.get(KEY, {}).get("path") if layer.metadata else None
    source = kept or layer.source.path
    return Path(source) if source else None


def owner_of(layer: Layer, cases: Sequence[Case], current: Case | None) -> Case | None:
    """The case of a layer that was just added: the image it names, the image whose file its own file is the mask of,
    the image of the same file, else the case on show."""
    own = layer.metadata.get(KEY, {}) if layer.metadata else {}
    images = [case for case in cases if case.image is not None]
    named = [c for c in images if c.image is not None and own.get("source") == c.image.name]
    if named:
        return named[-1]
    path = path_of(layer)
    if path is not None:
        for case in images:
            file = path_of(case.image) if case.image is not None else None
            if file is not None and (file == path or stem_of(path) == f"{stem_of(file)}_mask"):
                return case
    return current
