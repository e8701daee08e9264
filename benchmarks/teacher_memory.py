"""Memory of every recommended teacher: `python benchmarks/teacher_memory.py [NAME ...]` (Linux, no weights needed).

Each teacher is built with random weights (memory does not depend on their values) in a process of its own and asked
about one image of its own input side: CPU, fp32, one thread. Printed is the highest resident memory above that of the
process before building it, which holds torch and timm already; once at the teacher's own side, and for SAM also at 512.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

SMALLER = {"samvit_base_patch16": 512}


def resident_mb(field: str) -> float:
    """VmRSS (now) or VmHWM (highest so far) of this process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def measure(name: str, size: int | None) -> str:
    """One line of the table, measured in this process."""
    import torch
    from napari_tinymig.training.networks.teacher import build_teacher

    from napari_tinymig.recipes.train import TeacherSpec

    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak of the imports
    before = resident_mb("VmRSS")
    teacher = build_teacher(TeacherSpec(name=name, weights="random", size=size))
    begun = time.perf_counter()
    teacher.features(torch.zeros(1, 3, 256, 256))
    seconds = time.perf_counter() - begun
    rise = resident_mb("VmHWM") - before
    weights = sum(p.numel() * 4 for p in teacher.parameters()) / 1e6
    return f"| {name} | {teacher.size} | {weights:.0f} | {rise:.0f} | {seconds:.1f} |"


def main() -> None:
    """Measure the teachers named, or all, each in a fresh process."""
    from napari_tinymig.recipes.teachers import RECOMMENDED

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {', '.join(RECOMMENDED)}")
    parser.add_argument(
        "--one", type=int, metavar="SIDE", help="measure the one NAME in this process; 0 = its own side"
    )
    arguments = parser.parse_args()
    if arguments.one is not None:
        sys.stdout.write(measure(arguments.names[0], arguments.one or None) + "\n")
        return

    sys.stdout.write("| teacher | side | weights MB | peak MB | s per image, 1 thread |\n|---|---|---|---|---|\n")
    for name in arguments.names or RECOMMENDED:
        for size in (0, *([SMALLER[name]] if name in SMALLER else [])):
            command = [sys.executable, "-W", "ignore", __file__, name, "--one", str(size)]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            sys.stdout.write(done.stdout)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
