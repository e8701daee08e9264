"""Cases: five photographs gone through by keys, a folder of ten, what belongs together, what is never lost."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from PIL import Image as Picture
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest
from viewer_parts import dock, photograph, spin, volume, wait_until

from napari_tinymig.measures.clinical import measure
from napari_tinymig.samples.drawn import fundus_sample
from napari_tinymig.tasks.table import TASKS
from napari_tinymig.viewer.docks.tabs import front_panel, open_panel

pytestmark = pytest.mark.viewer

ALT, SHIFT = Qt.KeyboardModifier.AltModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def viewer(make_napari_viewer, model_folder):
    """A window as a user has it, 1280x800, on the screen, with the bundled models."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    spin(0.2)
    return viewer


@pytest.fixture
def photographs(tmp_path):
    """A folder of photographs whose cups differ; a function that makes n of them."""

    def make(n):
        folder = tmp_path / "photographs"
        folder.mkdir(exist_ok=True)
        for i in range(n):
            Picture.fromarray(eye(i)).save(folder / f"eye_{i + 1:02}.png")
        return folder

    return make


@functools.cache
def eye(i):
    """A drawn fundus photograph; the cup grows with i."""
    return fundus_sample(side=384, seed=i, cup_ratio=0.3 + 0.04 * i).scan.pixels


def press(viewer, key, modifier=Qt.KeyboardModifier.NoModifier):
    """A key, as the canvas gets it."""
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, key, modifier)
    spin(0.05)


def cases_panel(viewer):
    return open_panel(viewer, "Cases")


def opened(viewer):
    """The Cases panel, opened from the menu of a window without any panel yet."""
    viewer.window.add_plugin_dock_widget("napari-tinymig", "Cases")
    spin(0.1)
    return cases_panel(viewer)


def assert_shows(icon, pixels):
    """The icon of a case has the colours of its image where no mask lies: within 12 grey levels at the left half."""
    image = icon.pixmap(44, 44).toImage().convertToFormat(QImage.Format.Format_RGB888)
    seen = np.array([[image.pixelColor(x, y).getRgb()[:3] for x in range(4, 20)] for y in range(14, 30)], float)
    picks = ((np.arange(44) + 0.5) * 384 / 44).astype(int)
    expected = pixels[np.ix_(picks[14:30], picks[4:20])].astype(float)
    assert abs(seen.mean((0, 1)) - expected.mean((0, 1))).max() < 12


def settled(panel):
    wait_until(lambda: not panel.worklist.saver.busy and not panel.worklist.work.running, what="writing and segmenting")
    panel.book.settle()


def states(panel):
    return [case.state for case in panel.book.cases]


def mask_on_disk(path):
    return np.array(Picture.open(path))


def test_five_photographs_are_segmented_two_mended_all_saved_by_keys_alone(viewer, photographs):
    folder = photographs(5)
    panel = opened(viewer)
    viewer.open([str(p) for p in sorted(folder.glob("*.png"))], plugin="napari")
    assert states(panel) == ["new"] * 5
    press(viewer, Qt.Key.Key_Q, SHIFT)  # segment all
    wait_until(lambda: states(panel) == ["segmented"] * 5, 60, "five masks")
    assert len(viewer.layers) == 10
    assert [layer.name for layer in viewer.layers if layer.visible] == ["eye_05", "eye_05 mask"]
    for mended in ("eye_04", "eye_02"):
        while panel.book.current.name != mended:
            press(viewer, Qt.Key.Key_Left, ALT)
        press(viewer, Qt.Key.Key_M, SHIFT)  # mend: the brush is in the hand
        assert viewer.layers.selection.active.name == f"{mended} mask"
        assert viewer.layers.selection.active.mode == "paint"
        press(viewer, Qt.Key.Key_E, SHIFT)  # ellipses
        panel.book.settle()
        assert panel.book.current.state == "mended"
    press(viewer, Qt.Key.Key_X, SHIFT)  # save all
    settled(panel)
    assert states(panel) == ["saved"] * 5
    for case in panel.book.cases:
        np.testing.assert_array_equal(mask_on_disk(folder / f"{case.name}_mask.png"), case.mask.data)
        vcdr = measure(case.mask.data, TASKS["optic"])["vcdr"]
        assert panel.list.item(panel.book.cases.index(case)).text() == f"{case.name}\nsaved · vertical CDR {vcdr:.2f}"


