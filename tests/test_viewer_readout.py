"""The Read-out in a real window: numbers follow the brush, undo and the slice, and name their mask."""

from __future__ import annotations

import numpy as np
import pytest
from viewer_parts import dock, photograph, segment, wait_until

pytestmark = pytest.mark.viewer


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
    assert panel.rows.rows()["disc, cup area"] == "10201, 2601 px²"
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
