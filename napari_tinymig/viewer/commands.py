"""What the TinyMIG submenu does."""

from __future__ import annotations

from napari.utils.notifications import show_info, show_warning


def show_about() -> None:
    """Open the About box."""
    import napari
    from qtpy.QtWidgets import QApplication

    from .about import AboutDialog

    viewer = napari.current_viewer()
    dialog = AboutDialog(QApplication.activeWindow(), viewer.theme if viewer else "dark")
    dialog.open()


def copy_versions() -> None:
    """Put versions, device and models on the clipboard."""
    from qtpy.QtGui import QGuiApplication

    from .about import versions_text

    QGuiApplication.clipboard().setText(versions_text())
    show_info("Versions and devices are on the clipboard; paste them into the report.")


def show_keys() -> None:
    """Open the list of cases with the card of every key of the plugin."""
    import napari

    from .docks.tabs import open_panel

    viewer = napari.current_viewer()
    if viewer is not None:
        open_panel(viewer, "Cases").show_keys()  # type: ignore[attr-defined]


def show_in_scanner_space() -> None:
    """Put every layer that knows its scanner position there, in 3-D; again: back to the slice view."""
    import napari

    from .napari_io.scanner_space import toggle_scanner_space

    viewer = napari.current_viewer()
    if viewer is not None:
        show_info(toggle_scanner_space(viewer))


def open_photographs() -> None:
    """Choose photographs and open them upright: EXIF orientation applied, unusual TIFFs included."""
    import napari
    from napari.layers import Layer
    from qtpy.QtWidgets import QApplication, QFileDialog

    from ..base.errors import TinyMIGError
    from ..formats.declared import dialog_filter
    from .napari_io.readers import read_layers

    viewer = napari.current_viewer()
    if viewer is None:
        return
    kinds = dialog_filter("photograph", "Photographs")
    chosen, _ = QFileDialog.getOpenFileNames(QApplication.activeWindow(), "Open photographs upright", "", kinds)
    for path in chosen:
        try:
            layers = read_layers(path)
        except TinyMIGError as e:
            show_warning(str(e))
            continue
        for data in layers:
            viewer.add_layer(Layer.create(*data))
