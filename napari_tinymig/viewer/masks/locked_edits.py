"""Edits that an annotator locked: a new prediction of the same image keeps every pixel that was changed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from napari.layers import Labels, Layer
from numpy.typing import NDArray

from ..napari_io.layers import KEY, changed_by_user, grid_shape


def is_locked(layer: Labels) -> bool:
    """Whether the edits of a layer are locked."""
    return bool(layer.metadata.get(KEY, {}).get("locked"))


def lock(layer: Labels, on: bool) -> None:
    """Lock the edits of a layer, or let the next prediction replace them."""
    layer.metadata.setdefault(KEY, {})["locked"] = on


def locked_layers(layers: Iterable[Layer], image: Layer) -> list[Labels]:
    """The Labels layers among `layers` that lie on the image's grid and whose edits are locked."""
    return [
        layer
        for layer in layers
        if isinstance(layer, Labels)
        and is_locked(layer)
        and tuple(layer.data.shape) == grid_shape(image)
        and np.allclose(layer.data_to_world((1,) * layer.ndim), image.data_to_world((1,) * image.ndim))
    ]


def with_locked_edits(labels: NDArray[np.uint8], locked: Iterable[Labels]) -> tuple[NDArray[np.uint8], int]:
    """Predicted labels with the edits of `locked` layers of the same shape put over them; how many pixels were kept."""
    from ...annotations.edits import keep_locked  # scipy: only when a prediction arrives

    kept = 0
    for layer in locked:
        changed = changed_by_user(layer)
        kept += int(np.count_nonzero(changed))
        labels = keep_locked(labels, np.asarray(layer.data), changed)
    return labels, kept
