"""Planes: one scanner position, seen in every series of a study at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox

from ...base.geometry import Geometry
from ..napari_io.layer_geometry import geometry_of, point_at, world_mm
from ..napari_io.scanner_space import in_scanner_space, toggle_scanner_space
from ..parts.panel import Panel
from ..parts.style import EmptyState, button, row, text_label
from .plane_view import PlaneView

if TYPE_CHECKING:
    import napari.viewer


TO_SCANNER, TO_SLICES = "Show in scanner space (3-D)", "Back to the slice view"


class PlanesPanel(Panel):
    """Scanner position under the cursor; a click in one plane moves all the others, and the window's own slice."""

    purpose = "The same point of the patient in every series: click in a plane or in the window, all others follow."
    tab = "Planes"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.position: NDArray[np.float64] | None = None
        self.views: list[PlaneView] = []
        where = self.add_section("Scanner position (mm)")
        self.cursor_text = where.add(text_label("move the cursor over a volume", "value", selectable=True))
        self.jump = QCheckBox("follow clicks in the window")
        self.jump.setChecked(True)
        where.add(self.jump)
        self.scanner = button(
            "Show in scanner space (3-D)", self._toggle, tip="Oblique stacks where they were scanned."
        )
        where.add(row(self.scanner))
        self.empty = EmptyState("Open volumes that know their position: NIfTI, NRRD, MetaImage, or DICOM series.")
        self.column.addWidget(self.empty)
        self.planes = self.add_section("Planes")
        self.listen(napari_viewer.layers.events.inserted, self._rebuild)
        self.listen(napari_viewer.layers.events.removed, self._rebuild)
        # Kept as attributes: the same bound methods must be found again to be taken out.
        self._on_move, self._on_press = self._cursor_moved, self._pressed
        napari_viewer.mouse_move_callbacks.append(self._on_move)
        napari_viewer.mouse_drag_callbacks.append(self._on_press)
        self.destroyed.connect(lambda *_, v=napari_viewer, pair=(self._on_move, self._on_press): _leave_mouse(v, *pair))
        self._rebuild()

    def theme_changed(self) -> None:
        for view in self.views:
            view.colours = self.palette_colours
            view.update()

    def _rebuild(self, event: Any = None) -> None:
        """One view per volume that knows its scanner position."""
        known = {layer: geometry_of(layer) for layer in self.viewer.layers if isinstance(layer, Image)}
        geometries: dict[Layer, Geometry] = {k: g for k, g in known.items() if g is not None and k.ndim == 3}
        layers = list(geometries)
        if [v.layer for v in self.views] != layers:
            for view in self.views:
                view.setParent(None)
                view.deleteLater()
            self.views = []
            for layer in layers:
                view = PlaneView(layer, geometries[layer], self.palette_colours)
                view.picked.connect(self.go_to)
                view.opened.connect(lambda shown=layer: self.show_series(shown))
                self.planes.add(view)
                self.views.append(view)
            if layers:
                middle = (np.array(layers[-1].data.shape) - 1) / 2
                start = world_mm(layers[-1], layers[-1].data_to_world(middle))
                position = start if self.position is None else self.position
                if position is not None:
                    self.go_to(position, move_window=False)
        self.empty.setVisible(not layers)
        self.planes.setVisible(bool(layers))
        self.scanner.setText(
            "Back to the slice view" if in_scanner_space(self.viewer) else "Show in scanner space (3-D)"
        )
        self.scanner.setEnabled(bool(layers))

    def go_to(self, position_mm: NDArray[np.float64], move_window: bool = True) -> None:
        """Show a RAS position (3,) in mm in all planes, and in the window."""
        self.position = np.asarray(position_mm, np.float64)
        for view in self.views:
            view.show_position(self.position)
        self._say_position(self.position)
        if move_window:
            self._move_window()

    def _move_window(self) -> None:
        """Step the window's slider so that the visible volume shows the position."""
        shown = [v.layer for v in self.views if v.layer.visible]
        if not shown or self.position is None or in_scanner_space(self.viewer):
            return
        active = self.viewer.layers.selection.active
        layer = active if active in shown else shown[-1]
        world = point_at(layer, self.position)
        if world is None:
            return
        offset = self.viewer.dims.ndim - layer.ndim
        for axis in range(layer.ndim):
            self.viewer.dims.set_point(axis + offset, float(world[axis]))

    def show_series(self, layer: Image) -> None:
        """Show one series alone in the window, in the plane in which it was scanned, head up."""
        for view in self.views:
            view.layer.visible = view.layer == layer
        axis = next(view.axis for view in self.views if view.layer == layer)
        offset = self.viewer.dims.ndim - 3
        rest = [a for a in range(3) if a != axis]
        self.viewer.dims.order = (*range(offset), *(a + offset for a in (axis, *rest)))
        self.viewer.scene.camera.orientation2d = ("down" if axis == 0 else "up", "right")
        self.viewer.layers.selection.active = layer
        self.viewer.reset_view()
        self._move_window()

    def _under_cursor(self, position: Any) -> NDArray[np.float64] | None:
        """RAS position of a point of napari's world in the active (else topmost visible) volume; None outside."""
        active = self.viewer.layers.selection.active
        layers = [v.layer for v in self.views if v.layer.visible]
        ordered = ([active] if active in layers else []) + layers[::-1]
        for layer in ordered:
            index = np.asarray(layer.world_to_data(np.asarray(position)[-layer.ndim :]))
            if np.all(index > -0.5) and np.all(index < np.array(layer.data.shape) - 0.5):
                return world_mm(layer, position)
        return None

    def _cursor_moved(self, viewer: Any, event: Any) -> None:
        if viewer.dims.ndisplay != 2:
            return
        found = self._under_cursor(event.position)
        if found is not None:
            self._say_position(found)

    def _pressed(self, viewer: Any, event: Any) -> Any:
        """A click (no drag) in the window: every plane jumps there."""
        start = np.asarray(event.position)
        yield
        dragged = False
        while event.type == "mouse_move":
            dragged = True
            yield
        if dragged or viewer.dims.ndisplay != 2 or not self.jump.isChecked():
            return
        found = self._under_cursor(start)
        if found is not None:
            self.go_to(found, move_window=False)

    def _say_position(self, ras: NDArray[np.float64]) -> None:
        """Scanner position in words that cannot be mixed up: R/L, A/P, S/I instead of a sign."""
        words = (("R", "L"), ("A", "P"), ("S", "I"))
        self.cursor_text.setText("   ".join(f"{w[0] if v >= 0 else w[1]} {abs(v):.1f}" for w, v in zip(words, ras)))

    def _toggle(self) -> None:
        self.say(toggle_scanner_space(self.viewer))
        self._rebuild()

    def released(self) -> None:
        _leave_mouse(self.viewer, self._on_move, self._on_press)


def _leave_mouse(viewer: Any, on_move: Any, on_press: Any) -> None:
    for callbacks, mine in ((viewer.mouse_move_callbacks, on_move), (viewer.mouse_drag_callbacks, on_press)):
        if mine in callbacks:
            callbacks.remove(mine)
