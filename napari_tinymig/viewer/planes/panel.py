"""Planes: one scanner position, seen in every series of a study at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox

from ...base.geometry import Geometry
from ..cases.actions import actions, bind_keys, release_keys
from ..cases.worklist import hold_worklist, let_worklist_go
from ..docks.keys import with_key
from ..masks.mask_state import events_of_change
from ..napari_io.layer_geometry import geometry_of, point_at, world_mm
from ..napari_io.planes import PLANES, is_volume, scanned_axis, show_plane
from ..napari_io.scanner_space import in_scanner_space, toggle_scanner_space
from ..parts.panel import Panel
from ..parts.style import EmptyState, button, row, text_label
from .picture_grid import PictureGrid
from .plane_view import PlaneView

if TYPE_CHECKING:
    import napari.viewer


TO_SCANNER, TO_SLICES = "Show in scanner space (3-D)", "Back to the slice view"
WINDOW = {"axial": "Axial", "coronal": "Coronal", "sagittal": "Sagittal", "volume": "3-D"}
"""Name of a key -> its button."""
QUIET_MS = 40  # after a stroke, before the pictures take the mask


class PlanesPanel(Panel):
    """Scanner position under the cursor; a click in one plane moves all the others, and the window's own slice."""

    purpose = "The same point of the patient in every series: click in a plane or in the window, all others follow."
    tab = "Planes"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.worklist = hold_worklist(napari_viewer)
        self.book = self.worklist.book
        bind_keys(self.worklist)
        self.act = actions(self.worklist)
        self.position: NDArray[np.float64] | None = None
        self._painted: list[Labels] = []
        self._moving = False
        self._window_section()
        self.empty = EmptyState("Open volumes that know their position: NIfTI, NRRD, MetaImage, or DICOM series.")
        self.column.addWidget(self.empty)
        self.planes = self.add_section()
        self.grid = self.planes.add(PictureGrid())
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(QUIET_MS)
        self._soon.timeout.connect(self._take_masks)
        self.listen(napari_viewer.layers.events.inserted, self._rebuild)
        self.listen(napari_viewer.layers.events.removed, self._rebuild)
        self.listen(napari_viewer.dims.events.ndisplay, self._say_way_back)
        self.listen(napari_viewer.dims.events.point, self._window_moved)
        self.book.moved.connect(self._rebuild)
        self.worklist.said.connect(self.say)
        # Kept as attributes: the same bound methods must be found again to be taken out.
        self._on_move, self._on_press = self._cursor_moved, self._pressed
        napari_viewer.mouse_move_callbacks.append(self._on_move)
        napari_viewer.mouse_drag_callbacks.append(self._on_press)
        self.destroyed.connect(lambda *_, v=napari_viewer, pair=(self._on_move, self._on_press): _leave_mouse(v, *pair))
        self._rebuild()

    def _window_section(self) -> None:
        where = self.add_section("Planes")
        tip = "The case on show, with its mask, in the window."
        where.add(
            row(*(button(t, self.act[n], tip=with_key(tip, n)) for n, t in WINDOW.items()), stretch=None),
        )
        self.cursor_text = where.add(text_label("move the cursor over a volume", "value", selectable=True))
        self.cursor_text.setToolTip("Scanner position under the cursor, in mm from the isocentre.")
        self.jump = QCheckBox("follow clicks in the window")
        self.jump.setChecked(True)
        where.add(self.jump)
        self.scanner = button(TO_SCANNER, self._toggle, tip="Every series and mask where it was scanned.")
        where.add(row(self.scanner))

    @property
    def views(self) -> list[PlaneView]:
        """The pictures, in their order."""
        return self.grid.views

    def theme_changed(self) -> None:
        for view in self.views:
            view.colours = self.palette_colours
            view.update()

    # --- which pictures ----------------------------------------------------------------------------------------

    def _wanted(self) -> list[tuple[Image, Geometry, int]]:
        """Every series in the plane of its slices; and the chosen one in each plane that no series has."""
        known = {layer: geometry_of(layer) for layer in self.viewer.layers if is_volume(layer)}
        series = {layer: geometry for layer, geometry in known.items() if geometry is not None}
        wanted = [(layer, geometry, geometry.slice_axis) for layer, geometry in series.items()]
        current = self.book.current.image if self.book.current is not None else None
        main = next((layer for layer in series if layer == current), next(reversed(series), None))
        if main is not None:
            missing = [axis for axis in PLANES.values() if axis not in {w[2] for w in wanted}]
            wanted += [(main, series[main], axis) for axis in missing]
        return wanted

    def _rebuild(self, event: Any = None) -> None:
        """One view per volume that knows its scanner position, and the planes that are missing."""
        wanted = self._wanted()
        if [(v.layer, v.axis) for v in self.views] != [(layer, axis) for layer, _, axis in wanted]:
            views = [PlaneView(layer, geometry, self.palette_colours, axis) for layer, geometry, axis in wanted]
            for view in views:
                view.picked.connect(self.go_to)
                view.opened.connect(lambda shown=view: self.show_series(shown.layer, shown.axis))
            self.grid.set_views(views)
            if wanted:
                self.go_to(self._start(wanted[-1][0]), move_window=False)
        self.empty.setVisible(not wanted)
        self.planes.setVisible(bool(wanted))
        self.give_room(self.planes, bool(wanted))
        self._say_way_back()
        self.scanner.setEnabled(bool(wanted))
        self._take_masks()

    def _start(self, layer: Image) -> NDArray[np.float64]:
        middle = (np.array(layer.data.shape) - 1) / 2
        position = world_mm(layer, layer.data_to_world(middle)) if self.position is None else self.position
        return np.zeros(3) if position is None else position

    def _say_way_back(self, event: Any = None) -> None:
        self.scanner.setText(TO_SLICES if in_scanner_space(self.viewer) else TO_SCANNER)

    def _take_masks(self) -> None:
        """Lay over every picture the mask of its series, or, without one, that of the case on show, or the newest."""
        of_case = {case.image: case.mask for case in self.book.cases if case.mask is not None}
        current = self.book.current.mask if self.book.current is not None else None
        newest = current if current is not None else next(reversed(of_case.values()), None)
        for view in self.views:
            view.show_mask(next((m for image, m in of_case.items() if image == view.layer), newest))
        self._follow_paint(list(of_case.values()))

    def _follow_paint(self, masks: list[Labels]) -> None:
        for mask in [m for m in self._painted if m not in masks]:
            self._painted.remove(mask)
            for emitter in _looks_of(mask):
                self.stop_listening_to(emitter, self._mask_changed)
        for mask in [m for m in masks if m not in self._painted]:
            self._painted.append(mask)
            for emitter in _looks_of(mask):
                self.listen(emitter, self._mask_changed)

    def _mask_changed(self, event: Any = None) -> None:
        if not self._soon.isActive():
            self._soon.start()

    # --- moving ------------------------------------------------------------------------------------------------

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
        self._moving = True
        dims = self.viewer.dims
        dims.point = (*dims.point[: dims.ndim - layer.ndim], *(float(w) for w in world))
        self._moving = False

    def _window_moved(self, event: Any = None) -> None:
        """The slider moved: the pictures go to the slice on show in the window."""
        case, dims = self.book.current, self.viewer.dims
        image = case.image if case is not None else None
        if (
            self._moving
            or self.position is None
            or dims.ndisplay == 3
            or dims.ndim < 3
            or image not in [v.layer for v in self.views]
        ):
            return
        at, window = point_at(image, self.position), np.asarray(dims.point[-3:])
        sliced = dims.order[-3] - (dims.ndim - 3)
        if at is None or sliced < 0:
            return
        at[sliced] = window[sliced]
        position = world_mm(image, at)
        if position is not None:
            self.go_to(position, move_window=False)

    def show_series(self, layer: Image, axis: int | None = None) -> None:
        """Show one series alone in the window, head up, across `axis` (z, y, x; None: as it was scanned)."""
        case = self.book.case_of(layer)
        if case is not None:
            self.book.go(case)
        show_plane(self.viewer, layer, scanned_axis(layer) if axis is None else axis)
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
        self._soon.stop()
        self.book.moved.disconnect(self._rebuild)
        self.worklist.said.disconnect(self.say)
        release_keys(self.worklist)
        let_worklist_go(self.viewer)
        _leave_mouse(self.viewer, self._on_move, self._on_press)


def _leave_mouse(viewer: Any, on_move: Any, on_press: Any) -> None:
    for callbacks, mine in ((viewer.mouse_move_callbacks, on_move), (viewer.mouse_drag_callbacks, on_press)):
        if mine in callbacks:
            callbacks.remove(mine)


def _looks_of(mask: Labels) -> tuple[Any, ...]:
    return *events_of_change(mask), mask.events.opacity, mask.events.contour
