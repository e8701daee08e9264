"""A real ONNX model that needs no training: a region is where the image is brighter than a level."""

from __future__ import annotations

import numpy as np


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
