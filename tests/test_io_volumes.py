"""NIfTI, NRRD and MetaImage in the forms that other programs write them."""

from __future__ import annotations

import gzip

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from napari_tinymig.base.errors import OutputRefused, UnsupportedInput
from napari_tinymig.formats import (
    apply_label_map,
    find_inputs,
    mask_path,
    open_input,
    open_mask,
    parse_label_map,
    read_mask,
    write_mask,
)

RNG = np.random.default_rng(7)
VALUES = RNG.integers(0, 200, (12, 11, 10)).astype(np.int16)  # (i, j, k)


def bright(scan_file):
    return (scan_file.scan.pixels > 100).astype(np.uint8)


# ------------------------------------------------------------------ NIfTI


def test_both_matrices_their_codes_and_units_go_into_the_mask(tmp_path):
    image = nib.Nifti1Image(VALUES, np.diag([-0.5, 0.6, 3, 1]))
    image.set_sform(np.diag([-0.5, 0.6, 3, 1]), 2)
    turned = np.array([[0.5, 0, 0, 9], [0, 0.6, 0, 8], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    image.set_qform(turned, 1)
    image.header.set_xyzt_units("mm", "msec")
    nib.save(image, tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    mask = nib.load(write_mask(bright(scan_file), scan_file, tmp_path / "m.nii.gz"))
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.get_sform(), image.get_sform())
    assert np.array_equal(mask.get_qform(), image.get_qform())
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (2, 1)
    assert mask.header.get_xyzt_units() == ("mm", "msec")


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (4, 4)])
def test_a_file_with_one_matrix_gets_a_mask_with_the_same_one(tmp_path, codes):
    image = nib.Nifti1Image(VALUES, None)
    affine = np.array([[0.0, 0, 3, 5], [0.5, 0, 0, 6], [0, -0.6, 0, 7], [0, 0, 0, 1]])
    if codes[0]:
        image.set_sform(affine, codes[0])
    if codes[1]:
        image.set_qform(affine, codes[1])
    nib.save(image, tmp_path / "a.nii")
    scan_file = open_input(tmp_path / "a.nii")
    assert scan_file.scan.spacing_mm == pytest.approx((0.6, 0.5, 3))
    mask = nib.load(write_mask(bright(scan_file), scan_file, tmp_path / "m.nii"))
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "pixdim"):
        assert np.array_equal(mask.header[field], nib.load(tmp_path / "a.nii").header[field])


def test_scaled_integers_are_read_as_what_they_mean(tmp_path):
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    raw = bytearray(gzip.compress(image.to_bytes()))
    (tmp_path / "a.nii.gz").write_bytes(raw)
    scan_file = open_input(tmp_path / "a.nii.gz")
    assert scan_file.scan.pixels.max() == pytest.approx(nib.load(tmp_path / "a.nii.gz").get_fdata().max())
    mask = nib.load(write_mask(bright(scan_file), scan_file, tmp_path / "m.nii.gz"))
    assert set(np.unique(mask.get_fdata())) == {0.0, 1.0}


def test_metres_and_microns_become_millimetres(tmp_path):
    for unit, size in (("meter", 0.0005), ("micron", 500.0), ("mm", 0.5)):
        image = nib.Nifti1Image(VALUES, np.diag([size, size, 6 * size, 1]))
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii.gz")
        assert open_input(tmp_path / "a.nii.gz").scan.spacing_mm == pytest.approx((3, 0.5, 0.5), rel=1e-5)


def test_big_endian_nifti_two_is_read_and_its_mask_is_nifti_two(tmp_path):
    header = nib.Nifti2Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti2Image(VALUES, np.diag([2.0, 2, 2, 1]), header)
    nib.save(image, tmp_path / "a.nii")
    scan_file = open_input(tmp_path / "a.nii")
    assert scan_file.scan.pixels.dtype.isnative
    mask = nib.load(write_mask(bright(scan_file), scan_file, tmp_path / "m.nii"))
    assert isinstance(mask, nib.Nifti2Image)
    assert np.array_equal(np.asarray(mask.dataobj), VALUES > 100)


