"""A GPU's day in eight minutes: parity with the CPU, latency, throughput, training steps, memory after a worker.

    python benchmarks/gpu.py [--device cuda] [--out benchmarks/gpu] [--minutes 8]     # gpu.json, gpu.md

Needs the extra [train]. Every part is written to gpu.json as soon as it is done; run it again and it goes on with what
is missing (--fresh begins anew). A part that fails is written with its reason, and the others follow. `--device cpu
--tiny` runs every part small, as the tests do; CUDA graphs are left out there.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from napari_tinymig.training.networks.saved import load_student
from napari_tinymig.training.networks.teacher import build_teacher
from napari_tinymig.training.networks.torch_network import TorchNetwork

from napari_tinymig.base.records import Scan
from napari_tinymig.models.registry import open_model
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.train import TeacherSpec
from napari_tinymig.samples.drawn import fundus_sample, prostate_sample

WORKER = "import sys, torch; x = torch.zeros(64, 2**20, device=sys.argv[1]); print(float(x.sum()))"


@dataclass(frozen=True)
class Setting:
    """Where and how much. side: of training images. epochs, images: of the epoch timed. steps: of every timing."""

    device: str
    tiny: bool

    @property
    def steps(self) -> int:
        return 2 if self.tiny else 50

    @property
    def batch(self) -> int:
        return 2 if self.tiny else 64

    @property
    def side(self) -> int:
        return 64 if self.tiny else 512

    @property
    def images(self) -> int:
        return 8 if self.tiny else 650


def wait(setting: Setting) -> None:
    """Until the device has done everything asked of it."""
    if setting.device == "cuda":
        torch.cuda.synchronize()


def times_ms(run: Callable[[], Any], setting: Setting) -> dict[str, float]:
    """Smallest and median milliseconds of `run`, after some that warm up."""
    found, warm = [], 1 if setting.tiny else 5
    for i in range(setting.steps + warm):
        wait(setting)
        start = time.perf_counter()
        run()
        wait(setting)
        if i >= warm:
            found.append((time.perf_counter() - start) * 1e3)
    return {"min_ms": round(min(found), 4), "median_ms": round(median(found), 4)}


def parity(setting: Setting) -> dict[str, Any]:
    """Pixels whose label differs between ONNX Runtime on the CPU and torch on the device."""
    out = {}
    for name, sample in (("optic", fundus_sample(512)), ("prostate", prostate_sample(128, 6))):
        model, scan = open_model(name), Scan(sample.scan.pixels, sample.scan.spacing_mm)
        here = Predictor(model, "cpu").predict(scan).labels
        there = Predictor(model, "cpu", network=TorchNetwork(load_student(model), setting.device)).predict(scan).labels
        out[name] = {"pixels_differ": int((here != there).sum()), "labelled": int((here > 0).sum())}
    return out


def latency(setting: Setting) -> dict[str, Any]:
    """One image: eager, and as a CUDA graph."""
    student = load_student(open_model("optic")).to(setting.device).eval()
    x = torch.randn(1, 3, 256, 256, device=setting.device)
    with torch.inference_mode():
        out: dict[str, Any] = {"eager": times_ms(lambda: student(x), setting)}
        if setting.device == "cuda":
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                student(x)
            out["cuda_graph"] = times_ms(graph.replay, setting)
    return out


def throughput(setting: Setting) -> dict[str, Any]:
    """Images a second, a whole batch at once, in float32 and under autocast."""
    student = load_student(open_model("optic")).to(setting.device).eval()
    x = torch.randn(setting.batch, 3, 256, 256, device=setting.device)
    out: dict[str, Any] = {"batch": setting.batch}
    for name, reduced in (("float32", False), ("bfloat16", True)):
        with torch.inference_mode(), torch.autocast(setting.device, torch.bfloat16, enabled=reduced):
            found = times_ms(lambda: student(x), setting)
        out[name] = found | {"images_per_s": round(setting.batch / found["min_ms"] * 1e3)}
    return out


def train_step(setting: Setting) -> dict[str, Any]:
    """One step of a batch of 8: forward, loss, backward, AdamW; then an epoch of as many steps as its images need."""
    student = load_student(open_model("optic")).to(setting.device).train()
    optimiser = torch.optim.AdamW(student.parameters(), 1e-4)
    x = torch.randn(8, 3, setting.side, setting.side, device=setting.device)
    y = (torch.rand(8, 2, setting.side, setting.side, device=setting.device) > 0.5).float()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(setting.device, torch.bfloat16):
            logits = student(x).logits
        torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y).backward()
        optimiser.step()

    found = times_ms(step, setting)
    start, steps = time.perf_counter(), -(-setting.images // 8)
    for _ in range(steps):
        step()
    wait(setting)
    epoch = time.perf_counter() - start
    return {"side": setting.side, "batch": 8, "step": found} | {
        "epoch": {"images": setting.images, "seconds": round(epoch, 3), "hundred_epochs_s": round(100 * epoch, 1)}
    }


def teacher(setting: Setting) -> dict[str, Any]:
    """A ViT-B (random weights) asked about a batch of 8, and its maps read back from memory instead."""
    name = "vit_tiny_patch16_224" if setting.tiny else "vit_base_patch14_dinov2"
    network = build_teacher(TeacherSpec(name=name, weights="random")).to(setting.device)
    x = torch.randn(8, 3, setting.side, setting.side, device=setting.device)
    maps = [m.to("cpu", torch.float16) for m in network.features(x)]
    return {"name": name, "batch": 8, "forward": times_ms(lambda: network.features(x), setting)} | {
        "cached": times_ms(lambda: [m.to(setting.device).float() for m in maps], setting),
        "cache_mb_an_image": round(sum(m.numel() * 2 for m in maps) / 8e6, 2),
    }


def memory(setting: Setting) -> dict[str, Any]:
    """Device memory in use before a worker process, and after it has ended."""

    def used_mb() -> float:
        free, total = torch.cuda.mem_get_info() if setting.device == "cuda" else (0, 0)
        return round((total - free) / 1e6, 1)

    before = used_mb()
    subprocess.run([sys.executable, "-c", WORKER, setting.device], check=True, capture_output=True)
    return {"before_mb": before, "after_mb": used_mb()}


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "parity": parity,
    "latency": latency,
    "throughput": throughput,
    "train_step": train_step,
    "teacher": teacher,
    "memory": memory,
}


def about(setting: Setting) -> dict[str, Any]:
    """The card, or the processor, and the versions."""
    card = torch.cuda.get_device_name() if setting.device == "cuda" else platform.processor() or platform.machine()
    return {"device": setting.device, "card": card, "torch": torch.__version__, "cuda": torch.version.cuda}


def page(found: dict[str, Any]) -> str:
    """gpu.md: every figure, a line each."""
    lines = [f"# On a GPU: {found['about']['card']}", "", "`python benchmarks/gpu.py`; "
             f"torch {found['about']['torch']}, CUDA {found['about']['cuda']}.", "", "| part | what | figure |",
             "|---|---|---|"]  # fmt: skip
    for part in PARTS:
        for what, value in _flat(found.get(part, {"not run": "no time left"})):
            lines.append(f"| {part} | {what} | {value} |")
    return "\n".join([*lines, ""])


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    out = []
    for key, value in values.items():
        out += _flat(value, f"{before}{key} ") if isinstance(value, dict) else [(before + key, value)]
    return out


def main() -> None:
    """Run what is missing and write json and md after every part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="every part as small as it can be")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run found")
    parser.add_argument("--minutes", type=float, default=8, help="no part is begun after this")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; expected one, or --device cpu --tiny to try the parts.")
    setting, start = Setting(arguments.device, arguments.tiny), time.perf_counter()
    file, me = arguments.out.with_suffix(".json"), about(setting)
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() and not arguments.fresh else {}
    if found.get("about") != me:
        found = {"about": me}
    for name, part in PARTS.items():
        if "failed" not in found.get(name, {"failed": ""}) or time.perf_counter() - start > arguments.minutes * 60:
            continue
        begun = time.perf_counter()
        try:
            found[name] = part(setting) | {"seconds": round(time.perf_counter() - begun, 1)}
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            found[name] = {"failed": str(e).splitlines()[0]}
        file.write_text(json.dumps(found, indent=1), encoding="utf-8")
        arguments.out.with_suffix(".md").write_text(page(found), encoding="utf-8")
        print(name, found[name])


if __name__ == "__main__":
    main()
