"""Ten, a hundred, a thousand photographs and more: is the time linear, does the memory stay, do dask workers help?

    python benchmarks/scale.py [--sizes 10,100,1000] [--cluster 10,100] [--side 480] [--out benchmarks/scale.md]

Small JPEG photographs are drawn by the package: sixteen different ones, the others are hard links to them, each read,
segmented and written on its own. A run is one process, `tinymig segment` in all but name, whose resident memory is
looked at after each tenth. With a cluster it is the command itself with a scheduler and one or two workers of one
thread on this machine; their masks are compared with those of the run without. CPU seconds are user and system, of the
process or of command, scheduler and workers together, start-up included. The table is written after every run, so that
a run that is stopped keeps what it has.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image

from napari_tinymig.samples.drawn import fundus_sample

RUN = """
import json, os, resource, sys
from pathlib import Path
from napari_tinymig.batch.folder import plan, run_all, with_threads
from napari_tinymig.batch.one_input import Options
def resident():
    try:
        return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return float("nan")
out = Path(sys.argv[2])
jobs = with_threads(plan([sys.argv[1]], out, Options(task="optic", device="cpu")))
seen, status = [], {}
for n, outcome in enumerate(run_all(jobs, out), start=1):
    status[outcome.row["status"]] = status.get(outcome.row["status"], 0) + 1
    if n % max(1, len(jobs) // 10) == 0:
        seen.append(round(resident()))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"resident": seen, "peak": peak, "status": status}))
"""
HEADER = ["images", "how", "CPU s", "CPU ms an image", "wall s", "MB after a tenth", "MB at the end", "peak MB", "rows"]


def draw(folder: Path, side: int) -> list[Path]:
    """Sixteen photographs."""
    folder.mkdir()
    paths = []
    for i in range(16):
        paths.append(folder / f"{i}.jpg")
        sample = fundus_sample(side, seed=i, cup_ratio=0.3 + 0.03 * i, eye=("right", "left")[i % 2])
        Image.fromarray(sample.scan.pixels).save(paths[-1], quality=90)
    return paths


def linked(originals: list[Path], folder: Path, count: int) -> Path:
    """A folder of `count` photographs."""
    folder.mkdir()
    for i in range(count):
        os.link(originals[i % len(originals)], folder / f"eye_{i:05}.jpg")
    return folder


def used() -> float:
    """User and system seconds of every child that has ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rows_of(out: Path) -> int:
    """Rows of the table of results."""
    with (out / "measurements.csv").open(newline="", encoding="utf-8") as stream:
        return sum(1 for _ in csv.DictReader(stream))


def alone(photographs: Path, out: Path, count: int) -> list[str]:
    """The row of a run in one process."""
    cpu, start = used(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(photographs), str(out)], capture_output=True, text=True, check=True
    )
    cpu, wall, said = used() - cpu, time.perf_counter() - start, json.loads(done.stdout.splitlines()[-1])
    memory = [f"{said['resident'][0]:.0f}", f"{said['resident'][-1]:.0f}", f"{said['peak']:.0f}"]
    verdict = f"{rows_of(out)} ({', '.join(f'{n} {s}' for s, n in said['status'].items())})"
    return [str(count), "one process", f"{cpu:.1f}", f"{1e3 * cpu / count:.0f}", f"{wall:.1f}", *memory, verdict]


@contextmanager
def process(*command: str) -> Iterator[None]:
    """A process that runs as long as the block."""
    running = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait(60)


def clustered(photographs: Path, out: Path, count: int, workers: int, same_as: Path) -> list[str]:
    """The row of a run on a scheduler and `workers` workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, cpu, start = f"tcp://127.0.0.1:{port}", used(), time.perf_counter()
    command = [sys.executable, "-m", "napari_tinymig", "segment", str(photographs), "-o", str(out)]
    with ExitStack() as stack:
        stack.enter_context(process("distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard"))
        for _ in range(workers):
            stack.enter_context(
                process("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
            )
        subprocess.run([*command, "--task", "optic", "--device", "cpu", "--cluster", address], check=True)
        wall = time.perf_counter() - start
    cpu = used() - cpu
    masks = {p.name: p.read_bytes() for p in same_as.glob("*_mask.png")}
    equal = sum((out / name).read_bytes() == content for name, content in masks.items())
    how = f"dask, {workers} worker{'s' if workers > 1 else ''}"
    verdict = f"{rows_of(out)} ({equal} masks as without)"
    return [str(count), how, f"{cpu:.1f}", f"{1e3 * cpu / count:.0f}", f"{wall:.1f}", "-", "-", "-", verdict]


def write(rows: list[list[str]], header: str, out: Path) -> None:
    """Page and .csv."""
    lines = ["# From ten photographs to thousands", "", header, ""]
    lines += ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([HEADER, *rows])


def whole_numbers(text: str) -> list[int]:
    """'10,100' as numbers."""
    return [int(word) for word in text.split(",") if word]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=whole_numbers, default=[10, 100, 1000])
    parser.add_argument("--cluster", type=whole_numbers, default=[10, 100], help="sizes that also run on workers")
    parser.add_argument("--side", type=int, default=480, help="height of a photograph in pixels")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    sizes, cluster = arguments.sizes, arguments.cluster
    header = (
        f"`python benchmarks/scale.py --sizes {','.join(map(str, sizes))} --cluster {','.join(map(str, cluster))} "
        f"--side {arguments.side}`; {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f} at the start (above the number of cores wall times are stretched)."
    )
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = draw(folder / "drawn", arguments.side)
        for count in sizes:
            photographs = linked(originals, folder / f"in_{count}", count)
            rows.append(alone(photographs, folder / f"out_{count}", count))
            write(rows, header, arguments.out)
            for workers in (1, 2) if count in cluster else ():
                out = folder / f"out_{count}_{workers}"
                rows.append(clustered(photographs, out, count, workers, folder / f"out_{count}"))
                write(rows, header, arguments.out)
    sys.stdout.write(arguments.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
