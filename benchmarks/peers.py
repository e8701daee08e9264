"""Our students beside the networks people use, each in ONNX Runtime, in turn, on this machine.

    python benchmarks/peers.py [--rounds 15] [--side 256] [--out benchmarks/peers]     # peers.json, peers.md, peers.png
    python benchmarks/peers.py --page                     # peers.md anew from peers.json, nothing measured

Needs the extras [train] and [dev] (segmentation-models-pytorch, dynamic-network-architectures). Peers carry random
weights, which change no time. Every network is exported with its normalisation folded where it can be, and asked about
one image in every round, one network after the other, so that other work slows all alike. With one thread the CPU
seconds of the asking thread are counted, too: they hardly depend on the load, and the ratios are made of them. The
roofline is what the fastest of three plain 3x3 convolutions reaches in the same rounds. Cold start, memory: a fresh
process that imports ONNX Runtime, opens the file and asks once. What those networks score that were trained alike, on
Drishti-GS1 by the protocol of benchmarks/ablation.py, stands beneath, from its committed ablation_optic.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from napari_tinymig.training.networks.saved import load_student
from peer_networks import PEERS, exported, gmac_of
from torch import nn

from napari_tinymig.models.registry import open_model

STUDENTS = ("optic", "prostate", "polyp")
OURS = "optic"
"""The student that ratios are made with."""
COLD = """
import sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions(); options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"image": np.zeros((1, 3, int(sys.argv[2]), int(sys.argv[2])), np.float32)})
status = open("/proc/self/status").read().split("VmHWM:")[1]
print(int(status.split()[0]) / 1024)
"""


@dataclass
class Row:
    """What is known of one network: sizes, and per round what was measured."""

    name: str
    parameters: int
    gmac: float
    onnx_mb: float
    wall_1: list[float] = field(default_factory=list)
    cpu_1: list[float] = field(default_factory=list)
    wall_2: list[float] = field(default_factory=list)
    pair_2: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


def session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Opened in ONNX Runtime with every optimisation, idle threads asleep as in the product."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def convolutions(side: int) -> dict[str, bytes]:
    """Plain 3x3 convolutions of three shapes: what the machine can do at best."""
    shapes = {"64 at 1/4": (64, side // 4), "128 at 1/8": (128, side // 8), "256 at 1/8": (256, side // 8)}
    return {k: exported_convolution(*v) for k, v in shapes.items()}


def exported_convolution(channels: int, side: int) -> bytes:
    """Ten 3x3 convolutions one after the other."""
    network = nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(10)))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.randn(1, channels, side, side),), buffer, input_names=["image"], dynamo=False)
    return buffer.getvalue()


def in_both(pool: ThreadPoolExecutor, run: Callable[[], Any]) -> None:
    """`run` in two threads at once."""
    for running in [pool.submit(run), pool.submit(run)]:
        running.result()


def asked(run: Callable[[], Any]) -> tuple[float, float]:
    """Wall and this thread's CPU milliseconds of one call."""
    wall, cpu = time.perf_counter(), time.thread_time()
    run()
    return (time.perf_counter() - wall) * 1e3, (time.thread_time() - cpu) * 1e3


