"""A trained student becomes one model file: its weights, and the ONNX graph made from them.

Weights are rounded to float16 first (convolutions and linear layers; BatchNorm stays float32), so that the stored
weights, the torch student and the ONNX graph are the same numbers. Parity is checked before anything is called done.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from napari_tinymig.base.errors import TinyMIGError
from napari_tinymig.models.file import ModelFile, write_model_file
from napari_tinymig.recipes.student import ModelHeader

PARITY = 2e-3
"""Largest difference of a logit between torch and ONNX Runtime, relative to the logits' spread (chosen)."""
SMALL = 256
"""Tensors with fewer elements stay float32."""


class ExportFailed(TinyMIGError):
    """An export whose outputs are not those of the student it was made from."""


class WithStageMoments(nn.Module):
    """A student whose outputs are tensors: logits, then mean and standard deviation per stage, each (B, C_l)."""

    def __init__(self, student: nn.Module, temperature: float = 1.0):
        super().__init__()
        self.student = student

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        output = self.student(x)
        if isinstance(output, Tensor):
            return (output,)
        means = [s.mean((2, 3)) for s in output.stages]
        stds = [(s - m[:, :, None, None]).square().mean((2, 3)).sqrt() for s, m in zip(output.stages, means)]
        return (output.logits, *means, *stds)


def round_weights(module: nn.Module) -> None:
    """Round large weights to what float16 holds, in place."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1 and parameter.numel() >= SMALL:
                parameter.copy_(parameter.half().float())


def stored_weights(module: nn.Module) -> dict[str, NDArray[Any]]:
    """State as numpy: float16 where nothing is lost by it, without BatchNorm's counters."""
    out = {}
    for name, value in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        array = value.detach().cpu().numpy()
        small = array.astype(np.float16) if array.dtype == np.float32 and array.size >= SMALL else array
        out[name] = small if np.array_equal(small.astype(array.dtype), array) else array
    return out


def onnx_bytes(module: nn.Module, size: int, channels: int = 3) -> bytes:
    """The module, in evaluation mode, as an ONNX graph with a free batch axis and float16-stored weights."""
    module = module.cpu().eval()
    wrapped = WithStageMoments(module).eval()
    example = torch.randn(2, channels, size, size)
    with torch.no_grad():
        outputs = wrapped(example)
    stages = (len(outputs) - 1) // 2
    names = ["logits", *(f"mean{i}" for i in range(stages)), *(f"std{i}" for i in range(stages))]
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped,
            (example,),
            buffer,  # type: ignore[arg-type]
            input_names=["image"],
            output_names=names,
            dynamic_axes={k: {0: "batch"} for k in ("image", *names)},
            opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE,  # BatchNorm apart: folding would round other numbers
            dynamo=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    _store_as_half(graph.graph)
    onnx.checker.check_model(graph)
    return graph.SerializeToString()


def _store_as_half(graph: onnx.GraphProto) -> None:
    """Large float32 initialisers become float16 plus a Cast, which the runtime folds when it loads the graph."""
    casts = []
    for tensor in list(graph.initializer):
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.ndim < 2 or array.size < SMALL or np.abs(array).max() > 6e4:
            continue
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float16), name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)


def check_parity(module: nn.Module, graph: bytes, size: int, seed: int = 0, channels: int = 3) -> float:
    """Largest relative difference of the logits, torch against ONNX Runtime, on random images.

    Raises ExportFailed, naming both, where it is above `PARITY`.
    """
    rng = np.random.default_rng(seed)
    x = np.clip(rng.normal(0, 1, (2, channels, size // 8, size // 8)), -2, 2).astype(np.float32)
    image = F.interpolate(torch.from_numpy(x), (size, size), mode="bilinear")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    ours = session.run(None, {"image": image.numpy()})
    with torch.no_grad():
        theirs = [t.numpy() for t in WithStageMoments(module).eval()(image)]
    worst = 0.0
    for a, b in zip(ours, theirs):
        worst = max(worst, float(np.abs(a - b).max() / (np.abs(b).max() + 1e-3)))
    if not worst <= PARITY:
        raise ExportFailed(
            f"the ONNX graph differs from the torch student by {worst:.2g} of the largest output; expected at most "
            f"{PARITY}; the file was not written; report this with the versions of `tinymig doctor`"
        )
    return worst


def save_model(path: str | Path, header: ModelHeader, student: nn.Module, channels: int = 3) -> ModelFile:
    """Round, export, check parity, write: one .safetensors with header, weights and ONNX bytes.

    channels: of the network's input; a prompted student takes its prompt maps beside the image.
    """
    student = student.cpu().eval()
    round_weights(student)
    graph = onnx_bytes(student, header.input.size, channels)
    check_parity(student, graph, header.input.size, channels=channels)
    return write_model_file(path, header.model_copy(update={"weights_sha256": ""}), stored_weights(student), graph)
