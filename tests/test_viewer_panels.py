"""The panels in a real window, used as a user does: choose, click, wait, paint, undo, save."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QDialog, QTextBrowser
from viewer_parts import click, dock, photograph, spin, volume, wait_until

pytestmark = pytest.mark.viewer


def segment(panel, task):
    panel.task.setCurrentIndex(panel.task.findData(task))
    before = panel.result
    click(panel, "Segment")
    wait_until(lambda: not panel.work.running and panel.result is not before, what="the mask")
    return panel.result


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
    assert "2 locked pixels" in segmenting.message.text()


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


def test_the_readout_follows_paint_and_undo(viewer, models):
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.viewer.napari_io.layers import result_layer
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    image = viewer.add_image(photograph(), rgb=True, name="eye")
    labels = np.zeros((300, 320), np.uint8)
    labels[80:181, 120:221] = 1  # 101 px high
    labels[105:156, 145:196] = 2  # 51 px high
    panel = dock(viewer, ReadoutPanel)
    assert not panel.empty.isHidden()
    layer = viewer.add_layer(result_layer(image, labels, OPTIC, "mask", {}))
    assert "0.50" in panel.big.text()
    layer.selected_label, layer.brush_size, layer.brush_shape = 2, 5, "square"
    layer.paint((160, 170), 2)  # the cup now reaches row 162: 58 px
    wait_until(lambda: "0.57" in panel.big.text(), 1.0, "the number to follow the brush")
    layer.undo()
    wait_until(lambda: "0.50" in panel.big.text(), 1.0, "the number to follow undo")
    assert panel.rows.rows()["disc, cup area"] == "10201, 2601 px"
    panel.eye.setCurrentIndex(1)
    wait_until(lambda: "rim, nasal" in panel.rows.rows(), 1.0)


def test_volume_and_diameters_have_units_and_follow_the_slice(viewer):
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    labels = np.zeros((10, 40, 40), np.uint8)
    labels[2:8, 10:30, 5:35] = 1  # 6 x 20 x 30 voxels of 3 x 0.5 x 0.5 mm
    viewer.add_labels(labels, scale=(3, 0.5, 0.5), units=("mm",) * 3)
    panel = dock(viewer, ReadoutPanel)
    rows = panel.rows.rows()
    assert "2.7 mL" in panel.big.text()  # 3600 x 0.75 mm3
    assert rows["transverse diameter"] == "15 mm"
    assert rows["antero-posterior"] == "10 mm"
    assert rows["craniocaudal"] == "18 mm"
    viewer.dims.set_point(0, 3.0)
    wait_until(lambda: panel.rows.rows().get("slice 1") == "0.0 cm²", 1.0)
    viewer.dims.set_point(0, 9.0)
    wait_until(lambda: panel.rows.rows().get("slice 3") == "1.5 cm²", 1.0)


def test_without_a_spacing_numbers_are_voxels(viewer):
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    labels = np.zeros((10, 40, 40), np.uint8)
    labels[2:8, 10:30, 5:35] = 1
    viewer.add_labels(labels)
    panel = dock(viewer, ReadoutPanel)
    assert "3600 voxels" in panel.big.text()
    assert panel.rows.rows()["transverse diameter"] == "not measurable"
    assert "px" in panel.note.text()


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


def test_the_readout_names_the_mask_it_measures(viewer, models):
    from napari_tinymig.viewer.readout.panel import ReadoutPanel
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    segment(panel, "optic")
    readout = dock(viewer, ReadoutPanel)
    readout.measure_now()
    assert readout.numbers.heading.text() == "eye mask"


def test_the_cup_slider_moves_the_cup_inside_its_disc_as_one_undoable_edit(viewer):
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.viewer.napari_io.layers import result_layer
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    image = viewer.add_image(photograph(), rgb=True, name="eye")
    y, x = np.mgrid[:300, :320]
    away = np.hypot(y - 130, x - 170)
    labels = np.uint8(away <= 60) + np.uint8(away <= 30)  # 121 px high, cup 61
    layer = viewer.add_layer(result_layer(image, labels, OPTIC, "mask", {}))
    panel = dock(viewer, ReadoutPanel)
    assert "0.50" in panel.big.text()
    panel.cup.slider.setValue(10)
    panel.cup.slider.setValue(20)  # one unit of log-odds: 61 of 121 px become 89
    wait_until(lambda: "0.74" in panel.big.text(), 2.0, "the number to follow the slider")
    assert ((layer.data > 0) == (labels > 0)).all()
    assert panel.cup.value.text() == "+1.00"
    assert panel.cup.slider.width() > 150  # wide enough to be moved by hand
    layer.undo()
    wait_until(lambda: "0.50" in panel.big.text(), 2.0, "the number to follow undo")
    assert (layer.data == labels).all()
    assert panel.cup.slider.value() == 0
    panel.cup.slider.setValue(-20)
    wait_until(lambda: "0.27" in panel.big.text(), 2.0)
    layer.selected_label, layer.brush_size = 2, 9
    layer.paint((130, 200), 2)
    wait_until(lambda: panel.cup.slider.value() == 0, 2.0, "the slider to speak of the painted mask")
    assert layer.data[130, 200] == 2
