"""The legend of a foreign mask: what its codes or colours mean in our labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput

COLOUR = 1 << 24
"""A code of COLOUR + 0xRRGGBB stands for that colour, so that grey codes and colours share one table."""
WHOLE_WITHIN = 0.01
"""Labels stored as fractions are whole numbers if each lies this near to one."""
_MOST_SHOWN = 8


def parse_label_map(text: str) -> dict[int, int]:
    """'0:2,128:1,255:0' as {0: 2, 128: 1, 255: 0}: foreign code -> ours; '#ff0000:1' names a colour (red, green, blue;
    its code is `COLOUR` + 0xff0000). Raises ValueError with the right form."""
    wrong = (
        f"label map '{text}' is not understood; expected foreign:ours pairs such as 0:2,128:1,255:0 or #ff0000:1, "
        "ours 0-255"
    )
    pairs: dict[int, int] = {}
    for part in text.split(","):
        code, _, ours = part.strip().partition(":")
        try:
            foreign, label = _code(code.strip()), int(ours)
        except ValueError as e:
            raise ValueError(f"{wrong} (at '{part}').") from e
        if foreign in pairs or not 0 <= label <= 255:
            raise ValueError(f"{wrong} (at '{part}').")
        pairs[foreign] = label
    return pairs


def _code(text: str) -> int:
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return COLOUR + int(text[1:], 16)
    return int(text)


def code_text(code: int) -> str:
    """A code as `parse_label_map` reads it."""
    return f"#{code - COLOUR:06x}" if code >= COLOUR else str(code)


def colour_codes(rgb: NDArray[Any]) -> NDArray[np.int64]:
    """(..., 3) uint8 as codes (...) of colours."""
    red, green, blue = (rgb[..., i].astype(np.int64) for i in range(3))
    return COLOUR + (red << 16 | green << 8 | blue)


def names_colours(label_map: Mapping[int, int] | None) -> bool:
    """Whether a legend is one of colours."""
    return any(code >= COLOUR for code in label_map or ())


def apply_label_map(
    codes: NDArray[Any], label_map: Mapping[int, int] | None, allowed: Iterable[int] | None, name: str
) -> NDArray[np.uint8]:
    """Codes turned into our labels (uint8, same shape). Raises UnsupportedInput naming codes that are unknown."""
    if np.issubdtype(codes.dtype, np.floating):
        codes = whole_numbers(codes, name)
    found = np.unique(codes)
    known = set(label_map) if label_map else set(allowed) if allowed is not None else set(range(256))
    unknown = [int(c) for c in found if int(c) not in known]
    if unknown:
        shown = ", ".join(map(code_text, unknown[:_MOST_SHOWN]))
        shown += f" and {len(unknown) - _MOST_SHOWN} more" if len(unknown) > _MOST_SHOWN else ""
        hint = f'say what they mean: --labels "{_example(found)}"'
        raise UnsupportedInput(
            f"{name} holds the label codes {shown}; expected {_ranges(known)}; "
            f"{'is it an image?' if len(unknown) > _MOST_SHOWN else hint}"
        )
    if not label_map:
        return codes.astype(np.uint8)
    out = np.zeros(codes.shape, np.uint8)
    for foreign, ours in label_map.items():
        out[codes == foreign] = ours
    return out


def whole_numbers(codes: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Labels stored as fractions. Raises UnsupportedInput where one is NaN or not within .01 of a whole."""
    if not np.isfinite(codes).all():
        raise UnsupportedInput(f"{name} holds NaN or infinity; expected whole label numbers; is it an image?")
    whole = np.round(codes)
    if (np.abs(codes - whole) > WHOLE_WITHIN).any():
        low, high = float(codes.min()), float(codes.max())
        kind = "probabilities? cut them at 0.5 first" if low >= 0 and high <= 1 else "is it an image?"
        raise UnsupportedInput(
            f"{name} holds fractions from {low:g} to {high:g}; expected whole label numbers (within {WHOLE_WITHIN:g}); "
            f"{kind}."
        )
    if np.abs(whole).max(initial=0) > 2**31:
        raise UnsupportedInput(f"{name} holds numbers up to {np.abs(whole).max():g}; expected labels; is it an image?")
    return whole.astype(np.int64)


def _ranges(known: set[int]) -> str:
    if known == set(range(256)):
        return "0 to 255"
    return ", ".join(code_text(code) for code in sorted(known))


def _example(found: NDArray[Any]) -> str:
    return ",".join(f"{code_text(int(code))}:{i}" for i, code in enumerate(found[:_MOST_SHOWN]))
