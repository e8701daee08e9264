"""napari readers: volumes with their geometry, and the photographs that napari's own reader shows wrongly."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import TinyMIGError, UnreadableInput, UnsupportedInput
from ...formats import InputItem, MaskFile, ScanFile, find_inputs, open_input, open_mask, parse_label_map
from ...formats.declared import FORMATS, TIFF_SUFFIXES
from ...formats.foreign_masks.class_files import class_files, one_each
from ...formats.foreign_masks.kept_legend import KEPT, kept_codes, kept_legend
from ...formats.kinds import format_of, is_mask_name, is_mask_picture, suffix_of
from ...formats.read_masks import mask_scan_file, open_codes
from .layer_geometry import KEY, display_transform
from .reopened_masks import scan_of_seg, task_attributes

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader for `path` if this plugin should read it: volumes, DICOM folders, masks, turned or odd photographs."""
    return get_volume_reader(path) or get_photograph_reader(path)


def get_volume_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader for NIfTI, NRRD, MetaImage, DICOM files and folders with DICOM series; None for anything else."""
    paths = _paths(path)
    if not paths:
        return None
    for one in paths:
        if one.is_dir():
            if not any(item.format == "dicom" for item in find_inputs([one])):
                return None
        elif not one.is_file() or format_of(one) in ("photograph", "unknown"):
            return None
    return read_layers


def get_photograph_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader for photographs that napari shows otherwise than meant: turned by their EXIF tag, odd TIFF, and pictures
    that are called a mask and hold few codes in one channel. None for all others, which stay napari's own."""
    paths = _paths(path)
    if not paths or not all(one.is_file() and suffix_of(one) in FORMATS["photograph"].suffixes for one in paths):
        return None
    return read_layers if all(_needs_us(one) for one in paths) else None


def _paths(path: str | Sequence[str]) -> list[Path]:
    return [Path(path)] if isinstance(path, (str, Path)) else [Path(p) for p in path]


