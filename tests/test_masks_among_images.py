"""Masks that lie among images are named as masks, and no model looks at them; such photographs are images."""

from __future__ import annotations

import numpy as np
import pytest
from cli_parts import photograph, rows_of, volume
from PIL import Image

from napari_tinymig.formats import find_inputs, find_scans, masks_left_out
from napari_tinymig.formats.foreign_masks.beside_images import holds_codes, image_of, masks_beside

y, x = np.mgrid[:300, :400]
DISC = np.hypot(y - 150, x - 250) < 40


def annotated(folder):
    """a.png with class files and a mask, 7_OD.png (a photograph of a right eye) beside 7.png."""
    folder.mkdir()
    for name in ("a", "7", "7_OD"):
        photograph(folder / f"{name}.png")
    for name in ("a_disc", "a_cup", "a_mask"):
        Image.fromarray((DISC * 255).astype(np.uint8)).save(folder / f"{name}.png")
    soft = Image.fromarray((DISC * 255).astype(np.uint8)).resize((200, 150), Image.Resampling.BICUBIC)
    soft.save(folder / "A_OC.jpg", quality=60)
    return folder


def names(items):
    return [item.path.name for item in items]


def test_class_files_and_masks_beside_their_image_are_left_out_and_named(tmp_path):
    folder = annotated(tmp_path / "in")
    assert names(find_inputs([folder])) == ["7.png", "7_OD.png", "a.png"]
    told = masks_left_out([folder])
    assert told == (
        "Taken for masks of the images beside them, and left out: A_OC.jpg, a_cup.png, a_disc.png, a_mask.png."
    )
    assert masks_left_out([folder / "a.png"]) == ""
    assert masks_left_out([folder], [folder / n for n in ("A_OC.jpg", "a_cup.png", "a_disc.png", "a_mask.png")]) == ""


def test_a_mask_given_by_its_name_or_without_its_image_is_a_row_with_its_reason(tmp_path):
    folder = annotated(tmp_path / "in")
    given = find_scans([folder / "a.png", folder / "a_disc.png", folder / "7_OD.png"])
    assert [bool(item.problem) for item in given] == [False, True, False]
    assert given[1].problem.startswith("a_disc.png is a mask by its name and by what it holds, not an image; expected")
    (folder / "a.png").unlink()
    alone = {item.path.name: item.problem for item in find_scans([folder])}
    assert [name for name, problem in alone.items() if problem] == ["A_OC.jpg", "a_cup.png", "a_disc.png", "a_mask.png"]


def test_volumes_of_classes_and_labels_belong_to_their_scan(tmp_path):
    for name in ("a", "a_gland", "a_seg", "a.seg"):
        volume(tmp_path / f"{name}.nii.gz")
    assert names(find_inputs([tmp_path])) == ["a.nii.gz"]
    assert "a_gland.nii.gz" in masks_left_out([tmp_path])


@pytest.mark.parametrize(
    ("name", "image"),
    [("a_mask", "a"), ("a_cup_mask", "a"), ("cup-a", "a"), ("a_labels", "a"), ("discus", None), ("a", None)],
)
def test_the_image_that_a_name_speaks_of(tmp_path, name, image):
    assert image_of(tmp_path / f"{name}.png") == image


