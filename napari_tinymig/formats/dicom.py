"""DICOM: one file, an enhanced multi-frame file, or the files of a series; slices in order, positions true.

Slices are sorted by their position along the normal of the slice plane, as ITK does. Duplicated and missing slices are
said aloud in the notes; missing ones are filled by the nearest neighbour, so that every other slice keeps its place.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ..base.errors import UnreadableInput, UnsupportedInput, reading
from ..base.geometry import Geometry, lps_from_ras
from ..base.records import Scan
from .dicom_slices.order import Frame, in_order
from .dicom_slices.pixels import is_colour, pixel_values, rgb_pixels
from .scan_file import (
    MAX_PHOTOGRAPH_PIXELS,
    MAX_VOLUME_VOXELS,
    InputItem,
    ScanFile,
    refuse_constant,
    too_large,
    volume_scan,
)

_PLAIN_METADATA = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "series_description": "SeriesDescription",
    "study_description": "StudyDescription",
    "protocol": "ProtocolName",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "manufacturer": "Manufacturer",
    "laterality": "ImageLaterality",
    "sequence": "ScanningSequence",
    "echo_time_ms": "EchoTime",
    "repetition_time_ms": "RepetitionTime",
    "field_strength_t": "MagneticFieldStrength",
}


@dataclass(frozen=True)
class DicomSource:
    """What the writers need of a DICOM input: for each slice k of the stored grid its file and its frame in that
    file (0-based), None where a missing slice was filled."""

    slices: tuple[tuple[Path, int] | None, ...]


def read_dicom(item: InputItem, contents: Mapping[Path, bytes] | None = None) -> ScanFile:
    """The image of `item`: a volume in patient order, or a colour photograph (ophthalmic, endoscopic). contents: bytes
    of its files that were read already.

    Raises UnreadableInput (damaged, no decoder) or UnsupportedInput (4-D, irregular positions, no image).
    """
    files = item.files or (item.path,)
    with reading(item.path, "a DICOM image or series"):
        datasets = [_dataset(f, (contents or {}).get(f)) for f in files]
        if [is_colour(ds) for ds in datasets][0]:
            return _colour(item, datasets)
        frames, notes = in_order([frame for ds in datasets for frame in _frames(ds)], item.name)
        stored = _stored_array([f for f in frames if f is not None], frames, item.name)
        geometry = _geometry(frames, stored.shape)
        scan, volume_notes = volume_scan(stored, geometry, item.name, item.path.name)
    first = next(f for f in frames if f is not None)
    slices = tuple(None if f is None else (Path(f.dataset.filename), f.index) for f in frames)
    return ScanFile(
        path=item.path,
        name=item.name,
        scan=scan,
        format="dicom",
        stored_shape=stored.shape,
        stored_dtype=stored.dtype,
        geometry=geometry,
        header=DicomSource(slices),
        metadata=_metadata(first.dataset),
        notes=(*notes, *volume_notes),
        files=tuple(files),
    )


def _dataset(path: Path, content: bytes | None) -> Any:
    if not (path.stat().st_size if content is None else len(content)):
        raise UnreadableInput(f"{path.name} is empty (0 bytes); expected a DICOM file; copy or export it again.")
    dataset = pydicom.dcmread(path if content is None else io.BytesIO(content))
    dataset.filename = str(path)
    if dataset.get("Modality") == "SEG":
        raise UnsupportedInput(
            f"{path.name} is a DICOM segmentation; expected an image; give it to 'tinymig measure', or open its series."
        )
    if "PixelData" not in dataset and "FloatPixelData" not in dataset:
        kind = dataset.get("Modality", "unknown modality")
        raise UnsupportedInput(
            f"{path.name} is a DICOM file without an image ({kind}); expected an image series; give its folder."
        )
    return dataset


def _metadata(dataset: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, keyword in _PLAIN_METADATA.items():
        value = dataset.get(keyword)
        if value not in (None, "", []):
            is_number = isinstance(value, (int, float)) or key.endswith(("_ms", "_t"))
            found[key] = float(value) if is_number else str(value)
    return found


def _colour(item: InputItem, datasets: Sequence[Any]) -> ScanFile:
    """A colour photograph in DICOM (H, W, 3); its pixel spacing is kept where it is given."""
    dataset = datasets[0]
    if len(datasets) > 1 or int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise UnsupportedInput(
            f"{item.name} holds several colour frames; expected one photograph; give one file or one frame."
        )
    if (pixel_count := int(dataset.Rows) * int(dataset.Columns)) > MAX_PHOTOGRAPH_PIXELS:
        raise too_large(pixel_count, "colour", item.name, MAX_PHOTOGRAPH_PIXELS)
    pixels = rgb_pixels(dataset)
    spacing = _in_plane_spacing(dataset)
    scan = Scan(np.ascontiguousarray(pixels), spacing, item.name)
    refuse_constant(scan.pixels, item.name)
    row, column = spacing or (1.0, 1.0)
    shape = (pixels.shape[1], pixels.shape[0], 1)
    geometry = Geometry(shape, np.diag([-column, -row, 1.0, 1.0]), oriented=False, has_spacing=spacing is not None)
    return ScanFile(
        path=item.path,
        name=item.name,
        scan=scan,
        format="dicom",
        stored_shape=shape,
        stored_dtype=pixels.dtype,
        geometry=geometry,
        header=DicomSource(((Path(dataset.filename), 0),)),
        metadata=_metadata(dataset),
        files=tuple(item.files or (item.path,)),
    )


def _in_plane_spacing(dataset: Any) -> tuple[float, float] | None:
    """(row, column) spacing in mm, None where the file gives none."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        value = dataset.get(keyword)
        if value is not None and len(value) == 2 and all(float(v) > 0 for v in value):
            return float(value[0]), float(value[1])
    return None


