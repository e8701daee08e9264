"""JPEG in DICOM: every depth and number of samples bit by bit, and damaged frames that neither hang nor fill memory."""

from __future__ import annotations

import itertools
import time

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from napari_tinymig.formats.dicom_slices import beside
from napari_tinymig.formats.dicom_slices.jpeg import frame_size, plugin_for
from napari_tinymig.formats.dicom_slices.pixels import pixel_values

y, x = np.mgrid[:31, :37]


def drawn(bits, samples=1):
    """A picture that uses `bits` bits: (row, column) or (row, column, sample)."""
    noise = np.random.default_rng(bits).integers(0, 2 ** max(bits - 4, 1), y.shape)
    grey = np.clip((y + x) * (2**bits - 1) // 68 + noise, 0, 2**bits - 1)
    grey = grey.astype(np.uint8 if bits <= 8 else np.uint16)
    return np.ascontiguousarray(np.stack([grey, grey[::-1], grey[:, ::-1]], -1)) if samples == 3 else grey


def stored(picture, bits, syntax, frame, signed=0, allocated=0):
    """An object that holds `frame` as the compressed form of `picture`."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.Rows, ds.Columns = picture.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if picture.ndim == 3 else (1, "MONOCHROME2")
    if picture.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated or (8 if bits <= 8 else 16), bits, bits - 1
    ds.PixelRepresentation, ds.PixelData = signed, encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    return ds


def lossless(picture, bits, predictor=1):
    colour = {"colorspace": "rgb", "outcolorspace": "rgb"} if picture.ndim == 3 else {}
    return imagecodecs.jpeg8_encode(picture, lossless=True, bitspersample=bits, predictor=predictor, **colour)


@pytest.mark.parametrize(("bits", "samples"), list(itertools.product((2, 7, 8, 10, 12, 14, 16), (1, 3))))
def test_lossless_jpeg_gives_the_stored_values(bits, samples):
    picture = drawn(bits, samples)
    for predictor in range(1, 8):
        syntax = uid.JPEGLosslessSV1 if predictor == 1 else uid.JPEGLossless
        ds = stored(picture, bits, syntax, lossless(picture, bits, predictor))
        assert np.array_equal(pixel_values(ds), picture)


@pytest.mark.parametrize(("bits", "samples"), list(itertools.product((2, 8, 12, 16), (1, 3))))
def test_jpeg_ls_gives_the_stored_values_and_nearly_lossless_ones_those_nearby(bits, samples):
    picture = drawn(bits, samples)
    exact = stored(picture, bits, uid.JPEGLSLossless, imagecodecs.jpegls_encode(picture, level=0))
    assert np.array_equal(pixel_values(exact), picture)
    near = stored(picture, bits, uid.JPEGLSNearLossless, imagecodecs.jpegls_encode(picture, level=2))
    assert np.abs(pixel_values(near).astype(int) - picture).max() <= 2


def test_twelve_bits_eight_in_sixteen_and_signs_are_read():
    picture = drawn(12)
    ds = stored(picture, 12, uid.JPEGExtended12Bit, imagecodecs.jpeg8_encode(picture, level=98, bitspersample=12))
    assert np.abs(pixel_values(ds).astype(int) - picture).max() < 200
    eight = drawn(8)
    for syntax, frame in (
        (uid.JPEGLosslessSV1, lossless(eight, 8)),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode(eight)),
    ):
        assert np.array_equal(pixel_values(stored(eight, 8, syntax, frame, allocated=16)), eight)
    deep = drawn(16)
    signed = pixel_values(stored(deep, 16, uid.JPEGLosslessSV1, lossless(deep, 16), signed=1))
    assert np.array_equal(signed, deep.view(np.int16))


def test_components_numbered_as_ybr_are_not_converted():
    """Samples 1, 2, 3 in the frame and RGB in the object: the object is right (PS3.5 8.2.1)."""
    picture = drawn(8, 3)
    frame = bytearray(lossless(picture, 8))
    for name, number in ((b"R", 1), (b"G", 2), (b"B", 3)):
        frame = frame.replace(name + b"\x11\x00", bytes([number, 0x11, 0]))
    scan = frame.index(b"\xff\xda")
    frame[scan + 5 : scan + 11 : 2] = bytes([1, 2, 3])
    assert np.array_equal(pixel_values(stored(picture, 8, uid.JPEGLosslessSV1, bytes(frame))), picture)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless])
def test_a_frame_of_another_size_is_refused_before_it_is_decoded(syntax, monkeypatch):
    picture = drawn(8)
    frame = lossless(picture, 8) if syntax == uid.JPEGLosslessSV1 else imagecodecs.jpegls_encode(picture)
    assert frame_size(frame) == (8, 31, 37, 1)
    at = frame.index((31).to_bytes(2, "big") + (37).to_bytes(2, "big"))
    bomb = frame[:at] + b"\xff\xff\xff\xff" + frame[at + 4 :]
    monkeypatch.setattr(imagecodecs, "jpeg8_decode", pytest.fail)
    monkeypatch.setattr(beside, "_asked", pytest.fail)
    for bad, told in ((bomb, "65535 x 65535 x 1 samples"), (frame[:12], "without a header that says its size")):
        with pytest.raises(RuntimeError, match=told):
            pixel_values(stored(picture, 8, syntax, bad))


def test_a_jpeg_ls_frame_cut_short_is_given_up_and_the_next_one_is_read(monkeypatch):
    picture = drawn(8, 3)
    frame = imagecodecs.jpegls_encode(picture)
    good = stored(picture, 8, uid.JPEGLSLossless, frame)
    pixel_values(good)
    monkeypatch.setattr(beside, "LIMIT_S", 0.3)
    start = time.monotonic()
    for end in range(200, 700, 100):
        with pytest.raises(RuntimeError, match="Unable to decode"):
            pixel_values(stored(picture, 8, uid.JPEGLSLossless, frame[:end]))
    assert time.monotonic() - start < 30
    monkeypatch.undo()
    assert np.array_equal(pixel_values(good), picture)


def test_decoders_that_end_the_process_are_not_asked():
    for syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLosslessSV1, uid.JPEG2000, uid.RLELossless):
        assert plugin_for(syntax) in ("pillow", "tinymig", "pylibjpeg")
    assert plugin_for(uid.JPEGLSLossless) == "tinymig"
