"""Correct: the edits that annotators expect, each one step of undo, each with a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QSpinBox

from ..annotations import edits as correct
from ..tasks.task import Task
from .docks.keys import CORRECT_KEYS
from .masks.journal_keeper import hold_keeper, let_keeper_go
from .masks.locked_edits import is_locked, lock
from .napari_io.layers import changed_by_user, put_labels, task_of_labels
from .parts.choosers import LayerChooser
from .parts.panel import Panel
from .parts.style import EmptyState, button, row, text_label

if TYPE_CHECKING:
    import napari.viewer

KEYS = {name: key.key for name, key in CORRECT_KEYS.items()}


class CorrectPanel(Panel):
    """Helpers for the chosen mask; every one is a single undo (Ctrl-Z) of napari's own history."""

    purpose = "Mend a mask. Every button is one undo step (Ctrl-Z); paint with napari's own brush in between."
    tab = "Correct"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.strokes = hold_keeper(napari_viewer)  # what is painted is safe on the disk from here on
        chosen = self.add_section("Mask")
        self.layers = LayerChooser(self, lambda layer: isinstance(layer, Labels), "no labels layer")
        chosen.field("layer", self.layers)
        self.this_slice = QCheckBox("this slice only")
        self.this_slice.setToolTip("Volumes: work on the slice on show; off = on every slice.")
        chosen.add(self.this_slice)
        self.empty = EmptyState("Segment an image, or add a Labels layer (the tag button above the layer list).")
        self.column.addWidget(self.empty)
        self._shape_section()
        self._slices_section()
        self._lock_section()
        self.edits: dict[str, Callable[[], None]] = {
            "clean": lambda: self._edit("Islands", correct.clean_islands),
            "fill": lambda: self._edit("Holes", correct.fill_holes),
            "smooth": self._smooth,
            "cup": self._cup,
            "ellipse": lambda: self._edit("Ellipse", correct.ellipse),
            "interpolate": self._interpolate,
            "copy": self._copy,
            "lock": lambda: self.lock.toggle(),
        }
        for name, key in KEYS.items():
            napari_viewer.bind_key(key, lambda _viewer, run=self.edits[name]: run(), overwrite=True)
        self.destroyed.connect(lambda *_, viewer=napari_viewer: _unbind(viewer))
        self.layers.changed.connect(self._refresh)
        self._refresh()

    def _action(self, name: str, text: str, tip: str) -> Any:
        made = button(f"{text}   {KEYS[name].replace('-', '+')}", lambda: self.edits[name](), tip=tip)
        made.setObjectName(name)
        return made

    def _shape_section(self) -> None:
        section = self.add_section("Shape")
        section.add(self._action("clean", "Clean islands", "Remove parts smaller than a tenth of the largest."))
        section.add(self._action("fill", "Fill holes", "Fill holes, slice by slice."))
        self.radius = QSpinBox()
        self.radius.setRange(1, 30)
        self.radius.setValue(3)
        self.radius.setSuffix(" px")
        self.radius.setToolTip("How strongly to smooth; the area stays the same.")
        smooth = self._action("smooth", "Smooth", "Smooth the outline without changing the area.")
        section.add(row(smooth, self.radius))
        section.add(self._action("ellipse", "Fit ellipses", "Replace every region by the ellipse that fits it."))
        self.cup = section.add(
            self._action("cup", "Keep cup in disc", "Remove what of the cup sticks out of the rim's outline.")
        )
        self.shape_section = section

    def _slices_section(self) -> None:
        section = self.add_section("Slices")
        tip = "Fill the empty slices between painted ones, by shape."
        section.add(self._action("interpolate", "Interpolate between slices", tip))
        section.add(self._action("copy", "Copy to next slice", "Copy this slice's mask to the next one and go there."))
        self.slices_section = section

    def _lock_section(self) -> None:
        section = self.add_section("New predictions")
        self.lock = QCheckBox(f"lock what I painted   {KEYS['lock'].replace('-', '+')}")
        self.lock.setToolTip("A new prediction of the same image keeps every pixel that you changed.")
        self.lock.toggled.connect(self._lock_toggled)
        section.add(self.lock)
        self.locked = section.add(text_label("", "hint"))
        self.lock_section = section

    # --- what is worked on -------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        layer = self.layers.layer
        task = task_of_labels(layer) if layer is not None else None
        self.empty.setVisible(layer is None)
        for part in (self.shape_section, self.lock_section):
            part.setVisible(layer is not None)
        self.slices_section.setVisible(layer is not None and layer.ndim == 3)
        self.this_slice.setVisible(layer is not None and layer.ndim == 3)
        self.cup.setVisible(task is not None and "cup_disc" in task.measures)
        if layer is not None:
            self.lock.blockSignals(True)
            self.lock.setChecked(is_locked(layer))
            self.lock.blockSignals(False)
        self._say_locked()

    def slice_on_show(self, layer: Labels) -> tuple[int, int]:
        """(axis, index) of the slice of a volume that the viewer shows, in the layer's own axes."""
        offset = self.viewer.dims.ndim - layer.ndim
        hidden = [axis - offset for axis in self.viewer.dims.not_displayed if axis >= offset]
        axis = hidden[0] if hidden else 0
        index = layer.world_to_data(self.viewer.dims.point[-layer.ndim :])[axis]
        return axis, int(np.clip(np.rint(index), 0, layer.data.shape[axis] - 1))

    def _edit(self, what: str, change: Callable[..., NDArray[np.bool_]], **options: Any) -> None:
        """One undoable change of every region of the mask, or of the slice on show."""
        layer = self.layers.layer
        if layer is None:
            self.say("Choose a labels layer first.", "warn")
            return
        labels, task = np.asarray(layer.data), task_of_labels(layer)
        if layer.ndim == 3:
            axis, index = self.slice_on_show(layer)
            if self.this_slice.isChecked():
                new = labels.copy()
                plane = np.moveaxis(new, axis, 0)
                plane[index] = correct.each_region(plane[index], task, lambda m: change(m, **options))
                self._put(layer, new, what)
                return
            if change is not correct.clean_islands:
                options["axis"] = axis
        self._put(layer, correct.each_region(labels, task, lambda m: change(m, **options)), what)

    def _put(self, layer: Labels, new: NDArray[Any], what: str) -> None:
        """Put the labels in, and say what changed for as long as it takes to read it."""
        changed = put_labels(layer, new)
        self.say(f"{what}: {changed} px changed." if changed else self._unchanged(new, what), "passing")

    def _unchanged(self, labels: NDArray[Any], what: str) -> str:
        """Why nothing changed."""
        parts = correct.count_parts(labels > 0)
        if what != "Islands" or parts < 2:
            return f"{what}: nothing to change."
        return (
            f"Islands: none of the {parts} parts is smaller than a tenth of the largest; erase what does not belong "
            "with the brush and label 0."
        )

    def _smooth(self) -> None:
        self._edit("Smooth", correct.smooth, radius_px=float(self.radius.value()))

    def _cup(self) -> None:
        layer = self.layers.layer
        task: Task | None = task_of_labels(layer) if layer is not None else None
        if layer is None or task is None or "cup_disc" not in task.measures or layer.ndim != 2:
            self.say("'Keep cup in disc' needs a 2-D mask of disc rim (1) and cup (2).", "warn")
            return
        self._put(layer, correct.cup_inside_disc(np.asarray(layer.data)), "Cup")

    def _volume(self) -> Labels | None:
        layer = self.layers.layer
        if layer is None or layer.ndim != 3:
            self.say("This works on volumes; choose a 3-D labels layer.", "passing")
            return None
        return layer

    def _interpolate(self) -> None:
        layer = self._volume()
        if layer is None:
            return
        axis, _ = self.slice_on_show(layer)
        labels = np.asarray(layer.data)
        new = correct.each_region(labels, task_of_labels(layer), lambda m: correct.interpolate_slices(m, axis))
        self._put(layer, new, "Interpolation")

    def _copy(self) -> None:
        layer = self._volume()
        if layer is None:
            return
        axis, index = self.slice_on_show(layer)
        if index + 1 >= layer.data.shape[axis]:
            self.say("This is the last slice.", "passing")
            return
        self._put(layer, correct.copy_slice(np.asarray(layer.data), index, index + 1, axis), "Copy")
        viewer_axis = axis + self.viewer.dims.ndim - layer.ndim
        step = self.viewer.dims.current_step[viewer_axis]
        self.viewer.dims.set_current_step(viewer_axis, step + 1)

    def _lock_toggled(self, on: bool) -> None:
        layer = self.layers.layer
        if layer is not None:
            lock(layer, on)
        self.say("")  # what was said of another edit
        self._say_locked()

    def _say_locked(self) -> None:
        layer = self.layers.layer
        if layer is None or not self.lock.isChecked():
            self.locked.setText("A new prediction goes into a new layer; with the lock on it takes your edits along.")
            return
        count = int(np.count_nonzero(changed_by_user(layer)))
        self.locked.setText(f"{count} px differ from the prediction and are kept.")

    def released(self) -> None:
        _unbind(self.viewer)
        let_keeper_go(self.viewer)


def _unbind(viewer: Any) -> None:
    for key in KEYS.values():
        viewer.bind_key(key, None)
