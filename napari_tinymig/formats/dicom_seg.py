"""DICOM-SEG: masks of a DICOM series as a DICOM object (written by highdicom, extra [dicom]; read by pydicom alone)."""

from __future__ import annotations

import importlib.util
import io
import warnings
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from ..base.errors import MissingExtra, UnreadableInput, UnsupportedInput
from ..base.geometry import Geometry, lps_from_ras
from ..tasks.table import KNOWN
from ..tasks.task import Task
from .dicom_slices.pixels import pixel_values
from .scan_file import ScanFile, StoredVolume
from .stored_grid import stored_labels

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEG_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


def dicom_seg_bytes(
    labels: NDArray[np.uint8],
    scan_file: ScanFile,
    task: Task | None = None,
    algorithm: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"] = "SEMIAUTOMATIC",
) -> bytes:
    """The bytes of a binary DICOM-SEG, one segment per label; slices that were missing in the series are left out."""
    _check_source(scan_file)
    try:
        import highdicom as hd
    except ImportError as e:
        raise MissingExtra("writing DICOM-SEG", "dicom") from e

    frames = stored_labels(labels, scan_file).transpose(2, 1, 0)  # (k, row, column)
    sources, frames = _sources_in_their_order(scan_file, frames)
    count = max(int(frames.max()), *(r.label for r in task.regions)) if task else max(1, int(frames.max()))
    version = installed_version("napari-tinymig")
    with warnings.catch_warnings():  # highdicom comments on the source's patient name, which is not ours to mend
        warnings.simplefilter("ignore", UserWarning)
        segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=np.ascontiguousarray(frames),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(hd, n, task, algorithm, version) for n in range(1, count + 1)],
            series_instance_uid=hd.UID(),
            series_number=int(sources[0].get("SeriesNumber", 0) or 0) % 9000 + 900,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="napari-tinymig",
            manufacturer_model_name="napari-tinymig",
            software_versions=version,
            device_serial_number="0",
            content_label="MASK",
            series_description=f"Mask of {task.title if task else 'image'}"[:64],
            omit_empty_frames=bool(frames.any()),
        )
    out = io.BytesIO()
    segmentation.save_as(out, enforce_file_format=True)
    return out.getvalue()


def can_write_seg(scan_file: ScanFile | None) -> bool:
    """Whether the mask of this image can be written as DICOM-SEG: highdicom is installed, and the image is a DICOM
    stack whose slices have positions, one frame each."""
    if scan_file is None or importlib.util.find_spec("highdicom") is None:
        return False
    try:
        _check_source(scan_file)
    except ValueError:
        return False
    places = [where for where in scan_file.header.slices if where is not None]
    if len(places) == 1 or len({path for path, _ in places}) > 1:
        return True
    frames = pydicom.dcmread(places[0][0], stop_before_pixels=True).get("NumberOfFrames", 0)
    return int(frames or 0) == len(places)


def _check_source(scan_file: ScanFile) -> None:
    """Raise ValueError unless `scan_file` is a DICOM stack whose slices have positions."""
    geometry = scan_file.geometry
    if scan_file.format != "dicom" or scan_file.header is None or geometry is None or not geometry.oriented:
        raise ValueError(
            f"{scan_file.name} is no DICOM stack with positions; expected one for DICOM-SEG; use --format nifti."
        )


def _sources_in_their_order(scan_file: ScanFile, frames: NDArray[np.uint8]) -> tuple[list[Any], NDArray[np.uint8]]:
    """Source datasets and label frames (k, row, column) in the order that highdicom expects."""
    slices = scan_file.header.slices
    present = [k for k, where in enumerate(slices) if where is not None]
    paths = {slices[k][0] for k in present}
    if len(paths) == 1 and len(present) > 1:  # enhanced multi-frame: one dataset, frames in the file's order
        dataset = pydicom.dcmread(next(iter(paths)))
        if len(present) != int(dataset.NumberOfFrames):
            raise ValueError(f"{scan_file.name} has frames in equal places; expected one each; use --format nifti.")
        order = sorted(present, key=lambda k: slices[k][1])
        return [dataset], frames[order]
    return [pydicom.dcmread(slices[k][0], stop_before_pixels=False) for k in present], frames[present]


def _description(hd: Any, number: int, task: Task | None, algorithm: str, version: str) -> Any:
    """What segment `number` is: the known task's standard code, our own scheme where there is none."""
    from pydicom.sr.codedict import codes

    names = task.class_names if task else {}
    name = names.get(number, f"label {number}")
    own = (f"{(task.name if task else 'LABEL')[:10].upper()}{number}", "99TINYMIG", name)
    known = KNOWN.get(task.name) if task else None
    code = known.dicom_codes.get(number, own) if known else own
    identification = hd.AlgorithmIdentificationSequence(
        name="napari-tinymig", family=codes.DCM.ArtificialIntelligence, version=version
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=hd.sr.CodedConcept(*code),
        algorithm_type=algorithm,
        algorithm_identification=identification if algorithm != "MANUAL" else None,
    )


def is_dicom_seg(path: Path) -> bool:
    """Whether a DICOM file is a segmentation."""
    return _class_of(path) in SEG_STORAGE


