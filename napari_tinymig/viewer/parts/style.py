"""The few parts every panel is made of: cards, buttons, labels, states and messages.

In a panel live at most one `primary_button`, a `Badge` for a state, an `EmptyState` where there is nothing yet, and
one `MessageLine` that says what went wrong and what to do. Nothing sets colours or fonts by itself: widgets carry a
dynamic property `role`, and the style sheet of the panel, made from napari's theme, gives each role its looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...reports.numbers import Tone
from .theme import GAP, MARGIN, Role

PASSING_MS = 6000
"""How long an answer to a key stays (chosen: read twice, slowly)."""


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


class QuietLabel(QLabel):
    """A hint that takes no room while it has nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        with_role(self, "hint")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.hide()

    def setText(self, text: str | None) -> None:
        """Show `text`; '' hides the label."""
        super().setText(text)
        self.setVisible(bool(text))


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
    """One line for what happened; hidden when there is nothing to say. Errors: found, expected, what to do.

    What is said in the tone "passing", an answer to one key, goes by itself after a few seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        with_role(self, "line")
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

        self._passing = QTimer(self)
        self._passing.setSingleShot(True)
        self._passing.timeout.connect(self.clear)

    def say(self, text: str, tone: Tone | Literal["passing"] = "plain") -> None:
        self._passing.stop()
        if tone == "passing":
            self._passing.start(PASSING_MS)
        self.setText(text)
        self.setProperty("tone", "plain" if tone == "passing" else tone)
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
        self.names: list[QLabel] = []  # of the labelled fields

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
        """Append a labelled field; the fields of a panel line up."""
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
        self.names.append(name)
        self._form.addRow(name, native)
        return part

    def show_field(self, part: Any, shown: bool) -> None:
        """Show or hide a field made by `field`, with its label."""
        native = part.native if hasattr(part, "native") else part
        if native.isHidden() != shown:
            return
        for form in self.findChildren(QFormLayout):
            if form.indexOf(native) >= 0:
                form.setRowVisible(native, shown)
