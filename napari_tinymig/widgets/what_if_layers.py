"""Where the pixels of a what-if bench lie in the viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer
from napari.utils.transforms import Affine

from napari_tinymig.engine.what_if import Bench


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
