"""`tinymig view`: napari with the plugin docked, or what to install for it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import typer


def view(inputs: list[Path] = typer.Argument(None, help="Images, masks and folders to open.")) -> None:
    """Open napari with the TinyMIG panel docked."""
    from ..base.errors import MissingExtra, UnreadableInput

    if importlib.util.find_spec("napari") is None or importlib.util.find_spec("qtpy") is None:
        raise MissingExtra("The viewer", "all")
    if not any(importlib.util.find_spec(qt) for qt in ("PyQt6", "PySide6", "PyQt5")):
        raise ValueError("napari is here but no Qt; install one with: pip install PyQt6")
    if sys.platform.startswith("linux") and not any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    ):
        raise ValueError(
            "no display was found (DISPLAY and WAYLAND_DISPLAY are empty); log in with a screen, or ssh -X."
        )
    paths = [Path(p) for p in inputs or []]
    for path in paths:
        if not path.exists():
            raise UnreadableInput(f"{path} does not exist; expected an image file or a folder; check the path.")
    import napari

    viewer = napari.Viewer()
    viewer.window.add_plugin_dock_widget("napari-tinymig", "Segment")
    for path in paths:
        viewer.open(str(path), plugin="napari-tinymig" if _ours(path) else "napari")
    napari.run()


def _ours(path: Path) -> bool:
    """Volumes and DICOM are opened by this plugin's reader, which keeps their geometry, and pictures that are masks as
    labels; photographs by napari."""
    from ..formats import find_inputs
    from ..formats.kinds import is_mask_picture

    items = find_inputs([path])[:1]
    return any(item.format not in ("photograph", "unknown") or is_mask_picture(item.path) for item in items)
