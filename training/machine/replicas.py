"""One run on several devices: `torchrun --nproc-per-node N -m napari_tinymig train ...`; alone, nothing happens.

Every process holds the same student and sees its share of each batch; gradients and running statistics are averaged,
so all students stay equal. The first process validates, writes and exports. Launch and all-reduce are
lightning-fabric's. The batch of the recipe is the batch of all processes together.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_fabric: Any = None


def world_size() -> int:
    """Processes of this run, as torchrun says; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process, 0 = the one that writes."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def join(device: torch.device, batch: int) -> torch.device:
    """Meet the other processes; the device of this one. Raises ValueError for a batch that cannot be shared evenly."""
    global _fabric
    if world_size() == 1:
        return device
    if batch % world_size():
        raise ValueError(f"optim.batch is {batch}; expected a multiple of the {world_size()} processes")
    if _fabric is None:
        from lightning_fabric import Fabric

        local = int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
        _fabric = Fabric(
            accelerator="cuda" if device.type == "cuda" else "cpu",
            devices=local,
            num_nodes=max(1, world_size() // local),
            strategy="ddp",
        )
        _fabric.launch()
    found: torch.device = _fabric.device
    return found


def own_folder(out: Path) -> Path:
    """`out` for the first process; for each other one a temporary folder that goes when it ends.

    A copy of the first one's checkpoints lies in it, so that all go on from the same state, and all refuse together.
    """
    if rank() == 0:
        return out
    own = Path(tempfile.mkdtemp(prefix=f"tinymig-replica{rank()}-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    for name in ("last.safetensors", "best.safetensors"):
        if (out / name).is_file():
            shutil.copyfile(out / name, own / name)
    return own


def own_share(rows: Tensor) -> Tensor:
    """The rows of a batch that this process sees."""
    return rows if world_size() == 1 else rows[rank() :: world_size()]


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if _fabric is None:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    _average(gradients)


def average_buffers(module: nn.Module) -> None:
    """Replace running statistics by their mean over the processes."""
    if _fabric is not None:
        _average([b for b in module.buffers() if b.is_floating_point()])


@torch.no_grad()
def _average(tensors: list[Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([t.reshape(-1).float() for t in tensors])
    flat = _fabric.all_reduce(flat, reduce_op="mean")
    for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        t.copy_(part.view_as(t))
