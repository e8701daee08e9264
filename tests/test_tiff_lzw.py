"""LZW-packed TIFFs that Pillow does not decode itself: whole ones are read to the bit, damaged ones are a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_tinymig.base.errors import UnreadableInput
from napari_tinymig.formats.photographs import decode_picture_file

LAYOUTS = {
    "strips": {"rowsperstrip": 16},
    "tiles": {"tile": (32, 48)},
    "predictor": {"rowsperstrip": 50, "predictor": True},
    "planes": {"planarconfig": "separate", "rowsperstrip": 30},
    "big-endian": {"byteorder": ">"},
}


def picture():
    rng = np.random.default_rng(0)
    return (rng.integers(0, 40, (90, 110, 3)) * 1500).astype(np.uint16)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_deep_colour_packed_with_lzw_is_read_to_the_bit(tmp_path, layout):
    path, pixels, how = tmp_path / "deep.tif", picture(), dict(LAYOUTS[layout])
    stored = np.moveaxis(pixels, 2, 0) if layout == "planes" else pixels
    order = {"byteorder": how.pop("byteorder")} if "byteorder" in how else {}
    with tifffile.TiffWriter(path, **order) as writer:
        writer.write(stored, compression="lzw", photometric="rgb", **how)
    np.testing.assert_array_equal(decode_picture_file(path)[0], pixels)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_code_that_is_not_in_the_table_yet_is_a_sentence(tmp_path, depth):
    path = tmp_path / "bad.tif"
    if depth is np.uint8:
        Image.fromarray((picture() // 256).astype(np.uint8)).save(path, compression="tiff_lzw")
    else:
        tifffile.imwrite(path, picture(), compression="lzw", photometric="rgb")
    with tifffile.TiffFile(path) as tif:
        begins = tif.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[begins + 1 : begins + 4] = b"\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match=r"bad.tif is damaged: piece 1 of \d+ of its LZW-packed pixels"):
        decode_picture_file(path)