@pytest.mark.parametrize("shape", [(12, 11), (12, 11, 1), (12, 11, 10, 1), (12, 11, 10, 1, 1)])
def test_flat_files_and_trailing_axes_keep_their_shape(tmp_path, shape):
    data = np.resize(VALUES, shape)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    assert scan_file.scan.kind == "volume"
    mask = nib.load(write_mask(bright(scan_file), scan_file, tmp_path / "m.nii.gz"))
    assert mask.shape == nib.load(tmp_path / "a.nii.gz").shape
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj) > 100)


def test_without_orientation_codes_nothing_is_flipped_and_the_user_is_told(tmp_path):
    nib.save(nib.Nifti1Image(VALUES, None), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    assert np.array_equal(scan_file.scan.pixels, VALUES.transpose(2, 1, 0))
    assert "does not say how the patient lies" in scan_file.notes[0]


def test_a_png_of_a_slice_and_its_nifti_show_the_same_picture(tmp_path):
    slice_rows = RNG.integers(0, 255, (20, 30)).astype(np.uint8)  # rows front to back, columns right to left
    Image.fromarray(slice_rows).save(tmp_path / "a.png")
    lps = nib.Nifti1Image(slice_rows.T[..., None], np.diag([-0.5, -0.5, 3, 1]))
    ras = nib.Nifti1Image(slice_rows[::-1, ::-1].T[..., None], np.diag([0.5, 0.5, 3, 1]))
    for name, image in (("lps", lps), ("ras", ras)):
        nib.save(image, tmp_path / f"{name}.nii.gz")
        pixels = open_input(tmp_path / f"{name}.nii.gz").scan.pixels
        assert np.array_equal(pixels, open_input(tmp_path / "a.png").scan.pixels)


def test_the_same_mask_is_the_same_bytes(tmp_path):
    nib.save(nib.Nifti1Image(VALUES, np.eye(4)), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    one, two = (write_mask(bright(scan_file), scan_file, tmp_path / f"{n}.nii.gz").read_bytes() for n in "xy")
    assert one == two


def test_a_narrow_eight_bit_volume_is_not_taken_for_a_photograph(tmp_path):
    data = RNG.integers(0, 255, (3, 20, 20)).astype(np.uint8)  # three sagittal slices
    nib.save(nib.Nifti1Image(data, np.diag([-3.0, -1, 1, 1])), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    assert scan_file.scan.kind == "volume"
    assert scan_file.scan.pixels.shape == (20, 20, 3)


def test_some_infinite_voxels_are_replaced_and_counted(tmp_path):
    data = VALUES.astype(np.float32)
    data[0, 0, :3], data[1, 0, 0] = np.nan, np.inf
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    assert np.isfinite(scan_file.scan.pixels).all()
    assert scan_file.notes[0].startswith("4 voxels")


# ------------------------------------------------------------------ NRRD


@pytest.mark.parametrize(
    "space, signs",
    [("left-posterior-superior", (-1, -1, 1)), ("right-anterior-superior", (1, 1, 1)), ("LAS", (-1, 1, 1))],
)
def test_the_spaces_of_nrrd_are_told_apart(tmp_path, space, signs):
    header = {"space": space, "space directions": np.diag([0.5, 0.6, 3]), "space origin": [1, 2, 3]}
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, header)
    geometry = open_input(tmp_path / "a.nrrd").geometry
    assert np.array_equal(
        geometry.affine, np.diag([*signs, 1.0]) @ [[0.5, 0, 0, 1], [0, 0.6, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]]
    )


def test_space_origin_directions_and_kinds_go_into_the_mask(tmp_path):
    directions = [[0.48, -0.02, 0.1], [0.03, 0.49, 0.01], [-0.6, 0.1, 2.9]]
    header = {
        "space": "right-anterior-superior",
        "space directions": directions,
        "space origin": [1.1, -2.7, 1 / 3],
        "kinds": ["domain", "domain", "domain"],
        "space units": ["mm", "mm", "mm"],
    }
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, header)
    scan_file = open_input(tmp_path / "a.nrrd")
    labels, kept = nrrd.read(str(write_mask(bright(scan_file), scan_file, tmp_path / "m.nrrd")))
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, VALUES > 100)
    for key, value in nrrd.read_header(str(tmp_path / "a.nrrd")).items():
        if key not in ("type", "encoding", "endian"):
            assert np.array_equal(np.asarray(kept[key]), np.asarray(value)), key


