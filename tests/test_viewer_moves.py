"""Going from case to case with other panels open: panels and layers alone, without a window of napari."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from viewer_parts import photograph, spin, volume

from napari_tinymig.tasks.prostate import PROSTATE
from napari_tinymig.viewer.cases.worklist import hold_worklist, let_worklist_go
from napari_tinymig.viewer.napari_io.layers import result_layer
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


def test_a_photograph_opened_after_volumes_were_closed_meets_no_stale_picture(viewer, book, qtbot):
    planes = PlanesPanel(viewer)
    qtbot.addWidget(planes)
    planes.position = np.zeros(3)
    add_volume(viewer, "scan")
    viewer.layers.clear()
    viewer.add_image(photograph(), name="eye")
    book.go(book.cases[0])
    assert [case.name for case in book.cases] == ["eye"]
    assert planes.views == []
    planes.release()
