"""A volume is read, segmented and its mask written: SimpleITK and nibabel must find array and affine where they were.

1,152 files of three formats: 48 orientations, straight and oblique, spacings of 0.2-6 mm, eight voxel types; then 96
made-up DICOM series, and the real study where it is present. The mask of each is "brighter than the median", decided
after the slices went onto the network's grid and back, so a voxel that moves anywhere is found.
"""

from __future__ import annotations

import itertools
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_tinymig.base.geometry import index_at, place, restore, whole_box, world_mm
from napari_tinymig.formats import find_inputs, mask_path, open_input, read_mask, write_mask

DTYPES = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64)
AXES = [(order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]
SUFFIXES = (".nii.gz", ".nrrd", ".mha")


def direction_of(order, signs, tilt_degrees):
    """Direction cosines (LPS, columns are axes) along the scanner's axes, then turned about all three."""
    direction = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(order, signs)):
        direction[world, axis] = sign
    for axis, degrees in enumerate(tilt_degrees):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        direction = turn @ direction
    return direction


def made_up_image(order, signs, oblique, seed):
    """A SimpleITK image of random voxels and geometry."""
    rng = np.random.default_rng(seed)
    dtype = DTYPES[seed % len(DTYPES)]
    shape = rng.integers(8, 14, 3)
    values = rng.integers(0, 120, shape).astype(dtype)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([float(v) for v in np.round(rng.uniform(0.2, 6, 3), 3)])
    image.SetOrigin([float(v) for v in np.round(rng.uniform(-200, 200, 3), 2)])
    tilt = rng.uniform(-30, 30, 3) if oblique else (0, 0, 0)
    image.SetDirection([float(v) for v in direction_of(order, signs, tilt).ravel()])
    return image


def brighter_than_median(scan):
    """Labels of a volume decided on the network's side: every slice placed on a finer grid, restored, compared."""
    median = float(np.median(scan.pixels))
    labels = np.zeros(scan.pixels.shape, np.uint8)
    for z, frame in enumerate(scan.pixels):
        side = max(frame.shape)
        grid, placement = place(frame, whole_box(frame.shape), 2 * side, order=0)
        labels[z] = restore((grid > median).astype(np.uint8), placement, order=0)
    return labels


def itk_affine(image):
    return np.array(image.GetDirection()), np.array(image.GetSpacing()), np.array(image.GetOrigin())


def write_original(image, path):
    """NIfTI by nibabel (its scl and codes vary), others by SimpleITK with and without compression."""
    if path.suffix == ".gz":
        data = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        direction, spacing, origin = itk_affine(image)
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = direction.reshape(3, 3) * spacing, origin
        original = nib.Nifti1Image(data, np.diag([-1, -1, 1, 1]) @ affine)
        original.set_sform(original.affine, 1)
        original.set_qform(original.affine, 1)
        original.header.set_xyzt_units("mm", "sec")
        nib.save(original, path)
    else:
        sitk.WriteImage(image, str(path), useCompression=bool(image.GetSize()[0] % 2))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("order, signs", AXES)
