"""GPU prediction: what a predictor is handed as `on_gpu`, so that prediction itself imports no torch."""

from __future__ import annotations

from ..base.errors import MissingExtra
from ..models.file import ModelFile
from ..network.run import Network
from .beside_window import torch_beside_window


def open_network(model: ModelFile, device: str) -> Network:
    """A model in torch on 'cuda' or 'mps'. Imports torch, which takes seconds: call it in a background thread.

    Raises MissingExtra without torch.
    """
    try:
        with torch_beside_window():
            from napari_tinymig.training.networks.torch_network import open_torch_network
    except ModuleNotFoundError as e:
        raise MissingExtra("Prediction on a GPU", "train") from e
    return open_torch_network(model, device)
