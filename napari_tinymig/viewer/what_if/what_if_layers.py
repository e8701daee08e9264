"""The layers of a what-if bench: the spoiled image and its masks, in the place of the image they are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils.transforms import Affine

from ...sets.what_if import Bench, Tried
from ..napari_io.layers import class_colours
from ..parts.image_and_models import WHAT_IF

if TYPE_CHECKING:
    from napari.viewer import Viewer


def bench_geometry(layer: Layer, bench: Bench) -> dict[str, Any]:
    """The seven geometry keys of a layer that shows a bench of `layer` in its place.

    Pixel i of the bench has its centre at box + (i + 1/2) step in pixel edges, which is that minus 1/2 in the layer's
    own data coordinates; a slice of a volume keeps its index. The step is the same along all axes of a photograph, so
    rotation and shear stay as they are.
    """
    step = (bench.box[2] - bench.box[0]) / bench.pixels.shape[-2 if bench.index is not None else 0]
    offset = np.array([bench.box[0] + step / 2 - 0.5, bench.box[1] + step / 2 - 0.5])
    if bench.index is not None and layer.ndim == 3:
        offset, step = np.array([bench.index, 0.0, 0.0]), 1.0
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


def show_tries(viewer: Viewer, image: Layer, benches: dict[str, Bench], tries: dict[str, Tried]) -> None:
    """Show the spoiled copy of `image` and one mask per model in its place: layers of the bench's own, reused."""
    first, bench = next(iter(tries.values())), next(iter(benches.values()))
    where = bench_geometry(image, bench)
    pixels = first.pixels if bench.index is None else first.pixels[None]
    pixels = pixels[0] if image.ndim == 2 and bench.index is not None else pixels
    name = f"what if: {image.name}"
    own = {layer.name: layer for layer in viewer.layers if WHAT_IF in layer.metadata}
    if name in own and own[name].data.shape == pixels.shape:
        own[name].data = pixels
    else:
        limits = None if bench.index is None else tuple(image.contrast_limits)
        rgb = bench.index is None
        viewer.add_image(pixels, name=name, rgb=rgb, contrast_limits=limits, metadata={WHAT_IF: True}, **where)
    for i, (model, tried) in enumerate(tries.items()):
        labels = tried.labels if bench.index is None or image.ndim == 2 else tried.labels[None]
        title = f"what if: {model}"
        if title in own and own[title].data.shape == labels.shape:
            own[title].data = labels
            continue
        layer = Labels(labels, name=title, opacity=0.9, metadata={WHAT_IF: True}, **where)
        layer.colormap = class_colours(bench.task)
        layer.contour = 1 + 2 * i  # the second model's outline is drawn thicker
        viewer.add_layer(layer)
