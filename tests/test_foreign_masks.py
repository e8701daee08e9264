"""Masks as people have them: read where they are unambiguous, else refused with what was found and what maps it."""

from __future__ import annotations

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from napari_tinymig.base.errors import UnsupportedInput
from napari_tinymig.formats import find_inputs, open_input, open_mask, parse_label_map, read_mask
from napari_tinymig.formats.foreign_masks.kept_legend import keep_legend

y, x = np.mgrid[:200, :240]
DISC = ((y - 100) / 60) ** 2 + ((x - 120) / 55) ** 2 <= 1
CUP = ((y - 104) / 30) ** 2 + ((x - 124) / 26) ** 2 <= 1
TRUTH = DISC.astype(np.uint8) + CUP
GREYS = np.array([255, 128, 0], np.uint8)[TRUTH]
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[TRUTH]
GREY_LEGEND, COLOUR_LEGEND = "255:0,128:1,0:2", "#000000:0,#ff0000:1,#00ff00:2"


def wrong(path, legend):
    """Pixels of a mask that differ from the truth."""
    return int((read_mask(path, parse_label_map(legend) if legend else None) != TRUTH).sum())


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_jpeg_with_smeared_greys_is_the_mask_it_was(tmp_path, quality):
    Image.fromarray(GREYS).save(tmp_path / "m.jpg", quality=quality)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "m.jpg")))) > 20
    assert wrong(tmp_path / "m.jpg", GREY_LEGEND) < 0.025 * TRUTH.astype(bool).sum()
    [note] = open_mask(tmp_path / "m.jpg", parse_label_map(GREY_LEGEND)).notes
    assert "told apart as the codes 255, 128, 0" in note


def test_an_edge_between_the_outer_codes_makes_no_ring_of_the_middle_one(tmp_path):
    """White to black through a soft edge passes the grey of the rim, where no rim is."""
    soft = ndimage.gaussian_filter(np.where(DISC, 0, 255).astype(float), 1.2)
    Image.fromarray(soft.astype(np.uint8)).save(tmp_path / "m.png")
    labels = read_mask(tmp_path / "m.png", parse_label_map(GREY_LEGEND))
    assert set(np.unique(labels)) == {0, 2}
    assert ((labels == 2) != DISC).sum() < 120  # of 10,367 pixels


def test_soft_edges_between_two_codes_are_cut_half_way(tmp_path):
    soft = ndimage.gaussian_filter(np.where(DISC, 255, 0).astype(float), 1.5)
    Image.fromarray(soft.astype(np.uint8)).save(tmp_path / "m.png")
    labels = read_mask(tmp_path / "m.png", parse_label_map("0:0,255:1"))
    assert np.array_equal(labels == 1, soft.astype(np.uint8) >= 128)


def test_soft_edges_without_a_legend_ask_for_the_two_codes_they_are_of(tinymig, tmp_path):
    soft = ndimage.gaussian_filter(np.where(DISC, 255, 0).astype(float), 1.5)
    Image.fromarray(soft.astype(np.uint8)).save(tmp_path / "m.png")
    said = tinymig("measure", "m.png", "-o", "out", code=1).stdout
    assert "holds the label codes 255; task 'optic' knows 0, 1, 2; say what they mean, e.g. --labels 0:0,255:1." in said
    done = tinymig("measure", "m.png", "-o", "out", "--labels", "0:0,255:1", code=0)
    assert f"disc area {int((soft.astype(np.uint8) >= 128).sum())} px²" in done.stdout
    assert "told apart as the codes 0, 255" in done.stdout


@pytest.mark.parametrize("name", ["m.png", "m.bmp", "m.tif", "palette.png", "m.jpg"])
def test_colours_are_read_with_their_legend(tmp_path, name):
    picture = Image.fromarray(COLOURS)
    if name == "palette.png":
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(tmp_path / name, **({"quality": 90, "subsampling": 0} if name == "m.jpg" else {}))
    assert wrong(tmp_path / name, COLOUR_LEGEND) <= (0.02 * DISC.sum() if name == "m.jpg" else 0)