def _needs_us(path: Path) -> bool:
    from PIL import Image

    if is_mask_picture(path) or _of_one_class(path) or _told(path):
        return True
    if suffix_of(path) in TIFF_SUFFIXES:
        return _odd_tiff(path)
    try:
        with Image.open(path) as picture:
            return picture.getexif().get(0x0112, 1) not in (0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _odd_tiff(path: Path) -> bool:
    """Whether a TIFF of one page means something else than the array that napari would show: turned, planar colour,
    white is zero, a palette, CMYK. Stacks and plain pictures are left alone."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            page = tif.pages[0]
            if len(tif.pages) != 1 or not isinstance(page, tifffile.TiffPage):
                return False
            turned = page.tags.get(0x0112)
            planar = page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            odd = tifffile.PHOTOMETRIC(page.photometric).name in ("MINISWHITE", "PALETTE", "SEPARATED")
            return planar or odd or (turned is not None and turned.value not in (0, 1))
    except (OSError, ValueError, tifffile.TiffFileError):
        return False


def read_layers(path: str | Sequence[str], scan: ScanFile | None = None) -> list[LayerData]:
    """One layer per image or series: masks (by name, by the legend of their folder, or DICOM-SEG) as Labels, all others
    as Image. scan: the image that a DICOM-SEG belongs to, where it is known but not open.

    Raises UnreadableInput or UnsupportedInput if nothing can be read; where some can, the others are warned of.
    """
    layers: list[LayerData] = []
    failures: list[TinyMIGError] = []
    given = _paths(path)
    for item in find_inputs(one_each(given) if all(map(_of_one_class, given)) else given):
        try:
            layers.append(_layer(item, scan))
        except TinyMIGError as e:
            failures.append(e)
    if failures and not layers:
        raise failures[0]
    for failure in failures:
        warnings.warn(str(failure), stacklevel=2)
    return layers


def _layer(item: InputItem, scan: ScanFile | None) -> LayerData:
    if item.problem:
        raise UnreadableInput(item.problem)
    if _is_mask_file(item):
        return _mask_layer(item, scan)
    scan_file = open_input(item)
    for note in scan_file.notes:
        warnings.warn(f"{scan_file.name}: {note}", stacklevel=2)
    return image_layer(scan_file)


def _mask_layer(item: InputItem, scan: ScanFile | None) -> LayerData:
    """A Labels layer of a mask, in its task's colours; a DICOM-SEG on its scan's grid where that is known or open; in
    the codes that its folder's legend explains."""
    napari = sys.modules.get("napari")  # where no viewer is, this reader imports none
    viewer = napari.current_viewer() if napari is not None else None
    if item.format == "dicom" and scan is None and viewer is not None:
        scan = scan_of_seg(item.path, viewer.layers)
    scan = scan if item.format == "dicom" else None
    mask = open_mask(item.path, like=scan) if item.format == "dicom" else _explained(item.path)
    for note in mask.notes:
        warnings.warn(f"{mask.name}: {note}", stacklevel=2)
    scan_file = scan or mask_scan_file(mask)
    labels = mask.labels if scan else scan_file.scan.pixels
    labels = labels[0] if scan_file.geometry is None and labels.ndim == 3 else labels
    colours, task = task_attributes(item.path, labels)
    attributes = layer_attributes(scan_file) | {"name": mask.name} | colours
    if task is not None:
        attributes["metadata"][KEY]["task"] = task.model_dump()
    return labels.astype(np.uint8), attributes, "labels"


def _explained(path: Path) -> MaskFile:
    """A mask with its codes as the legend kept in its folder explains them; as they stand where it does not, or where
    there is none. What was done is a note."""
    text = kept_legend(path.parent)
    if not text:
        return open_mask(path)
    try:
        mask, note = open_mask(path, parse_label_map(text)), f"label codes as kept in {KEPT}: {text}."
    except UnsupportedInput:
        mask, note = open_mask(path), f"it holds codes that {KEPT} in its folder does not name; shown as they stand."
    return replace(mask, notes=(*mask.notes, note))


def _told(path: Path) -> bool:
    """Whether a legend is kept for the masks in a file's folder, and the file holds no other code."""
    try:
        codes = kept_codes(path.parent)
        return codes is not None and open_mask(path, codes).labels.ndim > 0
    except TinyMIGError:
        return False


def _is_mask_file(item: InputItem) -> bool:
    if item.format == "dicom":
        from ...formats.dicom_seg import is_dicom_seg

        return len(item.files) == 1 and is_dicom_seg(item.files[0])
    return is_mask_name(item.path) or _of_one_class(item.path) or _told(item.path)


def _of_one_class(path: Path) -> bool:
    """Whether a file is one of several that hold a class each (`a_disc.png` beside `a_cup.png`): by the names, and
    because neither holds more than two values."""
    if not path.is_file() or (group := class_files(path)) is None:
        return False
    try:
        return all(len(np.unique(open_codes(one))) <= 2 for _, one in group.files)
    except TinyMIGError:
        return False


def image_layer(scan_file: ScanFile) -> LayerData:
    """An Image layer of a scan: photographs (H, W, 3) or (H, W), volumes (D, H, W) in patient order."""
    attributes = layer_attributes(scan_file)
    scan = scan_file.scan
    if scan.kind == "photograph":
        return scan.pixels, attributes | {"rgb": True}, "image"
    pixels = scan.pixels[0] if scan_file.is_photograph_file else scan.pixels
    low, high = (float(v) for v in np.percentile(pixels[..., ::2, ::2], (0.2, 99.8)))
    attributes |= {"rgb": False, "colormap": "gray"}
    if high > low:
        attributes["contrast_limits"] = (low, high)
    return pixels, attributes, "image"


def layer_attributes(scan_file: ScanFile) -> dict[str, Any]:
    """Name, display transform, units, axis labels, and in metadata['tinymig'] the file's own grid for the writers."""
    kept: dict[str, Any] = {"scan_file": scan_file, "path": str(scan_file.path)}
    attributes: dict[str, Any] = {"name": scan_file.name}
    if scan_file.geometry is not None and scan_file.scan.kind == "volume":
        attributes |= display_transform(scan_file.geometry)
        kept["slice_axis"] = scan_file.geometry.slice_axis
    elif scan_file.scan.spacing_mm is not None:
        attributes |= {"scale": scan_file.scan.spacing_mm[-2:], "units": ("mm", "mm"), "axis_labels": ("y", "x")}
    else:
        attributes |= {"axis_labels": ("y", "x")}
    return attributes | {"metadata": {KEY: kept}}
