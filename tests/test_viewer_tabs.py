"""One dock with tabs: panels opened from the menu, the way back to one, and the next step after a result."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QDockWidget, QTabBar
from viewer_parts import click, dock, photograph, spin, wait_until

pytestmark = pytest.mark.viewer

FOUR = ("Segment", "Live read-out", "Correct a mask", "Save and report")


def menu_actions(menu):
    for action in menu.actions():
        if action.menu():
            yield from menu_actions(action.menu())
        else:
            yield action


@pytest.fixture
def viewer(make_napari_viewer, models):
    """A window as a user has it, 1280x800, on the screen."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    spin(0.2)
    return viewer


def choose(viewer, title):
    """Choose an entry of the plugin's menu."""
    wanted, bar = f"{title} (TinyMIG)", viewer.window._qt_window.menuBar()
    entries = [a for top in bar.actions() for a in menu_actions(top.menu()) if a.text() == wanted]
    assert entries, title
    entries[0].trigger()
    spin(0.3)


def panels(viewer):
    from napari_tinymig.viewer.parts.panel import Panel

    return {p.tab: p for p in viewer.window._qt_window.findChildren(Panel)}


def in_front(viewer, tab):
    return not panels(viewer)[tab].visibleRegion().isEmpty()


def test_panels_opened_from_the_menu_are_tabs_of_one_dock_as_tall_as_the_window(viewer):
    for title in FOUR:
        choose(viewer, title)
    assert set(panels(viewer)) == {"Segment", "Read-out", "Correct", "Save"}
    assert in_front(viewer, "Save")
    assert panels(viewer)["Save"].height() > 600  # stacked, the four were 60 to 250 px high
    docks = [d for d in viewer.window._qt_window.findChildren(QDockWidget) if "TinyMIG" in d.objectName()]
    assert len(viewer.window._qt_window.tabifiedDockWidgets(docks[0])) == 3
    bar = next(b for b in viewer.window._qt_window.findChildren(QTabBar) if b.count() == 4)
    assert [bar.tabText(i) for i in range(4)] == ["Segment", "Read-out", "Correct", "Save"]


def test_the_menu_brings_a_panel_behind_a_tab_to_the_front_and_hides_the_one_in_front(viewer):
    choose(viewer, "Segment")
    choose(viewer, "Live read-out")
    assert not in_front(viewer, "Segment")
    choose(viewer, "Segment")
    assert in_front(viewer, "Segment")
    choose(viewer, "Segment")
    assert not panels(viewer)["Segment"].isVisible()
    assert in_front(viewer, "Read-out")
    choose(viewer, "Segment")
    assert in_front(viewer, "Segment")


def test_a_floating_panel_stays_where_the_user_put_it(viewer):
    choose(viewer, "Segment")
    floating = next(d for d in viewer.window._qt_window.findChildren(QDockWidget) if "Segment" in d.objectName())
    floating.setFloating(True)
    choose(viewer, "Live read-out")
    assert floating.isFloating()
    assert viewer.window._qt_window.tabifiedDockWidgets(floating) == []


def test_after_a_result_read_out_correct_and_save_are_one_click_away(viewer):
    choose(viewer, "Segment")
    segment = panels(viewer)["Segment"]
    viewer.add_image(photograph(), rgb=True, name="eye")
    segment.task.setCurrentIndex(segment.task.findData("optic"))
    click(segment, "Segment")
    wait_until(lambda: segment.result is not None and not segment.work.running, what="the mask")
    for tab in ("Read-out", "Correct", "Save"):
        click(segment.result_card, tab)
        spin(0.2)
        assert in_front(viewer, tab), tab
        assert panels(viewer)[tab].layers.layer == viewer.layers["eye mask"], tab
    choose(viewer, "Correct a mask")  # the menu knows the panel that the button opened
    docks = [d.objectName() for d in viewer.window._qt_window.findChildren(QDockWidget) if "TinyMIG" in d.objectName()]
    assert sorted(docks) == sorted(f"{title} (TinyMIG)" for title in FOUR)


