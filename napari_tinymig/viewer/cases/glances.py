"""State and number of masks, found in a thread: a stroke in a large volume does not stop the window."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from ..masks.mask_state import State, headline, state_of
from .results import follow_undo


class Glances(QObject):
    """Looks at masks one after another, in a thread of its own.

    seen: (mask, state, number), told in the window's thread. A mask that is asked for again while it waits is looked
    at once; what is painted meanwhile asks anew.
    """

    seen = Signal(object, str, str)

    def __init__(self, parent: QObject):
        super().__init__(parent)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cases")
        self._waiting: dict[Labels, Future[None]] = {}
        self.seen.connect(self._answered)

    def ask(self, mask: Labels) -> None:
        """Look at a mask soon."""
        if (before := self._waiting.pop(mask, None)) is not None:
            before.cancel()
        self._waiting[mask] = self._thread.submit(self._look, mask)

    def _look(self, mask: Labels) -> None:
        state, number = look_at(mask)
        self.seen.emit(mask, state, number)

    def _answered(self, mask: Labels, _state: str, _number: str) -> None:
        if (waiting := self._waiting.get(mask)) is not None and (waiting.running() or waiting.done()):
            del self._waiting[mask]  # a mask that is closed later is not held

    def forget(self) -> None:
        """Nobody waits for an answer any longer."""
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()

    def stop(self) -> None:
        """Let the thread go."""
        self.forget()
        self._thread.shutdown(wait=True)


def look_at(mask: Labels | None) -> tuple[State, str]:
    """State and number of a mask as it is now; after an undo its earlier prediction's numbers are its own again."""
    if mask is not None:
        follow_undo(mask)
    return state_of(mask), headline(mask)
