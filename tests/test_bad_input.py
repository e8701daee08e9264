"""Whatever a user gives, the answer is one sentence: what was found, what was expected, what to do. No traceback."""

from __future__ import annotations

import bz2
import contextlib
import copy
import gzip
import os
import struct
import tracemalloc
import zlib

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_tinymig.base.errors import OutputRefused, TinyMIGError, UnreadableInput, UnsupportedInput
from napari_tinymig.formats import find_inputs, open_input, read_mask, write_mask

RNG = np.random.default_rng(5)
VOLUME = RNG.integers(0, 200, (12, 11, 10)).astype(np.int16)
PICTURE = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)


def fill(folder, name):
    """A good file of any type by its name."""
    path = folder / name
    if name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(VOLUME, np.eye(4)), path)
    elif name.endswith(".nrrd"):
        nrrd.write(str(path), VOLUME)
    elif name.endswith((".mha", ".mhd")):
        sitk.WriteImage(sitk.GetImageFromArray(VOLUME), str(path), useCompression=name.startswith("z"))
    else:
        Image.fromarray(PICTURE).save(path)
    return path


GOOD = ["a.png", "a.jpg", "a.tif", "a.bmp", "a.webp", "a.nii", "a.nii.gz", "a.nrrd", "a.mha", "za.mha"]


def sentence_of(path, kind=TinyMIGError):
    """The one sentence that opening `path` raises."""
    with pytest.raises(kind) as caught:
        open_input(path)
    text = str(caught.value)
    assert "\n" not in text
    assert "expected" in text or "does not exist" in text or "export it again" in text, text
    assert text.rstrip().endswith((".", "?", ")")), text
    return text


@pytest.mark.parametrize("name", GOOD)
def test_the_good_files_of_these_tests_are_good(tmp_path, name):
    pixels = open_input(fill(tmp_path, name)).scan.pixels
    if name.startswith(("a.nii", "a.nrrd", "a.mha", "za.mha")):
        assert pixels.size == VOLUME.size
        assert np.array_equal(np.sort(pixels, axis=None), np.sort(VOLUME, axis=None))
    else:
        assert pixels.shape == PICTURE.shape
        lossy = name in ("a.jpg", "a.webp")
        assert np.array_equal(pixels, PICTURE) or lossy
        assert pixels.mean() == pytest.approx(PICTURE.mean(), abs=5 if lossy else 0)


@pytest.mark.parametrize("name", GOOD)
def test_text_under_an_images_name(tmp_path, name):
    (tmp_path / name).write_text("patient,age\nA,60\n" * 50)
    assert name in sentence_of(tmp_path / name, UnreadableInput)


