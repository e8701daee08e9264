"""napari's own undo and redo: state, number, journal and pictures go back with the mask."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from viewer_parts import canvas_drag, canvas_key, photograph, wait_until

from napari_tinymig.annotations.journal import SUFFIX, read_journal, state_folder
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.viewer.cases.worklist import hold_worklist, let_worklist_go
from napari_tinymig.viewer.masks.journal_keeper import hold_keeper, let_keeper_go
from napari_tinymig.viewer.masks.mask_state import headline
from napari_tinymig.viewer.napari_io.layers import result_layer

pytestmark = pytest.mark.viewer


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(photograph(), name="eye")
    return viewer


@pytest.fixture
def mask(viewer):
    labels = np.zeros((300, 320), np.uint8)
    labels[90:190, 120:220], labels[120:160, 150:190] = 1, 2
    layer = viewer.add_layer(result_layer(viewer.layers["eye"], labels, OPTIC, "eye mask", {}))
    viewer.layers.selection.active = layer
    return layer


def test_undo_in_the_canvas_takes_state_number_and_journal_back_by_itself(viewer, mask):
    worklist, keeper = hold_worklist(viewer), hold_keeper(viewer)
    try:
        (case,) = worklist.book.cases
        assert (case.state, case.number) == ("segmented", "vertical CDR 0.40")
        predicted = mask.data.copy()
        mask.brush_size, mask.selected_label, mask.mode = 30, 2, "paint"
        canvas_drag(viewer, mask, [(100, 170), (180, 170)])
        painted, number = mask.data.copy(), headline(mask)
        wait_until(lambda: (case.state, case.number) == ("mended", number), 10, "the stroke's state and number")
        assert number != "vertical CDR 0.40"
        keeper.settle()
        redo = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        undo = Qt.KeyboardModifier.ControlModifier
        for keys, labels, now in ((undo, predicted, "segmented"), (redo, painted, "mended")):
            canvas_key(viewer, Qt.Key.Key_Z, keys)
            np.testing.assert_array_equal(mask.data, labels)
            told = now, "vertical CDR 0.40" if now == "segmented" else number
            wait_until(lambda told=told: (case.state, case.number) == told, 10, f"the state {now}")
            wait_until(lambda labels=labels: np.array_equal(_journals()[0], labels), 10, "the journal")
    finally:
        let_keeper_go(viewer)
        let_worklist_go(viewer)


def _journals():
    return [read_journal(path).labels for path in state_folder().glob(f"*{SUFFIX}")]


def test_labels_that_a_panel_puts_in_are_no_strokes(qapp):
    viewer = ViewerModel()
    mask = viewer.add_labels(np.zeros((300, 320), np.uint8))
    keeper = hold_keeper(viewer)
    try:
        for share in (0.2, 0.5):
            mask.data = np.where(np.arange(320) < 320 * share, 1, 0).astype(np.uint8) * np.ones((300, 1), np.uint8)
        keeper.settle()
        assert _journals() == []
    finally:
        let_keeper_go(viewer)
