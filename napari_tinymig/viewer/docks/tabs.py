"""One dock with tabs: every panel joins the tabs of the panels that are open already, and can be called to the front.

napari reads no `tabify` from a manifest: a panel opened from its menu would be stacked below the others, as a slit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QDockWidget, QLabel, QMainWindow, QMenu, QMenuBar, QTabBar, QWidget

PLUGIN, NAME = "napari-tinymig", "TinyMIG"
LONGEST_TITLE = 30
"""Letters that a title bar shows beside its three buttons, in a dock as wide as the panels ask for."""
_TABS: WeakSet[DockTab] = WeakSet()
"""Of every panel that is open, in any window."""
_FRONT: dict[int, str] = {}
"""By viewer: title of the panel that came to the front last."""


class DockTab(QObject):
    """Keeps the dock of one panel among the tabs of its neighbours.

    panel: the widget in the dock. viewer: its viewer. title: a word or two for the tab. alike: class of the widgets
    whose docks it joins. `left` is called when the panel is taken out of its dock.
    """

    def __init__(self, panel: QWidget, viewer: Any, title: str, alike: type[QWidget]):
        super().__init__(panel)
        self.panel, self.viewer, self._title, self._alike = panel, viewer, title, alike
        self.dock: QDockWidget | None = None
        self._behind = self._was_hidden = self._called = False
        self._soon = QTimer(self)  # napari puts the dock into its window after the panel into the dock
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._join)

    def docked(self) -> None:
        """The panel has a new parent: find its dock, and join the others as soon as the window has it."""
        dock = enclosing_dock(self.panel)
        if dock is None or dock is self.dock:
            return
        self.dock = dock
        _TABS.add(self)
        dock.visibilityChanged.connect(self._seen)
        dock.installEventFilter(self)
        self._soon.start(0)

    @property
    def shown_title(self) -> str:
        """Title of the panel in the plugin's menu; '' where it is not docked."""
        return self.dock.objectName().rsplit(" (", 1)[0] if self.dock is not None else ""

    def left(self) -> None:
        """The panel is out of its dock, for good."""
        self._soon.stop()
        self.dock = None
        _TABS.discard(self)

    def _join(self) -> None:
        dock = self.dock
        window = dock.parent() if dock is not None else None
        if dock is None or not isinstance(window, QMainWindow):
            return
        twin = next((t for t in _tabs_of(self.viewer) if t is not self and t.shown_title == self.shown_title), None)
        if twin is not None and twin.dock is not None:
            # `viewer.window.add_plugin_dock_widget` and napari's menu do not know of each other.
            twin.dock.show()
            twin.dock.raise_()
            self.viewer.window.remove_dock_widget(dock)
            return
        if self._called:
            self._called = False
            dock.show()
        if self._title:
            dock.setWindowTitle(self._title)
        _shorten(dock, self.shown_title)
        others = [d for d in docks_of(window, self._alike) if d is not dock and not d.isFloating() and d.isVisible()]
        if others and not dock.isFloating() and others[-1] not in window.tabifiedDockWidgets(dock):
            window.tabifyDockWidget(others[-1], dock)
        dock.raise_()
        _show_whole_titles(window, {d.windowTitle() for d in (dock, *others)})

    def _seen(self, on_show: bool) -> None:
        if on_show and self.dock is not None:
            _FRONT[id(getattr(self.viewer, "__wrapped__", self.viewer))] = self.shown_title
        self._behind = not on_show and self.dock is not None and not self.dock.isHidden()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """napari's menu hides a panel that is docked, also where it lies behind another tab: it comes to the front."""
        if event.type() == QEvent.Type.Hide and self.dock is not None and self.dock.isHidden():
            self._called, self._behind, self._was_hidden = self._behind, False, True
            if self._called:
                self._soon.start(0)
        elif event.type() == QEvent.Type.Show and self._was_hidden:
            self._was_hidden = False
            self._soon.start(0)
        return False


def _shorten(dock: QDockWidget, title: str) -> None:
    """A title too long for a narrow dock loses the plugin's name in brackets, which its tool tip keeps."""
    bar = dock.titleBarWidget()
    for label in bar.findChildren(QLabel) if bar is not None else []:
        if label.text().startswith(f"{title} (") and len(label.text()) > LONGEST_TITLE:
            label.setToolTip(label.text())
            label.setText(title)


def _show_whole_titles(window: QMainWindow, titles: set[str]) -> None:
    """Tabs scroll where there are many, instead of being cut to a few letters each."""
    for bar in window.findChildren(QTabBar):
        if titles & {bar.tabText(i) for i in range(bar.count())}:
            bar.setElideMode(Qt.TextElideMode.ElideNone)
            bar.setUsesScrollButtons(True)


def enclosing_dock(widget: QWidget) -> QDockWidget | None:
    """The dock that holds a widget, however deep; None if there is none."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def docks_of(window: QMainWindow, kind: type[QWidget]) -> list[QDockWidget]:
    """Docks of a window that hold a widget of a class, in the order in which they were opened."""
    found = [enclosing_dock(panel) for panel in window.findChildren(kind)]
    return [dock for dock in found if dock is not None]


def open_panel(viewer: Any, title: str) -> QWidget:
    """The panel with that title in the plugin's menu, opened if it is not yet, in front of the other tabs.

    It is opened by its menu entry, so that the menu knows it; where there is no menu, as a plugin's widget.
    """
    tab = _tab_of(viewer, title)
    if tab is None:
        bars = [window.menuBar() for window in _windows_of(viewer)]
        entries = [a for bar in bars for a in _entries(bar) if a.text() == f"{title} ({NAME})"]
        if entries:
            entries[0].trigger()
        else:
            viewer.window.add_plugin_dock_widget(PLUGIN, title)
        tab = _tab_of(viewer, title)
    if tab is None or tab.dock is None:
        raise ValueError(f"there is no panel '{title}'; expected a title of the plugin's menu.")
    tab.dock.show()
    tab.dock.raise_()
    return tab.panel


def _entries(menu: QMenuBar | QMenu | None) -> Iterator[QAction]:
    """Every entry of a menu and of the menus in it."""
    for action in menu.actions() if menu is not None else []:
        inner = action.menu()
        if inner is None:
            yield action
        else:
            yield from _entries(inner)


def front_panel(viewer: Any) -> str:
    """Title of the plugin's panel that came to the front last; '' where there was none."""
    return _FRONT.get(id(getattr(viewer, "__wrapped__", viewer)), "")


def _tab_of(viewer: Any, title: str) -> DockTab | None:
    return next((tab for tab in _tabs_of(viewer) if tab.shown_title == title), None)


def _tabs_of(viewer: Any) -> list[DockTab]:
    itself = getattr(viewer, "__wrapped__", viewer)
    return [t for t in _TABS if t.dock is not None and getattr(t.viewer, "__wrapped__", t.viewer) is itself]


def _windows_of(viewer: Any) -> list[QMainWindow]:
    parents = [tab.dock.parent() for tab in _tabs_of(viewer) if tab.dock is not None]
    return [parent for parent in parents[:1] if isinstance(parent, QMainWindow)]
