"""Domain shift: how far the current image, or a whole set, is from what a model was trained on, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtWidgets import QComboBox, QFileDialog

from napari_tinymig.engine.causes import TITLES
from napari_tinymig.engine.errors import TinyMIGError
from napari_tinymig.engine.image_sets import channel_quantiles, density, picture
from napari_tinymig.engine.records import Prediction
from napari_tinymig.layer_geometry import scan_file_of

from .charts import BarChart
from .choosers import LayerChooser
from .layers import KEY, geometry_of, grid_shape, kind_of, scan_of
from .model_chooser import ModelChooser
from .numbers import NumberRows, with_unit
from .set_comparison import Compared, SetSpec, compare_in_steps, judge_image
from .settings import setting
from .shift_charts import ChannelHistogram, SetPoint, SetScatter
from .style import Badge, EmptyState, Panel, button, primary_button, row, text_label
from .task_guess import TaskGuess, guess_task
from .work import Work

if TYPE_CHECKING:
    import napari.viewer

TONES: dict[str, Any] = {"known ground": "good", "some shift": "warn", "far away": "bad"}
TRAINING, LAYERS, FOLDER = "training images of the model", "images open here", "choose a folder..."


class ShiftPanel(Panel):
    """Badge, reasons and per-layer profile of one image, with two models if wanted; comparison of two sets."""

    purpose = "How far is this image from what the model was trained on, why, and can its mask be trusted?"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self._asked: Layer | None = None
        self.compared: Compared | None = None
        self.bars: list[BarChart] = []
        self._image_section()
        self._result_section()
        self._sets_section()
        self.guessing = Work(self, self._guessed, self.say_error)
        self.work = Work(self, self._answered, self.say_error, on_end=self._refresh_state)
        self.comparing = Work(self, self._show_comparison, self.say_error, self._progressed, on_end=self._refresh_state)
        self.images.changed.connect(self._image_changed)
        self.listen(napari_viewer.layers.events.inserted, self._refresh_state)
        self.listen(napari_viewer.layers.events.removed, self._refresh_state)
        self._image_changed()

    # --- parts -------------------------------------------------------------------------------------------------

    def _image_section(self) -> None:
        self.empty = self.column_add(EmptyState("Open a photograph or a scan to see how familiar it is to a model."))
        section = self.add_section("This image")
        self.images = LayerChooser(self, _can_be_measured, "no image that fits")
        section.field("layer", self.images)
        self.model = ModelChooser()
        section.field("model", self.model, "Whose training images the image is held against.")
        self.other = ModelChooser("no second model")
        section.field("before / after", self.other, "A second model, e.g. the fine-tuned one: shown beside the first.")
        self.go = section.add(primary_button("Measure the shift", self.measure))

    def column_add(self, part: Any) -> Any:
        """Append a widget to the panel, outside any card."""
        self.column.addWidget(part)
        return part

    def _result_section(self) -> None:
        self.results = [self._result_card() for _ in range(2)]
        self.map_button = button(
            "Add uncertainty map", self.add_map, tip="Five looks at the image; where they disagree."
        )
        self.results[0]["card"].add(self.map_button)

    def _result_card(self) -> dict[str, Any]:
        card = self.add_section("")
        made = {
            "card": card,
            "badge": card.add(Badge()),
            "reason": card.add(text_label("", "line", selectable=True)),
            "rows": card.add(with_tip(NumberRows())),
            "title": card.add(text_label("per part: percentile among source images", "hint")),
            "bars": card.add(BarChart(self.palette_colours, 100)),
            "notes": card.add(text_label("", "hint")),
        }
        self.bars.append(made["bars"])
        card.hide()
        return made

    def _sets_section(self) -> None:
        section = self.add_section("Compare two sets")
        self.sets = (SetChooser(self), SetChooser(self))
        section.field("set A", self.sets[0])
        section.field("set B", self.sets[1])
        self.sets[1].setCurrentIndex(self.sets[1].findText(LAYERS))
        self.compare_button = section.add(button("Compare", self.compare, tip="Runs the model on every image."))
        self.progress = section.add(text_label("", "hint"))
        self.verdict = section.add(text_label("", "line", selectable=True))
        self.scatter = section.add(SetScatter(self.palette_colours))
        self.scatter.opened.connect(self._open)
        self.histogram = section.add(ChannelHistogram(self.palette_colours))
        self.difference_title = section.add(text_label("what differs, in spreads of the training images", "hint"))
        self.differences = section.add(BarChart(self.palette_colours, 10))
        self.save_button = button("Save report...", self.save, "link", "report.html, tables, figures as PNG and SVG.")
        section.add(row(self.save_button))
        self.shown_after = (self.verdict, self.scatter, self.histogram, self.difference_title, self.differences)
        for part in (*self.shown_after, self.save_button, self.progress):
            part.hide()

    # --- choices -----------------------------------------------------------------------------------------------

    def _image_changed(self) -> None:
        layer = self.images.layer
        self.guessing.cancel()
        if layer is not None:
            kind = "photograph" if kind_of(layer) == "photograph" else "volume"
            self.model.offer(kind, "optic" if kind == "photograph" else "prostate")
            self.other.offer(kind)
            scan_file = scan_file_of(layer)
            self.guessing.start_call(guess_task, scan_of(layer), scan_file.metadata if scan_file else {})
        self._refresh_state()

    def _guessed(self, guess: TaskGuess) -> None:
        layer = self.images.layer
        if guess.task and layer is not None and not self.model.touched:
            self.model.offer("photograph" if kind_of(layer) == "photograph" else "volume", guess.task, forget=True)

    def _refresh_state(self, event: Any = None) -> None:
        layer = self.images.layer
        self.empty.setVisible(layer is None)
        why = "" if layer is not None else "Open an image first."
        if layer is not None and not self.model.model_name:
            why = "No model that reads this kind of image is installed; add one with: tinymig models add FILE."
        busy = hasattr(self, "work") and self.work.running
        self.go.setEnabled(not why and not busy)
        self.go.setToolTip(why or "One prediction; the window stays free.")
        comparing = hasattr(self, "comparing") and self.comparing.running
        self.compare_button.setText("Stop" if comparing else "Compare")

    # --- one image ---------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Predict the chosen image with one or two models and show how familiar it is to them."""
        self.say("")
        layer = self.images.layer
        if layer is None or not self.model.model_name:
            self.say(self.go.toolTip(), "warn")
            return
        self._asked = layer
        models = [m for m in (self.model.model_name, self.other.model_name) if m]
        self.work.start_call(judge_image, scan_of(layer), models, str(setting("general", "device")), False)
        self._refresh_state()

    def add_map(self) -> None:
        """Add a layer that shows where five looks at the image disagree."""
        layer = self.images.layer
        if layer is None or not self.model.model_name:
            return
        self._asked = layer
        self.work.start_call(
            judge_image, scan_of(layer), [self.model.model_name], str(setting("general", "device")), True
        )
        self._refresh_state()

    def _answered(self, answers: list[tuple[str, Prediction]]) -> None:
        for made, answer in zip(self.results, [*answers, None]):
            made["card"].setVisible(answer is not None)
            if answer is not None:
                self._show(made, *answer)
        layer, prediction = self._asked, answers[0][1]
        if prediction.uncertainty_map is not None and layer is not None and layer in self.viewer.layers:
            self.viewer.add_layer(uncertainty_layer(layer, prediction))

    def _show(self, made: dict[str, Any], name: str, prediction: Prediction) -> None:
        extra = prediction.extra
        made["card"].heading.setText(name)
        made["card"].heading.show()
        if prediction.shift_score is None:
            made["badge"].say("cannot say", "this model carries no source statistics")
            made["reason"].setText(
                " ".join(prediction.notes) or "This model carries no statistics of its training images."
            )
            for key in ("rows", "title", "bars", "notes"):
                made[key].hide()
            return
        level = str(extra.get("shift_level", ""))
        made["badge"].say(
            level, f"percentile {prediction.shift_score:.0f} among source images", TONES.get(level, "plain")
        )
        made["reason"].setText(prediction.shift_reason)
        rows = {"shift score": f"{prediction.shift_score:.0f} of 100"}
        for region, (middle, low, high) in extra.get("expected_dice", {}).items():
            rows[f"expected Dice, {region}"] = f"{middle:.2f} ({low:.2f}-{high:.2f})"
        if "vcdr" in extra.get("intervals", {}):
            low, high = extra["intervals"]["vcdr"]
            rows["vertical CDR"] = f"{with_unit(prediction.measures['vcdr'])} ({low:.2f}-{high:.2f})"
        if "volume_ml" in extra.get("intervals", {}):
            low, high = extra["intervals"]["volume_ml"]
            rows["volume"] = f"{prediction.measures['volume_ml']:.0f} ({low:.0f}-{high:.0f}) mL"
        slices = extra.get("shift_slices", [])
        if len(slices) > 1:
            rows["furthest slice"] = f"{int(np.argmax(slices))}"
        made["rows"].set_rows(rows)
        made["bars"].set_bars(extra.get("shift_profile", {}), mark=97.5)
        made["notes"].setText(" ".join(extra.get("shift_notes", [])))
        for key in ("rows", "title", "bars"):
            made[key].show()
        made["notes"].setVisible(bool(made["notes"].text()))

    # --- two sets ----------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Run the model over both sets, or stop a comparison that runs."""
        if self.comparing.running:
            self.comparing.cancel()
            self.progress.hide()
            return
        self.say("")
        try:
            specs = [chooser.spec(self) for chooser in self.sets]
            if not self.model.model_name:
                self.model.offer(self._kind_of_sets(specs), "optic")
            if all(s.kind == "training" for s in specs):
                raise ValueError("both sets are the training images of one model; choose a folder or open images.")
        except ValueError as e:
            self.say_error(e)
            return
        self.progress.setText("Looking...")
        self.progress.show()
        self.comparing.start(compare_in_steps, specs[0], specs[1], self.model.model_name)
        self._refresh_state()

    def _kind_of_sets(self, specs: list[SetSpec]) -> str:
        return (
            "volume"
            if any(s.kind == "layers" and s.scans and s.scans[0].kind == "volume" for s in specs)
            else "photograph"
        )

    def _progressed(self, value: tuple[int, int, str]) -> None:
        done, total, name = value
        self.progress.setText(f"{done} of {total}: {name}")

    def _show_comparison(self, compared: Compared) -> None:
        from napari_tinymig.cli.shift_page import verdict

        self.compared = compared
        c = compared.comparison
        self.progress.hide()
        self.verdict.setText(" ".join([verdict(c), *c.notes]))
        points = []
        for group, (one, xy) in enumerate(zip((c.a, c.b), picture(compared.statistics, (c.a, c.b)))):
            for i, (x, y) in enumerate(xy):
                image = one.usable[i] if one.reference is None else None
                said = f"{image.name}\n{image.result.level}" if image and image.result else f"{one.name}"
                thumbnail = image.thumbnail if image else None
                points.append(SetPoint(float(x), float(y), group, said, thumbnail, image.path if image else None))
        self.scatter.set_points(points, tuple(f"{s.name} (n = {s.n})" for s in (c.a, c.b)))  # type: ignore[arg-type]
        shares = [channel_quantiles(s) for s in (c.a, c.b)]
        if shares[0] is not None and shares[1] is not None:
            self.histogram.set_shares([density(q) for q in shares[0]], [density(q) for q in shares[1]])
        largest = sorted([*c.differences, *c.anatomy], key=lambda d: -d.distance)[:7]
        self.differences.maximum = max([3.0, *(d.distance for d in largest)])
        self.differences.set_bars(
            {
                f"{TITLES.get(d.name, d.name.replace('_', ' '))} {'+' if d.direction > 0 else '-'}": d.distance
                for d in largest
            }
        )
        for part in (*self.shown_after, self.save_button):
            part.show()

    def _open(self, path: Path) -> None:
        """Open the image of a point, or select its layer if it is open already."""
        for layer in self.viewer.layers:
            if layer.name == str(path) or str(layer.source.path or "") == str(path):
                self.viewer.layers.selection.active = layer
                return
        try:
            self.viewer.open(
                str(path), plugin="napari-tinymig" if path.suffix in (".nii", ".gz", ".nrrd", ".mha") else None
            )
        except (OSError, ValueError, TinyMIGError) as e:
            self.say_error(f"{path} cannot be opened ({e}); open it from the File menu.")

    def save(self, folder: Path | None = None) -> None:
        """Write the report of the last comparison into a folder that the user chooses."""
        from napari_tinymig.cli.shift import write_tables
        from napari_tinymig.cli.shift_page import write_page

        if self.compared is None:
            return
        if folder is None:
            chosen = QFileDialog.getExistingDirectory(self, "Folder for the report")
            if not chosen:
                return
            folder = Path(chosen)
        if (folder / "report.html").exists():
            self.say(f"{folder} holds a report already; choose an empty folder.", "warn")
            return
        pages = [(self.compared.model_id, self.compared.statistics, self.compared.comparison)]
        theme = "dark" if self.palette_colours.dark else "light"
        said: list[str] = []
        try:
            write_tables(folder, pages)
            write_page(folder, pages, theme, "the Domain shift panel", said.append)
        except OSError as e:
            self.say_error(f"cannot write into {folder} ({e.strerror}); choose a folder that can be written.")
            return
        self.say(" ".join([f"Saved {folder / 'report.html'}.", *said]), "good")

    # --- life --------------------------------------------------------------------------------------------------

    def theme_changed(self) -> None:
        """Charts follow the theme."""
        charts = [
            *getattr(self, "bars", []),
            *(getattr(self, n, None) for n in ("scatter", "histogram", "differences")),
        ]
        for chart in charts:
            if chart is not None:
                chart.set_colours(self.palette_colours)

    def released(self) -> None:
        for work in (self.guessing, self.work, self.comparing):
            work.cancel()


