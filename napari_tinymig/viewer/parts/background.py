"""Background work of a panel: at most one call counts, and an answer older than the current request is dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from ..napari_io.finished_tasks import forget_when_finished


class Stopped(Exception):
    """Raised by `report` inside a call that was cancelled; let it pass."""


class _Post(QObject):
    """Carries progress from the working thread into the window's."""

    sent = Signal(object, object)


@dataclass(frozen=True)
class _Failed:
    """What a call raised."""

    error: Exception


class _Call:
    """One request: what is called, and the Work that waits for it, None once it waits no longer.

    A call lets go of its arguments when it ends, and of its Work when it is cancelled, so that nothing large waits for
    a worker that is slow to stop.
    """

    def __init__(self, work: Work, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.work: Work | None = work
        self._what: tuple[Any, ...] | None = (function, args, kwargs)

    def _take(self) -> tuple[Any, ...]:
        what, self._what = self._what, None
        return what or (lambda *_args, **_kwargs: None, (), {})

    # Errors come back as values: with PySide6, napari's own handler of a worker's `errored` signal fails.

    def run(self) -> Any:
        """The plain function's result or error, in the working thread."""
        function, args, kwargs = self._take()
        try:
            return function(*args, report=self.report, **kwargs)
        except Exception as e:  # noqa: BLE001 - shown to the user as a sentence, whatever it is
            return _Failed(e)

    def run_steps(self) -> Generator[Any, None, Any]:
        """The generator function's steps and result or error, in the working thread."""
        function, args, kwargs = self._take()
        try:
            return (yield from function(*args, **kwargs))
        except Exception as e:  # noqa: BLE001 - as above
            return _Failed(e)

    def report(self, value: Any = None) -> None:
        """Send progress from the working thread; `Stopped` in a call nobody waits for."""
        work = self.work
        if work is None:
            raise Stopped
        work.post.sent.emit(self, value)

    def progress(self, value: Any) -> None:
        if self.work is not None:
            self.work.progressed(value)

    def result(self, value: Any) -> None:
        if self.work is None:
            return
        if isinstance(value, _Failed):
            self.work.ended(self.work.on_error, value.error)
        else:
            self.work.ended(self.work.on_result, value)


class Work:
    """Runs one call at a time in a napari worker thread and reports in the window's thread.

    `start` takes a generator function: it yields progress values of any kind and returns its result, and is asked to
    stop between two yields. `start_call` takes a plain function that gets `report`: `report(value)` sends progress
    and raises `Stopped` in a call that was cancelled. What a call sends after a newer start, or after `cancel`, is
    dropped. `on_tick(seconds)` is called four times a second while work runs, for an elapsed-time label; `on_end`
    whenever work ends: by result, error, or cancel.
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
        self.on_result, self.on_error = on_result, on_error
        self.on_progress, self._on_tick, self._on_end = on_progress, on_tick, on_end
        self._call: _Call | None = None
        self._worker: Any = None
        self._started = 0.0
        self.post = _Post(parent)
        self.post.sent.connect(lambda call, value: call.progress(value), Qt.ConnectionType.QueuedConnection)
        self._timer = QTimer(parent)
        self._timer.setInterval(250)
        self._timer.timeout.connect(self._tick)
        # Not a QObject itself: with the window gone the thread may still answer, and must find a living object.
        parent.destroyed.connect(lambda *_: self._let_go())

    @property
    def running(self) -> bool:
        """True from a start until the answer, the error or `cancel`."""
        return self._call is not None

    @property
    def seconds(self) -> float:
        """Seconds since the last start."""
        return time.perf_counter() - self._started

    def start(self, steps: Callable[..., Generator[Any, None, Any]], *args: Any, **kwargs: Any) -> None:
        """Run `steps(*args, **kwargs)`, a generator function, in a thread; a call that still runs is cancelled."""
        self.cancel()
        call = _Call(self, steps, args, kwargs)
        worker = create_worker(call.run_steps, _ignore_errors=True, _start_thread=False)
        worker.yielded.connect(call.progress)
        self._launch(call, worker)

    def start_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run `function(*args, report=report, **kwargs)`, a plain function, in a thread; see the class."""
        self.cancel()
        call = _Call(self, function, args, kwargs)
        self._launch(call, create_worker(call.run, _ignore_errors=True, _start_thread=False))

    def _launch(self, call: _Call, worker: Any) -> None:
        worker.returned.connect(call.result)
        forget_when_finished(worker)
        self._call, self._worker = call, worker
        self._started = time.perf_counter()
        self._timer.start()
        worker.start()

    def cancel(self) -> None:
        """Ask the thread to stop at its next yield or report; whatever it still sends is dropped."""
        if self._let_go():
            self._timer.stop()
            if self._on_end:
                self._on_end()

    def _let_go(self) -> bool:
        """Wait no longer for the present call; False if there is none. Touches no Qt object that may be gone."""
        call, worker = self._call, self._worker
        self._call = self._worker = None
        if call is None:
            return False
        call.work = None
        worker.quit()
        return True

    def ended(self, tell: Callable[[Any], None], value: Any) -> None:
        """The present call ended by itself: with its result or its error."""
        if self._call is not None:
            self._call.work = None
        self._call = self._worker = None
        self._timer.stop()
        if self._on_end:
            self._on_end()
        tell(value)

    def progressed(self, value: Any) -> None:
        """The present call sent progress."""
        if self.on_progress:
            self.on_progress(value)

    def _tick(self) -> None:
        if self._on_tick:
            self._on_tick(self.seconds)
