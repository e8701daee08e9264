"""A window that is cleared and filled in one turn of the event loop draws on: napari's commands in its own context."""

from __future__ import annotations

import numpy as np
import pytest
from viewer_parts import dock

from napari_tinymig.viewer.napari_io.own_context import draw_in_own_context

pytestmark = pytest.mark.viewer


def test_commands_outside_a_repaint_are_carried_out_in_the_canvas_own_context(viewer, monkeypatch):
    from napari_tinymig.viewer.parts.panel import Panel

    canvas = viewer.window._qt_viewer.canvas
    context, done = canvas._scene_canvas.context, []
    monkeypatch.setattr(context, "finish", lambda: done.append("commands"))
    monkeypatch.setattr(canvas.native, "makeCurrent", lambda: done.append("own context"))
    dock(viewer, Panel)
    draw_in_own_context(viewer)  # a second panel of the same window
    layer = viewer.add_image(np.zeros((32, 32), np.uint8))
    done.clear()
    viewer.layers.remove(layer)
    assert done == ["own context", "commands"]


def test_a_viewer_without_a_window_is_left_alone():
    draw_in_own_context(object())
