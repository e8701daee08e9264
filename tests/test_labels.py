"""Labels are read as they are meant: foreign codes refused, unlabelled pixels ignored, choices of a set kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from drawn import drawn_fundus, fundus_domain, prostate_domain
from napari_tinymig.training.augmentation.apply import Augmenter
from napari_tinymig.training.data.batches import Batches
from napari_tinymig.training.data.cases import find_cases, labels_of, split_cases
from napari_tinymig.training.data.image_set import load_set, middle_known
from napari_tinymig.training.run.evaluate import evaluate
from PIL import Image

from napari_tinymig.annotations.annotation_set import AnnotationSet
from napari_tinymig.base.errors import UnreadableInput
from napari_tinymig.base.records import Scan
from napari_tinymig.recipes.student import InputSpec, Recipe
from napari_tinymig.recipes.train import DataSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


def recipe(task=OPTIC, roi_scale=2.2, **more) -> Recipe:
    return Recipe(name="t", task=task, input=InputSpec(size=64, roi_scale=roi_scale), **more)


def rewrite(folder, change):
    for path in sorted((folder / "labels").iterdir()):
        Image.fromarray(change(np.asarray(Image.open(path))).astype(np.uint8)).save(path)
    return find_cases(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: np.choose(a, [255, 128, 0]), r"holds the codes \[128\]"),
        (lambda a: np.where(a > 0, 255, 0), "holds only 0 and 255"),
        (lambda a: np.zeros_like(a), "holds only 0"),
        (lambda a: np.full_like(a, 255), "holds only 255"),
    ],
)
def test_codes_that_are_not_the_tasks_are_refused_not_learned_as_background(tmp_path, change, says):
    cases = rewrite(fundus_domain(tmp_path / "home", 1), change)
    with pytest.raises(UnreadableInput, match=says) as refused:
        load_set(cases, recipe())
    assert "1 = disc rim, 2 = cup" in str(refused.value)
    assert "label_map" in str(refused.value)


def test_mapped_codes_and_tasks_that_may_be_empty_are_read(tmp_path):
    cases = rewrite(fundus_domain(tmp_path / "home", 1), lambda a: np.choose(a, [255, 128, 0]))
    mapped = labels_of(cases[0], OPTIC, DataSpec(label_map={255: 0, 128: 1, 0: 2}))
    assert np.array_equal(mapped, drawn_fundus(0)[1])
    empty = rewrite(fundus_domain(tmp_path / "polyps", 1), np.zeros_like)
    assert not labels_of(empty[0], POLYP, DataSpec()).any()


def test_evaluation_says_which_labels_it_cannot_read_and_counts_them(tmp_path, make_model):
    rewrite(fundus_domain(tmp_path / "home", 2), lambda a: np.where(a > 0, 128, 0))
    model = make_model("m", OPTIC, [-0.2, 0.4], folder=tmp_path, input=InputSpec(size=64))
    messages = list(evaluate(model, [tmp_path / "home"], tmp_path / "out"))
    warnings = [m.text for m in messages if m.kind == "warning"]
    assert len(warnings) == 2
    assert "holds the codes [128]" in warnings[0]
    assert messages[-1].values == {"failed": 2}


def test_nothing_is_asked_of_a_model_where_nobody_labelled(tmp_path, make_model):
    folder = fundus_domain(tmp_path / "home", 1)
    model = make_model("m", OPTIC, [-0.2, 0.4], folder=tmp_path, input=InputSpec(size=64))

    def score():
        list(evaluate(model, [folder], tmp_path / "out"))
        return (tmp_path / "out" / "results.csv").read_text()

    whole = score()

    def far_left(labels):
        labels = labels.copy()
        labels[:, :10] = 255
        return labels

    rewrite(folder, far_left)  # the disc is elsewhere
    assert score().splitlines()[1].split(",")[4:6] == whole.splitlines()[1].split(",")[4:6]


def test_unlabelled_pixels_do_not_reach_the_loss(tmp_path):
    folder = fundus_domain(tmp_path / "home", 2)
    assert load_set(find_cases(folder), recipe()).known is None

    def right_half(labels):
        labels = labels.copy()
        labels[:, 48:] = 255
        return labels

    data = load_set(rewrite(folder, right_half), recipe(roi_scale=None))
    side = data.known.shape[-1]
    assert (data.known[0, 0, :, : side // 2 - 2] == 255).all()
    assert (data.known[0, 0, :, side // 2 + 2 :] == 0).all()
    shown = middle_known(data, [0, 1], 64)
    assert shown.shape == (2, 1, 64, 64)
    assert shown[:, 0, :, :30].all()
    assert not shown[:, 0, :, 34:].any()
    batches = Batches(data, recipe(roi_scale=None), torch.device("cpu"))
    assert isinstance(batches.augment, Augmenter)
    batch = next(batches.epoch(torch.Generator().manual_seed(0), False))
    assert 0 < float(batch.known.mean()) < 1


def test_slices_without_labels_are_unknown_not_empty(tmp_path):
    import nibabel as nib

    folder = prostate_domain(tmp_path / "home", 1)
    path = next((folder / "labels").iterdir())
    image = nib.load(path)
    labels = np.asarray(image.dataobj).astype(np.uint8)
    labels[..., 3:] = 255
    nib.save(nib.Nifti1Image(labels, image.affine), path)
    data = load_set(find_cases(folder), recipe(PROSTATE, None))
    assert [bool(k.all()) for k in data.known] == [True, True, True, False, False]
    assert not data.known[4].any()


def test_training_on_an_annotation_set_keeps_its_roles_and_leaves_excluded_cases_out(tmp_path):
    with AnnotationSet(tmp_path / "set", OPTIC, who="a") as made:
        for number in range(4):
            pixels, labels = drawn_fundus(number)
            made.add(Scan(pixels, None, f"eye{number}"), labels)
    path = tmp_path / "set" / "annotations.json"
    record = json.loads(path.read_text())
    record["cases"][0]["include"] = False
    record["cases"][1]["role"] = "val"
    path.write_text(json.dumps(record))
    cases = find_cases(tmp_path / "set")
    assert [c.name for c in cases] == ["eye1", "eye2", "eye3"]
    train, held = split_cases(cases, DataSpec(val_fraction=0.5), 0)
    assert [c.name for c in held] == ["eye1"]
    assert len(train) == 2
    for case in record["cases"][1:]:
        case["role"] = "train"
    path.write_text(json.dumps(record))
    assert split_cases(find_cases(tmp_path / "set"), DataSpec(val_fraction=0.5), 0)[1] == []
