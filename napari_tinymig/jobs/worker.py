"""One training run in its own process: start it, watch it, stop it, clean up after it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..base.errors import MissingExtra, OutputRefused, WorkerFailed
from ..base.records import Message

log = logging.getLogger(__name__)

ANSWER_S = 2.0  # a worker that has not answered a request by then is killed
FINISH_S = 30.0  # a worker that has answered `stop` may write its best model for this long
TERMINAL = ("done", "stopped", "failed")
OWN_MARK = ".tinymig-run"  # a folder with this file was made by `start`, and may be removed by `discard`


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    status: 'done', 'stopped' (by the user, best kept), 'discarded', or 'failed'. text: one sentence. saved: the files
    that the run said it had saved and that exist. last: the last numbers by name.
    """

    status: Literal["done", "stopped", "discarded", "failed"]
    text: str
    saved: list[Path] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)


def training_threads(cores: int | None = None) -> int:
    """Threads for a worker so that the interface stays responsive: all cores but one, at least one."""
    return max(1, (cores or os.cpu_count() or 1) - 1)


class WorkerRun:
    """A running worker. Made by `start`; every method may be called from any thread.

    Messages arrive through `on_message` (called in a background thread, in order) and `messages()`; the end arrives
    through `on_end`, `wait()` and as the end of `messages()`. After the end no process is left.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        folder: Path,
        on_message: Callable[[Message], None] | None,
        on_end: Callable[[Outcome], None] | None,
    ) -> None:
        self.folder = folder
        self.outcome: Outcome | None = None
        self.acknowledged_s: float | None = None
        self._process = process
        self._on_message, self._on_end = on_message, on_end
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._asked: Literal["", "stop", "discard"] = ""
        self._asked_at = 0.0
        self._killed = False
        self._terminal: Message | None = None
        self._stderr: deque[str] = deque(maxlen=200)
        self._saved: list[Path] = []
        self._last: dict[str, float] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._errors = threading.Thread(target=self._drain_errors, name="worker-stderr", daemon=True)
        self._errors.start()
        threading.Thread(target=self._drain_messages, name="worker-messages", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until the outcome is known."""
        return not self._ended.is_set()

    def messages(self) -> Iterator[Message]:
        """The messages, as they come, until the run ends. One reader only."""
        while (message := self._queue.get()) is not None:
            yield message

    def wait(self, timeout_s: float | None = None) -> Outcome:
        """The outcome; TimeoutError if the run has not ended by then."""
        if not self._ended.wait(timeout_s) or self.outcome is None:
            raise TimeoutError(f"the run in {self.folder} has not ended within {timeout_s} s")
        return self.outcome

    def result(self, timeout_s: float | None = None) -> Outcome:
        """As `wait`, but a failed run raises WorkerFailed with its sentence."""
        outcome = self.wait(timeout_s)
        if outcome.status == "failed":
            raise WorkerFailed(outcome.text)
        return outcome

    def stop(self) -> None:
        """Ask the worker to end and keep its best; killed if it does not answer within 2 s. Returns at once."""
        self._ask("stop")

    def discard(self) -> None:
        """Cancel: the worker ends and what it wrote is removed. Returns at once."""
        self._ask("discard")

    def _ask(self, word: Literal["stop", "discard"]) -> None:
        with self._lock:
            if self._ended.is_set() or self._asked in (word, "discard"):
                return
            self._asked, self._asked_at = word, time.monotonic()
            self.acknowledged_s = None
        threading.Thread(target=self._insist, args=(word,), name=f"worker-{word}", daemon=True).start()

    def _insist(self, word: str) -> None:
        """Write the word, wait for the answer, kill a worker that gives none."""
        try:
            pipe = self._process.stdin
            if pipe is not None:
                pipe.write(word.encode() + b"\n")
                pipe.flush()
        except (OSError, ValueError):
            log.debug("the worker was gone before '%s' reached it", word)
        deadline = self._asked_at + ANSWER_S
        while time.monotonic() < deadline and not self._ended.is_set():
            if word == "stop" and self.acknowledged_s is not None:
                deadline = self._asked_at + FINISH_S
            if self._ended.wait(0.02):
                return
        if not self._ended.is_set() and self._asked == word:
            self._killed = True
            self._process.kill()

    def _drain_errors(self) -> None:
        stream = self._process.stderr
        for raw in iter(stream.readline, b"") if stream is not None else ():
            self._stderr.append(raw.decode("utf-8", "replace").rstrip())

    def _drain_messages(self) -> None:
        stream = self._process.stdout
        for raw in iter(stream.readline, b"") if stream is not None else ():
            try:
                message = Message.from_json(raw.decode("utf-8", "replace"))
            except ValueError:
                log.warning("the worker wrote a line that is no message: %r", raw[:120])
                continue
            self._take(message)
        code = self._process.wait()
        self._errors.join(timeout=2.0)
        self._finish(code)

    def _take(self, message: Message) -> None:
        answers = ("log", *TERMINAL)  # a step may have been under way before it was asked
        if self._asked and self.acknowledged_s is None and message.kind in answers:
            self.acknowledged_s = time.monotonic() - self._asked_at
        if message.kind == "saved" and message.text:
            path = Path(message.text)
            self._saved.append(path if path.is_absolute() else self.folder / path)
        if message.kind in TERMINAL:
            self._terminal = message
        self._last.update(message.values)
        self._queue.put(message)
        self._tell(self._on_message, message)

    def _finish(self, code: int) -> None:
        """Turn the exit code and the last words into an outcome; remove what was discarded."""
        saved = [p for p in dict.fromkeys(self._saved) if p.exists()]
        end = self._terminal
        if self._asked == "discard":
            outcome = Outcome("discarded", _remove(self.folder), [], self._last)
        elif end is not None and end.kind == "failed":
            outcome = Outcome("failed", f"{end.text} {_what_was_saved(saved)}", saved, self._last)
        elif end is not None:
            outcome = Outcome("stopped" if end.kind == "stopped" else "done", end.text, saved, self._last)
        elif self._killed and self._asked == "stop":
            text = f"The training process did not answer and was ended. {_what_was_saved(saved)}"
            outcome = Outcome("stopped" if saved else "failed", text, saved, self._last)
        else:
            outcome = Outcome("failed", f"{self._why(code)} {_what_was_saved(saved)}", saved, self._last)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self.outcome = outcome
        self._ended.set()
        self._queue.put(None)
        self._tell(self._on_end, outcome)

    def _why(self, code: int) -> str:
        """A sentence for a worker that vanished without a last word."""
        tail = " ".join(line for line in list(self._stderr)[-3:] if line.strip())
        if "No module named" in tail and any(m in tail for m in ("torch", "timm", "monai", "napari_tinymig.training")):
            return str(MissingExtra("Training", "train"))
        if code in (-9, 137):
            return "The system ended the training process (signal 9), most likely because memory ran out."
        if code == 0:
            return "The training process ended without saying how."
        name = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"The training process crashed ({name}). Its last words: {tail[-400:] or 'none'}."

    @staticmethod
    def _tell(callback: Callable[[Any], None] | None, value: Any) -> None:
        """Call a listener; a listener that raises must not stop the draining of the pipes."""
        if callback is None:
            return
        try:
            callback(value)
        except Exception:
            log.exception("a listener of the run raised")


