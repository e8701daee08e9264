"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data: TINYMIG_DATA, or ../shared/data beside the repository; skips where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("TINYMIG_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set TINYMIG_DATA to the data folder")
    return folder


@pytest.fixture
def make_model(tmp_path):
    """A function that writes a tiny but real model file: a region is where the image is brighter than a level.

    make_model(name, task, levels, **header fields) -> ModelFile. levels: per region, in units of the normalised input
    (channel mean); logits = 20 (brightness - level). Stage moments are those of the input's channels.
    """
    from napari_tinymig.engine.config import ModelHeader
    from napari_tinymig.engine.model_file import write_model_file

    def make(name, task, levels, folder=None, **header):
        weights = {"levels": np.float32(levels)}
        path = (folder or tmp_path) / f"{name}.safetensors"
        return write_model_file(path, ModelHeader(name=name, task=task, **header), weights, threshold_graph(levels))

    return make


def threshold_graph(levels) -> bytes:
    """ONNX bytes with the outputs of the contract: logits (B,R,s,s), mean0..3 and std0..3 (B,3)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    level = numpy_helper.from_array(np.float32(levels).reshape(1, -1, 1, 1), "level")
    constants = [
        level,
        numpy_helper.from_array(np.float32(20), "gain"),
        numpy_helper.from_array(np.int64([1]), "channel"),
        numpy_helper.from_array(np.int64([2, 3]), "space"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image", "channel"], ["grey"], keepdims=1),
        helper.make_node("Sub", ["grey", "level"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["logits"]),
        helper.make_node("ReduceMean", ["image", "space"], ["mean0"], keepdims=0),
        helper.make_node("ReduceL2", ["image", "space"], ["std0"], keepdims=0),
    ]
    for stage in range(1, 4):
        nodes += [helper.make_node("Identity", [f"{k}0"], [f"{k}{stage}"]) for k in ("mean", "std")]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, "s", "s"])
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", len(levels), "s", "s"])]
    outputs += [
        helper.make_tensor_value_info(f"{k}{i}", TensorProto.FLOAT, ["B", 3]) for i in range(4) for k in ("mean", "std")
    ]
    graph = helper.make_graph(nodes, "threshold", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()
