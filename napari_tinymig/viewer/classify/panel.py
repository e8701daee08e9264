"""Classify: teach a frozen backbone your classes in minutes, then see what it says of an image, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QCompleter, QFileDialog, QLineEdit, QSpinBox

from ...base.errors import TinyMIGError
from ...base.records import Message
from ...jobs import classifying
from ...measures.classification import FEWEST_CASES
from ...models.classifier_file import read_classifier_card
from ...recipes.backbones import OFFERED
from ...recipes.classify import STRATEGIES
from ..cases.belonging import is_source_image
from ..napari_io.layers import kind_of, scan_of
from ..parts.background import Work
from ..parts.choosers import LayerChooser
from ..parts.numbers import NumberRows
from ..parts.panel import Panel
from ..parts.run_controls import RunControls, run_stamp
from ..parts.settings import setting
from ..parts.style import EmptyState, button
from .classify_answer import ClassAnswerSection
from .classify_examples import Examples

if TYPE_CHECKING:
    import napari.viewer

METHODS = {
    "prompt + probe (MoVL)": {"method": "movl", "strategy": STRATEGIES[0]},
    "probe, then prompt": {"method": "movl", "strategy": STRATEGIES[1]},
    "probe, then both": {"method": "movl", "strategy": STRATEGIES[2]},
    "linear probe (seconds)": {"method": "lp", "prompt.kind": "none"},
}


class ClassifyPanel(Panel):
    """Examples, a run in a process of its own with its curve, and a classifier for the image on show."""

    purpose = "Teaches a frozen backbone your classes, and shows what it sees. Research use only."
    tab = "Classify"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.work = Work(self, self._answered, self._failed, on_end=self.refresh)
        self._examples_section()
        self._run_section()
        self._use_section()
        self.answer = ClassAnswerSection(self, self.show_evidence)
        self.column.addWidget(self.answer)
        self.examples.changed.connect(self.refresh)
        self.layers.changed.connect(self.refresh)
        self.refresh()

    # --- parts -------------------------------------------------------------------------------------------------

    def _examples_section(self) -> None:
        section = self.add_section("Examples")
        self.examples = section.add(Examples(self))
        self.case_pattern = QLineEdit()
        self.case_pattern.setPlaceholderText("optional: pattern in file names")
        tip = r"What in a file name says whose it is, e.g. ^(p\d+): nobody is in two parts of the split."
        section.field("person", self.case_pattern, tip)

    def _run_section(self) -> None:
        section = self.add_section("Backbone")
        self.backbone = QLineEdit(OFFERED[0])
        known = QCompleter(list(OFFERED), self.backbone)
        known.setFilterMode(Qt.MatchFlag.MatchContains)
        self.backbone.setCompleter(known)
        section.field(
            "model",
            self.backbone,
            "tinymig:NAME is the encoder of a model that came along; any model of timm works with its weights.",
        )
        self.weights = QLineEdit()
        self.weights.setPlaceholderText("only for models of timm")
        section.field(
            "weights", self.weights, "Of a model of timm: a local .safetensors or .pth; empty = downloaded by timm."
        )
        section.add(button("Choose a weights file...", self._browse_weights, "link"))
        self.method = QComboBox()
        self.method.addItems(list(METHODS))
        section.field("method", self.method)
        self.epochs = QSpinBox()
        self.epochs.setRange(1, 100)
        self.epochs.setValue(5)
        section.field("epochs", self.epochs, "Passes over the examples; the best on held-out examples is kept.")
        self.run = RunControls(
            self,
            section,
            "Train a classifier",
            self.start,
            "classifier.safetensors",
            self.take_messages,
            self._running_changed,
            self._saved,
        )
        self.go = self.run.go
        self.scores = section.add(NumberRows())
        self.scores.hide()

    def _use_section(self) -> None:
        section = self.add_section("Classify an image")
        self.classifier = QLineEdit()
        self.classifier.setPlaceholderText("classifier.safetensors")
        self.classifier.editingFinished.connect(self.refresh)
        section.field("classifier", self.classifier, "Made above, or on another machine.")
        section.add(button("Open a classifier...", self._browse_classifier, "link"))
        self.layers = LayerChooser(
            self, lambda layer: is_source_image(layer) and kind_of(layer) is not None, "no image"
        )
        section.field("image", self.layers)
        self.ask = section.add(button("Classify", self.classify))
        self.empty = section.add(EmptyState("Train a classifier, or open one; then choose an image."))

    def theme_changed(self) -> None:
        self.run.set_colours(self.palette_colours)

    # --- what is chosen ----------------------------------------------------------------------------------------

    def _browse_weights(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Weights of the backbone", "", "Weights (*.safetensors *.pth)")
        if chosen:
            self.weights.setText(chosen)

    def _browse_classifier(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "A classifier", "", "Classifier (*.safetensors)")
        if chosen:
            self.classifier.setText(chosen)
            self.refresh()

    @property
    def running(self) -> bool:
        """True while a worker trains."""
        return self.run.running

    def refresh(self) -> None:
        problem = self.examples.problem()
        self.answer.follow(self.layers.layer, self.classifier.text())
        self.go.setEnabled(not problem and not self.running)
        self.go.setToolTip(problem)
        ready = bool(self.classifier.text().strip()) and self.layers.layer is not None
        busy = self.work.running
        self.ask.setEnabled(ready and not busy)
        self.ask.setText("Asking, in a process of its own..." if busy else "Classify")
        self.answer.evidence_button.setEnabled(not busy)
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
        stamp = run_stamp()
        folder = runs_folder() / f"probe-{stamp}"
        try:
            table = self.examples.write(runs_folder() / f"examples-{stamp}")
            self.run.start("probe", self.settings(table, folder), folder)
        except (TinyMIGError, OSError, ValueError) as e:
            self.say_error(e)

    def _running_changed(self, on: bool) -> None:
        if on:
            self.scores.hide()
        self.refresh()

    def take_messages(self, batch: list[Message]) -> None:
        for message in batch:
            if message.kind == "epoch":
                v = message.values
                said = {"loss": "loss", "loss, held out": "val_loss"}
                self.run.add_point(float(message.step), {n: v.get(key, float("nan")) for n, key in said.items()})
                self.run.tell(f"{message.text}: balanced accuracy {v.get('val_balanced_accuracy', 0):.2f}")
            if message.kind == "validation":
                self._show_scores(message)

    def _show_scores(self, message: Message) -> None:
        v = message.values
        low, high = v.get("auroc_low", float("nan")), v.get("auroc_high", float("nan"))
        few = v.get("cases", 0) < FEWEST_CASES
        self.scores.set_rows(
            {
                f"images never trained on ({message.text})": f"{v.get('n', 0):.0f}",
                "balanced accuracy": f"{v.get('balanced_accuracy', float('nan')):.2f}",
                "AUROC": f"{v.get('auroc', float('nan')):.2f}",
                "its 95 % interval": "too few to say" if few else f"{low:.2f} to {high:.2f}",
            }
        )
        self.scores.show()

    def _saved(self, path: Path) -> None:
        self.classifier.setText(str(path))
        self.say(f"The classifier ({path.stat().st_size / 1000:.0f} KB) is in {path}", "good")
        self.refresh()
        self.scroll_to(self.ask)

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
        if (question := self._question(layer)) is None:
            return
        path, weights, scan = question
        asked = self.classifier.text()
        self.work.start_call(lambda report: (layer, classifying.classify_scan(path, weights, scan, report), asked))
        self.refresh()

    def _question(self, layer: Any) -> tuple[Any, Any, Any] | None:
        """Classifier, weights and the layer as a scan; None, and why, where one cannot be had."""
        try:
            return *self._files(), scan_of(layer)
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return None

    def _failed(self, error: BaseException) -> None:
        self.say_error(error)
        self.refresh()

    def _answered(self, result: Any) -> None:
        layer, found, asked = result
        if isinstance(found, classifying.ClassifierAnswer):
            if layer in self.viewer.layers:
                self.answer.show_look(layer, found, asked)
                self.scroll_to(self.answer)
        else:
            self.answer.add_evidence(layer, *found)
        self.refresh()

    def show_evidence(self) -> None:
        """Where in the picture (of a volume: the slice on show) the evidence for a class lies."""
        asked = self.answer.asked()
        if asked is None:
            self.say("Classify an image first.", "warn")
            return
        layer, index, label, name, how = asked
        if (question := self._question(layer)) is None:
            return
        path, weights, scan = question

        def find(report: Any) -> Any:
            return layer, (index, name, classifying.evidence(path, weights, scan, index, label, how, report)), path

        self.work.start_call(find)
        self.refresh()

    def released(self) -> None:
        self.work.cancel()
        self.run.leave()


def runs_folder() -> Path:
    """Where the viewer keeps classification runs: TINYMIG_HOME/runs, or the platform's data folder."""
    from ...models.registry import user_folder

    return user_folder().parent / "runs"
