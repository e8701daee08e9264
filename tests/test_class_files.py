"""One file for each class is one mask: in measure, compare, finetune, training and the viewer alike, or a sentence."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from cli_parts import photograph, rows_of
from PIL import Image

from napari_tinymig.annotations.annotation_set import load_case, read_cases
from napari_tinymig.base.errors import UnsupportedInput
from napari_tinymig.formats import open_mask
from napari_tinymig.formats.foreign_masks.class_files import class_files, named_class
from napari_tinymig.formats.mask_sets import case_name, find_masks

y, x = np.mgrid[:120, :140]
DISC = ((y - 60) / 40) ** 2 + ((x - 70) / 36) ** 2 <= 1
CUP = ((y - 62) / 20) ** 2 + ((x - 72) / 18) ** 2 <= 1
TRUTH = DISC.astype(np.uint8) + CUP


def save(path, mask, value=255):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray((mask * value).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("disc", "cup"),
    [
        ("a_disc.png", "a_cup.png"),
        ("a-OD.tif", "a-OC.tif"),
        ("a_disc_mask.png", "a_cup_mask.png"),
        ("Disc a.bmp", "Cup a.bmp"),
        ("disc/a.png", "cup/a.png"),
        ("Disc masks/a_disc.png", "Cup masks/a_cup.png"),
    ],
)
def test_a_file_for_each_class_is_one_mask(tmp_path, disc, cup):
    save(tmp_path / disc, DISC)
    save(tmp_path / cup, CUP)
    for name in (disc, cup):
        mask = open_mask(tmp_path / name)
        assert np.array_equal(mask.labels, TRUTH)
        assert mask.name == case_name(tmp_path / name) == "a"
        assert mask.notes[0].startswith("Put together from ")
    assert find_masks([tmp_path]) == [tmp_path / disc]
    assert find_masks([tmp_path / cup, tmp_path / disc]) == [tmp_path / disc]


def test_rim_and_cup_side_by_side_are_one_mask(tmp_path):
    save(tmp_path / "a_disc_rim.png", DISC & ~CUP)
    save(tmp_path / "a_cup.png", CUP)
    assert np.array_equal(open_mask(tmp_path / "a_cup.png").labels, TRUTH)
    save(tmp_path / "a_disc_rim.png", DISC)
    with pytest.raises(UnsupportedInput, match=f"{CUP.sum()} pixels of the .* are of another class, too"):
        open_mask(tmp_path / "a_cup.png")


def test_a_cup_that_crosses_its_disc_is_noted_and_one_beside_it_refused(tmp_path):
    save(tmp_path / "a_disc.png", DISC)
    wide = CUP.copy()
    wide[20, 70] = wide[10, 70] = True
    save(tmp_path / "a_cup.png", wide)
    mask = open_mask(tmp_path / "a_disc.png")
    assert mask.labels[10, 70] == 2
    assert mask.notes[-1] == "1 pixels of the cup outside of the disc count as both."
    save(tmp_path / "a_cup.png", np.roll(CUP, 45, 1))
    with pytest.raises(UnsupportedInput, match=r"of \d+ pixels of the cup lie outside of the disc"):
        open_mask(tmp_path / "a_disc.png")


def test_files_that_cannot_be_put_together_are_sentences(tmp_path):
    save(tmp_path / "a_disc.png", DISC)
    for name, cup, told in (
        ("a_cup.png", TRUTH, "a_cup.png holds the codes 0, 1, 2, and its name, beside a_disc.png, says one class"),
        ("a_cup.png", 1 - CUP.astype(np.uint8), "in all its corners, as a background does; .* --labels 1:0,0:1"),
        ("a_cup.png", CUP[:-1], "expected equal grids of the classes of one image"),
    ):
        save(tmp_path / name, cup, 1)
        with pytest.raises(UnsupportedInput, match=told):
            open_mask(tmp_path / name)
    save(tmp_path / "a_cup.png", CUP)
    save(tmp_path / "a_OC.png", CUP)
    with pytest.raises(UnsupportedInput, match="both hold the .* of one image; expected one file for each class"):
        open_mask(tmp_path / "a_disc.png")


def test_names_alone_make_no_group(tmp_path):
    """Right eyes (OD) without a file of a cup are masks of their own, and so are volumes of one class."""
    save(tmp_path / "7_OD.png", TRUTH, 1)
    save(tmp_path / "7_OS.png", TRUTH, 1)
    assert class_files(tmp_path / "7_OD.png") is None
    assert len(find_masks([tmp_path])) == 2
    nib.save(nib.Nifti1Image(np.ones((9, 9, 3), np.uint8), np.eye(4)), tmp_path / "b_gland.nii.gz")
    assert class_files(tmp_path / "b_gland.nii.gz") is None
    assert named_class("discus") is None


def test_a_volume_of_each_class_keeps_the_grid(tmp_path):
    affine = np.diag([-0.5, -0.6, 3.0, 1.0])
    for word, mask in (("disc", DISC), ("cup", CUP)):
        nib.save(nib.Nifti1Image(np.stack([mask] * 2, -1).astype(np.uint8), affine), tmp_path / f"a_{word}.nii.gz")
    mask = open_mask(tmp_path / "a_cup.nii.gz")
    assert np.array_equal(mask.geometry.to_stored(mask.labels), np.stack([TRUTH] * 2, -1))
    assert np.array_equal(mask.stored.array, np.stack([TRUTH] * 2, -1))


def test_measure_gives_one_row_for_the_classes_of_one_image(tinymig, tmp_path):
    save(tmp_path / "m" / "a_disc.png", DISC)
    save(tmp_path / "m" / "a_cup.png", CUP)
    save(tmp_path / "m" / "b_cup.png", CUP)
    done = tinymig("measure", "m", "-o", "out", code=1)
    assert "Put together from a_disc.png (disc) and a_cup.png (cup)." in done.stdout
    one, other = rows_of(tmp_path / "out")
    assert (one["file"], one["disc_area_px"], one["cup_area_px"]) == ("m/a_disc.png", str(DISC.sum()), str(CUP.sum()))
    assert "its name says cup; expected the disc of b beside it (b_disc.png)" in other["error"]
    assert "--labels 0:0,255:2" in other["error"]
    done = tinymig("measure", "m/b_cup.png", "-o", "out", "--labels", "0:0,255:2", code=0)
    assert f"cup area {CUP.sum()} px" in done.stdout


def test_compare_pairs_them_with_a_mask_of_all_classes(tinymig, tmp_path):
    save(tmp_path / "one" / "disc" / "a.png", DISC)
    save(tmp_path / "one" / "cup" / "a.png", CUP)
    save(tmp_path / "two" / "a_mask.png", TRUTH, 1)
    assert "a: disc Dice 1.000" in tinymig("compare", "one", "two", "-o", "out", code=0).stdout


@pytest.mark.parametrize(("disc", "cup"), [("{}_disc.png", "{}_cup.png"), ("disc/{}.png", "cup/{}.png")])
def test_fine_tuning_and_training_read_them_as_one(tmp_path, disc, cup):
    from napari_tinymig.training.data.cases import find_cases, labels_of

    from napari_tinymig.recipes.train import DataSpec
    from napari_tinymig.tasks.optic import OPTIC

    (tmp_path / "images").mkdir()
    rows, columns = np.mgrid[:300, :400]
    outer, inner = np.hypot(rows - 150, columns - 250) < 38, np.hypot(rows - 150, columns - 250) < 19
    for name in ("a", "B"):
        photograph(tmp_path / "images" / f"{name}.png")
        save(tmp_path / "labels" / disc.format(name), outer)
        save(tmp_path / "labels" / cup.format(name.lower()), inner)
    cases = read_cases(tmp_path)
    assert [c.stem for c in cases] == ["B", "a"]
    for case in cases:
        assert np.array_equal(load_case(tmp_path, case)[1], outer + inner.astype(np.uint8))
    found = find_cases(tmp_path)
    assert len(found) == 2
    assert np.array_equal(labels_of(found[0], OPTIC, DataSpec()), outer + inner.astype(np.uint8))
    before = found[0].content_hash()
    save(tmp_path / "labels" / cup.format("b"), inner[::-1])
    assert find_cases(tmp_path)[0].content_hash() != before


def test_an_image_named_like_a_class_keeps_its_own_mask(tmp_path):
    for word, mask in (("disc", DISC), ("cup", CUP)):
        save(tmp_path / "images" / f"a_{word}.png", np.arange(mask.size).reshape(mask.shape) % 251, 1)
        save(tmp_path / "labels" / f"a_{word}.png", mask, 1)
    for case, mask in zip(read_cases(tmp_path), (CUP, DISC)):
        assert np.array_equal(load_case(tmp_path, case)[1][0], mask)


def test_training_meets_a_mask_of_twice_the_size_as_everywhere(tmp_path):
    from napari_tinymig.training.data.cases import find_cases
    from napari_tinymig.training.data.image_set import load_set

    from napari_tinymig.recipes.student import load_recipe

    photograph(tmp_path / "images.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images.png").rename(tmp_path / "images" / "a.png")
    rows, columns = np.mgrid[:300, :400]
    mask = (np.hypot(rows - 150, columns - 250) < 38).astype(np.uint8) + (np.hypot(rows - 150, columns - 250) < 19)
    recipe = load_recipe("optic")
    sets = []
    for factor in (1, 2):
        save(tmp_path / "labels" / "a.png", mask.repeat(factor, 0).repeat(factor, 1), 1)
        sets.append(load_set(find_cases(tmp_path), recipe))
    assert np.array_equal(sets[0].targets, sets[1].targets)
    save(tmp_path / "labels" / "a.png", mask[:-3], 1)
    with pytest.raises(UnsupportedInput, match="expected equal grids"):
        load_set(find_cases(tmp_path), recipe)


def test_the_viewers_reader_gives_one_layer_of_labels(tmp_path):
    from napari_tinymig.viewer.napari_io.readers import get_reader

    pair = [save(tmp_path / "a_disc.png", DISC), save(tmp_path / "a_cup.png", CUP)]
    for paths in (pair, pair[1:]):
        with pytest.warns(UserWarning, match="Put together from"):
            [(labels, attributes, kind)] = get_reader([str(p) for p in paths])([str(p) for p in paths])
        assert (kind, attributes["name"]) == ("labels", "a")
        assert np.array_equal(labels, TRUTH)
    photographs = [photograph(tmp_path / "b_disc.png"), photograph(tmp_path / "b_cup.png")]
    assert get_reader([str(p) for p in photographs]) is None
