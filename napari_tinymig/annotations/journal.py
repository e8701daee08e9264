"""The stroke journal: painted labels on disk every few seconds, as small diffs, so that a crash costs seconds.

One file per edited Labels layer. A line of JSON (what is painted, on which image), then records
`length, CRC-32, payload`; the payload is compressed: a keyframe (all labels) or a diff (changed positions and their
new values). A record counts only when it is whole, so a file cut anywhere still gives a state that once was.
Order is the order in the file: clocks are never compared.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import OutputRefused, UnreadableInput
from ..base.plain_json import parse_json
from ..base.safe_files import FolderLock, is_locked, sync_folder, write_atomic

VERSION = 1
HEAD = struct.Struct("<II")  # length and CRC-32 of the payload
SUFFIX = ".strokes"
COMPACT_AFTER = 8 * 2**20  # bytes of diffs after which the file is rewritten with one keyframe


def state_folder() -> Path:
    """Where journals lie: the user's state folder, or TINYMIG_STATE."""
    from platformdirs import user_state_dir

    return Path(os.environ.get("TINYMIG_STATE") or user_state_dir("napari-tinymig", appauthor=False)) / "journal"


@dataclass(frozen=True)
class Recovery:
    """Strokes that were not saved when a session ended.

    about: what `Journal` was told (layer name, source file, ...). labels: the last whole state. strokes: the
    number of records after the first.
    """

    path: Path
    about: dict[str, Any]
    labels: NDArray[np.uint8]
    strokes: int

    def discard(self) -> None:
        """Remove the journal; the strokes are gone."""
        _remove(self.path)


