"""Segmentations of 3D Slicer (.seg.nrrd): segments with names, in one layer of labels or in several."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput


def segments_of(header: dict[str, Any]) -> list[tuple[str, int, int]]:
    """(name, layer, value in that layer) of every segment a header lists, in its order; [] for any other NRRD."""
    numbers = sorted({int(m.group(1)) for key in header if (m := re.fullmatch(r"Segment(\d+)_ID", str(key)))})
    found = []
    for n in numbers:
        name = str(header.get(f"Segment{n}_Name", f"segment {n + 1}"))
        layer = int(header.get(f"Segment{n}_Layer", 0))
        found.append((name, layer, int(header.get(f"Segment{n}_LabelValue", 1))))
    return found


def one_layer(layers: NDArray[Any], segments: list[tuple[str, int, int]], name: str) -> NDArray[np.uint8]:
    """Labels (i, j, k) of layers (n, i, j, k): segment 1, 2, ... in the order of the header.

    Where two overlap, the one that lies inside the other wins (a cup in its disc). Raises UnsupportedInput where
    they overlap otherwise: one label a voxel cannot say it.
    """
    masks = [layers[layer] == value for _, layer, value in segments]
    for i, one in enumerate(masks):
        for j, other in enumerate(masks[:i]):
            shared = int((one & other).sum())
            if shared and shared not in (int(one.sum()), int(other.sum())):
                raise UnsupportedInput(
                    f"{name}: the segments '{segments[j][0]}' and '{segments[i][0]}' overlap in {shared} voxels and "
                    "neither lies inside the other; expected one label a voxel; export them one by one."
                )
    labels = np.zeros(layers.shape[1:], np.uint8)
    for i in sorted(range(len(masks)), key=lambda n: -int(masks[n].sum())):
        labels[masks[i]] = i + 1
    return labels


def named_structures(names: dict[int, str]) -> tuple[str, ...]:
    """The note that says which label is what; none without names."""
    listed = ", ".join(f"{label} = {name}" for label, name in sorted(names.items()))
    return (f"Its structures are {listed}.",) if names else ()
