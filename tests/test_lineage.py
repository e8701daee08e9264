"""Keep, roll back, rename, export: real model files in a folder of the test's own."""

from __future__ import annotations

import numpy as np
import pytest

from napari_tinymig.base.errors import ModelFileError, OutputRefused
from napari_tinymig.models import lineage
from napari_tinymig.models.file import read_model_file, write_model_file
from napari_tinymig.models.registry import add_model, default_model, defaults, model_paths
from napari_tinymig.recipes.student import InputSpec, Lineage, ModelHeader
from napari_tinymig.tasks.optic import OPTIC


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIG_HOME", str(tmp_path / "home"))


def model(path, name, parent=None, keep=None, value=1.0):
    scores = {} if keep is None else {"finetune": {"keep": keep, "reasons": ["Refused: no gain on 3 cases."]}}
    header = ModelHeader(name=name, task=OPTIC, input=InputSpec(), lineage=Lineage(parent=parent), scores=scores)
    return write_model_file(path, header, {"w": np.full(4, value, np.float32)}, b"graph" + bytes([int(value)]))


@pytest.fixture
def parent(tmp_path):
    made = model(tmp_path / "first.safetensors", "first")
    add_model(made.path)
    lineage.use("first")
    return made


def test_keep_makes_the_child_the_default_and_rollback_returns_to_the_parent(tmp_path, parent):
    child = model(tmp_path / "run.safetensors", "first-tuned", parent.model_id, keep=True, value=2)
    kept = lineage.keep(child.path)
    assert kept.name == default_model("optic") == "first-tuned"
    assert lineage.rollback("optic") == "first"
    assert default_model("optic") == "first"
    assert "first-tuned" in model_paths(), "a rolled back model is not deleted"


def test_a_model_the_gate_refused_is_kept_only_knowingly(tmp_path, parent):
    child = model(tmp_path / "run.safetensors", "bad", parent.model_id, keep=False, value=2)
    with pytest.raises(lineage.NotAccepted, match=r"no gain on 3 cases.*--knowingly"):
        lineage.keep(child.path)
    assert default_model("optic") == "first"
    assert lineage.keep(child.path, knowingly=True).name == "bad"


def test_a_second_run_gets_a_free_name(tmp_path, parent):
    for value, expected in ((2, "first-tuned"), (3, "first-tuned-2")):
        child = model(tmp_path / f"{value}.safetensors", "first-tuned", parent.model_id, keep=True, value=value)
        kept = lineage.keep(child.path)
        assert kept.name == expected
        assert kept.model_id.startswith(f"{expected}@")
        read_model_file(kept.path)


def test_rollback_goes_back_step_by_step_and_then_refuses(tmp_path, parent):
    for value in (2, 3):
        lineage.keep(
            model(tmp_path / f"{value}.safetensors", f"m{value}", parent.model_id, keep=True, value=value).path
        )
    assert [lineage.rollback("optic") for _ in range(2)] == ["m2", "first"]
    lineage.rollback("optic")
    assert "optic" not in defaults()
    with pytest.raises(ValueError, match="nothing to roll back"):
        lineage.rollback("optic")


def test_the_tree_has_parents_before_children_even_after_a_rename(tmp_path, parent):
    child = model(tmp_path / "c.safetensors", "child", parent.model_id, keep=True, value=2)
    lineage.keep(child.path)
    grandchild = model(tmp_path / "g.safetensors", "grandchild", child.model_id, keep=True, value=3)
    lineage.keep(grandchild.path)
    lineage.rename("child", "camera-b")
    depth = {e.name: d for d, e in lineage.tree()}
    assert depth["first"] + 2 == depth["camera-b"] + 1 == depth["grandchild"]


def test_a_renamed_default_stays_the_default_and_rollback_still_finds_it(tmp_path, parent):
    lineage.keep(model(tmp_path / "c.safetensors", "child", parent.model_id, keep=True, value=2).path)
    lineage.rename("child", "camera-b")
    assert default_model("optic") == "camera-b"
    lineage.keep(model(tmp_path / "d.safetensors", "other", parent.model_id, keep=True, value=3).path)
    assert lineage.rollback("optic") == "camera-b"
    with pytest.raises(ModelFileError, match="not one of your models"):
        lineage.rename("optic-of-the-package", "x")


def test_an_exported_file_can_be_added_elsewhere_and_a_damaged_one_cannot(tmp_path, parent, monkeypatch):
    sent = lineage.export_file("first", tmp_path / "to_send.safetensors")
    with pytest.raises(OutputRefused, match="exists already"):
        lineage.export_file("first", sent)
    monkeypatch.setenv("TINYMIG_HOME", str(tmp_path / "elsewhere"))
    assert add_model(sent).model_id == parent.model_id
    raw = bytearray(sent.read_bytes())
    raw[-1] ^= 1
    sent.write_bytes(raw)
    with pytest.raises(ModelFileError, match=r"weights|damaged|hash"):
        add_model(sent, "damaged")
