"""Folders of images and masks as people have them: what belongs together, and what must not teach."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tune_drawn as drawn
from napari_tinymig.training.finetune.data import gather
from PIL import Image

from napari_tinymig.annotations.annotation_set import AnnotationSet, load_case, read_cases
from napari_tinymig.annotations.label_checks import check_labels
from napari_tinymig.annotations.plain_folder import plain_pairs, without_mask
from napari_tinymig.annotations.teaching_cases import refuse_useless
from napari_tinymig.base.errors import UnreadableInput
from napari_tinymig.base.records import Scan
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return drawn.tiny_model(tmp_path_factory.mktemp("model") / "optic.safetensors")


def relabel(folder: Path, change) -> Path:
    """The masks of a folder, each changed."""
    for path in (folder / "labels").iterdir():
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)
    return folder


def rename(folder: Path, change) -> None:
    for path in sorted(folder.iterdir()):
        path.rename(folder / change(path))


def test_case_umlauts_and_the_ending_of_our_own_masks_do_not_keep_a_pair_apart(tmp_path):
    drawn.write_domain(tmp_path, range(3))
    rename(tmp_path / "images", lambda p: f"Müller {p.stem}".upper() + ".PNG")
    rename(tmp_path / "labels", lambda p: unicodedata.normalize("NFD", f"müller {p.stem}") + "_mask.png")
    cases = read_cases(tmp_path)
    assert len(cases) == 3
    assert all(load_case(tmp_path, c)[1].any() for c in cases)
    assert without_mask(tmp_path) == ""


def test_names_that_do_not_agree_are_said_with_examples(tmp_path, model):
    drawn.write_domain(tmp_path, range(3))
    rename(tmp_path / "labels", lambda p: f"annotated-{p.name}")
    with pytest.raises(UnreadableInput, match=r"second_0, .*annotated-second_0.png.*name of its image"):
        read_cases(tmp_path)
    (tmp_path / "labels" / "annotated-second_1.png").rename(tmp_path / "labels" / "second_1.png")
    assert [c.stem for c in read_cases(tmp_path)] == ["second_1"]
    assert "No mask of the same name in labels/ for 2 image(s)" in gather(tmp_path, model).warnings[-1]


def test_files_that_are_no_images_and_an_image_saved_twice_are_no_cases(tmp_path):
    drawn.write_domain(tmp_path, range(2))
    for name in ("images/Thumbs.db", "labels/Thumbs.db", "images/second_0.txt", "labels/notes.txt", "images/notes.txt"):
        (tmp_path / name).write_text("x")
    Image.open(tmp_path / "images" / "second_1.png").save(tmp_path / "images" / "second_1.jpg")
    assert len(read_cases(tmp_path)) == 2


def test_another_layout_is_named(tmp_path):
    drawn.write_domain(tmp_path / "set", range(1))
    with pytest.raises(UnreadableInput, match=r"choose the folder above it, .*set"):
        read_cases(tmp_path / "set" / "images")
    (tmp_path / "set" / "labels").rename(tmp_path / "set" / "masks")
    with pytest.raises(UnreadableInput, match="found the folders images, masks; rename them"):
        read_cases(tmp_path / "set")
    with pytest.raises(UnreadableInput, match="does not exist"):
        read_cases(tmp_path / "nowhere")


def test_an_nnunet_folder_teaches_too(tmp_path, model):
    drawn.write_domain(tmp_path, range(2))
    rename(tmp_path / "images", lambda p: f"{p.stem}_0000.png")
    (tmp_path / "images").rename(tmp_path / "imagesTr")
    (tmp_path / "labels").rename(tmp_path / "labelsTr")
    assert [i.name for i in gather(tmp_path, model).items] == ["second_0", "second_1"]


def test_a_folder_of_dicom_files_is_one_image(tmp_path, dicom_series_maker):
    scan, labels = drawn.gland()
    dicom_series_maker(tmp_path / "images" / "case1", scan.pixels.astype(np.int16), np.eye(3), (1, 1, 3), (0, 0, 0))
    (tmp_path / "labels").mkdir()
    import nibabel as nib

    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(labels.T, affine), tmp_path / "labels" / "case1.nii.gz")
    (case,) = read_cases(tmp_path)
    assert (case.stem, case.image) == ("case1", "images/case1")
    read, mask = load_case(tmp_path, case)
    assert np.array_equal(read.pixels, scan.pixels)
    assert np.array_equal(mask, labels)


def test_0_and_255_are_not_taken_for_nothing_and_not_labelled(tmp_path, model):
    """Most programs write the object as 255, which means 'not labelled' here."""
    drawn.write_domain(tmp_path, range(3))
    relabel(tmp_path, lambda m: np.where(m > 0, 255, 0).astype(np.uint8))
    with pytest.raises(ValueError, match=r"255 means 'not labelled' here; if 255 is the disc.*0:0,255:1"):
        gather(tmp_path, model)
    assert gather(tmp_path, model, "0:0,255:1").annotated == 3


def test_one_empty_frame_does_not_hide_that_all_other_masks_have_foreign_codes(tmp_path, model):
    folder = drawn.write_domain(tmp_path, range(3))
    relabel(folder, lambda m: np.where(m > 0, 255, 0).astype(np.uint8))
    first = folder / "labels" / "second_0.png"
    Image.fromarray(drawn.eye(0, "second")[1]).save(first)
    with pytest.raises(ValueError, match="only 1 of 3 annotated images"):
        gather(folder, model)


def test_background_strokes_of_our_own_set_are_no_foreign_codes(tmp_path):
    scan, _ = drawn.eye(0)
    labels = np.full(scan.grid_shape, 255, np.uint8)
    labels[:4] = 0
    with AnnotationSet(tmp_path, POLYP) as project:
        project.add(scan, labels)
    assert check_labels(labels, scan, POLYP) == []
    assert check_labels(labels, scan, POLYP, foreign=True)[0].severity == "error"


def test_a_mask_with_soft_edges_gets_advice_that_can_be_followed():
    scan, labels = drawn.eye(0)
    soft = (labels * 100 + np.arange(96) % 20 * (labels > 0)).astype(np.uint8)
    (finding,) = check_labels(soft, scan, OPTIC)
    assert "soft edges; save the mask as PNG" in finding.text
    assert "--labels" not in finding.text


def test_a_cup_without_a_rim_is_refused_unless_the_rest_is_not_labelled():
    scan, labels = drawn.eye(0)
    cup = np.where(labels == 2, 2, 0).astype(np.uint8)
    (finding,) = check_labels(cup, scan, OPTIC)
    assert finding.severity == "error"
    assert "paint the disc rim (1), too" in finding.text
    assert all(f.severity != "error" for f in check_labels(np.where(cup, cup, 255).astype(np.uint8), scan, OPTIC))


def test_three_painted_slices_of_a_volume_do_not_teach_that_the_others_are_empty():
    scan, labels = drawn.gland(slices=20)
    three = np.zeros_like(labels)
    three[[7, 10, 13]] = labels[[7, 10, 13]]
    (finding,) = check_labels(three, scan, PROSTATE)
    assert finding.severity == "error"
    assert "4 slice(s) between painted ones are empty (slice 9" in finding.text
    together = np.zeros_like(labels)
    together[9:12] = labels[9:12]
    (finding,) = check_labels(together, scan, PROSTATE)
    assert (finding.severity, "Only 3 of 20 slices" in finding.text) == ("warning", True)
    assert check_labels(labels, scan, PROSTATE) == []


def test_grey_photographs_and_coloured_slices_teach_as_they_are_segmented(tmp_path, model):
    drawn.write_domain(tmp_path, range(2))
    for path in (tmp_path / "images").iterdir():
        Image.open(path).convert("L").save(path)
    material = gather(tmp_path, model)
    assert [i.scan.kind for i in material.items] == ["photograph"] * 2


def test_a_mask_drawn_on_a_turned_photograph_lies_on_its_object(tmp_path):
    """A camera that was held upright: the file says 'turn me', the mask was drawn by a program that does not."""
    scan, labels = drawn.eye(3)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(scan.pixels[:80]).save(tmp_path / "images" / "a.jpg", exif=turned)
    Image.fromarray(labels[:80]).save(tmp_path / "labels" / "a.png")
    (case,) = read_cases(tmp_path)
    read, mask = load_case(tmp_path, case)
    assert read.grid_shape == (96, 80)
    assert np.array_equal(mask, np.rot90(labels[:80], -1))


def test_many_masks_of_one_fault_are_told_in_a_few_sentences(tmp_path, model):
    with AnnotationSet(tmp_path, OPTIC) as project:
        for seed in range(9):
            scan, labels = drawn.eye(seed)
            project.add(Scan(scan.pixels, None, f"e{seed}"), labels)
    for seed in range(8):
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(tmp_path / "labels" / f"e{seed}.png")
    material = gather(tmp_path, model)
    assert material.annotated == 1
    assert len(material.warnings) == 6
    assert "3 more" in material.warnings[-1]


def test_a_set_of_another_task_does_not_teach(tmp_path, model):
    """A polyp is 1, and so is the disc's rim: an optic model would learn that eyes have no cup."""
    scan, labels = drawn.eye(0)
    with AnnotationSet(tmp_path, POLYP) as project:
        project.add(scan, (labels > 0).astype(np.uint8))
    with pytest.raises(ValueError, match="masks of the task 'polyp', the model is for 'optic'"):
        gather(tmp_path, model)


def test_an_empty_folder_is_called_empty(tmp_path):
    with pytest.raises(UnreadableInput, match=r"expected the folders images/ and labels/ .* it is empty"):
        plain_pairs(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(UnreadableInput, match="found files alone"):
        plain_pairs(tmp_path)


def test_one_fault_of_all_masks_is_told_once():
    with pytest.raises(ValueError, match=r"mended mask\. Left out: a: \[128\]\. 2 more are left out\.$"):
        refuse_useless(Path("set"), 0, ["Left out: a: [128].", "Left out: b: [128].", "Left out: c: [128]."])
    with pytest.raises(ValueError, match="holds no annotated image that is included"):
        refuse_useless(Path("set"), 0, [])
