"""Image sets with a class each, and splits by person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari_tinymig.training.classifier.images import (
    ImageSet,
    Item,
    fit_to,
    load_pixels,
    read_image_set,
    read_slices,
    to_grey8,
)
from napari_tinymig.training.classifier.splits import colour_notes, split_by_case
from PIL import Image

from napari_tinymig.recipes.classify import ProbeDataSpec

SPLIT = ProbeDataSpec(test_fraction=0.25, val_fraction=0.25)


def draw(path, value=100, mode="L", size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(value)
    shape = (size[1], size[0]) + ((3,) if mode == "RGB" else ())
    Image.fromarray(rng.integers(0, 255, shape).astype(np.uint8), mode=None).save(path)


@pytest.fixture
def folders(tmp_path):
    for i in range(8):
        draw(tmp_path / "set" / "healthy" / f"h{i}_a.png", i)
        draw(tmp_path / "set" / "ill" / f"i{i}_a.png", 50 + i)
    return tmp_path / "set"


def test_a_folder_per_class_gives_classes_in_alphabetical_order(folders):
    found = read_image_set(folders)
    assert found.classes == ("healthy", "ill")
    assert found.counts == {"healthy": 8, "ill": 8}


def test_images_beside_each_other_are_refused_with_the_shape_to_give_them(tmp_path):
    draw(tmp_path / "a.png")
    with pytest.raises(ValueError, match="one sub-folder per class"):
        read_image_set(tmp_path)


def test_equal_file_names_are_said_to_count_as_one_person(tmp_path):
    for name in ("1.png", "2.png"):
        draw(tmp_path / "set" / "healthy" / name)
        draw(tmp_path / "set" / "ill" / name)
    draw(tmp_path / "set" / "ill" / "3.png")
    found = read_image_set(tmp_path / "set")
    assert len({i.case for i in found.items}) == 3
    assert "4 images share 2 file names ('1' is there 2 times)" in found.notes[0]
    assert "taken as 2 persons" in found.notes[0]
    assert "--case-pattern" in found.notes[0]
    assert read_image_set(tmp_path / "set", case_pattern=r"(\d)").notes == ()


def test_a_broken_image_takes_no_other_of_its_name_with_it(tmp_path):
    draw(tmp_path / "set" / "healthy" / "1.png")
    draw(tmp_path / "set" / "ill" / "2.png")
    for place in ("healthy/2.png", "ill/1.png"):
        (tmp_path / "set" / place).write_bytes(b"not a picture")
    pixels = load_pixels(read_image_set(tmp_path / "set").items, 32)
    assert [i.path.parent.name for i in pixels.items] == ["healthy", "ill"]
    assert len(pixels) == len(pixels.failed) == 2


def test_a_csv_names_files_and_labels(folders):
    table = folders / "labels.csv"
    table.write_text("file,label\nhealthy/h0_a.png,no\nill/i0_a.png,yes\n", encoding="utf-8")
    found = read_image_set(table)
    assert found.classes == ("no", "yes")
    assert [i.label for i in found.items] == [0, 1]
    table.write_text("path,class\nx,y\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected 'file' and 'label'"):
        read_image_set(table)


def test_medmnist_keeps_its_own_split(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 6), ("val", 4), ("test", 4)):
        arrays[f"{part}_images"] = rng.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None]
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    found = read_image_set(tmp_path / "pneumoniamnist.npz")
    split = split_by_case(found, SPLIT, seed=0)
    assert (len(split.train), len(split.val), len(split.test)) == (6, 4, 4)
    assert load_pixels(split.train, 32).values.shape == (6, 32, 32, 3)


def test_several_labels_per_image_are_refused(tmp_path):
    np.savez(tmp_path / "chest.npz", train_images=np.zeros((2, 8, 8), np.uint8), train_labels=np.zeros((2, 14)))
    with pytest.raises(ValueError, match="14 labels per image"):
        read_image_set(tmp_path / "chest.npz")


def test_the_person_is_the_first_group_of_the_pattern(tmp_path):
    for name in ("person1_bacteria_1.png", "person1_bacteria_2.png", "person12_virus_1.png"):
        draw(tmp_path / "set" / "ill" / name)
    found = read_image_set(tmp_path / "set", case_pattern=r"^(person\d+)_")
    assert sorted(i.case for i in found.items) == ["person1", "person1", "person12"]
    with pytest.raises(ValueError, match="not a regular expression"):
        read_image_set(tmp_path / "set", case_pattern="(")


def test_a_target_follows_the_classes_of_its_source_and_says_what_it_leaves_out(tmp_path):
    draw(tmp_path / "t" / "ill" / "a.png")
    draw(tmp_path / "t" / "unclear" / "b.png")
    found = read_image_set(tmp_path / "t", classes=("healthy", "ill"))
    assert [i.label for i in found.items] == [1]
    assert "unclear" in found.notes[0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=40, max_size=120), st.integers(0, 5))
def test_no_person_is_ever_in_two_parts(pairs, seed):
    items = tuple(Item(f"{i}", y, f"p{case}") for i, (case, y) in enumerate(pairs))
    images = ImageSet("drawn", items, ("a", "b"))
    try:
        split = split_by_case(images, SPLIT, seed)
    except ValueError:  # too few persons of a class: refused, which other tests look at
        return
    cases = [{i.case for i in part} for part in (split.train, split.val, split.test)]
    assert not cases[0] & cases[1]
    assert not cases[0] & cases[2]
    assert not cases[1] & cases[2]
    assert sum(len(p) for p in (split.train, split.val, split.test)) == len(items)


def test_the_test_part_is_the_same_for_every_seed_and_the_rest_is_not():
    items = tuple(Item(f"{i}", i % 2, f"p{i}") for i in range(80))
    images = ImageSet("drawn", items, ("a", "b"))
    first, second = (split_by_case(images, SPLIT, seed) for seed in (0, 1))
    assert first.test == second.test
    assert first.val != second.val
    assert len(first.test) == 20


def test_a_class_with_one_image_is_refused_by_name(folders):
    for path in sorted((folders / "ill").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ValueError, match="class 'ill' has 1 image; expected at least 3"):
        split_by_case(read_image_set(folders), SPLIT, 0)


def test_one_person_for_a_whole_class_cannot_be_split(tmp_path):
    items = tuple(Item(f"{i}", i % 2, "p0" if i % 2 else f"q{i}") for i in range(40))
    with pytest.raises(ValueError, match=r"class 'ill' .* of 1 persons|class 'ill'"):
        split_by_case(ImageSet("drawn", items, ("healthy", "ill")), SPLIT, 0)


def test_imbalance_is_said_aloud():
    items = tuple(Item(f"{i}", int(i % 10 == 0), f"p{i}") for i in range(200))
    notes = split_by_case(ImageSet("drawn", items, ("healthy", "ill")), SPLIT, 0).notes
    assert any("unequal" in n and "weigh more" in n for n in notes)


def test_an_unreadable_file_is_named_and_the_others_are_read(folders):
    (folders / "ill" / "broken.png").write_bytes(b"not a picture")
    pixels = load_pixels(read_image_set(folders).items, 32)
    assert len(pixels) == 16
    assert list(pixels.failed) == ["broken.png"]
    assert "broken" in pixels.failed["broken.png"]


def test_grey_and_colour_are_read_alike_and_a_confounding_mixture_is_said(folders):
    for i in range(8):
        draw(folders / "ill" / f"i{i}_a.png", i, "RGB")
    found = read_image_set(folders)
    pixels = load_pixels(found.items, 32)
    assert pixels.values.shape == (16, 32, 32, 3)
    notes = colour_notes(pixels.kinds, pixels.labels, found.classes)
    assert "may learn colour instead of disease" in notes[0]


def test_a_volume_gives_evenly_spaced_slices_and_its_rows_are_found():
    volume = np.arange(10)[:, None, None] * np.ones((1, 8, 8)) + np.eye(8)
    slices, kind = read_slices(Item("v", 0, "v", pixels=volume), max_slices=5)
    assert kind == "volume"
    assert len(slices) == 5
    pixels = load_pixels([Item("v", 0, "v", pixels=volume), Item("w", 1, "w", pixels=volume[:1])], 16, max_slices=5)
    assert pixels.owner.tolist() == [0, 0, 0, 0, 0, 1]
    assert pixels.rows(np.array([1])).tolist() == [5]
    assert pixels.rows(np.array([1, 0])).tolist() == [5, 0, 1, 2, 3, 4]


def test_other_types_are_windowed_and_bytes_are_not():
    bytes_ = np.full((1, 4, 4), 7, np.uint8)
    assert to_grey8(bytes_) is bytes_
    ramp = to_grey8(np.linspace(-1000, 3000, 1000).reshape(1, 10, 100))
    assert (ramp.min(), ramp.max()) == (0, 255)


def test_the_whole_picture_is_kept_when_it_is_fitted():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, :30] = 200
    fitted = fit_to(image, 30)
    assert fitted.shape == (30, 30, 3)
    assert fitted[:, :14].min() == 200
    assert fitted[:, 16:].max() == 0
