"""A worker's messages in the window's thread, at most ten times a second however fast they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer

from ... import jobs
from ...base.records import Message

PERIOD_MS = 100


class RunWatch:
    """One run at a time: started here, its messages handed over in batches, its end once.

    on_messages(list of Message) and on_end(Outcome) are called in the window's thread. The worker's own threads only
    append to a queue; nothing of Qt is touched outside the window's thread.
    """

    def __init__(
        self,
        parent: QObject,
        on_messages: Callable[[list[Message]], None],
        on_end: Callable[[jobs.Outcome], None],
    ):
        self.on_messages, self.on_end = on_messages, on_end
        self.run: jobs.WorkerRun | None = None
        self._queue: deque[Message] = deque()
        self._outcome: jobs.Outcome | None = None
        self._timer = QTimer(parent)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self._tick)

    @property
    def running(self) -> bool:
        """True until the end was handed over."""
        return self.run is not None

    def start(self, kind: str, settings: dict[str, Any], folder: Path) -> None:
        """Start a run. Raises what `jobs.start` raises."""
        self._queue.clear()
        self._outcome = None
        self.run = jobs.start(kind, settings, folder, on_message=self._queue.append, on_end=self._ended)
        self._timer.start()

    def _ended(self, outcome: jobs.Outcome) -> None:
        self._outcome = outcome

    def _tick(self) -> None:
        batch = []
        while self._queue:
            batch.append(self._queue.popleft())
        if batch:
            self.on_messages(batch)
        outcome = self._outcome
        if outcome is not None and not self._queue:
            self._timer.stop()
            self.run = self._outcome = None
            self.on_end(outcome)

    def stop(self) -> None:
        """Ask for an early end that keeps the best."""
        if self.run is not None:
            self.run.stop()

    def discard(self) -> None:
        """Cancel; nothing is kept."""
        if self.run is not None:
            self.run.discard()

    def leave(self) -> None:
        """The panel is gone: the run is asked to keep its best and nobody listens any more."""
        self._timer.stop()
        run, self.run = self.run, None
        if run is not None:
            threading.Thread(target=run.stop, daemon=True).start()
