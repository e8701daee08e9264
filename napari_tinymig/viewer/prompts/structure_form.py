"""A new structure: a name, a colour, more classes if there are any; no file, no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QColorDialog, QLineEdit, QPushButton, QWidget

from ...annotations.structures import OwnClass, begin_set, new_structure
from ...base.errors import TinyMIGError
from ...tasks.colours import OTHER_LABELS
from ..parts.style import Section, button, row, text_label

COLOURS = tuple(OTHER_LABELS.values())


class ColourButton(QPushButton):
    """A patch of colour; a press asks for another one."""

    def __init__(self, colour: str):
        super().__init__()
        self.setFixedWidth(34)
        self.setToolTip("The colour of its labels and marks.")
        self.colour = colour
        self.show_colour(colour)
        self.clicked.connect(self._ask)

    def show_colour(self, colour: str) -> None:
        """Take a hex colour."""
        self.colour = colour
        self.setStyleSheet(f"QPushButton {{ background-color: {colour}; border-radius: 4px; }}")

    def _ask(self) -> None:
        chosen = QColorDialog.getColor(QColor(self.colour), self, "Colour")
        if chosen.isValid():
            self.show_colour(chosen.name())


class ClassRow(QWidget):
    """Name and colour of one class; one after the first may lie inside it."""

    def __init__(self, number: int, name_hint: str):
        super().__init__()
        self.name = QLineEdit()
        self.name.setPlaceholderText(name_hint)
        self.colour = ColourButton(COLOURS[(number - 1) % len(COLOURS)])
        self.inside = QCheckBox("inside")
        self.inside.setToolTip("It lies in the first class, as a cup does in its disc.")
        self.inside.setVisible(number > 1)
        self.setLayout(row(self.name, self.inside, self.colour))


class StructureForm(Section):
    """Asks for a new structure; `made(task)` is sent when it is there. kind: of the image, told when it is made."""

    made = Signal(object)

    def __init__(self, kind: Callable[[], Literal["photograph", "volume"]], say_error: Callable[[BaseException], None]):
        super().__init__("New structure")
        self._kind, self._say_error = kind, say_error
        self.add(text_label("A name and a colour are enough. Mend five images, then train a model of it.", "hint"))
        self.classes: list[ClassRow] = []
        self.begin_button = button("Begin", self.begin, tip="Marks and masks of this structure from now on.")
        self.more = button("+ class", self.add_class, "link", "Another class: a part of it, or something beside it.")
        self._rows_end = 2  # heading and hint come first
        self.add_class()
        self.add(row(self.more, self.begin_button, stretch=None))

    def add_class(self) -> None:
        """One more class."""
        number = len(self.classes) + 1
        made = ClassRow(number, "name, such as fovea" if number == 1 else f"class {number}")
        self.classes.append(made)
        self.column.insertWidget(self._rows_end + number - 1, made)

    def clear(self) -> None:
        """Empty fields, one class."""
        for made in self.classes[1:]:
            self.column.removeWidget(made)
            made.deleteLater()
        del self.classes[1:]
        self.classes[0].name.clear()

    def begin(self) -> None:
        """Make the structure and its set."""
        title = self.classes[0].name.text()
        classes = [OwnClass(c.name.text().strip(), c.colour.colour, c.inside.isChecked()) for c in self.classes]
        try:
            task = new_structure(title, self._kind(), classes)
            begin_set(task)
        except (TinyMIGError, ValueError) as e:
            self._say_error(e)
            return
        self.clear()
        self.made.emit(task)