def test_a_folder_of_ten_is_done_by_keys_and_reopens_where_it_was_left(viewer, photographs, make_napari_viewer):
    folder = photographs(10)
    panel = opened(viewer)
    panel.open_folder(str(folder))
    wait_until(lambda: panel.book.current is not None, what="the first photograph")
    assert states(panel) == ["new"] * 10
    press(viewer, Qt.Key.Key_Q, SHIFT)
    wait_until(lambda: states(panel) == ["segmented"] * 10, 60, "ten masks")
    assert len(viewer.layers) == 2  # files that nobody looked at are not opened
    assert_shows(panel.list.item(7).icon(), eye(7))
    for _ in range(3):
        press(viewer, Qt.Key.Key_Right, ALT)
        wait_until(lambda: panel.book.opening.running is False, what="the next photograph")
    assert panel.book.current.name == "eye_04"
    mask = panel.book.current.mask
    assert mask.data.max() == 2
    mask.data_setitem((np.array([5, 6]), np.array([7, 7])), 1)
    press(viewer, Qt.Key.Key_Right, ALT)  # going on saves what was mended
    settled(panel)
    saved = mask_on_disk(folder / "eye_04_mask.png")
    assert saved[5, 7] == 1
    assert states(panel)[3] == "saved"
    press(viewer, Qt.Key.Key_R, SHIFT)  # the read-out is in front when the window goes
    spin(0.2)
    viewer.window.remove_dock_widget("all")
    spin(0.3)
    assert sorted(p.name for p in folder.glob("*_mask.png")) == ["eye_04_mask.png"]

    again = make_napari_viewer(show=True)
    panel = opened(again)
    panel.open_folder(str(folder))
    wait_until(lambda: panel.book.current is not None, what="the photograph that was left")
    assert panel.book.current.name == "eye_05"
    assert front_panel(again) == "Live read-out"
    assert states(panel) == ["segmented"] * 3 + ["saved"] + ["segmented"] * 6
    assert panel.book.current.mask.metadata["tinymig"]["model_id"].startswith("optic@")
    press(again, Qt.Key.Key_Left, ALT)
    wait_until(lambda: panel.book.current.name == "eye_04", what="the case before")
    np.testing.assert_array_equal(panel.book.current.mask.data, saved)
    press(again, Qt.Key.Key_X, SHIFT)
    settled(panel)
    assert states(panel) == ["saved"] * 10
    assert len(list(folder.glob("*_mask.png"))) == 10


def test_what_belongs_to_an_image_is_shown_and_hidden_with_it(viewer):
    from napari_tinymig.viewer.cases.panel import CasesPanel
    from napari_tinymig.viewer.napari_io.layers import result_layer

    panel = dock(viewer, CasesPanel)
    first = viewer.add_image(photograph(), rgb=True, name="first")
    viewer.add_points([[5, 5]], name="prompts of first")
    second = viewer.add_image(photograph()[:200, :240], rgb=True, name="second")
    viewer.add_shapes([[[0, 0], [0, 9], [9, 9], [9, 0]]], name="box on second")
    viewer.add_layer(result_layer(first, np.zeros((300, 320), np.uint8), TASKS["optic"], "late answer", {}))
    assert [len(case.layers) for case in panel.book.cases] == [2, 1]
    panel.book.go(panel.book.cases[0])
    shown = {layer.name for layer in viewer.layers if layer.visible}
    assert shown == {"first", "prompts of first", "late answer"}
    viewer.layers["prompts of first"].visible = False  # hidden by the user: stays hidden
    panel.book.step(1)
    assert {layer.name for layer in viewer.layers if layer.visible} == {"second", "box on second"}
    panel.book.step(-1)
    assert {layer.name for layer in viewer.layers if layer.visible} == {"first", "late answer"}
    viewer.layers.remove("first")
    assert [case.name for case in panel.book.cases] == ["second"]
    second.name = "left eye"
    assert panel.list.item(0).text().startswith("left eye")


