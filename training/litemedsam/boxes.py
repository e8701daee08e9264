"""LiteMedSAM as an engine for boxes: an image is encoded once, then every box is answered from the cached map."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_tinymig.base.geometry import Box, place, restore
from napari_tinymig.base.records import Placement

from .network import SIDE
from .weights import SHA256, load_litemedsam

KEPT = 64
"""Encoded images that are kept: 4 MB each."""


class LiteMedSAMBoxes:
    """Answers boxes with LiteMedSAM; see `napari_tinymig.prompts.network.BoxEngine`.

    weights: as `load_litemedsam` takes them. Raises HubUnreachable where they cannot be found.
    """

    model_id = f"litemedsam@{SHA256[:8]}"

    def __init__(self, weights: str | Path | None = None):
        self._network = load_litemedsam(weights)
        self._maps: dict[str, Tensor] = {}

    def encode(self, rgb: NDArray[np.uint8]) -> Tensor:
        """The map (1, 256, 64, 64) of a picture (H, W, 3), from the cache where it was seen before.

        As the network's makers do it: longest side to 256, zeros right and below, minimum and maximum to 0..1.
        """
        side = float(max(rgb.shape[:2]))
        grid, _ = place(rgb, (0.0, 0.0, side, side), SIDE)  # (256, 256, 3)
        key = hashlib.sha256(grid.tobytes()).hexdigest()
        if key not in self._maps:
            rows, columns = (max(round(n / side * SIDE), 1) for n in rgb.shape[:2])
            seen = grid[:rows, :columns]
            low, high = float(seen.min()), float(seen.max())
            grid[:rows, :columns] = (seen - low) / max(high - low, 1e-6)
            if len(self._maps) >= KEPT:
                self._maps.clear()
            with torch.no_grad():
                self._maps[key] = self._network.encode(torch.from_numpy(grid).permute(2, 0, 1)[None])
        return self._maps[key]

    def mask(self, rgb: NDArray[np.uint8], box: Box) -> NDArray[np.bool_]:
        """The mask (H, W) of what a box (y0, x0, y1, x1), pixel edges, holds of a picture (H, W, 3)."""
        side = float(max(rgb.shape[:2]))
        y0, x0, y1, x1 = (v / side * SIDE for v in box)
        with torch.no_grad():
            logits, _ = self._network.masks(self.encode(rgb), torch.tensor([[x0, y0, x1, y1]]))
        placement = Placement((rgb.shape[0], rgb.shape[1]), (0.0, 0.0, side, side), (SIDE, SIDE))
        return np.asarray(restore(logits.reshape(SIDE, SIDE).numpy(), placement, fill=-20.0) > 0)
