"""Torch's relatives beside a window: triton's LLVM stays out, and is found again by whoever asks later."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

import napari_tinymig
from napari_tinymig.jobs import accelerate, beside_window, box_engine

FATAL = 99
OPEN = """
import sys
import PyQt6.QtGui
from napari_tinymig.jobs.beside_window import torch_beside_window
with torch_beside_window():
    import timm
assert "torchvision" in sys.modules
"""


def test_timm_loads_in_a_window_where_loading_triton_would_end_it(tmp_path):
    pytest.importorskip("timm")
    (tmp_path / "triton.py").write_text(f"import os\nos._exit({FATAL})\n")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", OPEN], env=env, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


class Watched(ModuleType):
    """A module that keeps whether triton was out of reach when something was imported from it."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        self.was_away = "triton" in sys.modules
        return lambda *args, **kwargs: iter(())


@pytest.mark.parametrize(
    ("module", "door"),
    [
        ("litemedsam.boxes", lambda: box_engine.opened_litemedsam.__wrapped__()),
        ("networks.torch_network", lambda: accelerate.open_network(None, "cuda")),
        ("finetune.run", lambda: list(napari_tinymig.finetune("optic", "data", "run"))),
    ],
)
def test_every_door_to_torch_that_a_window_may_open_keeps_triton_away(monkeypatch, module, door):
    watched = Watched("watched")
    monkeypatch.setitem(sys.modules, f"napari_tinymig.training.{module}", watched)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    monkeypatch.setattr(beside_window, "WINDOWS", ("sys",))
    door()
    assert watched.was_away


def test_triton_is_there_again_afterwards_and_never_away_without_a_window(monkeypatch):
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    monkeypatch.setattr(beside_window, "WINDOWS", ("no window",))
    with beside_window.torch_beside_window():
        assert "triton" not in sys.modules
    monkeypatch.setattr(beside_window, "WINDOWS", ("sys",))
    with beside_window.torch_beside_window(), pytest.raises(ModuleNotFoundError):
        __import__("triton")
    assert "triton" not in sys.modules