def test_detached_nrrd_is_read_and_its_mask_is_one_file(tmp_path):
    nrrd.write(str(tmp_path / "a.nhdr"), VALUES, {"spacings": [0.5, 0.6, 3], "encoding": "raw"})
    assert [i.path.name for i in find_inputs([tmp_path])] == ["a.nhdr"]
    scan_file = open_input(tmp_path / "a.nhdr")
    assert scan_file.scan.spacing_mm == pytest.approx((3, 0.6, 0.5))
    [item] = find_inputs([tmp_path / "a.nhdr"])
    mask = write_mask(bright(scan_file), scan_file, mask_path(tmp_path / "out", item, [item]))
    assert mask.name == "a_mask.nrrd"
    assert np.array_equal(nrrd.read(str(mask))[0], VALUES > 100)


def test_nrrd_vectors_are_refused(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), RNG.random((3, 12, 11)), {"kinds": ["vector", "domain", "domain"]})
    with pytest.raises(UnsupportedInput, match="vector"):
        open_input(tmp_path / "a.nrrd")


# ------------------------------------------------------------------ MetaImage


@pytest.mark.parametrize("suffix, compressed", [(".mha", True), (".mha", False), (".mhd", True), (".mhd", False)])
def test_metaimage_of_itk_is_read_in_all_its_forms(tmp_path, suffix, compressed):
    image = sitk.GetImageFromArray(VALUES.transpose(2, 1, 0))
    image.SetSpacing((0.5, 0.6, 3.0))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"), useCompression=compressed)
    assert [i.path.name for i in find_inputs([tmp_path])] == [f"a{suffix}"]
    scan_file = open_input(tmp_path / f"a{suffix}")
    assert np.array_equal(scan_file.scan.pixels, VALUES.transpose(2, 1, 0))
    assert scan_file.scan.spacing_mm == pytest.approx((3, 0.6, 0.5))
    mask = sitk.ReadImage(str(write_mask(bright(scan_file), scan_file, tmp_path / "m.mha")))
    assert np.array_equal(sitk.GetArrayFromImage(mask), VALUES.transpose(2, 1, 0) > 100)


def test_big_endian_metaimage_with_a_header_in_its_data_file_is_read(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"x" * 100 + VALUES.astype(">i2").tobytes(order="F"))
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = True\nHeaderSize = -1\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 12 11 10\n"
        "ElementType = MET_SHORT\nElementDataFile = a.raw\n"
    )
    assert np.array_equal(open_input(tmp_path / "a.mhd").scan.pixels, VALUES.transpose(2, 1, 0))


def test_a_flat_metaimage_is_one_slice(tmp_path):
    image = sitk.GetImageFromArray(VALUES[:, :, 0])
    image.SetSpacing((0.4, 0.7))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    scan_file = open_input(tmp_path / "a.mha")
    assert scan_file.scan.pixels.shape == (1, 12, 11)
    assert scan_file.scan.spacing_mm == pytest.approx((1, 0.7, 0.4))
    mask = sitk.ReadImage(str(write_mask(bright(scan_file), scan_file, tmp_path / "m.mha")))
    assert mask.GetSpacing() == image.GetSpacing()
    assert np.array_equal(sitk.GetArrayFromImage(mask), VALUES[:, :, 0] > 100)


