"""The layers of a what-if: the spoiled image and its masks, in the place of the image they are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils.transforms import Affine

from ...sets.what_if import Tried, WhatIf
from ..napari_io.layers import class_colours
from ..parts.image_and_models import WHAT_IF

if TYPE_CHECKING:
    from napari.viewer import Viewer


def what_if_geometry(layer: Layer, what_if: WhatIf) -> dict[str, Any]:
    """The seven geometry keys of a layer that shows a what-if of `layer` in its place.

    Pixel i of the what-if has its centre at box + (i + 1/2) step in pixel edges, which is that minus 1/2 in the layer's
    own data coordinates; a slice of a volume keeps its index. The step is the same along all axes of a photograph, so
    rotation and shear stay as they are.
    """
    step = (what_if.box[2] - what_if.box[0]) / what_if.pixels.shape[-2 if what_if.index is not None else 0]
    offset = np.array([what_if.box[0] + step / 2 - 0.5, what_if.box[1] + step / 2 - 0.5])
    if what_if.index is not None and layer.ndim == 3:
        offset, step = np.array([what_if.index, 0.0, 0.0]), 1.0
    own = Affine(scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear)
    return {
        "scale": layer.scale * step,
        "translate": np.asarray(own(offset)),
        "rotate": layer.rotate.copy(),
        "shear": layer.shear.copy(),
        "affine": layer.affine.affine_matrix.copy(),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def show_tries(viewer: Viewer, image: Layer, what_ifs: dict[str, WhatIf], tries: dict[str, Tried]) -> None:
    """Show the spoiled copy of `image` and one mask per model in its place: layers of the what-if's own, reused."""
    first, what_if = next(iter(tries.values())), next(iter(what_ifs.values()))
    where = what_if_geometry(image, what_if)
    pixels = first.pixels if what_if.index is None else first.pixels[None]
    pixels = pixels[0] if image.ndim == 2 and what_if.index is not None else pixels
    name = f"what if: {image.name}"
    own = {layer.name: layer for layer in viewer.layers if WHAT_IF in layer.metadata}
    if name in own and own[name].data.shape == pixels.shape:
        own[name].data = pixels
    else:
        limits = None if what_if.index is None else tuple(image.contrast_limits)
        rgb = what_if.index is None
        viewer.add_image(pixels, name=name, rgb=rgb, contrast_limits=limits, metadata={WHAT_IF: True}, **where)
    for i, (model, tried) in enumerate(tries.items()):
        labels = tried.labels if what_if.index is None or image.ndim == 2 else tried.labels[None]
        title = f"what if: {model}"
        if title in own and own[title].data.shape == labels.shape:
            own[title].data = labels
            continue
        layer = Labels(labels, name=title, opacity=0.9, metadata={WHAT_IF: True}, **where)
        layer.colormap = class_colours(what_if.task)
        layer.contour = 1 + 2 * i  # the second model's outline is drawn thicker
        viewer.add_layer(layer)