def test_the_first_tab_needs_no_scrolling_in_a_window_of_1280_by_800(viewer):
    from qtpy.QtWidgets import QScrollArea

    choose(viewer, "Segment")
    choose(viewer, "Live read-out")
    choose(viewer, "Segment")
    segment = panels(viewer)["Segment"]
    viewer.add_image(photograph(), rgb=True, name="eye")
    segment.task.setCurrentIndex(segment.task.findData("optic"))
    click(segment, "Segment")
    wait_until(lambda: segment.result is not None and not segment.work.running, what="the mask")
    spin(0.3)
    bar = segment.findChild(QScrollArea).verticalScrollBar()
    main = viewer.window._qt_window
    assert (main.width(), main.height()) == (1280, 800)
    assert bar.maximum() == 0


def test_nothing_to_say_takes_no_room(viewer):
    choose(viewer, "Segment")
    choose(viewer, "Annotate cases")
    segment, annotate = panels(viewer)["Segment"], panels(viewer)["Annotate"]
    assert segment.elapsed.isHidden()
    segment.elapsed.setText("0.2 s")
    assert not segment.elapsed.isHidden()
    assert annotate.cases.list.isHidden()  # an empty list stood there as a strip of 190 px


def test_the_menu_and_a_script_open_the_same_panel_once(viewer):
    viewer.window.add_plugin_dock_widget("napari-tinymig", "Segment")  # as `tinymig view` does
    spin(0.2)
    first = panels(viewer)["Segment"]
    choose(viewer, "Live read-out")
    choose(viewer, "Segment")
    spin(0.2)
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    assert viewer.window._qt_window.findChildren(SegmentPanel) == [first]
    assert in_front(viewer, "Segment")


def test_preferences_say_what_the_panels_begin_with(viewer, models, monkeypatch):
    from napari_tinymig.viewer.cases import look
    from napari_tinymig.viewer.finetune import panel as finetune
    from napari_tinymig.viewer.segment import panel as segment

    chosen = {"task": "optic", "opacity": 0.3, "outline": True, "minutes": 2.5, "device": "cpu"}
    for module in (look, finetune, segment):
        monkeypatch.setattr(module, "setting", lambda _group, key: chosen[key])
    panel = dock(viewer, segment.SegmentPanel)
    assert panel.task.currentData() == "optic"
    assert dock(viewer, finetune.FineTunePanel).minutes.value() == 2.5
    viewer.add_image(photograph(), rgb=True, name="eye")
    click(panel, "Segment")
    wait_until(lambda: not panel.work.running and panel.result is not None, what="the mask")
    assert (panel.result.opacity, panel.result.contour > 0) == (0.3, True)


def test_the_menu_shows_every_key(viewer):
    from napari_tinymig.viewer.cases.panel import CasesPanel
    from napari_tinymig.viewer.commands import show_keys

    show_keys()
    panel = viewer.window._qt_window.findChild(CasesPanel)
    assert panel.keys_card.isVisible()
    assert panel.keys.rows()["save this mask"] == "Shift+W"


def test_no_title_of_a_dock_is_cut(viewer):
    from qtpy.QtWidgets import QLabel

    from napari_tinymig.viewer.docks.tabs import enclosing_dock, open_panel

    viewer.window.add_plugin_dock_widget("napari-tinymig", "Segment")
    for title in ("Planes and scanner position", "Segment"):
        panel = open_panel(viewer, title)
        spin(0.3)
        (label,) = [n for n in enclosing_dock(panel).titleBarWidget().findChildren(QLabel) if title in n.text()]
        assert label.sizeHint().width() <= label.width(), label.text()
    assert label.text().startswith("Segment ("), "a short one keeps the name of the plugin"


def test_segmenting_all_from_the_list_of_cases_stays_at_the_list_which_takes_the_room_there_is(viewer):
    choose(viewer, "Segment")
    choose(viewer, "Cases")
    cases = panels(viewer)["Cases"]
    for name in ("first", "second"):
        viewer.add_image(photograph(), rgb=True, name=name)
    spin(0.3)
    assert cases.list.height() > 300  # five lines are 250 px
    click(cases, "Segment all")
    wait_until(lambda: "of 2 segmented" in cases.message.text(), 60, "the run")
    spin(0.3)
    assert in_front(viewer, "Cases")
