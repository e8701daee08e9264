"""What version 0.1.0 wrote opens as before: models, classifiers, annotation sets, run folders, journals.

The files were made by the code of 0.1.0 (commit 1761fa4) with `files_0_1_0/make.txt`, and so were the numbers in
`expected.json`; the pixels are drawn.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_tinymig.annotations.annotation_set import AnnotationSet, load_case, read_cases, task_of_set
from napari_tinymig.annotations.journal import recoverable
from napari_tinymig.annotations.run_folders import BEST, is_finished, unseen_model
from napari_tinymig.base.records import Message
from napari_tinymig.models.classifier_file import read_classifier
from napari_tinymig.models.file import read_model_file
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import load_recipe
from napari_tinymig.tasks.optic import OPTIC

FILES = Path(__file__).with_name("files_0_1_0")
SAID = json.loads((FILES / "expected.json").read_text(encoding="utf-8"))
RUN = "runs/20260101-000000"


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def kept(said: object, today: object) -> bool:
    """Whether everything said then is said today; today may say more."""
    if isinstance(said, dict) and isinstance(today, dict):
        return all(k in today and kept(v, today[k]) for k, v in said.items())
    return said == today


@pytest.fixture
def old_set(tmp_path):
    return Path(shutil.copytree(FILES / "set", tmp_path / "set"))


def test_a_model_gives_the_same_mask_and_numbers(old_set):
    model = read_model_file(FILES / "tiny.safetensors")
    assert model.model_id == SAID["model_id"]
    header = json.loads(model.header.model_dump_json())
    said = {k: v for k, v in SAID["header"].items() if k not in ("weights_sha256", "onnx_from")}  # set on writing
    assert kept(said, header)
    scan, _ = load_case(old_set, read_cases(old_set)[0])
    prediction = Predictor(model, "cpu").predict(scan, "full")
    assert [int((prediction.labels == k).sum()) for k in range(3)] == SAID["labels"] == [1607, 552, 145]
    assert sha(prediction.labels) == SAID["labels_sha"]
    assert {k: prediction.measures[k] for k in SAID["measures"]} == pytest.approx(SAID["measures"], abs=0)


def test_a_classifier_has_the_same_head_and_card():
    read = read_classifier(FILES / "classifier.safetensors")
    assert kept(SAID["classifier_card"], json.loads(read.card.model_dump_json()))
    assert read.header.classes == ("healthy", "ill")
    assert read.model_id == SAID["classifier_id"]


def test_an_annotation_set_has_the_same_pixels_and_labels_and_can_be_added_to(old_set):
    assert task_of_set(old_set) == "optic"
    first, second = read_cases(old_set)
    scan, labels = load_case(old_set, first)
    assert (sha(scan.pixels), sha(labels)) == (SAID["set"]["pixels_sha"], SAID["set"]["labels_sha"])
    assert sha(load_case(old_set, second)[1]) == SAID["set"]["partly_sha"]
    assert (first.model_id, first.source, second.role) == (SAID["model_id"], "eye.png", "train")
    with AnnotationSet(old_set, OPTIC, who="second reader") as annotations:
        annotations.remove(second.stem)
    assert [c.stem for c in read_cases(old_set)] == [first.stem]


def test_a_run_folder_is_finished_and_its_model_is_offered(old_set, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYMIG_HOME", str(tmp_path / "home"))
    assert is_finished(old_set / RUN)
    found = unseen_model(old_set)
    assert found is not None
    assert found.path == old_set / RUN / BEST
    lines = (old_set / RUN / "log.jsonl").read_text(encoding="utf-8").splitlines()
    started, step, done = (Message.from_json(line) for line in lines)
    assert (started.kind, step.values, done.text) == ("started", {"loss": 0.5}, "kept")
    assert math.isnan(done.values["after"])


def test_the_recipe_of_a_run_is_the_same_recipe():
    recipe = load_recipe(FILES / "set" / RUN / "config.toml")
    assert kept(SAID["recipe"], json.loads(recipe.model_dump_json()))


def test_strokes_of_a_session_that_ended_are_offered(tmp_path):
    shutil.copytree(FILES / "journal", tmp_path / "journal")
    (found,) = recoverable(tmp_path / "journal")
    assert sha(found.labels) == SAID["journal_sha"]
    assert (found.about["layer"], found.strokes) == ("mask", 3)
