"""A mask opened again: in its task's colours, and a DICOM-SEG on the whole grid of its scan where that is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...formats import ScanFile
from ...formats.declared import FORMATS
from ...formats.dicom_seg import named_segments, segmented_series, series_of
from ...tasks.colours import palette
from ...tasks.table import TASKS
from ...tasks.task import Task
from .layer_geometry import scan_file_of


def task_attributes(path: Path, labels: np.ndarray) -> tuple[dict[str, Any], Task | None]:
    """Colours and class names of a mask layer, and its task; colours alone, and None, where several tasks share them;
    nothing where the file tells no task."""
    tasks = tasks_of_file(path, int(labels.max(initial=0)))
    if not tasks:
        return {}, None
    from .layers import class_colours, class_features  # napari, which a reader alone does not need

    colours = {"colormap": class_colours(tasks[0]), "opacity": 0.55}
    if len(tasks) > 1:
        return colours, None
    return colours | {"features": class_features(tasks[0].class_names)}, tasks[0]


def tasks_of_file(path: Path, highest: int) -> list[Task]:
    """The known tasks that a mask file can be of: a PNG by its palette, a DICOM-SEG by the names of its segments."""
    if path.suffix.lower() == ".png":
        with Image.open(path) as picture:
            stored = picture.getpalette() if picture.mode == "P" else None
        end = 3 * (highest + 1)
        able = [t for t in TASKS.values() if 0 < highest <= max(r.label for r in t.regions)]
        return [t for t in able if stored and stored[3:end] == palette(t)[3:end]]
    names = named_segments(path) if path.suffix.lower() in (*FORMATS["dicom"].suffixes, "") else {}
    return [t for t in TASKS.values() if names and names.items() <= t.class_names.items()]


def scan_of_seg(path: Path, open_layers: Iterable[Any]) -> ScanFile | None:
    """The open scan that a DICOM-SEG was drawn on, by the series that it names; None if it is not open."""
    series = segmented_series(path)
    for layer in open_layers:
        scan_file = scan_file_of(layer) if isinstance(layer.metadata, Mapping) else None
        header = scan_file.header if scan_file is not None and scan_file.format == "dicom" else None
        first = next((where[0] for where in getattr(header, "slices", ()) if where is not None), None)
        if first is not None and series_of(first) in series:
            return scan_file
    return None
