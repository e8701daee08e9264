"""The bundled prompted student in ONNX Runtime: views and prompt maps in, logits of one object out."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..base.errors import ModelFileError
from ..base.geometry import Box
from ..models.registry import open_model
from ..network.run import OnnxNetwork

BUNDLED = "prompt"


class PromptEngine(Protocol):
    """What a session needs of an engine, whichever network stands behind it."""

    size: int
    model_id: str

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (B, size, size) of (B, 8, size, size): the image in -1..1, then the maps of `prompts.maps`."""


class BoxEngine(Protocol):
    """Another network that answers boxes, and boxes alone."""

    model_id: str

    def mask(self, rgb: NDArray[np.uint8], box: Box) -> NDArray[np.bool_]:
        """The mask (H, W) of what a box (y0, x0, y1, x1), pixel edges, holds of a picture (H, W, 3)."""


class PromptedStudent:
    """The prompted student of a model file; name or path. Raises ModelFileError for a model of another kind."""

    def __init__(self, model: str | Path = BUNDLED, threads: int | None = None):
        found = open_model(model)
        if found.header.kind != "prompted":
            raise ModelFileError(
                f"{found.path} is a {found.header.kind}; expected a prompted student; leave the engine at its default."
            )
        self.size = found.header.input.size
        self.model_id = found.model_id
        self._network = OnnxNetwork(found, threads)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (B, size, size) of (B, 8, size, size)."""
        return self._network.run(batch).logits[:, 0]


@lru_cache(maxsize=2)
def prompted_student(threads: int | None = None) -> PromptedStudent:
    """The bundled prompted student, opened once."""
    return PromptedStudent(threads=threads)
