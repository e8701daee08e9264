"""DICOM segmentations out and in."""

from __future__ import annotations

import sys

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_parts import AXIAL, SAGITTAL, VALUES, bright, enhanced

from napari_tinymig.base.errors import MissingExtra, UnsupportedInput
from napari_tinymig.base.geometry import index_at, world_mm
from napari_tinymig.formats import find_inputs, mask_path, open_input, read_mask, write_mask
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE


@pytest.mark.parametrize("direction", [AXIAL, SAGITTAL])
def test_a_dicom_seg_holds_every_label_where_it_was(series, tmp_path, direction):
    folder, _ = series(direction=direction)
    scan_file = open_input(folder)
    labels = np.zeros(scan_file.scan.pixels.shape, np.uint8)
    labels[2:5, 4:9, 3:6], labels[3, 6:8, 3:5] = 1, 2
    [item] = find_inputs([folder])
    path = write_mask(labels, scan_file, mask_path(tmp_path, item, [item], "dicomseg"), task=OPTIC)
    assert path.name == "axial_mask.dcm"
    assert np.array_equal(read_mask(path, like=scan_file), labels)
    judged = hd.seg.segread(path)
    assert [judged.get_segment_description(n).segment_label for n in (1, 2)] == ["disc rim", "cup"]
    assert judged.SeriesInstanceUID != pydicom.dcmread(item.files[0]).SeriesInstanceUID
    stored = scan_file.geometry.to_stored(labels).transpose(2, 1, 0)
    volume = judged.get_volume(combine_segments=True).match_geometry(
        hd.image.get_volume_from_series([pydicom.dcmread(f) for f in item.files])
    )
    assert np.array_equal(volume.array, stored) or np.array_equal(volume.array[::-1], stored)


def test_a_dicom_seg_alone_lies_in_the_same_scanner_place(series, tmp_path):
    from napari_tinymig.formats import open_mask

    folder, _ = series(direction=SAGITTAL)
    scan_file = open_input(folder)
    labels = np.zeros(scan_file.scan.pixels.shape, np.uint8)
    labels[5, 6, 2] = labels[5, 6, 4] = 1  # an empty slice between two
    mask = open_mask(write_mask(labels, scan_file, tmp_path / "m.dcm", task=PROSTATE))
    where = world_mm(np.argwhere(mask.labels), mask.geometry)
    assert np.allclose(np.sort(index_at(where, scan_file.geometry), 0), [[5, 6, 2], [5, 6, 4]], atol=1e-6)


def test_an_empty_mask_and_a_multiframe_source_make_a_dicom_seg(series, tmp_path):
    folder, files = series()
    scan_file = open_input(folder)
    write_mask(np.zeros(VALUES.shape, np.uint8), scan_file, tmp_path / "empty.dcm", task=PROSTATE)
    assert not read_mask(tmp_path / "empty.dcm", like=scan_file).any()
    enhanced(tmp_path / "multi.dcm", files[0], [3, 1, 0, 2, 6, 5, 4])
    multi = open_input(tmp_path / "multi.dcm")
    write_mask(bright(multi), multi, tmp_path / "multi_mask.dcm", task=PROSTATE)
    assert np.array_equal(read_mask(tmp_path / "multi_mask.dcm", like=multi), bright(multi))


def test_a_series_with_a_filled_gap_still_makes_a_dicom_seg(series, tmp_path):
    folder, files = series()
    next(f for f in files if pydicom.dcmread(f).InstanceNumber == 4).unlink()
    scan_file = open_input(folder)
    labels = np.ones(VALUES.shape, np.uint8)
    back = read_mask(write_mask(labels, scan_file, tmp_path / "m.dcm", task=PROSTATE), like=scan_file)
    assert back[[0, 1, 2, 4, 5, 6]].all()
    assert not back[3].any()


def test_without_highdicom_the_sentence_names_the_extra(series, tmp_path, monkeypatch):
    scan_file = open_input(series()[0])
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtra, match=r"napari-tinymig\[dicom\]"):
        write_mask(bright(scan_file), scan_file, tmp_path / "m.dcm")


def test_other_sources_cannot_become_dicom_seg_and_a_seg_is_no_image(series, tmp_path):
    nib.save(nib.Nifti1Image(VALUES, np.eye(4)), tmp_path / "a.nii.gz")
    scan_file = open_input(tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match="no DICOM stack"):
        write_mask(bright(scan_file), scan_file, tmp_path / "m.dcm")
    dicom = open_input(series()[0])
    write_mask(bright(dicom), dicom, tmp_path / "seg.dcm", task=PROSTATE)
    with pytest.raises(UnsupportedInput, match="DICOM segmentation"):
        open_input(tmp_path / "seg.dcm")