def measure(graphs: dict[str, tuple[bytes, int, float]], rounds: int) -> tuple[dict[str, Row], dict[str, list[float]]]:
    """Every network once per round, one thread and two; the roofline's convolutions in the same rounds."""
    rows, jobs, pool = {}, [], ThreadPoolExecutor(2)
    for name, (graph, side, gmac) in graphs.items():
        weights = sum(int(np.prod(t.dims)) for t in onnx.load_from_string(graph).graph.initializer)
        rows[name] = Row(name, weights, gmac, len(graph) / 1e6)
        x = np.random.default_rng(0).normal(0, 1, (1, 3, side, side)).astype(np.float32)
        jobs.append((rows[name], session(graph, 1), session(graph, 2), x))
    plain = {k: (session(g, 1), np.zeros((1, c, s, s), np.float32), 10 * 9 * c * c * s * s / 1e6)
             for (k, g), (c, s) in zip(convolutions(256).items(), ((64, 64), (128, 32), (256, 32)))}  # fmt: skip
    reached: dict[str, list[float]] = {k: [] for k in plain}
    for r in range(rounds + 1):
        for row, one, two, x in jobs:
            wall, cpu = asked(partial(one.run, None, {"image": x}))
            both = asked(partial(two.run, None, {"image": x}))[0]
            pair = asked(partial(in_both, pool, partial(one.run, None, {"image": x})))[0] / 2
            if r:  # the first round warms up
                for kept, value in ((row.wall_1, wall), (row.cpu_1, cpu), (row.wall_2, both), (row.pair_2, pair)):
                    kept.append(value)
        for k, (conv, x, mmac) in plain.items():
            cpu = asked(partial(conv.run, None, {"image": x}))[1]
            if r:
                reached[k].append(2 * mmac / cpu)  # GFLOP/s
    return rows, reached


