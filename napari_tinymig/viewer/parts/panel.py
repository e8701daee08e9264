"""A docked panel: one sentence that says what it is for, a scrolling column of `Section` cards, one message line.

Its looks come from napari's theme and follow it; what it listens to is left when it is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from ...reports.numbers import Tone
from ..docks.tabs import DockTab
from ..napari_io.own_context import draw_in_own_context
from .style import MessageLine, Section, text_label
from .theme import GAP, MARGIN, MIN_WIDTH, Palette, palette, style_sheet


class Panel(QWidget):
    """A docked panel: title sentence, sections, one message line; follows napari's theme and cleans up after itself.

    Subclasses set `purpose` and `tab` (a word or two for the dock's tab), call `super().__init__(napari_viewer)`, and
    connect to napari events only through `listen`, so that a closed panel is left by everything it listened to.
    `released` is called once, when the panel is removed from its dock or destroyed: stop work there.
    """

    purpose = ""
    tab = ""

    def __init__(self, napari_viewer: Any):
        super().__init__()
        self.viewer = napari_viewer
        self._listening: list[tuple[Any, Callable[..., Any]]] = []
        self._docked = False
        self._gone = False
        draw_in_own_context(napari_viewer)
        self._dock_tab = DockTab(self, napari_viewer, self.tab, Panel)
        self.message = MessageLine()
        self._content = QWidget()
        # A stretch below the column keeps it at the top; an alignment would squeeze wrapped lines into each other.
        self._whole = whole = QVBoxLayout(self._content)
        whole.setContentsMargins(GAP, GAP, GAP, GAP)
        self.column = QVBoxLayout()
        self.column.setSpacing(GAP + 2)
        whole.addLayout(self.column)
        whole.addStretch(1)
        if self.purpose:
            self.column.addWidget(text_label(self.purpose, "title"))
        self._lay_out()
        self.setMinimumWidth(MIN_WIDTH)
        self.listen(napari_viewer.events.theme, self._follow_theme)
        self.setStyleSheet(style_sheet(self.palette_colours))
        # A closure over plain objects: by the time `destroyed` is sent, the panel's own methods are gone.
        self.destroyed.connect(lambda *_, listening=self._listening: _stop_listening(listening))

    def _lay_out(self) -> None:
        self.scroll_area = scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self._content)
        self._content.installEventFilter(self)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(MARGIN, 2, MARGIN, 4)
        foot.addWidget(self.message)
        outer.addLayout(foot)

    def add_section(self, heading: str = "") -> Section:
        """A new card at the end of the panel."""
        section = Section(heading)
        self.column.addWidget(section)
        return section

    def give_room(self, section: Section, given: bool) -> None:
        """Let a card take all the height that the others leave (given), or only what it needs."""
        self._whole.setStretch(0, int(given))
        self._whole.setStretch(1, int(not given))
        self.column.setStretchFactor(section, int(given))

    def scroll_to(self, part: QWidget) -> None:
        """Bring a part of the column into sight, once everything that was just changed has its place."""
        QTimer.singleShot(0, lambda: None if self._gone else self.scroll_area.ensureWidgetVisible(part, 0, GAP))

    def listen(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect `callback` to a napari event for as long as the panel lives.

        `emitter` is an event emitter, e.g. `viewer.layers.events.inserted`. The callback takes the event or nothing.
        """
        emitter.connect(callback)
        self._listening.append((emitter, callback))

    def stop_listening_to(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Undo one `listen`, e.g. for a layer that is no longer shown."""
        if (emitter, callback) in self._listening:
            self._listening.remove((emitter, callback))
            emitter.disconnect(callback)

    @property
    def palette_colours(self) -> Palette:
        """Colours of the theme the viewer shows now (for charts)."""
        return palette(self.viewer.theme)

    def _follow_theme(self, event: Any = None) -> None:
        self.setStyleSheet(style_sheet(self.palette_colours))
        self.theme_changed()

    def theme_changed(self) -> None:
        """Called after the theme changed, never before the panel is built; charts repaint here."""

    def say(self, text: str, tone: Tone | Literal["passing"] = "plain") -> None:
        """Show one sentence at the foot of the panel; '' hides it; a "passing" one goes by itself."""
        self.message.say(text, tone)

    def say_error(self, error: BaseException | str) -> None:
        """Show an error's sentence at the foot of the panel."""
        self.message.say(str(error) or type(error).__name__, "bad")

    def released(self) -> None:
        """Called once when the panel is taken out of its dock; subclasses stop their work here."""

    def release(self) -> None:
        """Leave all events and stop work; called by the panel itself when it is closed."""
        if self._gone:
            return
        self._gone = True
        self._dock_tab.left()
        _stop_listening(self._listening)
        self.released()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        # Never cut a card at its right edge, also when numbers appear later: as wide as the widest part.
        if watched is self._content and event.type() == QEvent.Type.LayoutRequest:
            wanted = min(440, max(MIN_WIDTH, self._content.minimumSizeHint().width() + 2 * MARGIN))
            if wanted > self.minimumWidth():
                self.setMinimumWidth(wanted)
        return False

    def showEvent(self, event: Any) -> None:
        """Fields of all cards line up, as soon as all are there."""
        super().showEvent(event)
        every = [name for section in self._content.findChildren(Section) for name in section.names]
        names = [name for name in every if name.isVisibleTo(self)]
        for name in names:
            name.setMinimumWidth(max(n.sizeHint().width() for n in names))

    def event(self, event: Any) -> bool:
        # napari takes a closed plugin widget out of its dock (parent -> None) and never deletes it.
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
                self._dock_tab.docked()
            elif self._docked and not self._gone:
                self.release()
                self.deleteLater()
        return super().event(event)


def _stop_listening(listening: list[tuple[Any, Callable[..., Any]]]) -> None:
    for emitter, callback in listening:
        emitter.disconnect(callback)
    listening.clear()
