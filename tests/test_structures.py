"""Structures of a user's own: named in the viewer, collected in a set, and trained without a recipe file."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_leaves import leaf_picture

import napari_tinymig
from napari_tinymig.annotations.annotation_set import AnnotationSet
from napari_tinymig.annotations.structures import (
    OwnClass,
    begin_set,
    new_structure,
    offer_model,
    own_structures,
    set_folder,
    task_record_of_set,
    tasks_by_name,
)
from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.base.records import Scan
from napari_tinymig.recipes.structure import epochs_in

TWO = (OwnClass("leaf", "#40c040"), OwnClass("vein", "#ffffff", inside=True))


def test_a_structure_is_a_whole_task_record():
    task = new_structure("Oak leaf", "photograph", TWO)
    assert (task.name, task.title, task.measures) == ("oak-leaf", "Oak leaf", ("area",))
    assert [r.labels for r in task.regions] == [(1, 2), (2,)]
    assert [r.inside for r in task.regions] == [None, "leaf"]
    assert task.class_names == {0: "background", 1: "leaf", 2: "vein"}
    beside = new_structure("Oak", "volume", (TWO[0], OwnClass("stem", "#000000")))
    assert [r.labels for r in beside.regions] == [(1,), (2,)]
    assert beside.measures == ("volume",)


@pytest.mark.parametrize(
    ("title", "classes", "words"),
    [
        ("  ", (), "expected a word"),
        ("Optic", (), "is there already"),
        ("any", (), "is there already"),
        ("leaf", (TWO[0], TWO[0]), "different names"),
        ("leaf", (OwnClass(" ", "#000000"),), "different names"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_a_sentence(model_folder, title, classes, words):
    with pytest.raises(ValueError, match=words):
        new_structure(title, "photograph", classes)


def test_a_begun_structure_is_known_everywhere_before_it_has_a_model(model_folder):
    task = new_structure("Oak leaf", "photograph", TWO)
    folder = begin_set(task)
    assert folder == set_folder(task)
    assert own_structures() == {"oak-leaf": task}
    assert task_record_of_set(folder) == task
    assert tasks_by_name()["oak-leaf"] == task
    with pytest.raises(ValueError, match="is there already"):
        new_structure("oak leaf", "photograph")
    picture, mask = leaf_picture(0)
    session = napari_tinymig.prompt(picture, task="oak-leaf")
    assert not session.labels.any()
    at = tuple(np.argwhere(mask)[len(np.argwhere(mask)) // 2])
    session.click(at, 2)
    assert session.labels[at] == 2
    assert session.prediction.class_names[2] == "vein"
    with AnnotationSet(folder, task) as cases:
        cases.add(Scan(picture), mask)
    assert task_record_of_set(folder) == task
    with pytest.raises(OutputRefused, match="holds cases already"):
        begin_set(task)


def test_time_is_turned_into_rounds_of_a_sensible_number():
    assert epochs_in(50, 0.5) == 20
    assert epochs_in(0.1, 9) == 3
    assert epochs_in(1e6, 0.1) == 30


def test_a_model_of_a_structure_becomes_its_default_under_a_free_name(make_model, model_folder, tmp_path):
    from napari_tinymig.models.registry import default_model

    task = new_structure("Leaf", "photograph")
    best = make_model("leaf", task, [0.0], folder=tmp_path).path
    assert offer_model(best, task) == "leaf"
    assert offer_model(best, task) == "leaf-2"
    assert default_model("leaf") == "leaf-2"


def test_a_set_that_says_nothing_of_its_structure_or_has_one_case_is_refused(model_folder, tmp_path):
    from napari_tinymig.training.run.structure import train_structure

    with pytest.raises(ValueError, match="does not say what its masks show"):
        next(train_structure(tmp_path, tmp_path / "run"))
    task = new_structure("Leaf", "photograph")
    folder = begin_set(task)
    with pytest.raises(ValueError, match="holds 0 case"):
        next(train_structure(folder, tmp_path / "run"))
