"""The Cases panel: what is open, how far each case is, and going through them by keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QCheckBox, QFileDialog, QListWidget, QListWidgetItem, QProgressBar, QSlider

from ..docks.keys import CASE_KEYS, CORRECT_KEYS, PROMPT_KEYS, with_key
from ..parts.numbers import NumberRows
from ..parts.panel import Panel
from ..parts.style import EmptyState, button, primary_button, row, text_label
from .actions import actions, bind_keys, release_keys
from .case import Case
from .pictures import SIDE, picture_of
from .worklist import hold_worklist, let_worklist_go

if TYPE_CHECKING:
    import napari.viewer


class CasesPanel(Panel):
    """One line a case: picture, name, state, number. One case at a time is on show."""

    purpose = "One case for every open image or file of a folder. Its mask, prompts and maps go with it."
    tab = "Cases"

    def __init__(self, napari_viewer: napari.viewer.Viewer):
        super().__init__(napari_viewer)
        self.worklist = hold_worklist(napari_viewer)
        self.book = self.worklist.book
        bind_keys(self.worklist)
        self.act = actions(self.worklist)
        self._pictures: dict[Case, tuple[Any, QIcon]] = {}
        self._list_section()
        self._save_section()
        self._look_section()
        self._keys_section()
        for signal, slot in self._signals():
            signal.connect(slot)
        self._show_cases()
        self._look_changed()

    def _signals(self) -> list[tuple[Any, Any]]:
        return [
            (self.book.changed, self._show_cases),
            (self.book.moved, self._show_current),
            (self.worklist.said, self.say),
            (self.worklist.progressed, self._progressed),
            (self.worklist.look.changed, self._look_changed),
        ]

    # --- parts -------------------------------------------------------------------------------------------------

    def _list_section(self) -> None:
        section = self.add_section()
        self.empty = section.add(EmptyState("Open images (drag files into the window), or a folder of them."))
        self.list = QListWidget()
        self.list.setIconSize(QSize(SIDE, SIDE))
        self.list.setMinimumHeight(5 * (SIDE + 6))
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys belong to the image
        self.list.itemClicked.connect(self._clicked)
        section.add(self.list)
        self._list_card = section
        section.add(
            row(
                button("◀ Previous", lambda: self.act["previous"](), tip=f"Key: {CASE_KEYS['previous'].shown}"),
                button("Next ▶", lambda: self.act["next"](), tip=f"Key: {CASE_KEYS['next'].shown}"),
                button("Open folder", self._browse, tip="Every image is a case; it reopens as it was left."),
                stretch=None,
            )
        )
        tip = with_key("Runs in the background. Masks that you mended or saved are left as they are.", "segment_all")
        self.go = section.add(primary_button("Segment all cases", lambda: self.act["segment_all"](), tip))
        self.bar = section.add(QProgressBar())
        self.stop = section.add(button("Stop", self.worklist.stop_segmenting, "danger", "What is done stays."))
        self.bar.hide()
        self.stop.hide()

    def _save_section(self) -> None:
        section = self.add_section("Save")
        self.where = section.add(text_label("", "hint"))
        self.autosave = QCheckBox("save mended masks when I go on")
        self.autosave.setChecked(self.worklist.autosave)
        self.autosave.setToolTip("An earlier file at the same place is kept in tinymig/earlier.")
        self.autosave.toggled.connect(self._autosave_toggled)
        section.add(self.autosave)
        section.add(
            row(
                button("Save", lambda: self.act["save"](), tip=with_key("The mask of this case.", "save")),
                button("Save all", lambda: self.act["save_all"](), tip=with_key("Every mask.", "save_all")),
                button("Masks go to", self._choose_target, tip="A folder for the masks; beside each image at first."),
                stretch=None,
            )
        )

    def _look_section(self) -> None:
        section = self.add_section("Masks on screen")
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.valueChanged.connect(lambda v: self.worklist.look.set(opacity=v / 100))
        self.percent = text_label("55 %", "value")
        self.percent.setMinimumWidth(48)
        section.add(row(text_label("opacity", "hint"), self.opacity, self.percent, stretch=1))
        self.opacity.setToolTip(with_key("Of every mask.", "see_through"))
        self.outline = QCheckBox("outline only")
        self.outline.setToolTip(with_key("Every mask as its outline.", "outline"))
        self.outline.toggled.connect(lambda on: self.worklist.look.set(outline=on))
        keys = button("Keys", self.toggle_keys, "link", f"Every key of the plugin. Key: {CASE_KEYS['cases'].shown}")
        section.add(row(self.outline, keys))

    def _keys_section(self) -> None:
        self.keys_card = self.add_section("Keys, in the image and in the panels")
        self.keys = self.keys_card.add(NumberRows())
        self.keys_card.hide()
        every = (*CASE_KEYS.values(), *CORRECT_KEYS.values(), *PROMPT_KEYS.values())
        self.keys.set_rows({key.does: key.shown for key in every})

    def show_keys(self) -> None:
        """Show the card of keys."""
        self.keys_card.show()

    def toggle_keys(self) -> None:
        """Show or hide the card of keys; shown, it is scrolled to."""
        self.keys_card.setVisible(self.keys_card.isHidden())
        if not self.keys_card.isHidden():
            self.scroll_to(self.keys_card)

    # --- the list ----------------------------------------------------------------------------------------------

    def _show_cases(self) -> None:
        cases = self.book.cases
        self.empty.setVisible(not cases)
        if self.list.isHidden() == bool(cases):
            self.list.setVisible(bool(cases))
            self.give_room(self._list_card, bool(cases))
        self.go.setEnabled(bool(cases) and not self.worklist.work.running)
        while self.list.count() > len(cases):
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < len(cases):
            self.list.addItem(QListWidgetItem())
        for i, case in enumerate(cases):
            item = self.list.item(i)
            number = f" · {case.number}" if case.number else ""
            item.setText(f"{case.name}\n{case.state}{number}")
            item.setIcon(self._icon(case))
            item.setToolTip(_trail(case))
        self._show_current()

    def _icon(self, case: Case) -> QIcon:
        known = self._pictures.get(case)
        look = (case.image is not None, case.state, case.number)
        if known is not None and (known[0] == look or case.image is None):
            return known[1]
        picture = picture_of(case)
        small = QPixmap(SIDE, SIDE)
        small.fill(Qt.GlobalColor.transparent)
        if picture is not None:
            image = QImage(picture.tobytes(), SIDE, SIDE, 3 * SIDE, QImage.Format.Format_RGB888)
            small = QPixmap.fromImage(image)
        icon = QIcon(small)
        icon.addPixmap(small, QIcon.Mode.Selected)  # not tinted
        if picture is not None:
            self._pictures[case] = (look, icon)
        return icon

    def _show_current(self) -> None:
        current = self.book.current
        at = self.book.cases.index(current) if current in self.book.cases else -1
        self.list.setCurrentRow(at)
        folder = self.worklist.masks_folder
        self.where.setText(f"Masks go to {folder}." if folder else "Masks go beside their images.")

    def _clicked(self, item: QListWidgetItem) -> None:
        self.book.go(self.book.cases[self.list.row(item)])

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of images")
        if chosen:
            self.open_folder(chosen)

    def open_folder(self, folder: str) -> None:
        """List the images of a folder, as they were left."""
        self.say("")
        self.worklist.open_folder(folder)

    # --- saving, looks, progress -------------------------------------------------------------------------------

    def _choose_target(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for masks")
        if chosen:
            self.worklist.send_masks_to(chosen)
            self._show_current()

    def _autosave_toggled(self, on: bool) -> None:
        self.worklist.autosave = on

    def _look_changed(self) -> None:
        look = self.worklist.look
        for part in (self.opacity, self.outline):
            part.blockSignals(True)
        self.opacity.setValue(round(100 * look.opacity))
        self.outline.setChecked(look.outline)
        for part in (self.opacity, self.outline):
            part.blockSignals(False)
        self.percent.setText(f"{round(100 * look.opacity)} %")

    def _progressed(self, done: int, total: int) -> None:
        running = total > 0
        self.bar.setVisible(running)
        self.stop.setVisible(running)
        self.go.setEnabled(not running and bool(self.book.cases))
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self.bar.setFormat(f"{done} of {total}")

    def released(self) -> None:
        for signal, slot in self._signals():
            signal.disconnect(slot)
        release_keys(self.worklist)
        let_worklist_go(self.viewer)


def _trail(case: Case) -> str:
    """Who mended the mask, when, and from which model."""
    about = case.about
    lines = [str(case.mask_file)] if case.mask_file is not None else []
    if about.get("who"):
        lines.append(f"by {about['who']}, {str(about.get('when', '')).replace('T', ' ')[:16]} UTC")
    if about.get("model_id"):
        lines.append(f"from {about['model_id']}")
    return "\n".join(lines)