def test_a_volume_and_a_photograph_keep_their_slice_and_camera(viewer):
    from napari_tinymig.viewer.cases.panel import CasesPanel

    panel = dock(viewer, CasesPanel)
    pixels, _ = volume()
    viewer.add_image(pixels, name="T2", scale=(3, 0.5, 0.5), units=("mm",) * 3)
    viewer.add_image(photograph(), rgb=True, name="eye")
    t2, eye = panel.book.cases
    panel.book.go(t2)
    viewer.dims.set_point(0, 9)
    viewer.camera.zoom = 7
    panel.book.go(eye)
    assert viewer.layers["eye"].visible
    assert not viewer.layers["T2"].visible
    viewer.dims.set_point(0, 0)
    viewer.camera.zoom = 2
    panel.book.go(t2)
    assert viewer.dims.current_step[0] == 3
    assert viewer.camera.zoom == pytest.approx(7)
    viewer.add_image(photograph(shape=(600, 640)), rgb=True, name="another eye")  # shown for the first time: framed
    y, x = viewer.camera.center[-2:]
    assert (y, x) == pytest.approx((299.5, 319.5), abs=1)
    width, height = viewer.window.geometry()[2:]
    assert 0.1 < viewer.camera.zoom <= max(width / 640, height / 600)


def test_a_second_segment_replaces_its_own_untouched_mask_and_undo_gives_it_back(viewer, make_model, model_folder):
    from napari_tinymig.recipes.student import InputSpec
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    make_model("generous", TASKS["optic"], [-0.6, 0.0], folder=model_folder, input=InputSpec(size=128))
    panel = dock(viewer, SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    panel.task.setCurrentIndex(panel.task.findData("optic"))

    def segment(model):
        panel.model.setCurrentText(model)
        panel.segment()
        wait_until(lambda: not panel.work.running and panel.result is not None, what="the mask")
        return panel.result

    mask = segment("optic")
    first = mask.data.copy()
    assert segment("generous") == mask
    assert len(viewer.layers) == 2
    assert (mask.data != first).any()
    assert mask.metadata["tinymig"]["model_id"].startswith("generous@")
    case = panel.book.cases[0]
    assert case.state == "segmented"
    mask.undo()
    panel.book.settle()
    np.testing.assert_array_equal(mask.data, first)
    assert mask.metadata["tinymig"]["model_id"].startswith("optic@")  # the numbers go back with the labels
    assert case.state == "segmented"
    mask.data_setitem((np.array([3]), np.array([3])), 1)
    assert segment("generous") != mask  # a mended mask is never replaced
    assert len(viewer.layers) == 3
    assert mask.data[3, 3] == 1


def test_an_earlier_mask_at_the_same_place_is_kept(viewer, photographs):
    folder = photographs(1)
    before = np.full((384, 384), 1, np.uint8)
    Picture.fromarray(before).save(folder / "eye_01_mask.png")
    panel = opened(viewer)
    viewer.open(str(folder / "eye_01.png"), plugin="napari")
    press(viewer, Qt.Key.Key_Q, SHIFT)
    wait_until(lambda: states(panel) == ["segmented"], 30, "the mask")
    press(viewer, Qt.Key.Key_W, SHIFT)
    settled(panel)
    press(viewer, Qt.Key.Key_W, SHIFT)  # again: what this window wrote itself is not an earlier mask
    settled(panel)
    np.testing.assert_array_equal(mask_on_disk(folder / "eye_01_mask.png"), panel.book.cases[0].mask.data)
    kept = list((folder / "tinymig" / "earlier").iterdir())
    assert [p.name for p in kept] == ["1-eye_01_mask.png"]
    np.testing.assert_array_equal(mask_on_disk(kept[0]), before)


def test_an_image_without_a_file_is_not_saved_until_a_folder_is_chosen(viewer, tmp_path):
    panel = opened(viewer)
    viewer.add_image(eye(1), rgb=True, name="drawn")
    press(viewer, Qt.Key.Key_Q, SHIFT)
    wait_until(lambda: states(panel) == ["segmented"], 30, "the mask")
    press(viewer, Qt.Key.Key_W, SHIFT)
    assert "not read from a file" in panel.message.text()
    panel.worklist.send_masks_to(tmp_path / "masks")
    press(viewer, Qt.Key.Key_W, SHIFT)
    settled(panel)
    assert (tmp_path / "masks" / "drawn_mask.png").exists()
    assert panel.message.text() == "Saved drawn_mask.png"


def test_segment_all_leaves_mended_masks_and_tells_what_failed(viewer):
    panel = opened(viewer)
    panel.worklist.autosave = False
    viewer.add_image(eye(1), rgb=True, name="mended")
    press(viewer, Qt.Key.Key_Q, SHIFT)
    wait_until(lambda: states(panel) == ["segmented"], 30, "the mask")
    mask = panel.book.cases[0].mask
    mask.data_setitem((np.array([3]), np.array([3])), 1)
    viewer.add_image(np.full((200, 200, 3), 20, np.uint8), rgb=True, name="constant")
    viewer.add_image(eye(2), rgb=True, name="other")
    press(viewer, Qt.Key.Key_Q, SHIFT)
    wait_until(lambda: states(panel)[2] == "segmented" and not panel.worklist.work.running, 30, "the last mask")
    assert mask.data[3, 3] == 1
    assert states(panel) == ["mended", "new", "segmented"]
    assert "1 of 2 segmented" in panel.message.text()
    assert "1 mended or saved: left as they are" in panel.message.text()
    assert "'constant'" in panel.message.text()


def test_looks_are_set_for_all_masks_in_one_place(viewer):
    panel = opened(viewer)
    for name in ("a", "b"):
        viewer.add_image(photograph(), rgb=True, name=name)
        viewer.add_labels(photograph()[..., 0] // 200, name=f"mask of {name}")
    masks = [viewer.layers["mask of a"], viewer.layers["mask of b"]]
    press(viewer, Qt.Key.Key_H, SHIFT)
    assert [m.opacity for m in masks] == [0.2, 0.2]
    press(viewer, Qt.Key.Key_O, SHIFT)
    assert [m.contour for m in masks] == [2, 2]
    assert panel.outline.isChecked()
    assert panel.percent.text() == "20 %"
    panel.opacity.setValue(80)
    panel.outline.click()
    assert [(m.opacity, m.contour) for m in masks] == [(0.8, 0), (0.8, 0)]


def test_case_keys_belong_to_nobody_else_are_listed_and_leave_with_the_panel(viewer):
    from napari.layers import Labels
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import _default_shortcuts as napari_keys

    from napari_tinymig.viewer.docks.keys import CASE_KEYS, CORRECT_KEYS, PROMPT_KEYS

    all_keys = [*CASE_KEYS.values(), *CORRECT_KEYS.values(), *PROMPT_KEYS.values()]
    ours = {coerce_keybinding(key.key) for key in all_keys}
    assert len(ours) == len(all_keys)
    theirs = {coerce_keybinding(key) for keys in napari_keys.values() for key in keys} | set(Labels.class_keymap)
    assert not ours & theirs
    panel = opened(viewer)
    press(viewer, Qt.Key.Key_J, SHIFT)
    assert panel.keys_card.isVisible()
    spin(0.1)
    assert not panel.keys_card.visibleRegion().isEmpty(), "scrolled to"
    assert set(panel.keys.rows().values()) == {key.shown for key in all_keys}
    assert all(coerce_keybinding(key.key) in viewer.keymap for key in CASE_KEYS.values())
    viewer.window.remove_dock_widget("all")
    spin(0.2)
    assert not any(coerce_keybinding(key.key) in viewer.keymap for key in CASE_KEYS.values())


def test_the_end_of_the_list_says_what_to_do_where_there_is_one_case_alone():
    from napari_tinymig.viewer.cases.case import end_of_list

    assert end_of_list(1, 1) == end_of_list(1, -1) == "This is the only case; open more images, or a folder of them."
    assert [end_of_list(3, by) for by in (1, -1)] == ["This is the last case.", "This is the first case."]
