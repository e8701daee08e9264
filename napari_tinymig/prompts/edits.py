"""A hand-made change of labels as text, so that a session with a brush in it can be replayed."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
from numpy.typing import NDArray


def packed(old: NDArray[np.uint8], new: NDArray[np.uint8]) -> str:
    """The pixels in which `new` differs from `old`, and their values: base64 of a compressed list."""
    at = np.flatnonzero(old != new).astype("<i8")
    content = np.diff(at, prepend=np.int64(0)).astype("<i8").tobytes() + new.reshape(-1)[at].tobytes()
    return base64.b64encode(zlib.compress(content)).decode("ascii")


def unpacked(text: str, labels: NDArray[np.uint8]) -> None:
    """Do a packed change, in place. Raises ValueError for text that is damaged or belongs to another image."""
    try:
        content = zlib.decompress(base64.b64decode(text, validate=True))
        count = len(content) // 9
        at = np.cumsum(np.frombuffer(content[: 8 * count], "<i8"))
        values = np.frombuffer(content[8 * count :], np.uint8)
        labels.reshape(-1)[at] = values
    except (binascii.Error, zlib.error, ValueError, IndexError) as e:
        raise ValueError(f"an edit in the prompts is damaged or of another image ({e}); take it out.") from e
