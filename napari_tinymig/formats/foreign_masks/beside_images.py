"""Masks that lie among images: told by their names (`a_mask.png`, `a_disc.png` and `a_cup.png` beside `a.png`) and, for
pictures, by what they hold; a photograph of a right eye named `7_OD.png` stays an image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..declared import format_by_suffix
from ..kinds import MOST_MASK_CODES, is_mask_name, stem_of, suffix_of
from .class_files import named_class

OWN_ENDINGS = ("_mask", "_overlay")
"""What this program writes beside an image: taken for that by the name alone."""
_MASK_WORD = re.compile(r"[_\-. ]+(mask|label|seg|segmentation)s?$", re.IGNORECASE)
_SMEARED = 24
"""Grey levels around darkest and brightest that soft edges and JPEG make of two codes (chosen)."""
_MOST_BETWEEN = 0.03
"""Share of pixels that may lie between them (chosen: the soft edge of a disc is 1 % of its region)."""


def image_of(path: Path) -> str | None:
    """The name of the image that a file's own name calls it a mask of: 'a' of a_mask.png, a_cup.png; None otherwise."""
    stem = stem_of(path)
    if (named := named_class(stem)) is not None:
        return named[0]
    return _MASK_WORD.sub("", stem) if is_mask_name(path) else None


def is_mask(path: Path) -> bool:
    """Whether a file is a mask: called one, or after a class, and a picture of few codes or a volume."""
    if image_of(path) is None:
        return False
    return format_by_suffix(suffix_of(path)) in ("nifti", "nrrd", "mha") or holds_codes(path)


def holds_codes(path: Path) -> bool:
    """Whether a picture's pixels can be labels: indexed colours, at most sixteen values, or two smeared ones."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode in ("P", "1"):
                return True
            values = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    if values.ndim == 3:
        flat = values.reshape(-1, values.shape[2]).astype(np.uint32)
        values = (flat << (8 * np.arange(flat.shape[1], dtype=np.uint32))).sum(1)
        return len(np.unique(values)) <= MOST_MASK_CODES
    if len(np.unique(values)) <= MOST_MASK_CODES:
        return True
    between = (values > int(values.min()) + _SMEARED) & (values < int(values.max()) - _SMEARED)
    return bool(between.mean() <= _MOST_BETWEEN)


def masks_beside(files: Iterable[Path], also: Iterable[str] = ()) -> list[Path]:
    """The files that are masks or overlays of others among them. also: further names of images (a DICOM folder's)."""
    files = list(files)
    stems = {stem_of(p).casefold() for p in files} | {name.casefold() for name in also}
    return [
        path
        for path in files
        if _written_here(path, stems) or ((image_of(path) or "").casefold() in stems and is_mask(path))
    ]


def _written_here(path: Path, stems: set[str]) -> bool:
    """Whether a file is named as this program names a mask or an overlay of one of these images."""
    owners = [stem_of(path).removesuffix(end) for end in OWN_ENDINGS if stem_of(path).endswith(end)]
    return any({owner.casefold(), stem_of(Path(owner)).casefold()} & stems for owner in owners)


def why_no_image(path: Path) -> str:
    """A sentence about a file that is a mask; '' for any other."""
    if not is_mask(path):
        return ""
    return (
        f"{path.name} is a mask by its name and by what it holds, not an image; expected a photograph or a scan; to "
        "measure it, use tinymig measure; to segment it all the same, rename it."
    )