class Journal:
    """Writes the changes of one label array; made when editing starts, closed when the labels are saved.

    about: plain values that a recovery needs (layer name, source file). labels: uint8, any shape; the state at the
    start. every_s: least time between two writes of `record` (forced by `flush`); at most this much is lost.
    """

    def __init__(
        self, labels: NDArray[np.uint8], about: dict[str, Any], folder: Path | None = None, every_s: float = 2.0
    ):
        folder = folder or state_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputRefused(
                f"strokes cannot be kept safe in {folder} ({e.strerror or e}); set TINYMIG_STATE"
            ) from e
        self.path = folder / f"{uuid.uuid4().hex[:12]}{SUFFIX}"
        self.every_s = every_s
        self._about = about | {"version": VERSION, "shape": list(labels.shape)}
        self._lock = FolderLock(folder, _lock_path(self.path).name, "this journal")
        self._kept = np.array(labels, dtype=np.uint8, order="C")
        self.stream: IO[bytes] | None = None
        self._diff_bytes = self._records = 0
        self._last_write = -np.inf
        self._start_file()

    def record(self, labels: NDArray[np.uint8], force: bool = False) -> bool:
        """Put the difference to the last written state on the disk; True if something was written.

        Skipped when the last write was less than `every_s` ago, unless forced. Time is monotonic: setting the clock
        changes nothing. Raises OutputRefused for a full disk; what was written before stays readable.
        """
        if self.stream is None or (not force and time.monotonic() - self._last_write < self.every_s):
            return False
        new = np.ascontiguousarray(labels, dtype=np.uint8)
        if new.shape != self._kept.shape:
            raise ValueError(f"labels have shape {new.shape}; the journal was begun with {self._kept.shape}")
        payload = encode_diff(self._kept, new)
        if payload is None:
            return False
        self._records += 1
        if self._diff_bytes > COMPACT_AFTER:
            self._kept = new.copy()
            self._start_file()
        else:
            self._append(payload)
            np.copyto(self._kept, new)
        self._last_write = time.monotonic()
        return True

    def close(self, discard: bool) -> None:
        """End the journal. discard: the labels are saved elsewhere, the file can go."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        self._lock.release()
        if discard:
            _remove(self.path)

    def _start_file(self) -> None:
        """(Re)write the file as header and keyframe, atomically, and reopen it for appending."""
        if self.stream is not None:
            self.stream.close()
        payload = b"K" + zlib.compress(self._kept.tobytes(), 1)
        head = json.dumps(self._about | {"records": self._records}).encode() + b"\n"
        write_atomic(self.path, head + HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
        self.stream = self.path.open("ab", buffering=0)  # a failed write must not linger in a buffer
        self._diff_bytes = 0

    def _append(self, payload: bytes) -> None:
        stream = self.stream
        if stream is None:
            return
        start = stream.tell()
        try:
            record = HEAD.pack(len(payload), zlib.crc32(payload)) + payload
            if stream.write(record) != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError as e:
            # Half a record must not stand before later whole ones.
            with contextlib.suppress(OSError):
                stream.truncate(start)
            raise OutputRefused(
                f"strokes cannot be kept safe in {self.path.parent} ({e.strerror or e}); save your labels, make room"
            ) from e
        self._diff_bytes += len(payload)


def encode_diff(old: NDArray[np.uint8], new: NDArray[np.uint8]) -> bytes | None:
    """Payload of the positions where two arrays differ, as runs of neighbouring positions; None where equal."""
    where = np.flatnonzero(old.ravel() != new.ravel())
    if where.size == 0:
        return None
    values = new.ravel()[where]
    first = np.concatenate([[True], (np.diff(where) != 1) | (np.diff(values) != 0)])
    starts = where[first].astype("<i8")
    lengths = np.diff(np.append(np.flatnonzero(first), where.size)).astype("<i8")
    body = struct.pack("<Q", starts.size) + starts.tobytes() + lengths.tobytes() + values[first].tobytes()
    return b"D" + zlib.compress(body, 1)


def apply_payload(state: NDArray[np.uint8], payload: bytes) -> None:
    """Bring a flat state (N,) to what a payload says. ValueError for a payload of another kind or size."""
    body = zlib.decompress(payload[1:])
    if payload[:1] == b"K":
        state[:] = np.frombuffer(body, np.uint8)
    elif payload[:1] == b"D":
        (count,) = struct.unpack_from("<Q", body)
        starts = np.frombuffer(body, "<i8", count, 8)
        lengths = np.frombuffer(body, "<i8", count, 8 + 8 * count)
        values = np.frombuffer(body, np.uint8, count, 8 + 16 * count)
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        state[np.repeat(starts, lengths) + offsets] = np.repeat(values, lengths)
    else:
        raise ValueError(f"unknown journal record {payload[:1]!r}")


def _payloads(raw: bytes, start: int) -> Iterator[bytes]:
    """Whole records from `start`; ends at the first that is cut or damaged."""
    while start + HEAD.size <= len(raw):
        length, crc = HEAD.unpack_from(raw, start)
        payload = raw[start + HEAD.size : start + HEAD.size + length]
        if len(payload) < length or zlib.crc32(payload) != crc:
            return
        yield payload
        start += HEAD.size + length


def read_journal(path: Path) -> Recovery:
    """The last whole state of a journal. UnreadableInput if not even its first state is whole."""
    try:
        raw = path.read_bytes()
        line, _, _ = raw.partition(b"\n")
        about = parse_json(line)
        shape = tuple(int(n) for n in about["shape"])
        records = int(about["records"]) - 1  # those that the keyframe stands for
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UnreadableInput(f"{path} is no stroke journal or is damaged at its beginning ({e})") from e
    state = np.zeros(int(np.prod(shape)), np.uint8)
    first = records
    for payload in _payloads(raw, len(line) + 1):
        try:
            apply_payload(state, payload)
        except (ValueError, IndexError, zlib.error, struct.error):
            break
        records += 1
    if records == first:
        raise UnreadableInput(f"{path} holds no whole record; nothing can be restored from it")
    return Recovery(path, about, state.reshape(shape), records)


def recoverable(folder: Path | None = None) -> list[Recovery]:
    """Journals of sessions that are gone and had strokes; the ones of a running session are left out.

    Journals without a stroke are removed on the way. Damaged ones are left for a look by hand.
    """
    folder = folder or state_folder()
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []:
        if is_locked(_lock_path(path)):
            continue
        with contextlib.suppress(UnreadableInput):
            recovery = read_journal(path)
            if recovery.strokes:
                found.append(recovery)
            else:
                _remove(path)
    return found


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _remove(path: Path) -> None:
    for victim in (path, _lock_path(path), path.parent / f"{_lock_path(path).name}.json"):
        with contextlib.suppress(OSError):
            victim.unlink(missing_ok=True)
    sync_folder(path.parent)
