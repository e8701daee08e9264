"""Weights of timm's models, one module: what a file says of itself, its tensors, a network filled, and the hub."""

from __future__ import annotations

import difflib
import logging
import math
import os
import pickle
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_tinymig.base.errors import HubUnreachable, ModelFileError

from ..machine.weights_folder import WEIGHTS_FOLDER, local_weights

HUB_TIMEOUT_S = 5.0
HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "teacher")
TEACHERS_WAY = "give its path as teacher.weights (in the recipe, or --set teacher.weights=PATH)"


def create_pretrained(name: str, weights: str | Path | None, way: str = TEACHERS_WAY, **options: Any) -> nn.Module:
    """timm's model `name` with weights: 'random', a local file, or None = the folder TINYMIG_WEIGHTS, else the hub.

    A local file may say its padding, mean and std in its metadata (`FileWords`), which are then used. way: how a user
    names a file instead of the hub. Raises HubUnreachable, and ModelFileError for a file that is not there, not
    readable, or does not fill every tensor of the network.
    """
    import timm  # in functions only: a probe on cached features never pays for it

    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return timm.create_model(name, pretrained=False, **options)
    path = Path(weights).expanduser() if weights else local_weights(name) or _cached_from_hub(name, way)
    if path is None:
        try:
            return timm.create_model(name, pretrained=True, **options)
        except OSError as e:
            raise _unreachable(name, way, f"{type(e).__name__}: {str(e)[:120]}") from e
    said = said_by(path)
    overlay: dict[str, Any] = {"state_dict": tensors_of(path)}
    overlay |= {k: v for k, v in (("mean", said.mean), ("std", said.std)) if v is not None}
    return _filled(name, path, overlay, options | ({"pad_type": said.pad_type} if said.pad_type else {}))


def _filled(name: str, path: Path, overlay: dict[str, Any], options: dict[str, Any]) -> nn.Module:
    """timm's model with the tensors of a file in every place; ModelFileError where some did not come from it."""
    import timm

    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)  # heads that are not used are no news
    twins = []
    for seed in (1, 2):  # timm loads leniently; a tensor that differs between seeds did not come from the file
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                twins.append(timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options))
        except (RuntimeError, TypeError, KeyError) as e:
            raise ModelFileError(f"{path} does not fit the timm model '{name}': {str(e)[:300]}") from e
    pairs = zip(twins[0].named_parameters(), twins[1].parameters(), strict=True)
    absent = [name for (name, a), b in pairs if not torch.equal(a, b)]
    if absent:
        raise ModelFileError(
            f"{path} does not fit the timm model '{name}': {len(absent)} tensors are not in it ({absent[0]}, ...)"
        )
    return twins[0]


@dataclass(frozen=True)
class FileWords:
    """What a .safetensors says of itself in its metadata (keys pad_type, input_mean, input_std, input_size).

    mean, std: three numbers in the units of pixels / 255. input_size: (channels, height, width).
    """

    pad_type: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: tuple[int, ...] | None = None


def said_by(path: Path) -> FileWords:
    """What a weights file says of itself; nothing for a .pth. ModelFileError where it cannot be read or understood."""
    if not path.is_file():
        raise ModelFileError(f"no weights file at {path}; expected a .safetensors or .pth file of a timm model")
    if path.suffix != ".safetensors":
        return FileWords()
    try:
        with safe_open(path, "pt") as stream:
            said = stream.metadata() or {}
    except (SafetensorError, OSError) as e:
        raise ModelFileError(f"{path} is not a readable .safetensors file ({e}); get the file again") from e
    mean, std, size = (_three_numbers(path, said, k) for k in ("input_mean", "input_std", "input_size"))
    if std is not None and min(std) <= 0:
        raise ModelFileError(f"{path}: metadata 'input_std' is {said['input_std']}; expected numbers above 0.")
    return FileWords(said.get("pad_type", ""), mean, std, None if size is None else tuple(int(v) for v in size))


