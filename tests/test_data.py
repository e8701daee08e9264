"""Annotated folders: found in three layouts, split by case, resampled so that images and labels stay together."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from drawn import drawn_fundus, fundus_domain, prostate_domain
from napari_tinymig.training.data.cases import Case, find_cases, split_cases
from napari_tinymig.training.data.image_set import concatenate, load_set, middle_views, roi_of, soft_votes
from napari_tinymig.training.data.negatives import empty_frames, painted_over, window_without
from PIL import Image

from napari_tinymig.base.errors import TinyMIGError, UnreadableInput
from napari_tinymig.recipes.student import InputSpec, Recipe
from napari_tinymig.recipes.train import DataSpec, LossSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


def recipe(task=OPTIC, roi_scale=2.2, **more) -> Recipe:
    return Recipe(name="t", task=task, input=InputSpec(size=64, roi_scale=roi_scale), **more)


def test_a_domain_folder_gives_its_pairs_by_stem_and_leaves_unlabelled_images_out(tmp_path):
    folder = fundus_domain(tmp_path / "home", 3)
    Image.fromarray(drawn_fundus(9)[0]).save(folder / "images" / "unlabelled.png")
    cases = find_cases(folder)
    assert [c.name for c in cases] == ["eye_00", "eye_01", "eye_02"]
    assert cases[0].domain == "home"
    assert len(find_cases(folder, need_labels=False)) == 4


def test_nnunet_and_decathlon_folders_give_the_same_cases(tmp_path):
    plain = prostate_domain(tmp_path / "plain", 2)
    raw, decathlon = tmp_path / "raw", tmp_path / "decathlon"
    for folder, suffix in ((raw, "_0000"), (decathlon, "")):
        (folder / "imagesTr").mkdir(parents=True)
        (folder / "labelsTr").mkdir()
        for n in range(2):
            shutil.copy(plain / "images" / f"case{n}.nii.gz", folder / "imagesTr" / f"case{n}{suffix}.nii.gz")
            shutil.copy(plain / "labels" / f"case{n}.nii.gz", folder / "labelsTr" / f"case{n}.nii.gz")
    rows = [{"image": f"./imagesTr/case{n}.nii.gz", "label": f"./labelsTr/case{n}.nii.gz"} for n in range(2)]
    (decathlon / "dataset.json").write_text(json.dumps({"training": rows}))
    for folder in (raw, decathlon):
        assert [c.name for c in find_cases(folder)] == ["case0", "case1"]
        assert [c.content_hash() for c in find_cases(folder)] == [c.content_hash() for c in find_cases(plain)]


def test_a_folder_of_nothing_says_what_was_expected(tmp_path):
    with pytest.raises(UnreadableInput, match=r"expected a domain folder"):
        find_cases(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(UnreadableInput, match=r"no image with a label"):
        find_cases(tmp_path)


def test_images_of_one_patient_are_never_split(tmp_path):
    cases = [Case(f"p{p}_{k}", f"p{p}", tmp_path / "x", None) for p in range(10) for k in range(3)]
    for seed in range(5):
        train, held = split_cases(cases, DataSpec(val_fraction=0.2), seed)
        assert len(held) == 6
        assert not {c.case for c in train} & {c.case for c in held}
    folds = [{c.case for c in split_cases(cases, DataSpec(folds=4, fold=f), 0)[1]} for f in range(4)]
    assert set().union(*folds) == {f"p{p}" for p in range(10)}
    assert sum(len(f) for f in folds) == 10


def test_the_case_pattern_names_the_patient(tmp_path):
    folder = fundus_domain(tmp_path / "home", 4)
    cases = find_cases(folder, DataSpec(case_pattern=r"eye_(\d)"))
    assert {c.case for c in cases} == {"0"}


def test_the_disc_lies_in_the_middle_of_the_cached_region_at_the_scale_asked_for(tmp_path):
    data = load_set(find_cases(fundus_domain(tmp_path / "home", 4)), recipe())
    grids, targets = middle_views(data, range(4), 64)
    assert grids.shape == (4, 64, 64, 3)
    for target in targets:
        centre, diameter = roi_of(target)
        assert np.allclose(centre, 32, atol=1.5)
        assert diameter == pytest.approx(64 / 2.2, abs=2)
    assert (targets[:, 1] <= targets[:, 0] + 1e-6).all()  # the cup lies in the disc


def test_experts_votes_become_targets_whose_half_lies_at_the_agreement_level(tmp_path):
    folder = fundus_domain(tmp_path / "home", 2, experts=True)
    for level, kept in ((3, True), (4, False)):
        spec = recipe(data=DataSpec(cup_agreement=level))
        data = load_set(find_cases(folder), spec)
        assert bool(data.targets[:, 1].any()) is kept  # the drawn cup has three votes
    soft = load_set(find_cases(folder), recipe(data=DataSpec(cup_agreement=4), loss=LossSpec(soft_labels=True)))
    assert soft.targets[:, 1].max() == pytest.approx(255 * 0.75 ** (np.log(0.5) / np.log(3.5 / 4)), abs=1)
    for level in (1, 2, 3, 4):
        shares = soft_votes(np.arange(5, dtype=np.float32), level)
        assert shares[0] == 0
        assert shares[4] == pytest.approx(1)
        assert shares[level] > 0.5 > shares[level - 1]


def test_slices_know_their_neighbours_and_their_field_of_view(tmp_path):
    spec = Recipe(name="t", task=PROSTATE, input=InputSpec(size=64, normalisation="percentile_z", fov_mm=100.0))
    data = load_set(find_cases(prostate_domain(tmp_path / "home", 2)), spec)
    assert data.is_volume
    assert data.before.tolist() == [0, 0, 1, 2, 3, 5, 5, 6, 7, 8]
    assert data.after.tolist() == [1, 2, 3, 4, 4, 6, 7, 8, 9, 9]
    assert data.fov_mm == pytest.approx(128)
    assert data.view == pytest.approx(100 / 128)
    assert data.cases == ["case0"] * 5 + ["case1"] * 5


def test_a_label_of_another_shape_is_refused(tmp_path):
    folder = fundus_domain(tmp_path / "home", 2)
    Image.fromarray(np.ones((10, 10), np.uint8)).save(folder / "labels" / "eye_00.png")
    with pytest.raises(TinyMIGError, match=r"\(10, 10\)|10 x 10|10x10"):
        load_set(find_cases(folder), recipe())


def test_foreign_label_codes_are_mapped(tmp_path):
    folder = fundus_domain(tmp_path / "home", 1)
    path = folder / "labels" / "eye_00.png"
    ours = np.asarray(Image.open(path))
    Image.fromarray(np.array([255, 128, 0], np.uint8)[ours]).save(path)
    data = load_set(find_cases(folder), recipe(data=DataSpec(label_map={255: 0, 128: 1, 0: 2})))
    assert data.targets[0, 1].max() == 255


def test_frames_without_the_object_hold_none_of_it(tmp_path):
    polyps = recipe(POLYP, roi_scale=None, data=DataSpec(label_map={0: 0, 1: 1, 2: 1}))
    data = load_set(find_cases(fundus_domain(tmp_path / "home", 6)), polyps)
    made = empty_frames(data, polyps)
    assert len(made) >= 2  # drawn discs are central and large: few windows are free of them
    assert not made.targets.any()
    both = concatenate(data, made)
    assert len(both) == len(data) + len(made)
    image, labels = drawn_fundus(1)
    window = window_without(image, labels > 0, np.random.default_rng(0))
    assert window is None or (np.abs(window.astype(int) - [120, 60, 30]).mean() < 12)
    frame = np.full((96, 96, 3), (120, 60, 30), np.uint8)
    polyp = np.zeros((96, 96), bool)
    polyp[20:38, 62:82] = True
    frame[polyp] = (250, 220, 160)
    painted = painted_over(frame, polyp)
    assert painted is not None
    assert np.abs(painted[polyp].astype(int) - [120, 60, 30]).max() <= 2
    assert painted_over(frame, np.ones((96, 96), bool)) is None
