"""Zero-shot classification: images against one vector per class name, made by the text tower of the same CLIP model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def zero_shot_logits(features: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C): 100 times the cosine between images (N, F) and class texts (C, F)."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    return 100 * unit @ (weights / np.linalg.norm(weights, axis=1, keepdims=True).clip(1e-12)).T


def text_embeddings(path: str | None, classes: tuple[str, ...]) -> NDArray[np.float32]:
    """(C, F): one vector per class name from an .npz or .safetensors with arrays (F,) or (sentences, F).

    Several sentences of a class are brought to length 1 and averaged (prompt ensembling, CLIP).
    """
    if path is None:
        raise ValueError(
            "zero_shot needs text_embeddings: an .npz or .safetensors with one array per class name, made with the "
            "text tower of the same CLIP model"
        )
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"no text embeddings at {file}; expected an .npz or .safetensors with one array per class")
    if file.suffix == ".safetensors":
        from safetensors.numpy import load_file

        arrays = load_file(file)
    else:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {k: archive[k] for k in archive.files}
        except (OSError, ValueError, AttributeError) as e:
            raise ValueError(f"{file} cannot be read as an .npz; expected one array per class name") from e
    absent = [c for c in classes if c not in arrays]
    if absent:
        raise ValueError(
            f"{file} has embeddings for {', '.join(arrays)}; expected one for each of {', '.join(classes)}"
        )
    rows = [np.atleast_2d(arrays[c]).astype(np.float32) for c in classes]
    if any(r.ndim != 2 or not np.isfinite(r).all() for r in rows) or len({r.shape[1] for r in rows}) > 1:
        shapes = ", ".join(f"{c} {arrays[c].shape}" for c in classes)
        raise ValueError(f"{file} holds {shapes}; expected finite numbers, (F,) or (sentences, F) with one F for all")
    return np.stack([(r / np.linalg.norm(r, axis=1, keepdims=True).clip(1e-12)).mean(0) for r in rows])
