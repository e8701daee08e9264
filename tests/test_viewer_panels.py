"""The panels in a real window, used as a user does: choose, click, wait, paint, undo, save."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QDialog, QTextBrowser
from viewer_parts import click, dock, photograph, segment, spin, volume, wait_until

pytestmark = pytest.mark.viewer


def test_a_photograph_becomes_a_labels_layer_in_the_same_place(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    assert not panel.go.isEnabled()  # nothing to segment yet, and an empty state that says so
    assert not panel.empty.isHidden()
    image = viewer.add_image(
        photograph(), rgb=True, name="eye", scale=(0.01, 0.02), translate=(3, 4), units=("mm", "mm"), rotate=30
    )
    before = {k: np.array(getattr(image, k)).copy() for k in ("scale", "translate", "rotate", "shear")}
    labels = segment(panel, "optic")
    for key, value in before.items():
        np.testing.assert_array_equal(getattr(image, key), value)  # the user's layer is never changed
        np.testing.assert_array_equal(getattr(labels, key), value)
    np.testing.assert_array_equal(labels.affine.affine_matrix, image.affine.affine_matrix)
    assert labels.units == image.units
    assert labels.axis_labels == image.axis_labels
    assert labels.data.dtype == np.uint8
    assert labels.data.shape == (300, 320)
    assert set(np.unique(labels.data)) == {0, 1, 2}
    assert list(labels.features["class"]) == ["background", "disc rim", "cup"]
    assert {None, 0, 1, 2} <= set(labels.colormap.color_dict)
    assert float(panel.result_card.rows.rows()["vertical CDR"]) == pytest.approx(0.5, abs=0.02)  # 61 px over 121 px


def test_only_layers_that_fit_are_listed(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    viewer.add_points([[1, 1]])
    viewer.add_image(np.zeros((2, 3, 4, 5)), name="four dimensions")
    viewer.add_image(np.zeros((40, 8, 3), np.uint8), rgb=True, name="a strip")
    viewer.add_labels(np.zeros((20, 20), np.uint8))
    assert panel.images.layer is None
    viewer.add_image(photograph(), rgb=True, name="eye")
    assert [panel.images.itemText(i) for i in range(panel.images.count())] == ["eye"]
    viewer.layers["eye"].name = "left eye"
    assert panel.images.currentText() == "left eye"
    viewer.layers.remove("left eye")
    assert panel.images.layer is None
    assert not panel.go.isEnabled()


def test_a_volume_gives_millilitres_and_probability_layers(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    pixels, ball = volume()
    viewer.add_image(pixels, name="T2", scale=(3, 0.5, 0.5), units=("mm",) * 3)
    wait_until(lambda: panel.chosen_task == "prostate", what="the task to be found")
    panel.probabilities.setChecked(True)
    labels = segment(panel, None)
    assert np.mean((labels.data > 0) == ball) > 0.98
    expected = np.count_nonzero(labels.data) * 3 * 0.5 * 0.5 / 1000
    assert panel.result_card.rows.rows()["gland volume"] == f"{expected:.1f} mL"
    assert viewer.layers["T2 p(gland)"].data.shape == pixels.shape


def test_nothing_found_is_said_with_a_cause(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    dark = np.full((200, 200, 3), 20, np.uint8)
    dark[5, 5] = 40  # not constant, but nothing in it
    viewer.add_image(dark, rgb=True, name="dark")
    labels = segment(panel, "optic")
    assert not labels.data.any()
    assert panel.result_card.badge.text() == "nothing found"
    assert len(panel.result_card.notes.text()) > 20


def test_an_image_that_cannot_be_used_gives_a_sentence_and_no_layer(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    viewer.add_image(np.full((200, 200, 3), 20, np.uint8), rgb=True, name="constant")
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    click(panel, "Segment")
    wait_until(lambda: not panel.work.running)
    assert "constant" in panel.message.text()
    assert len(viewer.layers) == 1


def test_a_drawn_rectangle_is_where_the_network_looks(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel
    from napari_tinymig.viewer.segment.region import ROIS

    panel = dock(viewer, SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye", scale=(2, 2))
    viewer.add_shapes([[[120, 180], [120, 500], [440, 500], [440, 180]]], shape_type="rectangle", name="region")
    panel.roi.setCurrentIndex(list(ROIS.values()).index("rectangle"))
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    # world / 2 = pixel centres, + 0.5 = pixel edges
    assert panel.request().roi == pytest.approx((60.5, 90.5, 220.5, 250.5))
    labels = segment(panel, "optic")
    outside = labels.data.copy()
    outside[60:221, 90:251] = 0
    assert not outside.any()


def test_locked_edits_survive_a_new_prediction(viewer, models):
    from napari_tinymig.viewer.correct import CorrectPanel
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    segmenting, correcting = dock(viewer, SegmentPanel), dock(viewer, CorrectPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    first = segment(segmenting, "optic")
    first.data_setitem((np.array([5, 6]), np.array([7, 7])), 2)
    correcting.layers.choose(first)
    correcting.lock.click()
    assert "2 px" in correcting.locked.text()
    second = segment(segmenting, "optic")
    assert second is not first
    assert (second.data[[5, 6], [7, 7]] == 2).all()
    assert (first.visible, second.visible) == (False, True), "two masks over each other show neither"
    told = "2 locked pixels were kept as you painted them. 'eye mask', which you mended, stays as a hidden layer."
    assert segmenting.message.text() == told


def test_a_mended_mask_that_is_not_locked_stays_hidden_too(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    first = segment(panel, "optic")
    first.data_setitem((np.array([5]), np.array([7])), 2)
    second = segment(panel, "optic")
    assert (first.visible, second.visible, first.data[5, 7], second.data[5, 7]) == (False, True, 2, 0)
    assert panel.message.text() == "'eye mask', which you mended, stays as a hidden layer."


def test_clean_islands_says_why_it_leaves_two_large_parts(viewer, models):
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.viewer.correct import CorrectPanel
    from napari_tinymig.viewer.napari_io.layers import result_layer

    image = viewer.add_image(photograph(), rgb=True, name="eye")
    labels = np.zeros((300, 320), np.uint8)
    labels[50:80, 50:80], labels[150:165, 150:170] = 1, 1  # 900 and 300 px
    viewer.add_layer(result_layer(image, labels, OPTIC, "mask", {}))
    panel = dock(viewer, CorrectPanel)
    panel.edits["clean"]()
    assert panel.message.text() == (
        "Islands: none of the 2 parts is smaller than a tenth of the largest; erase what does not belong with the "
        "brush and label 0."
    )
    panel.edits["lock"]()
    assert panel.message.text() == "", "another key, another answer"
    panel.edits["smooth"]()
    assert panel.message.text().startswith("Smooth: ")


def test_an_answer_to_a_key_goes_by_itself_and_takes_nothing_newer_along(viewer, monkeypatch):
    from napari_tinymig.viewer.parts import style
    from napari_tinymig.viewer.parts.panel import Panel

    monkeypatch.setattr(style, "PASSING_MS", 150)
    panel = dock(viewer, Panel)
    panel.say("This is the last case.", "passing")
    assert not panel.message.isHidden()
    assert panel.message.text() == "This is the last case."
    wait_until(panel.message.isHidden, 5)
    panel.say("This is the last case.", "passing")
    panel.say("The disk is full; free some space.", "bad")
    spin(0.4)
    assert panel.message.text() == "The disk is full; free some space."


def test_every_correction_is_one_undo(viewer, models):
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.viewer.correct import CorrectPanel
    from napari_tinymig.viewer.napari_io.layers import result_layer

    image = viewer.add_image(photograph(), rgb=True, name="eye")
    labels = np.zeros((300, 320), np.uint8)
    y, x = np.ogrid[:300, :320]
    labels[np.hypot(y - 140, x - 170) <= 60] = 1
    labels[np.hypot(y - 140, x - 170) <= 25] = 2
    labels[10:13, 10:13] = 1  # an island
    labels[150, 190] = 0  # a hole
    labels[138:142, 175:260] = 2  # the cup sticks out
    layer = viewer.add_layer(result_layer(image, labels, OPTIC, "mask", {}))
    panel = dock(viewer, CorrectPanel)
    for text in ("Clean islands", "Fill holes", "Keep cup in disc", "Smooth", "Fit ellipses"):
        before = layer.data.copy()
        click(panel, text)
        assert "px changed" in panel.message.text(), text
        assert (layer.data != before).any(), text
        layer.undo()
        np.testing.assert_array_equal(layer.data, before, err_msg=text)
        layer.redo()
    assert not layer.data[10:13, 10:13].any()
    for _ in range(5):
        layer.undo()
    np.testing.assert_array_equal(layer.data, labels)


def test_slices_are_interpolated_and_copied_in_the_axis_on_show(viewer):
    from napari_tinymig.viewer.correct import CorrectPanel

    labels = np.zeros((9, 40, 40), np.uint8)
    labels[1, 10:20, 10:20] = labels[5, 10:20, 10:20] = 1
    layer = viewer.add_labels(labels, scale=(3, 1, 1))
    panel = dock(viewer, CorrectPanel)
    click(panel, "Interpolate")
    assert (layer.data[1:6, 12:18, 12:18] == 1).all()
    layer.undo()
    viewer.dims.set_point(0, 5 * 3)
    click(panel, "Copy to next slice")
    np.testing.assert_array_equal(layer.data[6], layer.data[5])
    assert viewer.dims.current_step[0] == 6  # and goes there


def test_correction_keys_belong_to_nobody_else(viewer):
    from napari.layers import Labels
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import _default_shortcuts as napari_keys

    from napari_tinymig.viewer.correct import KEYS, CorrectPanel

    ours = {coerce_keybinding(key) for key in KEYS.values()}
    assert len(ours) == len(KEYS)
    theirs = {
        coerce_keybinding(key)
        for action, keys in napari_keys.items()
        for key in keys
        if "shapes" not in action and "polygon" not in action and "add_" not in action
    }
    theirs |= set(Labels.class_keymap)
    assert not ours & theirs
    panel = dock(viewer, CorrectPanel)
    for key in KEYS.values():
        text = key.replace("-", "+")
        shown = [w.text() for w in (*panel.findChildren(type(panel.cup)), panel.lock)]
        assert any(text in s for s in shown)  # every key is listed in the panel


def test_a_cancelled_prediction_adds_nothing_and_the_next_one_counts(viewer, models, monkeypatch):
    from napari_tinymig.viewer.parts.predicting import predict
    from napari_tinymig.viewer.segment import panel as segment_panel

    panel = dock(viewer, segment_panel.SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    panel.task.setCurrentIndex(panel.task.findData("optic"))

    def slow(request, report):
        answer = predict(request, report)
        spin_in_thread(0.5)
        return answer

    monkeypatch.setattr(segment_panel, "predict", slow)
    click(panel, "Segment")
    assert panel.work.running
    spin(0.1)
    click(panel, "Cancel")
    assert not panel.work.running
    spin(0.8)  # the thread has answered meanwhile; its answer is dropped
    assert len(viewer.layers) == 1
    monkeypatch.setattr(segment_panel, "predict", predict)
    segment(panel, "optic")
    assert len(viewer.layers) == 2


def spin_in_thread(seconds):
    import time

    time.sleep(seconds)


def test_the_about_box_says_versions_device_models_and_what_it_is_not_for(viewer, models):
    from napari_tinymig.viewer.about import NOTICE, AboutDialog

    dialog = AboutDialog(theme="light")
    text = dialog.text.text()
    for expected in ("napari-tinymig", "onnxruntime", "device CPU", "model optic@", "Python 3"):
        assert expected in text
    assert "Not a medical device" in NOTICE
    dialog.deleteLater()


def test_the_drawn_samples_open_with_their_units(viewer, models):
    from napari_tinymig.viewer.napari_io.samples import fundus, prostate

    (pixels, attributes, kind), *_ = fundus()
    assert kind == "image"
    assert viewer.add_image(pixels, **attributes).rgb
    (pixels, attributes, kind), *_ = prostate()
    layer = viewer.add_image(pixels, **attributes)
    assert layer.ndim == 3
    assert {str(u) for u in layer.units} == {"millimeter"}


def test_a_model_card_shows_task_training_and_licence(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    click(panel, "model card")
    (dialog,) = (d for d in panel.findChildren(QDialog) if d.isVisible())
    text = dialog.findChild(QTextBrowser).toPlainText()
    assert "Optic disc and cup" in text
    assert "licence" in text
    dialog.close()


def test_numbers_name_their_image_and_go_with_it(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    first = viewer.add_image(photograph(), rgb=True, name="first eye")
    labels = segment(panel, "optic")
    assert not panel.result_card.isHidden()
    assert panel.result_card.heading.text() == "Result: first eye"
    second = viewer.add_image(photograph(), rgb=True, name="second eye")
    panel.images.setCurrentText("second eye")
    assert panel.images.layer == second  # napari hands out proxies of layers
    assert panel.result_card.isHidden()  # nothing is known of the second eye yet
    segment(panel, "optic")
    assert panel.result_card.heading.text() == "Result: second eye"
    viewer.layers.remove(first)
    viewer.layers.remove(labels)
    assert not panel.result_card.isHidden()  # another image's mask may go
    viewer.layers.remove(panel.result)
    assert panel.result_card.isHidden()


def test_a_failed_prediction_leaves_no_numbers_of_the_one_before(viewer, models, monkeypatch):
    from napari_tinymig.viewer.segment import panel as segment_panel

    panel = dock(viewer, segment_panel.SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    segment(panel, "optic")

    def fails(*_):
        raise ValueError("no such thing")

    monkeypatch.setattr(segment_panel, "predict", fails)
    click(panel, "Segment")
    wait_until(lambda: not panel.work.running, what="the failure")
    assert panel.result_card.isHidden()
