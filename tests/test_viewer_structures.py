"""A structure of one's own in the viewer: named, marked in five images, trained, offered by Segment."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_leaves import leaf_picture
from prompt_panel_parts import answered, dice, opened, prompt_panel
from viewer_parts import (
    canvas_drag,
    click,
    dock,
    wait_until,
)

import napari_tinymig

pytestmark = pytest.mark.viewer


@pytest.fixture
def panel(viewer, model_folder):
    return prompt_panel(viewer)


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
