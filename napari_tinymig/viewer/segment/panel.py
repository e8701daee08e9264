"""Segment: choose an image, press one button, get a mask that lies where the image does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer, Shapes
from qtpy.QtWidgets import QCheckBox, QComboBox, QProgressBar

from ...base.errors import TinyMIGError
from ...base.records import Prediction
from ...tasks.table import TASKS
from ...tasks.task import Task
from ..cases.actions import bind_keys, release_keys
from ..cases.results import add_result
from ..cases.worklist import hold_worklist, let_worklist_go
from ..docks.keys import with_key
from ..masks.locked_edits import locked_layers
from ..models.model_card import show_card
from ..napari_io.layer_geometry import scan_file_of
from ..napari_io.layers import axes_of, frame_on_show, kind_of_frames, said_of_axes, scan_of, why_no_image
from ..parts.background import Work
from ..parts.choosers import LayerChooser
from ..parts.panel import Panel
from ..parts.predicting import Request, news_of_default, predict, preferred_model, request_as_preferred
from ..parts.settings import setting
from ..parts.style import Badge, QuietLabel, button, primary_button, row, text_label
from ..parts.task_guess import TaskGuess, guess_task
from .all_cases import AllCases
from .case_result import CaseResult
from .device import say_device
from .region import ROIS, region_of
from .result_card import ResultCard
from .start import NOTHING_OPEN, first_steps, follow_layers_and_models, known_tasks, segmenters

if TYPE_CHECKING:
    import napari.viewer


class SegmentPanel(Panel):
    """Prediction of one image layer into a new Labels layer, in the background, with its numbers and its doubts."""

    purpose = "Segments the chosen image into a new labels layer. Research use only, not a medical device."
    tab = "Segment"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.worklist = hold_worklist(napari_viewer)  # what is painted is safe on the disk from here on
        self.book = self.worklist.book
        bind_keys(self.worklist)
        self._guess: TaskGuess | None = None
        self._asked: tuple[Layer, tuple[int, ...]] | None = None  # the image, and which of its frames
        self.result_card = ResultCard(napari_viewer, lambda: self.book.step(1))
        self._image_section()
        self._model_section()
        self._run_section()
        self.column.addWidget(self.result_card)
        self.shown = CaseResult(self.result_card, self.elapsed, self.book)
        self.guessing = Work(self, self._guessed, self.say_error)
        tick = lambda seconds: self.elapsed.setText(f"{seconds:.1f} s")  # noqa: E731
        self.work = Work(self, self._answered, self.say_error, self._progressed, tick, self._ended)
        self.images.changed.connect(self._image_changed)
        self.task.currentIndexChanged.connect(self.task_changed)
        self.model.currentIndexChanged.connect(self._refresh_state)
        self.roi.currentIndexChanged.connect(self._refresh_state)
        follow_layers_and_models(self, self._refresh_state, self.list_tasks)
        self.listen(napari_viewer.dims.events.current_step, self._follow_choice)
        self.book.moved.connect(self._case_moved)
        self.book.changed.connect(self._follow_book)
        self.worklist.said.connect(self.say)
        self._wanted = False  # a press while the task is still looked for
        say_device(self.device)
        self._image_changed()

    # --- parts -------------------------------------------------------------------------------------------------

    def _image_section(self) -> None:
        self.empty, self.samples = first_steps(self)
        section = self.add_section("Image")
        self.images = LayerChooser(self, lambda layer: kind_of_frames(layer) is not None, "no image that fits")
        section.field("layer", self.images, "Photographs, grey images and volumes; of a stack, the frame on show.")
        self.task = QComboBox()
        section.field("task", self.task, "Found from the image; choose another if it is wrong.")
        self.read_as = section.add(text_label("", "hint"))
        self.roi = QComboBox()
        self.roi.addItems(list(ROIS))
        section.field("region", self.roi, "Where the network looks, in a photograph.")
        self.shapes = LayerChooser(self, lambda layer: isinstance(layer, Shapes), "no shapes layer")
        section.field("rectangle", self.shapes, "A Shapes layer; the selected or last rectangle is used.")
        self.image_section = section

    def _model_section(self) -> None:
        section = self.add_section("Model")
        self.model = QComboBox()
        section.field("model", self.model)
        self.device = Badge()
        self.card = button("model card", self._show_card, "link", "Training data, scores, licence.")
        section.add(row(self.card, self.device))

    def _run_section(self) -> None:
        section = self.add_section()
        self.probabilities = QCheckBox("also add probability layers")
        section.add(self.probabilities)
        self.locked = section.add(text_label("", "hint"))
        self.hint = section.add(text_label("", "hint"))
        self.go = section.add(primary_button("Segment", self.segment))
        self.all = AllCases(self.worklist, self.segment_all_cases)
        section.add(self.all)
        self.bar = section.add(QProgressBar())
        self.cancel = button("Cancel", self.stop, "danger")
        self.elapsed = QuietLabel()
        section.add(row(self.elapsed, self.cancel))
        self.bar.hide()
        self.cancel.hide()

    # --- choices -----------------------------------------------------------------------------------------------

    def _image_changed(self) -> None:
        """Another image: find its task again, in the background."""
        layer = self.images.layer
        self._guess = None
        self._wanted = False
        self.book.choose(layer)
        self.guessing.cancel()
        if layer is not None:
            scan_file = scan_file_of(layer)
            self.guessing.start_call(guess_task, scan_of(layer, self.frame), scan_file.metadata if scan_file else {})
        self.list_tasks()

    def _guessed(self, guess: TaskGuess) -> None:
        self._guess = guess
        self.list_tasks()
        if self._wanted:
            self.segment()

    def list_tasks(self) -> None:
        """Tasks that can read this image; the first entry is the one that was found."""
        layer = self.images.layer
        stack = layer is not None and axes_of(layer, flat=True).kind == "volume"
        found = TASKS[self._guess.task].title if self._guess and self._guess.task else "not recognised"
        before = self.task.currentData() if self.task.count() else setting("general", "task")
        self.task.blockSignals(True)
        self.task.clear()
        waiting = "auto" if layer is None else "auto: looking..."
        self.task.addItem(f"auto: {found}" if self._guess else waiting, None)
        self.task.setItemData(0, self._guess.reason if self._guess else "", 3)  # 3: tool tip
        self._entries = segmenters()
        for task in known_tasks(self._entries):
            if not stack or task.input == "volume":
                self.task.addItem(task.title, task.name)
        self.task.setCurrentIndex(max(0, self.task.findData(before)))
        self.task.blockSignals(False)
        self.task_changed()

    @property
    def chosen_task(self) -> str | None:
        """Name of the task chosen, or found; None if neither."""
        return self.task.currentData() or (self._guess.task if self._guess else None)

    @property
    def frame(self) -> tuple[int, ...]:
        """Which frame of the chosen image is looked at; () where it has none, or its slices are a volume's."""
        layer = self.images.layer
        return () if layer is None else frame_on_show(layer, self.viewer.dims.point, self._flat)

    @property
    def _flat(self) -> bool:
        """Whether a stack of unknown voxel size is to be read as pictures: a task for photographs is chosen."""
        name = self.task.currentData()
        return bool(name) and any(t.name == name and t.input == "photograph" for t in known_tasks(segmenters()))

    def task_changed(self) -> None:
        task = self.chosen_task
        names = [e.name for e in self._entries if task and e.task == task]
        best = preferred_model(task) if task else None
        self.model.blockSignals(True)
        self.model.clear()
        self.model.addItems(names if best is None or best in names else [best, *names])
        self.model.setCurrentText(best or "")
        self.model.blockSignals(False)
        if news := news_of_default(self, task) if task else "":
            self.say(news, "warn")
        self._refresh_state()

    def _refresh_state(self, event: Any = None) -> None:
        """Show what can be done now: empty state, region choice, what is locked, and why the button is off."""
        layer = self.images.layer
        self._follow_choice()
        self.empty.setText(why_no_image(self.viewer.layers, frames=True) or NOTHING_OPEN)
        self.empty.setVisible(layer is None)
        self.samples.setVisible(layer is None)
        self.read_as.setText(said_of_axes(layer, self._flat) if layer is not None else "")
        self.read_as.setVisible(bool(self.read_as.text()))
        photograph = layer is not None and kind_of_frames(layer) == "photograph"
        self.roi.setEnabled(photograph)
        self.image_section.show_field(self.shapes, photograph and ROIS[self.roi.currentText()] == "rectangle")
        self.card.setEnabled(self.model.count() > 0)
        kept = locked_layers(self.viewer.layers, layer) if layer is not None else []
        self.locked.setText(f"Your edits in {', '.join(f'{k.name!r}' for k in kept)} are locked and will be kept.")
        self.locked.setVisible(bool(kept))
        reason = self.why_not()
        self.go.setEnabled(not reason and not self.work.running)
        self.go.setToolTip(reason or with_key("Runs in the background; the window stays free.", "segment"))
        self.hint.setText(reason)
        self.hint.setVisible(bool(reason) and layer is not None)

    def _follow_choice(self, event: Any = None) -> None:
        """Numbers live as long as their image, or frame, is chosen and their mask is open; a known case's come back."""
        if not self.work.running:
            self.shown.follow_choice(self.images.layer, self.frame, self.viewer.layers)

    def _follow_book(self) -> None:
        self.shown.follow_mask()
        self._follow_choice()

    @property
    def result(self) -> Labels | None:
        """The layer of the latest result."""
        return self.shown.mask

    def why_not(self) -> str:
        if self.images.layer is None:
            return why_no_image(self.viewer.layers, frames=True) or "Open an image first."
        if self.chosen_task is None:
            return self._guess.reason if self._guess else "Looking at the image..."
        if self.model.count() == 0:
            return f"No model for task '{self.chosen_task}' is installed; import one in the Models panel."
        return ""

    def _show_card(self) -> None:
        try:
            show_card(self.model.currentText(), self)
        except (TinyMIGError, OSError) as e:
            self.say_error(e)

    # --- work --------------------------------------------------------------------------------------------------

    def request(self) -> Request:
        """What the panel's choices ask for. Raises ValueError for a region that cannot be used."""
        layer = self.images.layer
        if layer is None:
            raise ValueError("no image is chosen; open one first.")
        roi = region_of(layer, ROIS[self.roi.currentText()], self.shapes.layer)
        scan = scan_of(layer, self.frame)
        return request_as_preferred(scan, self.model.currentText(), roi, self.probabilities.isChecked())

    def segment(self) -> None:
        """Start a prediction; the answer of an older one is dropped."""
        self.say("")
        reason = self.why_not()
        self._wanted = bool(reason) and self.images.layer is not None and self.guessing.running
        if reason:
            self.say(reason, "plain" if self._wanted else "warn")
            return
        try:
            request = self.request()
        except ValueError as e:
            self.say_error(e)
            return
        self._asked = (self.images.layer, self.frame)  # type: ignore[assignment]
        self.shown.wait_for(*self._asked)
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel.show()
        self.go.setEnabled(False)
        self.work.start_call(predict, request)

    def stop(self) -> None:
        """Cancel; whatever still arrives is dropped."""
        self.work.cancel()
        self.say("Cancelled; nothing was added.")

    def _progressed(self, progress: tuple[int, int]) -> None:
        done, total = progress
        self.bar.setRange(0, 0 if done >= total else total)  # not full while the mask is still decided and added
        self.bar.setValue(done)

    def _ended(self) -> None:
        self.bar.hide()
        self.cancel.hide()
        self._refresh_state()

    def _answered(self, answer: tuple[Prediction, Task]) -> None:
        """Add the mask as a new layer and say what was found."""
        prediction, task = answer
        image, frame = self._asked or (None, ())
        if image is None or image not in self.viewer.layers:
            self.say("The image was closed while it was segmented; nothing was added.", "warn")
            return
        still_chosen = (image, frame) == (self.images.layer, self.frame)
        mask, told = add_result(self.viewer, self.book.case_of(image), image, frame, prediction, task)
        if told:
            self.say(told, "good")
        self.book.alone()
        if still_chosen:
            self.images.choose(image)  # a probability layer that was just added is not the image meant
            self.shown.show(image, frame, mask, prediction)

    def _case_moved(self) -> None:
        """Another case is on show: its image is the one to be segmented."""
        if self.book.current is not None and self.book.current.image is not None:
            self.images.choose(self.book.current.image)

    def segment_all_cases(self) -> None:
        """Segment every case with the task chosen (found for each, if none is), or stop doing so."""
        task = self.task.currentData()
        self.all.start_or_stop(task, self.model.currentText() if task else None)

    def released(self) -> None:
        self.work.cancel()
        self.guessing.cancel()
        self.book.moved.disconnect(self._case_moved)
        self.book.changed.disconnect(self._follow_book)
        self.worklist.said.disconnect(self.say)
        self.all.released()
        release_keys(self.worklist)
        let_worklist_go(self.viewer)
