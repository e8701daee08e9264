"""Through napari: what is opened lies where the scanner saw it, and what is saved lies where it was opened."""

from __future__ import annotations

from datetime import datetime
from unittest.mock import Mock

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from napari.layers import Image, Labels
from PIL import Image as Picture
from scipy.spatial.transform import Rotation

from napari_tinymig.base.errors import TinyMIGError
from napari_tinymig.formats import open_input, read_mask
from napari_tinymig.viewer.napari_io.layer_geometry import point_at, scanner_affine, world_mm
from napari_tinymig.viewer.napari_io.readers import get_photograph_reader, get_reader, get_volume_reader
from napari_tinymig.viewer.napari_io.writers import write_image, write_labels

RNG = np.random.default_rng(11)
SHAPE = (12, 11, 10)
TURN = Rotation.from_euler("xyz", (20, -15, 35), degrees=True).as_matrix()
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3], OBLIQUE[:3, 3] = TURN * (-0.5, 0.6, 3.0), (4, -50, 12)


def layers_of(path):
    """The layers that napari would make of what our reader gives for `path`."""
    make = {"image": Image, "labels": Labels}
    return [make[kind](data, **attributes) for data, attributes, kind in get_reader(str(path))(str(path))]


@pytest.fixture
def oblique(tmp_path):
    nib.save(nib.Nifti1Image(RNG.integers(0, 200, SHAPE).astype(np.int16), OBLIQUE), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_an_oblique_volume_is_shown_straight_in_millimetres_with_named_axes(oblique):
    [layer] = layers_of(oblique)
    assert layer.name == "scan"
    assert [str(u) for u in layer.units] == ["millimeter"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert layer.scale == pytest.approx(np.linalg.norm(OBLIQUE[:3, :3], axis=0)[::-1])
    assert np.array_equal(layer.affine.affine_matrix, np.eye(4))  # diagonal: napari slices it in 2-D


def test_the_cursor_reads_the_scanners_position_of_every_voxel(oblique):
    [layer] = layers_of(oblique)
    image = nib.load(oblique)
    for index in RNG.integers(0, SHAPE, (50, 3)):
        ras = image.affine @ [*index, 1]
        value = np.asarray(image.dataobj)[tuple(index)]
        point = point_at(layer, ras[:3])
        assert world_mm(layer, point) == pytest.approx(ras[:3], abs=1e-4)
        assert layer.data[tuple(np.rint(layer.world_to_data(point)).astype(int))] == value


def test_a_straight_volume_lies_at_its_scanner_position_in_napari(tmp_path):
    image = sitk.GetImageFromArray(RNG.integers(0, 200, (9, 10, 11)).astype(np.int16))
    image.SetSpacing((0.5, 0.7, 3))
    image.SetOrigin((-30, 12, 55))
    sitk.WriteImage(image, str(tmp_path / "scan.mha"))
    [layer] = layers_of(tmp_path / "scan.mha")
    assert layer.translate == pytest.approx((55, 12, -30))  # LPS mm, in the order z, y, x
    assert world_mm(layer, (55, 12, -30)) == pytest.approx((30, -12, 55))  # RAS


def test_scanner_space_shows_every_voxel_where_it_was(oblique):
    [layer] = layers_of(oblique)
    affine = scanner_affine(layer.metadata["tinymig"]["scan_file"].geometry)
    index = np.array([3, 4, 5])
    lps_zyx = affine[:3, :3] @ index + affine[:3, 3]
    ras = world_mm(layer, layer.data_to_world(index))
    assert lps_zyx == pytest.approx((ras[2], -ras[1], -ras[0]))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_painted_mask_is_saved_in_its_volumes_grid_and_reopens_on_the_same_voxels(
    oblique, tmp_path, suffix, monkeypatch
):
    [layer] = layers_of(oblique)
    painted = (np.asarray(layer.data) > 150).astype(np.uint8)
    labels = Labels(painted, metadata=layer.metadata, scale=layer.scale, translate=layer.translate)
    data, attributes, _ = labels.as_layer_data_tuple()
    path = tmp_path / f"scan_mask{suffix}"
    assert write_labels(str(path), data, attributes) == [str(path)]
    judged, original = sitk.ReadImage(str(path)), nib.load(oblique)
    assert np.array_equal(sitk.GetArrayFromImage(judged), np.asarray(original.dataobj).transpose(2, 1, 0) > 150)
    [again] = layers_of(path)
    assert isinstance(again, Labels)
    assert np.array_equal(again.data, painted)
    assert again.scale == pytest.approx(layer.scale, rel=1e-5)
    assert again.translate == pytest.approx(layer.translate, abs=1e-4)
    data, attributes, _ = again.as_layer_data_tuple()
    monkeypatch.setattr("nrrd.writer.datetime", Mock(utcnow=lambda: datetime(2001, 2, 3)))
    write_labels(str(tmp_path / f"again{suffix}"), data, attributes)
    assert (tmp_path / f"again{suffix}").read_bytes() == path.read_bytes()


def test_a_layer_of_another_plugin_is_saved_by_its_own_scale_and_units(tmp_path):
    labels = Labels(
        (RNG.random((9, 10, 11)) > 0.5).astype(np.int32),
        scale=(0.3, 0.05, 0.05),
        translate=(1, 2, 3),
        units=("cm", "cm", "cm"),
    )
    data, attributes, _ = labels.as_layer_data_tuple()
    write_labels(str(tmp_path / "m.nii.gz"), data, attributes)
    image = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    assert image.GetSpacing() == pytest.approx((0.5, 0.5, 3), rel=1e-6)
    assert image.GetOrigin() == pytest.approx((30, 20, 10))
    assert np.array_equal(sitk.GetArrayFromImage(image), data)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_an_image_layer_is_saved_with_its_values_and_place(oblique, tmp_path, suffix):
    [layer] = layers_of(oblique)
    half = np.asarray(layer.data) * np.float32(0.5)
    write_image(str(tmp_path / f"half{suffix}"), half, {"metadata": layer.metadata})
    judged = sitk.ReadImage(str(tmp_path / f"half{suffix}"))
    original = sitk.ReadImage(str(oblique))
    assert np.array_equal(sitk.GetArrayFromImage(judged), sitk.GetArrayFromImage(original) * 0.5)
    assert judged.GetDirection() == pytest.approx(original.GetDirection(), abs=1e-6)
    assert judged.GetOrigin() == pytest.approx(original.GetOrigin(), abs=1e-4)
    with pytest.raises(ValueError, match="grey volume"):
        write_image(str(tmp_path / "x.nii.gz"), np.zeros((9, 9, 3), np.uint8), {"rgb": True})


@pytest.mark.parametrize("seed", range(12))
def test_any_transform_of_a_users_layer_is_kept(tmp_path, seed):
    """Turned, mirrored, permuted: every labelled voxel is where napari showed it, judged by SimpleITK."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix()[rng.permutation(3)]
    affine[:3, 3] = rng.uniform(-50, 50, 3)
    scale = rng.uniform(0.5, 3, 3) * rng.choice([-1, 1], 3)
    turn = Rotation.random(random_state=seed + 99).as_matrix()
    turn *= np.sign(np.linalg.det(turn))
    data = (rng.random((8, 9, 10)) > 0.5).astype(np.uint8)
    layer = Labels(data, scale=scale, rotate=turn, translate=(5, -6, 7), affine=affine, units=("mm",) * 3)
    values, attributes, _ = layer.as_layer_data_tuple()
    write_labels(str(tmp_path / "m.nrrd"), values, attributes)
    image = sitk.ReadImage(str(tmp_path / "m.nrrd"))
    for index in np.ndindex(*data.shape):
        z, y, x = layer.data_to_world(index)
        assert image[image.TransformPhysicalPointToIndex((x, y, z))] == data[index]


def test_a_layer_in_pixels_is_saved_without_a_scanner_position(tmp_path):
    data, attributes, _ = Labels(np.eye(12, dtype=np.uint8)[None].repeat(9, 0)).as_layer_data_tuple()
    write_labels(str(tmp_path / "m.nii.gz"), data, attributes)
    [layer] = layers_of(tmp_path / "m.nii.gz")
    assert np.array_equal(layer.data, data)


def test_photographs_stay_naparis_own_unless_turned_or_odd(tmp_path):
    rgb = RNG.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    for suffix in (".png", ".jpg", ".tif", ".bmp"):
        Picture.fromarray(rgb).save(tmp_path / f"a{suffix}")
        assert get_reader(str(tmp_path / f"a{suffix}")) is None
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    [layer] = layers_of(tmp_path / "turned.png")
    assert layer.rgb
    assert np.array_equal(layer.data, np.rot90(rgb, -1))
    tifffile.imwrite(tmp_path / "odd.tif", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
    assert get_photograph_reader(str(tmp_path / "odd.tif")) is not None
    [layer] = layers_of(tmp_path / "odd.tif")
    assert np.array_equal(layer.data, rgb)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 30, 40), np.float64), photometric="minisblack")
    assert get_reader(str(tmp_path / "stack.tif")) is None
    (tmp_path / "text.png").write_text("no picture")
    assert get_reader(str(tmp_path / "text.png")) is None


def test_a_photographs_saved_mask_reopens_as_labels(tmp_path):
    painted = RNG.integers(0, 3, (30, 40)).astype(np.uint8)
    data, attributes, _ = Labels(painted, metadata={"tinymig": {"task": "optic"}}).as_layer_data_tuple()
    write_labels(str(tmp_path / "eye_mask.png"), data, attributes)
    assert Picture.open(tmp_path / "eye_mask.png").mode == "P"
    [layer] = layers_of(tmp_path / "eye_mask.png")
    assert isinstance(layer, Labels)
    assert np.array_equal(layer.data, painted)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_painted_on_a_photograph_as_napari_shows_it_lies_on_it_in_every_program(tmp_path, orientation):
    stored = RNG.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    exif = Picture.Exif()
    exif[0x0112] = orientation
    Picture.fromarray(stored).save(tmp_path / "eye.png", exif=exif)
    painted = (stored[..., 0] > 128).astype(np.uint8)  # napari's own reader ignores the tag
    layer = Labels(painted, metadata={"tinymig": {"path": str(tmp_path / "eye.png"), "task": "optic"}})
    data, attributes, _ = layer.as_layer_data_tuple()
    write_labels(str(tmp_path / "eye_mask.png"), data, attributes)
    assert np.array_equal(np.asarray(Picture.open(tmp_path / "eye_mask.png")), painted)
    photograph = open_input(tmp_path / "eye.png")
    upright = photograph.scan.pixels[..., 0] > 128
    assert np.array_equal(read_mask(tmp_path / "eye_mask.png", like=photograph), upright)


def test_a_folder_of_dicom_opens_every_series_and_other_folders_are_left_alone(tmp_path, dicom_series_maker):
    values = RNG.integers(0, 900, (5, 20, 24)).astype(np.int16)
    for name in ("a", "b"):
        dicom_series_maker(tmp_path / "study" / name, values, np.eye(3), (0.5, 0.6, 3.0), (1, 2, 3))
    layers = layers_of(tmp_path / "study")
    assert [layer.name for layer in layers] == ["a", "b"]
    assert np.array_equal(layers[0].data, values)
    (tmp_path / "empty").mkdir()
    assert get_volume_reader(str(tmp_path / "empty")) is None


def test_several_files_at_once_are_one_layer_each(oblique, tmp_path):
    nib.save(nib.load(oblique), tmp_path / "other.nii.gz")
    paths = [str(oblique), str(tmp_path / "other.nii.gz")]
    assert [attributes["name"] for _, attributes, _ in get_reader(paths)(paths)] == ["scan", "other"]


def test_what_cannot_be_read_is_said_and_the_rest_is_opened(oblique, tmp_path):
    (tmp_path / "bad.nii.gz").write_text("x")
    with pytest.raises(TinyMIGError, match=r"bad\.nii\.gz"):
        layers_of(tmp_path / "bad.nii.gz")
    paths = [str(tmp_path / "bad.nii.gz"), str(oblique)]
    with pytest.warns(UserWarning, match=r"bad\.nii\.gz"):
        assert len(get_reader(paths)(paths)) == 1


def test_the_readers_need_no_qt_and_no_napari():
    import subprocess
    import sys

    code = "import sys, napari_tinymig.viewer.napari_io.readers as r, napari_tinymig.viewer.napari_io.writers as w\n"
    code += "print(sorted({'napari', 'qtpy', 'torch'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
