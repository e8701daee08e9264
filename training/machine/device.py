"""Which processor or accelerator a run computes on, by the name its maker gave it, and in which precision."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from napari_tinymig.recipes.student import Recipe


def device_name(want: str = "auto") -> str:
    """Device and name, e.g. 'CUDA, NVIDIA A100' or 'CPU, AMD EPYC 7B13, 2 thread(s)'. want: auto, cpu, cuda[:n] or mps.

    'auto' is what a run takes: CUDA, then MPS, then the CPU.
    """
    if want == "auto":
        want = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if want.startswith("cuda") and torch.cuda.is_available():
        return f"CUDA, {torch.cuda.get_device_name(torch.device(want))}"
    if want == "mps":
        return f"MPS, {platform.processor() or platform.machine()}"
    return f"CPU, {_processor()}, {torch.get_num_threads()} thread(s)"


def _processor() -> str:
    """The CPU's name; where the system does not say it, its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def wants_bf16(recipe: Recipe, device: torch.device) -> bool:
    """'auto' takes bf16 where the device is fast at it."""
    return fast_at_bf16(device) if recipe.optim.precision == "auto" else recipe.optim.precision == "bf16"


def fast_at_bf16(device: torch.device) -> bool:
    """CUDA, and CPUs with AMX or native bf16; elsewhere bf16 is emulated (ten times slower on AVX2)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    capable = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capable and capable())
