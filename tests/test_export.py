"""Exported students answer as the torch student does, are small, and can be opened again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from napari_tinymig.training.networks.export import (
    PARITY,
    ExportFailed,
    check_parity,
    onnx_bytes,
    round_weights,
    save_model,
)
from napari_tinymig.training.networks.gate_network import GateNetwork
from napari_tinymig.training.networks.saved import load_student
from napari_tinymig.training.networks.student import Student, StudentOutput
from napari_tinymig.training.task_gate.train import CLASSES, SPEC

from napari_tinymig.base.errors import ModelFileError
from napari_tinymig.models.file import read_model_file
from napari_tinymig.network.run import OnnxNetwork
from napari_tinymig.recipes.student import InputSpec, ModelHeader, StudentSpec
from napari_tinymig.tasks.optic import OPTIC

SMALL = StudentSpec(widths=(8, 16, 16, 24), blocks=(0, 1, 1, 0), decoder=16)


def lived(spec: StudentSpec = SMALL, outputs: int = 2) -> Student:
    """A student whose BatchNorms have seen something."""
    torch.manual_seed(0)
    student = Student(spec, outputs).train()
    with torch.no_grad():
        for _ in range(3):
            student(torch.randn(4, 3, 64, 64) * 2 + 0.5)
    return student.eval()


def saved(path, student=None, spec=SMALL, **more):
    header = ModelHeader(name="small", task=OPTIC, input=InputSpec(size=64), student=spec, **more)
    return save_model(path, header, student or lived(spec))


@pytest.mark.parametrize("encoder", ["dense", "mobile"])
def test_the_file_answers_as_the_student_it_was_made_from(tmp_path, encoder):
    spec = SMALL if encoder == "dense" else StudentSpec(encoder="mobile", decoder=16, presence=True)
    student = lived(spec)
    model = saved(tmp_path / "m.safetensors", student, spec)
    x = np.random.default_rng(0).normal(0, 1, (3, 3, 64, 64)).astype(np.float32)
    output = OnnxNetwork(model, 1).run(x)
    again = load_student(read_model_file(model.path))
    with torch.no_grad():
        expected: StudentOutput = again(torch.from_numpy(x))
    np.testing.assert_allclose(output.logits, expected.logits.numpy(), atol=2e-3)
    assert len(output.stage_means) == len(output.stage_stds) == 4
    for stage, mean, std in zip(expected.stages, output.stage_means, output.stage_stds):
        np.testing.assert_allclose(mean, stage.mean((2, 3)).numpy(), atol=1e-3)
        np.testing.assert_allclose(std, stage.std((2, 3), unbiased=False).numpy(), atol=1e-3)


@pytest.mark.parametrize("bias", [-60.0, -15.0, 15.0])
def test_a_frame_that_surely_holds_nothing_is_an_answer_in_onnx_too(tmp_path, bias):
    spec = StudentSpec(encoder="mobile", decoder=16, presence=True)
    student = lived(spec)
    torch.nn.init.constant_(student.presence.bias, bias)
    model = saved(tmp_path / "m.safetensors", student, spec)
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = load_student(model)(torch.from_numpy(x)).logits.numpy()
    np.testing.assert_allclose(OnnxNetwork(model, 1).run(x).logits, expected.clip(-100, 100), atol=2e-3)


def test_minus_infinity_everywhere_is_nothing_and_nan_is_a_broken_graph(tmp_path, monkeypatch):
    network = OnnxNetwork(saved(tmp_path / "m.safetensors"), 1)
    x = np.zeros((1, 3, 64, 64), np.float32)
    whole = network._session.run(None, {network._input: x})

    def answer(value):
        logits = [np.full_like(v, value) if name == "logits" else v for name, v in zip(network._outputs, whole)]
        monkeypatch.setattr(network, "_session", SimpleNamespace(run=lambda *asked: logits))
        return network.run(x).logits

    assert (answer(-np.inf) == -100).all()
    for broken in (np.nan, np.inf):
        with pytest.raises(ModelFileError, match="gives NaN or infinity"):
            answer(broken)


def test_a_student_of_a_million_and_a_half_parameters_makes_a_file_below_eight_megabytes(tmp_path):
    spec = StudentSpec(encoder="mobile", decoder=48)
    model = saved(tmp_path / "m.safetensors", lived(spec), spec)
    assert model.path.stat().st_size <= 8_000_000


def test_weights_are_rounded_once_and_stay(tmp_path):
    student = lived()
    model = saved(tmp_path / "m.safetensors", student)
    again = load_student(model)
    for a, b in zip(student.state_dict().values(), again.state_dict().values()):
        if a.is_floating_point():
            assert torch.equal(a, b)


def test_no_part_of_training_is_in_the_graph(tmp_path):
    graph = onnx.load_from_string(saved(tmp_path / "m.safetensors").onnx)
    assert [i.name for i in graph.graph.input] == ["image"]
    names = [o.name for o in graph.graph.output]
    assert names == ["logits", *(f"mean{i}" for i in range(4)), *(f"std{i}" for i in range(4))]
    assert not [n for n in graph.graph.initializer if "project" in n.name]


def test_a_graph_of_other_weights_fails_the_parity_check():
    student = lived()
    round_weights(student)
    graph = onnx_bytes(student, 64)
    assert check_parity(student, graph, 64) <= PARITY
    with torch.no_grad():
        student.head.weight.mul_(1.05)
    with pytest.raises(ExportFailed, match="differs"):
        check_parity(student, graph, 64)


def test_a_gate_answers_with_one_logit_per_class(tmp_path):
    torch.manual_seed(0)
    gate = GateNetwork(SPEC, len(CLASSES)).eval()
    header = ModelHeader(kind="gate", name="gate", input=InputSpec(size=96), student=SPEC, classes=CLASSES)
    model = save_model(tmp_path / "gate.safetensors", header, gate)
    assert OnnxNetwork(model, 1).run(np.zeros((2, 3, 96, 96), np.float32)).logits.shape == (2, 4)
    assert isinstance(load_student(model), GateNetwork)
