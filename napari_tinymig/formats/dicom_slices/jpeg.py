"""A decoder of DICOM's JPEG frames for pydicom, made of imagecodecs: lossless, of 12 bits, and JPEG-LS.

pydicom asks whichever of its plugins is installed first. Of those, GDCM ends the process over one damaged frame in
twenty and libjpeg is under the GPL, so that `plugin_for` says which one is used. docs/RELIABILITY.md has the figures.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.pixels import get_decoder

from .beside import decode_jpeg_ls

NAME = "tinymig"
"""Of this plugin in pydicom's list."""
DECODER_DEPENDENCIES = dict.fromkeys(
    (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, *uid.JPEGLSTransferSyntaxes),
    ("imagecodecs>=2025.3",),
)
"""pydicom reads it: what each syntax needs."""
_FRAME_HEADERS = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)
"""Markers that are followed by a picture's size: baseline, extended, progressive, lossless, JPEG-LS."""
_LONE = (0x01, *range(0xD0, 0xD9))
"""Markers without a length."""


def is_available(syntax: str) -> bool:
    """Whether the plugin decodes a transfer syntax (pydicom asks)."""
    return syntax in DECODER_DEPENDENCIES


def plugin_for(syntax: uid.UID) -> str:
    """The name of the pydicom plugin that decodes a compressed syntax; '' where none of those wanted is installed.

    Raises NotImplementedError for a syntax that pydicom does not know.
    """
    decoder = get_decoder(syntax)
    there = decoder.available_plugins
    wanted = ("pillow",) if syntax == uid.JPEGBaseline8Bit else (NAME, "pylibjpeg", "pillow", "pydicom")
    return next((name for name in wanted if name in there), "")


def _decode_frame(frame: bytes, runner: Any) -> bytes:
    """The samples of one frame, pixel after pixel, in as many bytes as the object says (pydicom calls it).

    Raises ValueError where the frame does not say the size of the picture around it, before anything is decoded.
    """
    precision, *size = frame_size(frame)
    expected = [runner.rows, runner.columns, runner.samples_per_pixel]
    if size != expected or precision > runner.bits_allocated:
        raise ValueError(
            f"a frame of {' x '.join(map(str, size))} samples of {precision} bits; the object says "
            f"{' x '.join(map(str, expected))} of {runner.bits_allocated}"
        )
    values = _decoded(frame, runner.transfer_syntax, size)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    return values.reshape(size).astype(f"<u{runner.bits_allocated // 8}", copy=False).tobytes()


def _decoded(frame: bytes, syntax: str, size: list[int]) -> np.ndarray:
    if syntax in uid.JPEGLSTransferSyntaxes:
        return decode_jpeg_ls(frame, size)
    import imagecodecs

    # Both colour spaces named and equal: nothing is converted; pydicom does it, by what the object says.
    space = "rgb" if size[2] == 3 else None
    return np.asarray(imagecodecs.jpeg8_decode(frame, colorspace=space, outcolorspace=space))


def frame_size(frame: bytes) -> tuple[int, int, int, int]:
    """(bits, rows, columns, samples a pixel) that a JPEG stream says of itself. Raises ValueError if it does not."""
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _FRAME_HEADERS:
            bits, rows, columns, samples = struct.unpack(">BHHB", frame[at + 4 : at + 10])
            return bits, rows, columns, samples
        if marker == 0xFF:
            at += 1
        elif marker in _LONE:
            at += 2
        else:
            at += 2 + max(int.from_bytes(frame[at + 2 : at + 4]), 2)
    raise ValueError("a JPEG frame without a header that says its size")


def add_plugin() -> None:
    """Make the plugin known to pydicom, once a process."""
    for syntax in DECODER_DEPENDENCIES:
        decoder = get_decoder(syntax)
        if NAME not in decoder.available_plugins:
            decoder.add_plugin(NAME, (__name__, "_decode_frame"))


add_plugin()
