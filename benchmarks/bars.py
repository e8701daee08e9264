"""The bars of speed and memory, measured in one run on this machine: each with its figure, and whether it is met.

    python benchmarks/bars.py [--rounds 5] [--out benchmarks/bars.md]      # about four minutes on two quiet cores

Images are drawn by the package. Wall seconds mean something on quiet cores only; CPU seconds (user and system) hardly
depend on other work. Ratios to peers are those of `benchmarks/peers.json`, which `benchmarks/peers.py` writes: run it
first for figures of the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from napari_tinymig.samples.drawn import fundus_sample, prostate_sample

WARM = """
import json, sys, time
from napari_tinymig.formats import open_input
from napari_tinymig.network.run import OnnxNetwork
from napari_tinymig.predict.predictor import Predictor
scan, predictor = open_input(sys.argv[1]).scan, Predictor(sys.argv[2], "cpu", threads=int(sys.argv[3]))
asked, run, best = [0.0], OnnxNetwork.run, (9e9, 9e9, 0.0)
def timed(self, batch):
    start = time.process_time()
    try:
        return run(self, batch)
    finally:
        asked[0] += time.process_time() - start
OnnxNetwork.run = timed
for _ in range(int(sys.argv[4])):
    asked[0], wall, cpu = 0.0, time.perf_counter(), time.process_time()
    predictor.predict(scan)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    best = (min(best[0], wall), *((cpu, asked[0] / cpu) if cpu < best[1] else best[1:]))
print(json.dumps(best))
"""
FOLDER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from napari_tinymig.batch import folder
from napari_tinymig.batch.one_input import Options
folder.workers_for = lambda jobs: int(sys.argv[3])
jobs = folder.plan([sys.argv[1]], Path(sys.argv[2]), Options(task="optic", device="cpu", threads=1))
run, start = folder.run_all(jobs, Path(sys.argv[2])), None
for n, _ in enumerate(run):
    start = start or time.perf_counter()
print((time.perf_counter() - start) / n)
"""
BUSY = "while True: pass"
PEERS = {"nnU-Net 2-D plain": 45.0, "MONAI UNet 16-256": 3.5, "torchvision LRASPP MobileNetV3-L": 2.0}
"""Peer -> how many times as long as our student it is to take, one thread."""
ROOFLINE = 0.6
OURS = "ours: optic"


def draw(folder: Path) -> dict[str, str]:
    """A photograph of 1536 px, a folder of 32, a volume of 24 slices."""
    (folder / "many").mkdir(parents=True)
    for i in range(32):
        if i < 4:
            picture = Image.fromarray(fundus_sample(1372, seed=i).scan.pixels)
        picture.save(folder / "many" / f"eye_{i:02}.jpg", quality=88 + i // 4)
    scan = prostate_sample(320, 24).scan
    z, y, x = scan.spacing_mm or (3.0, 0.6, 0.6)
    volume = nib.Nifti1Image(np.ascontiguousarray(scan.pixels.T), np.diag([-x, -y, z, 1.0]))
    nib.save(volume, folder / "volume.nii.gz")
    return {
        "one": str(folder / "many" / "eye_00.jpg"),
        "many": str(folder / "many"),
        "volume": str(folder / "volume.nii.gz"),
    }


def asked(*arguments: str) -> tuple[float, float, float, str]:
    """(wall seconds, CPU seconds, peak MB, last line) of one run of this Python, whose bytecode is compiled."""
    code = (
        "import json, resource, subprocess, sys, time\nstart = time.perf_counter()\n"
        "done = subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, "
        "done.stdout[-400:], done.stderr[-2000:], done.returncode]))"
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "tinymig_bars_bytecode")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env=env)
    wall, cpu, peak, out, err, rc = json.loads(done.stdout)
    if rc:
        raise RuntimeError(err)
    return wall, cpu, peak, out.strip().splitlines()[-1] if out.strip() else ""


def segment(image: str, task: str, out: Path) -> tuple[float, float, float]:
    """(wall, CPU, peak MB) of the command."""
    arguments = ["-m", "napari_tinymig", "segment", image, "-o", str(out), "--task", task, "--device", "cpu"]
    return asked(*arguments, "--overwrite")[:3]


def best(rounds: int, run, *arguments) -> list[float]:
    """The smallest of each figure over the rounds."""
    return [min(column) for column in zip(*(run(*arguments) for _ in range(rounds)))]


def warm(image: str, model: str, threads: int) -> list[float]:
    """(wall, CPU, part of the network) of the best prediction in a running process."""
    return json.loads(asked("-c", WARM, image, model, str(threads), "9")[3])


