"""The file a probe leaves: prompt, head and a header that says what it was made of."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.models.classifier_file import BACKBONE_PREFIX, write_classifier
from napari_tinymig.recipes.classify import ClassifierCard
from napari_tinymig.recipes.student import Lineage, ModelHeader

from .images import ImageSet
from .methods import FitData, Fitted
from .report import SetResult

MOST_HASHES = 1000


def save_classifier(
    path: Path, ground: FitData, fitted: Fitted, images: ImageSet, results: dict[str, SetResult], seconds: float
) -> str:
    """Prompt, head, header; a fine-tuned backbone goes in too, because it exists nowhere else."""
    model, recipe = fitted.model, ground.recipe
    if model is None:
        raise ValueError("a zero-shot answer has nothing to save; expected a fitted classifier")
    state = model.head.state_dict()
    tensors = {
        "prompt": model.prompt.values.detach().cpu().numpy(),
        "head.weight": state["linear.weight"].cpu().numpy(),
        "head.bias": state["linear.bias"].cpu().numpy(),
        "feature_mean": state["mean"].cpu().numpy(),
        "feature_std": state["std"].cpu().numpy(),
    }
    if fitted.fine_tuned:
        tensors |= {BACKBONE_PREFIX + k: v.cpu().numpy() for k, v in model.backbone.state_dict().items()}
    distances = feature_distances(
        results["source validation"].features, tensors["feature_mean"], tensors["feature_std"]
    )
    card = ClassifierCard(
        backbone=ground.backbone.card,
        prompt=model.prompt.spec,
        method=recipe.method,
        strategy=recipe.strategy,
        pooling=recipe.data.pooling,
        top_k=recipe.data.top_k,
        max_slices=recipe.data.max_slices,
        trained_parameters=fitted.trained_parameters,
        distance_percentiles=tuple(float(v) for v in np.percentile(distances, range(101))),
    )
    header = ModelHeader(
        kind="classifier",
        name=recipe.name,
        classes=images.classes,
        scores={name: r.scores.as_dict() for name, r in results.items()} | {"train_seconds": seconds},
        lineage=Lineage(
            data_hashes=training_hashes([ground.rows.hashes[i] for i in ground.train]),
            domains=(images.name,),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            software=importlib.metadata.version("napari-tinymig"),
            recipe=recipe.model_dump(mode="json"),
        ),
    )
    return write_classifier(path, header, card, tensors)


def training_hashes(hashes: Sequence[str]) -> tuple[str, ...]:
    """16 digits of each image's hash; above MOST_HASHES images one hash of all, so that the file stays small."""
    if len(hashes) <= MOST_HASHES:
        return tuple(h[:16] for h in hashes)
    return (hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()[:16],)


def feature_distances(
    features: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(N,) root mean squared distance of features from the source's mean, in the source's standard deviations."""
    return np.sqrt((((features - mean) / std).astype(np.float64) ** 2).mean(1))
