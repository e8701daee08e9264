"""Going from case to case with other panels open: panels and layers alone, without a window of napari."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from viewer_parts import open_file, photograph, spin, volume

from napari_tinymig.tasks.prostate import PROSTATE
from napari_tinymig.viewer.cases.worklist import hold_worklist, let_worklist_go
from napari_tinymig.viewer.napari_io.layers import result_layer
from napari_tinymig.viewer.parts.numbers import NumberRows
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
