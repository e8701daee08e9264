"""Photographs: PNG, JPEG, TIFF, BMP, WebP in any mode, upright, as RGB or as one grey slice."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..base.errors import UnreadableInput, UnsupportedInput, reading
from ..base.records import Scan
from .scan_file import (
    MAX_PHOTOGRAPH_PIXELS,
    MIN_PHOTOGRAPH_SIDE,
    Format,
    InputItem,
    ScanFile,
    eight_bit,
    finite,
    refuse_constant,
    too_large,
)
from .tiff.odd import ORIENTATION_TAG, Source, decode_odd_tiff, refuse_stack

# Sizes are checked here before decoding. Set once: catch_warnings is not safe where several threads read photographs.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

FORMATS: dict[str, Format] = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "TIFF": "tiff", "BMP": "bmp", "WEBP": "webp"}
_OPENERS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")  # MPO, several JPEGs in one, is opened as JPEG
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def read_photograph(item: InputItem, contents: Mapping[Path, bytes] | None = None) -> ScanFile:
    """The photograph of `item`, upright. Colour gives a photograph (H, W, 3) uint8; grey a one-slice volume (1, H, W)
    in its own depth (`as_photograph` turns that into RGB). contents: bytes of its file that were read already. Raises
    UnreadableInput or UnsupportedInput."""
    path = item.path
    with reading(path, "a photograph (PNG, JPEG, TIFF, BMP or WebP)"):
        pixels, orientation, kind = decode_picture_file(path, content=(contents or {}).get(path))
        if pixels.ndim not in (2, 3):
            raise UnsupportedInput(f"{path.name} has shape {pixels.shape}; expected one picture, grey or colour.")
        height, width = pixels.shape[:2]
        if min(height, width) < MIN_PHOTOGRAPH_SIDE:
            raise UnsupportedInput(
                f"{path.name} is {width} x {height} pixels; expected at least {MIN_PHOTOGRAPH_SIDE} x "
                f"{MIN_PHOTOGRAPH_SIDE}; give the whole photograph."
            )
        stored_dtype = pixels.dtype
        upright = np.ascontiguousarray(turn_upright(pixels, orientation))
        notes: tuple[str, ...] = ()
        if upright.ndim == 2:
            grey, notes = _finite_grey(upright, path.name)
            upright = grey[None]
        else:
            upright = eight_bit(upright)
        refuse_constant(upright, path.name)
        scan = Scan(upright, None, item.name)
    return ScanFile(
        path=path,
        name=item.name,
        scan=scan,
        format=kind,
        stored_shape=(height, width),
        stored_dtype=stored_dtype,
        exif_orientation=orientation,
        notes=notes,
        files=(path,),
    )


def photograph_orientation(path: Path) -> int:
    """The EXIF orientation 1-8 of a photograph on disk; 1 for anything that is none, or not there."""
    try:
        with Image.open(path, formats=_OPENERS) as picture:
            found = int(picture.getexif().get(ORIENTATION_TAG, 1))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1
    return found if 1 <= found <= 8 else 1


def turn_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (H, W[, C]) as stored, turned and mirrored as EXIF orientation 1-8 says they are to be seen."""
    match orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.swapaxes(0, 1)
        case 6:
            return np.rot90(pixels, -1)
        case 7:
            return pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return np.rot90(pixels, 1)
    return pixels


