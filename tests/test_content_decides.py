"""A file is what its content says; a data file belongs to its header; what a folder holds and is not read is named."""

from __future__ import annotations

import gzip
import os
import shutil

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from napari_tinymig.base.errors import UnreadableInput, UnsupportedInput
from napari_tinymig.formats import find_inputs, mask_path, open_input, write_mask

VALUES = np.random.default_rng(0).integers(0, 900, (20, 24, 9)).astype(np.int16)
AFFINE = np.array([[0.5, 0, 0, -10], [0, 0.6, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1.0]])


@pytest.fixture
def nifti(tmp_path):
    path = tmp_path / "whole" / "a.nii"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(VALUES, AFFINE), path)
    return path


def same_volume(path, expected=VALUES):
    """The opened file, after checking that its stored voxels and affine are those of the tests."""
    scan_file = open_input(path)
    assert np.array_equal(scan_file.geometry.to_stored(scan_file.scan.pixels), expected)
    np.testing.assert_allclose(scan_file.geometry.affine, AFFINE)
    return scan_file


def test_a_gzip_named_nii_and_a_plain_file_named_nii_gz_are_read(nifti, tmp_path):
    (tmp_path / "packed.nii").write_bytes(gzip.compress(nifti.read_bytes()))
    shutil.copy(nifti, tmp_path / "plain.nii.gz")
    shutil.copy(nifti, tmp_path / "scan.dat")
    for name in ("packed.nii", "plain.nii.gz", "scan.dat"):
        same_volume(tmp_path / name)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_a_pair_of_header_and_image_is_one_input_whichever_is_given(tmp_path, kind):
    nib.save(kind(VALUES, AFFINE), tmp_path / "a.hdr")
    for given in ([tmp_path], [tmp_path / "a.img"], [tmp_path / "a.hdr"], [tmp_path / "a.hdr", tmp_path / "a.img"]):
        [item] = find_inputs(given)
        assert (item.path, len(item.files)) == (tmp_path / "a.hdr", 2)
    scan_file = same_volume(tmp_path / "a.hdr")
    labels = (scan_file.scan.pixels > 450).astype(np.uint8)
    mask = nib.load(write_mask(labels, scan_file, mask_path(tmp_path / "out", item, [item])))
    assert np.array_equal(np.asarray(mask.dataobj), VALUES > 450)
    np.testing.assert_allclose(mask.affine, AFFINE)
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableInput, match=r"header of a pair; expected a\.img beside"):
        open_input(tmp_path / "a.hdr")


def test_pictures_with_the_wrong_name_are_read(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    shutil.move(tmp_path / "a.png", tmp_path / "a.nii.gz")
    assert np.array_equal(open_input(tmp_path / "a.nii.gz").scan.pixels, pixels)


def test_a_mask_named_like_a_photograph_but_nifti_is_written_as_nifti(nifti, tmp_path):
    shutil.move(nifti, tmp_path / "a.jpg")
    [item] = find_inputs([tmp_path / "a.jpg"])
    assert mask_path(tmp_path, item, [item]).name == "a_mask.nii.gz"


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_a_data_file_given_beside_its_header_belongs_to_it(tmp_path, ending):
    image = sitk.GetImageFromArray(VALUES.transpose(2, 1, 0))
    sitk.WriteImage(image, tmp_path / f"a{ending}", useCompression=ending == ".nhdr")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    [item] = find_inputs(files)
    assert not item.problem
    assert set(item.files) == set(files)
    assert find_inputs([tmp_path]) == [item]
    assert np.array_equal(np.sort(open_input(item).scan.pixels, None), np.sort(VALUES, None))


def nrrd_with(path, leading, kind="list"):
    directions = np.vstack([np.full((1, 3), np.nan), np.diag([-0.5, -0.6, 3.0])])
    header = {
        "space": "left-posterior-superior",
        "space directions": directions,
        "space origin": [10, -20, 30],
        "kinds": [kind, "domain", "domain", "domain"],
    }
    nrrd.write(str(path), np.repeat(VALUES[None], leading, 0), header)
    return path


@pytest.mark.parametrize("kind", ["list", "vector", "time"])
def test_an_axis_of_length_one_is_dropped_wherever_it_stands(tmp_path, kind):
    scan_file = same_volume(nrrd_with(tmp_path / "a.nrrd", 1, kind))
    labels = (scan_file.scan.pixels > 450).astype(np.uint8)
    back = nrrd.read(str(write_mask(labels, scan_file, tmp_path / "m.nrrd")))[0]
    assert np.array_equal(back, (VALUES > 450)[None])
    nib.save(nib.Nifti1Image(VALUES[..., None], AFFINE), tmp_path / "a.nii")
    same_volume(tmp_path / "a.nii")


def test_a_longer_axis_beside_space_is_a_sentence_in_every_format(tmp_path):
    nrrd_with(tmp_path / "a.nrrd", 2)
    nib.save(nib.Nifti1Image(np.repeat(VALUES[..., None], 2, -1), AFFINE), tmp_path / "a.nii")
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(VALUES)] * 2), tmp_path / "a.mha")
    for name in ("a.nrrd", "a.nii", "a.mha"):
        with pytest.raises(UnsupportedInput, match="save the one") as told:
            open_input(tmp_path / name)
        assert "nibabel" not in str(told.value)


