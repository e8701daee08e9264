"""napari's drawing commands are carried out in the OpenGL context of its own canvas, also outside a repaint."""

from __future__ import annotations

from typing import Any


def draw_in_own_context(viewer: Any) -> None:
    """Make the canvas's context current before its waiting commands are carried out; once per window.

    When a layer goes, napari 0.9.2 carries them out in whichever context is current, Qt's own for instance: buffers are
    then made or deleted in the wrong one, and clearing a window and filling it again in one turn of the event loop
    ended the process at the next repaint (seen with Mesa's software drivers). A viewer without such a canvas, or a
    napari that is built otherwise, is left as it is.
    """
    real = getattr(viewer, "__wrapped__", viewer)  # plugins get a proxy that warns of private names
    canvas = getattr(getattr(getattr(real, "window", None), "_qt_viewer", None), "canvas", None)
    context = getattr(getattr(canvas, "_scene_canvas", None), "context", None)
    native = getattr(canvas, "native", None)
    if context is None or not hasattr(native, "makeCurrent") or hasattr(context, "finish_anywhere"):
        return

    def finish() -> None:
        native.makeCurrent()
        context.finish_anywhere()

    context.finish_anywhere, context.finish = context.finish, finish
