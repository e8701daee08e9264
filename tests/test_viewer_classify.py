"""The Classify panel in a real window: examples, a run in the worker, an answer that lies where its image lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from striped import striped
from viewer_parts import click, dock, wait_until

pytestmark = pytest.mark.viewer


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Weights of a small backbone, a set with a folder per class, and a classifier made from them."""
    import timm
    import torch
    from napari_tinymig.training.classifier.probe import probe

    from napari_tinymig.recipes.classify import load_probe_recipe

    root = tmp_path_factory.mktemp("shelf")
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), root / "w.safetensors")
    for label, name in enumerate(("across", "along")):
        (root / "set" / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(striped(20 * label + i, label)).save(root / "set" / name / f"{name}{i}.png")
    said = {"backbone.name": "test_resnet", "backbone.weights": str(root / "w.safetensors"), "backbone.size": 64}
    recipe = load_probe_recipe("probe", said | {"strategy": "lp_then_both", "optim.epochs": 1})
    assert list(probe(recipe, root / "set", (), root / "run", "cpu", cache=root / "c"))[-1].kind == "done"
    return root


@pytest.fixture
def place(shelf, tmp_path, monkeypatch):
    """The shelf, and a home of this test's own."""
    monkeypatch.setenv("TINYMIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TINYMIG_CACHE", str(tmp_path / "cache"))
    return shelf


@pytest.fixture
def panel(make_napari_viewer_proxy, place):
    from napari_tinymig.viewer.classify.panel import ClassifyPanel

    made = dock(make_napari_viewer_proxy(), ClassifyPanel)
    made.backbone.setText("test_resnet")
    made.weights.setText(str(place / "w.safetensors"))
    made.method.setCurrentIndex(made.method.count() - 1)
    return made


def open_made(panel, place):
    panel.classifier.setText(str(place / "run" / "classifier.safetensors"))
    panel.refresh()


def test_the_panel_says_what_is_missing(panel):
    assert not panel.go.isEnabled()
    assert "two classes" in panel.examples.line.text()
    assert not panel.ask.isEnabled()


def test_selected_layers_become_examples_of_the_named_class(panel, place, tmp_path):
    viewer = panel.viewer
    for i in range(3):
        viewer.add_image(striped(i, 0), name=f"a{i}")
    viewer.layers.selection = set(viewer.layers)
    click(panel, "Add selected layers")
    assert panel.examples.counts() == {}
    panel.examples.name.setText("across")
    click(panel, "Add selected layers")
    assert panel.examples.counts() == {"across": 3}
    panel.examples.add_folder(place / "set" / "along", "along")
    assert panel.examples.counts() == {"across": 3, "along": 12}
    assert panel.go.isEnabled()
    table = panel.examples.write(tmp_path / "written").read_text().splitlines()
    assert table[0] == "file,label"
    assert len(table) == 16
    viewer.layers.remove("a0")
    assert panel.examples.counts()["across"] == 2
    assert "at least 3" in panel.examples.line.text()


def test_the_first_backbone_came_along_and_opens_without_a_network(panel, monkeypatch):
    import socket

    from napari_tinymig.training.classifier.backbone import open_backbone

    from napari_tinymig.recipes.classify import BackboneSpec
    from napari_tinymig.viewer.classify.panel import ClassifyPanel

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was tried"))
    fresh = ClassifyPanel(panel.viewer)
    assert open_backbone(BackboneSpec(name=fresh.backbone.text())).card.features > 0
    fresh.close()


def test_a_handful_of_persons_gets_no_range(panel):
    from napari_tinymig.base.records import Message

    values = {"auroc": 1.0, "auroc_low": 0.4, "auroc_high": 1.0, "n": 4.0, "cases": 4.0, "balanced_accuracy": 1.0}
    panel.take_messages([Message("validation", values=values, text="test")])
    assert panel.scores.rows()["its 95 % interval"] == "too few to say"
    panel.take_messages([Message("validation", values=values | {"n": 40.0, "cases": 40.0}, text="test")])
    assert panel.scores.rows()["its 95 % interval"] == "0.40 to 1.00"


def test_examples_in_a_classifier_out(panel, place, tmp_path):
    panel.examples.open_set(place / "set")
    click(panel, "Train a classifier")
    assert not panel.run.stop_button.isHidden()
    wait_until(lambda: not panel.running, 240, "the run")
    assert "KB" in panel.message.text(), panel.message.text()
    assert "its 95 % interval" in panel.scores.rows()
    assert Path(panel.classifier.text()).parent.parent == tmp_path / "home" / "runs"


def test_the_answer_and_its_pictures_lie_where_the_image_lies(panel, place):
    open_made(panel, place)
    viewer = panel.viewer
    image = viewer.add_image(striped(99, 1), name="new", scale=(0.5, 0.25), translate=(7, 8), rotate=20)
    click(panel, "Classify")
    wait_until(lambda: not panel.work.running, 140, "the answer")
    assert panel.answer.badge.text().startswith("along"), panel.message.text()
    assert "among the examples" in panel.answer.line.text() or "unlike" in panel.answer.line.text()
    assert "discrepancy of the two" in panel.answer.rows.rows()
    click(panel, "Show where it looked")
    wait_until(lambda: not panel.work.running, 140, "the evidence")
    click(panel, "Show what it sees")
    click(panel, "Show the prompt")
    shapes = {"new evidence for along": (64, 64), "new prompted": (64, 64, 3), "new prompt": (64, 64, 3)}
    for name, shape in shapes.items():
        layer = viewer.layers[name]
        assert layer.data.shape == shape
        np.testing.assert_allclose(layer.extent.world, image.extent.world)
        np.testing.assert_allclose(layer.data_to_world((10, 20)), image.data_to_world((10, 20)))
    middle = viewer.layers["new prompt"].data[20:44, 20:44]
    assert np.abs(middle.astype(int) - 128).max() <= 1  # the padding prompt leaves the middle alone
    np.testing.assert_array_equal(viewer.layers["new"].data, striped(99, 1))


def test_evidence_of_a_volume_lies_on_the_slice_on_show(panel, place):
    open_made(panel, place)
    viewer = panel.viewer
    volume = np.stack([striped(i, 1) for i in range(5)]).astype(np.float32)
    viewer.add_image(volume, name="T2", scale=(3, 0.5, 0.5))
    viewer.dims.set_point(0, 6.0)
    click(panel, "Classify")
    wait_until(lambda: not panel.work.running, 140, "the answer")
    click(panel, "Show where it looked")
    wait_until(lambda: not panel.work.running, 140, "the evidence")
    shown = [layer for layer in viewer.layers if "evidence" in layer.name][0]
    assert shown.data.shape == volume.shape
    assert np.abs(shown.data[2]).max() > 0
    assert np.abs(np.delete(shown.data, 2, axis=0)).max() == 0


def test_a_failed_run_says_why_and_the_panel_can_be_used_again(panel, place):
    panel.backbone.setText("resnet5O")
    panel.examples.open_set(place / "set")
    click(panel, "Train a classifier")
    wait_until(lambda: not panel.running, 240, "the run")
    assert "timm knows no model 'resnet5O'" in panel.message.text()
    assert panel.go.isEnabled()


def test_a_cancelled_run_leaves_nothing(panel, place, tmp_path):
    panel.method.setCurrentIndex(0)
    panel.epochs.setValue(100)
    panel.examples.open_set(place / "set")
    click(panel, "Train a classifier")
    click(panel, "Cancel and discard")
    wait_until(lambda: not panel.running, 60, "the end")
    assert not list((tmp_path / "home" / "runs").glob("probe-*"))
    assert panel.classifier.text() == ""


def test_a_mask_model_is_refused_as_a_classifier(panel, place, make_model):
    from napari_tinymig.tasks.optic import OPTIC

    model = make_model("optic", OPTIC, [-0.2, 0.4])
    panel.viewer.add_image(striped(0, 1), name="x")
    panel.classifier.setText(str(model.path))
    panel.refresh()
    click(panel, "Classify")
    assert "not a classifier" in panel.message.text()


def test_a_linear_probe_has_one_column_and_no_prompt_to_show(viewer):
    from napari_tinymig.jobs.classifying import ClassifierAnswer
    from napari_tinymig.viewer.classify.panel import ClassifyPanel

    panel = dock(viewer, ClassifyPanel)
    image = viewer.add_image(np.zeros((64, 64), np.uint8), name="film")
    p, picture = np.float32([0.25, 0.75]), np.zeros((64, 64, 3), np.uint8)
    linear = ClassifierAnswer(("calm", "ill"), p, p, 0.0, 40.0, None, picture, "probe@1")
    panel.answer.show_look(image, linear, "probe.safetensors")
    assert panel.answer.rows.rows() == {"calm": "0.25", "ill": "0.75"}
    assert panel.answer.prompt_button.isHidden()
    assert panel.answer.prompted_button.isHidden()
    prompted = ClassifierAnswer(("calm", "ill"), p, p[::-1], 0.5, 40.0, picture, picture, "probe@2")
    panel.answer.show_look(image, prompted, "probe.safetensors")
    assert panel.answer.rows.rows()["ill"] == "0.75   0.25"
    assert not panel.answer.prompt_button.isHidden()


def test_an_answer_names_its_image_and_goes_with_it(viewer):
    from napari_tinymig.jobs.classifying import ClassifierAnswer
    from napari_tinymig.viewer.classify.panel import ClassifyPanel

    panel = dock(viewer, ClassifyPanel)
    panel.classifier.setText("probe.safetensors")
    first = viewer.add_image(striped(0, 1), name="first film")
    p, picture = np.float32([0.25, 0.75]), np.zeros((64, 64, 3), np.uint8)
    found = ClassifierAnswer(("calm", "ill"), p, p, 0.0, 40.0, picture, picture, "probe@1")

    def answered():
        panel.answer.show_look(first, found, "probe.safetensors")
        panel.refresh()
        assert not panel.answer.isHidden()

    answered()
    assert panel.answer.heading.text() == "Answer: first film"
    click(panel, "Show what it sees")  # a picture of the answer is no other image
    assert not panel.answer.isHidden()
    first.name = "renamed"
    assert panel.answer.heading.text() == "Answer: renamed"
    assert "'renamed'" in panel.answer.line.text()
    second = viewer.add_image(striped(1, 1), name="second film")
    assert panel.layers.layer == second
    assert panel.answer.isHidden()
    viewer.layers.selection.active = viewer.layers["renamed"]
    answered()
    panel.classifier.setText("other.safetensors")
    panel.refresh()
    assert panel.answer.isHidden()
    panel.classifier.setText("probe.safetensors")
    answered()
    viewer.layers.remove("renamed")
    assert panel.answer.isHidden()


def test_an_answer_for_an_image_unlike_the_examples_is_not_green(viewer):
    from napari_tinymig.jobs.classifying import ClassifierAnswer
    from napari_tinymig.viewer.classify.panel import ClassifyPanel

    panel = dock(viewer, ClassifyPanel)
    image = viewer.add_image(striped(0, 1), name="film")
    p, picture = np.float32([0.25, 0.75]), np.zeros((64, 64, 3), np.uint8)
    tones = []
    for score in (40.0, 100.0, None):
        found = ClassifierAnswer(("calm", "ill"), p, p, 0.0, score, None, picture, "probe@1")
        panel.answer.show_look(image, found, "probe.safetensors")
        tones.append(panel.answer.badge.property("tone"))
    assert tones == ["good", "warn", "warn"]
