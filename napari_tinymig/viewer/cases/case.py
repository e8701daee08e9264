"""One case: an image and everything that belongs to it, and how far its mask has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from numpy.typing import NDArray

from ...formats import InputItem
from ..masks.mask_state import State
from ..napari_io.layers import KEY


def is_made_by_a_panel(layer: Layer) -> bool:
    """True for maps and what-if copies, which are neither a user's image nor the mask of one."""
    return any(str(key).startswith(f"{KEY}-") for key in layer.metadata)


@dataclass
class View:
    """Where a user left a case: camera, position in the world (mm where it is known), and the plane or 3-D."""

    center: tuple[float, ...]
    zoom: float
    point: tuple[float, ...]
    order: tuple[int, ...]
    ndisplay: int
    angles: tuple[float, ...]
    orientation: tuple[Any, ...]


@dataclass(eq=False)
class Case:
    """An image with its masks, prompts and maps; or a file of an opened folder that is not open yet.

    name: of the image. item: the file, where it comes from a folder. image: its layer, None while it is not open.
    layers: all that belongs to it, oldest first. number: headline number of the mask, with unit. target: where the mask
    of a file goes. mask_file: where its mask lies now. about: what is known of that mask (model, task, who and when),
    plain values. picture: (44, 44, 3), of a file that was segmented without being opened. hidden: ids of the layers
    that the user had hidden when the case was left.
    """

    name: str
    item: InputItem | None = None
    image: Layer | None = None
    layers: list[Layer] = field(default_factory=list)
    state: State = "new"
    number: str = ""
    target: Path | None = None
    mask_file: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = None
    view: View | None = None
    hidden: set[Any] = field(default_factory=set)

    @property
    def mask(self) -> Labels | None:
        """The newest mask of the case: one that was made for a task, else any labels layer."""
        labels = [layer for layer in self.layers if isinstance(layer, Labels) and not is_made_by_a_panel(layer)]
        made = [layer for layer in labels if layer.metadata.get(KEY, {}).get("task")]
        return (made or labels or [None])[-1]

    @property
    def all_layers(self) -> list[Layer]:
        """The image, where it is open, and what belongs to it."""
        return self.layers if self.image is None else [self.image, *self.layers]


def end_of_list(cases: int, by: int) -> str:
    """What is said where a list of cases goes no further forwards (by 1) or backwards (-1)."""
    if cases == 1:
        return "This is the only case; open more images, or a folder of them."
    return "This is the last case." if by > 0 else "This is the first case."
