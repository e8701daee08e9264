"""What the codes of a folder's masks mean, told once and kept beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...base.errors import OutputRefused, UnreadableInput
from ...base.plain_json import parse_json
from ...base.safe_files import write_atomic
from .legend import COLOUR, parse_label_map

KEPT = "tinymig-labels.json"
"""In the folder of the masks: {"labels": "0:2,128:1,255:0"}, in the form of --labels."""
_MOST_BYTES = 100_000


def kept_legend(folder: Path) -> str:
    """The legend kept for the masks in `folder`, as `parse_label_map` reads it; '' where none was. Raises
    UnreadableInput for one that is damaged."""
    path = folder / KEPT
    if not path.is_file():
        return ""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        text = str(parse_json(path.read_bytes())["labels"])
        parse_label_map(text)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UnreadableInput(
            f"{path} is damaged ({' '.join(str(e).split())[:160]}); expected a legend of label codes; delete it and "
            "give --labels again."
        ) from e
    return text


def keep_legend(folder: Path, text: str) -> str:
    """Keep a legend for the masks in `folder`; a sentence about what was done, '' where it is kept already."""
    try:
        if kept_legend(folder) == text:
            return ""
    except UnreadableInput:
        pass
    try:
        write_atomic(folder / KEPT, json.dumps({"labels": text}, indent=1).encode())
    except OutputRefused as e:
        return f"The label codes are not kept for the next time: {e}."
    return f"The label codes are kept in {folder / KEPT} for the next time; delete it to forget them."


def told_legend(folder: Path, text: str) -> str:
    """A sentence that says which kept legend is used."""
    return f"Label codes as kept in {folder / KEPT}: {text} (--labels replaces them)."


def kept_codes(folder: Path) -> dict[int, int] | None:
    """The legend kept for the masks in `folder` as code -> our label; None where none was. Raises UnreadableInput."""
    text = kept_legend(folder)
    return parse_label_map(text) if text else None


def in_kept_codes(folder: Path, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels as a mask in `folder` has to hold them: in the codes of its legend, the first of several for a label;
    unchanged where there is none. Raises OutputRefused for labels that the legend cannot say."""
    codes = kept_codes(folder)
    if codes is None:
        return labels
    back = {ours: foreign for foreign, ours in reversed(codes.items()) if foreign < COLOUR and 0 <= foreign <= 255}
    missing = [int(v) for v in np.unique(labels) if int(v) not in back]
    if missing:
        raise OutputRefused(
            f"the masks in {folder} hold the codes of {KEPT}, which have no number from 0 to 255 for the "
            f"label{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}; choose another folder for this mask."
        )
    table = np.zeros(256, np.uint8)
    table[list(back)] = list(back.values())
    return table[labels]
