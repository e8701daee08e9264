"""The Prompt panel in a real window, with a real mouse: what is marked holds, the mask follows, all can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_leaves import leaf_picture
from qtpy.QtCore import Qt
from viewer_parts import (
    canvas_click,
    canvas_drag,
    canvas_key,
    click,
    dock,
    photograph,
    spin,
    volume,
    wait_until,
)

import napari_tinymig
from napari_tinymig.prompts.records import Prompt
from napari_tinymig.tasks.optic import OPTIC

pytestmark = pytest.mark.viewer


@pytest.fixture
def panel(viewer, model_folder):
    from napari_tinymig.viewer.prompts.panel import PromptPanel

    viewer.window.resize(1100, 800)
    return dock(viewer, PromptPanel)


def opened(viewer, panel, *tools):
    """Take tools by their buttons; the session's mask layer."""
    for name in tools:
        panel.tools.buttons[name].click()
    wait_until(lambda: not panel.prompting.opening.running, what="the session")
    viewer.reset_view()
    spin(0.2)
    return panel.prompting.mask


def answered(panel):
    """Until every mark is answered."""
    spin(0.05)
    wait_until(lambda: not panel.prompting.work.running, what="the answer")
    spin(0.02)


def eye(viewer, **where):
    return viewer.add_image(photograph(), rgb=True, name="eye", **where)


def disk(radius=60):
    y, x = np.ogrid[:300, :320]
    return np.hypot(y - 140, x - 170) <= radius


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def with_mask(viewer, image, labels, task=OPTIC):
    from napari_tinymig.viewer.napari_io.layers import result_layer

    return viewer.add_layer(result_layer(image, labels.astype(np.uint8), task, "mine", {}))


def test_a_click_makes_a_mask_and_a_mark_and_a_negative_one_takes_away(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "box")
    assert str(panel.prompting.marks.strokes.mode) == "add_rectangle"
    canvas_drag(viewer, image, [(76, 106), (120, 150), (160, 190), (204, 234)])
    answered(panel)
    assert dice(mask.data > 0, disk()) > 0.85
    before = mask.data.copy()
    opened(viewer, panel, "away", "point")
    canvas_click(viewer, image, (140, 170))
    answered(panel)
    assert mask.data[140, 170] == 0
    assert not (mask.data & ~before).any()
    marks = panel.prompting.marks
    np.testing.assert_array_equal(marks.points.data, [[140, 170]])
    assert [str(s) for s in marks.points.symbol] == ["hbar"]
    assert marks.strokes.nshapes == 1
    assert "ms" in panel.state.text()


def test_a_scribble_is_drawn_and_all_its_pixels_obey(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "scribble")
    canvas_drag(viewer, image, [(140, 120 + 12 * k) for k in range(9)])
    answered(panel)
    assert (mask.data[140, 122:214] == 1).all()
    assert panel.prompting.session.prompts[0].kind == "scribble"


def test_a_mark_that_is_dragged_or_deleted_takes_the_mask_along(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (140, 170))
    answered(panel)
    first = mask.data.copy()
    canvas_click(viewer, image, (250, 60))
    answered(panel)
    assert mask.data[250, 60] == 1
    points = panel.prompting.marks.points
    points.mode = "select"
    canvas_drag(viewer, image, [(250, 60), (240, 80), (230, 250)])
    answered(panel)
    assert mask.data[230, 250] == 1
    assert panel.prompting.session.prompts[1].positions == ((230, 250),)
    wanted = panel.prompting.session.labels
    np.testing.assert_array_equal(mask.data, wanted)
    points.selected_data = {1}
    canvas_key(viewer, Qt.Key.Key_Delete)
    answered(panel)
    np.testing.assert_array_equal(mask.data, first)
    assert len(panel.prompting.session.prompts) == 1


