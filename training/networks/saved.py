"""A model file's network in torch again: what a run starts from, learns from, or measures."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from napari_tinymig.models.file import ModelFile

from .cup_head_network import CupHeadNetwork, shape_of
from .gate_network import GateNetwork
from .student import Student


def load_student(model: ModelFile) -> nn.Module:
    """The torch network of a model file, weights in place, evaluation mode."""
    header = model.header
    spec = header.student.model_copy(update={"init_weights": None})
    outputs = len(header.classes) or (len(header.task.regions) if header.task else 1) + (header.head == "softmax")
    if header.network == "student":
        student: nn.Module = Student(spec, outputs)
    else:
        from .baselines import build_network

        student = build_network(header.network, spec, outputs)
    if header.kind == "gate":
        student = GateNetwork(spec, outputs)
    if header.kind == "cup_head":
        student = CupHeadNetwork(shape=shape_of(header.extra))
    state = {k: torch.from_numpy(np.asarray(v).copy()) for k, v in model.weights().items()}
    own = student.state_dict()
    student.load_state_dict({k: state[k].to(v.dtype) if k in state else v for k, v in own.items()})
    return student.eval()
