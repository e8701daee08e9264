"""Marks in a real window, with a real mouse: what is marked holds, the mask follows, all can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_panel_parts import answered, dice, disk, eye, opened, prompt_panel, with_mask
from qtpy.QtCore import Qt
from viewer_parts import (
    canvas_click,
    canvas_drag,
    canvas_key,
    click,
    photograph,
    spin,
    wait_until,
)

pytestmark = pytest.mark.viewer


@pytest.fixture
def panel(viewer, model_folder):
    return prompt_panel(viewer)


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
