"""Small whole files of every format that is read, which fuzz.py damages."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel as nib
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

Files = dict[str, bytes]


def seeds() -> dict[str, Files]:
    """Small whole files of every format that is read, by name."""
    rng = np.random.default_rng(0)
    out: dict[str, Files] = {}
    rgb = rng.integers(0, 255, (24, 28, 3)).astype(np.uint8)
    mask = (np.indices((24, 28)).sum(0) > 25).astype(np.uint8)
    for ending, options in (("png", {}), ("jpg", {}), ("tif", {"compression": "tiff_lzw"}), ("bmp", {}), ("webp", {})):
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), **options)
        out[ending] = {f"a.{ending}": stream.getvalue()}
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    out["png mask"] = {"a_mask.png": stream.getvalue()}
    values = rng.integers(0, 900, (12, 14, 6)).astype(np.int16)
    out |= _volumes(values)
    changes = {"plain": None, "rle": RLELossless, "j2k": JPEG2000Lossless, "colour": "RGB", "jpeg": JPEGLosslessSV1}
    for name, change in (changes | {"jpeg-ls": JPEGLSLossless}).items():
        out[f"dicom {name}"] = {"a.dcm": _dicom(np.tile(values[..., 0].T, (6, 6)), 0, change)}
    out["dicom series"] = {f"{k}.dcm": _dicom(values[..., k].T, k, None) for k in range(6)}
    return out


def _volumes(values: np.ndarray) -> dict[str, Files]:
    out: dict[str, Files] = {}
    image = nib.Nifti1Image(values, np.diag([0.5, 0.6, 3.0, 1.0]))
    out["nifti"] = {"a.nii": image.to_bytes()}
    out["nifti gz"] = {"a.nii.gz": gzip.compress(image.to_bytes(), mtime=0)}
    big = nib.Nifti1Image(values, image.affine, nib.Nifti1Header(endianness=">"))
    out["nifti big-endian"] = {"a.nii": big.to_bytes()}
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        nib.save(nib.Nifti1Pair(values, image.affine), at / "a.hdr")
        picture = sitk.GetImageFromArray(values.transpose(2, 1, 0))
        for name in ("b.mha", "c.mhd", "d.nrrd", "e.nhdr"):
            sitk.WriteImage(picture, at / name, useCompression=name[0] in "bd")
        header = {"Segment0_ID": "s", "Segment0_Name": "n", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
        nrrd.write(
            str(at / "f.seg.nrrd"), (values > 400).astype(np.uint8)[None], header | {"kinds": ["list"] + ["domain"] * 3}
        )
        for stem in "abcdef":
            out[f"volume {stem}"] = {p.name: p.read_bytes() for p in sorted(at.glob(f"{stem}.*"))}
    return out


def _dicom(values: np.ndarray, k: int, change: Any) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.4",
        generate_uid(entropy_srcs=[str(k)]),
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID, ds.Modality, ds.InstanceNumber = "1.2.3.4", "MR", k + 1
    ds.Rows, ds.Columns = values.shape
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 3.0 * k]
    ds.PixelSpacing, ds.SliceThickness = [0.6, 0.5], 3.0
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelData = np.ascontiguousarray(values).tobytes()
    if change == "RGB":
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
        ds.PixelData = np.repeat(values[..., None].astype(np.uint8), 3, 2).tobytes()
    elif change in (JPEGLosslessSV1, JPEGLSLossless):
        grey = np.ascontiguousarray(values).astype(np.uint16)
        lossless = change == JPEGLosslessSV1
        frame = imagecodecs.jpeg8_encode(grey, lossless=True, bitspersample=16, predictor=1) if lossless else b""
        meta.TransferSyntaxUID = change
        ds.PixelData = encapsulate([frame or imagecodecs.jpegls_encode(grey)])
        ds["PixelData"].is_undefined_length = True
    elif change is not None:
        ds.compress(change)
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()