def _what_was_saved(saved: list[Path]) -> str:
    if not saved:
        return "Nothing was saved."
    return "Saved: " + ", ".join(str(p) for p in saved[-3:]) + "."


def _remove(folder: Path) -> str:
    """Remove a run's folder if `start` made it; a sentence about it."""
    if not (folder / OWN_MARK).exists():
        return "Cancelled; the run's folder existed before and was left alone."
    for _ in range(20):  # on Windows a file may stay open for a moment after its process has ended
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return "Cancelled; nothing of this run was kept."
        time.sleep(0.05)
    return f"Cancelled; {folder} could not be removed completely."


def _prepare(kind: str, settings: dict[str, Any], folder: Path, threads: int) -> Path:
    """Make the run's folder and write job.json into it."""
    try:
        made = not folder.exists() or not any(folder.iterdir())
        folder.mkdir(parents=True, exist_ok=True)
        if made:
            (folder / OWN_MARK).write_text("made by napari-tinymig; removed when the run is cancelled\n", "utf-8")
        job = folder / "job.json"
        job.write_text(json.dumps({"kind": kind, "settings": settings, "threads": threads}, indent=1), "utf-8")
    except OSError as e:
        raise OutputRefused(f"cannot start a run in {folder}: {e.strerror or e}; choose a writable folder") from e
    return job


def start(
    kind: str,
    settings: dict[str, Any],
    folder: str | Path,
    *,
    on_message: Callable[[Message], None] | None = None,
    on_end: Callable[[Outcome], None] | None = None,
    threads: int | None = None,
    environment: dict[str, str] | None = None,
) -> WorkerRun:
    """Start a run of the given kind in its own process and return at once.

    kind: a key of the worker's table: finetune, structure, self_test, probe, classify. settings: plain JSON values.
    folder: of the run, made if absent; results are written there. on_message, on_end: called in a background thread.
    threads: compute threads, default all cores but one. environment: further variables.

    Raises OutputRefused for a folder that cannot be written.
    """
    folder = Path(folder).resolve()
    threads = threads or training_threads()
    job = _prepare(kind, settings, folder, threads)
    limits = {n: str(threads) for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    flags: dict[str, Any] = {"process_group": 0}  # Ctrl-C in a terminal reaches the starter alone
    if sys.platform == "win32":
        own_group = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        flags = {"creationflags": own_group | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    process = subprocess.Popen(
        [sys.executable, "-P", "-u", "-X", "utf8", "-m", "napari_tinymig.training", job.name],
        cwd=folder,
        env=os.environ | limits | (environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **flags,
    )
    return WorkerRun(process, folder, on_message, on_end)
