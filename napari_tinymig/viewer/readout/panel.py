"""Live read-out: the clinical numbers of a mask while it is painted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox

from ...measures.clinical import measure, rim_profile
from ...measures.declared import (
    AP_MM,
    AREA_FRACTION,
    AREA_MM2,
    AREA_PX,
    AREA_RATIO,
    CC_MM,
    CUP_AREA_PX,
    DECLARED,
    DISC_AREA_MM2,
    DISC_AREA_PX,
    ELLIPSOID_ML,
    GLAND_VOXELS,
    HCDR,
    OBJECTS,
    TRANSVERSE_MM,
    VCDR,
    VOLUME_ML,
)
from ...measures.ellipse import extent
from ...measures.headline import headline_words
from ...measures.plausible import implausible
from ...reports.numbers import with_unit
from ...tasks.table import TASKS
from ...tasks.task import Task
from ..napari_io.layers import KEY, measured_grid, task_of_labels
from ..parts.choosers import LayerChooser
from ..parts.numbers import BigNumber, NumberRows
from ..parts.panel import Panel
from ..parts.style import EmptyState, text_label
from .cup_slider import CupSlider
from .doubts_line import DoubtsLine
from .rim_plot import RimPlot

if TYPE_CHECKING:
    import napari.viewer

QUIET_MS = 25  # events of one brush move come in bursts; one measurement answers them all
EYES = {"eye unknown": None, "right eye (OD)": "right", "left eye (OS)": "left"}


PLACED = frozenset(
    {
        *(
            VCDR,
            HCDR,
            AREA_RATIO,
            DISC_AREA_PX,
            CUP_AREA_PX,
            DISC_AREA_MM2,
        ),
        *(VOLUME_ML, TRANSVERSE_MM, AP_MM, CC_MM, ELLIPSOID_ML),
        *(AREA_PX, AREA_FRACTION, OBJECTS, AREA_MM2),
    }
)
"""Measures to which this panel gives a place of their own; every other declared one is a row below them."""


def further_rows(values: Mapping[str, float]) -> dict[str, str]:
    """Name -> value with unit of the declared measures that have no place of their own."""
    further = [m for m in DECLARED.values() if m.key in values and m.key not in PLACED]
    return {m.name: with_unit(values[m.key], m.unit, m.digits) for m in further}


def painted_box(labels: np.ndarray) -> np.ndarray:
    """A view of the smallest box that holds every label, with one pixel around it; the whole array if none."""
    box = []
    for bounds, length in zip(extent(labels), labels.shape):
        if bounds[1] == 0:
            return labels
        box.append(slice(max(0, bounds[0] - 1), min(length, bounds[1] + 1)))
    return labels[tuple(box)]


class ReadoutPanel(Panel):
    """Cup-to-disc ratio with the rim by clock hour, or gland volume with three diameters, following every edit."""

    purpose = "Measures the mask while you paint, undo, or step through slices. Research use only."
    tab = "Read-out"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self._listened: Labels | None = None
        self.last_ms = 0.0
        chosen = self.add_section("Mask")
        self.layers = LayerChooser(self, lambda layer: isinstance(layer, Labels), "no labels layer")
        chosen.field("layer", self.layers)
        self.task = QComboBox()
        self.task.addItem("from the mask", None)
        for task in TASKS.values():
            self.task.addItem(task.title, task.name)
        chosen.field("read as", self.task, "What the labels mean; found from the layer where it can be.")
        self.eye = QComboBox()
        self.eye.addItems(list(EYES))
        self._eye_row = chosen.field("eye", self.eye, "Needed for nasal and temporal, and for the ISNT rule.")
        self.empty = EmptyState("Segment an image, or paint a Labels layer: its numbers appear here as you paint.")
        self.column.addWidget(self.empty)
        self.numbers = self.add_section()
        self.big = self.numbers.add(BigNumber())
        self.numbers.column.setAlignment(self.big, Qt.AlignmentFlag.AlignLeft)
        self.rows = self.numbers.add(NumberRows(live=True))
        self.rim = self.numbers.add(RimPlot(self.palette_colours))
        self.cup = CupSlider()
        self.numbers.field("cup drawn", self.cup, CupSlider.purpose)
        self.doubts = self.numbers.add(DoubtsLine())
        self.note = self.numbers.add(text_label("", "hint"))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(lambda: self.measure_now(painting=True))
        self.layers.changed.connect(self._follow_layer)
        self.task.currentIndexChanged.connect(self.measure_soon)
        self.eye.currentIndexChanged.connect(self.measure_soon)
        self.listen(napari_viewer.dims.events.current_step, self.measure_soon)
        self._follow_layer()

    def theme_changed(self) -> None:
        self.rim.set_colours(self.palette_colours)

    def _follow_layer(self) -> None:
        for emitter in self._edit_events(self._listened):
            self.stop_listening_to(emitter, self.measure_soon)
        self._listened = self.layers.layer
        for emitter in self._edit_events(self._listened):
            self.listen(emitter, self.measure_soon)
        self.measure_now()

    @staticmethod
    def _edit_events(layer: Labels | None) -> tuple[Any, ...]:
        """Painting (while the button is down and after), undo, new data, another scale."""
        if layer is None:
            return ()
        events = layer.events
        return (events.paint, events.labels_update, events.set_data, events.data, events.scale)

    def measure_soon(self, event: Any = None) -> None:
        """Measure after the present burst of events; a slow mask (huge volume) is measured less often."""
        if not self._timer.isActive():
            self._timer.start(int(max(QUIET_MS, 2 * self.last_ms)))

    def current_task(self) -> Task | None:
        """The task chosen, or found from the layer."""
        name = self.task.currentData()
        if name:
            return TASKS[name]
        return task_of_labels(self.layers.layer) if self.layers.layer is not None else None

    def measure_now(self, painting: bool = False) -> None:
        """Measure the chosen mask and show its numbers; while painting, its shape is judged less often than that."""
        self._timer.stop()
        layer, task = self.layers.layer, self.current_task()
        measured = None if layer is None or task is None else measured_grid(layer, task, self.viewer.dims.point)
        if layer is None or task is None or measured is None:
            self.empty.setText(self._why_empty(layer, task))
            self.empty.show()
            self.numbers.hide()
            self.eye.setEnabled(False)
            return
        self.empty.hide()
        self.numbers.heading.setText(layer.name)
        self.numbers.heading.show()
        self.numbers.show()
        self.eye.setEnabled("cup_disc" in task.measures)
        started = time.perf_counter()
        labels, spacing = measured
        # Only the part that holds labels counts, except where a measure speaks of the whole frame.
        box = labels if "area" in task.measures else painted_box(labels)
        values = measure(box, task, spacing)
        if "cup_disc" in task.measures:
            self._show_cup_disc(box, values, spacing)
        elif "volume" in task.measures:
            self._show_volume(layer, labels, values, spacing)
        elif "area" in task.measures:
            self._show_area(values)
        else:
            self._show_declared(values, task)
        self.rim.setVisible("cup_disc" in task.measures)
        self.numbers.show_field(self.cup, "cup_disc" in task.measures)
        self.cup.follow(layer)
        self.doubts.follow(layer, lambda: implausible(box, task, values, labels.size), at_once=not painting)
        self._note(layer, spacing)
        self.last_ms = (time.perf_counter() - started) * 1000

    def _why_empty(self, layer: Labels | None, task: Task | None) -> str:
        if layer is None:
            return "Segment an image, or paint a Labels layer: its numbers appear here as you paint."
        if task is None:
            return "What these labels mean is not known. Choose it under 'read as'."
        return f"'{layer.name}' has {layer.ndim} dimensions; {task.title} expects another kind of mask."

    def _show_cup_disc(self, labels: np.ndarray, values: dict[str, float], spacing: tuple[float, ...] | None) -> None:
        profile = rim_profile(labels, EYES[self.eye.currentText()], spacing)  # type: ignore[arg-type]
        self.rim.set_profile(profile)
        self.big.show_number("vertical CDR", with_unit(values[VCDR]))
        rows = {
            "horizontal CDR": with_unit(values[HCDR]),
            "cup / disc area": with_unit(values[AREA_RATIO]),
        }
        if DISC_AREA_MM2 in values:
            rows["disc area"] = with_unit(values[DISC_AREA_MM2], "mm²")
        else:
            rows["disc, cup area"] = f"{values[DISC_AREA_PX]:.0f}, {values[CUP_AREA_PX]:.0f} px²"
        if profile is not None:
            for name, width in profile.sectors.items():
                rows[f"rim, {name}"] = with_unit(width, profile.unit, 1 if profile.unit == "px" else 2)
            rows["thinnest rim"] = f"{profile.thinnest_hour} o'clock"
            if profile.isnt is not None:
                rows["ISNT rule"] = "kept" if profile.isnt else "broken"
        self.rows.set_rows(rows | further_rows(values))

    def _show_volume(
        self, layer: Labels, labels: np.ndarray, values: dict[str, float], spacing: tuple[float, ...] | None
    ) -> None:
        if spacing is None:
            self.big.show_number("gland", f"{values[GLAND_VOXELS]:.0f} voxels")
        else:
            self.big.show_number("gland volume", with_unit(values[VOLUME_ML], "mL", 1))
        index = self._slice_of(layer)
        plane = np.count_nonzero(labels[index]) if 0 <= index < len(labels) else 0
        here = f"{plane} px²" if spacing is None else with_unit(plane * spacing[1] * spacing[2] / 100, "cm²", 1)
        self.rows.set_rows(
            {
                "transverse diameter": with_unit(values[TRANSVERSE_MM], "mm", 0),
                "antero-posterior": with_unit(values[AP_MM], "mm", 0),
                "craniocaudal": with_unit(values[CC_MM], "mm", 0),
                "ellipsoid formula": with_unit(values[ELLIPSOID_ML], "mL", 1),
                f"slice {index}": here,
            }
            | further_rows(values)
        )

    def _show_area(self, values: dict[str, float]) -> None:
        self.big.show_number("area", f"{values[AREA_PX]:.0f} px²")
        rows = {"part of the frame": with_unit(100 * values[AREA_FRACTION], "%", 1)}
        rows["separate objects"] = f"{values[OBJECTS]:.0f}"
        if AREA_MM2 in values:
            rows["in mm²"] = with_unit(values[AREA_MM2], "mm²", 1)
        self.rows.set_rows(rows | further_rows(values))

    def _show_declared(self, values: dict[str, float], task: Task) -> None:
        """Every declared measure of a task whose numbers have no picture of their own."""
        shown = {m.name: with_unit(values[m.key], m.unit, m.digits) for m in DECLARED.values() if m.key in values}
        self.big.show_number(task.title, headline_words(values, task.measures, task.regions[0].name)[0])
        self.rows.set_rows(shown)

    def _slice_of(self, layer: Labels) -> int:
        """The index of the slice on show; 0 of a single picture."""
        if layer.ndim < 3:
            return 0
        return int(np.rint(layer.world_to_data(self.viewer.dims.point[-layer.ndim :])[-3]))

    def _note(self, layer: Labels, spacing: tuple[float, ...] | None) -> None:
        kept = layer.metadata.get(KEY, {}) if isinstance(layer.metadata, dict) else {}
        parts = [] if spacing else ["Pixel size unknown: numbers in px."]
        extra = kept.get("extra")
        ranges = extra.get("intervals") if isinstance(extra, dict) else None
        for key, unit in ((VCDR, ""), (VOLUME_ML, " mL")):
            if isinstance(ranges, dict) and key in ranges:
                low, high = ranges[key]
                parts.append(f"The model's 90 % range before any edit: {low:.2f} to {high:.2f}{unit}.")
        self.note.setText(" ".join(parts))
        self.note.setVisible(bool(parts))
