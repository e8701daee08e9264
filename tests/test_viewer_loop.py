"""The loop in a real window: open, predict, paint, add, fine-tune, keep, predict again, roll back; and crashes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tune_drawn as drawn
from qtpy.QtWidgets import QApplication
from viewer_parts import click, dock, wait_until

pytestmark = pytest.mark.viewer


LONG = 240.0  # a shared machine may be ten times slower than a quiet one


@pytest.fixture
def home(model_folder, tmp_path, monkeypatch):
    """A model named optic, and state and models in folders of this test's own."""
    from napari_tinymig.viewer.parts.project import project

    monkeypatch.setenv("TINYMIG_STATE", str(tmp_path / "state"))
    drawn.tiny_model(model_folder / "optic.safetensors")
    project.folder, project.task = None, ""
    yield tmp_path
    project.folder, project.task = None, ""


def predict(viewer, panel, image):
    viewer.layers.selection.active = image
    panel.images.choose(image)
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    click(panel, "Segment")
    assert panel.work.running
    wait_until(lambda: not panel.work.running, LONG, "the mask")
    return panel.result


def mend(layer, truth):
    """Paint the truth in brush-sized edits through napari's own undoable call."""
    for value in (0, 1, 2):
        where = np.nonzero((truth == value) & (layer.data != value))
        if where[0].size:
            layer.data_setitem(where, np.uint8(value))


def dice(labels, truth):
    from napari_tinymig.training.finetune.acceptance import region_dice

    from napari_tinymig.tasks.optic import OPTIC

    return float(np.mean(list(region_dice(labels, truth, OPTIC).values())))


def three_mended(viewer, segment, annotate):
    """Segment, mend and add three eyes of another camera, one after the other."""
    for seed in (100, 101, 102):
        scan, truth = drawn.eye(seed, "second")
        mask = predict(viewer, segment, viewer.add_image(scan.pixels, rgb=True, name=scan.name))
        mend(mask, truth)
        annotate.layers.choose(mask)
        click(annotate, "Add to set")
        assert annotate.cases.list.count() == seed - 99, annotate.message.text()
    assert [c.changed_fraction > 0 for c in annotate.set.cases] == [True] * 3
    assert all(c.model_id.startswith("optic@") for c in annotate.set.cases)


def fine_tuned(tune):
    """Press the button and wait for the end; the pauses of the window meanwhile, in seconds."""
    tune.minutes.setValue(9.0)  # more than its steps need on any machine
    click(tune, "Fine-tune")
    gaps, last = [], time.perf_counter()
    end = time.monotonic() + LONG
    while tune.running and time.monotonic() < end:
        QApplication.processEvents()
        now = time.perf_counter()
        gaps.append(now - last)
        last = now
        time.sleep(0.002)
    assert not tune.running, tune.run.state.text()
    assert tune.card.best is not None, tune.message.text()
    return gaps


def test_three_images_are_mended_and_make_the_model_better_and_it_can_be_rolled_back(viewer, home):
    from napari_tinymig.models.registry import default_model
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel
    from napari_tinymig.viewer.finetune.panel import FineTunePanel
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    segment, annotate = dock(viewer, SegmentPanel), dock(viewer, AnnotatePanel)
    assert not annotate.go.isEnabled()
    annotate.open_set(home / "set")
    three_mended(viewer, segment, annotate)

    tune = dock(viewer, FineTunePanel)
    assert tune.folder.text() == str(home / "set"), "the open set is offered by itself"
    assert np.percentile(fine_tuned(tune), 99) < 0.25, "50 ms on a quiet machine"
    assert tune.run.curve
    assert tune.card.isVisibleTo(tune)

    click(tune, "Keep as default" if tune.card.keep_button.isEnabled() else "Keep it all the same")
    assert default_model("optic") == "optic-tuned", tune.message.text()
    scan, truth = drawn.eye(200, "second")
    fresh = viewer.add_image(scan.pixels, rgb=True, name="new eye")
    segment.task_changed()
    after = predict(viewer, segment, fresh)
    assert after.metadata["tinymig"]["model_id"].startswith("optic-tuned@")
    tuned = after.data.copy()
    click(tune, "Roll back")
    assert default_model("optic") == "optic"
    segment.task_changed()
    before = predict(viewer, segment, fresh)  # its own untouched mask is replaced in its layer
    assert before.metadata["tinymig"]["model_id"].startswith("optic@")
    assert dice(tuned, truth) > dice(before.data, truth)
    after.save(str(home / "mended.png"), plugin="napari-tinymig")
    assert (home / "mended.png").exists()


def test_a_reference_folder_that_is_not_there_is_said_before_anything_starts(viewer, home):
    from napari_tinymig.viewer.finetune.panel import FineTunePanel

    data = drawn.write_domain(home / "set", range(100, 103))
    tune = dock(viewer, FineTunePanel)
    tune.folder.setText(str(data))
    tune.refresh()
    tune.reference.setText(str(home / "nope"))
    click(tune, "Fine-tune")
    assert "nope does not exist" in tune.message.text()
    assert not tune.running
    tune.reference.setText(str(data))
    tune.reference.editingFinished.emit()
    assert tune.reference.line.text() == "3 image(s) are compared."