def test_undo_and_redo_are_exact_by_button_by_key_and_by_naparis_own(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    states = [mask.data.copy()]
    for at in ((140, 170), (250, 60)):
        canvas_click(viewer, image, at)
        answered(panel)
        states.append(mask.data.copy())
    click(panel, "Undo")
    np.testing.assert_array_equal(mask.data, states[1])
    assert len(panel.prompting.marks.points.data) == 1
    click(panel, "Redo")
    np.testing.assert_array_equal(mask.data, states[2])
    canvas_key(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)  # the marks' layer is active
    np.testing.assert_array_equal(mask.data, states[1])
    click(panel, "Redo")
    click(panel, "Undo")
    spin(0.4)  # a user comes back to it later
    mask.undo()  # napari's own: what was written last is taken back, the mark comes along
    wait_until(lambda: len(panel.prompting.marks.points.data) == 2, what="the mark to come back")
    np.testing.assert_array_equal(panel.prompting.session.labels, mask.data)


def test_one_mark_is_one_undo_step_of_the_layer(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (140, 170))
    answered(panel)
    mask.undo()
    assert not mask.data.any()
    wait_until(lambda: not len(panel.prompting.marks.points.data), what="the mark to go")


def test_a_locked_class_is_not_touched_and_the_panel_says_so(viewer, panel):
    image = eye(viewer)
    labels = disk().astype(np.uint8) + disk(25)
    mask = with_mask(viewer, image, labels)
    assert panel.subject.task.name == "optic"
    assert opened(viewer, panel, "add", "point") == mask
    panel.tools.classes.setCurrentIndex(panel.tools.classes.findData(2))
    panel.tools.lock.click()
    panel.tools.classes.setCurrentIndex(panel.tools.classes.findData(1))
    panel.tools.pick("away")
    canvas_click(viewer, image, (140, 170))
    answered(panel)
    assert "label 2 (cup) is locked" in panel.message.text()
    np.testing.assert_array_equal(mask.data, labels)
    assert not len(panel.prompting.marks.points.data)
    panel.tools.pick("add")
    canvas_click(viewer, image, (215, 240))
    answered(panel)
    assert mask.data[215, 240] == 1
    np.testing.assert_array_equal(mask.data == 2, labels == 2)


def test_taken_away_from_the_cup_the_pixel_goes_back_to_the_rim_and_not_to_the_outside(viewer, panel):
    image = eye(viewer)
    mask = with_mask(viewer, image, disk().astype(np.uint8) + disk(50))
    opened(viewer, panel, "away", "point")
    assert panel.subject.task.name == "optic"
    panel.tools.classes.setCurrentIndex(panel.tools.classes.findData(2))
    panel.tools.pick("away")
    canvas_click(viewer, image, (140, 212))
    answered(panel)
    assert mask.data[140, 212] == 1
    before = mask.data.copy()
    canvas_click(viewer, image, (30, 30))
    answered(panel)
    np.testing.assert_array_equal(mask.data, before)


def test_marks_that_wait_are_answered_as_they_were_drawn_in_order(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    points = panel.prompting.marks.points
    points.add((140, 170))
    points.add((250, 60))
    panel.tools.pick("away")
    points.add((20, 20))
    wait_until(lambda: len(panel.prompting.session.prompts) == 3, what="three answers")
    answered(panel)
    assert [p.label for p in panel.prompting.session.prompts] == [1, 1, 0]
    assert mask.data[140, 170] == mask.data[250, 60] == 1
    assert image in viewer.layers


@pytest.mark.parametrize(
    "where",
    [
        {"scale": (0.02, 0.02), "translate": (5, -3), "units": ("mm", "mm")},
        {"rotate": 30, "scale": (2, 2)},
        {"affine": np.array([[0, 1.5, 4], [-1.5, 0, 9], [0, 0, 1]])},
    ],
    ids=["scaled", "rotated", "turned by an affine"],
)
def test_marks_lie_where_they_are_drawn_on_any_orientation_and_scale(viewer, panel, where):
    image = eye(viewer, **where)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (130, 185))
    answered(panel)
    (prompt,) = panel.prompting.session.prompts
    assert np.abs(np.subtract(prompt.positions[0], (130, 185))).max() <= 1
    assert mask.data[prompt.positions[0]] == 1
    np.testing.assert_allclose(mask.data_to_world((7, 9)), image.data_to_world((7, 9)))
    at = panel.prompting.marks.points
    np.testing.assert_allclose(at.data_to_world(at.data[0]), image.data_to_world(prompt.positions[0]))


@pytest.mark.parametrize("kind", ["several levels", "colours first"])
def test_odd_images_are_marked_in_the_pixels_of_their_mask(viewer, panel, kind):
    pixels = photograph()
    if kind == "several levels":
        viewer.add_image([pixels, pixels[::2, ::2]], multiscale=True, rgb=True, name="eye")
    else:
        viewer.add_image(np.moveaxis(pixels, -1, 0), name="eye")
    mask = opened(viewer, panel, "add", "point")
    assert mask.data.shape == (300, 320)
    canvas_click(viewer, mask, (140, 170))
    answered(panel)
    assert panel.prompting.session.prompts[0].positions == ((140, 170),)
    assert mask.data[140, 170] == 1


def test_a_volume_is_followed_in_the_background_and_taken_back_at_once(viewer, panel):
    pixels, ball = volume()
    image = viewer.add_image(pixels, name="scan", scale=(3, 1, 1), units=("mm",) * 3)
    viewer.dims.set_point(0, 6 * 3)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (6, 50, 44))
    answered(panel)
    filled = np.flatnonzero(mask.data.any((1, 2)))
    assert 6 in filled
    assert len(filled) >= 5
    assert dice(mask.data > 0, ball) > 0.6
    assert "slices followed" in panel.state.text()
    (prompt,) = panel.prompting.session.prompts
    assert prompt.positions == ((6, 50, 44),)
    spin(0.4)  # a user comes back to it later
    mask.undo()
    assert not mask.data.any()
    wait_until(lambda: not panel.prompting.session.prompts, what="the session to go along")


