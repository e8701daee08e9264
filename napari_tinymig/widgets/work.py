"""Background work of a panel: at most one call counts, and an answer older than the current request is dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Qt, QTimer, Signal


class Stopped(Exception):
    """Raised by `report` inside a call that was cancelled; let it pass."""


class _Post(QObject):
    """Carries progress from the working thread into the window's."""

    sent = Signal(int, object)


class Work:
    """Runs one call at a time in a napari worker thread and reports in the window's thread.

    `start` takes a generator function: it yields progress values of any kind and returns its result, and is asked to
    stop between two yields. `start_call` takes a plain function that gets `report`: `report(value)` sends progress
    and raises `Stopped` in a call that was cancelled. Every start raises the generation; what an older generation still
    sends is dropped. `on_tick(seconds)` is called four times a second while work runs, for an elapsed-time label.
    """

    def __init__(
        self,
        parent: QObject,
        on_result: Callable[[Any], None],
        on_error: Callable[[BaseException], None],
        on_progress: Callable[[Any], None] | None = None,
        on_tick: Callable[[float], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ):
        self._on_result, self._on_error = on_result, on_error
        self._on_progress, self._on_tick, self._on_end = on_progress, on_tick, on_end
        self.generation = 0
        self._worker: Any = None
        self._post = _Post()
        self._post.sent.connect(self._progress, Qt.ConnectionType.QueuedConnection)
        self._started = 0.0
        self._timer = QTimer(parent)
        self._timer.setInterval(250)
        self._timer.timeout.connect(self._tick)
        # Not a QObject itself: with the window gone the thread may still answer, and must find a living object.
        parent.destroyed.connect(lambda *_: self._abandon())

    @property
    def running(self) -> bool:
        """True from `start` until the answer, the error or `cancel`."""
        return self._worker is not None

    @property
    def seconds(self) -> float:
        """Seconds since `start`."""
        return time.perf_counter() - self._started

    def start(self, call: Callable[..., Generator[Any, None, Any]], *args: Any, **kwargs: Any) -> None:
        """Run `call(*args, **kwargs)`, a generator function, in a thread; a call that still runs is cancelled."""
        self.cancel()
        worker = create_worker(call, *args, _ignore_errors=True, _start_thread=False, **kwargs)
        mine = self.generation
        worker.yielded.connect(lambda value: self._progress(mine, value))
        self._launch(worker)

    def start_call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run `call(*args, report=report, **kwargs)`, a plain function, in a thread; see the class."""
        self.cancel()
        mine = self.generation

        def report(value: Any = None) -> None:
            if mine != self.generation:
                raise Stopped
            self._post.sent.emit(mine, value)

        self._launch(create_worker(call, *args, report=report, _ignore_errors=True, _start_thread=False, **kwargs))

    def _launch(self, worker: Any) -> None:
        mine = self.generation
        worker.returned.connect(lambda value: self._result(mine, value))
        worker.errored.connect(lambda error: self._error(mine, error))
        self._worker = worker
        self._started = time.perf_counter()
        self._timer.start()
        worker.start()

    def cancel(self) -> None:
        """Ask the thread to stop at its next yield; whatever it still sends is dropped."""
        self.generation += 1
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
            self._timer.stop()
            if self._on_end:
                self._on_end()

    def _abandon(self) -> None:
        """The window is gone: no timer, no callbacks; the thread ends at its next yield."""
        self.generation += 1
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.quit()

    def _finish(self) -> None:
        self._worker = None
        self._timer.stop()
        if self._on_end:
            self._on_end()

    def _progress(self, generation: int, value: Any) -> None:
        if generation == self.generation and self._on_progress:
            self._on_progress(value)

    def _result(self, generation: int, value: Any) -> None:
        if generation == self.generation:
            self._finish()
            self._on_result(value)

    def _error(self, generation: int, error: BaseException) -> None:
        if generation == self.generation:
            self._finish()
            self._on_error(error)

    def _tick(self) -> None:
        if self._on_tick:
            self._on_tick(self.seconds)
