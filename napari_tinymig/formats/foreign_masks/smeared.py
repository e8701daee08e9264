"""Masks whose codes are smeared (JPEG, soft edges): sure pixels keep their code, others take the one beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput
from .legend import COLOUR, code_text, colour_codes

MOST_CODES = 8
"""A picture with more values than this is smeared, or no mask."""
TOLERANCE = 16
"""A pixel within so many grey levels of a code, in every channel, is surely of it (chosen: JPEG of quality 50 stays
within, and codes of 0, 128, 255 or of plain colours lie far further apart)."""
MOST_UNSURE = 0.05
"""Largest share of pixels that may lie between codes: the edges of regions; a photograph has far more."""


def settled_codes(values: NDArray[Any], known: Iterable[int] | None, name: str) -> tuple[NDArray[Any], str]:
    """The codes of a picture mask (H, W), and a note where they had to be told apart.

    values: (H, W) grey or (H, W, 3) colour, uint8. known: codes that the legend names, None = find them. Pixels within
    `TOLERANCE` of a code take it. Between two codes the nearer one is taken; between more, where an edge from one to
    another passes through a third, the code of the nearest sure pixel, and what is thinner than three pixels is no
    region. Raises UnsupportedInput where that is not clear.
    """
    codes = values if values.ndim == 2 else colour_codes(values)
    found = np.unique(codes)
    named = [] if known is None else [c for c in known if (c >= COLOUR) == (values.ndim == 3)]
    if len(found) <= MOST_CODES or (named and set(found.tolist()) <= set(named)) or values.dtype != np.uint8:
        return codes, ""
    colours = _rgb(named) if named else _peaks(values, name)
    if values.ndim == 2:
        colours = colours[:, :1]
    _check_apart(colours, found, name)
    channels = values[..., None] if values.ndim == 2 else values
    distance = np.stack([np.abs(channels.astype(np.int16) - colour).max(-1) for colour in colours])  # (K, H, W)
    nearest = distance.argmin(0)
    between = distance.min(0) > TOLERANCE
    if between.mean() > MOST_UNSURE:
        raise UnsupportedInput(
            f"{name} holds {len(found)} values, {100 * between.mean():.0f} % of its pixels far from any code; expected "
            "one number or colour for each class; is it an image? Save the mask as PNG without smoothing."
        )
    if len(colours) > 2:
        nearest = _from_sure_pixels(nearest, between)
    table = np.array([c[0] if values.ndim == 2 else int(colour_codes(c)) for c in colours])
    note = (
        f"{len(found)} values (a JPEG, or soft edges) were told apart as the codes "
        f"{', '.join(code_text(int(c)) for c in table)}; {between.sum()} pixels between them took one beside them."
    )
    return table[nearest], note


def _rgb(codes: list[int]) -> NDArray[np.int16]:
    """(K, 3) of codes; greys thrice."""
    rows = [
        ((c - COLOUR) >> 16, (c - COLOUR) >> 8 & 255, (c - COLOUR) & 255) if c >= COLOUR else (c,) * 3 for c in codes
    ]
    return np.array(rows, np.int16)


def _peaks(values: NDArray[Any], name: str) -> NDArray[np.int16]:
    """(K, 3) the most frequent values, each with all within the tolerance, until hardly a pixel is left."""
    rgb = values.reshape(-1, 3) if values.ndim == 3 else np.repeat(values.reshape(-1, 1), 3, 1)
    table, counts = np.unique(rgb, axis=0, return_counts=True)
    left = np.ones(len(table), bool)
    peaks: list[NDArray[np.int16]] = []
    while counts[left].sum() > MOST_UNSURE * len(rgb) and len(peaks) <= MOST_CODES:
        peak = table[np.where(left, counts, -1).argmax()].astype(np.int16)
        peaks.append(peak)
        left &= np.abs(table.astype(np.int16) - peak).max(1) > TOLERANCE
    if len(peaks) > MOST_CODES:
        raise UnsupportedInput(
            f"{name} holds {len(table)} different values and no few that stand out; expected one number or colour for "
            "each class; is it an image? Save the mask as PNG without smoothing."
        )
    return np.array(peaks)


def _check_apart(colours: NDArray[np.int16], found: NDArray[Any], name: str) -> None:
    """Raise UnsupportedInput where two codes lie so near that smeared ones cannot be told apart."""
    for i, one in enumerate(colours):
        for other in colours[:i]:
            if np.abs(one - other).max() <= 2 * TOLERANCE:
                near = [code_text(int(c[0]) if len(c) == 1 else int(colour_codes(c))) for c in (other, one)]
                raise UnsupportedInput(
                    f"{name} holds {len(found)} values (a JPEG, or soft edges?), and the codes {near[0]} and {near[1]} "
                    "lie too near to be told apart; save the mask as PNG without smoothing."
                )


def _from_sure_pixels(nearest: NDArray[np.intp], between: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The code (H, W) of the nearest pixel that is surely of its code: within the tolerance, in a core of 3 x 3."""
    from scipy import ndimage

    sure = np.zeros(nearest.shape, bool)
    for code in np.unique(nearest):
        padded = np.pad((nearest == code) & ~between, 1, mode="edge")
        sure |= ndimage.binary_opening(padded, np.ones((3, 3)))[1:-1, 1:-1]
    if not sure.any():
        return nearest
    rows, columns = ndimage.distance_transform_edt(~sure, return_distances=False, return_indices=True)
    return nearest[rows, columns]
