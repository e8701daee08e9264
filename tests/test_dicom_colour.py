"""Colours of DICOM photographs: every way of storing them gives the picture that was taken, or a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import JPEG2000Lossless, RLELossless

from napari_tinymig.base.errors import UnreadableInput, UnsupportedInput
from napari_tinymig.formats import open_input

y, x = np.mgrid[:40, :48]
PICTURE = np.stack([200 - 2 * y, 60 + 3 * x, 40 + y + x], -1).astype(np.uint8)


@pytest.fixture
def photograph(tmp_path, dicom_series_maker):
    """A function that stores a colour photograph in DICOM as `change(dataset)` says; returns its file."""

    def make(change, values=None):
        def colour(ds, k):
            ds.Modality, ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = "OP", 3, "RGB", 0
            ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
            ds.Rows, ds.Columns, ds.PixelData = 40, 48, PICTURE.tobytes()
            change(ds)

        [file] = dicom_series_maker(
            tmp_path / "d", np.zeros((1, 40, 48), np.uint16), np.eye(3), (1, 1, 1), (0, 0, 0), change=colour
        )
        return file

    return make


def colours_of(file):
    return open_input(file).scan.pixels.astype(int)


def test_ybr_full_is_turned_into_rgb_once(photograph):
    def ybr(ds):
        ds.PhotometricInterpretation = "YBR_FULL"
        ds.PixelData = convert_color_space(PICTURE, "RGB", "YBR_FULL").tobytes()

    assert np.abs(colours_of(photograph(ybr)) - PICTURE).max() <= 2


def test_ybr_full_422_is_turned_into_rgb_once(photograph):
    def ybr(ds):
        values = convert_color_space(PICTURE, "RGB", "YBR_FULL").reshape(40, 24, 2, 3)
        pairs = np.stack([values[..., 0, 0], values[..., 1, 0], values[..., 0, 1], values[..., 0, 2]], -1)
        ds.PhotometricInterpretation, ds.PixelData = "YBR_FULL_422", pairs.tobytes()

    assert np.abs(colours_of(photograph(ybr)) - PICTURE).max() <= 6  # two neighbours share their colour


def test_planes_one_after_the_other_are_the_same_picture(photograph):
    def planar(ds):
        ds.PlanarConfiguration, ds.PixelData = 1, np.moveaxis(PICTURE, -1, 0).tobytes()

    assert (colours_of(photograph(planar)) == PICTURE).all()


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_colour_is_the_same_picture(photograph, syntax):
    assert (colours_of(photograph(lambda ds: ds.compress(syntax))) == PICTURE).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_its_colours(photograph, bits):
    table = np.random.default_rng(0).integers(0, 256, (256, 3))
    index = ((y * 48 + x) % 256).astype(np.uint8)

    def palette(ds):
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelData = 1, "PALETTE COLOR", index.tobytes()
        del ds.PlanarConfiguration
        for c, name in enumerate(("Red", "Green", "Blue")):
            setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
            entries = table[:, c].astype(np.uint8) if bits == 8 else (table[:, c] * 257).astype(np.uint16)
            setattr(ds, f"{name}PaletteColorLookupTableData", entries.tobytes())

    scan = open_input(photograph(palette)).scan
    assert scan.kind == "photograph"
    assert (scan.pixels == table[index]).all()


def test_twelve_of_sixteen_bits_keep_their_brightness_and_unused_bits_mean_nothing(photograph):
    def deep(ds):
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.PixelData = ((PICTURE // 4).astype(np.uint16) * 16 + 0xF000).tobytes()

    assert np.abs(colours_of(photograph(deep)) - PICTURE // 4).max() <= 1


def test_bits_that_do_not_start_at_zero_are_a_sentence(photograph):
    def shifted(ds):
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 15
        ds.PixelData = (PICTURE.astype(np.uint16) * 256).tobytes()

    with pytest.raises(UnsupportedInput, match="12 bits up to bit 15; expected them to start at bit 0"):
        open_input(photograph(shifted))


@pytest.mark.parametrize("space", ["YBR_PARTIAL_420", "HSV", "CMYK", "MONOCHROME2"])
def test_a_colour_space_that_is_not_read_is_a_sentence(photograph, space):
    with pytest.raises(UnsupportedInput, match=f"as {space}; expected grey"):
        open_input(photograph(lambda ds: setattr(ds, "PhotometricInterpretation", space)))


def test_a_missing_decoder_is_named_with_the_way_to_get_it(photograph, monkeypatch):
    file = photograph(lambda ds: ds.compress(JPEG2000Lossless))
    monkeypatch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
    with pytest.raises(UnreadableInput, match=r"compressed as JPEG 2000 .*no decoder .* pip install pylibjpeg"):
        open_input(file)


def test_a_video_is_a_sentence(photograph):
    def video(ds):
        ds.file_meta.TransferSyntaxUID, ds.PixelData = "1.2.840.10008.1.2.4.102", encapsulate([b"video"])

    with pytest.raises(UnsupportedInput, match="MPEG-4 .*not read; expected"):
        open_input(photograph(video))