def test_foreign_label_codes_of_a_plain_folder_are_named_in_the_panel(viewer, home):
    """Masks of 0, 128 and 255: a plain folder may say what they mean, a set of the panel has no such field."""
    from napari_tinymig.training.finetune.data import gather
    from PIL import Image

    from napari_tinymig.annotations.annotation_set import AnnotationSet
    from napari_tinymig.viewer.finetune.panel import FineTunePanel

    data = drawn.write_domain(home / "plain", range(100, 103))
    for path in (data / "labels").iterdir():
        ours = np.asarray(Image.open(path))
        Image.fromarray(np.array([0, 128, 255], np.uint8)[ours]).save(path)
    tune = dock(viewer, FineTunePanel)
    tune.folder.setText(str(data))
    tune.refresh()
    assert tune.codes.isVisibleTo(tune)
    tune.codes.setText("0:0,128=1")
    click(tune, "Fine-tune")
    assert "128=1" in tune.message.text()
    assert not tune.running
    tune.codes.setText("")
    click(tune, "Fine-tune")
    assert not tune.go.isEnabled()
    wait_until(lambda: not tune.running, 10, "the look at the masks")
    assert "no usable annotated image" in tune.message.text()
    assert "0:?,128:?,255:?" in tune.message.text()
    assert not (data / "runs").exists(), "no worker was started"
    assert tune.go.isEnabled()
    tune.codes.setText("0:0,128:1,255:2")
    spec = tune.settings()["spec"]
    assert spec["labels"] == "0:0,128:1,255:2"
    material = gather(data, drawn.tiny_model(home / "m.safetensors"), spec["labels"])
    assert material.annotated == 3
    assert not material.warnings
    assert set(np.unique(material.items[0].labels)) == {0, 1, 2}
    AnnotationSet(home / "set", "optic").close()
    tune.folder.setText(str(home / "set"))
    tune.refresh()
    assert not tune.codes.isVisibleTo(tune)
    assert tune.settings()["spec"]["labels"] == ""


def test_a_default_named_in_the_preferences_goes_first_and_is_said(viewer, home, monkeypatch):
    from napari_tinymig.viewer.parts import predicting

    assert predicting.default_told("optic", "optic") == ("'optic' is now the default for optic.", True)
    monkeypatch.setattr(predicting, "setting", lambda group, key: "another" if group == "models" else 0)
    words, used = predicting.default_told("optic-mine", "optic")
    assert not used
    assert "Preferences name 'another'" in words


def test_cancel_and_discard_answers_at_once_and_leaves_nothing(viewer, home):
    from napari_tinymig.viewer.finetune.panel import FineTunePanel

    data = drawn.write_domain(home / "set", range(100, 103))
    tune = dock(viewer, FineTunePanel)
    tune.folder.setText(str(data))
    tune.refresh()
    click(tune, "Fine-tune")
    wait_until(lambda: tune.run.watch.run is not None, 5, "the worker")
    begin = time.perf_counter()
    click(tune, "Cancel and discard")
    assert time.perf_counter() - begin < 0.2
    wait_until(lambda: not tune.running, 10, "the end of the worker")
    assert "nothing of this run was kept" in tune.message.text()
    assert not list((data / "runs").iterdir())


def test_a_worker_that_is_killed_leaves_the_window_with_a_sentence(viewer, home):
    from napari_tinymig.viewer.finetune.panel import FineTunePanel

    data = drawn.write_domain(home / "set", range(100, 103))
    tune = dock(viewer, FineTunePanel)
    tune.folder.setText(str(data))
    tune.refresh()
    click(tune, "Fine-tune")
    wait_until(lambda: tune.run.watch.run is not None, 5, "the worker")
    os.kill(tune.run.watch.run.pid, 9)
    wait_until(lambda: not tune.running, 15, "the end")
    assert "Nothing was saved" in tune.message.text()
    assert tune.go.isEnabled()


def test_the_same_image_twice_asks_before_it_replaces(viewer, home):
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel

    scan, truth = drawn.eye(100, "second")
    viewer.add_image(scan.pixels, rgb=True, name="eye")
    mask = viewer.add_labels(truth.copy(), name="mask")
    annotate = dock(viewer, AnnotatePanel)
    annotate.open_set(home / "set")
    click(annotate, "Add to set")
    mask.data_setitem((np.array([5]), np.array([5])), np.uint8(1))
    click(annotate, "Add to set")
    assert "in the set already" in annotate.message.text()
    click(annotate, "Replace the earlier mask")
    assert len(annotate.set.cases) == 1
    assert len(list((home / "set" / "history").iterdir())) == 1


