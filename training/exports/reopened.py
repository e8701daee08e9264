"""An exported network opened in a fresh process that knows nothing of this one, and asked."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..networks.export import ExportFailed

ASK = {
    "onnx": """
import sys, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
answers = session.run(None, {"image": np.load(sys.argv[2])})
""",
    "torchscript": """
import sys, numpy as np, torch
torch.set_num_threads(1)
with torch.no_grad():
    answers = torch.jit.load(sys.argv[1])(torch.from_numpy(np.load(sys.argv[2])))
answers = [a.numpy() for a in answers]
""",
}
"""Format -> a program that opens argv[1] and asks it about the images in argv[2], without a line of ours."""


def outputs_in_a_fresh_process(kind: str, path: Path, images: NDArray[np.float32]) -> list[NDArray[Any]]:
    """Every output of the exported file for images (B, 3, s, s). Raises ExportFailed where it cannot be run."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "images.npy", Path(folder) / "answers.npz"
        np.save(question, images)
        code = ASK[kind] + "np.savez(sys.argv[3], *answers)\n"
        run_python(["-c", code, str(path.resolve()), str(question), str(answer)], folder, str(path))
        with np.load(answer) as found:
            return [found[f"arr_{i}"] for i in range(len(found))]


def run_python(arguments: list[str], folder: str, what: str) -> None:
    """Run a fresh Python in `folder`; ExportFailed with its last words where it ends badly."""
    command = [sys.executable, "-P", "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).strip().splitlines()[-2:])
        raise ExportFailed(f"{what} cannot be run in a fresh process ({words}); do not use it.")
