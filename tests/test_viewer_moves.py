"""Going from case to case with other panels open: panels and layers alone, without a window of napari."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget
from viewer_parts import open_file, photograph, spin, volume

from napari_tinymig.tasks.prostate import PROSTATE
from napari_tinymig.viewer.cases.worklist import hold_worklist, let_worklist_go
from napari_tinymig.viewer.napari_io.layers import result_layer
from napari_tinymig.viewer.parts.numbers import BigNumber, NumberRows
from napari_tinymig.viewer.parts.theme import MARGIN, MIN_WIDTH
from napari_tinymig.viewer.planes.panel import PlanesPanel
from napari_tinymig.viewer.segment.panel import SegmentPanel

pytestmark = pytest.mark.viewer


@pytest.fixture
def viewer(qapp, model_folder):
    return ViewerModel()


@pytest.fixture
def book(viewer):
    yield hold_worklist(viewer).book
    let_worklist_go(viewer)


def add_volume(viewer, name):
    return viewer.add_image(volume()[0], name=name, scale=(3, 0.5, 0.5), units=("mm",) * 3)


@pytest.mark.parametrize("panel", [SegmentPanel, PlanesPanel])
def test_a_case_is_left_once_and_comes_back_with_its_mask_while_choosers_follow(viewer, book, panel, qtbot):
    first, second = add_volume(viewer, "first"), add_volume(viewer, "second")
    opened = panel(viewer)
    qtbot.addWidget(opened)
    mask = viewer.add_layer(result_layer(first, volume()[1].astype(np.uint8), PROSTATE, "first mask", {}))
    left = []
    book.leaving.connect(lambda case: left.append(case.name))
    book.go(book.case_of(first))
    book.go(book.case_of(second))
    spin(0.1)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["second"]
    book.go(book.case_of(first))
    spin(0.1)
    assert first.visible
    assert mask.visible
    assert left[-2:] == ["first", "second"]
    opened.release()


def test_the_mask_of_an_image_that_was_closed_does_not_lie_on_the_next_one(viewer, book):
    for name in ("first", "second"):
        image = add_volume(viewer, name)
        viewer.add_layer(result_layer(image, volume()[1].astype(np.uint8), PROSTATE, f"{name} mask", {}))
    book.go(book.case_of(viewer.layers["second"]))
    viewer.layers.remove("second")
    spin(0.05)
    book.go(book.case_of(viewer.layers["first"]))
    assert [layer.name for layer in viewer.layers if layer.visible] == ["first", "first mask"]
    viewer.layers.remove("first")  # the last one: its mask is all that is left to see
    assert viewer.layers["first mask"].visible


def test_all_layers_can_be_closed_and_a_photograph_opened_while_planes_are_shown(viewer, book, qtbot, tmp_path):
    nibabel.save(nibabel.Nifti1Image(volume()[0].T, np.diag([0.5, 0.5, 3, 1])), tmp_path / "scan.nii.gz")
    planes = PlanesPanel(viewer)
    qtbot.addWidget(planes)
    open_file(viewer, tmp_path / "scan.nii.gz")
    assert planes.views
    viewer.dims.set_point(0, 9.0)
    viewer.layers.clear()
    assert (planes.views, book.cases) == ([], [])
    viewer.add_image(photograph(), name="eye")
    assert [case.name for case in book.cases] == ["eye"]
    planes.release()


@pytest.mark.parametrize("name", ["home images", "images of persons never trained on (target: another hospital)"])
def test_rows_of_numbers_never_ask_for_more_than_the_dock_has(qtbot, name):
    rows = NumberRows()
    qtbot.addWidget(rows)
    rows.set_rows({name: "0.93 (0.90-0.95)", "expected Dice, cup": "0.88 (0.80-0.93)"})
    assert rows.minimumSizeHint().width() <= MIN_WIDTH - 4 * MARGIN
    lines = 2 if len(name) < 20 else 4
    assert rows.sizeHint().height() <= lines * (rows.fontMetrics().height() + 4)  # no empty strips between them


def test_a_bar_is_never_full_while_the_mask_is_still_added(viewer, qtbot):
    panel = SegmentPanel(viewer)
    qtbot.addWidget(panel)
    told = panel.work.on_progress
    told((1, 3))
    assert (panel.bar.value(), panel.bar.maximum()) == (1, 3)
    told((3, 3))
    assert panel.bar.maximum() == 0  # moves without saying how far
    panel.release()


def middle_of(layer):
    return np.asarray(layer.extent.world)[:, -2:].mean(axis=0)


def test_a_case_in_the_corner_of_all_images_together_is_framed_once_it_is_alone(viewer, book):
    large = viewer.add_image(photograph((600, 640)), name="large")
    small = viewer.add_image(photograph((100, 120)), name="small")
    viewer.reset_view()
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], middle_of(large), atol=1)
    far_away = viewer.scene.camera.zoom
    book.alone()
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], middle_of(small), atol=1)
    assert viewer.scene.camera.zoom > 3 * far_away
    book.step(-1)
    viewer.scene.camera.zoom = 7.0
    book.step(1)
    book.step(-1)
    assert viewer.scene.camera.zoom == 7.0


def test_a_user_who_moved_the_camera_finds_it_where_it_was_when_the_case_is_alone(viewer, book):
    viewer.add_image(photograph((600, 640)), name="large")
    viewer.add_image(photograph((300, 320)), name="small")
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0.0, 140.0, 170.0), 5.0
    book.alone()
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (140, 170))
    assert viewer.scene.camera.zoom == 5.0


def test_what_was_said_of_cases_goes_with_them(viewer, book, qtbot):
    opened = SegmentPanel(viewer)
    qtbot.addWidget(opened)
    viewer.add_image(photograph(), name="first")
    opened.worklist.said.emit("1 of 1 segmented.", "good")
    assert opened.message.text() == "1 of 1 segmented."
    viewer.layers.clear()
    assert opened.message.text() == ""
    opened.worklist.said.emit("This is the last case.", "plain")
    viewer.add_image(photograph(), name="second")
    assert opened.message.text() == ""
    opened.release()


def test_a_changed_digit_lays_nothing_out_again_and_a_longer_number_is_not_cut(qtbot):
    class Laid(QObject):
        times = 0

        def eventFilter(self, watched, event):
            self.times += event.type() == QEvent.Type.LayoutRequest
            return False

    holder, laid = QWidget(), Laid()
    qtbot.addWidget(holder)
    column, rows, big = QVBoxLayout(holder), NumberRows(live=True), BigNumber()
    column.addWidget(big)
    column.addWidget(rows)
    holder.show()

    def show(volume, slice_area):
        big.show_number("gland volume", volume)
        rows.set_rows({"ellipsoid formula": volume, "slice 9": slice_area})
        spin(0.1)

    show("40.4 mL", "9.1 cm²")
    show("40.5 mL", "9.2 cm²")
    for watched in (holder, rows):
        watched.installEventFilter(laid)
    show("41.7 mL", "9.4 cm²")
    assert laid.times == 0
    show("1000000.7 mL", "123456789.0 cm²")
    assert laid.times > 0
    values = [label for label in rows.findChildren(QLabel) if label.text().endswith(("mL", "cm²"))]
    assert len(values) == 2
    for label in values:
        assert label.width() >= label.sizeHint().width()
    assert len({label.mapTo(holder, label.rect().topRight()).x() for label in values}) == 1
    assert big.width() >= big.sizeHint().width()
