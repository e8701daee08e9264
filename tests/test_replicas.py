"""Two processes under torchrun train one student: equal gradients, equal weights, one set of files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from napari_tinymig.training.machine.replicas import average_gradients, join, own_folder, own_share, rank, world_size

SCRIPT = """
import sys
from pathlib import Path
import torch
from napari_tinymig.training.machine.replicas import average_buffers, average_gradients, join
from napari_tinymig.training.machine.replicas import own_folder, own_share, rank
out = Path(sys.argv[1])
device = join(torch.device("cpu"), 8)
torch.manual_seed(0)
x, y = torch.randn(8, 3), torch.randn(8, 1)
layer = torch.nn.Linear(3, 1)
rows = own_share(torch.arange(8))
torch.nn.functional.mse_loss(layer(x[rows]), y[rows]).backward()
average_gradients(layer.parameters())
norm = torch.nn.BatchNorm1d(3)
norm(x[rows])
average_buffers(norm)
torch.save({"rows": rows, "weight": layer.weight.grad, "mean": norm.running_mean}, out / f"{rank()}.pt")
own = own_folder(out / "run")
(out / f"{rank()}.folder").write_text(str(own) + "|" + (own / "last.safetensors").read_text())
try:
    join(torch.device("cpu"), 7)
except ValueError as e:
    (out / f"{rank()}.txt").write_text(str(e))
"""


def test_alone_nothing_changes(tmp_path):
    assert (world_size(), rank()) == (1, 0)
    assert join(torch.device("cpu"), 7) == torch.device("cpu")
    assert own_folder(tmp_path) == tmp_path
    assert own_share(torch.arange(5)).tolist() == [0, 1, 2, 3, 4]
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    average_gradients(layer.parameters())
    assert layer.weight.grad.tolist() == [[1, 1]]


def test_two_processes_have_the_gradient_of_the_whole_batch(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_text("epoch 7")
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{i}.pt", weights_only=True) for i in (0, 1))
    assert first["rows"].tolist() == [0, 2, 4, 6]
    assert second["rows"].tolist() == [1, 3, 5, 7]
    torch.testing.assert_close(first["weight"], second["weight"])
    torch.testing.assert_close(first["mean"], second["mean"])
    torch.manual_seed(0)
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    layer = torch.nn.Linear(3, 1)
    torch.nn.functional.mse_loss(layer(x), y).backward()
    torch.testing.assert_close(first["weight"], layer.weight.grad)
    torch.testing.assert_close(first["mean"], 0.1 * x.mean(0))
    assert "multiple of the 2 processes" in (tmp_path / "1.txt").read_text()
    own, state = (tmp_path / "1.folder").read_text().split("|")
    assert state == "epoch 7"  # every process goes on from the first one's checkpoint
    assert (tmp_path / "0.folder").read_text().startswith(str(tmp_path / "run"))
    assert not Path(own).exists()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("size", ["1", None])
def test_without_torchrun_there_is_one_process(size, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert world_size() == 1
