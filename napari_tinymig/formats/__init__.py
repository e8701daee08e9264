"""Reading images and masks, writing masks in the input's own grid. Format libraries are imported when needed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ..base.errors import UnreadableInput
from .find import find_images, find_inputs
from .foreign_masks.legend import apply_label_map, parse_label_map
from .kinds import stem_of, suffix_of
from .read_masks import LOADERS, open_mask, read_mask
from .scan_file import InputItem, MaskFile, ScanFile, as_photograph, as_volume, eight_bit, volume_file
from .stored_grid import stored_labels
from .write_masks import mask_path, mask_paths, write_atomically, write_mask, write_volume

__all__ = [
    "InputItem",
    "MaskFile",
    "ScanFile",
    "apply_label_map",
    "as_photograph",
    "as_volume",
    "eight_bit",
    "find_images",
    "find_inputs",
    "mask_path",
    "mask_paths",
    "open_input",
    "open_mask",
    "parse_label_map",
    "read_mask",
    "stem_of",
    "stored_labels",
    "suffix_of",
    "write_atomically",
    "write_mask",
    "write_volume",
]


# What these libraries have to say about a damaged file is said once, in our sentence; without a handler of their own
# their complaints would go to the terminal. A program that sets up logging still gets them.
for _name in ("tifffile", "pydicom", "PIL", "highdicom"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


def open_input(item: InputItem | str | Path) -> ScanFile:
    """The image of `item`, or of a path that stands for exactly one image.

    Raises UnreadableInput or UnsupportedInput with one sentence: found, expected, what to do. Nothing else.
    """
    if not isinstance(item, InputItem):
        found = find_inputs([item])
        if len(found) != 1:
            names = ", ".join(i.name for i in found[:5])
            raise UnreadableInput(f"{item} holds {len(found)} images ({names} ...); expected one; give one of them.")
        item = found[0]
    if item.problem:
        raise UnreadableInput(item.problem)
    if item.format in READERS:
        return READERS[item.format](item)
    stored = LOADERS[item.format](item.path, None)
    return volume_file(item, stored)


def _photograph(item: InputItem) -> ScanFile:
    from .photographs import read_photograph

    return read_photograph(item)


def _nifti(item: InputItem) -> ScanFile:
    from .nifti import read_nifti

    return read_nifti(item)


def _nrrd(item: InputItem) -> ScanFile:
    from .nrrd import read_nrrd

    return read_nrrd(item)


def _metaimage(item: InputItem) -> ScanFile:
    from .metaimage import read_metaimage

    return read_metaimage(item)


def _dicom(item: InputItem) -> ScanFile:
    from .dicom import read_dicom

    return read_dicom(item)


READERS: dict[str, Callable[[InputItem], ScanFile]] = {
    "photograph": _photograph,
    "nifti": _nifti,
    "nrrd": _nrrd,
    "mha": _metaimage,
    "dicom": _dicom,
}
"""Format -> how its images are read; one that is missing here is read by its loader of `read_masks.LOADERS`."""
