"""The gate's network: a tiny student encoder with one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_tinymig.recipes.student import StudentSpec

from .student import DenseEncoder, MobileEncoder


class GateNetwork(nn.Module):
    """Encoder, mean and maximum over the deepest map, one linear layer: logits (B, K)."""

    def __init__(self, spec: StudentSpec, classes: int):
        super().__init__()
        self.encoder: DenseEncoder | MobileEncoder
        self.encoder = DenseEncoder(spec.widths, spec.blocks) if spec.encoder == "dense" else MobileEncoder(None)
        self.head = nn.Linear(2 * self.encoder.widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        deepest = self.encoder(x)[-1]  # (B, C, h, w)
        return self.head(torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], 1))
