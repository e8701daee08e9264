"""Running a student: ONNX Runtime on the CPU, or anything else that fits the `Network` protocol."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..base.errors import ModelFileError
from ..models.file import ModelFile

STAGES = 4
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class NetworkOutput:
    """One batch through a student.

    logits: (B, R, s, s) float32 for segmenters and locators, (B, K) for gates and classifiers. stage_means,
    stage_stds: four arrays (B, C) of spatial moments per stage; empty where the graph has none.
    """

    logits: NDArray[np.float32]
    stage_means: tuple[NDArray[np.float32], ...] = ()
    stage_stds: tuple[NDArray[np.float32], ...] = ()


class Network(Protocol):
    """What a predictor needs of a network, whichever engine runs it."""

    device: str

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Outputs for a batch (B, 3, s, s)."""


@dataclass(frozen=True)
class Device:
    """Where a network runs and why, for people: 'CPU: no CUDA driver'."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name.upper()}: {self.reason}"


def resolve_device(want: str = "auto") -> Device:
    """The device that a wish leads to here, with its reason; imports no torch.

    want: auto, cpu, cuda or mps. Raises ValueError for another word, and for cuda or mps where it cannot be had.
    """
    if want not in DEVICES:
        raise ValueError(f"device is '{want}'; expected one of {', '.join(DEVICES)}.")
    if want == "cpu":
        return Device("cpu", "chosen")
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    found = "mps" if apple else "cuda" if _cuda_driver() else None
    missing = "no CUDA driver" if not apple else "no CUDA on a Mac"
    if found and importlib.util.find_spec("torch") is None:
        found, missing = None, f"{found} is here but torch is not; pip install 'napari-tinymig[train]'"
    if want == "auto":
        return Device(found, "found") if found else Device("cpu", missing)
    if found != want:
        raise ValueError(
            f"device '{want}' cannot be used: {missing if found is None else f'this machine has {found}'}; "
            "use --device auto or cpu."
        )
    return Device(found, "chosen")


def _cuda_driver() -> bool:
    """True if the CUDA driver library loads and counts at least one device."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


def usable_threads() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class OnnxNetwork:
    """A student in ONNX Runtime on the CPU.

    threads: None = every usable core, at most four (a tiny student gains nothing from more). Raises ModelFileError
    for a graph that ONNX Runtime refuses or whose outputs are not those of the contract: 'logits', then per stage
    'mean0'..'mean3' and 'std0'..'std3'.
    """

    device = "cpu"

    def __init__(self, model: ModelFile, threads: int | None = None):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or min(4, usable_threads())
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle worker threads must not spin: the viewer and the decoder need the cores between two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(model.onnx, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime's own error classes share no public base
            if isinstance(e, MemoryError):
                raise
            raise ModelFileError(f"{model.path}: ONNX Runtime cannot load the graph ({e}).") from e
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._input = self._session.get_inputs()[0].name
        if "logits" not in self._outputs:
            raise ModelFileError(
                f"{model.path}: the graph returns {', '.join(self._outputs)}; expected an output 'logits'."
            )

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Outputs for a batch (B, 3, s, s) float32."""
        values: dict[str, Any] = dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))
        means = tuple(values[f"mean{i}"] for i in range(STAGES) if f"mean{i}" in values)
        stds = tuple(values[f"std{i}"] for i in range(STAGES) if f"std{i}" in values)
        return NetworkOutput(values["logits"], means, stds)
