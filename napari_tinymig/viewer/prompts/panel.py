"""Prompt: click, scribble or draw a box, and the mask follows at once; for any structure, in images and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from ...base.errors import TinyMIGError
from ...tasks.task import Task
from ..masks.journal_keeper import hold_keeper, let_keeper_go
from ..napari_io.layers import kind_of_frames
from ..parts.panel import Panel
from ..parts.project import project
from ..parts.style import EmptyState, button, primary_button, row, text_label
from .engine_chooser import EngineChooser
from .prompting import Prompting
from .structure_form import StructureForm
from .subject import NEW_STRUCTURE, Subject
from .teach_card import TeachCard
from .tools import KEYS, Tools, with_key

if TYPE_CHECKING:
    import napari.viewer


class PromptPanel(Panel):
    """Tools for marks on the chosen image; the session itself is `Prompting`."""

    purpose = "Mark what belongs to it and what does not; the mask follows. Research use only, not a medical device."
    tab = "Prompt"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.keeper = hold_keeper(napari_viewer)  # what is painted is safe on the disk from here on
        self.empty = EmptyState("Open a photograph or a scan first (drag a file into the window).")
        self.column.addWidget(self.empty)
        self.subject = Subject(self)
        self.column.addWidget(self.subject)
        self.form = StructureForm(self._kind, self.say_error)
        self.form.hide()
        self.column.addWidget(self.form)
        self.tools = Tools()
        self.column.addWidget(self.tools)
        self._tools_section()
        self.teach = TeachCard(self)
        self.column.addWidget(self.teach)
        self.prompting = Prompting(self, self._refresh)
        self._bind_keys()
        self.tools.picked.connect(self.take)
        self.tools.locks_changed.connect(lambda: self.prompting.lock(self.tools.locked))
        self.subject.changed.connect(self._subject_changed)
        self.subject.new_asked.connect(self.form.setVisible)
        self.form.made.connect(self._structure_made)
        project.models_changed.connect(self.subject.list_structures)
        self.listen(napari_viewer.layers.selection.events.active, self._refresh)
        self._subject_changed()

    def _tools_section(self) -> None:
        self.engine = EngineChooser()
        self.engine.activated.connect(lambda _index: self.prompting.close())
        self.tools.field("boxes by", self.engine, "Who answers a box; all other marks are answered by the student.")
        self.buttons: dict[str, QPushButton] = {
            "undo": button("Undo", lambda: self.prompting.undo(), tip="Take the last mark back.  Key: Ctrl+Z"),
            "redo": button("Redo", lambda: self.prompting.redo(), tip="Give it again.  Key: Ctrl+Shift+Z"),
            "next": button(f"Next object   {KEYS['next']}", lambda: self.prompting.next_object()),
        }
        self.buttons["next"].setToolTip(with_key("This object stays as it is; mark another one.", "next"))
        for made in self.buttons.values():
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # the canvas keeps the keyboard
        self.tools.add(row(*self.buttons.values(), stretch=None))
        self.go = self.tools.add(
            primary_button(
                f"Accept   {KEYS['accept']}", self.accept, with_key("The mask stays, its marks go.", "accept")
            )
        )
        self.cancel = self.tools.add(button("Stop following", lambda: self.prompting.stop_following()))
        self.cancel.setToolTip("What was followed so far stays.")
        self.state = self.tools.add(text_label("", "hint"))

    def _bind_keys(self) -> None:
        acts = {"next": lambda: self.prompting.next_object(), "accept": self.accept}
        for name, key in KEYS.items():
            act = acts.get(name) or (lambda n=name: self.tools.pick(n))
            self.viewer.bind_key(key, lambda _viewer, run=act: run(), overwrite=True)
        self.destroyed.connect(lambda *_, viewer=self.viewer: _unbind(viewer))

    def _kind(self) -> Literal["photograph", "volume"]:
        """The kind of image that a new structure is of."""
        image = self.subject.images.layer
        return "volume" if image is not None and kind_of_frames(image) == "volume" else "photograph"

    def _structure_made(self, task: Task) -> None:
        self.form.hide()
        self.subject.list_structures(task.name)
        self.subject.changed.emit()
        self.say(f"'{task.title}' is there: mark it, and accept; five cases make a model.", "good")

    def _subject_changed(self) -> None:
        """Another image, structure or mask: the session before it ends, its mask stays."""
        now = self.prompting
        subject = self.subject
        same = (now.image, now.frame, now.mask) == (subject.images.layer, subject.frame, subject.chosen_mask)
        if now.session is not None and not (same and now.session.task.name == self.subject.task.name):
            now.close()
        self.tools.offer(self.subject.task, self._kind() == "volume")
        self.teach.show_task(self.subject.task)
        self.form.setVisible(self.subject.structure.currentData() == NEW_STRUCTURE)
        self.prompting.lock(self.tools.locked)
        self._refresh()

    def take(self) -> None:
        """Take the tool that is chosen; the session begins with the first one."""
        self.say("")
        image = self.subject.images.layer
        if image is None:
            self.say("Open an image first.", "warn")
            return
        if self.viewer.dims.ndisplay == 3:
            self.viewer.dims.ndisplay = 2
            self.say("Marks are drawn in the 2-D view.")
        tools = self.tools
        self.prompting.take(tools.shape, tools.label, tools.sign == "away", tools.through.value())
        if self.prompting.session is None:
            subject = self.subject
            what = (subject.chosen_mask, subject.task, subject.known)
            self.prompting.open(image, subject.frame, *what, self.engine.chosen)
        self._refresh()

    def accept(self) -> None:
        """The mask is right: it stays, its marks go; one of an own structure becomes a case of its set."""
        now, words = self.prompting, "Save it, or add it to a set."
        if now.session is None or now.image is None or now.mask is None:
            return
        try:
            if self.teach.task is not None:
                words = self.teach.add_case(now.image, now.mask, now.frame)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        mask = now.accept()
        if mask is not None:
            self.say(f"'{mask.name}' is accepted; its marks are kept with it. {words}", "good")

    def _refresh(self, event: Any = None) -> None:
        """Show what can be done now."""
        now, image = self.prompting, self.subject.images.layer
        session = now.session
        self.subject.in_use = session is not None or now.opening.running
        self.empty.setVisible(image is None)
        self.tools.setEnabled(image is not None)
        if session is not None and now.mask is not None:
            self.subject.choose_mask(now.mask)
        self.tools.show_in_hand(None if now.marks is None else now.marks.shape_in_hand)
        for made in (self.go, *self.buttons.values()):
            made.setEnabled(session is not None)
        self.cancel.setVisible(now.work.running and session is not None and session.labels.ndim == 3)
        hint = "Choose add or take away, then click in the image." if session is None else now.state
        self.state.setText(hint or "Marks can be dragged (select tool, 3) and deleted; the mask follows.")

    def theme_changed(self) -> None:
        self.teach.set_colours(self.palette_colours)

    def released(self) -> None:
        self.prompting.close()
        self.teach.leave()
        project.models_changed.disconnect(self.subject.list_structures)
        _unbind(self.viewer)
        let_keeper_go(self.viewer)


def _unbind(viewer: Any) -> None:
    for key in KEYS.values():
        viewer.bind_key(key, None)
