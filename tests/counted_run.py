"""Runs `tinymig ARGS` in this process and prints, as the last line, what it opened and imported (JSON)."""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path

import onnxruntime

opened: collections.Counter[str] = collections.Counter()
frames = [0]


def count(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: every file that is opened, by its name."""
    if event == "open" and isinstance(arguments[0], str | Path):
        opened[str(arguments[0])] += 1


def main() -> None:
    """Count, run, print."""
    imported_before = set(sys.modules)
    ask = onnxruntime.InferenceSession.run

    def counted(session, outputs, inputs, options=None):
        frames[0] += len(next(iter(inputs.values())))
        return ask(session, outputs, inputs, options)

    onnxruntime.InferenceSession.run = counted
    sys.addaudithook(count)
    from napari_tinymig.cli import main as tinymig

    try:
        tinymig(sys.argv[1:])
    except SystemExit as end:
        if end.code:
            raise
    modules = sorted(set(sys.modules) - imported_before)
    print(json.dumps({"opened": opened, "modules": modules, "frames": frames[0]}))


if __name__ == "__main__":
    main()
