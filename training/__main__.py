"""The worker: `python -P -u -X utf8 -m napari_tinymig.training job.json`, started in the run's folder.

Out, on the real standard output: one `Message` a line, strict JSON, the last one 'done', 'stopped' or 'failed'.
File descriptor 1 is pointed at standard error, so that nothing a library prints can corrupt the messages.
In, on standard input: `stop` (end soon, keep the best), `discard` (end now, nothing is kept); the end of the file
means that the starter is gone, and is a `stop`. Each is acknowledged at once by a 'log' message.

job.json: {"kind": one of JOBS, "settings": {...}, "threads": int or null}. Exit code: 0 done or stopped, 1 failed,
2 a job that could not be read.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from napari_tinymig.base.errors import MissingExtra, TinyMIGError
from napari_tinymig.base.plain_json import parse_json
from napari_tinymig.base.records import Message
from napari_tinymig.base.safe_files import FolderLock

JOBS: dict[str, str] = {
    "self_test": "self_test:run_job",
    "finetune": "finetune.run:run_job",
    "structure": "run.structure:run_job",
    "probe": "classifier.probe:run_job",
    "classify": "classifier.one_image_job:run_job",
}
"""Job kind -> "module of this package:function". The function takes (settings, stop) and yields Messages; `stop()`
turns True when the run should end soon and keep its best. A run that never looks at `stop` is closed at its next
message instead, which is right for runs that write their best file whenever there is a better one."""

TERMINAL = ("done", "stopped", "failed")
PATIENCE_S = 1.0  # a run that yields ordinary messages this long after `stop` does not look at it: close it
DISCARD_S = 0.5  # time for the run to leave a long operation after `discard`, before the process ends regardless
ORPHAN_S = 60.0  # a worker without a parent ends after this, finished or not

log = logging.getLogger(__name__)


class Wire:
    """The two ends of the pipe to the starter: messages out, words in."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._lock = threading.Lock()
        self.stopped_at: float | None = None
        self.heeded = False
        self.discarded = False
        self.ended = False

    def send(self, message: Message) -> None:
        """Write one line; a starter that is gone turns into a stop."""
        with self._lock:
            if self.ended:
                return
            self.ended = message.kind in TERMINAL
            try:
                self._out.write(message.to_json() + "\n")
                self._out.flush()
            except OSError:
                self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()

    def stop(self) -> bool:
        """True once the run should end; a run that has seen it is given the time to finish by itself."""
        self.heeded = self.stopped_at is not None
        return self.heeded

    def listen(self) -> None:
        """Read words until the end of the file; runs in a daemon thread.

        os.read, not sys.stdin: a blocked text reader holds a lock that the interpreter wants at its exit.
        """
        pending = b""
        while chunk := self._read():
            *words, pending = (pending + chunk).split(b"\n")
            for word in words:
                self._obey(word.strip().lower())
        self._ask_to_stop()
        time.sleep(ORPHAN_S)
        os._exit(1)

    @staticmethod
    def _read() -> bytes:
        try:
            return os.read(0, 4096)
        except OSError:
            return b""

    def _obey(self, word: bytes) -> None:
        if word == b"stop":
            self._ask_to_stop()
            self.send(Message("log", text="Stopping; the best model so far is kept."))
        elif word == b"discard":
            self.discarded = True
            self._ask_to_stop()
            self.send(Message("log", text="Cancelling; nothing of this run is kept."))
            threading.Timer(DISCARD_S, self._leave).start()

    def _leave(self) -> None:
        self.send(Message("stopped", text="Cancelled; nothing of this run is kept."))
        os._exit(0)


def read_job(path: Path) -> tuple[Callable[[dict[str, Any], Callable[[], bool]], Iterator[Message]], dict[str, Any]]:
    """The function and the whole record of a job file. ValueError says what is wrong with it."""
    try:
        job = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ValueError(f"cannot read the job file {path}: {e}") from e
    kind = job.get("kind") if isinstance(job, dict) else None
    if kind not in JOBS or not isinstance(job.get("settings"), dict):
        raise ValueError(f"{path} asks for the job {kind!r}; expected one of {', '.join(JOBS)} with its settings")
    threads = job.get("threads")
    if threads:  # must be set before torch or a BLAS is loaded
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(int(threads))
    module, name = JOBS[kind].split(":")
    function = getattr(importlib.import_module(f".{module}", __package__), name)
    return function, job


def explain(error: BaseException, folder: Path) -> str:
    """One sentence for what ended a run."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"Memory ran out ({str(error)[:160] or 'no details'}). Use a smaller batch or image size, or the CPU."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(folder).free / 2**20
            return f"The disk of {folder} is full ({free:.1f} MB free). Make room and resume."
        return f"The disk of {folder} is full. Make room and resume."
    if isinstance(error, PermissionError):
        return f"{error.filename or folder} cannot be written: permission denied. Choose a folder that you own."
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in (
        "torch",
        "timm",
        "monai",
        "onnx",
    ):
        return str(MissingExtra("Training", "train"))
    text = str(error) or "no details"
    return text if isinstance(error, TinyMIGError | ValueError) else f"{type(error).__name__}: {text}"


def run(wire: Wire, path: Path) -> int:
    """Do the job and send its messages; the exit code. A folder in which another run is at work is refused."""
    lock: FolderLock | None = None
    try:
        lock = FolderLock(path.parent, what="the run's folder")
        function, job = read_job(path)
        if wire.stopped_at is not None:
            wire.send(Message("stopped", text="Stopped before the training began; there is nothing to keep."))
            return 0
        messages = function(job["settings"], wire.stop)
        last = None
        for message in messages:
            last = message
            wire.send(message)
            late = wire.stopped_at is not None and time.monotonic() - wire.stopped_at > PATIENCE_S
            if wire.discarded or (late and not wire.heeded and message.kind not in TERMINAL):
                messages.close()  # type: ignore[attr-defined]
                break
    except Exception as e:
        log.exception("the run failed")
        wire.send(Message("failed", text=explain(e, path.parent)))
        return 1
    finally:
        if lock is not None:
            lock.release()
    if last is None or last.kind not in TERMINAL:
        wire.send(Message("stopped" if wire.stop() else "done", text="Stopped." if wire.stop() else ""))
    return 1 if last is not None and last.kind == "failed" else 0


def main() -> int:
    """Read the one argument, listen, run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, which asks this process by a word
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    wire = Wire()
    if len(sys.argv) != 2:
        wire.send(Message("failed", text="The worker takes one argument: job.json."))
        return 2
    if hasattr(os, "nice"):  # the interface goes first; on Windows the starter sets the priority
        os.nice(5)
    threading.Thread(target=wire.listen, name="listen", daemon=True).start()
    return run(wire, Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # threads of data loaders or of the listener must not hold the process
