"""timm networks with weights from a local file, a folder of the environment, or the hub; never silently random."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from napari_tinymig.base.errors import HubUnreachable, ModelFileError

from ..machine.weights_folder import WEIGHTS_FOLDER, local_weights

HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def create_pretrained(name: str, weights: str | Path | None, **options: Any) -> nn.Module:
    """timm's model `name` with weights: 'random', a local file, or None = the folder TINYMIG_WEIGHTS, else the hub.

    A local file may say its padding, mean and std in its metadata (pad_type, input_mean, input_std), which are then
    used. Raises HubUnreachable, and ModelFileError for a file that is not there, not readable, or does not fill every
    tensor of the network.
    """
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return timm.create_model(name, pretrained=False, **options)
    path = Path(weights).expanduser() if weights else local_weights(name)
    if path is None:
        path = _from_hub(name)
    if path is None:
        return timm.create_model(name, pretrained=True, **options)
    overlay, extra = _read_weights(path)
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)  # heads that are not used are no news
    twins = []
    for seed in (1, 2):  # timm loads leniently; a tensor that differs between seeds did not come from the file
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                found = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **(options | extra))
        except (RuntimeError, TypeError, KeyError) as e:
            raise ModelFileError(f"{path} does not fit the timm model '{name}': {str(e)[:300]}") from e
        twins.append(found)
    pairs = zip(twins[0].named_parameters(), twins[1].parameters(), strict=True)
    absent = [name for (name, a), b in pairs if not torch.equal(a, b)]
    if absent:
        raise ModelFileError(
            f"{path} does not fit the timm model '{name}': {len(absent)} tensors are not in it ({absent[0]}, ...)"
        )
    return twins[0]


def _read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What timm is told about a local file: its state dict, mean and std where the file says them, its padding."""
    if not path.is_file():
        raise ModelFileError(f"no weights file at {path}; expected a .safetensors or .pth file of a timm model")
    overlay: dict[str, Any] = {}
    options: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as f:
                meta = f.metadata() or {}
                overlay["state_dict"] = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, ValueError, RuntimeError, SafetensorError) as e:
            raise ModelFileError(f"{path} is not a readable .safetensors file: {e}") from e
        for ours, theirs in (("mean", "input_mean"), ("std", "input_std")):
            if theirs in meta:
                overlay[ours] = tuple(float(v) for v in meta[theirs].strip("[]()").split(","))
        if meta.get("pad_type"):
            options["pad_type"] = meta["pad_type"]
    else:
        overlay["state_dict"] = _read_pickle(path)
    return overlay, options


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """The state dict of a .pth, tensors only: a pickle that wants to run code is refused."""
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as e:
        raise ModelFileError(f"{path} cannot be read as tensors alone (weights_only): {str(e)[:200]}") from e
    for key in ("state_dict_ema", "model_ema", "state_dict", "model", "teacher"):
        if isinstance(raw, Mapping) and isinstance(raw.get(key), Mapping):
            raw = raw[key]
            break
    if not isinstance(raw, Mapping) or not all(isinstance(v, Tensor) for v in raw.values()):
        raise ModelFileError(f"{path} holds no state dict; expected names with tensors")
    return {k.removeprefix("module.").removeprefix("backbone."): v for k, v in raw.items()}


def _from_hub(name: str) -> Path | None:
    """A cached hub file, None where timm can download it now, or HubUnreachable at once rather than after retries."""
    cfg = timm.get_pretrained_cfg(name)
    if not (cfg.hf_hub_id or cfg.url):
        raise HubUnreachable(f"timm has no pretrained weights for '{name}'; give a local file as teacher.weights.")
    from huggingface_hub import constants, try_to_load_from_cache

    for filename in filter(None, (cfg.hf_hub_filename, *HUB_FILES)):
        found = try_to_load_from_cache(cfg.hf_hub_id, filename) if cfg.hf_hub_id else None
        if isinstance(found, str):
            return Path(found)
    address = constants.ENDPOINT if cfg.hf_hub_id else str(cfg.url)
    host = urllib.parse.urlparse(address).hostname or "huggingface.co"
    wanted = f"{cfg.hf_hub_id}/{cfg.hf_hub_filename or HUB_FILES[0]}" if cfg.hf_hub_id else str(cfg.url)
    if not constants.HF_HUB_OFFLINE and (_has_proxy() or _resolves(host)):
        return None
    raise HubUnreachable(
        f"the weights of '{name}' ({wanted}) cannot be had: {host} is not reachable from here. Download that file on "
        f"another machine and give its path as teacher.weights (in the recipe, or --set teacher.weights=PATH), or put "
        f"it as {name}.safetensors into a folder named by the environment variable {WEIGHTS_FOLDER}."
    )


def _has_proxy() -> bool:
    return any(os.environ.get(k) for k in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
