"""The files of a folder as cases, and reading one of them for the viewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer

from ...base.errors import TinyMIGError, UnreadableInput
from ...formats import InputItem, find_images, mask_paths, masks_left_out, open_input
from ...tasks.task import Task
from ..masks.mask_state import State, note_saved
from ..napari_io.layer_geometry import KEY
from ..napari_io.layers import result_layer
from ..napari_io.readers import LayerData, image_layer, read_layers
from .case import Case
from .mask_files import target_beside


def cases_of(folder: str | Path) -> tuple[list[Case], list[str]]:
    """A case for every image of a folder; a sentence for every file that cannot be read, and one about masks under
    other names. A mask that lies beside its image under the name of its case belongs to it."""
    items = find_images([folder])
    usable = [item for item in items if not item.problem]
    cases = []
    for item, mask in zip(usable, mask_paths(Path(), usable)):
        target = target_beside(item, item.path.parent / mask)
        case = Case(item.name, item, target=target)
        if target.exists():
            case.state, case.mask_file = "saved", target
        cases.append(case)
    masks = masks_left_out([folder], [case.target for case in cases if case.target is not None])
    return cases, [item.problem for item in items if item.problem] + ([masks] if masks else [])


def read_case(item: InputItem, mask_file: Path | None, report: Callable[[Any], None]) -> list[LayerData]:
    """The image of a case and, where there is one, its mask, as napari takes them; runs in a thread."""
    report(None)
    scan_file = open_input(item)
    image = image_layer(scan_file)
    if mask_file is None or not mask_file.exists():
        return [image]
    report(None)
    try:
        mask = next(data for data in read_layers(str(mask_file), scan_file) if data[2] == "labels")
    except (TinyMIGError, StopIteration) as e:
        raise UnreadableInput(f"the mask {mask_file} of '{item.name}' cannot be read ({e}); move it away.") from e
    return [image, mask]


def mask_layer(known: dict[str, Any], state: State, image: Layer, labels: Any, attributes: dict[str, Any]) -> Labels:
    """A mask that was read, as a layer on its image, in the colours of its task.

    known: `Case.about`. state: 'segmented' where the labels are still the prediction's; else they are in their file.
    """
    about = {k: v for k, v in known.items() if k != "task"}
    labels = np.asarray(labels, np.uint8).reshape(image.data.shape[: image.ndim])
    if known.get("task"):
        layer = result_layer(image, labels, Task.model_validate(known["task"]), f"{image.name} mask", about)
    else:
        layer = Labels(labels, **attributes)
        layer.metadata.setdefault(KEY, {})["source"] = image.name
    if state != "segmented":
        layer.metadata[KEY].pop("predicted", None)
        note_saved(layer, labels)
    return layer