def turn_back(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undoes `turn_upright`."""
    return turn_upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _finite_grey(grey: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    grey = grey.astype(grey.dtype.newbyteorder("="), copy=False)
    if grey.dtype == np.bool_:
        grey = grey.view(np.uint8) * np.uint8(255)
    return finite(grey, name)


def decode_picture_file(
    path: Path, labels: bool = False, content: bytes | None = None
) -> tuple[NDArray[Any], int, Format]:
    """(pixels as stored: (H, W) or (H, W, 3), EXIF orientation, format). `labels` keeps palette indices and bits;
    content: the file's bytes, where they were read already."""
    source: Source = path if content is None else io.BytesIO(content)
    if not (path.stat().st_size if content is None else len(content)):
        raise UnreadableInput(f"{path.name} is empty (0 bytes); expected a photograph; copy or export it again.")
    try:
        with Image.open(source, formats=_OPENERS) as picture:
            return _decode_picture(picture, path, labels, source)
    except Image.DecompressionBombError as e:
        count = int((re.findall(r"\d+", str(e)) or ["0"])[0])  # Pillow refuses before it tells the sides
        raise too_large(max(count, MAX_PHOTOGRAPH_PIXELS + 1), "", path.name, MAX_PHOTOGRAPH_PIXELS) from e
    except UnidentifiedImageError as e:
        start = _start_of(source, 12)
        if path.suffix.lower() in (".tif", ".tiff") or start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return (*decode_odd_tiff(path, source), "tiff")
        found = "text" if start and all(32 <= b < 127 or b in b"\r\n\t" for b in start) else f"bytes {start[:8]!r}"
        raise UnreadableInput(
            f"{path.name} starts with {found}, which is no PNG, JPEG, TIFF, BMP or WebP picture; expected a "
            "photograph; export it again, or give its file the right name."
        ) from e


def _start_of(source: Source, count: int) -> bytes:
    """The first bytes of a file."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:count]
    with source.open("rb") as stream:
        return stream.read(count)


def _decode_picture(picture: Image.Image, path: Path, labels: bool, source: Source) -> tuple[NDArray[Any], int, Format]:
    width, height = picture.size
    if width * height > MAX_PHOTOGRAPH_PIXELS:
        raise too_large(width * height, f"{width} x {height}", path.name, MAX_PHOTOGRAPH_PIXELS)
    kind = FORMATS[picture.format or ""]
    if kind == "tiff":
        refuse_stack(path, source)
        if _pillow_cuts(picture):
            return (*decode_odd_tiff(path, source), "tiff")
    orientation = int(picture.getexif().get(ORIENTATION_TAG, 1))
    orientation = orientation if 1 <= orientation <= 8 else 1
    if kind == "png" and _sixteen_bit_colour(_start_of(source, 26)):
        import imagecodecs

        content = source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()
        return np.asarray(imagecodecs.png_decode(content))[..., :3], orientation, kind
    if kind != "tiff":
        return _pixels(picture, labels), orientation, kind
    try:
        # Pillow turns a TIFF upright while decoding, and no other format: as stored, it is turned back
        return turn_back(_pixels(picture, labels), orientation), orientation, kind
    except OSError:
        return (*decode_odd_tiff(path, source), "tiff")


def _pillow_cuts(picture: Any) -> bool:
    """Whether Pillow would lose something of a TIFF: the low bits of deep colour, or that white is zero."""
    bits = max(picture.tag_v2.get(258, (1,)))
    return bits > 8 and (picture.tag_v2.get(277, 1) > 1 or picture.tag_v2.get(262) == 0)


def _pixels(picture: Image.Image, labels: bool) -> NDArray[Any]:
    """(H, W) in the picture's own depth, or (H, W, 3) uint8; what is transparent becomes black."""
    mode = picture.mode
    if mode in ("LA", "La"):
        picture = picture.convert("L")
    elif mode in _GREY_MODES or (labels and mode == "P"):
        pass
    elif mode in ("P", "PA", "RGBA", "RGBa") and (mode != "P" or "transparency" in picture.info):
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture).convert("RGB")
    elif mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _sixteen_bit_colour(header: bytes) -> bool:
    """Whether a PNG's header says 16 bits and colour, which Pillow would cut to 8 bits without looking at the range."""
    return len(header) == 26 and header[24] == 16 and header[25] in (2, 6)


def exif_with_orientation(orientation: int) -> bytes:
    """An EXIF block that holds the orientation tag alone, for masks of turned photographs."""
    ifd = struct.pack(">H", 1) + struct.pack(">HHIHH", ORIENTATION_TAG, 3, 1, orientation, 0) + struct.pack(">I", 0)
    return b"MM\0*" + struct.pack(">I", 8) + ifd
