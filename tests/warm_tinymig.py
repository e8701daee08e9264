"""`tinymig ARGS` in processes of their own that need not import everything again: they are forked from one that has.

Each is a real process with its own folder, environment, ends of pipes and exit code, ended by the interpreter
as any other; what is saved is a second of imports. ONNX Runtime and torch are not among them: they have threads, which
do not survive a fork. The start from nothing is run by test_docs.py, test_cli.py and the examples.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = ("napari_tinymig.cli.segment", "napari_tinymig.cli.measure", "napari_tinymig.batch.folder",
          "napari_tinymig.batch.one_input", "napari_tinymig.predict.predictor", "napari_tinymig.reports.overlay",
          "napari_tinymig.sets.survey", "napari_tinymig.sets.compare", "napari_tinymig.cli.shift",
          "napari_tinymig.reports.shift_page", "napari_tinymig.reports.shift_plots", "matplotlib.figure",
          "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "rich.console",
          "rich.progress")  # fmt: skip


class Warm:
    """A process that has imported `modules`; `run` forks it."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        command = [sys.executable, "-W", "ignore", __file__, *modules]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}
        pipe = subprocess.PIPE
        self._parent = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def run(self, arguments, cwd, env) -> subprocess.CompletedProcess[str]:
        """As subprocess.run([..., *arguments], capture_output=True, text=True)."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            words = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "env": dict(env)}
            self._parent.stdin.write(json.dumps(words | {"out": str(out), "err": str(err)}) + "\n")
            self._parent.stdin.flush()
            answer = self._parent.stdout.readline()
            if not answer:
                raise RuntimeError("the process that tinymig is forked from has ended")
            texts = [path.read_text("utf-8") for path in (out, err)]
        return subprocess.CompletedProcess(["tinymig", *arguments], int(answer), *texts)

    def close(self) -> None:
        """End the process."""
        self._parent.stdin.close()
        self._parent.wait(timeout=20)
        self._parent.stdout.close()


def serve(modules) -> None:
    """Import the modules; for every line of standard input fork, and answer with the exit code."""
    asked, told = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for module in modules:
        with contextlib.suppress(ImportError):  # an extra that is absent: the command says so itself
            __import__(module)
    while line := asked.readline():
        child = os.fork()
        if child == 0:
            become(**json.loads(line))
            break
        told.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        told.flush()


def become(arguments, cwd, env, out, err) -> None:
    """This process as `python -m napari_tinymig ARGUMENTS` there."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, (path, flags) in enumerate(((os.devnull, os.O_RDONLY), (out, os.O_WRONLY), (err, os.O_WRONLY))):
        opened = os.open(path, flags | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["tinymig", *arguments]
    runpy.run_module("napari_tinymig", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
