"""Pixels of one DICOM object: decoded, in true colours, or a sentence that names the missing decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

from ...base.errors import UnreadableInput, UnsupportedInput
from ..scan_file import eight_bit
from .jpeg import plugin_for

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Colour spaces that decoding turns into RGB (PS3.3 C.7.6.3.1.2)."""
_PALETTE = "PALETTE COLOR"
_PACKAGES = "pip install pylibjpeg pylibjpeg-openjpeg pylibjpeg-rle imagecodecs"


def is_colour(dataset: Any) -> bool:
    """Whether an object holds colour: three samples a pixel, or grey levels that a palette turns into colours.

    Raises UnsupportedInput for any other number of samples and for colour spaces that are not read.
    """
    samples = int(dataset.get("SamplesPerPixel", 1) or 1)
    space = str(dataset.get("PhotometricInterpretation", "") or (_COLOUR[0] if samples == 3 else _GREY[1]))
    known = {1: (*_GREY, _PALETTE), 3: _COLOUR}.get(samples, ())
    if space not in known:
        raise UnsupportedInput(
            f"{_name(dataset)} holds {samples} sample(s) a pixel as {space}; expected grey (MONOCHROME1, MONOCHROME2), "
            f"{_PALETTE} or {', '.join(_COLOUR)}; export it as RGB."
        )
    return samples == 3 or space == _PALETTE


def pixel_values(dataset: Any) -> NDArray[Any]:
    """Stored values, (row, column), (frame, row, column) or with three samples RGB, as pydicom decodes them.

    pydicom masks unused bits, puts planes side by side and turns YBR into RGB. Raises UnreadableInput where no decoder
    is installed, and UnsupportedInput for values that do not start at bit 0 and for video.
    """
    stored, high = int(dataset.get("BitsStored", 0) or 0), dataset.get("HighBit")
    if "PixelData" in dataset and stored and high is not None and int(high) != stored - 1:
        raise UnsupportedInput(
            f"{_name(dataset)} stores {stored} bits up to bit {high}; expected them to start at bit 0 (HighBit "
            f"{stored - 1}); export it again."
        )
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID)) if hasattr(dataset, "file_meta") else UID("")
    if syntax.is_transfer_syntax and syntax.is_compressed and not syntax.is_deflated:
        dataset.pixel_array_options(decoding_plugin=_plugin(dataset, syntax))
    return np.asarray(dataset.pixel_array)


def _plugin(dataset: Any, syntax: UID) -> str:
    """Which of pydicom's plugins decodes. Raises UnsupportedInput for a foreign syntax, UnreadableInput without any."""
    try:
        found = plugin_for(syntax)
    except NotImplementedError as e:
        raise UnsupportedInput(
            f"{_name(dataset)} is compressed as {syntax.name}, which is not read; expected an uncompressed image, "
            "JPEG, JPEG 2000, JPEG-LS or RLE; export it as one of these."
        ) from e
    if not found:
        raise UnreadableInput(
            f"{_name(dataset)} is compressed as {syntax.name}, and no decoder for it is installed; install one with: "
            f"{_PACKAGES}"
        )
    return found


def rgb_pixels(dataset: Any) -> NDArray[np.uint8]:
    """The colour picture of an object for which `is_colour` holds: (H, W, 3) uint8.

    Colours of more than 8 bits are divided by what BitsStored (or the palette's own depth) can hold, so that a dark
    photograph stays dark.
    """
    values = pixel_values(dataset)
    if str(dataset.PhotometricInterpretation) == _PALETTE:
        values = np.asarray(apply_color_lut(values, dataset))[..., :3]
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
        return _to_eight(values, bits)
    if values.dtype.itemsize > 1 and str(dataset.PhotometricInterpretation).startswith("YBR"):
        raise UnsupportedInput(
            f"{_name(dataset)} is {dataset.PhotometricInterpretation} of {dataset.BitsAllocated} bits; expected 8 "
            "bits, or RGB; export it as RGB."
        )
    return _to_eight(values, int(dataset.BitsStored))


def _to_eight(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """uint8 of unsigned values of `bits` bits; of any others as every photograph."""
    if values.dtype == np.uint8 or bits <= 8 or np.issubdtype(values.dtype, np.signedinteger):
        return eight_bit(values)
    return (values.astype(np.float32) * (255.0 / (2**bits - 1)) + 0.5).clip(0, 255).astype(np.uint8)


def _name(dataset: Any) -> str:
    return Path(str(getattr(dataset, "filename", "") or "the DICOM object")).name
