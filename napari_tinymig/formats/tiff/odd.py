"""A TIFF that Pillow refuses or would cut: deep colour, planes, floats, other compressions, BigTIFF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...base.errors import UnsupportedInput
from ..scan_file import MAX_PHOTOGRAPH_PIXELS, eight_bit, too_large
from .lzw import check_lzw

Source = Path | io.BytesIO
"""A file, or what was read of it already."""
ORIENTATION_TAG = 0x0112


def refuse_stack(path: Path, source: Source) -> None:
    """Raise UnsupportedInput for a TIFF of several full-size pages; thumbnails and pyramids are fine."""
    import tifffile

    with tifffile.TiffFile(_apart(source)) as tif:
        first = tif.pages[0].shape
        pages = sum(1 for page in tif.pages if page.shape == first)
    if pages > 1:
        raise UnsupportedInput(
            f"{path.name} holds {pages} pages of equal size; expected one photograph; save the page you mean alone, "
            "or a volume as NIfTI, NRRD or MHA."
        )


def _apart(source: Source) -> Source:
    """A source that another reader may move about in."""
    return io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source


def decode_odd_tiff(path: Path, source: Source) -> tuple[NDArray[Any], int]:
    """A TIFF that Pillow refuses (16-bit RGB, planar, float, other compressions, BigTIFF): pixels and orientation."""
    import tifffile

    with tifffile.TiffFile(_apart(source)) as tif:
        page = tif.pages[0]
        if not isinstance(page, tifffile.TiffPage):
            page = page.aspage()
        height, width = page.imagelength, page.imagewidth
        if height * width > MAX_PHOTOGRAPH_PIXELS:
            raise too_large(height * width, f"{width} x {height}", path.name, MAX_PHOTOGRAPH_PIXELS)
        refuse_stack(path, source)
        check_lzw(page, path.name)
        pixels = np.asarray(page.asarray()).squeeze()
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3
        tag = page.tags.get(ORIENTATION_TAG)
        colormap = page.colormap
    orientation = int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1
    if planar:
        pixels = np.moveaxis(pixels, 0, -1)
    if photometric == "PALETTE" and colormap is not None:
        pixels = eight_bit(np.moveaxis(np.asarray(colormap)[:, pixels], 0, -1))
    elif photometric == "MINISWHITE":
        pixels = np.asarray(pixels.max() - pixels)
    elif photometric == "SEPARATED" and pixels.ndim == 3 and pixels.shape[2] >= 4:
        cmyk = eight_bit(pixels[..., :4])
        pixels = np.asarray(Image.frombytes("CMYK", cmyk.shape[1::-1], cmyk.tobytes()).convert("RGB"))
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    return pixels, orientation
