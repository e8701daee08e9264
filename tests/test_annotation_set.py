"""The annotation set: what is written, what is refused, what is never lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_tinymig.annotations.annotation_set import (
    AnnotationConflict,
    AnnotationSet,
    load_case,
    read_cases,
)
from napari_tinymig.annotations.teaching_cases import label_map_for
from napari_tinymig.annotations.trail import told
from napari_tinymig.base.errors import OutputRefused, UnreadableInput, UnsupportedInput
from napari_tinymig.base.records import Scan
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


def eye(seed: int = 0, name: str = "eye") -> Scan:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    return Scan(pixels, None, name)


def disc(shape=(40, 50), radius=10) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    r = np.hypot(y - 20, x - 25)
    return ((r < radius).astype(np.uint8) + (r < radius / 2)).astype(np.uint8)


def volume(dtype=np.int16) -> tuple[Scan, np.ndarray]:
    pixels = np.random.default_rng(1).integers(-5, 900, (5, 24, 32)).astype(dtype)
    labels = np.full(pixels.shape, 255, np.uint8)
    labels[2] = 0
    labels[2, 8:16, 10:20] = 1
    return Scan(pixels, (3.0, 0.5, 0.7), "case01"), labels


def test_an_image_and_its_mask_come_back_pixel_for_pixel(tmp_path):
    scan, labels = eye(), disc()
    with AnnotationSet(tmp_path, OPTIC, who="Ana") as project:
        case, warnings = project.add(scan, labels, source="camera/eye.jpg", model_id="optic@1234")
    assert warnings == []
    assert (case.who, case.model_id, case.source) == ("Ana", "optic@1234", "camera/eye.jpg")
    (read,) = read_cases(tmp_path)
    assert read == case
    back, mask = load_case(tmp_path, read)
    assert np.array_equal(back.pixels, scan.pixels)
    assert np.array_equal(mask, labels)


def test_what_is_not_labelled_does_not_count_as_mended(tmp_path):
    predicted = disc()
    labels = np.full_like(predicted, 255)
    labels[20, :10] = 1  # ten pixels of the background that the model should have called rim
    with AnnotationSet(tmp_path, OPTIC) as project:
        case, _ = project.add(eye(), labels, prediction=predicted)
    assert case.changed_fraction == pytest.approx(10 / labels.size)


def test_a_set_of_ours_takes_no_foreign_label_codes(tmp_path):
    with AnnotationSet(tmp_path / "set", OPTIC) as project:
        project.add(eye(), disc())
    with pytest.raises(ValueError, match="leave --labels out"):
        label_map_for(tmp_path / "set", "0:0")
    assert label_map_for(tmp_path / "set", "") is None
    assert label_map_for(tmp_path, "255:0,128:1") == {255: 0, 128: 1}


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32, np.uint8])
def test_a_volume_with_one_painted_slice_keeps_type_spacing_and_the_unlabelled_rest(tmp_path, dtype):
    scan, labels = volume(dtype)
    with AnnotationSet(tmp_path, PROSTATE) as project:
        labels[4] = labels[2]  # two slices with a gap are two pieces, and no mistake
        case, warnings = project.add(scan, labels)
    assert warnings == []
    assert case.labelled_fraction == pytest.approx(2 / 5)
    back, mask = load_case(tmp_path, read_cases(tmp_path)[0])
    assert back.pixels.dtype == dtype
    assert np.array_equal(back.pixels, scan.pixels)
    assert back.spacing_mm == pytest.approx(scan.spacing_mm)
    assert np.array_equal(mask, labels)


def test_a_grey_slice_without_spacing_stays_a_one_slice_volume(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (1, 30, 30)).astype(np.uint8)
    labels = np.zeros((1, 30, 30), np.uint8)
    labels[0, 5:20, 5:20] = 1
    with AnnotationSet(tmp_path, PROSTATE) as project:
        project.add(Scan(pixels, None, "slice"), labels)
    back, mask = load_case(tmp_path, read_cases(tmp_path)[0])
    assert back.spacing_mm is None
    assert np.array_equal(back.pixels, pixels)
    assert np.array_equal(mask, labels)


def test_the_share_of_mended_pixels_is_written_down(tmp_path):
    prediction = disc()
    labels = prediction.copy()
    labels[0, :20] = 1
    with AnnotationSet(tmp_path, OPTIC) as project:
        case, warnings = project.add(eye(), labels, prediction=prediction)
    assert case.changed_fraction == pytest.approx(20 / 2000)
    assert "2 pieces" in warnings[0].text


def test_an_untouched_prediction_is_taken_with_a_warning(tmp_path):
    with AnnotationSet(tmp_path, OPTIC) as project:
        _, warnings = project.add(eye(), disc(), prediction=disc())
    assert "teaches nothing new" in warnings[0].text


@pytest.mark.parametrize(
    "labels, sentence",
    [
        (np.zeros((40, 51), np.uint8), r"shape \(40, 51\), the image \(40, 50\)"),
        (np.full((40, 50), 7, np.uint8), r"values \[7\]; expected 0 = background, 1 = disc rim, 2 = cup"),
        (np.zeros((40, 50), np.uint8), "mask is empty; expected a disc"),
        (np.full((40, 50), 255, np.uint8), "Nothing is labelled"),
        (np.zeros((40, 50), np.float32), "float32 numbers; expected whole numbers"),
    ],
)
def test_masks_that_cannot_teach_are_refused_and_nothing_is_written(tmp_path, labels, sentence):
    with AnnotationSet(tmp_path, OPTIC) as project, pytest.raises(ValueError, match=sentence):
        project.add(eye(), labels)
    assert read_cases(tmp_path) == []
    assert list((tmp_path / "images").iterdir()) == []


def test_an_empty_polyp_mask_is_an_answer(tmp_path):
    with AnnotationSet(tmp_path, POLYP) as project:
        case, _ = project.add(eye(), np.zeros((40, 50), np.uint8))
    assert case.labelled_fraction == 1


def test_another_mask_for_the_same_image_is_refused_until_replace_and_the_old_one_is_kept(tmp_path):
    with AnnotationSet(tmp_path, OPTIC, who="Ana") as project:
        first, _ = project.add(eye(), disc(radius=10))
        with pytest.raises(AnnotationConflict, match=r"mended by Ana.*untouched prediction"):
            project.add(eye(name="copy"), disc(radius=14), prediction=disc(radius=14))
        second, _ = project.add(eye(name="copy"), disc(radius=14), replace=True)
    assert second.stem == first.stem
    assert len(read_cases(tmp_path)) == 1
    (old,) = (tmp_path / "history").iterdir()
    assert np.array_equal(np.asarray(Image.open(old)), disc(radius=10))


def test_the_trail_tells_who_mended_a_mask_before_when_and_from_which_model(tmp_path):
    with AnnotationSet(tmp_path, OPTIC, who="Ana") as project:
        project.add(eye(), disc(radius=10), model_id="optic@1234")
        again, _ = project.add(eye(), disc(radius=10), model_id="optic@1234")
        assert again.earlier == ()  # the same mask once more is no step
    with AnnotationSet(tmp_path, OPTIC, who="Ben") as project:
        project.add(eye(), disc(radius=12), replace=True)
        case, _ = project.add(eye(), disc(radius=14), replace=True)
    (read,) = read_cases(tmp_path)
    assert read == case
    assert [(m.who, m.model_id) for m in read.earlier] == [("Ana", "optic@1234"), ("Ben", "")]
    assert [line.split(",")[0] for line in told(read)] == ["by Ben", "by Ben", "by Ana"]
    kept = {p.name for p in (tmp_path / "history").iterdir()}
    assert all(any(m.label_sha256 in name for name in kept) for m in read.earlier)


def test_equal_names_of_different_images_do_not_collide(tmp_path):
    with AnnotationSet(tmp_path, OPTIC) as project:
        stems = [project.add(eye(i, n), disc())[0].stem for i, n in enumerate(["a/b", "a b", "A_B"])]
    assert stems == ["a_b", "a_b_2", "A_B_3"]


def test_role_and_inclusion_are_kept_and_removed_cases_go_to_history(tmp_path):
    with AnnotationSet(tmp_path, OPTIC) as project:
        case, _ = project.add(eye(), disc())
        project.update(case.stem, role="val", include=False)
    with AnnotationSet(tmp_path, OPTIC) as project:
        assert (project.cases[0].role, project.cases[0].include) == ("val", False)
        project.remove(case.stem)
    assert read_cases(tmp_path) == []
    assert len(list((tmp_path / "history").iterdir())) == 2


def test_two_viewers_on_one_folder_get_a_clear_message(tmp_path):
    code = (
        "import sys, time\n"
        "from napari_tinymig.annotations.annotation_set import AnnotationSet\n"
        "from napari_tinymig.tasks.optic import OPTIC\n"
        "s = AnnotationSet(sys.argv[1], OPTIC)\n"
        "print('open', flush=True)\n"
        "time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    other.stdout.readline()
    try:
        with pytest.raises(OutputRefused, match=rf"open in another napari.*process {other.pid}.*close it there"):
            AnnotationSet(tmp_path, OPTIC)
        assert read_cases(tmp_path) == [], "reading needs no lock"
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    AnnotationSet(tmp_path, OPTIC).close()  # the lock died with its owner


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputRefused, match="writable folder"):
        AnnotationSet(tmp_path, OPTIC)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputRefused, match="writable folder"):
        AnnotationSet(tmp_path / "file" / "set", OPTIC)


def test_a_full_disk_leaves_the_set_as_it_was(tmp_path, monkeypatch):
    with AnnotationSet(tmp_path, OPTIC) as project:
        project.add(eye(0), disc())
        before = (tmp_path / "annotations.json").read_bytes()

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputRefused, match="No space left"):
            project.add(eye(1, "other"), disc())
    assert (tmp_path / "annotations.json").read_bytes() == before
    assert len(read_cases(tmp_path)) == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_damaged_list_says_what_to_do(tmp_path):
    with AnnotationSet(tmp_path, OPTIC) as project:
        project.add(eye(), disc())
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text[: len(text) // 2])
    with pytest.raises(UnreadableInput, match="move it away"):
        read_cases(tmp_path)
    (tmp_path / "annotations.json").unlink()
    assert [c.stem for c in read_cases(tmp_path)] == ["eye"]


def test_a_set_of_another_task_is_refused(tmp_path):
    with AnnotationSet(tmp_path, OPTIC) as project:
        project.add(eye(), disc())
    with pytest.raises(OutputRefused, match="'optic', not 'polyp'"):
        AnnotationSet(tmp_path, POLYP)


def test_a_set_from_a_newer_version_is_refused(tmp_path):
    (tmp_path / "annotations.json").write_text(json.dumps({"version": 99, "task": "optic", "cases": []}))
    with pytest.raises(UnreadableInput, match="newer version"):
        read_cases(tmp_path)


def test_setting_the_clock_back_does_not_reorder_or_lose_cases(tmp_path, monkeypatch):
    with AnnotationSet(tmp_path, OPTIC) as project:
        project.add(eye(0, "first"), disc())
        monkeypatch.setattr(time, "time", lambda: 0.0)
        project.add(eye(1, "second"), disc())
    assert [c.stem for c in read_cases(tmp_path)] == ["first", "second"]


def test_a_plain_domain_folder_is_a_set_too(tmp_path: Path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.fromarray(eye().pixels).save(tmp_path / "images" / "a.jpg")
    Image.fromarray(disc()).save(tmp_path / "labels" / "a.png")
    Image.fromarray(disc()).save(tmp_path / "labels" / "alone.png")
    (case,) = read_cases(tmp_path)
    assert case.stem == "a"
    assert np.array_equal(load_case(tmp_path, case)[1], disc())


def test_a_mask_that_does_not_fit_its_image_is_named(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.fromarray(eye().pixels).save(tmp_path / "images" / "a.png")
    Image.fromarray(disc((40, 60))).save(tmp_path / "labels" / "a.png")
    with pytest.raises(UnsupportedInput, match="a.png has 40 x 60 pixels and its image a 40 x 50"):
        load_case(tmp_path, read_cases(tmp_path)[0])


def test_someone_elses_python_can_read_the_set_with_a_lock_held(tmp_path):
    with AnnotationSet(tmp_path, OPTIC) as project:
        project.add(eye(), disc())
        code = (
            "import sys; from napari_tinymig.annotations.annotation_set import read_cases\n"
            "print(len(read_cases(sys.argv[1])))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.strip() == "1"


def test_a_dab_is_a_part_of_the_mask_and_not_of_the_whole_picture(tmp_path):
    from napari_tinymig.annotations.label_checks import share_mended

    mask, predicted = np.zeros((1000, 1000), np.uint8), np.zeros((1000, 1000), np.uint8)
    predicted[100:120, 100:120] = 1
    mask[100:120, 100:125] = 1  # 100 of 500 pixels that either labels; 0.01 % of the picture
    assert share_mended(mask, predicted) == pytest.approx(0.2)
    assert share_mended(np.full_like(mask, 255), predicted) == 0
    with AnnotationSet(tmp_path, OPTIC) as project:
        case, _ = project.add(eye(), disc(), prediction=disc())
    assert case.mended_share == 0
