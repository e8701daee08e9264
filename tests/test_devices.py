"""Where a network runs, and what it returns."""

import pickle

import numpy as np
import pytest

from napari_tinymig.api import load_model
from napari_tinymig.batch.one_input import Options
from napari_tinymig.jobs.accelerate import open_network
from napari_tinymig.network.run import Device, OnnxNetwork, resolve_device
from napari_tinymig.predict.predictor import Predictor, kept_predictor
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP


def test_the_device_says_why():
    device = resolve_device("auto")
    assert device.name in ("cpu", "cuda", "mps")
    assert device.reason
    with pytest.raises(ValueError, match="expected one of auto, cpu, cuda, mps"):
        resolve_device("tpu")


@pytest.fixture
def gpu_found(monkeypatch):
    found = lambda want: Device("cuda", "found" if want == "auto" else "chosen")  # noqa: E731
    monkeypatch.setattr("napari_tinymig.predict.predictor.resolve_device", found)


def test_a_gpu_is_used_by_the_predictor_that_was_handed_the_way_to_it_and_by_no_other(gpu_found, make_model):
    asked = []

    def on_gpu(model, device):
        asked.append(device)
        return OnnxNetwork(model, 1)

    model = make_model("polyp-toy", POLYP, (0.2,), input=InputSpec(size=128))
    assert str(Predictor(model, on_gpu=on_gpu).device) == "CUDA: found"
    assert asked == ["cuda"]
    assert str(Predictor(model).device) == "CPU: cuda is here, but nothing was handed in that opens a model on it"
    assert asked == ["cuda"]
    with pytest.raises(ValueError, match=r"device 'cuda' was asked for, but nothing was handed in"):
        Predictor(model, "cuda")


def test_python_and_the_workers_of_a_cluster_open_a_gpu_that_is_found(gpu_found, make_model, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "napari_tinymig.training.networks.torch_network.open_torch_network",
        lambda model, device: asked.append((model.path.name, device)) or OnnxNetwork(model, 1),
    )
    path = make_model("polyp-toy", POLYP, (0.2,), input=InputSpec(size=128)).path
    assert load_model(path).device.name == "cuda"
    options = pickle.loads(pickle.dumps(Options(model=str(path), on_gpu=open_network)))
    assert kept_predictor(str(path), "auto", 1, on_gpu=options.on_gpu).device.name == "cuda"
    assert asked == [(path.name, "cuda")] * 2


def test_the_network_returns_logits_and_four_stages_for_any_batch(make_model):
    network = OnnxNetwork(make_model("t", OPTIC, (0.0, 0.5)), threads=1)
    for batch in (1, 3):
        out = network.run(np.zeros((batch, 3, 64, 64), np.float32))
        assert out.logits.shape == (batch, 2, 64, 64)
        assert [m.shape for m in out.stage_means + out.stage_stds] == [(batch, 3)] * 8
