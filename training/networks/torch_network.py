"""A student in torch behind the engine's `Network` protocol: predictions on CUDA or MPS, and during fine-tuning."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.models.file import ModelFile
from napari_tinymig.network.run import NetworkOutput

from .export import WithStageMoments
from .saved import load_student


class TorchNetwork:
    """A network that answers like `OnnxNetwork`, on any torch device.

    student: in evaluation mode; kept, not copied, so later training steps show in later answers.
    """

    def __init__(self, student: nn.Module, device: str = "cpu"):
        self.device = device
        self._module = WithStageMoments(student.to(device))

    @torch.no_grad()
    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Outputs for a batch (B, 3, s, s) float32."""
        self._module.eval()
        outputs = [t.float().cpu().numpy() for t in self._module(torch.from_numpy(batch).to(self.device))]
        stages = (len(outputs) - 1) // 2
        return NetworkOutput(outputs[0], tuple(outputs[1 : 1 + stages]), tuple(outputs[1 + stages :]))


def open_torch_network(model: ModelFile, device: str) -> TorchNetwork:
    """The network of a model file on 'cuda', 'mps' or 'cpu'."""
    return TorchNetwork(load_student(model), device)
