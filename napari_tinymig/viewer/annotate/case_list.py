"""The cases of an annotation set as a list with thumbnails: role, inclusion, removal, opening."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QListWidget, QListWidgetItem

from ...annotations.annotation_set import Case, load_case
from ...annotations.label_checks import IGNORE
from ...annotations.scribbles import to_canvas
from ...annotations.trail import told
from ...base.errors import TinyMIGError
from ...tasks.colours import colour_of, rgb
from ...tasks.task import Task
from ..masks.sparse_canvas import canvas_looks
from ..napari_io.layers import KEY
from ..parts.background import Work
from ..parts.style import EmptyState, Section, button, row
from .open_set import OpenSet

SIDE = 56
ROLES = {"auto": "run decides", "train": "training", "val": "validation"}


def thumbnail(folder: Path, case: Case, task: Task) -> NDArray[np.uint8]:
    """(56, 56, 3): the surroundings of the mask, in the slice with most paint, with the mask in the task's colours."""
    scan, labels = load_case(folder, case)
    frame = scan.pixels
    if scan.kind == "volume":
        painted = ((labels > 0) & (labels != IGNORE)).sum((1, 2))
        z = int(painted.argmax())
        frame, labels = frame[z].astype(np.float32), labels[z]
        low, high = np.percentile(frame, (1, 99))
        grey = np.clip((frame - low) / max(float(high - low), 1e-6) * 255, 0, 255).astype(np.uint8)
        frame = np.repeat(grey[..., None], 3, 2)
    rows, cols = (_around(axis, frame.shape) for axis in np.nonzero((labels > 0) & (labels != IGNORE)))
    side = max(rows[1], cols[1])
    ys, xs = (
        np.clip(middle + ((np.arange(SIDE) + 0.5) / SIDE - 0.5) * side, 0, length - 1).astype(int)
        for (middle, _), length in zip((rows, cols), frame.shape)
    )
    small, mask = frame[np.ix_(ys, xs)].astype(np.float32), labels[np.ix_(ys, xs)]
    for region in task.regions:
        colour = np.array(rgb(colour_of(task, region)), np.float32)
        small[mask == region.label] = 0.5 * small[mask == region.label] + 0.5 * colour
    return small.astype(np.uint8)


