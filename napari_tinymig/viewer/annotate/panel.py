"""Annotate: mended masks go into a set with one click; the set is listed, and lost strokes are offered again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLineEdit

from ...annotations.annotation_set import AnnotationConflict, AnnotationSet
from ...annotations.journal import Recovery, recoverable
from ...annotations.scribbles import Labelled
from ...annotations.structures import tasks_by_name
from ...base.errors import TinyMIGError
from ...formats.declared import volume_suffixes
from ...tasks.task import Task
from ..masks.journal_keeper import hold_keeper, let_keeper_go, restored_layer
from ..masks.sparse_canvas import BrushClass, labelled_of, mask_of, set_labelled
from ..napari_io.layers import KEY, grid_shape, kind_of, scan_of, task_of_labels
from ..parts.choosers import LayerChooser
from ..parts.panel import Panel
from ..parts.project import project
from ..parts.style import EmptyState, button, primary_button, row, text_label
from .case_list import CaseList
from .keep_mended import KeepMended
from .next_list import NextList

if TYPE_CHECKING:
    import napari.viewer


class AnnotatePanel(Panel):
    """An annotation set, open and locked for this viewer, and the layer that goes into it next."""

    purpose = "Collect mended masks in a folder. Every stroke is kept safe on the disk while you paint."
    tab = "Annotate"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.set: AnnotationSet | None = None
        self.keeper = hold_keeper(napari_viewer)
        self._recovery_section()
        self._set_section()
        self._add_section()
        self.cases = CaseList(self)
        self.column.addWidget(self.cases)
        self.next = NextList(self)
        self.column.addWidget(self.next)
        self.layers.changed.connect(self._refresh)
        self.keeper.failed.connect(self.say_error)
        self.offer_recovery()
        if project.folder is not None:
            self.open_set(project.folder)
        self._refresh()

    # --- parts -------------------------------------------------------------------------------------------------

    def _recovery_section(self) -> None:
        self.recovery_card = self.add_section("Strokes that were not saved")
        self.recovery_text = self.recovery_card.add(text_label("", "line"))
        self.recovery_card.add(
            row(
                button("Restore", self.restore, tip="Add them as new layers, where they were."),
                button("Discard", self.discard_recovery, "danger", "Remove them for good."),
                stretch=None,
            )
        )
        self.recoveries: list[Recovery] = []

    def _set_section(self) -> None:
        section = self.add_section("Annotation set")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("folder of the set")
        self.folder.returnPressed.connect(lambda: self.open_set(self.folder.text()))
        section.add(row(self.folder, button("Choose", self._browse, tip="Choose or make the folder of the set.")))
        self.task = QComboBox()
        self._list_tasks()
        section.field("task", self.task, "What is painted; a set holds masks of one task.")
        self.set_line = section.add(text_label("", "hint"))

    def _add_section(self) -> None:
        section = self.add_section("This mask")
        self.layers = LayerChooser(self, lambda layer: isinstance(layer, Labels), "no labels layer")
        section.field("mask", self.layers, "A segmented and mended Labels layer, or one you drew.")
        self.images = LayerChooser(self, lambda layer: kind_of(layer) is not None, "no image")
        section.field("image", self.images, "The image that the mask belongs to; found by itself where it can be.")
        self.role = QComboBox()
        for text, value in (("run decides", "auto"), ("training", "train"), ("validation", "val")):
            self.role.addItem(text, value)
        section.field("role", self.role, "Validation cases are scored and never trained on.")
        self.sparse = QCheckBox("unpainted = not labelled")
        self.sparse.setToolTip(
            "Scribbles: only painted pixels teach; background is a class to paint, too. Off: unpainted = background."
        )
        section.add(self.sparse)
        self.slices = QCheckBox("only slices with paint are labelled")
        self.slices.setToolTip("Volumes: slices without any paint are left out of training.")
        section.add(self.slices)
        self.brush = BrushClass(self.layers)
        section.field("brush", self.brush, "The class that the brush paints; scribble background where there is none.")
        self._usual: dict[QCheckBox, bool] = dict.fromkeys((self.sparse, self.slices), False)
        for box in self._usual:
            box.toggled.connect(self._labelled_chosen)
        self._add_card = section
        self.empty = section.add(EmptyState("Segment an image, mend the mask, then add it here."))
        self.go = section.add(primary_button("Add to set", self.add))
        self.replace = section.add(button("Replace the earlier mask", lambda: self.add(replace=True), "danger"))
        self.replace.hide()
        task = lambda: self.set.task if self.set is not None else None  # noqa: E731
        self.mended = section.add(KeepMended(self.viewer, task, self._keep, lambda why: self.say(why, "warn")))

    def _keep(self, mask: Labels, image: Image) -> None:
        self.layers.choose(mask)
        self.images.choose(image)
        self.add(replace=True)

    # --- the set -----------------------------------------------------------------------------------------------

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the annotation set", self.folder.text())
        if chosen:
            self.open_set(chosen)

    def _list_tasks(self) -> None:
        """Every task, own structures among them; the choice stays."""
        before = self.task.currentData()
        self._tasks = tasks_by_name()
        self.task.clear()
        for task in self._tasks.values():
            self.task.addItem(task.title, task.name)
        self.task.setCurrentIndex(max(0, self.task.findData(before)))

    @property
    def chosen_task(self) -> Task:
        """The task of the set."""
        return self._tasks[self.task.currentData()]

    def open_set(self, folder: str | Path) -> None:
        """Open a set, or make one; the one before is closed."""
        if not str(folder).strip():
            return
        self.close_set()
        folder = Path(folder).expanduser()
        try:
            self._follow_task_of(folder)
            self.set = AnnotationSet(folder, self.chosen_task)
        except TinyMIGError as e:
            self.say_error(e)
            self._refresh()
            return
        self.folder.setText(str(folder))
        self.task.setEnabled(False)
        project.open(folder, self.set.task.name)
        self.say("")
        self._refresh()
        self.cases.show_cases(folder, self.set.cases)

    def _follow_task_of(self, folder: Path) -> None:
        """A set that exists says its task; a new one takes the task of the chosen mask."""
        layer = self.layers.layer
        self._list_tasks()
        guess = task_of_labels(layer) if layer is not None else None
        name = project.task_in(folder) or (guess.name if guess and self.task.isEnabled() else None)
        if name and self.task.findData(name) >= 0:
            self.task.setCurrentIndex(self.task.findData(name))

    def close_set(self) -> None:
        """Free the folder for other viewers."""
        if self.set is not None:
            self.set.close()
            self.set = None
        self.task.setEnabled(True)

    # --- adding ------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        layer = self.layers.layer
        self.replace.hide()
        if layer is not None and (image := self._image_of(layer)) is not None:
            self.images.choose(image)
        reason = self._why_not()
        self.go.setEnabled(not reason)
        self.go.setToolTip(reason or "Image and mask are copied into the set; earlier masks are kept.")
        self.empty.setVisible(layer is None)
        self.slices.setVisible(layer is not None and layer.ndim == 3)
        self._follow_labelled(layer)
        if self.set is None:
            self.set_line.setText("Choose a folder; it is made if it is not there.")
        else:
            used = sum(c.include for c in self.set.cases)
            self.set_line.setText(f"{len(self.set.cases)} case(s), {used} used for training and validation.")

    def _why_not(self) -> str:
        if self.set is None:
            return "Choose the folder of the set first."
        if self.layers.layer is None:
            return "There is no mask yet."
        if self.images.layer is None:
            return "There is no image that fits."
        return ""

    def _image_of(self, labels: Layer) -> Image | None:
        """The image a mask was made for, by name, else the only one of its shape."""
        wanted = labels.metadata.get(KEY, {}).get("source") if labels.metadata else None
        fitting = [i for i in self.viewer.layers if kind_of(i) and grid_shape(i) == tuple(labels.data.shape)]
        named = [i for i in fitting if i.name == wanted]
        return (named or fitting or [None])[0]  # type: ignore[return-value]

    def _follow_labelled(self, layer: Labels | None) -> None:
        """The boxes say what holds for this layer; for one of which nothing is known, what was last chosen."""
        known = labelled_of(layer) if layer is not None else None
        wanted = {self.sparse: known == "painted", self.slices: known == "slices"} if known else self._usual
        for box, on in wanted.items():
            box.blockSignals(True)
            box.setChecked(on)
            box.blockSignals(False)
        self._show_brush()

    def _show_brush(self) -> None:
        self._add_card.show_field(self.brush, self.layers.layer is not None and self.labelled != "all")
        self.brush.offer(self.chosen_task)

    def _labelled_chosen(self, _on: bool) -> None:
        self._usual = {box: box.isChecked() for box in self._usual}
        if self.layers.layer is not None:
            set_labelled(self.layers.layer, self.labelled, self.chosen_task)
        self._show_brush()

    @property
    def labelled(self) -> Labelled:
        """What of the chosen mask is labelled."""
        if self.sparse.isChecked():
            return "painted"
        layer = self.layers.layer
        return "slices" if layer is not None and layer.ndim == 3 and self.slices.isChecked() else "all"

    def add(self, replace: bool = False) -> None:
        """Put the chosen mask and its image into the set."""
        if reason := self._why_not():
            self.say(reason, "warn")
            return
        layer, image = self.layers.layer, self.images.layer
        own = layer.metadata.get(KEY, {}) if layer.metadata else {}
        predicted = own.get("predicted")
        scan = scan_of(image)
        shape = scan.grid_shape
        try:
            set_labelled(layer, self.labelled, self.set.task)  # type: ignore[union-attr]
            labels = mask_of(layer, self.set.task, self.labelled)  # type: ignore[union-attr]
            labels = labels.reshape(shape) if labels.size == np.prod(shape) and labels.ndim < len(shape) else labels
            case, warnings = self.set.add(  # type: ignore[union-attr]
                scan,
                labels,
                source=str(own.get("path") or image.source.path or image.name),
                model_id=str(own.get("model_id", "")),
                prediction=None if predicted is None else np.asarray(predicted, np.uint8).reshape(shape),
                role=self.role.currentData(),
                replace=replace,
            )
        except AnnotationConflict as e:
            self.say_error(e)
            self.replace.show()
            return
        except (TinyMIGError, ValueError) as e:
            self.say_error(e)
            return
        self.keeper.saved(layer)
        self.replace.hide()
        self.changed()
        words = " ".join(w.text for w in warnings)
        self.say(f"'{case.stem}' is in the set. {words}".strip(), "warn" if warnings else "good")

    def changed(self) -> None:
        """The set changed: list it again, tell the other panels."""
        if self.set is not None:
            self.cases.show_cases(self.set.folder, self.set.cases)
            project.changed()
        self._refresh()

    # --- recovery ----------------------------------------------------------------------------------------------

    def offer_recovery(self) -> None:
        """Show the card if a session ended with strokes that were not saved."""
        self.recoveries = recoverable()
        names = ", ".join(str(r.about.get("layer", "mask")) for r in self.recoveries[:4])
        self.recovery_text.setText(f"{len(self.recoveries)} mask(s) of an earlier session: {names}.")
        self.recovery_card.setVisible(bool(self.recoveries))

    def restore(self) -> None:
        """Add the recovered masks as layers, with their images where the files are still there."""
        for recovery in self.recoveries:
            path = str(recovery.about.get("path") or "")
            if path and Path(path).exists() and not any(i.source.path == path for i in self.viewer.layers):
                self.viewer.open(
                    path, plugin="napari-tinymig" if path.lower().endswith(volume_suffixes()) else "napari"
                )
            self.viewer.add_layer(restored_layer(recovery))
            recovery.discard()
        self.say(f"{len(self.recoveries)} mask(s) restored as new layers.", "good")
        self.recoveries = []
        self.recovery_card.hide()

    def discard_recovery(self) -> None:
        """Remove what was offered."""
        for recovery in self.recoveries:
            recovery.discard()
        self.recoveries = []
        self.recovery_card.hide()

    def released(self) -> None:
        self.next.stop()
        self.mended.leave_cases()
        self.close_set()
        self.keeper.failed.disconnect(self.say_error)
        let_keeper_go(self.viewer)
