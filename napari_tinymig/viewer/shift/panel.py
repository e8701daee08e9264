"""Domain shift: how far the current image, or a whole set, is from what a model was trained on, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtWidgets import QFileDialog

from ...base.errors import TinyMIGError
from ...base.records import Prediction
from ...formats.declared import volume_suffixes
from ...formats.kinds import suffix_of
from ...sets.compare import channel_quantiles, density, picture
from ...shift.causes import TITLES
from ...tasks.table import DEFAULT_TASK
from ..cases.showing import show_layer_alone
from ..napari_io.layer_geometry import scan_file_of
from ..napari_io.layers import geometry_of, grid_shape, scan_of
from ..parts.background import Work
from ..parts.charts import BarChart
from ..parts.image_and_models import MAP, ImageAndModels, is_an_image
from ..parts.panel import Panel
from ..parts.settings import setting
from ..parts.shift_card import ShiftCard
from ..parts.style import button, primary_button, row, text_label
from ..parts.task_guess import TaskGuess, guess_task
from .set_chooser import LAYERS, SetChooser
from .set_comparison import Compared, SetSpec, compare_in_steps, judge_image
from .shift_charts import ChannelHistogram, SetPoint, SetScatter

if TYPE_CHECKING:
    import napari.viewer


class ShiftPanel(Panel):
    """Badge, reasons and per-layer profile of one image, with two models if wanted; comparison of two sets."""

    purpose = "How far is this image from what the model was trained on, why, and can its mask be trusted?"
    tab = "Shift"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self._asked: Layer | None = None
        self.compared: Compared | None = None
        self._compared_layers: list[Layer] = []
        self.listen(napari_viewer.layers.events.removed, self._forget_stale_sets)
        self.guessing = Work(self, self._guessed, self.say_error)
        self.work = Work(self, self._answered, self.say_error, on_end=self._refresh_state)
        self.comparing = Work(self, self._show_comparison, self.say_error, self._progressed, on_end=self._refresh_state)
        self._image_section()
        self._result_section()
        self._sets_section()
        self.image.follow(self._image_changed, self._refresh_state)

    # --- parts -------------------------------------------------------------------------------------------------

    def _image_section(self) -> None:
        empty = "Open a photograph or a scan to see how familiar it is to a model."
        section = self.image = ImageAndModels(self, "This image", empty)
        self.images, self.model, self.other = section.images, section.model, section.other
        section.add_models(
            "Whose training images the image is held against.",
            "second",
            "A second model, e.g. the fine-tuned one: shown beside the first.",
        )
        self.go = section.add(primary_button("Measure the shift", self.measure))

    def _result_section(self) -> None:
        self.results = [ShiftCard(self.palette_colours) for _ in range(2)]
        for card in self.results:
            self.column.addWidget(card)
        self.map_button = button(
            "Add uncertainty map", self.add_map, tip="Five looks at the image; where they disagree."
        )
        self.results[0].add(self.map_button)

    def _sets_section(self) -> None:
        section = self.add_section("Compare two sets")
        self.sets = (SetChooser(self, self.images), SetChooser(self, self.images))
        section.field("set A", self.sets[0])
        section.field("set B", self.sets[1])
        self.sets[1].setCurrentIndex(self.sets[1].findText(LAYERS))
        self.compare_button = section.add(button("Compare", self.compare, tip="Runs the model on every image."))
        self.progress = section.add(text_label("", "hint"))
        self.sentence = section.add(text_label("", "line", selectable=True))
        self.scatter = section.add(SetScatter(self.palette_colours))
        self.scatter.opened.connect(self._open)
        self.histogram = section.add(ChannelHistogram(self.palette_colours))
        self.difference_title = section.add(text_label("what differs, in spreads of the training images", "hint"))
        self.differences = section.add(BarChart(self.palette_colours, 10))
        self.save_button = button("Save report...", self.save, "link", "report.html, tables, figures as PNG and SVG.")
        section.add(row(self.save_button))
        self.shown_after = (self.sentence, self.scatter, self.histogram, self.difference_title, self.differences)
        for part in (*self.shown_after, self.save_button, self.progress):
            part.hide()

    # --- choices -----------------------------------------------------------------------------------------------

    def _image_changed(self) -> None:
        layer = self.images.layer
        self._forget_stale_result()
        self.guessing.cancel()
        if layer is not None:
            scan_file = scan_file_of(layer)
            self.guessing.start_call(guess_task, scan_of(layer), scan_file.metadata if scan_file else {})
        self._refresh_state()

    def _guessed(self, guess: TaskGuess) -> None:
        if guess.task and self.image.layer is not None and not self.model.touched:
            self.model.offer(self.image.input, guess.task, forget=True)

    def _forget_stale_result(self) -> None:
        """Numbers live as long as their image is chosen; then the cards go."""
        if self._asked is not None and self._asked != self.images.layer:
            self._hide_cards()

    def _hide_cards(self) -> None:
        for card in self.results:
            card.hide()

    def _refresh_state(self, event: Any = None) -> None:
        self.image.enable(self.go, "One prediction; the window stays free.", self.work.running)
        self.compare_button.setText("Stop" if self.comparing.running else "Compare")

    def _forget_stale_sets(self, event: Any = None) -> None:
        """A comparison of open images lives as long as they are open."""
        if all(layer in self.viewer.layers for layer in self._compared_layers):
            return
        self._compared_layers = []
        self.comparing.cancel()
        self.compared = None
        for part in (*self.shown_after, self.save_button, self.progress):
            part.hide()
        self.say("An image of the compared sets was closed; compare again.", "warn")

    # --- one image ---------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Predict the chosen image with one or two models and show how familiar it is to them."""
        self.say("")
        layer = self.images.layer
        if layer is None or self.image.missing():
            self.say(self.image.missing(), "warn")
            return
        self._asked = layer
        self._hide_cards()
        self.work.start_call(
            judge_image, scan_of(layer), self.image.model_names, str(setting("general", "device")), False
        )
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
        layer, prediction = self._asked, answers[0][1]
        if layer is None or layer not in self.viewer.layers:
            self.say("The image was closed while it was measured; nothing is shown.", "warn")
            return
        if layer != self.images.layer:
            self.say("Another image was chosen meanwhile; measure it to see its numbers.", "warn")
            return
        for card, answer in zip(self.results, [*answers, None]):
            if answer is None:
                card.hide()
            else:
                card.show_prediction(f"{layer.name}, seen by {answer[0]}", answer[1])
        if prediction.uncertainty_map is not None and layer is not None and layer in self.viewer.layers:
            self.viewer.add_layer(uncertainty_layer(layer, prediction))

    # --- two sets ----------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Run the model over both sets, or stop a comparison that runs."""
        if self.comparing.running:
            self.comparing.cancel()
            self.progress.hide()
            return
        self.say("")
        try:
            specs = [chooser.spec() for chooser in self.sets]
            if not self.model.model_name:
                self.model.offer(self._kind_of_sets(specs), DEFAULT_TASK)
            if all(s.kind == "training" for s in specs):
                raise ValueError("both sets are the training images of one model; choose a folder or open images.")
        except ValueError as e:
            self.say_error(e)
            return
        open_here = [layer for layer in self.viewer.layers if is_an_image(layer)]
        self._compared_layers = open_here if any(s.kind == "layers" for s in specs) else []
        self.progress.setText("Looking...")
        self.progress.show()
        self.comparing.start(compare_in_steps, specs[0], specs[1], self.model.model_name)
        self._refresh_state()

    def _kind_of_sets(self, specs: list[SetSpec]) -> str:
        volumes = any(s.kind == "layers" and s.scans and s.scans[0].kind == "volume" for s in specs)
        return "volume" if volumes else "photograph"

    def _progressed(self, value: tuple[int, int, str]) -> None:
        done, total, name = value
        self.progress.setText(f"{done} of {total}: {name}")

    def _show_comparison(self, compared: Compared) -> None:
        from ...reports.shift_page import comparison_sentence

        self.compared = compared
        c = compared.comparison
        self.progress.hide()
        self.sentence.setText(" ".join([comparison_sentence(c), *c.notes]))
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
        """Show the image of a point alone and in full; it is opened first where it is not open yet."""
        for layer in self.viewer.layers:
            if layer.name == str(path) or str(layer.source.path or "") == str(path):
                self._show_alone(layer)
                return
        try:
            opened = self.viewer.open(
                str(path), plugin="napari-tinymig" if suffix_of(path) in volume_suffixes() else None
            )
        except (OSError, ValueError, TinyMIGError) as e:
            self.say_error(f"{path} cannot be opened ({e}); open it from the File menu.")
            return
        self._show_alone(opened[0])

    def _show_alone(self, layer: Layer) -> None:
        show_layer_alone(self.viewer, layer)
        self.say(f"'{layer.name}' is shown alone; the other layers are hidden, not closed.")

    def save(self, folder: Path | None = None) -> None:
        """Write the report of the last comparison into a folder that the user chooses."""
        from ...reports.shift_page import write_page
        from ...reports.shift_tables import write_tables

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
        for chart in (*(card.bars for card in self.results), self.scatter, self.histogram, self.differences):
            chart.set_colours(self.palette_colours)

    def released(self) -> None:
        for work in (self.guessing, self.work, self.comparing):
            work.cancel()


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
        metadata={MAP: True},
        **geometry_of(image),
    )