def in_a_busy_machine(image: str, out: Path) -> float:
    """Wall seconds of the command beside four processes that never rest."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(4)]
    try:
        return best(3, segment, image, "optic", out)[0]
    finally:
        for process in busy:
            process.kill()
            process.wait()


def commands(images: dict[str, str], out: Path, rounds: int) -> list[tuple[str, str, str, bool]]:
    """Rows of what a command costs: (bar, wanted, measured, met)."""
    version = best(rounds, lambda: asked("-m", "napari_tinymig", "--version")[:2])
    one = best(rounds, segment, images["one"], "optic", out)
    volume = best(rounds, segment, images["volume"], "prostate", out)
    many = segment(images["many"], "optic", out)
    busy = in_a_busy_machine(images["one"], out)
    return [
        ("`tinymig --version`, CPU", "<= 0.20 s", f"{version[1]:.3f} s (wall {version[0]:.3f})", version[1] <= 0.2),
        (
            "cold `tinymig segment`, one photograph, CPU",
            "<= 0.80 s",
            f"{one[1]:.3f} s (wall {one[0]:.3f})",
            one[1] <= 0.8,
        ),
        ("cold `tinymig segment`, 24 slices, wall", "-", f"{volume[0]:.3f} s (CPU {volume[1]:.3f})", True),
        ("peak memory, one photograph", "<= 250 MB", f"{one[2]:.0f} MB", one[2] <= 250),
        ("peak memory, folder of 32", "<= 250 MB", f"{many[2]:.0f} MB", many[2] <= 250),
        ("cold command beside four busy processes", "<= 4 x", f"{busy / one[0]:.2f} x", busy <= 4 * one[0]),
    ]


def running(images: dict[str, str], out: Path) -> list[tuple[str, str, str, bool]]:
    """Rows of what a running process takes."""
    photograph = warm(images["one"], "optic", 1)
    slices = [warm(images["volume"], "prostate", threads) for threads in (1, 2)]
    folder = [float(asked("-c", FOLDER, images["many"], str(out / f"f{n}"), str(n))[3]) for n in (1, 2)]
    gain, gains = slices[0][0] / slices[1][0], folder[0] / folder[1]
    part = photograph[2]
    return [
        ("warm photograph, CPU", "<= 60 ms", f"{1e3 * photograph[1]:.1f} ms", photograph[1] <= 0.06),
        ("part of the network in it", ">= 40 %", f"{100 * part:.0f} %", part >= 0.4),
        ("warm volume of 24 slices, two threads, wall", "<= 0.50 s", f"{slices[1][0]:.3f} s", slices[1][0] <= 0.5),
        ("warm volume, CPU with one and two threads", "-", f"{slices[0][1]:.3f} and {slices[1][1]:.3f} s", True),
        ("two threads over one, volume, wall", ">= 1.5 x", f"{gain:.2f} x", gain >= 1.5),
        ("two threads over one, folder, wall", ">= 1.5 x", f"{gains:.2f} x", gains >= 1.5),
    ]


def peers(file: Path) -> list[tuple[str, str, str, bool]]:
    """Rows of the peers' table: ratios of the smallest CPU milliseconds of one thread, and the roofline reached."""
    told = json.loads(file.read_text(encoding="utf-8"))
    networks = {row["name"]: row for row in told["networks"]}
    ours, fastest = networks[OURS], max(max(each) for each in told["roofline_gflops"].values())
    reached = 2 * ours["gmac"] / (min(ours["cpu_1"]) / 1e3) / fastest
    rows = [("part of the conv roofline", f">= {100 * ROOFLINE:.0f} %", f"{100 * reached:.0f} %", reached >= ROOFLINE)]
    for name, wanted in PEERS.items():
        ratio = min(networks[name]["cpu_1"]) / min(ours["cpu_1"])
        rows.append((f"{name}: times our student", f">= {wanted:g} x", f"{ratio:.1f} x", ratio >= wanted))
    return rows


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load, start = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        images = draw(Path(name) / "in")
        rows = commands(images, Path(name) / "out", arguments.rounds) + running(images, Path(name))
    rows += peers(Path(__file__).with_name("peers.json"))
    lines = ["# The bars", ""]
    lines += [
        f"`python benchmarks/bars.py --rounds {arguments.rounds}`; {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, load average {load:.1f} at the start, "
        f"{time.perf_counter() - start:.0f} s. The smallest of the rounds.",
        "",
        "| bar | wanted | measured | |",
        "|---|---|---|---|",
    ]
    for what, wanted, measured, met in rows:
        verdict = "-" if wanted == "-" else "met" if met else "missed"
        lines.append(f"| {what} | {wanted} | {measured} | {verdict} |")
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
