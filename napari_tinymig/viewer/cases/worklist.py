"""What is done with the cases of a viewer: segmented, saved, remembered in their folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

from ...base.errors import OutputRefused, TinyMIGError
from ...measures.declared import DECLARED
from ...reports.numbers import with_unit
from ..docks.tabs import front_panel, open_panel
from ..masks.journal_keeper import real
from ..parts.background import Work
from ..parts.settings import setting
from .book import CaseBook
from .case import Case
from .look import MaskLook
from .remembered import list_of, predicted_path, remember
from .results import add_result
from .saving import Saver, put_in_place, target_of
from .segment_all import Segmented, segment_all, to_segment


class Worklist(QObject):
    """Segments, saves and remembers the cases of one viewer; from `hold_worklist`.

    autosave: mended masks are saved when the case is left, and every so often. masks_folder: where masks go, None =
    beside each image. said: (sentence, tone). progressed: (cases done, cases in all) of a run; (0, 0) when it ended.
    """

    said = Signal(str, str)
    progressed = Signal(int, int)

    def __init__(self, viewer: Any):
        super().__init__()
        self.viewer = viewer
        self.book = CaseBook(viewer)
        self.look = MaskLook(self.book)
        self.autosave = True
        self.masks_folder: Path | None = None
        self._problems: list[str] = []
        self._left_alone = self._done = self._total = self._saved = 0
        self.saver = Saver(viewer, self)
        self.work = Work(self, self._run_ended, self._run_failed, self._answered)
        self.book.leaving.connect(self.keep)
        self.book.said.connect(self.said)
        self.book.moved.connect(self._remember_soon)
        self.saver.written.connect(self._written)
        self.saver.failed.connect(lambda sentence: self.said.emit(sentence, "bad"))
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(300)
        self._soon.timeout.connect(self.remember)
        self._often = QTimer(self)
        self._often.timeout.connect(lambda: self.keep(self.book.current))
        self._stopped = False
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.stop)
        seconds = int(setting("general", "autosave_seconds"))
        if seconds:
            self._often.start(1000 * seconds)

    # --- saving ------------------------------------------------------------------------------------------------

    def save(self, case: Case | None = None) -> None:
        """Save the mask of a case, the current one by default."""
        case = case or self.book.current
        if case is None:
            self.said.emit("There is no case to save; open an image first.", "warn")
            return
        self.book.settle()
        try:
            self.saver.put(case, target_of(case, self.masks_folder))
        except OutputRefused as e:
            self.said.emit(str(e), "warn")

    def save_all(self) -> None:
        """Save every mask that is not saved as it is now; those of files that are not open are put in place, too."""
        self.book.settle()
        unsaved = [c for c in self.book.cases if c.state in ("segmented", "mended")]
        for case in unsaved:
            if case.mask is not None:
                self.save(case)
            elif case.mask_file is not None:
                self._put_in_place(case)
        if not unsaved:
            self.said.emit("Every mask is saved already.", "good")

    def _put_in_place(self, case: Case) -> None:
        """The predicted mask of a file that is not open, moved from where it waits."""
        if case.mask_file is None:
            return
        try:
            case.mask_file = put_in_place(case.mask_file, target_of(case, self.masks_folder))
        except (TinyMIGError, ValueError, OSError) as e:
            self.said.emit(str(e), "warn")
            return
        case.state = "saved"
        self._written(case, case.mask_file)

    def keep(self, case: Case | None) -> None:
        """Autosave: a mended mask is saved; a predicted one of a folder waits where it is found again."""
        if case is None or case.mask is None or not self.autosave:
            return
        self.book.look_at(case)
        try:
            if case.state == "mended":
                self.saver.put(case, target_of(case, self.masks_folder))
            elif case.state == "segmented" and case.target is not None and self.book.folder is not None:
                self.saver.put(case, predicted_path(self.book.folder, case.target), "segmented")
        except OutputRefused as e:
            self.said.emit(str(e), "warn")

    def _written(self, case: Case, path: Path) -> None:
        if case.state == "saved" or case.mask is not None:
            self.book.look_at(case)
        if case.state == "saved":
            self._saved += 1
        if self._saved and not self.saver.busy:
            self.said.emit(f"Saved {path.name}" if self._saved == 1 else f"{self._saved} masks saved.", "good")
            self._saved = 0
        self.book.changed.emit()
        self._soon.start()

    # --- segmenting --------------------------------------------------------------------------------------------

    def segment(self, cases: Iterable[Case], task: str | None = None, model: str | None = None) -> None:
        """Segment cases one after another, except those that somebody mended or saved."""
        self.book.settle()
        chosen = list(cases)
        free = [c for c in chosen if c.state in ("new", "segmented")]
        self._left_alone, self._problems = len(chosen) - len(free), []
        self._done, self._total = 0, len(free)
        if not free:
            self.said.emit("Nothing to segment: no case is open, or every mask is mended or saved.", "warn")
            return
        self.book.alone()
        self.progressed.emit(0, self._total)
        self.work.start(segment_all, [to_segment(c, self.book.folder, task, model) for c in free])

    def stop_segmenting(self) -> None:
        """Stop after the case that is being looked at; what is done stays."""
        self.work.cancel()
        self._tell_run("Stopped. ")

    def _answered(self, answer: Segmented) -> None:
        self._done += 1
        case, prediction = answer.case, answer.prediction
        if prediction is None or answer.task is None:
            self._problems.append(answer.problem)
        elif case.image is not None:
            add_result(self.viewer, case, case.image, (), prediction, answer.task)
            self.book.look_at(case)
        elif answer.mask_file is not None:
            case.mask_file, case.state, case.picture = answer.mask_file, "segmented", answer.picture
            case.about = {"model_id": prediction.model_id, "task": answer.task.model_dump()}
            shown = [m for m in DECLARED.values() if m.main and m.key in prediction.measures]
            case.number = "".join(
                f"{m.name} {with_unit(prediction.measures[m.key], m.unit, m.digits)}" for m in shown[:1]
            )
        self.book.changed.emit()
        self.progressed.emit(self._done, self._total)

    def _run_ended(self, _result: Any = None) -> None:
        self._tell_run("")

    def _run_failed(self, error: BaseException) -> None:
        self._problems.append(str(error))
        self._tell_run("")

    def _tell_run(self, first: str) -> None:
        done = self._done - len(self._problems)
        words = f"{first}{done} of {self._total} segmented."
        if self._left_alone:
            words += f" {self._left_alone} mended or saved: left as they are."
        if self._problems:
            words += f" Not segmented: {' '.join(self._problems[:3])}"
        self.progressed.emit(0, 0)
        self.said.emit(words, "warn" if self._problems else "good")
        self._soon.start()

    def send_masks_to(self, folder: str | Path) -> None:
        """Masks are written into this folder from now on."""
        self.masks_folder = Path(folder)

    # --- the folder --------------------------------------------------------------------------------------------

    def open_folder(self, folder: str | Path) -> None:
        """List a folder's images as cases, as they were left, with the panel that was in front."""
        try:
            self.book.open_folder(folder)
            in_front = list_of(Path(folder)).panel
            if in_front:
                open_panel(self.viewer, in_front)
        except (TinyMIGError, ValueError, OSError) as e:
            self.said.emit(str(e), "bad")

    def _remember_soon(self) -> None:
        self._soon.start()

    def remember(self) -> None:
        """Write what is known of the folder's cases into the folder."""
        if self.book.folder is None:
            return
        current = self.book.current.name if self.book.current is not None else ""
        try:
            remember(self.book.folder, self.book.cases, current, front_panel(self.viewer))
        except (TinyMIGError, OSError) as e:
            self.said.emit(str(e), "bad")

    def stop(self) -> None:
        """Save what is mended, remember, and let go of the viewer."""
        if self._stopped:
            return
        self._stopped = True
        self.work.cancel()
        self._often.stop()
        self._soon.stop()
        self.book.settle()
        for case in [c for c in self.book.cases if c.mask is not None]:
            self.keep(case)
        self.saver.finish()
        self.remember()
        self.book.stop()


@dataclass
class _Held:
    worklist: Worklist
    holders: int = 0


_HELD: dict[int, _Held] = {}


def hold_worklist(viewer: Any) -> Worklist:
    """The worklist of a viewer, started by its first holder; every holder calls `let_worklist_go` once."""
    key = id(real(viewer))
    if key not in _HELD:
        _HELD[key] = _Held(Worklist(real(viewer)))
    _HELD[key].holders += 1
    return _HELD[key].worklist


def let_worklist_go(viewer: Any) -> None:
    """One holder less; the last one ends the worklist."""
    held = _HELD.get(id(real(viewer)))
    if held is None:
        return
    held.holders -= 1
    if held.holders <= 0:
        del _HELD[id(real(viewer))]
        held.worklist.stop()