def test_a_mask_lies_exactly_on_its_volume(tmp_path, suffix, order, signs):
    for oblique, repeat in itertools.product((False, True), range(4)):
        seed = zlib.crc32(f"{suffix}{order}{signs}{oblique}{repeat}".encode()) + repeat
        path = tmp_path / f"scan_{oblique}_{repeat}{suffix}"
        write_original(made_up_image(order, signs, oblique, seed), path)
        [item] = find_inputs([path])
        scan_file = open_input(item)
        labels = brighter_than_median(scan_file.scan)
        mask = write_mask(labels, scan_file, mask_path(tmp_path / "out", item, [item]))
        judged, original = sitk.ReadImage(str(mask)), sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(original)
        assert judged.GetPixelID() == sitk.sitkUInt8
        assert np.array_equal(sitk.GetArrayFromImage(judged), values > np.median(values))
        for ours, theirs in zip(itk_affine(judged), itk_affine(original)):
            assert np.array_equal(ours, theirs)
        if suffix == ".nii.gz":
            assert np.array_equal(nib.load(mask).affine, nib.load(path).affine)
            assert np.array_equal(
                np.asarray(nib.load(mask).dataobj), np.asarray(nib.load(path).dataobj) > np.median(values)
            )
        assert np.array_equal(read_mask(mask, like=scan_file), labels)


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_a_mask_in_another_format_than_its_volume_lies_in_the_same_place(tmp_path, source, target):
    for seed, (order, signs) in enumerate(AXES[::3]):
        path = tmp_path / f"scan_{seed}{source}"
        write_original(made_up_image(order, signs, seed % 2 == 1, seed), path)
        scan_file = open_input(path)
        labels = brighter_than_median(scan_file.scan)
        mask = write_mask(labels, scan_file, tmp_path / f"mask_{seed}{target}")
        judged, original = sitk.ReadImage(str(mask)), sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(original)
        assert np.array_equal(sitk.GetArrayFromImage(judged), values > np.median(values))
        for ours, theirs in zip(itk_affine(judged), itk_affine(original)):
            assert np.allclose(ours, theirs, atol=1e-5)
        assert np.array_equal(read_mask(mask, like=scan_file), labels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_our_position_of_a_voxel_is_simpleitks(tmp_path, suffix):
    for seed, (order, signs) in enumerate(AXES):
        path = tmp_path / f"scan_{seed}{suffix}"
        write_original(made_up_image(order, signs, True, seed), path)
        scan_file = open_input(path)
        image = sitk.ReadImage(str(path))
        canonical_index = np.array([3.0, 5.0, 6.0])
        ras = world_mm(canonical_index, scan_file.geometry)
        index = image.TransformPhysicalPointToIndex([-ras[0], -ras[1], ras[2]])
        assert image.GetPixel(index) == pytest.approx(float(scan_file.scan.pixels[3, 5, 6]))


def test_our_reading_of_a_dicom_series_is_simpleitks(tmp_path, dicom_series_maker):
    for seed, (order, signs) in enumerate(AXES + AXES):
        oblique = seed >= len(AXES)
        folder = tmp_path / f"series{seed}"
        rng = np.random.default_rng(seed)
        tilt = rng.uniform(-25, 25, 3) if oblique else (0, 0, 0)
        direction = direction_of(order, signs, tilt)
        direction[:, 2] = np.cross(direction[:, 0], direction[:, 1])  # slices of DICOM are stacked along the normal
        values = rng.integers(0, 900, (6, 9, 11)).astype((np.int16, np.uint16)[seed % 2])
        spacing = np.round(rng.uniform(0.3, 5, 3), 3)
        dicom_series_maker(folder, values, direction, spacing, np.round(rng.uniform(-90, 90, 3), 2), seed)
        judge_dicom(folder, tmp_path / "out")


@pytest.mark.parametrize("plane", ["tra", "sag", "cor"])
def test_the_real_study_is_read_as_simpleitk_reads_it(tmp_path, data_folder, plane):
    judge_dicom(data_folder / "dicom" / "prostatex_0000" / plane, tmp_path)


def test_a_dicom_series_and_the_nifti_somebody_else_made_of_it_are_one_volume_in_one_place(data_folder):
    ours = open_input(data_folder / "dicom" / "prostatex_0000" / "tra")
    theirs = open_input(data_folder / "prostate" / "silver" / "images" / "ProstateX-0000.nii.gz")
    assert np.array_equal(ours.scan.pixels, theirs.scan.pixels)
    assert np.allclose(ours.geometry.canonical_affine, theirs.geometry.canonical_affine, atol=1e-5)
    assert read_mask(data_folder / "prostate" / "silver" / "labels" / "ProstateX-0000.nii.gz", like=ours).any()


def judge_dicom(folder, out):
    """The mask of a series, on the grid that SimpleITK gives the series."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    series = reader.Execute()
    [item] = find_inputs([folder])
    scan_file = open_input(item)
    labels = brighter_than_median(scan_file.scan)
    mask = write_mask(labels, scan_file, mask_path(out, item, [item]), overwrite=True)
    judged = sitk.ReadImage(str(mask))
    values = sitk.GetArrayFromImage(series)
    assert np.array_equal(sitk.GetArrayFromImage(judged), values > np.median(values))
    for ours, theirs in zip(itk_affine(judged), itk_affine(series)):
        assert np.allclose(ours, theirs, atol=2e-5)
    assert np.array_equal(read_mask(mask, like=scan_file), labels)


def test_one_anatomical_point_has_one_position_in_three_planes(data_folder):
    """Around a point that all three stacks hold, each stack shows the same thing: the same grey, up to resampling."""
    study = data_folder / "dicom" / "prostatex_0000"
    planes = [sitk_volume(study / p) for p in ("tra", "sag", "cor")]
    ours = [open_input(study / p) for p in ("tra", "sag", "cor")]
    centre = world_mm((np.array(ours[0].scan.pixels.shape) - 1) / 2, ours[0].geometry)
    for scan_file, image in zip(ours, planes):
        z, y, x = np.round(index_at(centre, scan_file.geometry)).astype(int)
        ras = world_mm((z, y, x), scan_file.geometry)
        assert np.abs(ras - centre).max() < 3
        index = image.TransformPhysicalPointToIndex([-ras[0], -ras[1], ras[2]])
        assert image.GetPixel(index) == scan_file.scan.pixels[z, y, x]
    patches = [smooth_at(image, centre) for image in planes]
    for a, b in itertools.combinations(patches, 2):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.6


def sitk_volume(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def smooth_at(image, centre_ras):
    """A blurred 40 mm cube around a RAS point, resampled by SimpleITK: what the stack shows there."""
    smooth = sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), 3.0)
    grid = sitk.Image([9, 9, 9], sitk.sitkFloat32)
    grid.SetSpacing([5.0] * 3)
    grid.SetOrigin([-centre_ras[0] - 20, -centre_ras[1] - 20, centre_ras[2] - 20])
    return sitk.GetArrayFromImage(sitk.Resample(smooth, grid, sitk.Transform(), sitk.sitkLinear, 0.0))
