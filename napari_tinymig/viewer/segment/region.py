"""Where the network looks in a photograph: found by itself, a rectangle that the user drew, the whole frame."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer

from ..napari_io.layers import kind_of_frames
from ..parts.predicting import rectangle_of

ROIS = {"found by itself": "auto", "rectangle I draw": "rectangle", "whole frame": "full"}


def region_of(image: Layer, wish: str, shapes: Layer | None) -> Any:
    """The region of interest for a request; volumes are always looked at whole.

    Raises ValueError where a rectangle is wished and there is none that can be used.
    """
    if kind_of_frames(image) != "photograph":
        return "auto"
    if wish != "rectangle":
        return wish
    if shapes is None:
        raise ValueError("no Shapes layer is there; add one and draw a rectangle around the disc.")
    return rectangle_of(shapes, image)