def test_following_can_be_stopped_and_what_was_reached_stays(viewer, panel):
    pixels, _ = volume()
    image = viewer.add_image(pixels, name="scan", scale=(3, 1, 1), units=("mm",) * 3)
    viewer.dims.set_point(0, 6 * 3)
    mask = opened(viewer, panel, "add", "point")
    seen = []
    progressed = panel.prompting.work._on_progress
    panel.prompting.work._on_progress = lambda p: (progressed(p), seen.append(p), panel.prompting.stop_following())
    canvas_click(viewer, image, (6, 50, 44))
    answered(panel)
    assert mask.data[6].any()
    assert 1 <= mask.data.any((1, 2)).sum() <= 4
    np.testing.assert_array_equal(mask.data, panel.prompting.session.labels)


def test_what_was_painted_stays_and_counts(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (140, 170))
    answered(panel)
    mask.data_setitem((np.array([5, 5, 6]), np.array([7, 8, 7])), 1)
    canvas_click(viewer, image, (250, 60))
    answered(panel)
    assert (mask.data[[5, 5, 6], [7, 8, 7]] == 1).all()
    assert [p.kind for p in panel.prompting.session.prompts] == ["click", "edit", "click"]
    assert len(panel.prompting.marks.points.data) == 2


def test_edits_that_an_annotator_locked_are_held(viewer, panel):
    from napari_tinymig.viewer.masks.locked_edits import lock

    image = eye(viewer)
    mask = with_mask(viewer, image, np.zeros((300, 320)))
    mask.data_setitem((np.array([140]), np.array([170])), 1)
    lock(mask, True)
    opened(viewer, panel, "away", "point")
    canvas_click(viewer, image, (140, 170))
    answered(panel)
    assert "held" in panel.message.text()
    assert mask.data.sum() == 1


@pytest.mark.parametrize("case", ["outside", "empty box", "not editable"])
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(viewer, panel, case):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point" if case != "empty box" else "box")
    if case == "outside":
        canvas_click(viewer, image, (-8, 170))
        words = "lies outside the image"
    elif case == "empty box":
        canvas_click(viewer, image, (140, 170))
        words = "is empty; expected at least 3 pixels"
    else:
        mask.editable = False
        panel.prompting.take("point", 1, False)
        canvas_click(viewer, image, (140, 170))
        words = "is locked (not editable)"
    answered(panel)
    assert words in panel.message.text()
    assert not mask.data.any()
    assert panel.prompting.marks.read() == []
    assert panel.prompting.session.prompts == []


