"""A classifier is one small .safetensors: prompt, head and a JSON header that names its backbone and its weights' hash.

It is a model file like any other (`model_file`), with kind 'classifier', an empty ONNX graph (the backbone is not in
it) and a `ClassifierCard` in the header's `extra`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..base.errors import ModelFileError
from ..recipes.classify import ClassifierCard
from ..recipes.student import ModelHeader
from .file import read_header, read_model_file, write_model_file

BACKBONE_PREFIX = "backbone."


@dataclass(frozen=True)
class ClassifierFile:
    """Header, card, tensors and id 'name@hash8' of a classifier.

    tensors: 'prompt' (n,), 'head.weight' (C, F), 'head.bias' (C,), 'feature_mean' and 'feature_std' (F,); a fully
    fine-tuned one also holds 'backbone.*'.
    """

    path: Path
    header: ModelHeader
    card: ClassifierCard
    tensors: dict[str, NDArray[Any]]
    model_id: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in output order."""
        return self.header.classes


def write_classifier(
    path: str | Path, header: ModelHeader, card: ClassifierCard, tensors: dict[str, NDArray[Any]]
) -> str:
    """Write a classifier through a temporary name and return its id."""
    header = header.model_copy(
        update={
            "kind": "classifier",
            "network": "classifier",
            "extra": header.extra | {"classifier": card.model_dump(mode="json")},
        }
    )
    return write_model_file(path, header, tensors, b"").model_id


def read_classifier_card(path: str | Path) -> tuple[ModelHeader, ClassifierCard]:
    """Header and card alone; reads a few KB. Raises ModelFileError for anything that is not a classifier."""
    header, _ = read_header(path)
    return header, _card(header, Path(path))


def read_classifier(path: str | Path) -> ClassifierFile:
    """A classifier with every hash checked. Raises ModelFileError, in one sentence."""
    read_classifier_card(path)
    model = read_model_file(path)
    card = _card(model.header, model.path)
    tensors = model.weights()
    absent = {"prompt", "head.weight", "head.bias", "feature_mean", "feature_std"} - set(tensors)
    if absent:
        raise ModelFileError(f"{path} lacks {', '.join(sorted(absent))}; train the classifier again: tinymig probe.")
    shape, classes = tensors["head.weight"].shape, len(model.header.classes)
    if shape != (classes, card.backbone.features) or not all(np.isfinite(t).all() for t in tensors.values()):
        raise ModelFileError(f"{path} is damaged: its head {shape} does not fit {classes} classes, or is not finite.")
    return ClassifierFile(model.path, model.header, card, tensors, model.model_id)


def _card(header: ModelHeader, path: Path) -> ClassifierCard:
    if header.kind != "classifier" or "classifier" not in header.extra:
        raise ModelFileError(
            f"{path} is a {header.kind}, not a classifier; expected RUN/classifier.safetensors of tinymig probe "
            "(masks are made with: tinymig segment)."
        )
    try:
        return ClassifierCard.model_validate(header.extra["classifier"])
    except ValidationError as e:
        raise ModelFileError(
            f"{path} has a classifier header this version cannot read ({e.error_count()} fields)."
        ) from e
