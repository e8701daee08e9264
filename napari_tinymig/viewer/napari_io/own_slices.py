"""The window's slider steps by the slices of one chosen layer.

napari gives one slider to all layers: its step is the smallest voxel of any of them, so that an axial series of 19
slices beside a sagittal and a coronal one has 341 steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer

Range = tuple[float, float, float]


def slices_of(viewer: Any, layer: Layer | None) -> tuple[Range, ...]:
    """(first, last, step) in world units for every axis of the window: those of the layer's own slices; of all layers
    along an axis that it does not have, or where its units are not the window's. None: of all layers, as napari has it.
    """
    whole = viewer.layers.extent
    ranges = [(float(a), float(b), float(s)) for a, b, s in zip(*whole.world, whole.step)]
    if layer is None or layer not in viewer.layers:
        return tuple(ranges)
    own = viewer.layers.get_extent([layer])
    if whole.units is None or own.units is None or tuple(own.units) != tuple(whole.units)[-layer.ndim :]:
        return tuple(ranges)
    for axis, (first, last, step) in enumerate(zip(*own.world, own.step), start=len(ranges) - layer.ndim):
        count = int(np.rint((last - first) / step))  # rounding must not lose the last slice: napari cuts off
        ranges[axis] = (float(first), float(first + (count + 1e-6) * step), float(step))
    return tuple(ranges)


class OwnSlices:
    """Keeps the slider on the slices of the layer that `follow` was told, also when layers come and go."""

    def __init__(self, viewer: Any):
        self._viewer, self._layer = viewer, None
        self._setting = False
        viewer.dims.events.range.connect(self._keep)

    def follow(self, layer: Layer | None) -> None:
        """Step by this layer's slices from now on; None: by napari's own steps."""
        self._layer = layer
        before = self._viewer.dims.point
        self._keep()
        self._come_back(before)

    def _come_back(self, before: tuple[float, ...]) -> None:
        """The window stays where it was; where that is beyond the layer's slices, its middle one is shown."""
        dims, point = self._viewer.dims, []
        for at, (first, last, step) in zip(before, dims.range):
            inside = first - step / 2 <= at <= last + step / 2
            point.append(at if inside else first + step * round((last - first) / step / 2))
        if tuple(point) != tuple(dims.point):
            dims.point = tuple(point)

    def _keep(self, event: Any = None) -> None:
        if self._setting or len(self._viewer.layers) == 0 or (self._layer is None and event is not None):
            return
        self._setting = True
        try:
            ranges = slices_of(self._viewer, self._layer)
            if len(ranges) == self._viewer.dims.ndim and not np.allclose(ranges, self._viewer.dims.range, rtol=0):
                before = self._viewer.dims.point
                self._viewer.dims.range = ranges
                self._viewer.dims.point = before  # the slider kept its number of steps, not its place
        finally:
            self._setting = False

    def stop(self) -> None:
        """Give the slider back to napari."""
        self._viewer.dims.events.range.disconnect(self._keep)
        self.follow(None)
