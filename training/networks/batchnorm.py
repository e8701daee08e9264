"""BatchNorm statistics of a new centre in an old model: test-time help that needs images, no labels and no training.

The ONNX graph has its BatchNorms folded into the convolutions, so the student is opened in torch, its running
statistics are mixed with those of the new images, and a new model file is exported (after Nado et al., 2020, and
Schneider et al., NeurIPS 2020; the mixing weight is chosen).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.models.file import ModelFile, read_model_file
from napari_tinymig.network.normalise import normalise

PRIOR = 16
"""The source statistics count as much as this many images (Schneider's N; chosen)."""


def adapt_batchnorm(
    model: ModelFile, grids: Sequence[NDArray[Any]], path: str | Path, prior: float = PRIOR, batch: int = 16
) -> ModelFile:
    """A copy of `model` at `path` whose BatchNorms know the images of `grids`.

    grids: frames (s, s, 3) on the network's grid, before normalisation; at least 4. Every running mean and variance
    becomes (prior * source + n * new) / (prior + n). Everything else is kept, source statistics of the shift score
    included, so that before and after can be compared. Raises ValueError for fewer than 4 frames.
    """
    from .export import save_model
    from .saved import load_student

    if len(grids) < 4:
        raise ValueError(f"{len(grids)} frames are too few for BatchNorm statistics; expected at least 4.")
    student = load_student(model)
    norms = [m for m in student.modules() if isinstance(m, nn.BatchNorm2d)]
    source = [(m.running_mean.clone(), m.running_var.clone()) for m in norms]  # type: ignore[union-attr]
    student.eval()
    for m in norms:
        m.train()
        m.reset_running_stats()
        m.momentum = None  # cumulative average over batches
    inputs = torch.from_numpy(np.stack([normalise(g, model.header.input) for g in grids]))
    with torch.no_grad():
        for part in torch.split(inputs, batch):
            student(part)
    n = float(len(grids))
    for m, (mean, var) in zip(norms, source):
        m.running_mean.copy_((prior * mean + n * m.running_mean) / (prior + n))  # type: ignore[union-attr,operator]
        m.running_var.copy_((prior * var + n * m.running_var) / (prior + n))  # type: ignore[union-attr,operator]
        m.momentum = 0.1
    student.eval()
    header = model.header.model_copy(
        update={
            "name": f"{model.header.name}-bn",
            "weights_sha256": "",
            "lineage": model.header.lineage.model_copy(update={"parent": model.model_id}),
            "extra": model.header.extra | {"batchnorm_adapted_frames": len(grids), "batchnorm_prior": prior},
        }
    )
    save_model(Path(path), header, student)
    return read_model_file(path)
