"""Where a set of images comes from: a model's training images, the images open here, or a folder."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QComboBox, QFileDialog

from ..napari_io.layers import kind_of, scan_of
from ..parts.choosers import LayerChooser
from ..parts.image_and_models import is_an_image
from ..parts.panel import Panel
from .set_comparison import SetSpec

TRAINING, LAYERS, FOLDER = "the training images", "images open here", "choose a folder..."


class SetChooser(QComboBox):
    """One set; of the open images those count that are of the kind chosen in `images`."""

    def __init__(self, panel: Panel, images: LayerChooser):
        super().__init__()
        self._panel, self._images = panel, images
        self.addItems([TRAINING, LAYERS, FOLDER])
        self.activated.connect(self._activated)

    def _activated(self, index: int) -> None:
        if self.itemText(index) == FOLDER:
            chosen = QFileDialog.getExistingDirectory(self._panel, "Folder of images")
            if chosen:
                self.set_folder(Path(chosen))
            else:
                self.setCurrentIndex(0)

    def set_folder(self, folder: Path) -> None:
        """Choose a folder; it stays in the list."""
        if self.findData(str(folder)) < 0:
            self.addItem(folder.name, str(folder))
        self.setCurrentIndex(self.findData(str(folder)))
        self.setToolTip(str(folder))

    def spec(self) -> SetSpec:
        """What was chosen. Raises ValueError where nothing usable is."""
        if self.currentData():
            return SetSpec("folder", Path(self.currentData()).name, folder=Path(self.currentData()))
        if self.currentText() == TRAINING:
            return SetSpec("training", TRAINING)
        layers = [layer for layer in self._panel.viewer.layers if is_an_image(layer)]
        kind = kind_of(self._images.layer) if self._images.layer is not None else None
        scans = tuple(scan_of(layer) for layer in layers if kind_of(layer) == kind)
        if not scans:
            raise ValueError("no image is open here; open images, or choose a folder.")
        return SetSpec("layers", LAYERS, scans=scans)
