"""The ledger of a results folder: what `tinymig segment` did there, one JSON object per finished input.

Before a mask appears, a note beside it says what its bytes will be; the note goes once the ledger knows the mask. So a
run that was killed in between is told from a mask that somebody else put there, or that was mended since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from ..base.plain_json import parse_json
from ..base.safe_files import write_atomic

LEDGER = "details.jsonl"
_NOTE = ".begun"


def read_ledger(folder: Path) -> dict[str, dict[str, Any]]:
    """Finished inputs by the name of their mask; torn or foreign lines are passed over."""
    try:
        lines = (folder / LEDGER).read_bytes().splitlines()
    except OSError:
        return {}
    out: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if (
            isinstance(entry, dict)
            and isinstance(entry.get("mask"), str)
            and entry.get("status") in ("ok", "not_found")
        ):
            out[entry["mask"]] = entry
    return out


class Ledger:
    """The ledger of `folder`, open for more lines; a torn last line is closed first. A context manager.

    Raises OSError where it cannot be opened or written.
    """

    def __init__(self, folder: Path):
        path = folder / LEDGER
        torn = path.is_file() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
        self._stream = path.open("ab")
        if torn:
            self._stream.write(b"\n")
        self._folder = folder

    def add(self, entry: dict[str, Any]) -> None:
        """A finished input, on the disk when this returns; the note beside its mask is then removed."""
        self._stream.write(json.dumps(entry, allow_nan=False, default=str).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        remove_note(self._folder / str(entry["mask"]))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def bytes_hash(content: bytes) -> str:
    """First 16 hex digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def _note_of(mask: Path) -> Path:
    """Cut, because a long name of a mask may leave no room; the hash keeps cut names apart."""
    return mask.with_name(f".{mask.name[:40]}.{bytes_hash(mask.name.encode())}{_NOTE}")


def note_mask(mask: Path, content: bytes) -> None:
    """Say, on the disk, that a run is about to write these bytes at `mask`. Raises OutputRefused."""
    write_atomic(_note_of(mask), json.dumps({"mask": mask.name, "content": bytes_hash(content)}).encode())


def remove_note(mask: Path) -> None:
    """Forget the note beside `mask`, if there is one."""
    with contextlib.suppress(OSError):
        _note_of(mask).unlink(missing_ok=True)


def left_by_a_killed_run(mask: Path) -> bool:
    """Whether `mask` is, byte for byte, what a run wrote that ended before its ledger knew it."""
    try:
        note = parse_json(_note_of(mask).read_bytes())
        return bool(note["content"] == bytes_hash(mask.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def forget_old_notes(folder: Path, done: dict[str, dict[str, Any]]) -> None:
    """Remove the notes in `folder` whose mask the ledger knows, is not there, or was changed by somebody since."""
    for path in folder.glob(f".*{_NOTE}"):
        try:
            note = parse_json(path.read_bytes())
            mask = folder / Path(note["mask"]).name
            known = done.get(mask.name, {}).get("content") == note["content"]
        except (OSError, ValueError, TypeError, KeyError):
            known = True
        if known or not left_by_a_killed_run(mask):
            with contextlib.suppress(OSError):
                path.unlink()