def test_an_image_of_nan_is_refused_with_a_sentence_and_without_layers(viewer, panel):
    viewer.add_image(np.full((60, 70), np.nan), name="dark", contrast_limits=(0, 1))
    panel.tools.buttons["add"].click()
    wait_until(lambda: not panel.prompting.opening.running)
    assert "no finite number" in panel.message.text()
    assert [layer.name for layer in viewer.layers] == ["dark"]


def test_finished_objects_keep_their_pixels_and_lose_their_marks(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (140, 170))
    answered(panel)
    first = mask.data.copy()
    canvas_key(viewer, Qt.Key.Key_N)
    assert not len(panel.prompting.marks.points.data)
    canvas_click(viewer, image, (250, 60))
    answered(panel)
    assert (mask.data[first > 0] == 1).all()
    assert mask.data[250, 60] == 1


def test_an_accepted_mask_keeps_its_prompts_and_they_make_it_again(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    for at in ((140, 170), (150, 215)):
        canvas_click(viewer, image, at)
        answered(panel)
    canvas_key(viewer, Qt.Key.Key_G)
    assert "accepted" in panel.message.text()
    assert [layer.name for layer in viewer.layers] == ["eye", "eye structure"]
    assert viewer.layers.selection.active == mask
    prompts = [Prompt.from_dict(p) for p in mask.metadata["tinymig"]["prompts"]]
    again = napari_tinymig.prompt(photograph(), task="any", start=None)
    again.replay(prompts)
    np.testing.assert_array_equal(again.labels, mask.data)


def test_the_students_own_mask_is_the_start_where_there_is_a_student(viewer, models, panel):
    eye(viewer)
    panel.subject.structure.setCurrentIndex(panel.subject.structure.findData("optic"))
    panel.subject._structure_chosen(0)
    mask = opened(viewer, panel, "add", "point")
    assert dice(mask.data > 0, disk()) > 0.9
    assert mask.metadata["tinymig"]["task"]["name"] == "optic"
    assert mask.metadata["tinymig"]["model_id"].startswith("optic@")


def test_closing_the_image_or_the_panel_ends_the_session_and_leaves_the_mask(viewer, panel):
    image = eye(viewer)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (140, 170))  # and it is still at work
    viewer.layers.remove(image)
    assert panel.prompting.session is None
    assert [layer.name for layer in viewer.layers] == ["eye structure"]
    spin(0.5)
    other = eye(viewer)
    opened(viewer, panel, "add")
    canvas_click(viewer, other, (140, 170))
    viewer.window.remove_dock_widget(panel)
    spin(0.3)
    assert {layer.name for layer in viewer.layers} == {"eye", "eye structure", "eye structure [1]"} or mask is not None
    assert not [layer for layer in viewer.layers if layer.name.startswith(("eye prompts", "eye strokes"))]


def test_a_missing_engine_is_greyed_with_the_line_that_installs_it(viewer, model_folder, monkeypatch):
    from napari_tinymig.viewer.prompts import engine_chooser

    monkeypatch.setattr(engine_chooser, "missing", lambda: "LiteMedSAM needs torch")
    chooser = engine_chooser.EngineChooser()
    assert not chooser.model().item(1).isEnabled()
    assert "pip install 'napari-tinymig[medsam]'" in chooser.itemText(1)
    assert chooser.chosen == "student"


def test_the_keys_of_marks_belong_to_nobody_else_and_are_named(viewer, panel):
    from napari.layers import Image, Labels, Points, Shapes
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import _default_shortcuts as napari_keys

    from napari_tinymig.viewer.docks.keys import CASE_KEYS, CORRECT_KEYS
    from napari_tinymig.viewer.prompts.tools import KEYS

    ours = {coerce_keybinding(key) for key in KEYS.values()}
    assert len(ours) == len(KEYS)
    theirs = {coerce_keybinding(key) for keys in napari_keys.values() for key in keys}
    for layer in (Image, Labels, Points, Shapes):
        theirs |= set(layer.class_keymap)
    theirs |= {coerce_keybinding(k.key) for k in (*CASE_KEYS.values(), *CORRECT_KEYS.values())}
    assert not ours & theirs
    for name, key in KEYS.items():
        made = panel.tools.buttons.get(name) or panel.buttons.get(name) or panel.go
        assert made.toolTip().endswith(f"Key: {key}")