def is_contours(path: Path) -> bool:
    """Whether a DICOM file holds contours (RTSTRUCT)."""
    return _class_of(path) == RTSTRUCT


def series_of(path: Path) -> str:
    """The UID of the series a DICOM file belongs to."""
    return str(pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"]).get("SeriesInstanceUID", ""))


def referenced_series(path: Path) -> set[str]:
    """UIDs of the series that an RTSTRUCT says its contours were drawn on."""
    found: set[str] = set()
    for frame in pydicom.dcmread(path).get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            found |= {str(s.SeriesInstanceUID) for s in study.get("RTReferencedSeriesSequence") or []}
    return found


def segmented_series(path: Path) -> set[str]:
    """UIDs of the series that a DICOM-SEG says it segments."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return {str(s.SeriesInstanceUID) for s in dataset.get("ReferencedSeriesSequence") or []}


def named_segments(path: Path) -> dict[int, str]:
    """Segment number -> its name, of a DICOM-SEG; {} for any other file."""
    if not is_dicom_seg(path):
        return {}
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return {int(s.SegmentNumber): str(s.SegmentLabel) for s in dataset.get("SegmentSequence") or []}


def _class_of(path: Path) -> str:
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    except (OSError, pydicom.errors.InvalidDicomError):
        return ""
    return str(dataset.get("SOPClassUID", ""))


def load_dicom_seg(path: Path, like: ScanFile | None = None) -> StoredVolume:
    """Labels (column, row, slice) of a DICOM-SEG, segment number = label; on the grid of `like` if that is a DICOM
    stack, else on the smallest even stack that holds the segmentation's own frames."""
    dataset = pydicom.dcmread(path)
    if str(dataset.get("SOPClassUID", "")) not in SEG_STORAGE:
        raise UnreadableInput(f"{path.name} is a DICOM image, not a segmentation; expected a DICOM-SEG mask.")
    frames = pixel_values(dataset)
    frames = frames[None] if frames.ndim == 2 else frames
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    positions = np.array([_group(g, shared, "PlanePositionSequence").ImagePositionPatient for g in per_frame], float)
    if like is not None and like.format == "dicom" and like.geometry is not None and like.geometry.oriented:
        geometry = like.geometry
    else:
        geometry = _own_geometry(per_frame[0], shared, positions, frames.shape)
    array = np.zeros(geometry.shape, np.uint8)
    if frames.shape[1:] != (geometry.shape[1], geometry.shape[0]):
        raise UnsupportedInput(
            f"{path.name} has frames of {frames.shape[2]} x {frames.shape[1]} pixels and its image "
            f"{geometry.shape[0]} x {geometry.shape[1]}; expected equal grids."
        )
    where = _slice_numbers(positions, geometry)
    for frame, group, k in zip(frames, per_frame, where):
        if abs(k - round(k)) > 0.1 or not 0 <= round(k) < geometry.shape[2]:
            raise UnsupportedInput(f"{path.name} has a frame between or beyond the slices of its image; expected none.")
        plane = array[..., round(k)]
        if dataset.SegmentationType == "LABELMAP":
            plane[...] = frame.T
        else:
            number = int(_group(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            threshold = 0 if dataset.SegmentationType == "BINARY" else float(dataset.MaximumFractionalValue) / 2
            plane[threshold < frame.T] = number
    return StoredVolume(array, geometry, array.shape, array.dtype, None, "dicom")


def _group(frame: Any, shared: Any, sequence: str) -> Any:
    found = frame.get(sequence) or shared.get(sequence)
    if not found:
        raise UnreadableInput(f"the segmentation lacks {sequence}; expected it for every frame.")
    return found[0]


def _slice_numbers(positions: NDArray[np.float64], geometry: Geometry) -> list[float]:
    """Stored slice number, with fractions, of LPS frame positions (n, 3)."""
    inverse = np.linalg.inv(geometry.affine)
    return [float(v) for v in (lps_from_ras(positions) @ inverse[:3, :3].T + inverse[:3, 3])[:, 2]]


def _own_geometry(first: Any, shared: Any, positions: NDArray[np.float64], shape: tuple[int, ...]) -> Geometry:
    directions = np.array(_group(first, shared, "PlaneOrientationSequence").ImageOrientationPatient, float).reshape(
        2, 3
    )
    measures = _group(first, shared, "PixelMeasuresSequence")
    normal = np.cross(directions[0], directions[1])
    depths = np.unique(np.round(positions @ normal, 3))
    given = float(measures.get("SpacingBetweenSlices", 0) or 0) or float(measures.get("SliceThickness", 1) or 1)
    step = float(np.diff(depths).min()) if len(depths) > 1 else given
    lps = np.eye(4)
    lps[:3, 0] = directions[0] * float(measures.PixelSpacing[1])
    lps[:3, 1] = directions[1] * float(measures.PixelSpacing[0])
    lps[:3, 2] = normal * step
    lps[:3, 3] = positions[np.argmin(positions @ normal)]
    count = round((depths[-1] - depths[0]) / step) + 1
    return Geometry((shape[2], shape[1], count), lps_from_ras(lps))