# ------------------------------------------------------------------ masks


def test_nothing_is_overwritten_unless_told(tmp_path):
    nib.save(nib.Nifti1Image(VALUES, np.eye(4)), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    mask = write_mask(bright(scan_file), scan_file, tmp_path / "m.nii.gz")
    before = mask.read_bytes()
    with pytest.raises(OutputRefused, match="--overwrite"):
        write_mask(1 - bright(scan_file), scan_file, mask)
    assert mask.read_bytes() == before
    write_mask(1 - bright(scan_file), scan_file, mask, overwrite=True)
    assert np.array_equal(read_mask(mask), 1 - bright(scan_file))
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    nib.save(nib.Nifti1Image(VALUES, np.eye(4)), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    with pytest.raises(OutputRefused, match="cannot write"):
        write_mask(bright(scan_file), scan_file, tmp_path / "a.nii.gz" / "m.nii.gz")


def test_labels_of_another_shape_or_beyond_a_byte_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(VALUES, np.eye(4)), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match="expected \\(10, 11, 12\\)"):
        write_mask(np.zeros((12, 11, 10), np.uint8), scan_file, tmp_path / "m.nii.gz")
    with pytest.raises(ValueError, match="0 to 255"):
        write_mask(np.full((10, 11, 12), 300), scan_file, tmp_path / "m.nii.gz")
    with pytest.raises(ValueError, match="a PNG holds one"):
        write_mask(bright(scan_file), scan_file, tmp_path / "m.png")


def test_foreign_codes_become_ours():
    assert parse_label_map("0:2,128:1,255:0") == {0: 2, 128: 1, 255: 0}
    codes = np.array([[0, 128], [255, 128]])
    assert apply_label_map(codes, {0: 2, 128: 1, 255: 0}, None, "m").tolist() == [[2, 1], [0, 1]]


@pytest.mark.parametrize("text", ["", "0", "0:a", "0:1:2", "0:300", "0:1,0:2", "0-1"])
def test_a_label_map_that_is_not_understood_shows_the_right_form(text):
    with pytest.raises(ValueError, match="0:2,128:1,255:0"):
        parse_label_map(text)


def test_unknown_codes_are_named_with_what_to_type(tmp_path):
    Image.fromarray(np.array([[0, 128], [255, 128]], np.uint8)).save(tmp_path / "m.png")
    wanted = 'codes 128, 255; expected 0, 1, 2; .*--labels "0:0,128:1,255:2"'
    with pytest.raises(UnsupportedInput, match=wanted):
        read_mask(tmp_path / "m.png", allowed=(0, 1, 2))
    with pytest.raises(UnsupportedInput, match="code"):
        read_mask(tmp_path / "m.png", {0: 0, 255: 1})


def test_a_mask_of_another_place_or_grid_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(VALUES, np.diag([-1.0, -1, 3, 1])), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    moved = np.diag([-1.0, -1, 3, 1])
    moved[:3, 3] = 0, 8, 0
    nib.save(nib.Nifti1Image((VALUES > 100).astype(np.uint8), moved), tmp_path / "moved.nii.gz")
    with pytest.raises(UnsupportedInput, match=r"8\.0 mm away"):
        read_mask(tmp_path / "moved.nii.gz", like=scan_file)
    nib.save(nib.Nifti1Image(np.zeros((12, 11, 9), np.uint8), np.eye(4)), tmp_path / "short.nii.gz")
    with pytest.raises(UnsupportedInput, match="equal grids"):
        read_mask(tmp_path / "short.nii.gz", like=scan_file)


def test_an_empty_mask_is_a_mask_and_keeps_its_spacing(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((12, 11, 10), np.uint8), np.diag([0.5, 0.6, 3, 1])), tmp_path / "m.nii.gz")
    mask = open_mask(tmp_path / "m.nii.gz")
    assert not mask.labels.any()
    assert mask.spacing_mm == pytest.approx((3, 0.6, 0.5))
