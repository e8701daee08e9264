"""Classify: teach a frozen backbone your classes in minutes, then see what it says of an image, and why."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QCompleter, QFileDialog, QLineEdit, QProgressBar, QSpinBox

from napari_tinymig import jobs
from napari_tinymig.engine.classifier_file import read_classifier_card
from napari_tinymig.engine.errors import TinyMIGError
from napari_tinymig.engine.probe_config import STRATEGIES
from napari_tinymig.engine.records import Message
from napari_tinymig.jobs import classifying
from napari_tinymig.layer_geometry import KEY

from .charts import LineChart
from .choosers import LayerChooser
from .classify_examples import Examples
from .layers import geometry_of, grid_shape, kind_of, scan_of
from .numbers import NumberRows
from .run_watch import RunWatch
from .settings import setting
from .style import Badge, EmptyState, Panel, button, primary_button, row, text_label
from .work import Work

if TYPE_CHECKING:
    import napari.viewer

METHODS = {
    "prompt and probe (MoVL)": {"method": "movl", "strategy": STRATEGIES[0]},
    "probe, then prompt": {"method": "movl", "strategy": STRATEGIES[1]},
    "probe, then both": {"method": "movl", "strategy": STRATEGIES[2]},
    "linear probe (seconds)": {"method": "lp", "prompt.kind": "none"},
}
BACKBONES = (
    "resnet18",
    "resnet50",
    "mobilenetv2_100",
    "convnext_tiny",
    "vit_base_patch16_clip_224.openai",
    "resnet50_clip.openai",
    "vit_small_patch14_dinov2",
    "tinymig:optic-sdg",
    "tinymig:polyp",
    "tinymig:prostate",
)
LOOKS = {"covering parts (occlusion)": "occlusion", "gradient": "gradient"}
FAR = 95.0  # percentile of the source validation images beyond which an image is called unlike the examples


class ClassifyPanel(Panel):
    """Examples, a run in a process of its own with its curve, and a classifier for the image on show."""

    purpose = "Teaches a frozen backbone your classes, and shows what it sees. Research use only."

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.seen: classifying.Look | None = None
        self._seen_layer: Image | None = None
        self._curve: dict[str, tuple[list[float], list[float]]] = {}
        self._examples_section()
        self._run_section()
        self._use_section()
        self._answer_section()
        self.watch = RunWatch(self, self._messages, self._ended)
        self.work = Work(self, self._answered, self._failed, on_end=self._refresh)
        self.examples.changed.connect(self._refresh)
        self.layers.changed.connect(self._refresh)
        self._refresh()

    # --- parts -------------------------------------------------------------------------------------------------

    def _examples_section(self) -> None:
        section = self.add_section("Examples")
        self.examples = section.add(Examples(self))
        self.case_pattern = QLineEdit()
        self.case_pattern.setPlaceholderText(r"optional, e.g. ^(person\d+)")
        tip = "Regular expression whose first group is the person in a file name: nobody is in two parts of the split."
        section.field("person", self.case_pattern, tip)

    def _run_section(self) -> None:
        section = self.add_section("Backbone")
        self.backbone = QLineEdit("resnet50")
        known = QCompleter(list(BACKBONES), self.backbone)
        known.setFilterMode(Qt.MatchFlag.MatchContains)
        self.backbone.setCompleter(known)
        section.field("model", self.backbone, "Any timm model, or tinymig:NAME for the encoder of one of our models.")
        self.weights = QLineEdit()
        self.weights.setPlaceholderText("from timm's hub")
        section.field("weights", self.weights, "A local .safetensors or .pth; empty = downloaded by timm.")
        section.add(button("Choose a weights file...", self._browse_weights, "link"))
        self.method = QComboBox()
        self.method.addItems(list(METHODS))
        section.field("method", self.method)
        self.epochs = QSpinBox()
        self.epochs.setRange(1, 100)
        self.epochs.setValue(5)
        section.field("epochs", self.epochs, "Passes over the examples; the best on held-out examples is kept.")
        self.go = section.add(primary_button("Train a classifier", self.start))
        self.bar = section.add(QProgressBar())
        self.state = section.add(text_label("", "hint"))
        self.stop_button = button("Stop and keep best", self.stop, tip="Ends within two seconds; what is best is kept.")
        self.discard_button = button("Cancel and discard", self.discard, "danger", "Ends at once; nothing is kept.")
        section.add(row(self.stop_button, self.discard_button, stretch=None))
        self.chart = section.add(LineChart(self.palette_colours))
        self.scores = section.add(NumberRows())
        for part in (self.bar, self.stop_button, self.discard_button, self.chart, self.scores):
            part.hide()

    def _use_section(self) -> None:
        section = self.add_section("Classify an image")
        self.classifier = QLineEdit()
        self.classifier.setPlaceholderText("classifier.safetensors")
        self.classifier.editingFinished.connect(self._refresh)
        section.field("classifier", self.classifier, "Made above, by `tinymig probe`, or on another machine.")
        section.add(button("Open a classifier...", self._browse_classifier, "link"))
        self.layers = LayerChooser(self, lambda layer: kind_of(layer) is not None, "no image")
        section.field("image", self.layers)
        self.ask = section.add(button("Classify", self.classify))
        self.empty = section.add(EmptyState("Train a classifier, or open one; then choose an image."))

    def _answer_section(self) -> None:
        self.answer_card = self.add_section("Answer")
        self.badge = self.answer_card.add(Badge())
        self.rows = self.answer_card.add(NumberRows())
        self.line = self.answer_card.add(text_label("", "hint", selectable=True))
        self.prompt_button = button("Show the prompt", self.show_prompt, tip="The learned prompt, on the image.")
        self.prompted_button = button("Show what it sees", self.show_prompted, tip="The image with the prompt on it.")
        self.answer_card.add(row(self.prompt_button, self.prompted_button, stretch=None))
        self.how = QComboBox()
        self.how.addItems(list(LOOKS))
        self.evidence_class = QComboBox()
        self.answer_card.field("evidence for", self.evidence_class)
        self.answer_card.field(
            "by", self.how, "Covering parts takes about a second; a gradient is quicker and noisier."
        )
        self.evidence_button = self.answer_card.add(button("Show where it looked", self.show_evidence))
        self.answer_card.hide()

    def theme_changed(self) -> None:
        if hasattr(self, "chart"):
            self.chart.set_colours(self.palette_colours)

    # --- what is chosen ----------------------------------------------------------------------------------------

    def _browse_weights(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Weights of the backbone", "", "Weights (*.safetensors *.pth)")
        if chosen:
            self.weights.setText(chosen)

    def _browse_classifier(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "A classifier", "", "Classifier (*.safetensors)")
        if chosen:
            self.classifier.setText(chosen)
            self._refresh()

    @property
    def running(self) -> bool:
        """True while a worker trains."""
        return hasattr(self, "watch") and self.watch.running

    def _refresh(self) -> None:
        problem = self.examples.problem()
        self.go.setEnabled(not problem and not self.running)
        self.go.setToolTip(problem)
        ready = bool(self.classifier.text().strip()) and self.layers.layer is not None
        busy = hasattr(self, "work") and self.work.running
        self.ask.setEnabled(ready and not busy)
        self.ask.setText("Asking, in a process of its own..." if busy else "Classify")
        self.evidence_button.setEnabled(not busy)
        self.empty.setVisible(not ready)

    def settings(self, source: Path, folder: Path) -> dict[str, Any]:
        """The job's settings, plain values."""
        overrides: dict[str, Any] = {
            "backbone.name": self.backbone.text().strip(),
            "optim.epochs": self.epochs.value(),
            "name": folder.name,
        }
        overrides |= METHODS[self.method.currentText()]
        if self.weights.text().strip():
            overrides["backbone.weights"] = str(Path(self.weights.text().strip()).expanduser().resolve())
        if self.case_pattern.text().strip():
            overrides["data.case_pattern"] = self.case_pattern.text().strip()
        return {
            "source": str(source),
            "out": str(folder),
            "recipe": "probe",
            "overrides": overrides,
            "device": str(setting("general", "device")),
        }

    # --- the run -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the examples down and start the worker."""
        self.say("")
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
        folder = runs_folder() / f"probe-{stamp}"
        try:
            table = self.examples.write(runs_folder() / f"examples-{stamp}")
            self.watch.start("probe", self.settings(table, folder), folder)
        except (TinyMIGError, OSError, ValueError) as e:
            self.say_error(e)
            return
        self._curve = {}
        self.bar.setRange(0, 0)
        self.state.setText("Starting; importing torch takes a few seconds.")
        self._show_running(True)

    def _show_running(self, on: bool) -> None:
        for part in (self.bar, self.stop_button, self.discard_button):
            part.setVisible(on)
            part.setEnabled(on)
        if on:
            self.chart.hide()
            self.scores.hide()
        self._refresh()

    def stop(self) -> None:
        """Stop and keep best."""
        self.stop_button.setEnabled(False)
        self.state.setText("Stopping; the best is kept...")
        self.watch.stop()

    def discard(self) -> None:
        """Cancel and discard."""
        self.stop_button.setEnabled(False)
        self.discard_button.setEnabled(False)
        self.state.setText("Cancelling...")
        self.watch.discard()

    def _messages(self, batch: list[Message]) -> None:
        for message in batch:
            if message.kind == "epoch":
                self._add_to_curve(message)
            if message.kind == "warning":
                self.say(message.text, "warn")
            if message.kind in ("started", "log"):
                self.state.setText(message.text)
            if message.kind in ("epoch", "step") and message.total:
                self.bar.setRange(0, message.total)
                self.bar.setValue(message.step)
            if message.kind == "validation":
                self._show_scores(message)
        if self._curve:
            self.chart.set_series(self._curve)
            self.chart.show()

    def _add_to_curve(self, message: Message) -> None:
        for name, key in (("loss", "loss"), ("loss, held out", "val_loss")):
            value = message.values.get(key, float("nan"))
            xs, ys = self._curve.setdefault(name, ([], []))
            xs.append(float(message.step))
            ys.append(value)
        self.state.setText(f"{message.text}: balanced accuracy {message.values.get('val_balanced_accuracy', 0):.2f}")

    def _show_scores(self, message: Message) -> None:
        v = message.values
        low, high = v.get("auroc_low", float("nan")), v.get("auroc_high", float("nan"))
        self.scores.set_rows(
            {
                f"images never trained on ({message.text})": f"{v.get('n', 0):.0f}",
                "balanced accuracy": f"{v.get('balanced_accuracy', float('nan')):.2f}",
                "AUROC, 95 % interval": f"{v.get('auroc', float('nan')):.2f} [{low:.2f}, {high:.2f}]",
            }
        )
        self.scores.show()

    def _ended(self, outcome: jobs.Outcome) -> None:
        self._show_running(False)
        self.state.setText("")
        if outcome.status == "failed":
            self.say_error(outcome.text)
            return
        saved = [p for p in outcome.saved if p.name == "classifier.safetensors"]
        if outcome.status == "discarded" or not saved:
            self.say(outcome.text, "plain" if outcome.status == "discarded" else "warn")
            return
        self.classifier.setText(str(saved[-1]))
        size = saved[-1].stat().st_size / 1000
        self.say(f"The classifier ({size:.0f} KB) is in {saved[-1]}", "good")
        self._refresh()

    # --- its use -----------------------------------------------------------------------------------------------

    def _files(self) -> tuple[str, str | None]:
        """Classifier and the local weights of its backbone, if any."""
        path = Path(self.classifier.text().strip()).expanduser()
        read_classifier_card(path)
        weights = self.weights.text().strip()
        return str(path), str(Path(weights).expanduser()) if weights else None

    def classify(self) -> None:
        """Ask the classifier about the chosen image, in the background."""
        layer = self.layers.layer
        if layer is None:
            return
        self.say("")
        try:
            path, weights = self._files()
            scan = scan_of(layer)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        self.work.start_call(lambda report: (layer, classifying.look(path, weights, scan, report)))
        self._refresh()

    def _failed(self, error: BaseException) -> None:
        self.say_error(error)
        self._refresh()

    def _answered(self, result: Any) -> None:
        layer, found = result
        if isinstance(found, classifying.Look):
            self._show_answer(layer, found)
        elif layer in self.viewer.layers:
            index, name, grid = found
            self._add_evidence(layer, index, name, grid)
        self._refresh()

    def _show_answer(self, layer: Image, found: classifying.Look) -> None:
        self.seen, self._seen_layer = found, layer
        best = int(found.probabilities.argmax())
        self.badge.say(f"{found.classes[best]}  {found.probabilities[best]:.0%}", found.model_id, "good")
        rows = {"class": "with prompt   without"}
        for name, p, q in zip(found.classes, found.probabilities, found.plain):
            rows[name] = f"{p:.2f}   {q:.2f}"
        rows["discrepancy of the two"] = f"{found.discrepancy:.3f} nats"
        self.rows.set_rows(rows)
        self.line.setText(self._distance_sentence(layer, found))
        self.evidence_class.clear()
        self.evidence_class.addItems(list(found.classes))
        self.evidence_class.setCurrentIndex(best)
        self.prompt_button.setEnabled(found.prompt is not None)
        self.answer_card.show()

    @staticmethod
    def _distance_sentence(layer: Image, found: classifying.Look) -> str:
        score = found.shift_score
        if score is None:
            return f"'{layer.name}': how far it is from the examples is not known."
        if score > FAR:
            return (
                f"'{layer.name}' is unlike the examples (further than {score:.0f} % of them): do not trust the number."
            )
        return f"'{layer.name}' lies among the examples (further than {score:.0f} % of them)."

    def _picture_layer(self, picture: NDArray[np.uint8], name: str) -> None:
        """Add an RGB picture of the frame (H, W, 3) exactly where the classified image lies."""
        layer = self._seen_layer
        if layer is None or layer not in self.viewer.layers:
            self.say("The classified image is no longer among the layers; classify again.", "warn")
            return
        data = picture if layer.rgb or layer.ndim == 2 else np.repeat(picture[None], layer.data.shape[0], axis=0)
        about = {KEY: {"source": layer.name, "classifier": self.classifier.text()}}
        self.viewer.add_image(data, rgb=True, name=name, opacity=0.7, metadata=about, **geometry_of(layer))

    def show_prompt(self) -> None:
        """The learned prompt as an image layer; mid-grey = nothing added."""
        if self.seen is not None and self.seen.prompt is not None and self._seen_layer is not None:
            self._picture_layer(self.seen.prompt, f"{self._seen_layer.name} prompt")

    def show_prompted(self) -> None:
        """The image with the prompt on it, at the backbone's resolution, as an image layer."""
        if self.seen is not None and self._seen_layer is not None:
            self._picture_layer(self.seen.prompted, f"{self._seen_layer.name} prompted")

    def _slice_on_show(self, layer: Image) -> int:
        if layer.rgb or layer.ndim == 2:
            return 0
        index = layer.world_to_data(self.viewer.dims.point[-layer.ndim :])[0]
        return int(np.clip(np.rint(index), 0, layer.data.shape[0] - 1))

    def show_evidence(self) -> None:
        """Where in the picture (of a volume: the slice on show) the evidence for a class lies."""
        layer = self._seen_layer
        if layer is None or layer not in self.viewer.layers or self.seen is None:
            self.say("Classify an image first.", "warn")
            return
        index, label = self._slice_on_show(layer), self.evidence_class.currentIndex()
        name, how = self.seen.classes[label], LOOKS[self.how.currentText()]
        try:
            path, weights = self._files()
            scan = scan_of(layer)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return

        def find(report: Any) -> Any:
            return layer, (index, name, classifying.evidence(path, weights, scan, index, label, how, report))

        self.work.start_call(find)
        self._refresh()

    def _add_evidence(self, layer: Image, index: int, name: str, grid: NDArray[np.float32]) -> None:
        shape = grid_shape(layer)
        data = np.zeros(shape, np.float32)
        if data.ndim == 3:
            data[index] = grid
        else:
            data[:] = grid
        self.viewer.add_image(
            data,
            name=f"{layer.name} evidence for {name}",
            colormap="inferno",
            contrast_limits=(0, 1),
            blending="additive",
            opacity=0.7,
            metadata={KEY: {"source": layer.name, "evidence_for": name}},
            **geometry_of(layer),
        )

    def released(self) -> None:
        self.work.cancel()
        self.watch.leave()


def runs_folder() -> Path:
    """Where the viewer keeps classification runs: TINYMIG_HOME/runs, or the platform's data folder."""
    from napari_tinymig.engine.registry import user_folder

    return user_folder().parent / "runs"
