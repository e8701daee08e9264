"""A session of the Prompt panel: how it begins and ends, what it refuses, what it leaves behind."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_panel_parts import answered, dice, disk, eye, opened, prompt_panel, with_mask
from qtpy.QtCore import Qt
from viewer_parts import (
    canvas_click,
    canvas_key,
    photograph,
    spin,
    wait_until,
)

import napari_tinymig
from napari_tinymig.prompts.records import Prompt

pytestmark = pytest.mark.viewer


@pytest.fixture
def panel(viewer, model_folder):
    return prompt_panel(viewer)


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
    panel.subject.structure_chosen(0)
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