def _three_numbers(path: Path, said: Mapping[str, str], key: str) -> tuple[float, ...] | None:
    """'[0.5, 0.5, 0.5]' (JSON), '(0.5, 0.5, 0.5)' (Python) or '0.5, 0.5, 0.5' as numbers; None without the key."""
    if key not in said:
        return None
    text = said[key].strip()
    inner = text[1:-1] if (text[:1], text[-1:]) in (("[", "]"), ("(", ")")) else text
    try:
        numbers = tuple(float(v) for v in inner.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(math.isfinite(v) for v in numbers):
        raise ModelFileError(
            f"{path}: metadata '{key}' is '{text[:60]}'; expected three numbers such as [0.5, 0.5, 0.5]; write "
            "them so, or leave the key out."
        )
    return numbers


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The state dict of a .safetensors or .pth, tensors only: a pickle that wants to run code is refused."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, ValueError, RuntimeError, SafetensorError) as e:
            raise ModelFileError(f"{path} is not a readable .safetensors file: {e}") from e
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as e:
        raise ModelFileError(f"{path} cannot be read as tensors alone (weights_only): {str(e)[:200]}") from e
    while isinstance(raw, Mapping) and (inner := [raw[k] for k in WRAPPERS if isinstance(raw.get(k), Mapping)]):
        raw = inner[0]
    if not isinstance(raw, Mapping) or not all(isinstance(v, Tensor) for v in raw.values()):
        raise ModelFileError(f"{path} holds no state dict; expected names with tensors")
    return {k.removeprefix("module.").removeprefix("backbone."): v for k, v in raw.items()}


def load_into(body: nn.Module, path: Path, name: str, keep_head: bool) -> None:
    """Weights of a file into the body, all of them; only a classifier may be left over."""
    state = tensors_of(path)
    rename = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
    wanted = body.state_dict()
    if rename is not None and not set(wanted) <= set(state):
        try:
            state = rename(state, body)
        except (KeyError, RuntimeError, TypeError, AttributeError) as e:
            raise ModelFileError(f"{path} does not hold weights of {name} ({e}); give the right file") from e
    wrong = [k for k in wanted if k not in state or state[k].shape != wanted[k].shape]
    wrong = [k for k in wrong if not k.endswith("num_batches_tracked")]
    if wrong:
        head = " with its head" if keep_head else ""
        raise ModelFileError(
            f"{path} does not fit {name}{head}: {len(wrong)} of {len(wanted)} tensors are absent or of another shape "
            f"(first: {wrong[0]}); give the file of this very model"
        )
    body.load_state_dict({k: state[k] for k in wanted if k in state}, strict=False)


def why_not_built(name: str, options: dict[str, Any], error: Exception) -> str:
    """Why timm did not build a model: its options, or its name, with the nearest names."""
    import timm

    if timm.is_model(name.split(".")[0]):
        return f"{name} cannot be built with {options} ({error}); change the options of the backbone"
    close = difflib.get_close_matches(name, timm.list_models(), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists them"
    return f"timm knows no model '{name}'; {hint}"


def _cached_from_hub(name: str, way: str) -> Path | None:
    """A cached hub file, None where timm can download it now, or HubUnreachable at once rather than after retries."""
    import timm
    from huggingface_hub import constants, try_to_load_from_cache

    if not timm.is_model(name.split(".")[0]):
        raise RuntimeError(f"Unknown model ({name})")
    cfg = timm.get_pretrained_cfg(name)
    if not (cfg.hf_hub_id or cfg.url):
        raise HubUnreachable(f"timm has no pretrained weights for '{name}'; {way}.")
    for filename in filter(None, (cfg.hf_hub_filename, *HUB_FILES)):
        found = try_to_load_from_cache(cfg.hf_hub_id, filename) if cfg.hf_hub_id else None
        if isinstance(found, str):
            return Path(found)
    address = os.environ.get("HF_ENDPOINT", constants.ENDPOINT) if cfg.hf_hub_id else str(cfg.url)
    if not constants.HF_HUB_OFFLINE and _answers(address):
        return None
    raise _unreachable(name, way, f"{urllib.parse.urlparse(address).hostname} is not reachable from here")


def _unreachable(name: str, way: str, why: str) -> HubUnreachable:
    import timm

    cfg = timm.get_pretrained_cfg(name)
    wanted = f"{cfg.hf_hub_id}/{cfg.hf_hub_filename or HUB_FILES[0]}" if cfg.hf_hub_id else str(cfg.url)
    return HubUnreachable(
        f"the weights of '{name}' ({wanted}) cannot be had: {why}. Download that file on another machine and {way}, or "
        f"put it as {name}.safetensors into a folder named by the environment variable {WEIGHTS_FOLDER}."
    )


def _answers(address: str) -> bool:
    """Whether a server answers within seconds; the hub's own client would retry for three quarters of a minute."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=HUB_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only to refuse
    except OSError:
        return False
