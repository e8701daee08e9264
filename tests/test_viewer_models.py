"""The Models panel in a real window: the tree, and everything that can be done with a model."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication
from viewer_parts import click, dock, photograph, wait_until

from napari_tinymig.models.lineage import acceptance_of
from napari_tinymig.models.registry import default_model, list_models
from napari_tinymig.recipes.student import Lineage
from napari_tinymig.tasks.optic import OPTIC

pytestmark = pytest.mark.viewer

GAIN = {"name": "cup", "before": [0.7, 0.8], "after": [0.8, 0.9], "gain": 0.1}


@pytest.fixture
def family(make_model, models):
    """optic <- camera-b (kept) <- camera-b2 (refused by the acceptance check), and prostate."""
    parent = next(e for e in list_models() if e.name == "optic").model_id
    for name, keep in (("camera-b", True), ("camera-b2", False)):
        acceptance = {
            "keep": keep,
            "reasons": ["Refused: no gain."] * (not keep),
            "gains": [GAIN],
            "proxy": {"drawn": 0.97},
        }
        lineage = Lineage(parent=parent, data_hashes=("0123456789abcdef", "b", "c", "d"), domains=("b",))
        made = make_model(
            name, OPTIC, [-0.1, 0.5], folder=models, lineage=lineage, scores={"finetune": acceptance, "number": name}
        )
        parent = made.model_id
    return models


def choose(panel, name):
    panel.tree.show_models(name)
    assert panel.tree.chosen_name == name


@pytest.fixture
def panel(viewer, family):
    from napari_tinymig.viewer.models.panel import ModelsPanel

    return dock(viewer, ModelsPanel)


def titles(item):
    return {item.child(i).text(0): titles(item.child(i)) for i in range(item.childCount())}


def test_the_tree_shows_the_lineage_the_default_and_what_is_known(panel):
    whole = titles(panel.tree.invisibleRootItem())
    assert whole["\u2605 optic"] == {"camera-b": {"camera-b2": {}}}
    choose(panel, "camera-b")
    rows = panel.rows.rows()
    assert rows["from"].startswith("optic@")
    assert rows["data"] == "01234567 and 3 more"
    assert panel.rows.toolTip() == "Learned from: 01234567, b, c, d"
    assert rows["cup Dice"] == "75.0 -> 85.0"
    assert rows["acceptance check"] == "agreed"
    assert panel.tree.selectedItems()[0].text(2) == "+10.0"


def test_a_model_is_made_the_default_and_rolled_back_and_a_refused_one_asks(panel):
    choose(panel, "camera-b")
    click(panel, "Make default")
    assert default_model("optic") == "camera-b"
    assert not panel.default_button.isEnabled()
    choose(panel, "camera-b2")
    click(panel, "Make default")
    assert default_model("optic") == "camera-b", "the first press asks"
    assert "Refused: no gain. Press again" in panel.message.text()
    click(panel, "Yes, I know")
    assert default_model("optic") == "camera-b2"
    click(panel, "Roll back")
    assert default_model("optic") == "camera-b"


def test_rename_export_import_and_delete(panel, tmp_path):
    choose(panel, "camera-b")
    panel.name.setText("our camera")
    click(panel, "Rename")
    assert panel.tree.chosen_name == "our camera", panel.message.text()
    assert titles(panel.tree.invisibleRootItem())["\u2605 optic"] == {"our camera": {"camera-b2": {}}}
    panel.export_to(tmp_path / "sent.safetensors")
    assert acceptance_of(tmp_path / "sent.safetensors")["keep"]
    click(panel, "Delete")
    assert any(e.name == "our camera" for e in list_models()), "the first press asks"
    click(panel, "Yes, I know")
    assert all(e.name != "our camera" for e in list_models())
    panel.import_from(tmp_path / "sent.safetensors")
    assert panel.tree.chosen_name == "our camera"
    assert default_model("optic") == "optic"
    (tmp_path / "sent.safetensors").write_bytes(b"not a model")
    panel.import_from(tmp_path / "sent.safetensors")
    assert "sent.safetensors" in panel.message.text()


def test_a_model_kept_elsewhere_is_there_when_the_panel_is_shown_again(panel, make_model, family):
    make_model("kept-elsewhere", OPTIC, [0.0, 0.5], folder=family)
    QApplication.sendEvent(panel, QShowEvent())  # what a press on the panel's tab sends; the test's window is hidden
    assert "kept-elsewhere" in titles(panel.tree.invisibleRootItem())


def test_models_of_the_package_can_neither_be_renamed_nor_deleted(panel):
    choose(panel, "polyp")
    assert not panel.rename_button.isEnabled()
    assert not panel.delete_button.isEnabled()
    assert panel.export_button.isEnabled()


def test_any_two_models_of_a_task_are_compared_by_swipe(viewer, panel):
    image = viewer.add_image(photograph(), rgb=True, name="eye")
    choose(panel, "camera-b2")
    assert panel.swipe.models == ("camera-b", "camera-b2"), "parent and child are offered first"
    panel.swipe.images.choose(image)
    names = [panel.swipe.left.itemText(i) for i in range(panel.swipe.left.count())]
    assert {"optic", "camera-b", "camera-b2"} <= set(names)
    assert "prostate" not in names
    panel.swipe.left.setCurrentIndex(names.index("camera-b2"))
    click(panel.swipe, "Compare")
    assert "two different models" in panel.message.text()
    panel.swipe.left.setCurrentIndex(names.index("optic"))
    click(panel.swipe, "Compare")
    wait_until(lambda: panel.swipe.layer is not None, 60, "both masks")
    assert np.asarray(viewer.layers["left | right"].data).any()


def test_a_default_that_another_window_changed_is_said_once(viewer, models):
    from napari_tinymig.models.registry import add_model, find_model, set_default
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)
    viewer.add_image(photograph(), rgb=True, name="eye")
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    assert panel.model.currentText() == "optic"
    add_model(find_model("optic"), "optic-mine")
    set_default("optic", "optic-mine")  # as another process does
    viewer.add_image(photograph(), rgb=True, name="next")
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    assert panel.model.currentText() == "optic-mine"
    assert "'optic-mine' is the default for optic now, no longer 'optic'" in panel.message.text()
    panel.say("")
    panel.task_changed()
    assert panel.message.text() == ""
