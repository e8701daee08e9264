"""Two installations side by side, what they cost and whether their masks are the same bytes.

    python benchmarks/before_after.py OLD/bin/python NEW/bin/python [--rounds 15] [--out benchmarks/before_after.md]

The same commands run in turn under both interpreters, so that other work on the machine slows both. Wall seconds are
what a user waits; CPU seconds (user and system, all threads) hardly depend on the load. Minimum and median over the
rounds. `warm volume` and `warm photograph` are one prediction in a running process, the best of seven in each round.
Images are drawn by the package.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
from PIL import Image

from napari_tinymig.samples.drawn import fundus_sample, prostate_sample

WARM = """
import sys, time
from napari_tinymig.formats import open_input
from napari_tinymig.predict.predictor import Predictor
scan, predictor = open_input(sys.argv[1]).scan, Predictor(sys.argv[2], "cpu", threads=int(sys.argv[3]))
times = []
for _ in range(7):
    start = time.perf_counter()
    predictor.predict(scan)
    times.append(time.perf_counter() - start)
print(min(times))
"""


@dataclass(frozen=True)
class Case:
    """One thing to do: arguments of a Python; 'OUT' stands for a fresh folder of results."""

    name: str
    arguments: tuple[str, ...]
    printed: bool = False  # the wall seconds are what the program prints


def draw(folder: Path) -> dict[str, str]:
    """A 1536 px photograph, a folder of twelve, and a volume of 24 slices."""
    (folder / "photographs").mkdir(parents=True)
    for i in range(12):
        picture = Image.fromarray(fundus_sample(1372, seed=i % 4, cup_ratio=0.4 + 0.05 * (i % 4)).scan.pixels)
        picture.save(folder / "photographs" / f"eye_{i:02}.jpg", quality=92)
    scan = prostate_sample(320, 24).scan
    z, y, x = scan.spacing_mm or (3.0, 0.6, 0.6)
    volume = nib.Nifti1Image(np.ascontiguousarray(scan.pixels.T), np.diag([-x, -y, z, 1.0]))
    nib.save(volume, folder / "volume.nii.gz")
    one = str(folder / "photographs" / "eye_00.jpg")
    return {"one": one, "many": str(folder / "photographs"), "volume": str(folder / "volume.nii.gz")}


def cases(images: dict[str, str]) -> list[Case]:
    """What is measured."""

    def segment(name: str, task: str) -> tuple[str, ...]:
        return ("-m", "napari_tinymig", "segment", images[name], "-o", "OUT", "--task", task, "--device", "cpu")

    return [
        Case("an empty Python", ("-c", "pass")),
        Case("import numpy, onnxruntime", ("-c", "import numpy, onnxruntime")),
        Case("tinymig --version", ("-m", "napari_tinymig", "--version")),
        Case("tinymig segment, one photograph", segment("one", "optic")),
        Case("tinymig segment, volume of 24 slices", segment("volume", "prostate")),
        Case("tinymig segment, 12 photographs", segment("many", "optic")),
        Case("warm photograph, 1 thread", ("-c", WARM, images["one"], "optic", "1"), True),
        Case("warm photograph, 2 threads", ("-c", WARM, images["one"], "optic", "2"), True),
        Case("warm volume, 1 thread", ("-c", WARM, images["volume"], "prostate", "1"), True),
        Case("warm volume, 2 threads", ("-c", WARM, images["volume"], "prostate", "2"), True),
    ]


def run_once(python: str, case: Case, out: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    arguments = [str(out) if word == "OUT" else word for word in case.arguments]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([python, *arguments], capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (float(done.stdout) if case.printed else wall), cpu


def masks(folder: Path) -> dict[str, bytes]:
    """Every mask of a folder of results by name."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*_mask.*"))}


def measure(pythons: list[str], todo: list[Case], rounds: int, folder: Path) -> tuple[dict, dict]:
    """(case -> per interpreter the rounds' (wall, CPU), case -> whether all masks are the same bytes)."""
    times: dict[str, list[list[tuple[float, float]]]] = {c.name: [[] for _ in pythons] for c in todo}
    same: dict[str, bool] = {}
    for r in range(rounds):
        for i, case in enumerate(todo):
            outs = [folder / f"out_{r}_{i}_{k}" for k in range(len(pythons))]
            for k in range(len(pythons)) if r % 2 else reversed(range(len(pythons))):
                times[case.name][k].append(run_once(pythons[k], case, outs[k]))
            if "OUT" in case.arguments:
                found = [masks(out) for out in outs]
                same[case.name] = same.get(case.name, True) and bool(found[0]) and found[0] == found[1]
    return times, same


def table(times: dict, same: dict, header: str) -> str:
    """The page."""
    lines = ["# Before and after", "", header, ""]
    lines += ["| what | wall before | wall after | ratio | CPU before | CPU after | ratio | masks |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name, (old, new) in times.items():
        cells = []
        for part in (0, 1):
            a, b = [t[part] for t in old], [t[part] for t in new]
            unit = f"{min(a):.3f} ({median(a):.3f}) | {min(b):.3f} ({median(b):.3f}) | {min(a) / min(b):.2f}"
            cells.append("- | - | -" if part and name.startswith("warm") else unit)
        verdict = {True: "same bytes", False: "DIFFER"}.get(same.get(name), "-")
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {verdict} |")
    return "\n".join([*lines, "", "Seconds: minimum (median). Ratio: before / after, of the minima.", ""])


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs=2, metavar="PYTHON", help="interpreters of the old and the new installation")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as name:
        todo = [c for c in cases(draw(Path(name) / "in")) if arguments.only in c.name]
        times, same = measure(arguments.pythons, todo, arguments.rounds, Path(name))
    load.append(os.getloadavg()[0])
    header = (
        f"`python benchmarks/before_after.py OLD NEW --rounds {arguments.rounds}`; {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, load average {load[0]:.1f} at the start and "
        f"{load[1]:.1f} at the end (idle = 0; above the number of cores every wall time is stretched)."
    )
    page = table(times, same, header)
    arguments.out.write_text(page, encoding="utf-8")
    arguments.out.with_suffix(".json").write_text(json.dumps({"times": times, "same": same, "load": load}, indent=1))
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