def test_pictures_of_codes_and_pictures_of_the_world(tmp_path):
    codes = (DISC * 1).astype(np.uint8)
    pictures = {
        "codes": Image.fromarray(codes),
        "colours": Image.fromarray(np.stack([codes * 200, codes * 90, 0 * codes], -1)),
        "palette": Image.fromarray(codes).convert("P"),
        "soft": Image.fromarray(codes * 255).resize((700, 500), Image.Resampling.BICUBIC),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
        assert holds_codes(tmp_path / f"{name}.png")
    photograph(tmp_path / "eye.png")
    Image.fromarray(((x + y) // 3).astype(np.uint8)).save(tmp_path / "grey.png")
    (tmp_path / "no.png").write_bytes(b"no picture")
    assert not any(holds_codes(tmp_path / f"{name}.png") for name in ("eye", "grey", "no", "absent"))


def test_an_overlay_and_a_mask_of_a_dicom_folder_are_left_out(tmp_path):
    files = [tmp_path / name for name in ("1.dcm", "in_overlay.png", "in_mask.png", "other.png")]
    assert masks_beside(files, ["in"]) == files[1:3]


def test_segment_names_the_masks_and_segments_the_images(tinymig, tmp_path):
    folder = annotated(tmp_path / "in")
    (folder / "7.png").unlink()
    (folder / "7_OD.png").unlink()
    done = tinymig("segment", "in", "-o", "out", "--task", "optic", code=0)
    assert "left out: A_OC.jpg, a_cup.png, a_disc.png, a_mask.png." in done.stdout
    assert [row["file"] for row in rows_of(tmp_path / "out")] == ["in/a.png"]
    tinymig("segment", "in/a_disc.png", "-o", "out", "--task", "optic", code=1)
    assert "is a mask by its name" in {r["file"]: r["error"] for r in rows_of(tmp_path / "out")}["in/a_disc.png"]


def test_cases_of_a_folder_are_its_images_and_a_sentence_tells_of_the_rest(tmp_path):
    from napari_tinymig.viewer.cases.folder import cases_of

    cases, problems = cases_of(annotated(tmp_path / "in"))
    assert [case.name for case in cases] == ["7", "7_OD", "a"]
    assert problems == ["Taken for masks of the images beside them, and left out: A_OC.jpg, a_cup.png, a_disc.png."]


def alone(folder):
    """Four photographs and a mask whose image is not there."""
    folder.mkdir()
    for name in "abcd":
        photograph(folder / f"{name}.png")
    Image.fromarray((DISC * 255).astype(np.uint8)).save(folder / "lost_disc.png")
    return folder


def test_a_mask_without_its_image_is_no_case_no_reference_and_nothing_to_rank(tinymig, tmp_path):
    from napari_tinymig.annotations.reference_folder import reference_items
    from napari_tinymig.viewer.cases.folder import cases_of

    folder = alone(tmp_path / "in")
    cases, [problem] = cases_of(folder)
    assert [case.name for case in cases] == ["a", "b", "c", "d"]
    assert problem.startswith("lost_disc.png is a mask by its name")
    assert [i.path.name for i in reference_items(folder) if not i.problem] == ["a.png", "b.png", "c.png", "d.png"]
    done = tinymig("next", "in", "--task", "optic", code=1)
    assert len(done.stdout.splitlines()) == 4
    assert "lost_disc.png is a mask by its name" in done.stderr


def test_next_names_the_masks_beside_the_images_it_ranks(tinymig, tmp_path):
    annotated(tmp_path / "in")
    done = tinymig("next", "in", "--task", "optic", code=0)
    assert "left out: A_OC.jpg, a_cup.png, a_disc.png, a_mask.png." in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_no_prompt_mends_a_mask_as_if_it_were_the_image(tinymig, tmp_path):
    (tmp_path / "clicks.json").write_text(
        '{"format": 1, "task": "any", "start": "empty", '
        '"prompts": [{"kind": "click", "positions": [[150, 250]], "label": 1}]}'
    )
    folder = annotated(tmp_path / "in")
    done = tinymig("prompt", folder / "a_disc.png", "--prompts", "clicks.json", "-o", "out", code=2)
    assert "a_disc.png is a mask by its name" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_mask_teaches_an_adapted_model_nothing(parent, tmp_path):
    from napari_tinymig.jobs.adapting import adapt_to

    folder = alone(tmp_path / "in")
    (folder / "d.png").unlink()
    for number in range(3):
        Image.fromarray((DISC * 255).astype(np.uint8)).save(folder / f"lost{number}_mask.png")
    with pytest.raises(ValueError, match=r"only [0-3] of 7 images can be used"):
        adapt_to(parent.path, [folder], tmp_path / "out")
