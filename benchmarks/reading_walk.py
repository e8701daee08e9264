"""How often a reader comes back to a file who follows one photograph through the code.

Usage: python benchmarks/reading_walk.py [--before COMMIT] [--list]        writes benchmarks/reading_walk.csv

Counts by running it. The reader reads every function once, in the order in which they are first called: a visit is a
run of functions of one file. A return is a visit of a file that was visited before (visits, less files). A hand-over is
a function that calls into another file, once for each pair. Functions within functions and comprehensions count as
functions (without_inner: returns where they do not); what runs while modules are imported, and generated methods, do
not. One core, so that two runs agree.

Two walks: `napari_tinymig.segment(FILE)` in Python, from the file to the Prediction, and `tinymig segment FILE`, from
the command to the written mask (the list of commands and the progress line left out). The aim was set as half of 42
returns, without a rule; by this one the first walk has exactly 42 in version 0.1.0 (commit 1761fa4). --before counts
another commit of this repository beside today's. --list names every visit of the first walk.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve()
WALKS = ("segment(FILE)", "tinymig segment FILE")


class Walk:
    """The functions of a run in the order of first calls, and its hand-overs (function, its file, file called into)."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.seen: set[Any] = set()
        self.read: list[tuple[str, str]] = []
        self.hand_overs: set[tuple[str, str, str]] = set()

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function: notes the first call of every function of the package."""
        code = frame.f_code
        if event != "call" or code in self.seen or (here := self.place(frame)) is None:
            return
        self.seen.add(code)
        self.read.append((here, code.co_qualname))
        caller = frame.f_back
        while caller is not None and self.place(caller) is None:
            caller = caller.f_back
        if caller is not None and self.place(caller) != here:
            self.hand_overs.add((caller.f_code.co_qualname.split(".<")[0], str(self.place(caller)), here))

    def place(self, frame: FrameType) -> str | None:
        """The file of a function, relative to the package; None for other code and for modules and classes made."""
        file = Path(frame.f_code.co_filename)
        if not file.is_relative_to(self.package) or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            return None
        name = file.relative_to(self.package).as_posix()
        return None if name in ("cli/__init__.py", "cli/progress.py") else name

    def counts(self) -> dict[str, int]:
        """What the table holds."""
        outer = [(file, function) for file, function in self.read if "<" not in function]
        return {
            "functions": len(self.read),
            "files": len({file for file, _ in self.read}),
            "returns": returns(self.read),
            "without_inner": returns(outer),
            "hand_overs": len(self.hand_overs),
        }


def returns(read: list[tuple[str, str]]) -> int:
    """Visits of files, less files."""
    visits = [file for file, _ in itertools.groupby(read, key=lambda r: r[0])]
    return len(visits) - len(set(visits))


def walked(name: str) -> Walk:
    """One of `WALKS` through the version of the package that is first on the path."""
    from skimage import data
    from skimage import io as pictures

    import napari_tinymig
    from napari_tinymig.cli import main as tinymig

    walk = Walk(Path(napari_tinymig.__file__).parent)
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "eye.png"
        pictures.imsave(photograph, data.retina()[::2, ::2])
        command = ["segment", str(photograph), "-o", str(Path(folder) / "out"), "--task", "optic", "--device", "cpu"]
        threading.setprofile(walk.note)
        sys.setprofile(walk.note)
        try:
            if name == WALKS[0]:
                napari_tinymig.segment(photograph, task="optic", device="cpu")
            else:
                tinymig(command)
        except SystemExit as done:
            if done.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return walk


def counted(root: Path, name: str) -> dict[str, Any]:
    """A walk through the package below `root`, in a process of its own: its counts, and its visits in order."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(HERE), "--walk", name]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def unpacked(commit: str, folder: Path) -> Path:
    """The repository's files as they were at a commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=HERE.parent.parent, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="1761fa4", help="Another commit to count.")
    parser.add_argument("--list", action="store_true", help="Name every visit of the first walk.")
    parser.add_argument("--walk", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.walk:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
        walk = walked(arguments.walk)
        print(json.dumps(walk.counts() | {"read": walk.read}))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        versions = {arguments.before: unpacked(arguments.before, Path(folder)), "now": HERE.parent.parent}
        for name, (version, root) in itertools.product(WALKS, versions.items()):
            found = counted(root, name)
            read = found.pop("read")
            rows.append({"walk": name, "version": version, **found})
            print(*rows[-1].values(), sep="\t")
            for file, group in itertools.groupby(read, key=lambda r: r[0]):
                if arguments.list and version == "now" and name == WALKS[0]:
                    print("   ", file, *(function for _, function in group))
    with HERE.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