def _around(painted: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[float, float]:
    """Middle and wanted length along one axis: three times what is painted, the whole image where nothing is."""
    if not painted.size:
        return max(shape[:2]) / 2, float(max(shape[:2]))
    return (painted.min() + painted.max() + 1) / 2, min(3.0 * (np.ptp(painted) + 1), float(max(shape[:2])))


def mended_words(case: Case) -> str:
    """', 3.2 % of the mask mended'; '' where nothing was predicted. Cases of older sets know the part of the image."""
    share, of = (case.mended_share, "mask") if case.mended_share is not None else (case.changed_fraction, "image")
    if share is None:
        return ""
    percent = f"{100 * share:.1f}" if share == 0 or share >= 0.0005 else "under 0.1"
    return f", {percent} % of the {of} mended"


class CaseList(Section):
    """Thumbnails, one line per case; the buttons act on the selected ones."""

    def __init__(self, panel: OpenSet):
        super().__init__("Cases")
        self.panel = panel
        self._pictures: dict[tuple[str, str], QIcon] = {}
        self.empty = self.add(EmptyState("No case yet."))
        self.list = QListWidget()
        self.list.setIconSize(QSize(SIDE, SIDE))
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setMinimumHeight(190)
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemChanged.connect(self._ticked)
        self.list.itemDoubleClicked.connect(lambda item: self.open_case(item.data(Qt.ItemDataRole.UserRole)))
        self.list.setToolTip("Ticked cases are used. Double click: open image and mask.")
        self.add(self.list)
        self.list.hide()
        self.role = QComboBox()
        for value, text in ROLES.items():
            self.role.addItem(text, value)
        self.role.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.role.setMinimumContentsLength(6)
        self.add(
            row(
                self.role,
                button("Set role", self.set_role, tip="Role of the selected cases."),
                button("Remove", self.remove, "danger", "Take the selected cases out; files move to history/."),
            )
        )
        self.work = Work(panel, lambda _result: None, panel.say_error, self._got_picture)  # type: ignore[arg-type]

    def show_cases(self, folder: Path, cases: Sequence[Case]) -> None:
        """List these cases; pictures come from a thread."""
        self.list.blockSignals(True)
        self.list.clear()
        for case in cases:
            item = QListWidgetItem(self._line(case))
            item.setData(Qt.ItemDataRole.UserRole, case.stem)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if case.include else Qt.CheckState.Unchecked)
            item.setToolTip(self._tip(case))
            icon = self._pictures.get((case.stem, case.label_sha256))
            item.setIcon(icon or QIcon(QPixmap(SIDE, SIDE)))
            self.list.addItem(item)
        self.list.blockSignals(False)
        self.empty.setVisible(not cases)
        self.list.setVisible(bool(cases))
        missing = [c for c in cases if (c.stem, c.label_sha256) not in self._pictures]
        if missing and self.panel.set is not None:
            self.work.start(_pictures, folder, missing, self.panel.set.task)

    @staticmethod
    def _line(case: Case) -> str:
        sparse = "" if case.labelled_fraction > 0.999 else f", {100 * case.labelled_fraction:.0f} % labelled"
        mended = mended_words(case).replace(", ", "\n", 1)
        return f"{case.stem}\n{ROLES[case.role]}{mended}{sparse}"

    @staticmethod
    def _tip(case: Case) -> str:
        return "\n".join([case.source, *told(case)])

    def _got_picture(self, progress: tuple[str, str, Any]) -> None:
        stem, sha, picture = progress
        image = QImage(picture.tobytes(), SIDE, SIDE, 3 * SIDE, QImage.Format.Format_RGB888)
        icon = QIcon(QPixmap.fromImage(image))
        self._pictures[stem, sha] = icon
        for i in range(self.list.count()):
            item = self.list.item(i)
            if item.data(Qt.ItemDataRole.UserRole) == stem:
                self.list.blockSignals(True)
                item.setIcon(icon)
                self.list.blockSignals(False)

    def selected(self) -> list[str]:
        """Stems of the selected cases."""
        return [item.data(Qt.ItemDataRole.UserRole) for item in self.list.selectedItems()]

    def _ticked(self, item: QListWidgetItem) -> None:
        self._change(item.data(Qt.ItemDataRole.UserRole), include=item.checkState() == Qt.CheckState.Checked)

    def set_role(self) -> None:
        """Give the selected cases the chosen role."""
        for stem in self.selected():
            self._change(stem, role=self.role.currentData())

    def _change(self, stem: str, **what: Any) -> None:
        if self.panel.set is None:
            return
        try:
            self.panel.set.update(stem, **what)
        except (TinyMIGError, KeyError) as e:
            self.panel.say_error(e)
        self.panel.changed()

    def remove(self) -> None:
        """Take the selected cases out of the set."""
        for stem in self.selected():
            if self.panel.set is None:
                return
            try:
                self.panel.set.remove(stem)
            except (TinyMIGError, KeyError) as e:
                self.panel.say_error(e)
        self.panel.changed()

    def open_case(self, stem: str) -> None:
        """Show a case's image and mask as layers, so that the mask can be mended again."""
        opened = self.panel.set
        if opened is None:
            return
        case = next(c for c in opened.cases if c.stem == stem)
        try:
            scan, labels = load_case(opened.folder, case)
        except TinyMIGError as e:
            self.panel.say_error(e)
            return
        photograph = scan.kind == "photograph"
        scale = {"scale": scan.spacing_mm, "units": ("mm",) * len(scan.spacing_mm)} if scan.spacing_mm else {}
        self.panel.viewer.add_image(scan.pixels, name=stem, rgb=photograph, **scale)
        task = opened.task
        canvas, labelled = to_canvas(labels, task)
        own = {"task": task.model_dump(), "source": stem, "model_id": case.model_id, "labelled": labelled}
        self.panel.viewer.add_labels(
            canvas,
            name=f"{stem} {task.name}",
            opacity=0.55,
            metadata={KEY: own},
            **canvas_looks(task, labelled),
            **scale,
        )


def _pictures(folder: Path, cases: Sequence[Case], task: Task) -> Any:
    """Thumbnails one by one, in a thread; a case that cannot be read keeps its blank."""
    for case in cases:
        try:
            yield case.stem, case.label_sha256, thumbnail(folder, case, task)
        except TinyMIGError:
            continue
