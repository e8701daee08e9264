"""Files that survive a power cut, a lock that dies with its process, paths that stay where they belong."""

from __future__ import annotations

import contextlib
import errno
import getpass
import importlib
import json
import os
import platform
import re
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from .errors import OutputRefused
from .plain_json import parse_json


def write_atomic(path: Path, data: bytes) -> None:
    """Write bytes under a temporary name, flush them to the disk, and take the final name in one step.

    The temporary file is locked while its writer lives, so that `sweep` knows what a killed one left. Raises
    OutputRefused for a full disk or a folder that cannot be written; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            _lock_now(stream)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            if os.name != "nt":  # Windows renames closed files only
                os.replace(temporary, path)
        if os.name == "nt":
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as e:
        raise OutputRefused(f"cannot write {path} ({e.strerror or e}); make room or choose a writable folder") from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def refused_writes(out: Path, then: str) -> Iterator[None]:
    """A write inside `out` that the system refuses, or a full disk, becomes OutputRefused: what failed, what to do.

    then: what to do once there is room and permission. Other failures pass as they are.
    """
    try:
        yield
    except OSError as e:
        full = e.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        name = os.fspath(e.filename) if isinstance(e.filename, str | os.PathLike) else ""
        if not full and out not in Path(name).parents:
            raise
        reason = e.strerror or e
        raise OutputRefused(f"cannot write {name or f'into {out}'} ({reason}); mend that, then {then}") from e


_LEFT = re.compile(r"\..+\.(\d+|[0-9a-f]{12})\.(tmp|part)")


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in `folder`; those of living writers are locked and stay."""
    with contextlib.suppress(OSError):
        for path in [p for p in folder.iterdir() if _LEFT.fullmatch(p.name)]:
            with contextlib.suppress(OSError), path.open("r+b") as stream:
                left = _lock_now(stream)
                if left and os.name != "nt":
                    path.unlink()
            if left and os.name == "nt":
                path.unlink(missing_ok=True)


def inside(name: str) -> str:
    """A path that stays inside its folder. Raises ValueError for any other: a set from elsewhere reaches no file
    outside."""
    paths = (PurePosixPath(name), PureWindowsPath(name))
    if not name or "\0" in name or any(p.is_absolute() or p.drive or p.root or ".." in p.parts for p in paths):
        raise ValueError(f"the path '{name[:80]}' leads out of the set; expected one inside, such as images/a.png")
    return name


def sync_folder(folder: Path) -> None:
    """Make a rename durable where the system can (a folder cannot be opened on Windows)."""
    with contextlib.suppress(OSError, PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock_now(stream: IO[Any]) -> bool:
    """True if the exclusive lock of an open file was got; the system gives it back when the process ends."""
    try:
        if os.name == "nt":
            msvcrt = importlib.import_module("msvcrt")
            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl = importlib.import_module("fcntl")
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class FolderLock:
    """An exclusive lock on `folder/<name>`; freed by `release` or by the end of the process, however it ends.

    A second taker gets OutputRefused with the name of the first. Who holds it stands in `<name>.json` beside it. The
    taker sweeps what a killed one left half written.
    """

    def __init__(self, folder: Path, name: str = ".tinymig-lock", what: str = "this folder"):
        self.path = folder / name
        self._owner = folder / f"{name}.json"
        try:
            self._stream: IO[bytes] | None = self.path.open("a+b")
        except OSError as e:
            raise OutputRefused(
                f"cannot write into {folder} ({e.strerror or e}); choose a folder that you can write"
            ) from e
        if not _lock_now(self._stream):
            self._stream.close()
            self._stream = None
            raise OutputRefused(
                f"{what} ({folder}) is open in another napari or command: {self._read_owner()}; close it there first"
            )
        sweep(folder)
        with contextlib.suppress(OutputRefused):
            write_atomic(self._owner, json.dumps(self._me()).encode())

    @staticmethod
    def _me() -> dict[str, Any]:
        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):
            user = "unknown user"
        return {"user": user, "host": platform.node(), "pid": os.getpid()}

    def _read_owner(self) -> str:
        try:
            raw = parse_json(self._owner.read_text(encoding="utf-8"))
            return f"user {raw['user']}, computer {raw['host']}, process {raw['pid']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "its owner left no name"

    def release(self) -> None:
        """Give the lock back; harmless when done twice."""
        if self._stream is None:
            return
        with contextlib.suppress(OSError):
            self._owner.unlink(missing_ok=True)
        self._stream.close()
        self._stream = None


def is_locked(path: Path) -> bool:
    """True if another process (or another part of this one) holds the lock of this file."""
    try:
        with path.open("a+b") as stream:
            return not _lock_now(stream)
    except OSError:
        return True
