"""Models written for other programs (`models/exports.py`), opened again and compared with the product."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from napari_tinymig.base.safe_files import sweep, write_atomic
from napari_tinymig.models.exports import EXPORTS, Written
from napari_tinymig.models.file import ModelFile
from napari_tinymig.network.run import OnnxNetwork

from ..networks.export import ExportFailed, check_parity
from ..networks.saved import load_student
from .reopened import outputs_in_a_fresh_process
from .torchscript import write_torchscript

SCRIPT_GAP = 2e-3
"""Largest difference of a logit between TorchScript and ONNX Runtime, relative to the logits' spread (chosen, as
`PARITY` of the ONNX graph against torch)."""


def write_onnx(model: ModelFile, path: Path) -> str:
    """The model's own ONNX graph, with its header as metadata; it must answer in another process to the bit."""
    check_parity(load_student(model), model.onnx, model.header.input.size)
    graph = onnx.load_from_string(model.onnx)
    header = model.header.model_dump_json(exclude={"statistics"})
    onnx.helper.set_model_props(graph, {"tinymig": header, "model_id": model.model_id})
    write_atomic(path, graph.SerializeToString())
    gap = _gap_to_the_product(model, "onnx", path)
    if gap > 0:
        raise ExportFailed(f"{path}, opened again, differs from the product by {gap:.2g}; expected 0; do not use it.")
    return "opened in a fresh process: every number is the product's"


def write_script(model: ModelFile, path: Path) -> str:
    """The student as TorchScript: logits, then mean and standard deviation per stage."""
    write_torchscript(load_student(model), model.header.input.size, path)
    gap = _gap_to_the_product(model, "torchscript", path)
    if not gap <= SCRIPT_GAP:
        raise ExportFailed(
            f"{path}, opened again, differs from the product by {gap:.2g} of the largest output; expected at most "
            f"{SCRIPT_GAP}; do not use it."
        )
    return f"opened in a fresh process: every number is the product's within {SCRIPT_GAP:g} of the largest"


def export_model(model: ModelFile, to: str, path: str | Path) -> Written:
    """Write a model as one of `EXPORTS`. Raises ExportFailed for one whose answers are not the product's."""
    if to not in EXPORTS:
        raise ValueError(f"--to is '{to}'; expected {', '.join(EXPORTS)}.")
    sweep(Path(path).parent)  # what a killed export left half written
    module, _, name = EXPORTS[to].writer.partition(":")
    compared = getattr(importlib.import_module(f".{module}", __package__), name)(model, Path(path))
    return Written(Path(path), compared)


def _gap_to_the_product(model: ModelFile, kind: str, path: Path) -> float:
    """Largest difference of any output on two noisy images, relative to that output's largest value."""
    images = _images(model.header.input.size)
    output = OnnxNetwork(model, 1).run(images)
    expected = [output.logits, *output.stage_means, *output.stage_stds]
    found = outputs_in_a_fresh_process(kind, path, images)
    return max(float(np.abs(a - b).max() / (np.abs(b).max() + 1e-3)) for a, b in zip(found, expected, strict=True))


def _images(size: int) -> NDArray[np.float32]:
    """(2, 3, s, s), what normalised images look like: within -2 and 2."""
    noise = np.random.default_rng(0).normal(0, 1, (2, 3, size, size))
    return np.clip(noise, -2, 2).astype(np.float32)
