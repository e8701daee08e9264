"""The visual language of all panels: colours from napari's theme, spacing, and the few parts every panel is made of.

A panel is a `Panel`: a scrolling column of `Section` cards under one sentence that says what the panel is for. In it
live at most one `primary_button`, a `Badge` for a state, an `EmptyState` where there is nothing yet, and one
`MessageLine` that says what went wrong and what to do. Nothing sets colours or fonts by itself: widgets carry a
dynamic property `role`, and the style sheet of the panel, made from napari's theme, gives each role its looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from .theme import GAP, MARGIN, MIN_WIDTH, Palette, Role, Tone, palette, style_sheet

__all__ = [
    "GAP",
    "MARGIN",
    "MIN_WIDTH",
    "Badge",
    "EmptyState",
    "MessageLine",
    "Palette",
    "Panel",
    "Role",
    "Section",
    "Tone",
    "button",
    "palette",
    "primary_button",
    "restyle",
    "row",
    "style_sheet",
    "text_label",
    "with_role",
]


def with_role(widget: QWidget, role: Role) -> Any:
    """`widget` with its role in the visual language (returned, so that it can be used in place)."""
    widget.setProperty("role", role)
    return widget


def restyle(widget: QWidget) -> None:
    """Make Qt look at a widget's dynamic properties again."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def text_label(text: str, role: Role = "line", selectable: bool = False) -> QLabel:
    """A wrapping label with a role. Text is plain: file names may hold angle brackets."""
    label = with_role(QLabel(text), role)
    label.setWordWrap(role not in ("badge", "heading", "value"))
    label.setTextFormat(Qt.TextFormat.PlainText)
    if selectable:
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def button(text: str, on_click: Callable[[], Any], role: Role | None = None, tip: str = "") -> QPushButton:
    """A push button; role 'primary' at most once per panel, 'danger' for what discards, 'link' for the secondary."""
    made = QPushButton(text)
    if role:
        with_role(made, role)
    made.setToolTip(tip)
    made.setCursor(Qt.CursorShape.PointingHandCursor)
    made.clicked.connect(lambda _checked=False: on_click())
    return made


def primary_button(text: str, on_click: Callable[[], Any], tip: str = "") -> QPushButton:
    """The one thing to do in this panel."""
    return button(text, on_click, "primary", tip)


def row(*widgets: QWidget, stretch: int | None = 0) -> QHBoxLayout:
    """Widgets side by side; `stretch` is the index of the one that takes the spare width, None = equal."""
    line = QHBoxLayout()
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(GAP)
    for i, widget in enumerate(widgets):
        line.addWidget(widget, 1 if stretch is None or i == stretch else 0)
    return line


class Badge(QLabel):
    """A small rounded state with its reason as tool tip, e.g. 'CPU' - 'no CUDA driver'."""

    def __init__(self, text: str = "", reason: str = "", tone: Tone = "plain"):
        super().__init__()
        with_role(self, "badge")
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.say(text, reason, tone)

    def say(self, text: str, reason: str = "", tone: Tone = "plain") -> None:
        self.setText(text)
        self.setToolTip(reason)
        self.setProperty("tone", tone)
        restyle(self)


class MessageLine(QLabel):
    """One line for what happened; hidden when there is nothing to say. Errors: found, expected, what to do."""

    def __init__(self) -> None:
        super().__init__()
        with_role(self, "line")
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def say(self, text: str, tone: Tone = "plain") -> None:
        self.setText(text)
        self.setProperty("tone", tone)
        restyle(self)
        self.setVisible(bool(text))

    def clear(self) -> None:
        self.say("")


class EmptyState(QLabel):
    """What a user sees where nothing is yet: one sentence that says what to do."""

    def __init__(self, text: str):
        super().__init__(text)
        with_role(self, "empty")
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)