def cold_starts(rows: dict[str, Row], graphs: dict[str, tuple[bytes, int, float]], rounds: int, folder: Path) -> None:
    """CPU seconds from an empty process to the first answer, and the peak resident memory."""
    for i, (name, (graph, side, _)) in enumerate(graphs.items()):
        path = folder / f"{i}.onnx"
        path.write_bytes(graph)
        for _ in range(rounds):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([sys.executable, "-c", COLD, str(path), str(side)], capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            rows[name].cold.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            rows[name].peak_mb = max(rows[name].peak_mb, float(done.stdout))


def page(rows: dict[str, Row], reached: dict[str, list[float]], command: str, load: list[float], chip: str) -> str:
    """peers.md."""
    busy = max(load) > (os.cpu_count() or 1)  # then two threads never had two cores, and no ratio is made of them
    ours, roof = rows[f"ours: {OURS}"], max(max(v) for v in reached.values())
    lines = ["# Students and peers", "", f"`{command}`; {os.cpu_count()} cores, {chip}, ONNX Runtime "
             f"{onnxruntime.__version__}, float32; load average {load[0]:.1f} at the start, {load[1]:.1f} at the end "
             f"(above {os.cpu_count()}, wall times are stretched; CPU times hardly)."]  # fmt: skip
    lines += ["", f"Roofline, one thread: {roof:.0f} GFLOP/s in plain 3x3 convolutions of the same rounds. "
              f"Ratios: against `{OURS}`, of the smallest CPU ms (1 thread) and of the smallest wall ms of a pair "
              "(2 threads, an image each; '-' where other work took the cores).", ""]  # fmt: skip
    lines += ["| network | M parameters | GMAC | CPU ms, 1 thread | wall ms, 1 thread | wall ms, 2 threads, 1 image | "
              "ms an image, 2 threads | images/s, 2 threads | times ours, 1 thread | 2 threads | of the roofline | "
              "cold CPU s | peak MB |"]  # fmt: skip
    lines += ["|---" * 13 + "|"]
    for row in rows.values():
        pairs = "-" if busy else f"{min(row.pair_2) / min(ours.pair_2):.1f}"
        lines.append(
            f"| {row.name} | {row.parameters / 1e6:.2f} | {row.gmac:.2f} | {span(row.cpu_1)} | {span(row.wall_1)} | "
            f"{span(row.wall_2)} | {span(row.pair_2)} | {1e3 / min(row.pair_2):.0f} | "
            f"{min(row.cpu_1) / min(ours.cpu_1):.1f} | {pairs} | "
            f"{2 * row.gmac / min(row.cpu_1) * 1e3 / roof:.0%} | {min(row.cold):.2f} | {row.peak_mb:.0f} |"
        )
    lines += ["", "Times: minimum (median). The peers of this table carry random weights.", ""]
    return "\n".join([*lines, *masks(rows, Path(__file__).with_name("ablation_optic.csv")), ""])


TRAINED = {
    # recipe of ablation_optic.csv: (what it is, its row of the table above)
    "seg_only": ("dense student, 0.55 M, random weights", ""),
    "mobile_seg_only": ("student as `optic` is, ImageNet start", "ours: optic"),
    "resunet34": ("U-Net ResNet-34, random weights", "smp U-Net ResNet-34"),
    "nnunet2d": ("nnU-Net 2-D plain, random weights", "nnU-Net 2-D plain"),
}


def masks(rows: dict[str, Row], table: Path) -> list[str]:
    """What networks scored that were trained alike, with the ratio of time of each: lines of the page."""
    with table.open(newline="", encoding="utf-8") as stream:
        found = [r for r in csv.DictReader(stream) if r["variant"] == "student" and r["source"] == "drishti_gs1"]
    lines = ["## What those score that were trained alike", ""]
    lines += [
        "Drishti-GS1 to refuge_like (development target), 256 px, the same batches, loss and optimiser; mean of seeds "
        "(`ablation_optic.md`: after 10 epochs nothing has converged). Compare rows of equal epochs.",
        "",
    ]
    lines += ["| network | epochs | seeds | Dice, disc | Dice, cup | times `optic`, 1 thread |", "|---" * 6 + "|"]
    for epochs in sorted({int(r["epochs"]) for r in found}):
        for recipe, (what, row) in TRAINED.items():
            own = [r for r in found if r["recipe"] == recipe and int(r["epochs"]) == epochs]
            if not own:
                continue
            disc, cup = (sum(float(r[k]) for r in own) / len(own) for k in ("dice_disc", "dice_cup"))
            times = f"{min(rows[row].cpu_1) / min(rows[f'ours: {OURS}'].cpu_1):.1f}" if row else "-"
            lines.append(f"| {what} | {epochs} | {len(own)} | {disc:.3f} | {cup:.3f} | {times} |")
    return lines


def span(values: list[float]) -> str:
    """minimum (median)."""
    return f"{min(values):.1f} ({median(values):.1f})"


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def plot(rows: dict[str, Row], path: Path) -> None:
    """Milliseconds of every network, one thread."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    ordered = sorted(rows.values(), key=lambda r: min(r.cpu_1))
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    colours = ["#35c2f0" if r.name.startswith("ours") else "#8a8f98" for r in ordered]
    bars = axes.barh([r.name for r in ordered], [min(r.cpu_1) for r in ordered], color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set(xscale="log", xlabel="CPU ms for one image, one thread, ONNX Runtime float32 (smallest of the rounds)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and write json, md and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--side", type=int, default=256, help="side of the peers' images; students take their own")
    parser.add_argument("--cold", type=int, default=3, help="cold starts of each network")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    parser.add_argument("--page", action="store_true", help="only write the page anew from the .json")
    arguments = parser.parse_args()
    if arguments.page:
        raw = json.loads(arguments.out.with_suffix(".json").read_text(encoding="utf-8"))
        rows = {r["name"]: Row(**r) for r in raw["networks"]}
        text = page(rows, raw["roofline_gflops"], raw["command"], raw["load"], raw["processor"])
        arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
        return
    load = [os.getloadavg()[0]]
    graphs = {}
    for name in STUDENTS:
        model = open_model(name)
        side = model.header.input.size
        graphs[f"ours: {name}"] = (model.onnx, side, gmac_of(load_student(model), side))
    torch.manual_seed(0)
    for name, build in PEERS.items():
        network = build(arguments.side)
        graphs[name] = (exported(network, arguments.side), arguments.side, gmac_of(network, arguments.side))
    rows, reached = measure(graphs, arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        cold_starts(rows, graphs, arguments.cold, Path(folder))
    load.append(os.getloadavg()[0])
    command = f"python benchmarks/peers.py --rounds {arguments.rounds} --side {arguments.side}"
    text = page(rows, reached, command, load, processor())
    arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
    raw = {"command": command, "load": load, "processor": processor(), "onnxruntime": onnxruntime.__version__}
    raw |= {"networks": [asdict(r) for r in rows.values()], "roofline_gflops": reached}
    arguments.out.with_suffix(".json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    plot(rows, arguments.out.with_suffix(".png"))
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