def test_what_a_folder_holds_and_is_not_read_is_named_and_text_is_not(tmp_path, nifti):
    shutil.move(nifti, tmp_path / "a.nii")
    for name in ("notes", "list.csv", "README.md", "model.safetensors", "Thumbs.db", ".hidden.bin", "empty.csv"):
        (tmp_path / name).write_text("" if name == "empty.csv" else "words\n")
    for name in ("b.oct", "c", "d.zip", "e.dcm", "f.mp4"):
        (tmp_path / name).write_bytes(b"\0\1\2" * 200)
    (tmp_path / "g.png").symlink_to(tmp_path / "gone.png")
    items = find_inputs([tmp_path])
    assert [i.path.name for i in items if not i.problem] == ["a.nii"]
    assert sorted(i.path.name for i in items if i.problem) == ["b.oct", "c", "d.zip", "e.dcm", "f.mp4", "g.png"]
    assert all("expected" in i.problem or "export it again" in i.problem for i in items if i.problem)


def test_a_dicom_file_without_its_mark_is_a_row_with_its_reason(tmp_path, dicom_series_maker):
    files = dicom_series_maker(tmp_path / "d", VALUES.transpose(2, 0, 1), np.eye(3), (1, 1, 1), (0, 0, 0))
    raw = bytearray(files[0].read_bytes())
    raw[128:132] = b"\0\0\0\0"
    files[0].write_bytes(raw)
    items = find_inputs([tmp_path / "d"])
    assert [len(i.files) for i in items if not i.problem] == [8]
    [named] = [i for i in items if i.problem]
    assert named.path == files[0]
    assert "force=True" not in named.problem


@pytest.mark.skipif(os.name == "nt", reason="no pipes among Windows' files")
def test_pipes_devices_and_files_without_end_are_sentences_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    with (tmp_path / "sparse.png").open("wb") as stream:
        stream.truncate(10**12)
    problems = [i.problem for i in find_inputs(tmp_path / n for n in ("pipe.png", "zero.nii", "sparse.png"))]
    assert "pipe.png is a device or a pipe" in problems[0]
    assert "zero.nii is a device or a pipe" in problems[1]
    assert "sparse.png holds 1000 GB; expected at most 8 GB" in problems[2]


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "link.raw"])
@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_a_header_cannot_make_a_file_outside_its_folder_be_read(tmp_path, name, ending):
    (tmp_path / "secret.raw").write_bytes(bytes(range(256)) * 8)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    text = f"NDims = 3\nDimSize = 8 8 8\nElementType = MET_UCHAR\nElementDataFile = {name}\n"
    if ending == ".nhdr":
        text = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 8 8 8\nencoding: raw\ndata file: {name}\n"
    (folder / f"a{ending}").write_text(text)
    with pytest.raises(UnreadableInput, match="outside its own folder"):
        open_input(folder / f"a{ending}")
