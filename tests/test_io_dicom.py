"""DICOM: series, single files, multi-frame, compression, gaps; DICOM-SEG out and in."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_parts import ORIGIN, SAGITTAL, SPACING, VALUES, bright, enhanced
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, generate_uid

from napari_tinymig.base.errors import UnreadableInput, UnsupportedInput
from napari_tinymig.base.geometry import lps_from_ras, world_mm
from napari_tinymig.formats import as_photograph, find_inputs, mask_path, open_input, write_mask
from napari_tinymig.tasks.prostate import PROSTATE


def test_shuffled_files_become_one_ordered_volume_named_by_its_folder(series):
    folder, _ = series()
    [item] = find_inputs([folder])
    assert item.name == "axial"
    scan_file = open_input(item)
    assert np.array_equal(scan_file.scan.pixels, VALUES)
    assert scan_file.scan.spacing_mm == pytest.approx((3, 0.6, 0.5))
    assert scan_file.metadata["modality"] == "MR"
    assert "Made" not in str(scan_file.metadata)
    assert lps_from_ras(world_mm((0, 0, 0), scan_file.geometry)) == pytest.approx(ORIGIN)


def test_a_sagittal_stack_is_turned_into_patient_order_and_its_mask_back(series, tmp_path):
    folder, _ = series(direction=SAGITTAL)
    scan_file = open_input(folder)
    assert scan_file.scan.pixels.shape == (20, 24, 7)  # z from rows, y from columns, x across the slices
    assert scan_file.geometry.slice_axis == 2
    mask = nib.load(write_mask(bright(scan_file), scan_file, tmp_path / "m.nii.gz"))
    assert np.array_equal(np.asarray(mask.dataobj), VALUES.transpose(2, 1, 0) > 450)


def test_one_folder_may_hold_several_series_and_other_files(series, tmp_path):
    one, _ = series("one")
    two, _ = series("two", values=VALUES[::-1].copy(), change=lambda ds, k: setattr(ds, "SeriesNumber", 5))
    for file in two.iterdir():
        shutil.move(file, one / f"IM{file.stem}")  # no suffix: known by its bytes
    for name in ("DICOMDIR", ".hidden.dcm", "readme.txt"):
        (one / name).write_text("x")
    items = find_inputs([one])
    assert [i.name for i in items] == ["one_series4", "one_series5"]
    assert [len(i.files) for i in items] == [7, 7]
    assert np.array_equal(open_input(items[1]).scan.pixels, VALUES[::-1])


def test_reports_and_segmentations_beside_images_are_no_inputs(series):
    folder, _ = series()
    [item] = find_inputs([folder])
    scan_file = open_input(item)
    write_mask(bright(scan_file), scan_file, folder / "axial_mask.dcm", task=PROSTATE)
    write_mask(bright(scan_file), scan_file, folder / "axial_mask.nii.gz")
    report = pydicom.dcmread(item.files[0])
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    report.Modality, report.SeriesInstanceUID = "SR", generate_uid()
    report.save_as(folder / "report.dcm")
    assert find_inputs([folder]) == [item]
    with pytest.raises(UnsupportedInput, match="without an image"):
        open_input(folder / "report.dcm")


def test_series_folders_below_a_study_folder_are_found(series, tmp_path):
    series("study/a")
    series("study/deeper/b", direction=SAGITTAL)
    assert [i.name for i in find_inputs([tmp_path / "study"])] == ["a", "b"]


def test_a_localizer_of_two_directions_in_one_series_is_two_stacks(series):
    def turned(ds, k):
        ds.SeriesInstanceUID = "1.2.3"
        if k > 3:
            ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    folder, _ = series(change=turned)
    assert sorted(len(i.files) for i in find_inputs([folder])) == [3, 4]


def test_single_files_stay_single_and_several_of_one_series_go_together(series):
    _, files = series()
    [item] = find_inputs(files[:1])
    assert item.name == files[0].stem
    assert open_input(item).scan.pixels.shape == (1, 20, 24)
    [item] = find_inputs(files)
    assert item.name == "axial"
    assert open_input(item).scan.pixels.shape == (7, 20, 24)


def test_a_missing_slice_is_said_and_every_other_slice_keeps_its_place(series):
    folder, files = series()
    gone = next(f for f in files if pydicom.dcmread(f).InstanceNumber == 4)
    gone.unlink()
    scan_file = open_input(folder)
    assert scan_file.scan.pixels.shape == VALUES.shape
    assert np.array_equal(scan_file.scan.pixels[[0, 1, 2, 4, 5, 6]], VALUES[[0, 1, 2, 4, 5, 6]])
    assert "1 slice(s) missing (at 39.0 mm" in scan_file.notes[0]


def test_a_slice_that_is_there_twice_is_said_and_used_once(series):
    folder, files = series()
    twin = pydicom.dcmread(files[0])
    twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    twin.InstanceNumber = 99
    twin.save_as(folder / "twin.dcm")
    scan_file = open_input(folder)
    assert np.array_equal(scan_file.scan.pixels, VALUES)
    assert "1 slice(s) lie where another does" in scan_file.notes[0]


def test_a_series_with_two_images_at_every_place_is_refused(series):
    folder, _ = series(change=lambda ds, k: setattr(ds, "SeriesInstanceUID", "1.2.3"))
    _, files = series("again", change=lambda ds, k: setattr(ds, "SeriesInstanceUID", "1.2.3"))
    for file in files:
        shutil.move(file, folder / f"b{file.name}")
    with pytest.raises(UnsupportedInput, match="2 images at each of 7 positions"):
        open_input(folder)


def test_uneven_slices_are_refused_with_their_distances(series):
    def shifted(ds, k):
        if k == 3:
            ds.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + 10.4]

    folder, _ = series(change=shifted)
    with pytest.raises(UnsupportedInput, match=r"1\.60 to 4\.40 mm apart"):
        open_input(folder)


def test_rescaled_values_are_what_they_mean(series):
    def whole(ds, k):
        ds.RescaleSlope, ds.RescaleIntercept = 2, -1000

    def fraction(ds, k):
        ds.RescaleSlope, ds.RescaleIntercept = 0.5, 0

    assert np.array_equal(open_input(series("w", change=whole)[0]).scan.pixels, VALUES.astype(int) * 2 - 1000)
    assert np.allclose(open_input(series("f", change=fraction)[0]).scan.pixels, VALUES * 0.5)


def test_signed_values_stay_signed(series):
    values = (VALUES - 450).astype(np.int16)
    assert np.array_equal(open_input(series(values=values)[0]).scan.pixels, values)


def test_where_low_is_white_the_picture_is_turned_round(series):
    folder, _ = series(change=lambda ds, k: setattr(ds, "PhotometricInterpretation", "MONOCHROME1"))
    pixels = open_input(folder).scan.pixels
    assert np.array_equal(pixels, VALUES.max() + VALUES.min() - VALUES)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless])
def test_compressed_slices_are_decoded(series, syntax):
    values = np.random.default_rng(4).integers(0, 900, (3, 64, 72)).astype(np.uint16)

    def compressed(ds, k):
        if syntax in (JPEGLosslessSV1, JPEGLSLossless):
            import imagecodecs

            lossless = syntax == JPEGLosslessSV1
            stream = (
                imagecodecs.ljpeg_encode(values[k], bitspersample=16)
                if lossless
                else imagecodecs.jpegls_encode(values[k])
            )
            ds.PixelData = encapsulate([stream])
            ds["PixelData"].VR = "OB"
            ds["PixelData"].is_undefined_length = True
            ds.file_meta.TransferSyntaxUID = syntax
        else:
            ds.compress(syntax)

    folder, _ = series(values=values, change=compressed)
    assert np.array_equal(open_input(folder).scan.pixels, values)


def test_an_enhanced_multiframe_file_is_a_volume_with_its_own_positions(series, tmp_path):
    _, files = series()
    enhanced(tmp_path / "multi.dcm", files[0], [3, 1, 0, 2, 6, 5, 4])
    scan_file = open_input(tmp_path / "multi.dcm")
    assert scan_file.name == "multi"
    assert np.array_equal(scan_file.scan.pixels, VALUES + 5)
    assert scan_file.scan.spacing_mm == pytest.approx((3, 0.6, 0.5))
    assert lps_from_ras(world_mm((2, 1, 4), scan_file.geometry)) == pytest.approx((-8.0, 20.6, 36.0))


def test_a_radiograph_without_positions_is_one_slice(series):
    def radiograph(ds, k):
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            delattr(ds, keyword)
        ds.Modality, ds.ImagerPixelSpacing = "DX", [0.2, 0.2]

    _, files = series(values=VALUES[:1], change=radiograph)
    scan_file = open_input(files[0])
    assert scan_file.scan.pixels.shape == (1, 20, 24)
    assert scan_file.scan.spacing_mm == pytest.approx((1, 0.2, 0.2))
    assert scan_file.metadata["modality"] == "DX"
    assert as_photograph(scan_file.scan).kind == "photograph"


def test_a_colour_photograph_in_dicom_is_a_photograph_and_its_mask_lies_on_it(series, tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8)

    def photograph(ds, k):
        ds.Modality, ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = "OP", 3, "RGB", 0
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, colour.tobytes()

    _, files = series(values=VALUES[:1], change=photograph)
    scan_file = open_input(files[0])
    assert scan_file.scan.kind == "photograph"
    assert np.array_equal(scan_file.scan.pixels, colour)
    labels = (colour[..., 0] > 100).astype(np.uint8)
    [item] = find_inputs(files)
    mask = write_mask(labels, scan_file, mask_path(tmp_path / "out", item, [item]))
    assert np.array_equal(np.asarray(nib.load(mask).dataobj)[..., 0].T, labels)


def test_a_dicom_file_without_an_image_is_a_sentence(series):
    _, files = series(values=VALUES[:1], change=lambda ds, k: delattr(ds, "PixelData"))
    with pytest.raises(UnsupportedInput, match="without an image"):
        open_input(files[0])


def test_a_truncated_slice_is_a_sentence(series):
    folder, files = series()
    files[2].write_bytes(files[2].read_bytes()[:-300])
    with pytest.raises(UnreadableInput, match="expected|cannot be read"):
        open_input(folder)


# ------------------------------------------------------------------ stacks that are no straight box


def test_a_tilted_stack_is_said_and_measured_with_the_distance_between_its_planes(series):
    def tilted(ds, k):
        lean = SPACING[2] * np.tan(np.radians(20))
        ds.ImagePositionPatient = [ORIGIN[0], ORIGIN[1] + lean * k, ORIGIN[2] + SPACING[2] * k]

    scan_file = open_input(series(change=tilted)[0])
    assert np.prod(scan_file.scan.spacing_mm) == pytest.approx(np.prod(SPACING))
    assert scan_file.scan.spacing_mm == pytest.approx((3.0, 0.6, 0.5))
    assert "lean by 20 degrees" in " ".join(scan_file.notes)
    assert lps_from_ras(world_mm((6, 0, 0), scan_file.geometry)) == pytest.approx(
        (ORIGIN[0], ORIGIN[1] + 18 * np.tan(np.radians(20)), ORIGIN[2] + 18)
    )


def test_an_upright_stack_says_nothing_of_leaning(series):
    assert open_input(series()[0]).notes == ()


def test_slices_shifted_unevenly_in_their_plane_are_a_sentence(series):
    def shifted(ds, k):
        ds.ImagePositionPatient = [ORIGIN[0] + 4 * (k == 3), ORIGIN[1], ORIGIN[2] + SPACING[2] * k]

    with pytest.raises(UnsupportedInput, match=r"up to 4\.0 mm beside a straight stack"):
        open_input(series(change=shifted)[0])


def test_two_acquisitions_in_one_place_are_a_sentence_that_counts_them(series):
    def first(ds, k):
        ds.SeriesInstanceUID, ds.AcquisitionNumber = "1.2.3", 1

    def second(ds, k):
        ds.SeriesInstanceUID, ds.AcquisitionNumber, ds.InstanceNumber = "1.2.3", 2, k + 100

    folder, _ = series(change=first)
    _, files = series("again", values=VALUES[:5], change=second)
    for file in files:
        shutil.move(file, folder / f"b{file.name}")
    with pytest.raises(UnsupportedInput, match=r"several acquisitions in one place: 1 \(7 slices\), 2 \(5 slices\)"):
        open_input(folder)
