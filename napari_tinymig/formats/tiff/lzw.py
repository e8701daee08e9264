"""LZW strips of a TIFF looked through by libtiff before another decoder gets them.

imagecodecs, which tifffile asks for them, writes past its memory where a damaged strip names a code that is not in the
table yet (seen in 2026.3.6: the process ends). libtiff, through Pillow, says so instead.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from PIL import Image

from ...base.errors import UnreadableInput

if TYPE_CHECKING:
    import tifffile

LZW = 5
_LONG = 4


def check_lzw(page: tifffile.TiffPage, name: str) -> None:
    """Raises UnreadableInput where a strip or tile of an LZW-packed page cannot be unpacked."""
    if page.compression != LZW:
        return
    handle = page.parent.filehandle
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts)):
        if not count:
            continue
        handle.seek(offset)
        packed = handle.read(count)
        try:
            with Image.open(io.BytesIO(_as_bytes_picture(packed, *_rows_and_bytes(page, index), page.fillorder))) as it:
                it.load()
        except (OSError, SyntaxError, ValueError) as e:
            raise UnreadableInput(
                f"{name} is damaged: piece {index + 1} of {len(page.dataoffsets)} of its LZW-packed pixels cannot be "
                "unpacked; expected a whole TIFF; copy or export it again."
            ) from e


def _rows_and_bytes(page: tifffile.TiffPage, index: int) -> tuple[int, int]:
    """Rows of a strip or tile, and the bytes of each once unpacked."""
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    width = page.tilewidth if page.is_tiled else page.imagewidth
    row = (width * samples * page.bitspersample + 7) // 8
    if page.is_tiled:
        return page.tilelength, row
    strips = -(-page.imagelength // page.rowsperstrip)
    begins = index % strips * page.rowsperstrip
    return min(page.rowsperstrip, page.imagelength - begins), row


def _as_bytes_picture(packed: bytes, rows: int, row: int, fill_order: int) -> bytes:
    """A TIFF of one LZW strip that shows every unpacked byte as a grey pixel."""
    fields = [(256, row), (257, rows), (258, 8), (259, LZW), (262, 1), (266, fill_order), (277, 1), (278, rows)]
    fields += [(279, len(packed))]
    at = 8 + 2 + 12 * (len(fields) + 1) + 4
    fields = sorted([*fields, (273, at)])
    entries = b"".join(struct.pack("<HHII", tag, _LONG, 1, value) for tag, value in fields)
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + struct.pack("<I", 0) + packed