class Section(QFrame):
    """A card with a heading; add widgets, rows and layouts top to bottom, or labelled fields with `field`."""

    def __init__(self, heading: str = ""):
        super().__init__()
        with_role(self, "card")
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(MARGIN, MARGIN - 2, MARGIN, MARGIN)
        self.column.setSpacing(GAP)
        self.heading = text_label(heading, "heading")
        self.heading.setVisible(bool(heading))
        self.column.addWidget(self.heading)
        self._form: QFormLayout | None = None

    def add(self, part: Any) -> Any:
        """Append a widget, a layout or a magicgui widget; returned, so that it can be kept."""
        self._form = None
        if isinstance(part, QWidget):
            self.column.addWidget(part)
        elif hasattr(part, "native"):
            self.column.addWidget(part.native)
        else:
            self.column.addLayout(part)
        return part

    def field(self, label: str, part: Any, tip: str = "") -> Any:
        """Append a labelled field; labels of neighbouring fields line up."""
        if self._form is None:
            form = QFormLayout()
            form.setContentsMargins(0, 0, 0, 0)
            form.setSpacing(GAP)
            form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
            form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            self.column.addLayout(form)
            self._form = form
        name = text_label(label, "hint")
        name.setWordWrap(False)
        native = part.native if hasattr(part, "native") else part
        name.setToolTip(tip)
        native.setToolTip(tip)
        if isinstance(native, QComboBox):
            # A combo box is as wide as its longest entry by default, which may be a long layer name.
            native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            native.setMinimumContentsLength(8)
            native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._form.addRow(name, native)
        return part

    def show_field(self, part: Any, shown: bool) -> None:
        """Show or hide a field made by `field`, with its label."""
        native = part.native if hasattr(part, "native") else part
        for form in self.findChildren(QFormLayout):
            if form.indexOf(native) >= 0:
                form.setRowVisible(native, shown)


class Panel(QWidget):
    """A docked panel: title sentence, sections, one message line; follows napari's theme and cleans up after itself.

    Subclasses set `purpose`, call `super().__init__(napari_viewer)`, and connect to napari events only through
    `listen`, so that a closed panel is left by everything it listened to. `released` is called once, when the panel
    is removed from its dock or destroyed: stop work there.
    """

    purpose = ""

    def __init__(self, napari_viewer: Any):
        super().__init__()
        self.viewer = napari_viewer
        self._listening: list[tuple[Any, Callable[..., Any]]] = []
        self._docked = False
        self._gone = False
        self.message = MessageLine()
        self._content = QWidget()
        # A stretch below the column keeps it at the top; an alignment would squeeze wrapped lines into each other.
        whole = QVBoxLayout(self._content)
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
        self._follow_theme()
        # A closure over plain objects: by the time `destroyed` is sent, the panel's own methods are gone.
        self.destroyed.connect(lambda *_, listening=self._listening: _stop_listening(listening))

    def _lay_out(self) -> None:
        scroll = QScrollArea()
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
        """Called after the theme changed; charts repaint here."""

    def say(self, text: str, tone: Tone = "plain") -> None:
        """Show one sentence at the foot of the panel; '' hides it."""
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
        _stop_listening(self._listening)
        self.released()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        # Never cut a card at its right edge, also when numbers appear later: as wide as the widest part.
        if watched is self._content and event.type() == QEvent.Type.LayoutRequest:
            wanted = min(440, max(MIN_WIDTH, self._content.minimumSizeHint().width() + 2 * MARGIN))
            if wanted > self.minimumWidth():
                self.setMinimumWidth(wanted)
        return False

    def event(self, event: Any) -> bool:
        # napari takes a closed plugin widget out of its dock (parent -> None) and never deletes it.
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked and not self._gone:
                self.release()
                self.deleteLater()
        return super().event(event)


def _stop_listening(listening: list[tuple[Any, Callable[..., Any]]]) -> None:
    for emitter, callback in listening:
        emitter.disconnect(callback)
    listening.clear()