def test_colours_without_a_legend_are_named_with_the_option_that_maps_them(tinymig, tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "m.png")
    said = tinymig("measure", "m.png", "-o", "out", code=1).stdout
    assert "label codes #000000, #00ff00, #ff0000" in said
    assert '--labels "#000000:0,#00ff00:1,#ff0000:2"' in said
    done = tinymig("measure", "m.png", "-o", "out", "--labels", COLOUR_LEGEND, code=0)
    assert f"disc area {DISC.sum()} px², cup area {CUP.sum()} px²" in done.stdout


def test_greys_of_a_24_bit_bitmap_are_codes(tmp_path):
    Image.fromarray(GREYS).convert("RGB").save(tmp_path / "m.bmp")
    assert wrong(tmp_path / "m.bmp", GREY_LEGEND) == 0


def test_a_jpeg_of_the_codes_0_1_2_cannot_be_told_apart_and_says_so(tmp_path):
    rough = (TRUTH * 1.0 + np.random.default_rng(0).integers(0, 12, TRUTH.shape)).astype(np.uint8)
    Image.fromarray(rough).save(tmp_path / "m.png")
    with pytest.raises(UnsupportedInput, match="codes 0 and 1 lie too near to be told apart"):
        read_mask(tmp_path / "m.png", allowed=(0, 1, 2))


def test_a_photograph_given_as_a_mask_is_refused(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)).save(tmp_path / "p.jpg")
    for legend in (None, {0: 0, 255: 1}, parse_label_map(COLOUR_LEGEND)):
        with pytest.raises(UnsupportedInput, match="is it an image"):
            read_mask(tmp_path / "p.jpg", legend)


def test_a_legend_is_told_once_for_a_folder_and_kept_beside_its_masks(tinymig, tmp_path):
    for folder in ("m", "n"):
        (tmp_path / folder).mkdir()
        Image.fromarray(GREYS).save(tmp_path / folder / "a.png")
        Image.fromarray(GREYS).save(tmp_path / folder / "b.png")
    done = tinymig("measure", "m/a.png", "-o", "out", "--labels", GREY_LEGEND, code=0)
    assert not (tmp_path / "m" / "tinymig-labels.json").exists()  # one file says nothing of its folder
    done = tinymig("measure", "m", "-o", "out", "--labels", GREY_LEGEND, code=0)
    assert "The label codes are kept in m/tinymig-labels.json for the next time" in done.stdout
    done = tinymig("measure", "m", "-o", "out", code=0)
    assert f"Label codes as kept in m/tinymig-labels.json: {GREY_LEGEND} (--labels replaces them)." in done.stdout
    assert done.stdout.count(f"disc area {DISC.sum()} px², cup area {CUP.sum()} px²") == 2
    done = tinymig("compare", "m", "n", "-o", "c", "--labels-b", GREY_LEGEND, code=0)
    assert "Label codes as kept in m/" in done.stdout
    assert (tmp_path / "n" / "tinymig-labels.json").is_file()
    assert tinymig("compare", "m", "n", "-o", "c", code=0).stdout.count("disc Dice 1.000, HD95 0.0") == 2
    (tmp_path / "m" / "tinymig-labels.json").write_text('{"labels": "0:zwei"}')
    said = tinymig("measure", "m", "-o", "out", code=2).stderr
    assert "is damaged" in said
    assert "give --labels again" in " ".join(said.split())


def test_fine_tuning_knows_a_kept_legend(tmp_path):
    from napari_tinymig.annotations.teaching_cases import label_map_for

    (tmp_path / "labels").mkdir()
    assert label_map_for(tmp_path, "") is None
    assert keep_legend(tmp_path / "labels", GREY_LEGEND)
    assert keep_legend(tmp_path / "labels", GREY_LEGEND) == ""
    assert label_map_for(tmp_path, "") == {255: 0, 128: 1, 0: 2}
    assert label_map_for(tmp_path, "0:0,7:1") == {0: 0, 7: 1}
    (tmp_path / "f").write_text("in the way of a folder")
    assert "not kept for the next time: cannot write" in keep_legend(tmp_path / "f", "0:0")


@pytest.mark.parametrize("text", ["#ff00:1", "#gg0000:1", "ff0000:1", "#ff0000", "#ff0000:1,#FF0000:2", "#ff0000:256"])
def test_a_wrong_legend_is_a_sentence(text):
    with pytest.raises(ValueError, match=r"expected foreign:ours pairs such as 0:2,128:1,255:0 or #ff0000:1"):
        parse_label_map(text)


