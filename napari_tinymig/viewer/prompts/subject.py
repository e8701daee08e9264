"""What is prompted: the image, the structure, and the mask that the prompts make or mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from ...annotations.structures import own_structures, tasks_by_name
from ...base.errors import ModelFileError
from ...models.registry import default_model
from ...tasks.anything import ANY, any_task
from ...tasks.task import Task
from ..napari_io.layers import KEY, frame_on_show, grid_shape, kind_of_frames, task_of_labels
from ..parts.choosers import LayerChooser
from ..parts.style import Section
from .mask_session import frame_axes

if TYPE_CHECKING:
    from ..parts.panel import Panel


NEW_STRUCTURE = "new structure"  # no task can have a name with a space


class Subject(Section):
    """Image, structure and mask; `changed` is sent when one of them becomes another, `new_asked` when a
    structure that is not there yet is wanted, or no longer.
    """

    changed = Signal()
    new_asked = Signal(bool)

    def __init__(self, panel: Panel):
        super().__init__("Image")
        self.panel = panel
        self.images = LayerChooser(panel, lambda layer: kind_of_frames(layer) is not None, "no image that fits")
        self.field("layer", self.images, "Photographs, grey images and volumes; of a stack, the frame on show.")
        self.structure = QComboBox()
        self.field("structure", self.structure, "What you mark. Any structure: nothing needs to know it.")
        self.masks = QComboBox()
        self.field("mask", self.masks, "The labels layer that follows; a new one starts from what is known.")
        self.in_use = False  # a session is open: the choice stays
        self._masks: list[Labels] = []
        self._tasks: dict[str, Task] = {}
        self._known: set[str] = set()
        self._frame: tuple[int, ...] = ()
        self.list_structures()
        self.images.changed.connect(self._image_changed)
        self.structure.activated.connect(self.structure_chosen)
        self.masks.activated.connect(lambda _i: self.changed.emit())
        panel.listen(panel.viewer.layers.events.inserted, self._layers_changed)
        panel.listen(panel.viewer.layers.events.removed, self._layers_changed)
        panel.listen(panel.viewer.dims.events.current_step, self._frame_changed)
        self._image_changed()

    @property
    def frame(self) -> tuple[int, ...]:
        """Which frame of the chosen image is on show; () where it has none."""
        image = self.images.layer
        return () if image is None else frame_on_show(image, self.panel.viewer.dims.point)

    def _frame_changed(self, event: Any = None) -> None:
        """Another frame of a stack is on show: it has its own masks."""
        if self.frame != self._frame:
            self._image_changed()

    # --- structures --------------------------------------------------------------------------------------------

    def list_structures(self, choose: str | None = None) -> None:
        """The tasks that fit the image, own structures, any structure, and a new one."""
        wanted = choose or self.structure.currentData() or ANY
        image = self.images.layer
        kind = kind_of_frames(image) if image is not None else None
        own = own_structures()
        self._tasks = {n: t for n, t in tasks_by_name().items() if kind in (None, "grey") or t.input == kind}
        self._known = {n for n in self._tasks if n not in own or _has_model(n)}
        self.structure.clear()
        self.structure.addItem("any structure", ANY)
        for task in self._tasks.values():
            self.structure.addItem(task.title, task.name)
        self.structure.addItem("new structure...", NEW_STRUCTURE)
        self.structure.setCurrentIndex(max(0, self.structure.findData(wanted)))

    @property
    def task(self) -> Task:
        """The structure's record."""
        name, image = self.structure.currentData(), self.images.layer
        if name in self._tasks:
            return self._tasks[name]
        kind = kind_of_frames(image) if image is not None else "photograph"
        return any_task("photograph" if kind == "photograph" else "volume", flat=kind == "grey")

    @property
    def known(self) -> bool:
        """Is there a student whose own mask could be the start?"""
        return self.structure.currentData() in self._known

    # --- masks -------------------------------------------------------------------------------------------------

    @property
    def chosen_mask(self) -> Labels | None:
        """The mask to mend; None: a new one."""
        index = self.masks.currentIndex() - 1
        return self._masks[index] if 0 <= index < len(self._masks) else None

    def choose_mask(self, mask: Labels) -> None:
        """Choose a mask that is in the list."""
        if mask in self._masks:
            self.masks.setCurrentIndex(self._masks.index(mask) + 1)

    def _image_changed(self) -> None:
        """Another image, or frame: its newest mask says which structure is meant."""
        image = self.images.layer
        self._frame = self.frame
        self.list_structures()
        if image is not None:
            own = [task_of_labels(m) for m in self._lying_on(image) if _source(m) == image.name]
            names = [t.name for t in own if t is not None and self.structure.findData(t.name) >= 0]
            if names:
                self.structure.setCurrentIndex(self.structure.findData(names[-1]))
        self._list_masks()
        self.changed.emit()

    def _layers_changed(self, event: Any) -> None:
        """A mask that comes while nothing is prompted says which structure is meant; else the list is kept up."""
        if isinstance(event.value, Labels) and not self.in_use:
            self._image_changed()
        else:
            self._list_masks()

    def structure_chosen(self, _index: int) -> None:
        self.new_asked.emit(self.structure.currentData() == NEW_STRUCTURE)
        self._list_masks()
        self.changed.emit()

    def _list_masks(self, event: Any = None) -> None:
        before = self.chosen_mask
        image, task = self.images.layer, self.task
        self._masks = [] if image is None else [m for m in self._lying_on(image) if _can_be(m, task)]
        self.masks.clear()
        self.masks.addItem("new: automatic, to be mended" if self.known else "new: empty", None)
        for mask in self._masks:
            self.masks.addItem(mask.name)
        own = [m for m in self._masks if image is not None and _source(m) == image.name]
        keep = before if before in self._masks else (own[-1] if own else None)
        if keep is not None:
            self.choose_mask(keep)

    def _lying_on(self, image: Layer) -> list[Labels]:
        """Labels layers in the place of the image, or of its frame on show."""
        frame = self.frame
        at = image.data_to_world((*frame, *(1,) * (image.ndim - len(frame))))
        return [
            layer
            for layer in self.panel.viewer.layers
            if isinstance(layer, Labels)
            and not layer.multiscale
            and tuple(layer.data.shape) == grid_shape(image, frame)
            and np.allclose(layer.data_to_world(_second_pixel(layer.ndim, len(frame))), at[-layer.ndim :])
            and frame_axes(layer) == len(frame)
        ]


def _second_pixel(ndim: int, frame_axes: int) -> tuple[int, ...]:
    """Index 1 along every axis of a mask but those that hold its frame's place."""
    return (0,) * frame_axes + (1,) * (ndim - frame_axes)


def _source(mask: Labels) -> str:
    """The name of the image that a mask was made for."""
    return str(mask.metadata.get(KEY, {}).get("source", "")) if mask.metadata else ""


def _can_be(mask: Labels, task: Task) -> bool:
    """Is a mask of this task, as far as is known? One of which nothing is known can be of any."""
    kept = mask.metadata.get(KEY, {}).get("task") if mask.metadata else None
    if kept is not None:
        found = task_of_labels(mask)
        return found is not None and found.name == task.name
    return bool(np.isin(np.unique(np.asarray(mask.data)), list(task.class_names)).all())


def _has_model(task: str) -> bool:
    """Is there a student of a task?"""
    try:
        default_model(task)
    except ModelFileError:
        return False
    return True
