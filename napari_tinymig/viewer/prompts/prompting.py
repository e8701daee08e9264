"""One session of prompts in a viewer: marks that are drawn become prompts, answers become edits of the mask layer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import QTimer

from ...prompts.session import PromptSession
from ...tasks.task import Task
from ..cases.results import name_of_frame
from ..masks.locked_edits import is_locked
from ..masks.mask_state import events_of_change
from ..napari_io.layers import KEY, changed_by_user, grid_shape, kind_of_frames, result_layer, scan_of
from ..parts.background import Work
from ..parts.panel import Panel
from .marks import NEW, Mark, PromptMarks, Shape, as_told
from .mask_session import (
    Done,
    LabelArray,
    Progress,
    answer,
    mended,
    moved,
    opened,
    painted_by_hand,
    plane_of,
    put_change,
    refuse_locked,
    shown_of,
    went_along,
)

LOOK_MS = 150  # after a stroke, or an undo of napari's own, the mask is compared with the session


class Prompting:
    """The session, its mask layer and its marks; everything of it happens in the window's thread but the answers.

    A mark is answered in the background, one at a time; what is drawn meanwhile waits in its layer. refresh: called
    whenever something of this changed.
    """

    def __init__(self, panel: Panel, refresh: Callable[[], None]):
        self.panel, self.viewer, self._refresh = panel, panel.viewer, refresh
        self.session: PromptSession | None = None
        self.marks: PromptMarks | None = None
        self.image: Layer | None = None
        self.frame: tuple[int, ...] = ()  # of a stack of frames, which one
        self.mask: Labels | None = None
        self.state = ""  # what was done last, in one line
        self._hand: tuple[Shape, int, bool, int] = ("point", 1, False, 0)
        self._locked: frozenset[int] = frozenset()
        self._before: LabelArray | None = None  # what the session held when the work in progress began
        self._asked: Mark | None = None
        self._after_work: Callable[[], None] | None = None
        self._stop = threading.Event()
        self._one_step = ExitStack()  # all that one prompt writes is one undo step of napari
        self.opening = Work(panel, self._opened, self._not_opened, on_end=refresh)
        self.work = Work(panel, self._answered, self._refused, self._progressed, on_end=refresh)
        self._look = QTimer(panel)
        self._look.setSingleShot(True)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self._follow_napari_history)
        panel.listen(self.viewer.layers.events.removed, self._layer_removed)

    # --- begin and end -----------------------------------------------------------------------------------------

    def take(self, shape: Shape, label: int, away: bool, through: int = 0) -> None:
        """The mouse draws this from now on; see `PromptMarks.take`."""
        self._hand = (shape, label, away, through)
        if self.marks is not None:
            self.marks.take(*self._hand)

    def open(
        self, image: Layer, frame: tuple[int, ...], mask: Labels | None, task: Task, known: bool, engine: str
    ) -> None:
        """Begin on an image, or one frame of it. mask: to be mended; None: a new layer. known: a student can make its
        start."""
        if self.opening.running:
            return
        try:
            start: Any = "auto" if known else None
            held = None
            if mask is not None:
                refuse_locked(mask)
                start = np.array(plane_of(mask), np.uint8)
                held = changed_by_user(mask).reshape(plane_of(mask).shape) if is_locked(mask) else None
            scan = scan_of(image, frame)
        except ValueError as e:
            self.panel.say_error(e)
            return
        self.image, self.frame, self.mask = image, frame, mask
        self.panel.say("Looking at the image...")
        flat = kind_of_frames(image) == "grey"
        self.opening.start_call(opened, scan, task.name if known else task, start, flat, engine, held)

    def _opened(self, session: PromptSession) -> None:
        """The session is there: make the layers that are missing, and take the tool."""
        image = self.image
        if image is None or image not in self.viewer.layers:
            self.panel.say("The image was closed meanwhile; nothing was added.", "warn")
            return
        self.session = session
        if self.mask is None:
            prediction = session.prediction
            about: dict[str, Any] = {"measures": prediction.measures, "extra": prediction.extra}
            about |= {"model_id": prediction.model_id} if session.labels.any() else {}
            name = session.task.regions[0].name
            labels = session.labels.reshape(grid_shape(image, self.frame))
            title = f"{name_of_frame(image, self.frame)} {name}"
            self.mask = result_layer(image, labels, session.task, title, about, self.frame)
            self.viewer.add_layer(self.mask)
        for emitter in events_of_change(self.mask):
            self.panel.listen(emitter, self._look_soon)
        colours = {r.label: r.colour for r in session.task.regions}
        own = (self._marks_changed, self.undo, self.redo, session.slice_axis)
        self.marks = PromptMarks(self.viewer, image, self.mask, colours, *own)
        for layer in self.marks.layers:
            self.panel.listen(layer.events.mode, self._refresh)
        session.lock(*self._locked)
        self.panel.say("")
        self.marks.take(*self._hand)
        self._refresh()

    def _not_opened(self, error: BaseException) -> None:
        self.image = self.mask = None
        self.panel.say_error(error)
        self._refresh()

    def close(self) -> None:
        """The mask stays, the marks go."""
        self._stop.set()
        self.opening.cancel()
        self.work.cancel()
        self._one_step.close()
        marks, mask = self.marks, self.mask
        self.session = self.marks = self.image = self.mask = self._asked = self._after_work = None
        self.state = ""
        if mask is not None:
            for emitter in events_of_change(mask):
                self.panel.stop_listening_to(emitter, self._look_soon)
        if marks is not None:
            for layer in marks.layers:
                self.panel.stop_listening_to(layer.events.mode, self._refresh)
            marks.close()
        self._refresh()

    def accept(self) -> Labels | None:
        """End the session; its prompts are kept with the mask, as records. The mask; None without a session."""
        session, mask = self.session, self.mask
        if session is None or mask is None:
            return None
        mask.metadata.setdefault(KEY, {})["prompts"] = [p.to_dict() for p in session.prompts]
        self.close()
        self.viewer.layers.selection.active = mask
        return mask

    def _layer_removed(self, event: Any) -> None:
        """Image, mask or marks were closed: the session ends."""
        mine = (self.image, self.mask, *(self.marks.layers if self.marks is not None else ()))
        if self.session is not None and any(layer is not None and layer == event.value for layer in mine):
            self.close()

    # --- one prompt after the other ----------------------------------------------------------------------------

    def _marks_changed(self) -> None:
        """Marks were drawn, moved or deleted: ask for what is not answered yet."""
        session, marks = self.session, self.marks
        if session is None or marks is None or self.work.running:
            return
        found, prompts = marks.read(), session.prompts
        shown = shown_of(prompts)
        now = {m.number: m.prompt for m in found if m.number != NEW}
        if any(n not in now or now[n].positions != prompts[n].positions for n in shown):
            slices = session.labels.shape[0] if session.labels.ndim == 3 else 1
            self._begin(mended, lambda known: moved(known, now, shown, slices))
            return
        new = [m for m in found if m.number == NEW]
        if new:
            self._asked = new[0]
            self._begin(answer, as_told(new[0], self.mask), self._stop)

    def _begin(self, steps: Any, *args: Any) -> None:
        """Start work on the session; what was painted by hand goes in first."""
        if self.session is None or self.mask is None:
            return
        try:
            refuse_locked(self.mask)
        except ValueError as e:
            self._refused(e)
            return
        self.panel.say("")
        known = self.session.labels
        painted = painted_by_hand(self.mask, known)
        if painted is not None and is_locked(self.mask):
            self.session.hold(changed_by_user(self.mask).reshape(known.shape))
        self._before = known if painted is None else painted
        self._stop.clear()
        self._one_step.enter_context(self.mask.block_history())
        self.work.start(steps, self.session, painted, *args)
        self._refresh()

    def _progressed(self, progress: Progress) -> None:
        if self.mask is None or self._before is None:
            return
        if progress.followed:
            self.state = f"Following: {progress.followed} slice(s)..."
            self._refresh()
        else:
            put_change(self.mask, self._before, progress.labels)
            self._before = progress.labels

    def _answered(self, done: Done) -> None:
        """Write what changed and say what was done."""
        if self.mask is None or self._before is None:
            return
        put_change(self.mask, self._before, done.labels)
        self._one_step.close()
        self._settle()
        if len(done.answers) == 1:
            found = done.answers[0]
            what = f"{found.changed} px" if found.changed else "nothing changed"
            self.state = f"{what} in {1000 * found.seconds:.0f} ms"
            self.state += f", {done.followed} slices followed" if done.followed else ""
            if found.note:
                self.panel.say(found.note)
        else:
            self.state = "The mask follows the marks as they are now."
        self._go_on()

    def _refused(self, error: BaseException) -> None:
        self._one_step.close()
        self._settle()
        self.panel.say_error(error)
        self._go_on()

    def _settle(self) -> None:
        """Show the marks that count, and those that still wait."""
        session, marks = self.session, self.marks
        if session is None or marks is None or not marks.are_open:
            return
        waiting = [m for m in marks.read() if m.number == NEW]
        waiting = waiting[self._asked is not None :]
        self._asked = None
        prompts = session.prompts
        marks.show([*(Mark(i, prompts[i]) for i in shown_of(prompts)), *waiting])

    def _go_on(self) -> None:
        act, self._after_work = self._after_work, None
        (act or self._marks_changed)()
        self._refresh()

    # --- taking back, going on ---------------------------------------------------------------------------------

    def stop_following(self) -> None:
        """What was followed so far stays."""
        self._stop.set()

    def undo(self) -> None:
        """Take the last mark, or what was painted since, back."""
        self._at_once(lambda session: session.undo(), self.undo, "There is no mark to take back.")

    def redo(self) -> None:
        """Give again what was taken back."""
        self._at_once(lambda session: session.redo(), self.redo, "There is nothing to give again.")

    def next_object(self) -> None:
        """The objects so far are finished; their marks go."""
        self._at_once(lambda session: session.next_object() is not None, self.next_object, "")

    def _at_once(self, act: Callable[[PromptSession], bool], again: Callable[[], None], otherwise: str) -> None:
        """Do something quick to the session; after the work in progress, if there is some."""
        if self.session is None or self.mask is None:
            return
        if self.work.running:
            self._after_work = again
            self._stop.set()
            return
        self.panel.say("")
        try:
            painted = painted_by_hand(self.mask, self.session.labels)
            if painted is not None:
                self.session.adopt(painted)
            before = self.session.labels
            if not act(self.session):
                self.panel.say(otherwise)
            put_change(self.mask, before, self.session.labels)
        except ValueError as e:
            self.panel.say_error(e)
        self.state = ""
        self._settle()
        self._refresh()

    def lock(self, labels: set[int]) -> None:
        """No mark changes these labels from now on."""
        self._locked = frozenset(labels)
        if self.session is not None:
            self.session.lock(*self._locked)

    def _look_soon(self, event: Any = None) -> None:
        if self.session is not None and not self.work.running:
            self._look.start()

    def _follow_napari_history(self) -> None:
        """The mask was taken back, or given again, by napari's own undo: the session and its marks go along."""
        session, mask = self.session, self.mask
        if session is None or mask is None or self.work.running:
            return
        labels = plane_of(mask)
        if np.array_equal(labels, session.labels):
            return
        if went_along(session, labels):
            self._settle()
            self._refresh()
