"""Reading images and masks, writing masks in the input's own grid. Format libraries are imported when needed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ..base.errors import UnreadableInput
from .find import find_images, find_inputs, find_scans, masks_left_out
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
    "find_scans",
    "mask_path",
    "masks_left_out",
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


READ_FROM_BYTES = ("photograph", "dicom")
"""Formats whose files `open_input` need not open again where their bytes were read."""


def open_input(item: InputItem | str | Path, contents: Mapping[Path, bytes] | None = None) -> ScanFile:
    """The image of `item`, or of a path that stands for exactly one image.

    contents: bytes of its files that were read already, for `READ_FROM_BYTES`.
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
    match item.format:
        case "photograph":
            from .photographs import read_photograph

            return read_photograph(item, contents)
        case "dicom":
            from .dicom import read_dicom

            return read_dicom(item, contents)
        case "nifti":
            from .nifti import read_nifti as read
        case "nrrd":
            from .nrrd import read_nrrd as read
        case "mha":
            from .metaimage import read_metaimage as read
        case other:
            return volume_file(item, LOADERS[other](item.path, None))
    return read(item)
