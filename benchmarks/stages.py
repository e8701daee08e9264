"""Where the time of a mask goes, stage by stage, in processor time of one thread.

    python benchmarks/stages.py [--rounds 15] [--out benchmarks/stages.md]

Each case is one input of a folder run (`batch/one_input.py: run_job`) in a running process: read, hash, guess the task,
find the disc, place on the network's grid, look, decide, measure, judge, encode and write. A stage's time is its own:
what another stage takes inside it is that one's. Images are drawn by the package. Writes a .csv beside the .md.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from napari_tinymig.batch import one_input
from napari_tinymig.batch.one_input import Job, Options, run_job
from napari_tinymig.formats import find_inputs, mask_paths
from napari_tinymig.network import run as network_run
from napari_tinymig.network import several_looks
from napari_tinymig.predict import disc_locator, disc_region, photograph, predictor, task_guess, volume
from napari_tinymig.predict.photograph import PhotographStudent
from napari_tinymig.predict.task_guess import TaskGate
from napari_tinymig.samples.drawn import fundus_sample, prostate_sample
from napari_tinymig.samples.polyp import polyp_sample

STAGES: dict[str, list[tuple[Any, str]]] = {
    "read and hash": [(one_input, "read_and_hash")],
    "decode": [(one_input, "open_input")],
    "guess": [(TaskGate, "task_of")],
    "locate": [(disc_region, "locate_disc")],
    "place": [
        *((module, "place") for module in (photograph, several_looks, volume, disc_locator, task_guess)),
        *((module, "network_input") for module in (photograph, several_looks, volume, disc_locator)),
        (task_guess, "normalise"),
    ],
    "look": [(network_run.OnnxNetwork, "run")],
    "decide": [(PhotographStudent, "decide"), (volume, "averaged_logits"), (predictor, "predict_volume")],
    "measure": [(predictor, "measure"), (predictor, "implausible")],
    "judge": [(predictor, "add_trust"), (disc_region, "fundus_quality")],
    "encode and write": [(one_input, "mask_bytes"), (one_input, "_write_mask")],
}
"""Stage -> where the functions that do it are called from."""
REST = "everything else"


class Stopwatch:
    """Own processor seconds of each stage since `start`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[str] = [REST]
        self._since = time.thread_time()

    def _turn(self) -> None:
        now = time.thread_time()
        self.seconds[self._inside[-1]] += now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time inside belongs to `name`."""
        self._turn()
        self._inside.append(name)
        try:
            yield
        finally:
            self._turn()
            self._inside.pop()

    def start(self) -> None:
        """From nothing."""
        self.seconds.clear()
        self._since = time.thread_time()

    def stop(self) -> dict[str, float]:
        """Seconds by stage."""
        self._turn()
        return dict(self.seconds)


def watched(watch: Stopwatch, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its time counted as the stage's."""

    @wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        with watch.stage(stage):
            return function(*arguments, **named)

    return timed


def draw(folder: Path) -> dict[str, tuple[Path, str]]:
    """Case -> (input, --task)."""
    folder.mkdir()
    Image.fromarray(fundus_sample(1372).scan.pixels).save(folder / "fundus.jpg", quality=92)
    Image.fromarray(polyp_sample(540).scan.pixels).save(folder / "frame.png")
    scan = prostate_sample(320, 24).scan
    z, y, x = scan.spacing_mm or (3.0, 0.6, 0.6)
    nib.save(
        nib.Nifti1Image(np.ascontiguousarray(scan.pixels.T), np.diag([-x, -y, z, 1.0])), folder / "prostate.nii.gz"
    )
    return {
        "fundus photograph, 1536 px JPEG, --task optic": (folder / "fundus.jpg", "optic"),
        "fundus photograph, 1536 px JPEG, --task auto": (folder / "fundus.jpg", "auto"),
        "endoscopy frame, 540 px PNG, --task polyp": (folder / "frame.png", "polyp"),
        "T2 volume, 24 slices of 320 px, NIfTI, --task prostate": (folder / "prostate.nii.gz", "prostate"),
    }


def one_case(watch: Stopwatch, path: Path, task: str, out: Path, rounds: int) -> list[dict[str, float]]:
    """Seconds by stage of each round, the first (which opens models) left out."""
    seen = []
    for n in range(rounds + 1):
        folder = out / str(n)
        folder.mkdir(parents=True)
        items = find_inputs([path])
        job = Job(items[0], mask_paths(folder, items, "same")[0], Options(task, device="cpu", threads=1))
        watch.start()
        outcome = run_job(job)
        seen.append(watch.stop())
        if outcome.row["status"] not in ("ok", "not_found"):
            raise RuntimeError(f"{path.name}: {outcome.row}")
    return seen[1:]


def table(cases: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    """Rows: stage, then median ms of each case."""
    stages = [*STAGES, REST]
    rows = [["stage", *cases]]
    for stage in stages:
        rows.append([stage, *(f"{1e3 * median(r.get(stage, 0.0) for r in rounds):.1f}" for rounds in cases.values())])
    totals = [1e3 * median(sum(r.values()) for r in rounds) for rounds in cases.values()]
    least = [1e3 * min(sum(r.values()) for r in rounds) for rounds in cases.values()]
    rows.append(["all", *(f"{t:.1f}" for t in totals)])
    rows.append(["all, smallest", *(f"{t:.1f}" for t in least)])
    looks = [1e3 * median(r.get("look", 0.0) for r in rounds) for rounds in cases.values()]
    rows.append(["part of the network", *(f"{100 * k / t:.0f} %" for k, t in zip(looks, totals))])
    return rows


def main() -> None:
    """Measure and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load, watch = os.getloadavg()[0], Stopwatch()
    for stage, places in STAGES.items():
        for owner, name in places:
            setattr(owner, name, watched(watch, stage, getattr(owner, name)))
    with tempfile.TemporaryDirectory() as folder:
        inputs = draw(Path(folder) / "in")
        cases = {
            name: one_case(watch, path, task, Path(folder) / str(i), arguments.rounds)
            for i, (name, (path, task)) in enumerate(inputs.items())
        }
    rows = table(cases)
    lines = ["# Where the time of a mask goes", ""]
    lines += [
        f"`python benchmarks/stages.py --rounds {arguments.rounds}`; {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, load average {load:.1f} at the start. Milliseconds of processor time of "
        "one thread, median of the rounds, in a running process (models are open).",
        "",
    ]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(row) + " |" for row in rows[1:]]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with arguments.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