def test_a_scribbled_case_opened_again_keeps_what_is_not_labelled(viewer, home):
    from napari_tinymig.annotations.annotation_set import load_case
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel

    scan, truth = drawn.eye(100, "second")
    viewer.add_image(scan.pixels, rgb=True, name="eye")
    scribble = viewer.add_labels(np.zeros_like(truth), name="scribbles")
    annotate = dock(viewer, AnnotatePanel)
    annotate.open_set(home / "set")
    annotate.sparse.setChecked(True)
    names = [annotate.brush.itemText(i) for i in range(annotate.brush.count())]
    assert names == ["disc rim = 1", "cup = 2", "background (painted) = 3"]
    annotate.brush.setCurrentIndex(2)
    annotate.brush.activated.emit(2)
    assert (scribble.selected_label, str(scribble.mode)) == (3, "paint")
    for value, row in ((1, 30), (2, 48), (3, 2)):
        scribble.selected_label = value
        scribble.paint((row, 40), value)
    click(annotate, "Add to set")
    (case,) = annotate.set.cases
    first = load_case(annotate.set.folder, case)[1]
    assert sorted(np.unique(first).tolist()) == [0, 1, 2, 255], "painted background is background"
    assert case.labelled_fraction < 0.1

    annotate.sparse.setChecked(False)  # what is usual for other masks does not hold for this one
    annotate.cases.open_case(case.stem)
    opened = viewer.layers[f"{case.stem} optic"]
    annotate.layers.choose(opened)
    assert annotate.sparse.isChecked()
    assert list(opened.features["class"]) == ["not labelled", "disc rim", "cup", "background (painted)"]
    opened.paint((49, 60), 2)
    click(annotate, "Add to set")
    click(annotate, "Replace the earlier mask")
    (case,) = annotate.set.cases
    again = load_case(annotate.set.folder, case)[1]
    changed = again != first
    assert 0 < changed.sum() < 400
    assert (again[changed] == 2).all()
    opened.save(str(home / "scribbles.png"), plugin="napari-tinymig")
    from PIL import Image

    assert 3 not in np.asarray(Image.open(home / "scribbles.png"))


def test_a_mask_without_a_disc_is_refused_in_the_panel(viewer, home):
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel

    scan, truth = drawn.eye(100, "second")
    viewer.add_image(scan.pixels, rgb=True, name="eye")
    viewer.add_labels(np.zeros_like(truth), name="mask")
    annotate = dock(viewer, AnnotatePanel)
    annotate.open_set(home / "set")
    click(annotate, "Add to set")
    assert "mask is empty; expected a disc" in annotate.message.text()


def test_two_panels_on_one_set_get_a_clear_message(viewer, home):
    from napari_tinymig.annotations.annotation_set import AnnotationSet
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel

    other = AnnotationSet(home / "set", OPTIC)
    annotate = dock(viewer, AnnotatePanel)
    annotate.open_set(home / "set")
    assert "open in another napari" in annotate.message.text()
    other.close()
    annotate.open_set(home / "set")
    assert annotate.set is not None


PAINTER = """
import sys, time
import numpy as np
import napari
from qtpy.QtCore import QTimer
from napari_tinymig.viewer.annotate.panel import AnnotatePanel
viewer = napari.Viewer(show=False)
labels = viewer.add_labels(np.zeros((128, 128), np.uint8), name="mask")
viewer.window.add_dock_widget(AnnotatePanel(viewer))
count = 0
def stroke():
    global count
    count += 1
    labels.data_setitem((np.array([count // 128]), np.array([count % 128])), np.uint8(1))
    print(count, time.monotonic(), flush=True)
timer = QTimer()
timer.timeout.connect(stroke)
timer.start(20)
print("ready", flush=True)
napari.run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_strokes_survive_kill_9_of_napari_and_are_offered_at_the_next_start(viewer, home):
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel

    child = subprocess.Popen([sys.executable, "-c", PAINTER], stdout=subprocess.PIPE, text=True, env=os.environ)
    strokes = {}
    for line in child.stdout:
        words = line.split()
        if len(words) == 2 and words[0].isdigit():
            strokes[int(words[0])] = float(words[1])
            if strokes[int(words[0])] - strokes[1] > 4.0:
                break
    child.kill()
    child.wait()
    child.stdout.close()
    annotate = dock(viewer, AnnotatePanel)
    assert annotate.recovery_card.isVisibleTo(annotate)
    click(annotate, "Restore")
    restored = viewer.layers["mask (recovered)"].data
    kept = int(np.count_nonzero(restored))
    assert np.array_equal(np.flatnonzero(restored), np.arange(1, kept + 1)), "a prefix of the strokes, none damaged"
    lost = max(strokes.values()) - strokes[min(kept + 1, max(strokes))]
    assert lost < 5.0
    assert not annotate.recovery_card.isVisibleTo(annotate)


@pytest.mark.parametrize(
    ("share", "part", "said"),
    [
        (0.2, 0.0001, ", 20.0 % of the mask"),
        (0.0001, 0.0, ", under 0.1 % of the mask"),
        (0.0, 0.0, ", 0.0 %"),
    ],
)
def test_a_list_says_what_part_of_the_mask_was_mended(share, part, said):
    from types import SimpleNamespace

    from napari_tinymig.viewer.annotate.case_list import mended_words

    assert mended_words(SimpleNamespace(mended_share=share, changed_fraction=part)).startswith(said)
    assert "of the image" in mended_words(SimpleNamespace(mended_share=None, changed_fraction=0.3))
