"""What the mouse does next: add or take away, by point, scribble or box; the class, and the classes that are locked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QComboBox, QPushButton, QSpinBox

from ...tasks.task import Region, Task
from ..docks.keys import PROMPT_KEYS
from ..parts.style import Section, button, row
from .marks import Shape

Sign = Literal["add", "away"]
KEYS = {name: key.key for name, key in PROMPT_KEYS.items()}
WORDS = {"add": "+  add", "away": "−  take away", "point": "point", "scribble": "scribble", "box": "box"}
TIPS = {
    "add": "What you mark belongs to it.",
    "away": "What you mark does not belong to it.",
    "point": "Click in the image.",
    "scribble": "Drag a line over the image.",
    "box": "Drag a box around the object.",
}


def with_key(tip: str, name: str) -> str:
    """A tool tip that names its key."""
    return f"{tip}  Key: {KEYS[name]}"


def tool_button(name: str, on_click: Callable[[], None]) -> QPushButton:
    """A button that stays down; the canvas keeps the keyboard when it is clicked."""
    made = button(f"{WORDS[name]}   {KEYS[name]}", on_click, "tool", with_key(TIPS[name], name))
    made.setObjectName(name)
    made.setCheckable(True)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return made


class Tools(Section):
    """The tool in hand; `picked` is sent when a user picks one, `locks_changed` when a class is locked or freed."""

    picked = Signal()
    locks_changed = Signal()

    def __init__(self) -> None:
        super().__init__("Prompt")
        self.task: Task | None = None
        self.sign: Sign = "add"
        self.shape: Shape = "point"
        self.buttons = {n: tool_button(n, lambda name=n: self.pick(name)) for n in WORDS}  # type: ignore[misc]
        self.groups = [QButtonGroup(self), QButtonGroup(self)]
        for names, group in zip((("add", "away"), ("point", "scribble", "box")), self.groups):
            for name in names:
                group.addButton(self.buttons[name])
            self.add(row(*(self.buttons[n] for n in names), stretch=None))
        self.classes = QComboBox()
        self.classes.activated.connect(lambda _i: self.picked.emit())
        self.field("class", self.classes, "The class that the marks speak of.")
        self.through = QSpinBox()
        self.through.setRange(0, 999)
        self.through.setSpecialValueText("its slice, then as far as it goes")
        self.through.setPrefix("± ")
        self.through.setSuffix(" slices")
        self.through.valueChanged.connect(lambda _n: self.picked.emit())
        self.field("box through", self.through, "So many slices on either side hold the object, and no further ones.")
        self._volume = False
        self.lock = QCheckBox("lock this class")
        self.lock.setToolTip("No mark changes a pixel of a locked class.")
        self.lock.clicked.connect(self._lock)
        self.locked: set[int] = set()
        self.classes.currentIndexChanged.connect(self._show_lock)
        self.add(self.lock)

    def offer(self, task: Task, volume: bool) -> None:
        """List the classes of a task; with one there is nothing to choose. volume: boxes may reach through slices."""
        self._volume = volume
        if not volume:
            with QSignalBlocker(self.through):
                self.through.setValue(0)
        self._show_through()
        if task == self.task:
            return
        self.task, self.locked = task, set()
        self.classes.clear()
        for region in task.regions:
            self.classes.addItem(_dot(region.colour), region.class_name, region.label)
        several = len(task.regions) > 1
        self.show_field(self.classes, several)
        self.lock.setVisible(several)
        self._show_lock()

    @property
    def region(self) -> Region | None:
        """The class that marks speak of."""
        label = self.classes.currentData()
        return next((r for r in self.task.regions if r.label == label), None) if self.task else None

    @property
    def label(self) -> int:
        """The label that a mark tells. Taken away from a class inside another, its pixels go back to the outer one."""
        region = self.region
        if region is None or self.task is None:
            return 1
        if self.sign == "add":
            return region.label
        outer = next((r for r in self.task.regions if r.name == region.inside), None)
        return 0 if outer is None else outer.label

    def pick(self, name: str) -> None:
        """Take a sign or a shape; what was not named stays as it was."""
        if name in ("add", "away"):
            self.sign = name  # type: ignore[assignment]
        else:
            self.shape = name  # type: ignore[assignment]
            self._show_through()
        self.picked.emit()

    def show_in_hand(self, shape: Shape | None) -> None:
        """Press the buttons of what the mouse draws; None: no tool is in hand."""
        for group in self.groups:
            group.setExclusive(False)
        for name, made in self.buttons.items():
            made.setChecked(shape is not None and name in (shape, self.sign))
        for group in self.groups:
            group.setExclusive(shape is not None)

    def _show_through(self) -> None:
        self.show_field(self.through, self._volume and self.shape == "box")

    def _show_lock(self) -> None:
        self.lock.setChecked(self.classes.currentData() in self.locked)

    def _lock(self, on: bool) -> None:
        label = self.classes.currentData()
        (self.locked.add if on else self.locked.discard)(label)
        self.locks_changed.emit()


def _dot(colour: str) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
