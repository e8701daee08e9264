"""Where the mask of a file lies: beside it, as DICOM-SEG for a DICOM series where that can be written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ...formats import InputItem, suffix_of
from ...formats.declared import FORMATS, VOLUME_FILE

SEG_FILE = FORMATS["dicom"].writes[0]


def is_seg(mask: Path) -> bool:
    """Whether a mask is, or will be, a DICOM-SEG."""
    return suffix_of(mask) == SEG_FILE


def as_volume_file(mask: Path) -> Path:
    """The same place for a mask that is no DICOM-SEG."""
    return mask.with_name(mask.name.removesuffix(suffix_of(mask)) + VOLUME_FILE)


def target_beside(item: InputItem, usual: Path) -> Path:
    """Where the mask of a file goes: where one lies already; else, of a DICOM series, as DICOM-SEG where highdicom is
    installed. usual: where `tinymig segment` puts it."""
    if item.format != "dicom":
        return usual
    seg = usual.with_name(usual.name.removesuffix(VOLUME_FILE) + SEG_FILE)
    if seg.exists() or (importlib.util.find_spec("highdicom") is not None and not usual.exists()):
        return seg
    return usual
