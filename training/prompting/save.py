"""A prompted student becomes a model file, and a model file a prompted student again."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_tinymig import __version__
from napari_tinymig.models.exports import Written
from napari_tinymig.models.file import ModelFile
from napari_tinymig.prompts.maps import MAPS
from napari_tinymig.recipes.prompted import PromptRecipe
from napari_tinymig.recipes.student import InputSpec, Lineage, ModelHeader

from ..networks.export import check_parity, save_model
from .network import PromptNetwork

CHANNELS = 3 + len(MAPS)


def save_prompted(
    path: Path,
    network: PromptNetwork,
    recipe: PromptRecipe,
    domains: tuple[str, ...] = (),
    hashes: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
    scores: dict[str, Any] | None = None,
) -> ModelFile:
    """Round, export, check parity, write. domains, hashes: what it was taught on, for the header."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    header = ModelHeader(
        kind="prompted",
        name=path.stem,
        input=InputSpec(size=recipe.stages[-1].size),
        student=recipe.student,
        network="prompted",
        lineage=Lineage(
            domains=domains,
            data_hashes=hashes,
            created=now,
            software=__version__,
            recipe=recipe.model_dump(mode="json"),
        ),
        scores=scores or {},
        extra=extra or {},
    )
    return save_model(path, header, network, CHANNELS)


def load_prompted(model: ModelFile) -> PromptNetwork:
    """The torch network of a prompted model file, weights in place, evaluation mode."""
    network = PromptNetwork(model.header.student)
    state = {k: torch.from_numpy(np.asarray(v).copy()) for k, v in model.weights().items()}
    own = network.state_dict()
    network.load_state_dict({k: state[k].to(v.dtype) if k in state else v for k, v in own.items()})
    return network.eval()


def export_prompted(model: ModelFile, to: str, path: Path) -> Written:
    """The ONNX graph of a prompted model file, checked against its weights before it is written.

    Raises ValueError for another format than 'onnx'.
    """
    if to != "onnx":
        raise ValueError(f"--to is '{to}'; expected onnx, the one format of a prompted student.")
    check_parity(load_prompted(model), model.onnx, model.header.input.size, channels=CHANNELS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.onnx)
    return Written(path, "its graph answers as the model's weights do")
