"""A student as a TorchScript file."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from ..networks.export import WithStageMoments


def write_torchscript(student: nn.Module, size: int, path: Path) -> None:
    """Trace and save `student` for images (B, 3, size, size): logits, then mean and deviation of every stage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wrapped = WithStageMoments(student).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing and saving are said to be old; runtimes elsewhere read nothing newer
        torch.jit.save(torch.jit.trace(wrapped, torch.randn(2, 3, size, size)), str(path))
