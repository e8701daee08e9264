"""Loads, in the worker's thread, what the first mask of a window needs, so that showing it does not stop the window."""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def load_for_labels() -> None:
    """Once in a process: napari's first Labels layer with features imports pandas and makes a table of random colours,
    and its polygon tool draws the dashes of vispy's lines; none of it needs the window. The layer made here is never
    shown."""
    from napari.layers import Labels
    from vispy.visuals.line.dash_atlas import DashAtlas

    from ...tasks.optic import OPTIC
    from .layers import class_colours, class_features

    Labels(np.eye(4, dtype=np.uint8), colormap=class_colours(OPTIC), features=class_features(OPTIC.class_names))
    DashAtlas()
