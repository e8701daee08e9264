"""The fine-tuning panel before a run: which folders it takes, which models it offers, what it says about masks."""

from __future__ import annotations

import os

import nibabel as nib
import numpy as np
import pytest
import tune_drawn as drawn
from PIL import Image
from viewer_parts import click, dock, wait_until

from napari_tinymig.annotations.annotation_set import AnnotationSet
from napari_tinymig.tasks.polyp import POLYP

pytestmark = pytest.mark.viewer


@pytest.fixture
def tune(viewer, models):
    """The panel, with small models named optic and prostate beside the bundled ones, and no open set."""
    from napari_tinymig.viewer.finetune.panel import FineTunePanel
    from napari_tinymig.viewer.parts.project import project

    project.folder, project.task = None, ""
    return dock(viewer, FineTunePanel)


def choose(panel, folder):
    panel.folder.setText(str(folder))
    panel.folder.editingFinished.emit()
    return [panel.model.itemData(i) for i in range(panel.model.count())]


def test_a_plain_folder_of_volumes_offers_the_prostate_model_first(tune, tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        values = np.zeros((40, 40, 6), np.int16)
        values[10:30, 10:30, 2:5] = 1
        nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 3.0, 1.0])), tmp_path / name / "case.nii.gz")
    assert "prostate" in choose(tune, tmp_path)
    assert tune.model.model_name == "prostate"
    drawn.write_domain(tmp_path / "eyes", range(2))
    choose(tune, tmp_path / "eyes")
    assert tune.model.model_name == "optic"


def test_a_set_offers_only_models_of_its_task(tune, tmp_path):
    scan, labels = drawn.eye(0)
    with AnnotationSet(tmp_path, POLYP) as project:
        project.add(scan, (labels > 0).astype(np.uint8))
    assert set(choose(tune, tmp_path)) == {"polyp", "polyp-sdg"}
    assert tune.model.model_name == "polyp"


def test_the_numbers_in_the_masks_of_a_plain_folder_are_told_and_what_has_no_mask(tune, tmp_path):
    drawn.write_domain(tmp_path, range(3))
    for path in sorted((tmp_path / "labels").iterdir()):
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255).save(path)
    path.rename(path.with_name("other.png"))
    choose(tune, tmp_path)
    assert tune.set_line.text() == (
        "2 case(s) are used. No mask of the same name in labels/ for second_2. "
        "Numbers in the mask second_0.png: 0, 255."
    )
    assert tune.codes.isVisibleTo(tune)
    choose(tune, "")
    assert not tune.set_line.isVisibleTo(tune)


def test_roll_back_goes_by_the_chosen_model_and_not_by_the_set_that_is_open_elsewhere(tune, tmp_path):
    from napari_tinymig.models.registry import add_model, defaults, find_model, set_default
    from napari_tinymig.viewer.parts.project import project

    add_model(find_model("optic"), "optic-mine")
    set_default("optic", "optic-mine")
    project.task = "polyp"
    drawn.write_domain(tmp_path, range(2))
    choose(tune, tmp_path)
    tune.card.roll_back()
    assert defaults() == {}, tune.message.text()


