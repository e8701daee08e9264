"""Checkpoints of a run: last.safetensors, from which a run that was stopped or killed goes on."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor, nn

from napari_tinymig.base.errors import ModelFileError, OutputRefused
from napari_tinymig.base.plain_json import parse_json
from napari_tinymig.base.safe_files import sync_folder
from napari_tinymig.recipes.student import Recipe

LAST = "last.safetensors"

Part = nn.Module | torch.optim.Optimizer
Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Where a run stands. epoch: finished epochs. best: best score (see `Run.finish_epoch`), at epoch best_epoch."""

    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0


def write_checkpoint(
    out: Path, parts: dict[str, Part], best: Tensors | None, progress: Progress, recipe: Recipe
) -> None:
    """Everything needed to go on, written under a temporary name; OutputRefused where it cannot be.

    parts: name -> what is trained (its state) and what trains it. best: the state that would be kept now.
    """
    tensors = {f"best.{k}": v for k, v in (best or {}).items()}
    for name, part in parts.items():
        tensors |= {f"{name}.{k}": v for k, v in _tensors_of(part).items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    path, temporary = out / LAST, out / f".last.{os.getpid()}.tmp"
    meta = {"progress": json.dumps(asdict(progress)), "recipe": recipe.model_dump_json()}
    try:
        save_file(tensors, temporary, metadata=meta)
        with temporary.open("r+b") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(out)
    except (SafetensorError, OSError) as e:
        temporary.unlink(missing_ok=True)
        raise OutputRefused(
            f"the checkpoint {path} cannot be written ({e}); make room or choose another folder, then go on with "
            "--resume"
        ) from e


def read_checkpoint(out: Path, parts: dict[str, Part], recipe: Recipe) -> tuple[Tensors | None, Progress]:
    """Fill the parts from a checkpoint: the best state so far and where the run stood.

    Raises ModelFileError where it is absent, damaged or of another recipe; then nothing was changed.
    """
    path = out / LAST
    if not path.is_file():
        raise ModelFileError(f"nothing to resume in {out}; expected {LAST}; run without --resume")
    try:
        with safe_open(path, "pt") as stored:
            meta = stored.metadata() or {}
        tensors, progress = load_file(path), Progress(**parse_json(meta["progress"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as e:
        raise ModelFileError(
            f"{path} is damaged ({str(e)[:80]}); expected the checkpoint of a run; delete this file, which gives "
            "up what was trained in its folder, or start again in another folder"
        ) from e
    if not same_recipe(meta.get("recipe", ""), recipe):
        raise ModelFileError(f"{path} was made by another recipe; resume with the same one, or choose another folder")
    for name, part in parts.items():
        _fill(part, _named(tensors, name))
    return _named(tensors, "best") or None, progress


def same_recipe(stored: str, recipe: Recipe) -> bool:
    """Whether a checkpoint's recipe (JSON) is this one; settings it does not know count as default."""
    try:
        return Recipe.model_validate_json(stored) == recipe
    except ValueError:
        return False


def _named(tensors: Tensors, name: str) -> Tensors:
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}


def _tensors_of(part: Part) -> Tensors:
    """The state of a network, or of an optimiser as '<number of the parameter>.<name>'."""
    if isinstance(part, nn.Module):
        return part.state_dict()
    states: dict[int, dict[str, Any]] = part.state_dict()["state"]
    return {f"{number}.{k}": torch.as_tensor(v) for number, state in states.items() for k, v in state.items()}


def _fill(part: Part, tensors: Tensors) -> None:
    if isinstance(part, nn.Module):
        part.load_state_dict(tensors)
        return
    states: dict[int, Tensors] = {}
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        states.setdefault(int(number), {})[key] = value
    part.load_state_dict({"state": states, "param_groups": part.state_dict()["param_groups"]})
