"""How long a first mask takes, how many photographs a second, how much memory: `tinymig segment` measured from outside.

    python benchmarks/engine_speed.py [--images 64] [--flat 1000] [--model optic] [--out benchmarks/engine_speed.md]

Photographs are drawn by the package (1536 px, JPEG), so no data set is needed. Figures are the minimum and the median
of the rounds; memory is the peak resident size of the process.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from napari_tinymig.base.records import Scan
from napari_tinymig.batch.folder import plan, run_all, with_threads
from napari_tinymig.batch.one_input import Options
from napari_tinymig.models.registry import default_model
from napari_tinymig.network.run import usable_threads
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.samples.drawn import fundus_sample, prostate_sample

SIDE = 1372  # 1536 px wide


def draw(folder: Path, count: int) -> list[Path]:
    """`count` JPEG photographs, of which six are different and the others re-encoded copies."""
    folder.mkdir(parents=True)
    kinds = [fundus_sample(SIDE, seed=s, cup_ratio=0.3 + 0.1 * s, eye=("right", "left")[s % 2]) for s in range(6)]
    paths = []
    for i in range(count):
        paths.append(folder / f"eye_{i:04}.jpg")
        Image.fromarray(kinds[i % 6].scan.pixels).save(paths[-1], quality=90 + i % 6)
    return paths


def segment(inputs: list[Path], out: Path, model: str) -> tuple[float, float]:
    """Wall seconds and peak resident MB of one cold `tinymig segment`."""
    command = [sys.executable, "-m", "napari_tinymig", "segment", *map(str, inputs), "-o", str(out)]
    command += ["--task", "optic", "--model", model, "--device", "cpu"]
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(done.returncode)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, float(done.stdout) / 1024


def resident_mb() -> float:
    """Resident memory of this process now."""
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def flat_memory(paths: list[Path], folder: Path, model: str) -> list[tuple[int, float]]:
    """Resident MB of one process after 10 %, 20 %, ... of the images."""
    jobs = with_threads(plan(paths, folder, Options(task="optic", model=model, device="cpu")))
    seen = []
    for n, _ in enumerate(run_all(jobs, folder), start=1):
        if n % max(1, len(jobs) // 10) == 0:
            seen.append((n, resident_mb()))
    return seen


def warm_volume(rounds: int = 7) -> tuple[float, float] | None:
    """Minimum and median seconds of a warm 20 x 384 x 384 volume; None without a prostate model."""
    try:
        predictor = Predictor(default_model("prostate"), "cpu")
    except Exception as e:
        if type(e).__name__ != "ModelFileError":
            raise
        return None
    sample = prostate_sample(384, 20)
    times = []
    for _ in range(rounds):
        times.append(predictor.predict(Scan(sample.scan.pixels, sample.scan.spacing_mm)).seconds)
    return min(times[1:]), median(times[1:])


def warm_photograph(model: str, rounds: int = 15) -> tuple[float, float]:
    """Minimum and median seconds of one warm 1536 px photograph, network and all, without reading and writing."""
    predictor, scan = Predictor(model, "cpu"), fundus_sample(SIDE).scan
    times = [predictor.predict(scan).seconds for _ in range(rounds)]
    return min(times), median(times)


def flat(paths: list[Path], folder: Path, count: int, model: str) -> list[tuple[int, float]]:
    """`flat_memory` over `count` links to the photographs; [] for none."""
    if not count:
        return []
    copies = folder / "flat"
    copies.mkdir()
    for i in range(count):
        os.link(paths[i % len(paths)], copies / f"{i:05}.jpg")
    return flat_memory(sorted(copies.iterdir()), folder / "flat_out", model)


def measure(args: argparse.Namespace, model: str) -> tuple[list[tuple[str, str, str]], list[tuple[int, float]]]:
    """Rows (what, measured, target) and the resident memory by number of images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = draw(folder / "photographs", max(args.images, 8))
        cold = [segment(paths[:1], folder / f"one{i}", model) for i in range(args.rounds)]
        few, _ = segment(paths[:4], folder / "few", model)
        many, peak = segment(paths[: args.images], folder / "many", model)
        memory = flat(paths, folder, args.flat, model)
    seconds, rate = [c[0] for c in cold], (args.images - 4) / (many - few)
    low, middle = (f"{1e3 * v:.0f}" for v in warm_photograph(model))
    first = f"{min(seconds):.2f} s (median {median(seconds):.2f})"
    rows = [
        ("first mask of a 1536 px JPEG, cold `tinymig segment`", first, "<= 1.5 s"),
        ("photographs a second in a folder, after start-up", f"{rate:.1f}", ">= 8"),
        ("one warm photograph, without reading and writing", f"{low} ms (median {middle})", "-"),
        ("peak resident memory, one photograph", f"{max(c[1] for c in cold):.0f} MB", "<= 500 MB"),
        (f"peak resident memory, folder of {args.images}", f"{peak:.0f} MB", "<= 500 MB"),
    ]
    if volume := warm_volume():
        rows.append(("384 x 384 x 20 volume, warm", f"{volume[0]:.2f} s (median {volume[1]:.2f})", "<= 3 s"))
    if memory:
        (first_n, first_mb), (last_n, last_mb) = memory[0], memory[-1]
        what = f"resident memory after {first_n} and after {last_n} images"
        rows.append((what, f"{first_mb:.0f} and {last_mb:.0f} MB", "flat"))
    return rows, memory


def page(args: argparse.Namespace, model: str, load: float) -> list[str]:
    """The page's lines."""
    rows, memory = measure(args, model)
    lines = [
        "# Speed and memory of the engine",
        "",
        "Command: `python benchmarks/engine_speed.py "
        f"--images {args.images} --flat {args.flat} --rounds {args.rounds}`",
        "",
        f"Model {Predictor(model, 'cpu').model_id}, {usable_threads()}-core CPU ({platform.machine()}), Python "
        f"{platform.python_version()}, load average at the start {load:.1f}, priority (nice) "
        f"{os.getpriority(os.PRIO_PROCESS, 0)} (other work on the same cores makes every figure worse).",
        "",
        "| what | measured | target |",
        "|---|---|---|",
        *(f"| {a} | {b} | {c} |" for a, b, c in rows),
    ]
    if memory:
        lines += ["", "Resident MB by number of images: " + ", ".join(f"{n}: {mb:.0f}" for n, mb in memory) + "."]
    return lines


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--flat", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args()
    lines = page(args, args.model or default_model("optic"), os.getloadavg()[0])
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak of this process {peak:.0f} MB; numpy {np.__version__}")


if __name__ == "__main__":
    main()
