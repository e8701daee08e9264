"""What the TinyMIG submenu does."""

from __future__ import annotations

from napari.utils.notifications import show_info


def show_about() -> None:
    """Open the About box."""
    import napari
    from qtpy.QtWidgets import QApplication

    from .widgets.about_dialog import AboutDialog

    viewer = napari.current_viewer()
    dialog = AboutDialog(QApplication.activeWindow(), viewer.theme if viewer else "dark")
    dialog.open()


def copy_versions() -> None:
    """Put versions, device and models on the clipboard."""
    from qtpy.QtGui import QGuiApplication

    from .widgets.about_dialog import versions_text

    QGuiApplication.clipboard().setText(versions_text())
    show_info("Versions and devices are on the clipboard; paste them into the report.")


def show_in_scanner_space() -> None:
    """Put every layer that knows its scanner position there, in 3-D; again: back to the slice view."""
    import napari

    from .widgets.scanner_space import toggle_scanner_space

    viewer = napari.current_viewer()
    if viewer is not None:
        show_info(toggle_scanner_space(viewer))
