"""What if this came from another scanner: spoil the image with sliders and watch what the model makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QSlider

from ...base.errors import MissingExtra
from ...measures.declared import VCDR
from ...reports.numbers import with_unit
from ...sets.what_if import Tried
from ...shift.corruptions import CORRUPTIONS, TITLES, TWO_SIDED
from ..napari_io.layers import grid_shape, kind_of, scan_of
from ..parts.background import Work
from ..parts.charts import LineChart
from ..parts.choosers import LayerChooser
from ..parts.image_and_models import WHAT_IF, ImageAndModels
from ..parts.numbers import NumberRows
from ..parts.panel import Panel
from ..parts.shift_card import TONES
from ..parts.style import Badge, button, primary_button, row, text_label
from .what_if_layers import show_tries
from .what_if_runs import Curves, Opened, curves_in_steps, open_what_ifs, try_all

if TYPE_CHECKING:
    import napari.viewer

STEPS = 20


class WhatIfPanel(Panel):
    """Live corruptions of the current image with re-prediction, Dice, and robustness curves of one or two models."""

    purpose = "Spoil the image as another camera or scanner would, and watch the mask. The image itself is not changed."
    tab = "What-if"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.opened: Opened | None = None
        self.curves: Curves = {}
        self._wanted: dict[str, float] = {}
        self.applied: dict[str, float] | None = None
        self.opening = Work(self, self._is_open, self.say_error, on_end=self._refresh_state)
        self.trying = Work(self, self._show_try, self.say_error)
        self.measuring = Work(self, self._show_curves, self.say_error, self._progressed, on_end=self._refresh_state)
        self._image_section()
        self._slider_section()
        self._result_section()
        self._curve_section()
        self.listen(napari_viewer.layers.events.removed, self._layer_removed)
        self.image.follow(self._refresh_state, self._refresh_state)

    # --- parts -------------------------------------------------------------------------------------------------

    def _image_section(self) -> None:
        section = self.image = ImageAndModels(self, "Image", "Open a photograph or a scan first.")
        self.images, self.model, self.other = section.images, section.model, section.other
        self.masks = LayerChooser(self, _is_truth, "its own answer")
        self.use_mask = QComboBox()
        self.use_mask.addItems(["its own answer", "my mask"])
        section.field("Dice against", self.use_mask, "What the spoiled image's mask is held against.")
        section.field("mask", self.masks, "A labels layer on the image's own grid.")
        section.add_models("", "second", "Both answer, side by side.")
        self.go = section.add(primary_button("Start", self.start))

    def _slider_section(self) -> None:
        self.slider_card = self.add_section("Spoil the image")
        self.sliders: dict[str, QSlider] = {}
        self.values: dict[str, QLabel] = {}
        for name in CORRUPTIONS:
            slider = QSlider(Qt.Orientation.Horizontal)
            slider.setRange(-STEPS if name in TWO_SIDED else 0, STEPS)
            slider.setToolTip(" ".join(str(CORRUPTIONS[name].__doc__).split()))
            value = text_label("0 %", "hint")
            value.setWordWrap(False)
            value.setMinimumWidth(44)
            value.setToolTip("Of the worst that is still met in practice.")
            slider.valueChanged.connect(self._slid)
            self.sliders[name], self.values[name] = slider, value
            self.slider_card.field(TITLES[name], _side_by_side(slider, value))
        self.slider_card.add(row(button("Reset all", self.reset, "link"), button("End", self.end, "link")))
        self.slider_card.hide()

    def _result_section(self) -> None:
        self.result_card = self.add_section("What the model makes of it")
        self.badge = self.result_card.add(Badge())
        self.reason = self.result_card.add(text_label("", "line", selectable=True))
        self.rows = self.result_card.add(NumberRows())
        self.result_card.hide()

    def _curve_section(self) -> None:
        self.curve_card = self.add_section("Robustness curves")
        self.measure_button = self.curve_card.add(button("Measure the curves", self.measure_curves))
        self.progress = self.curve_card.add(text_label("", "hint"))
        self.shown = QComboBox()
        self.shown.currentIndexChanged.connect(self._draw_curve)
        self.curve_card.field("show", self.shown)
        self.chart = self.curve_card.add(LineChart(self.palette_colours, (0.0, 1.0), 130))
        self.save_button = self.curve_card.add(
            button("Save image...", self.save, "link", "All curves, as PNG and SVG.")
        )
        self.curve_card.hide()
        self._show_curve_parts(False)

    def _show_curve_parts(self, visible: bool) -> None:
        self.curve_card.show_field(self.shown, visible)
        for part in (self.chart, self.save_button):
            part.setVisible(visible)

    # --- choices -----------------------------------------------------------------------------------------------

    def _refresh_state(self, event: Any = None) -> None:
        self.image.enable(self.go, "Adds layers of its own; your image stays as it is.", self.opening.running)
        self.measure_button.setText("Stop" if self.measuring.running else "Measure the curves")

    def _layer_removed(self, event: Any = None) -> None:
        if self.opened is not None and self.opened.layer not in self.viewer.layers:
            self.end()
        self._refresh_state()

    # --- the what-if ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the what-if for the chosen image and models."""
        self.say("")
        layer = self.images.layer
        if layer is None or self.image.missing():
            self.say(self.image.missing(), "warn")
            return
        self.end()
        truth = None
        if self.use_mask.currentIndex() == 1:
            mask = self.masks.layer
            if mask is None or tuple(mask.data.shape) != grid_shape(layer):
                self.say(
                    "'my mask' needs a labels layer on the image's own grid; paint one, or choose the own answer.",
                    "warn",
                )
                return
            truth = np.asarray(mask.data, np.uint8)
        index = None
        if kind_of(layer) == "volume":
            index = round(float(layer.world_to_data(self.viewer.dims.point)[0]))
        models = list(dict.fromkeys(self.image.model_names))
        self.opening.start_call(open_what_ifs, layer, scan_of(layer), models, index, truth)
        self._refresh_state()

    def _is_open(self, opened: Opened) -> None:
        self.opened = opened
        self.applied, self._wanted, self.curves = None, {}, {}
        for slider in self.sliders.values():
            slider.blockSignals(True)
            slider.setValue(0)
            slider.blockSignals(False)
        for card in (self.slider_card, self.result_card, self.curve_card):
            card.show()
        self._show_curve_parts(False)
        self._try()

    def _slid(self, _value: int) -> None:
        for name, slider in self.sliders.items():
            self.values[name].setText(f"{100 * slider.value() / STEPS:.0f} %")
        self._try()

    def strengths(self) -> dict[str, float]:
        """Corruption -> strength of every slider that is not at zero."""
        return {name: s.value() / STEPS for name, s in self.sliders.items() if s.value()}

    def _try(self) -> None:
        """Ask for the sliders' image; while one is being made only the latest wish is kept."""
        self._wanted = self.strengths()
        if self.opened is not None and not self.trying.running:
            self.trying.start_call(try_all, self.opened, self._wanted)

    def _show_try(self, answer: tuple[dict[str, float], dict[str, Tried]]) -> None:
        strengths, tries = answer
        if self.opened is None:
            return
        self.applied = strengths
        show_tries(self.viewer, self.opened.layer, self.opened.what_ifs, tries)
        first = next(iter(tries.values()))
        prediction = first.prediction
        level = prediction.findings.shift.level if prediction.findings.shift else ""
        self.badge.setVisible(bool(level))
        self.badge.say(level, prediction.shift_reason, TONES.get(level, "plain"))
        self.reason.setText(prediction.shift_reason)
        self.reason.setVisible(bool(prediction.shift_reason))
        rows = {}
        for name, tried in tries.items():
            what_if = self.opened.what_ifs[name]
            suffix = f", {name}" if len(tries) > 1 else ""
            for region, value in what_if.dice(tried.labels, self.opened.references[name]).items():
                rows[f"Dice, {region}{suffix}"] = with_unit(value)
            if VCDR in tried.prediction.measures:
                rows[f"vertical CDR{suffix}"] = with_unit(tried.prediction.measures[VCDR])
        rows["held against"] = self.opened.against
        rows["time"] = f"{1000 * sum(t.seconds for t in tries.values()):.0f} ms"
        self.rows.set_rows(rows)
        if self._wanted != strengths:
            self._try()

    def reset(self) -> None:
        """All sliders back to zero."""
        for slider in self.sliders.values():
            slider.setValue(0)

    def end(self) -> None:
        """Close the what-if and take its layers away."""
        for work in (self.opening, self.trying, self.measuring):
            work.cancel()
        self.opened = None
        for layer in [layer for layer in self.viewer.layers if WHAT_IF in layer.metadata]:
            self.viewer.layers.remove(layer)
        for card in (self.slider_card, self.result_card, self.curve_card):
            card.hide()
        self._refresh_state()

    # --- curves ------------------------------------------------------------------------------------------------

    def measure_curves(self) -> None:
        """Dice over strength for every corruption and model, in the background; or stop."""
        if self.measuring.running:
            self.measuring.cancel()
            self.progress.setText("Stopped.")
            return
        if self.opened is None:
            return
        self.measuring.start(curves_in_steps, self.opened)
        self._refresh_state()

    def _progressed(self, value: tuple[int, int, str]) -> None:
        self.progress.setText(f"{value[0]} of {value[1]}: {value[2]}")

    def _show_curves(self, curves: Curves) -> None:
        self.curves = curves
        weakest = min(curves, key=lambda name: min(min(y) for _, y in curves[name].values()))
        self.progress.setText(f"Most sensitive to: {TITLES[weakest].lower()}.")
        self._show_curve_parts(True)
        self.shown.blockSignals(True)
        self.shown.clear()
        for name in curves:
            self.shown.addItem(TITLES[name], name)
        self.shown.setCurrentIndex(self.shown.findData(weakest))
        self.shown.blockSignals(False)
        self._draw_curve()

    def _draw_curve(self, _index: int = 0) -> None:
        lines = self.curves.get(str(self.shown.currentData()), {})
        self.chart.set_series(lines, markers=(0.0,))

    def save(self, path: Path | None = None) -> None:
        """All curves as PNG, and as SVG beside it."""
        from ...reports.shift_plots import robustness_figure, save_figure

        if not self.curves or self.opened is None:
            return
        if path is None:
            chosen, _ = QFileDialog.getSaveFileName(self, "Save the curves", "robustness.png", "Image (*.png *.svg)")
            if not chosen:
                return
            path = Path(chosen)
        theme = "dark" if self.palette_colours.dark else "light"
        curves = {TITLES[name]: lines for name, lines in self.curves.items()}
        title = f"{self.opened.layer.name}: Dice against {self.opened.against}, by strength"
        try:
            figure = robustness_figure(curves, title, theme)  # type: ignore[arg-type]
            save_figure(figure, path.with_suffix(".png"), path.with_suffix(".svg"))
        except (MissingExtra, OSError) as e:
            self.say_error(e)
            return
        self.say(f"Saved {path.with_suffix('.png')} and .svg.", "good")

    # --- life --------------------------------------------------------------------------------------------------

    def theme_changed(self) -> None:
        self.chart.set_colours(self.palette_colours)

    def released(self) -> None:
        for work in (self.opening, self.trying, self.measuring):
            work.cancel()


def _is_truth(layer: Layer) -> bool:
    return isinstance(layer, Labels) and WHAT_IF not in layer.metadata


def _side_by_side(slider: QSlider, value: QLabel) -> Any:
    from qtpy.QtWidgets import QWidget

    both = QWidget()
    both.setLayout(row(slider, value))
    return both
