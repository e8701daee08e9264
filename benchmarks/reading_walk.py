"""How often a reader comes back to a file who follows one photograph from `tinymig segment` to its written mask.

Usage: python benchmarks/reading_walk.py [--list]

Counts by running it. The reader reads every function of the package once, in the order in which they are first called.
A return is a visit of a file that was read before (visits of files, less files). A hand-over is a function that calls
into another file, once for each pair. What runs while modules are imported, generated methods and the list of commands
do not count. Threads take turns, so that two runs may differ by a few. --list names every hand-over.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from skimage import data, io

import napari_tinymig
from napari_tinymig.cli import main as tinymig

ROOT = Path(napari_tinymig.__file__).parent


class Walk:
    """The hand-overs of a run, in order: (function that calls, file it stands in, file it calls into)."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()
        self.read: list[str] = []
        self.hand_overs: dict[tuple[str, str, str], None] = {}

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function: notes the first call of every function of the package."""
        code = frame.f_code
        if event != "call" or code in self.seen or (here := place(frame)) is None:
            return
        self.seen.add(code)
        self.read.append(here)
        caller = frame.f_back
        while caller is not None and place(caller) is None:
            caller = caller.f_back
        if caller is not None and place(caller) != here:
            self.hand_overs[caller.f_code.co_qualname.split(".<")[0], str(place(caller)), here] = None


def place(frame: FrameType) -> str | None:
    """The file of a function of the package, relative to it; None for other code and for modules and classes made."""
    file = Path(frame.f_code.co_filename)
    if not file.is_relative_to(ROOT) or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return None
    name = file.relative_to(ROOT).as_posix()
    return None if name in ("cli/__init__.py", "cli/progress.py") else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="Name every hand-over.")
    arguments = parser.parse_args()
    walk = Walk()
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "eye.png"
        io.imsave(photograph, data.retina()[::2, ::2])
        threading.setprofile(walk.note)
        sys.setprofile(walk.note)
        try:
            tinymig(["segment", str(photograph), "-o", str(Path(folder) / "out"), "--task", "optic", "--device", "cpu"])
        except SystemExit as done:
            if done.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    visits, files = [file for file, _ in itertools.groupby(walk.read)], set(walk.read)
    if arguments.list:
        for caller, file, into in walk.hand_overs:
            print(f"{file}: {caller} -> {into}")
    print(f"{len(walk.read)} functions in {len(files)} files: {len(visits) - len(files)} returns, "
          f"{len(walk.hand_overs)} hand-overs")  # fmt: skip


if __name__ == "__main__":
    main()
