"""Choosing a layer or a model: lists that show only what fits and follow the viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from ..napari_io.layer_geometry import KEY
from .panel import Panel


class LayerChooser(QComboBox):
    """The viewer's layers that satisfy `fits`, newest last; keeps its choice, and follows the layer a user selects.

    `changed` is sent when another layer, or none, is chosen.
    """

    changed = Signal()

    def __init__(self, panel: Panel, fits: Callable[[Layer], bool], none_text: str = "no layer that fits"):
        super().__init__()
        self._viewer, self._fits, self._none_text = panel.viewer, fits, none_text
        self._chosen: Layer | None = None
        self._layers: list[Layer] = []
        layers = panel.viewer.layers
        for emitter in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            panel.listen(emitter, self._relist)
        panel.listen(layers.selection.events.active, self._follow_selection)
        self._panel = panel
        self._named: list[Layer] = []
        self.setPlaceholderText(none_text)
        self.currentIndexChanged.connect(self._choose)
        self._relist()
        self._follow_selection()

    @property
    def layer(self) -> Layer | None:
        """The chosen layer, None if none fits."""
        return self._chosen

    def choose(self, layer: Layer) -> None:
        """Choose a layer that is in the list."""
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))

    def _relist(self, event: Any = None) -> None:
        fitting = [layer for layer in self._viewer.layers if self._fits(layer)]
        before = self._chosen
        self.blockSignals(True)
        self.clear()
        self.addItems([layer.name for layer in fitting] or [self._none_text])
        self._layers = fitting
        keep = fitting.index(before) if before in fitting else len(fitting) - 1
        self.setCurrentIndex(max(keep, 0))
        self.blockSignals(False)
        self.setEnabled(bool(fitting))
        for gone in [layer for layer in self._named if layer not in fitting]:
            self._named.remove(gone)
            self._panel.stop_listening_to(gone.events.name, self._relist)
        for new in [layer for layer in fitting if layer not in self._named]:
            self._named.append(new)
            self._panel.listen(new.events.name, self._relist)
        self._choose(self.currentIndex())

    def _choose(self, index: int) -> None:
        chosen = self._layers[index] if 0 <= index < len(self._layers) else None
        if chosen != self._chosen:  # not `is`: napari hands out proxies of layers
            self._chosen = chosen
            self.changed.emit()

    def _follow_selection(self, event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if active in self._layers:
            self.choose(active)
        elif self._left_behind(active):
            shown = [i for i, layer in enumerate(self._layers) if layer.visible]
            self.setCurrentIndex(shown[-1] if shown else -1)

    def _left_behind(self, active: Layer | None) -> bool:
        """Whether another image is on show now, and the chosen layer is hidden and was not made for it."""
        chosen = self._chosen
        if not isinstance(active, Image) or chosen is None or chosen.visible:
            return False
        own = chosen.metadata.get(KEY, {})
        return not (isinstance(own, dict) and own.get("source") == active.name)