def test_a_key_takes_the_tool_and_begins(viewer, panel):
    eye(viewer)
    spin(0.1)
    canvas_key(viewer, Qt.Key.Key_W)
    wait_until(lambda: panel.prompting.session is not None)
    assert panel.tools.sign == "away"
    assert panel.tools.buttons["away"].isChecked()
    canvas_key(viewer, Qt.Key.Key_K)
    assert str(panel.prompting.marks.strokes.mode) == "add_rectangle"
    assert panel.tools.buttons["box"].isChecked()


def begin_leaf(panel):
    """Make the structure 'Leaf' with the panel's form, after a name was forgotten; its task."""
    from napari_tinymig.annotations.structures import own_structures
    from napari_tinymig.viewer.prompts.subject import NEW_STRUCTURE

    chooser = panel.subject.structure
    chooser.setCurrentIndex(chooser.findData(NEW_STRUCTURE))
    chooser.activated.emit(chooser.currentIndex())
    assert not panel.form.isHidden()
    click(panel, "Begin")
    assert "expected a word" in panel.message.text()
    panel.form.classes[0].name.setText("Leaf")
    click(panel, "Begin")
    task = own_structures()["leaf"]
    assert panel.subject.task == task
    assert panel.form.isHidden()
    assert not panel.teach.run.go.isEnabled()
    return task


def accept_leaf(viewer, panel, number):
    """Open a picture of leaves, paint and box its leaf, take the box back, accept."""
    picture, truth = leaf_picture(number)
    viewer.layers.clear()
    viewer.add_image(picture, rgb=True, name=f"leaf {number}")
    assert panel.subject.task.name == "leaf"
    mask = opened(viewer, panel, "add", "box")
    mask.data_setitem(np.nonzero(truth), 1)
    rows, columns = np.nonzero(truth)
    low, high = (int(rows.min()), int(columns.min())), (int(rows.max()), int(columns.max()))
    canvas_drag(viewer, viewer.layers[f"leaf {number}"], [low, (low[0] + 9, low[1] + 9), high])
    answered(panel)
    assert [p.kind for p in panel.prompting.session.prompts] == ["edit", "box"]
    panel.prompting.undo()
    click(panel, "Accept")
    assert f"is case {number + 1} of 'Leaf'" in panel.message.text()


def test_a_new_structure_is_named_mended_in_five_images_trained_and_offered_by_segment(viewer, panel, model_folder):
    from napari_tinymig.annotations.annotation_set import read_cases
    from napari_tinymig.annotations.structures import set_folder
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    segmenting = dock(viewer, SegmentPanel)
    viewer.add_image(leaf_picture(0)[0], rgb=True, name="leaf")
    task = begin_leaf(panel)
    for number in range(5):
        accept_leaf(viewer, panel, number)
    assert len(read_cases(set_folder(task))) == 5
    assert "Enough for a model" in panel.teach.line.text()
    panel.teach.minutes.setValue(0.3)
    click(panel, "Train a model")
    wait_until(lambda: not panel.teach.run.running, 300, "the training")
    assert "The model 'leaf' is ready" in panel.message.text()
    picture, truth = leaf_picture(50)
    viewer.layers.clear()
    viewer.add_image(picture, rgb=True, name="another")
    wait_until(lambda: not segmenting.guessing.running)
    segmenting.task.setCurrentIndex(segmenting.task.findData("leaf"))
    assert segmenting.chosen_task == "leaf"
    segmenting.segment()
    wait_until(lambda: not segmenting.work.running and segmenting.result is not None, what="the mask")
    assert dice(segmenting.result.data > 0, truth > 0) > 0.8
    session = napari_tinymig.prompt(picture, task="leaf")
    assert dice(session.labels > 0, truth > 0) > 0.8
    assert session.prediction.model_id.startswith("leaf@")
