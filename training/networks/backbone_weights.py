"""Weights of timm's models: what a file says of itself, a file into a network, and the hub with a quick refusal."""

from __future__ import annotations

import difflib
import logging
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_tinymig.base.errors import HubUnreachable, ModelFileError
from napari_tinymig.base.plain_json import parse_json

from ..machine.weights_folder import WEIGHTS_FOLDER

log = logging.getLogger(__name__)
HUB_TIMEOUT_S = 5.0


def file_hints(path: Path) -> dict[str, Any]:
    """What a .safetensors says of itself: {pad_type, mean, std, input_size} as far as present."""
    if not path.is_file():
        raise ModelFileError(f"no weights file at {path}; expected a .safetensors or .pth of the backbone")
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as stream:
            said = stream.metadata() or {}
    except SafetensorError as e:
        raise ModelFileError(f"{path} is not a readable .safetensors file ({e}); get the file again") from e
    hints: dict[str, Any] = {"pad_type": said["pad_type"]} if "pad_type" in said else {}
    for key, ours in (("input_mean", "mean"), ("input_std", "std"), ("input_size", "input_size")):
        if key in said:
            try:
                hints[ours] = tuple(parse_json(said[key]))
            except (ValueError, TypeError):
                log.warning("%s: metadata '%s' is not a list; ignored", path, key)
    return hints


def load_into(body: nn.Module, path: Path, name: str, keep_head: bool) -> None:
    """Weights of a file into the body, all of them; only a classifier may be left over."""
    try:
        raw = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as e:
        raise ModelFileError(
            f"{path} cannot be read as weights ({type(e).__name__}); expected .safetensors or .pth"
        ) from e
    for wrapper in ("state_dict", "model", "model_state_dict"):
        raw = raw.get(wrapper, raw) if isinstance(raw, dict) else {}
    state = {k.removeprefix("module."): v for k, v in raw.items() if isinstance(v, Tensor)}
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


def from_hub(timm: Any, name: str, options: dict[str, Any]) -> nn.Module:
    """timm's model `name` with the weights of its hub, built with `options`.

    Raises RuntimeError for a name that timm does not know, and HubUnreachable within seconds where there is no network
    and no cached copy.
    """
    if not timm.is_model(name.split(".")[0]):
        raise RuntimeError(f"Unknown model ({name})")
    from huggingface_hub import constants

    was = constants.HF_HUB_OFFLINE
    if not _hub_answers():  # otherwise its client retries for three quarters of a minute
        constants.HF_HUB_OFFLINE = True
    try:
        return timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError) as e:
        raise HubUnreachable(
            f"the weights of {name} could not be had from timm's hub ({type(e).__name__}: {str(e)[:120]}); get "
            f"model.safetensors of timm/{name} on a machine with a network and give it with --weights FILE, or put it "
            f"as {name}.safetensors into a folder named by the environment variable {WEIGHTS_FOLDER}"
        ) from e
    finally:
        constants.HF_HUB_OFFLINE = was


def _hub_answers() -> bool:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(endpoint, timeout=HUB_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only to refuse
    except OSError:
        return False


def why_not_built(timm: Any, name: str, options: dict[str, Any], error: Exception) -> str:
    """Why timm did not build a model: its options, or its name, with the nearest names."""
    if timm.is_model(name.split(".")[0]):
        return f"{name} cannot be built with {options} ({error}); change the options of the backbone"
    close = difflib.get_close_matches(name, timm.list_models(), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists them"
    return f"timm knows no model '{name}'; {hint}"