# ------------------------------------------------------------------ volumes

VOLUME = np.zeros((20, 24, 9), np.uint8)
VOLUME[4:15, 5:18, 2:7], VOLUME[8:12, 9:14, 3:6] = 1, 2
AFFINE = np.diag([-0.5, -0.6, 3.0, 1.0])


def test_float_labels_of_a_nifti_are_whole_numbers_within_a_hundredth(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.009, 0.009, VOLUME.shape)
    nib.save(nib.Nifti1Image((VOLUME + noise).astype(np.float32), AFFINE), tmp_path / "m.nii.gz")
    labels = open_mask(tmp_path / "m.nii.gz")
    assert np.array_equal(labels.geometry.to_stored(labels.labels), VOLUME)
    nib.save(nib.Nifti1Image(VOLUME.astype(np.float32) * 0.4, AFFINE), tmp_path / "p.nii.gz")
    with pytest.raises(UnsupportedInput, match=r"fractions from 0 to 0\.8; .* probabilities\? cut them at 0\.5"):
        read_mask(tmp_path / "p.nii.gz")


def test_a_mask_twice_as_large_as_its_image_is_read_where_its_blocks_are_uniform(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 240, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    image = open_input(tmp_path / "a.png")
    Image.fromarray(TRUTH.repeat(2, 0).repeat(2, 1)).save(tmp_path / "m.png")
    mask = open_mask(tmp_path / "m.png", like=image)
    assert np.array_equal(mask.labels, TRUTH)
    assert "480 x 400 pixels are blocks of one label" in mask.notes[0]
    moved = np.roll(TRUTH.repeat(2, 0).repeat(2, 1), 1, 1)
    Image.fromarray(moved).save(tmp_path / "m.png")
    with pytest.raises(UnsupportedInput, match="expected equal grids"):
        read_mask(tmp_path / "m.png", like=image)


def seg_nrrd(path, array, segments, origin=(0, 0, 0)):
    """A segmentation as 3D Slicer writes it: segments = [(name, layer, value)]."""
    layered = array.ndim == 4
    directions = np.diag([0.5, 0.6, 3.0])
    header = {
        "space": "left-posterior-superior",
        "space directions": np.vstack([np.full((1, 3), np.nan), directions]) if layered else directions,
        "space origin": list(origin),
        "kinds": (["list"] if layered else []) + ["domain"] * 3,
    }
    for i, (name, layer, value) in enumerate(segments):
        header |= {f"Segment{i}_ID": f"Segment_{i}", f"Segment{i}_Name": name}
        header |= {f"Segment{i}_Layer": str(layer), f"Segment{i}_LabelValue": str(value)}
    nrrd.write(str(path), array, header)
    return path


def test_a_slicer_segmentation_of_one_layer_keeps_its_values_and_names(tmp_path):
    mask = open_mask(seg_nrrd(tmp_path / "m.seg.nrrd", VOLUME, [("rim", 0, 1), ("cup", 0, 2)]))
    assert np.array_equal(mask.geometry.to_stored(mask.labels), VOLUME)
    assert mask.notes == ("Its structures are 1 = rim, 2 = cup.",)


def test_layers_of_a_slicer_segmentation_become_one_where_one_lies_inside_the_other(tmp_path):
    layers = np.stack([VOLUME == 2, VOLUME >= 1]).astype(np.uint8)
    mask = open_mask(seg_nrrd(tmp_path / "m.seg.nrrd", layers, [("cup", 0, 1), ("disc", 1, 1)]), {0: 0, 1: 2, 2: 1})
    assert np.array_equal(mask.geometry.to_stored(mask.labels), VOLUME)
    layers[0, 3:6, 3:8, 3] = 1
    with pytest.raises(UnsupportedInput, match="'cup' and 'disc' overlap in"):
        read_mask(seg_nrrd(tmp_path / "m.seg.nrrd", layers, [("cup", 0, 1), ("disc", 1, 1)]))


def test_a_cropped_segmentation_is_put_where_it_belongs_on_its_image(tmp_path):
    nib.save(
        nib.Nifti1Image(np.random.default_rng(0).normal(size=VOLUME.shape).astype(np.float32), AFFINE),
        tmp_path / "a.nii",
    )
    image = open_input(tmp_path / "a.nii")
    cropped = seg_nrrd(tmp_path / "m.seg.nrrd", VOLUME[3:16, 4:20, 1:8], [("a", 0, 1), ("b", 0, 2)], (1.5, 2.4, 3.0))
    labels = read_mask(cropped, like=image)
    assert np.array_equal(image.geometry.to_stored(labels), VOLUME)
    beyond = seg_nrrd(tmp_path / "b.seg.nrrd", VOLUME[3:16, 4:20, 1:8], [("a", 0, 1)], (8.0, 2.4, 3.0))
    with pytest.raises(UnsupportedInput, match="reaches beyond its image"):
        read_mask(beyond, like=image)


# ------------------------------------------------------------------ contours


def rtstruct(path, series_uid, structures):
    """An RTSTRUCT of structures [(name, [points (n, 3) in LPS mm])]."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta, ds.Modality = meta, "RTSTRUCT"
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID = generate_uid()
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = series_uid
    study.RTReferencedSeriesSequence = Sequence([series])
    frame.RTReferencedStudySequence = Sequence([study])
    ds.ReferencedFrameOfReferenceSequence = Sequence([frame])
    names, contours = [], []
    for number, (name, rings) in enumerate(structures, 1):
        roi, contour = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, contour.ReferencedROINumber, contour.ContourSequence = (
            number,
            name,
            number,
            Sequence(),
        )
        for ring in rings:
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(ring)
            item.ContourData = [f"{v:.6f}" for v in np.ravel(ring)]
            contour.ContourSequence.append(item)
        names.append(roi)
        contours.append(contour)
    ds.StructureSetROISequence, ds.ROIContourSequence = Sequence(names), Sequence(contours)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def ring(radius, z, centre=(0.0, 0.0)):
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn), np.full(120, z)], -1)


def test_contours_are_filled_on_the_series_in_their_folder(tmp_path, dicom_series_maker, tinymig):
    values = np.random.default_rng(0).integers(0, 900, (5, 60, 64)).astype(np.int16)
    files = dicom_series_maker(tmp_path / "d", values, np.eye(3), (0.5, 0.5, 3.0), (-16, -15, 0))
    series = pydicom.dcmread(files[0]).SeriesInstanceUID
    rings = [ring(10, 3.0), ring(10, 6.0), ring(4, 6.0)]  # on the third slice with a hole
    path = rtstruct(tmp_path / "d" / "rt.dcm", series, [("Prostate", rings)])
    mask = open_mask(path)
    image = open_input(tmp_path / "d")
    assert mask.labels.shape == image.scan.pixels.shape
    r, c = np.mgrid[:60, :64]
    inside = np.hypot(c * 0.5 - 16, r * 0.5 - 15)
    truth = np.zeros_like(mask.labels)
    truth[1], truth[2] = inside < 10, (inside < 10) & (inside > 4)
    assert (mask.labels != truth).sum() < 60  # of 2,300 pixels: a ring of 120 points is no circle
    assert mask.notes == ("Its structures are 1 = Prostate.",)
    assert [i.path.name for i in find_inputs([tmp_path / "d"])] == ["d"]
    done = tinymig("measure", "d", "-o", "out", code=0)
    assert "1 measured, 0 failed" in done.stdout
    expected = float(np.pi * (100 + 100 - 16)) * 3 / 1000
    assert f"{expected:.1f} mL" in done.stdout


def test_contours_without_their_series_and_beside_its_slices_are_sentences(tmp_path, dicom_series_maker):
    path = rtstruct(tmp_path / "rt.dcm", "1.2.3", [("Prostate", [ring(10, 3.0)])])
    with pytest.raises(UnsupportedInput, match="expected that series; put its files"):
        read_mask(path)
    values = np.random.default_rng(0).integers(0, 900, (5, 60, 64)).astype(np.int16)
    dicom_series_maker(tmp_path / "d", values, np.eye(3), (0.5, 0.5, 3.0), (-16, -15, 0))
    path = rtstruct(tmp_path / "rt.dcm", "1.2.3", [("Prostate", [ring(10, 4.5)])])
    with pytest.raises(UnsupportedInput, match=r"at slice 2\.5 of 5"):
        read_mask(path, like=open_input(tmp_path / "d"))
