"""JPEG-LS decoded beside this process: CharLS, the library for it, runs on for minutes over a frame cut short.

One process is started at the first frame and kept for the next ones; it ends when this one does. A frame that takes too
long ends it, and the next frame starts another.
"""

from __future__ import annotations

import atexit
import io
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

LIMIT_S = 10.0
"""How long a frame may take (chosen: start and decoding take .5 s; half of the frames cut short never end)."""
LIMIT_S_A_MEGAPIXEL = 2.0
"""How much longer for each million samples (chosen: decoding takes .02 s)."""
_lock = threading.Lock()
_running: list[subprocess.Popen[bytes]] = []


def decode_jpeg_ls(frame: bytes, size: Sequence[int]) -> np.ndarray:
    """The samples of a frame of `size` (rows, columns, samples a pixel). Raises ValueError where there are none."""
    limit = LIMIT_S + LIMIT_S_A_MEGAPIXEL * prod(size) / 1e6
    with _lock:
        answer = _asked(frame, limit)
    if answer[:1] == b"!":
        raise ValueError(answer[1:].decode(errors="replace"))
    return np.load(io.BytesIO(answer), allow_pickle=False)


def _asked(frame: bytes, limit_s: float) -> bytes:
    """The process's answer to one frame. Raises ValueError if it ends, or does not answer in time."""
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    late = threading.Timer(limit_s, process.kill)
    late.start()
    try:
        process.stdin.write(len(frame).to_bytes(8, "little") + frame)
        process.stdin.flush()
        length = int.from_bytes(process.stdout.read(8), "little")
        answer = process.stdout.read(length)
    except OSError:
        answer = b""
    finally:
        late.cancel()
    if not answer:
        _end(process)
        raise ValueError(f"its decoder ended, or did not answer within {limit_s:.0f} s")
    return answer


def _process() -> subprocess.Popen[bytes]:
    if not _running:
        command = [sys.executable, "-P", str(Path(__file__).with_name("jpeg_ls_process.py"))]
        _running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    return _running[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    _running.clear()
    process.kill()
    process.communicate()


def _forked() -> None:
    """A forked process starts a decoder of its own."""
    global _lock
    _lock = threading.Lock()
    _running.clear()


def _ended() -> None:
    for process in _running:
        _end(process)


atexit.register(_ended)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