def test_a_folder_that_cannot_be_written_gets_its_run_beside_the_models(tune, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(tune.run, "start", lambda kind, settings, folder: started.append(folder))
    drawn.write_domain(tmp_path / "set", range(2))
    choose(tune, tmp_path / "set")
    click(tune, "Fine-tune")
    wait_until(lambda: len(started) == 1)
    monkeypatch.setattr(os, "access", lambda *_: False)
    click(tune, "Fine-tune")
    wait_until(lambda: len(started) == 2)
    assert [f.parent.parent for f in started] == [tmp_path / "set", tmp_path / "home"]


def test_a_time_that_is_too_short_is_put_right_in_the_panel(tune):
    from napari_tinymig.base.records import Message

    tune.minutes.setValue(0.5)
    tune.take_messages([Message("budget", values={"needed_minutes": 1.7}, text="30 s are too short")])
    assert tune.minutes.value() == 1.7


def refused_run(folder, created=""):
    """A run's best.safetensors that the acceptance check refused, with gains and agreement as long as they get."""
    from napari_tinymig.models.file import read_model_file, write_model_file
    from napari_tinymig.models.registry import find_model
    from napari_tinymig.recipes.student import Lineage

    model = read_model_file(find_model("optic"))
    gain = {"name": "cup", "before": [0.5] * 6, "after": [0.9] * 6, "low": 0.356, "high": 0.41, "gain": 0.4}
    record = {"keep": False, "reasons": ["Refused."], "gains": [gain, gain | {"name": "disc"}]}
    record["proxy"] = {"drawn pictures": 0.623, "your reference folder": 1.0}
    lineage = Lineage(parent=model.model_id, created=created)
    changes = {"name": "optic-tuned", "scores": {"finetune": record}, "lineage": lineage}
    header = model.header.model_copy(update=changes)
    path = folder / "run" / "best.safetensors"
    path.parent.mkdir(parents=True)
    write_model_file(path, header, model.weights(), model.onnx)
    return path


def test_what_was_kept_is_said_and_is_not_kept_twice(tune, tmp_path):
    from napari_tinymig.models.registry import default_model, model_paths

    tune.model.offer("photograph", "optic")
    tune.take_saved(refused_run(tmp_path))
    assert (tune.card.badge.text(), tune.card.keep_button.isEnabled()) == ("not made the default", False)
    click(tune, "Keep it all the same")
    assert (tune.card.badge.text(), default_model("optic")) == ("kept although the check refused", "optic-tuned")
    assert not tune.card.keep_button.isEnabled()
    assert not tune.card.knowingly.isVisibleTo(tune)
    click(tune, "Roll back")
    assert (tune.card.badge.text(), default_model("optic")) == ("not the default", "optic")
    click(tune, "Keep it all the same")
    assert default_model("optic") == "optic-tuned"
    assert not [name for name in model_paths() if name.startswith("optic-tuned-")]


def test_table_and_sentence_print_the_same_change(tune, tmp_path):
    from napari_tinymig.training.finetune.acceptance import decide_acceptance, paired

    from napari_tinymig.models.file import read_model_file, write_model_file

    path = refused_run(tmp_path)
    model = read_model_file(path)
    gain = paired("cup", [0.93749, 0.9375, 0.9371, 0.9373], [0.94, 0.9401, 0.9399, 0.9396])
    record = decide_acceptance([gain], list("abcd"), {"drawings": [1.0]}).as_record()
    header = model.header.model_copy(update={"scores": {"finetune": record}})
    write_model_file(path, header, model.weights(), model.onnx)
    tune.take_saved(path)
    rows = tune.card.rows.rows()
    assert rows["cup Dice"] == "93.7 -> 94.0"
    assert rows["cup gain, 95 %"].startswith("+0.3 [")
    assert f"cup Dice {rows['cup Dice']} (+0.3 [" in tune.card.acceptance.text()


def test_the_verdict_fits_into_a_narrow_panel(tune, tmp_path):
    tune.take_saved(refused_run(tmp_path))
    assert tune.card.rows.minimumSizeHint().width() < 300
    assert tune.picture.minimumWidth() == 1


def test_a_model_that_was_finished_when_nobody_looked_is_offered_once(tune, tmp_path):
    import datetime

    drawn.write_domain(tmp_path / "set", range(2))
    now = datetime.datetime.now(datetime.UTC)
    left = refused_run(tmp_path / "set" / "runs", now.isoformat())
    left.parent.rename(left.parent.with_name("20260101-110000"))
    (tmp_path / "set" / "runs" / "20260101-120000").mkdir()  # crashed without a model
    choose(tune, tmp_path / "set")
    said = f"A model of {now.astimezone():%H:%M} was finished and not looked at yet."
    assert tune.unseen_line.text() == said
    assert tune.unseen_line.isVisibleTo(tune)
    click(tune, "Show")
    assert tune.card.isVisibleTo(tune)
    assert tune.card.swipe.left.currentData() == "optic"
    assert not tune.unseen_line.isVisibleTo(tune)
    choose(tune, tmp_path / "set")
    assert not tune.show_unseen.isVisibleTo(tune)
    newer = refused_run(tmp_path / "set" / "runs")
    newer.parent.rename(newer.parent.with_name("20260102-110000"))
    choose(tune, tmp_path / "set")
    assert tune.unseen_line.text() == "A model was finished and not looked at yet."


def test_a_model_that_was_kept_elsewhere_is_not_offered(tune, tmp_path):
    from napari_tinymig.models.lineage import keep

    drawn.write_domain(tmp_path / "set", range(2))
    keep(refused_run(tmp_path / "set" / "runs"), "mine", knowingly=True)
    choose(tune, tmp_path / "set")
    assert not tune.unseen_line.isVisibleTo(tune)


def test_beside_the_models_only_runs_of_the_same_set_are_offered(tune, tmp_path, monkeypatch):
    import json

    monkeypatch.setattr(os, "access", lambda *_: False)
    run = refused_run(tmp_path / "home" / "runs").parent
    for name in ("set", "other"):
        drawn.write_domain(tmp_path / name, range(2))
    (run / "job.json").write_text(json.dumps({"settings": {"data": str(tmp_path / "set")}}))
    choose(tune, tmp_path / "other")
    assert not tune.unseen_line.isVisibleTo(tune)
    choose(tune, tmp_path / "set")
    assert tune.unseen_line.isVisibleTo(tune)


def test_a_mended_mask_goes_into_the_set_when_its_case_is_left(viewer, models, tmp_path):
    """Once ticked; mended again, it replaces the earlier one, which the set's history keeps; other tasks are told."""
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel
    from napari_tinymig.viewer.napari_io.layers import result_layer
    from napari_tinymig.viewer.parts.project import project

    project.folder, project.task = None, ""
    panel = dock(viewer, AnnotatePanel)
    panel.open_set(tmp_path / "set")
    book = panel.mended.book
    masks = []
    for seed, task in ((0, OPTIC), (1, OPTIC), (2, POLYP)):
        scan, truth = drawn.eye(seed)
        image = viewer.add_image(scan.pixels, rgb=True, name=f"eye {seed}")
        labels = truth if task == OPTIC else (truth > 0).astype(np.uint8)
        masks.append(viewer.add_layer(result_layer(image, labels, task, f"mask {seed}", {})))
    for mask in masks:
        mask.data_setitem((np.array([2, 3]), np.array([2, 3])), 1)
    book.go(book.cases[0])
    book.go(book.cases[1])
    assert len(panel.set.cases) == 0, "nothing is added before it is asked for"
    panel.mended.click()
    book.go(book.cases[0])
    (case,) = panel.set.cases
    assert case.changed_fraction > 0
    book.go(book.cases[1])
    masks[1].data_setitem((np.array([5]), np.array([5])), 1)
    book.go(book.cases[0])
    assert len(panel.set.cases) == 2, panel.message.text()
    stored = np.array(Image.open(tmp_path / "set" / "labels" / f"{case.stem}.png"))
    np.testing.assert_array_equal(stored, masks[1].data)
    book.go(book.cases[2])
    book.go(book.cases[0])
    assert "not added" in panel.message.text()
    assert len(panel.set.cases) == 2
    project.folder, project.task = None, ""