@pytest.mark.parametrize("name", [*GOOD, "a.dcm", "a.mhd", "a.nhdr"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    assert name in sentence_of(tmp_path / name, UnreadableInput)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_was_cut_short(tmp_path, name, part):
    path = fill(tmp_path, name)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert name in sentence_of(path, UnreadableInput)


@pytest.mark.parametrize("name", ["a.gif", "a.heic", "a.mgz", "a.xyz", "a.svs"])
def test_a_type_that_is_not_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"GIF89a" + bytes(100))
    assert "of a type that is not read" in sentence_of(tmp_path / name, UnreadableInput)


def test_a_path_that_does_not_exist_names_its_neighbour(tmp_path):
    fill(tmp_path, "patient_01.png")
    assert "did you mean patient_01.png" in sentence_of(tmp_path / "patient01.png", UnreadableInput)


def test_an_empty_folder_and_a_folder_of_folders(tmp_path):
    assert "no image" in sentence_of(tmp_path, UnreadableInput)
    (tmp_path / "images").mkdir()
    fill(tmp_path / "images", "a.png")
    assert "only the folders images" in sentence_of(tmp_path, UnreadableInput)


def test_a_bad_input_does_not_keep_the_others_from_being_found(tmp_path):
    (tmp_path / "empty").mkdir()
    good = fill(tmp_path, "a.png")
    items = find_inputs([tmp_path / "nothing.png", tmp_path / "empty", good])
    assert [bool(i.problem) for i in items] == [True, True, False]


def test_an_unreadable_image_in_a_folder_is_listed_not_dropped(tmp_path):
    fill(tmp_path, "a.png")
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    (tmp_path / "table.csv").write_text("x")
    items = find_inputs([tmp_path])
    assert [(i.path.name, bool(i.problem)) for i in items] == [("a.png", False), ("b.gif", True)]


def test_nothing_finite(tmp_path):
    for value in (np.nan, np.inf):
        nib.save(nib.Nifti1Image(np.full((12, 11, 10), value, np.float32), np.eye(4)), tmp_path / "a.nii.gz")
        assert "no finite number" in sentence_of(tmp_path / "a.nii.gz", UnsupportedInput)


@pytest.mark.parametrize("shape", [(12, 11, 10, 3), (12, 11, 1, 2, 3)])
def test_more_than_three_dimensions(tmp_path, shape):
    nib.save(nib.Nifti1Image(RNG.random(shape).astype(np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    assert "expected a 3-D volume" in sentence_of(tmp_path / "a.nii.gz", UnsupportedInput)
    nrrd.write(str(tmp_path / "a.nrrd"), RNG.random(shape))
    assert "expected a 3-D volume" in sentence_of(tmp_path / "a.nrrd", UnsupportedInput)


def test_colour_and_complex_voxels(tmp_path):
    rgb = np.zeros((12, 11, 10), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "a.nii.gz")
    assert "one real number" in sentence_of(tmp_path / "a.nii.gz", UnsupportedInput)
    nib.save(nib.Nifti1Image(VOLUME.astype(np.complex64), np.eye(4)), tmp_path / "b.nii.gz")
    assert "one real number" in sentence_of(tmp_path / "b.nii.gz", UnsupportedInput)
    vectors = sitk.GetImageFromArray(np.zeros((10, 11, 12, 3), np.float32), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "c.mha"))
    assert "3 channels" in sentence_of(tmp_path / "c.mha", UnsupportedInput)


def test_a_constant_image(tmp_path):
    Image.fromarray(np.full((40, 50, 3), (9, 9, 200), np.uint8)).save(tmp_path / "a.png")
    assert "[9, 9, 200]" in sentence_of(tmp_path / "a.png", UnsupportedInput)
    Image.fromarray(np.full((40, 50), 7, np.uint8)).save(tmp_path / "b.png")
    assert "every pixel is 7" in sentence_of(tmp_path / "b.png", UnsupportedInput)
    nib.save(nib.Nifti1Image(np.zeros((12, 11, 10), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    assert "every pixel is 0" in sentence_of(tmp_path / "a.nii.gz", UnsupportedInput)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (15, 15)])
def test_a_picture_too_small(tmp_path, shape):
    Image.fromarray(RNG.integers(0, 255, (*shape, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    assert "at least 16 x 16" in sentence_of(tmp_path / "a.png", UnsupportedInput)


def test_a_volume_too_small(tmp_path):
    nib.save(nib.Nifti1Image(VOLUME[:1, :1, :1], np.eye(4)), tmp_path / "a.nii.gz")
    assert "at least 8 x 8" in sentence_of(tmp_path / "a.nii.gz", UnsupportedInput)
    nib.save(nib.Nifti1Image(np.zeros((0, 5, 5), np.int16), np.eye(4)), tmp_path / "b.nii.gz")
    sentence_of(tmp_path / "b.nii.gz")


def test_twenty_thousand_pixels_square_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    assert "400 million pixels" in sentence_of(tmp_path / "a.png", UnsupportedInput)
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        for tag in (256, 257):  # width and height
            tif.pages[0].tags[tag].overwrite(20_000)
    assert "million pixels" in sentence_of(tmp_path / "a.tif", UnsupportedInput)


def test_a_volume_header_that_promises_too_much_is_refused_before_it_is_decoded(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((4000, 4000, 4000))
    header.set_data_dtype(np.int16)
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(1000))
    assert "64000 million" in sentence_of(tmp_path / "a.nii", UnsupportedInput)
    (tmp_path / "a.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4000 4000 4000\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    assert "64000 million" in sentence_of(tmp_path / "a.mha", UnsupportedInput)
    (tmp_path / "a.nrrd").write_text("NRRD0004\ntype: short\ndimension: 3\nsizes: 4000 4000 4000\nencoding: raw\n\n")
    assert "64000 million" in sentence_of(tmp_path / "a.nrrd", UnsupportedInput)


def test_a_header_without_its_data_file(tmp_path):
    fill(tmp_path, "a.mhd")
    (tmp_path / "a.raw").unlink()
    assert "a.raw" in sentence_of(tmp_path / "a.mhd", UnreadableInput)
    nrrd.write(str(tmp_path / "b.nhdr"), VOLUME, {"encoding": "raw"})
    (tmp_path / "b.raw").unlink()
    assert "b.raw" in sentence_of(tmp_path / "b.nhdr", UnreadableInput)


def test_a_name_that_the_system_finds_too_long_stops_no_folder(tmp_path):
    """A damaged .mhd that names a data file of 300 letters ended the run of its whole folder (found by fuzzing)."""
    fill(tmp_path, "a.png")
    (tmp_path / "b.mhd").write_text(f"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementDataFile = {'n' * 300}\n")
    good, bad = find_inputs([tmp_path])
    assert open_input(good).scan.kind == "photograph"
    with pytest.raises(TinyMIGError):
        open_input(bad)
    [item] = find_inputs([tmp_path / ("n" * 300)])
    assert "does not exist" in item.problem
    with pytest.raises(UnreadableInput, match="does not exist"):
        read_mask(tmp_path / ("n" * 300))


def test_a_broken_affine_is_read_without_geometry_and_said(tmp_path):
    image = nib.Nifti1Image(VOLUME, None)
    image.set_sform(np.zeros((4, 4)), 1)
    nib.save(image, tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    assert not scan_file.geometry.oriented
    assert scan_file.notes


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_that_may_not_be_written(tmp_path):
    scan_file = open_input(fill(tmp_path, "a.png"))
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputRefused, match="cannot write"):
        write_mask(np.zeros((40, 50), np.uint8), scan_file, tmp_path / "out" / "m.png")


def test_a_mask_that_is_a_photograph(tmp_path):
    with pytest.raises(UnsupportedInput, match="is it an image"):
        read_mask(fill(tmp_path, "a.png"))
    with pytest.raises(UnsupportedInput, match="is it an image"):
        read_mask(fill(tmp_path, "a.nii.gz"), allowed=(0, 1))
    with pytest.raises(UnreadableInput, match="does not exist"):
        read_mask(tmp_path / "nothing.png")


@given(name=st.sampled_from(GOOD), where=st.floats(0, 1), noise=st.binary(min_size=1, max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_read_or_refused_in_a_sentence(tmp_path, name, where, noise):
    path = fill(tmp_path, name)
    raw = bytearray(path.read_bytes())
    at = int(where * (len(raw) - 1))
    raw[at : at + len(noise)] = noise
    path.write_bytes(raw)
    with contextlib.suppress(TinyMIGError):
        open_input(path)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
@pytest.mark.parametrize("beside", [False, True])
def test_a_packed_nrrd_is_unpacked_no_further_than_its_header_says(tmp_path, encoding, pack, beside):
    """A small file that unpacks to 100 MB: refused after the 2,000 bytes it declares."""
    header = f"NRRD0005\ntype: uint8\ndimension: 3\nsizes: 10 20 10\nencoding: {encoding}\n"
    data = pack(bytes(100_000_000))
    path = tmp_path / "a.nrrd"
    if beside:
        (tmp_path / "a.raw.gz").write_bytes(data)
        path.write_bytes(f"{header}data file: a.raw.gz\n\n".encode())
    else:
        path.write_bytes(f"{header}\n".encode() + data)
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedInput, match="holds at least 2001 bytes of voxels and its header declares 2000"):
            open_input(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", "bzip2", "raw", "ascii"])
def test_an_nrrd_of_every_encoding_and_byte_order_is_read(tmp_path, encoding):
    values = np.arange(8 * 9 * 10, dtype=">i2").reshape(8, 9, 10)
    nrrd.write(str(tmp_path / "a.nrrd"), values, {"encoding": encoding, "endian": "big"})
    nrrd.write(str(tmp_path / "b.nhdr"), values, {"encoding": encoding, "endian": "big"})
    for name in ("a.nrrd", "b.nhdr"):
        opened = open_input(tmp_path / name)
        assert np.array_equal(opened.geometry.to_stored(opened.scan.pixels), values)


def test_what_a_file_says_of_itself_breaks_no_sentence_and_commands_no_terminal():
    said = UnsupportedInput("a.dcm holds MONOCHRO\nE2, \x1b[2J and \x9b; é stays")
    assert str(said) == r"a.dcm holds MONOCHRO\nE2, \x1b[2J and \x9b; é stays"
    assert str(copy.copy(said)) == str(said)
