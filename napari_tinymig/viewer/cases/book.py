"""The cases of one viewer: which layers belong together, which case is on show, how far each has come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ..masks.journal_keeper import hold_keeper, let_keeper_go, real
from ..masks.mask_state import State, events_of_change, note_saved
from ..napari_io.layer_geometry import KEY
from ..napari_io.own_slices import OwnSlices
from ..napari_io.planes import is_volume, scanned_axis
from ..parts.background import Work
from .belonging import is_source_image, owner_of, path_of
from .case import Case, end_of_list
from .folder import cases_of, mask_layer, read_case
from .glances import Glances, look_at
from .remembered import restore
from .showing import lost_among_all, remember_view, show_alone

QUIET_MS = 250  # after the last stroke: then state and number are looked at again


class CaseBook(QObject):
    """Every open image, and every file of an opened folder, is a case; from `hold_book`, one for each viewer.

    Until a user goes to another case nothing is hidden and the case of the selected layer is the current one. From
    then on one case at a time is on show, with the camera and the slice where it was left.
    changed: the list or a state; moved: another case is on show; said: (sentence, tone) for the user.
    """

    changed = Signal()
    moved = Signal()
    leaving = Signal(object)
    said = Signal(str, str)

    def __init__(self, viewer: Any):
        super().__init__()
        self.viewer = viewer
        self.slices = OwnSlices(viewer)
        self.cases: list[Case] = []
        self.current: Case | None = None
        self.folder: Path | None = None
        self.one_at_a_time = False
        self._touched: list[Labels] = []
        self._moving = False
        self.keeper = hold_keeper(viewer)
        self.keeper.stored.connect(self._stored)
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(QUIET_MS)
        self._quiet.timeout.connect(self._glance)
        self._glances = Glances(self)
        self._glances.seen.connect(self._seen)
        self._settle_soon = QTimer(self)
        self._settle_soon.setSingleShot(True)
        self._settle_soon.timeout.connect(self._stay)
        self.opening = Work(self, self._opened, self._not_opened)
        self._wanted: Case | None = None
        self._add_mine: Case | None = None
        self._new: Layer | None = None  # just added to another case: that napari selects it is no wish of the user
        self._listening: list[tuple[Any, Any]] = []
        self._listen(viewer.layers.events.inserted, self._inserted)
        self._listen(viewer.layers.events.removed, self._removed)
        self._listen(viewer.layers.selection.events.active, self._selected)
        for layer in [*viewer.layers]:
            self._adopt(layer)
        self._selected()

    def _listen(self, emitter: Any, callback: Any) -> None:
        emitter.connect(callback)
        self._listening.append((emitter, callback))

    # --- which layer belongs where -----------------------------------------------------------------------------

    def case_of(self, layer: Layer | None) -> Case | None:
        """The case that a layer belongs to; None for one that belongs to no image."""
        layer = real(layer)
        return next((case for case in self.cases if layer is not None and layer in case.all_layers), None)

    def _adopt(self, layer: Layer) -> None:
        if is_source_image(layer):
            case = self._add_mine or Case(layer.name)
            case.image = layer
            if case not in self.cases:
                self.cases.append(case)
                self.said.emit("", "plain")  # what was said spoke of other cases
            self._listen(layer.events.name, self._renamed)
        else:
            owner = self._add_mine or owner_of(layer, self.cases, self.current)
            if owner is None:
                return
            owner.layers.append(layer)
            self._follow(layer)
        self.look_at(self.case_of(layer))

    def _follow(self, layer: Layer) -> None:
        if not isinstance(layer, Labels):
            return
        if layer.source.path and "predicted" not in layer.metadata.get(KEY, {}):
            note_saved(layer, layer.data)
        for emitter in events_of_change(layer):
            self._listen(emitter, self._painted)

    def _inserted(self, event: Any) -> None:
        self._adopt(event.value)
        case = self.case_of(event.value)
        if case is not None and self.current is not None and case is not self.current and event.value is not case.image:
            event.value.visible, self._new = not self.one_at_a_time, event.value
            self._settle_soon.start(0)
        self.changed.emit()

    def _stay(self) -> None:
        """A result of another case was added and napari selected it: what is on show stays."""
        self._new = None
        current = self.current
        if current is None or current.image not in self.viewer.layers:
            return
        if self.one_at_a_time:
            self._show(current)
        else:
            self.viewer.layers.selection.active = current.mask or current.image

    def _removed(self, event: Any) -> None:
        case = self.case_of(event.value)
        self._leave(event.value)
        if case is None:
            return
        if event.value is case.image:
            case.image = None
            self._close(case)
        else:
            case.layers.remove(event.value)
        self.look_at(case)
        self.changed.emit()

    def _leave(self, layer: Layer) -> None:
        gone = [(emitter, callback) for emitter, callback in self._listening if emitter.source is layer]
        for emitter, callback in gone:
            emitter.disconnect(callback)
            self._listening.remove((emitter, callback))

    def _close(self, case: Case) -> None:
        """The image of a case is gone: so is the case, except where it is a file of the folder. Its mask would lie on
        the next image: it is hidden, and stays in napari's list."""
        if case.item is None:
            self.cases.remove(case)
            self.said.emit("", "plain")
        for layer in case.layers if any(other.image is not None for other in self.cases) else []:
            layer.visible = False
        if case is self.current:
            self.current = None
            self.slices.follow(None)
            self.moved.emit()

    def _renamed(self, event: Any) -> None:
        if (case := self.case_of(event.source)) is not None:
            case.name = event.source.name
            self.changed.emit()

    # --- states ------------------------------------------------------------------------------------------------

    def _painted(self, event: Any) -> None:
        if event.source not in self._touched:
            self._touched.append(event.source)
        self._quiet.start()

    def _stored(self, layer: Labels) -> None:
        self.look_at(self.case_of(layer))
        self.changed.emit()

    def _glance(self) -> None:
        for layer in self._touched:
            self._glances.ask(layer)

    def _seen(self, layer: Labels, state: State, number: str) -> None:
        case = self.case_of(layer)
        if layer in self._touched and not self._quiet.isActive():
            self._touched.remove(layer)
        if case is not None and case.mask is layer and (case.state, case.number) != (state, number):
            case.state, case.number = state, number
            self.changed.emit()

    def look_at(self, case: Case | None) -> None:
        """Find state and number of a case again; a file that is not open keeps what is known of it."""
        if case is None or case.image is None:
            return
        case.state, case.number = look_at(case.mask)

    def settle(self) -> None:
        """Look at everything that was painted, now."""
        self._quiet.stop()
        self._glances.forget()
        touched, self._touched = self._touched, []
        for layer in touched:
            self.look_at(self.case_of(layer))
        self.changed.emit()

    # --- moving ------------------------------------------------------------------------------------------------

    def step(self, by: int) -> None:
        """Go to the next (1) or previous (-1) case; at the end it is said."""
        if not self.cases:
            self.said.emit("No case yet: open images, or a folder.", "warn")
            return
        here = self._wanted or self.current
        at = self.cases.index(here) + by if here in self.cases else 0
        if not 0 <= at < len(self.cases):
            self.said.emit(end_of_list(len(self.cases), by), "passing")
            return
        self.go(self.cases[at])

    def alone(self) -> None:
        """Show the current case alone, where there are several: masks of others would lie on it."""
        if len(self.cases) > 1 and self.current is not None and not self.one_at_a_time:
            self.go(self.current)

    def go(self, case: Case) -> None:
        """Show a case alone; a file that is not open yet is read in the background first."""
        if self.current is not None and self.current is not case:
            self.settle()
            self.leaving.emit(self.current)
        before, mixed, self.one_at_a_time = self.current, not self.one_at_a_time, True
        if case.image is None and case.item is not None:
            self._wanted = case
            self.opening.start_call(read_case, case.item, case.mask_file)
            return
        self._wanted = None
        self.opening.cancel()
        lost = mixed and before is not None and before.image is not None and lost_among_all(self.viewer, before.image)
        self._show(case, lost and case is before)
        if before is not None and (lost or (mixed and is_volume(before.image) and scanned_axis(before.image) != 0)):
            before.view = None  # in the view of all images together nobody chose its plane or place

    def _opened(self, layers: list[Any]) -> None:
        case, self._wanted = self._wanted, None
        if case is None:
            return
        self.add_layers(case, layers)
        self._show(case)

    def add_layers(self, case: Case, layers: list[Any]) -> None:
        """Add what `read_case` gave: the image, and the mask where there is one and none is open."""
        self._add_mine, self._moving, state = case, True, case.state
        try:
            image = self.viewer.add_layer(Layer.create(*layers[0]))
            for data, attributes, _ in layers[1:] if case.mask is None else []:
                self.viewer.add_layer(mask_layer(case.about, state, image, data, attributes))
        finally:
            self._add_mine, self._moving = None, False
        self.look_at(case)

    def _not_opened(self, error: BaseException) -> None:
        self._wanted = None
        self.said.emit(str(error), "bad")

    def _show(self, case: Case, lost: bool = False) -> None:
        """Hide every other case, show this one as it was left, or framed where it was lost among all."""
        before, self._moving = self.current, True
        try:
            if before is not None and before is not case:
                remember_view(self.viewer, before)
            self.slices.follow(case.image)
            show_alone(self.viewer, case, before, self.cases, lost)
        finally:
            self._moving = False
        self.current = case
        self.moved.emit()
        self.changed.emit()

    def _selected(self, event: Any = None) -> None:
        """Another layer was selected: its case is the current one, and on show alone once cases are gone through."""
        active = self.viewer.layers.selection.active
        if not self._moving and (active is None or active is not self._new):
            self.choose(active)

    def choose(self, layer: Layer | None) -> None:
        """Make the case of a layer the current one, and show it alone once cases are gone through. Nothing while a case
        is being shown: the choosers of the panels follow what is selected then."""
        case = self.case_of(layer)
        if self._moving or case is None or case is self.current:
            return
        if self.one_at_a_time:
            self.go(case)
        else:
            self.current = case
            self.slices.follow(case.image)
            self.moved.emit()

    def open_folder(self, folder: str | Path) -> None:
        """List every image of a folder as a case, and show the one that was left last, else the first; cases that are
        open stay in the list. Raises UnreadableInput for a damaged list of the folder."""
        cases, problems = cases_of(folder)
        left_at = restore(Path(folder), cases)
        known = {path_of(c.image) for c in self.cases if c.image is not None}
        known |= {c.item.path for c in self.cases if c.item is not None}
        new = [case for case in cases if case.item is not None and case.item.path not in known]
        self.folder = Path(folder)
        self.cases += new
        self.changed.emit()
        if problems:
            self.said.emit(" ".join(problems[:3]), "warn")
        if new:
            self.go(next((case for case in new if case.name == left_at), new[0]))

    def stop(self) -> None:
        """Let go of the viewer; what is hidden stays hidden."""
        self.opening.cancel()
        self.slices.stop()
        self._quiet.stop()
        self._glances.stop()
        self._settle_soon.stop()
        self.keeper.stored.disconnect(self._stored)
        for emitter, callback in self._listening:
            emitter.disconnect(callback)
        self._listening.clear()
        let_keeper_go(self.viewer)