class SetChooser(QComboBox):
    """Where a set comes from: the model's training images, the open images, or a folder."""

    def __init__(self, panel: ShiftPanel):
        super().__init__()
        self._panel = panel
        self.addItems([TRAINING, LAYERS, FOLDER])
        self.activated.connect(self._activated)

    def _activated(self, index: int) -> None:
        if self.itemText(index) == FOLDER:
            chosen = QFileDialog.getExistingDirectory(self._panel, "Folder of images")
            if chosen:
                self.set_folder(Path(chosen))
            else:
                self.setCurrentIndex(0)

    def set_folder(self, folder: Path) -> None:
        """Choose a folder; it stays in the list."""
        if self.findData(str(folder)) < 0:
            self.addItem(folder.name, str(folder))
        self.setCurrentIndex(self.findData(str(folder)))
        self.setToolTip(str(folder))

    def spec(self, panel: ShiftPanel) -> SetSpec:
        """What was chosen. Raises ValueError where nothing usable is."""
        if self.currentData():
            return SetSpec("folder", Path(self.currentData()).name, folder=Path(self.currentData()))
        if self.currentText() == TRAINING:
            return SetSpec("training", TRAINING)
        layers = [layer for layer in panel.viewer.layers if _can_be_measured(layer)]
        kind = kind_of(panel.images.layer) if panel.images.layer is not None else None
        scans = tuple(scan_of(layer) for layer in layers if kind_of(layer) == kind)
        if not scans:
            raise ValueError("no image is open here; open images, or choose a folder.")
        return SetSpec("layers", LAYERS, scans=scans)


def with_tip(rows: NumberRows) -> NumberRows:
    """The rows with a word on what their brackets mean."""
    rows.setToolTip("In brackets: 80 % range of the expected Dice, 90 % interval of the measures.")
    return rows


def _can_be_measured(layer: Layer) -> bool:
    return kind_of(layer) is not None and KEY + "-map" not in layer.metadata and KEY + "-what-if" not in layer.metadata


def uncertainty_layer(image: Layer, prediction: Prediction) -> Image:
    """Where further looks at an image disagree: 0 (never) to 1, in the image's place."""
    data = np.asarray(prediction.uncertainty_map, np.float32).reshape(grid_shape(image))
    return Image(
        data,
        name=f"{image.name} uncertainty",
        contrast_limits=(0, 0.6),
        colormap="inferno",
        blending="additive",
        opacity=0.7,
        metadata={KEY + "-map": True},
        **geometry_of(image),
    )
