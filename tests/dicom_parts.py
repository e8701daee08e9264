"""What the tests of DICOM share: a small volume, its bright voxels, a multi-frame file."""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

VALUES = np.random.default_rng(3).integers(0, 900, (7, 20, 24)).astype(np.int16)
AXIAL = np.eye(3)
SAGITTAL = np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]])  # columns: rows' direction P, columns' direction I, normal R
SPACING, ORIGIN = (0.5, 0.6, 3.0), (-10.0, 20.0, 30.0)


def bright(scan_file):
    return (scan_file.scan.pixels > 450).astype(np.uint8)


def enhanced(path, file, order):
    """An enhanced multi-frame file of VALUES made from a slice of a series, frames in `order`."""
    ds = pydicom.dcmread(file)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(ds, keyword)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        position, values, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + SPACING[2] * k]
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, 5, "US"
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([values])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.NumberOfFrames = len(order)
    ds.PixelData = VALUES[order].tobytes()
    ds.save_as(path, enforce_file_format=True)