def _frames(dataset: Any) -> list[Frame]:
    """The slices of one file: one, or those of its functional groups."""
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    if (voxels := int(dataset.Rows) * int(dataset.Columns) * count) > MAX_VOLUME_VOXELS:
        shape = f"{dataset.Columns} x {dataset.Rows} x {count}"
        raise too_large(voxels, shape, Path(dataset.filename).name, MAX_VOLUME_VOXELS)
    number = int(dataset.get("InstanceNumber", 0) or 0)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return [_enhanced_frame(dataset, i, number) for i in range(count)]
    orientation = dataset.get("ImageOrientationPatient")
    position = dataset.get("ImagePositionPatient")
    rescale = (float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0))
    return [
        Frame(
            dataset,
            i,
            np.array(position, np.float64) if position and count == 1 else None,
            np.array(orientation, np.float64).reshape(2, 3) if orientation and len(orientation) == 6 else None,
            _in_plane_spacing(dataset),
            rescale,
            number + i,
        )
        for i in range(count)
    ]


def _enhanced_frame(dataset: Any, index: int, number: int) -> Frame:
    shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]

    def group(sequence: str) -> Any:
        for owner in (dataset.PerFrameFunctionalGroupsSequence[index], shared[0]):
            if owner.get(sequence):
                return owner[sequence].value[0]
        return pydicom.Dataset()

    position = group("PlanePositionSequence").get("ImagePositionPatient")
    orientation = group("PlaneOrientationSequence").get("ImageOrientationPatient")
    values = group("PixelValueTransformationSequence")
    return Frame(
        dataset,
        index,
        np.array(position, np.float64) if position else None,
        np.array(orientation, np.float64).reshape(2, 3) if orientation else None,
        _in_plane_spacing(group("PixelMeasuresSequence")),
        (float(values.get("RescaleSlope", 1) or 1), float(values.get("RescaleIntercept", 0) or 0)),
        number + index,
    )


def _stored_array(present: list[Frame], frames: Sequence[Frame | None], name: str) -> NDArray[Any]:
    """(columns, rows, slices): the index order that NIfTI and ITK use."""
    slices = {id(f): values for f, values in zip(present, _slice_values(present))}
    filled = []
    for k, frame in enumerate(frames):
        if frame is None:
            near = min((j for j, f in enumerate(frames) if f is not None), key=lambda j: abs(j - k))
            frame = frames[near]
        filled.append(slices[id(frame)])
    volume = np.stack(filled)  # (k, row, column)
    if str(present[0].dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1":
        volume = volume.max() + volume.min() - volume  # low values are white: turned, so that bright is bright
    return volume.transpose(2, 1, 0)


def _slice_values(frames: list[Frame]) -> list[NDArray[Any]]:
    """Rescaled values (row, column) of every slice; integers stay integers where slope and intercept are whole."""
    decoded: dict[int, NDArray[Any]] = {}
    values = []
    whole = all(float(v).is_integer() for f in frames for v in f.rescale)
    for frame in frames:
        key = id(frame.dataset)
        if key not in decoded:
            decoded[key] = pixel_values(frame.dataset)
        raw = decoded[key][frame.index] if decoded[key].ndim == 3 else decoded[key]
        slope, intercept = frame.rescale
        if (slope, intercept) == (1.0, 0.0):
            values.append(raw)
        elif whole:
            values.append(raw.astype(np.int32) * int(slope) + int(intercept))
        else:
            values.append((raw * slope + intercept).astype(np.float32))
    return values


def _geometry(frames: Sequence[Frame | None], shape: tuple[int, ...]) -> Geometry:
    """RAS geometry of (columns, rows, slices). The slice step comes from the positions themselves (tilt included)."""
    present = [f for f in frames if f is not None]
    first = present[0]
    row, column = first.spacing or (1.0, 1.0)
    dataset = first.dataset
    given = dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 0
    thickness = abs(float(given)) or _enhanced_thickness(dataset) or 1.0
    stored_shape = (int(shape[0]), int(shape[1]), int(shape[2]))
    if first.position is None or first.directions is None:
        known = first.spacing is not None and (len(present) == 1 or bool(given))
        return Geometry(stored_shape, np.diag([-column, -row, thickness, 1.0]), oriented=False, has_spacing=known)
    lps = np.eye(4)
    lps[:3, 0] = first.directions[0] * column
    lps[:3, 1] = first.directions[1] * row
    if len(frames) > 1:
        last: Any = present[-1].position
        lps[:3, 2] = (last - first.position) / (len(frames) - 1)
    else:
        lps[:3, 2] = np.cross(first.directions[0], first.directions[1]) * thickness
    lps[:3, 3] = first.position
    return Geometry(stored_shape, lps_from_ras(lps), has_spacing=first.spacing is not None)


def _enhanced_thickness(dataset: Any) -> float:
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (dataset.get(sequence) or [])[:1]:
            measures = (group.get("PixelMeasuresSequence") or [pydicom.Dataset()])[0]
            return abs(float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0))
    return 0.0
