"""Running a student: ONNX Runtime on the CPU, or anything else that fits the `Network` protocol."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..base.errors import ModelFileError
from ..base.threads import in_threads
from ..models.file import ADVICE, ModelFile
from ..models.graph_check import reads_other_files

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


def threads_of(network: Network) -> int:
    """How many cores a network may be asked from at once; 1 for one that does not say (a GPU has one queue)."""
    return int(getattr(network, "threads", 1))


OpenOnGpu = Callable[[ModelFile, str], Network]
"""Opens a model on 'cuda' or 'mps'. `jobs.accelerate.open_network` is the one there is; who may import torch hands it
to a predictor, because prediction itself imports none."""


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


CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Linux: microseconds of CPU a container may use in each period, and the period; 'max' = no limit."""


def usable_threads() -> int:
    """Cores this process may use: its affinity, and no more than a container's quota of CPU time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota_cores(CPU_QUOTA))))


def _quota_cores(file: Path) -> float:
    """Cores' worth of CPU time that `file` (cgroup v2, cpu.max) allows; infinite where there is no limit."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no cgroup v2 here, or 'max'
        return math.inf


def _check_graph(model: ModelFile) -> None:
    """Raise ModelFileError for a graph whose numbers lie in other files."""
    try:
        outside = reads_other_files(model.onnx)
    except ValueError as e:
        raise ModelFileError(f"{model.path}: its graph is no ONNX graph ({e}); {ADVICE}.") from e
    if outside:
        raise ModelFileError(
            f"{model.path}: its graph takes numbers from other files; expected all of them inside; {ADVICE}."
        )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@lru_cache(maxsize=1)
def _memory_is_shared() -> bool:
    """Whether all networks of this process take their memory from one place that grows by what is asked for.

    Left alone, every session keeps its own and doubles it: 20 MB more for a folder of photographs, and slower.
    """
    import onnxruntime as ort

    try:
        where = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        grows = {
            "max_mem": 0,
            "arena_extend_strategy": 1,
            "initial_chunk_size_bytes": -1,
            "max_dead_bytes_per_chunk": -1,
        }
        ort.create_and_register_allocator(where, ort.OrtArenaCfg(grows))
    except Exception as e:  # another build of ONNX Runtime, or a host program that has registered its own
        if isinstance(e, MemoryError):
            raise
        return False
    return True


CERTAIN = 100.0
"""Largest logit: its sigmoid is 0 or 1 in float32 already."""


class OnnxNetwork:
    """A student in ONNX Runtime on the CPU.

    threads: images of a batch that run at the same time, each on one core; None = every usable core, at most four.
    One tiny image gains nothing from a second core (waking a thread costs what it saves), several do. Raises
    ModelFileError for a graph that ONNX Runtime refuses or whose outputs are not those of the contract: 'logits', then
    per stage 'mean0'..'mean3' and 'std0'..'std3'.
    """

    device = "cpu"

    def __init__(self, model: ModelFile, threads: int | None = None):
        import onnxruntime as ort

        self.threads = threads or min(4, usable_threads())
        _check_graph(model)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if _memory_is_shared():
            options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = ort.InferenceSession(model.onnx, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime's own error classes share no public base
            if isinstance(e, MemoryError):
                raise
            raise ModelFileError(f"{model.path}: ONNX Runtime cannot load the graph ({_short(e)}); {ADVICE}.") from e
        self._path = model.path
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._input = self._session.get_inputs()[0].name
        if "logits" not in self._outputs:
            raise ModelFileError(
                f"{model.path}: the graph returns {', '.join(self._outputs)}; expected an output 'logits'."
            )

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Outputs for a batch (B, 3, s, s) float32; the same bits for every number of threads. Raises ModelFileError
        where the graph fails, or gives what is no number."""
        parts = np.array_split(batch, max(1, min(self.threads, len(batch))))
        try:
            answers = in_threads(lambda part: self._session.run(None, {self._input: part}), parts, self.threads)
        except Exception as e:  # onnxruntime's own error classes share no public base
            if isinstance(e, MemoryError):
                raise
            raise ModelFileError(f"{self._path}: ONNX Runtime cannot run the graph ({_short(e)}); {ADVICE}.") from e
        whole = answers[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*answers)]
        values = dict(zip(self._outputs, whole, strict=True))
        logits = values["logits"]
        if np.isnan(logits).any() or np.isposinf(logits).all():
            raise ModelFileError(f"{self._path}: the graph gives NaN or infinity; expected numbers; {ADVICE}.")
        values["logits"] = np.clip(logits, -CERTAIN, CERTAIN)  # surely nothing, in float32, is a logit of -inf
        means = tuple(values[f"mean{i}"] for i in range(STAGES) if f"mean{i}" in values)
        stds = tuple(values[f"std{i}"] for i in range(STAGES) if f"std{i}" in values)
        return NetworkOutput(values["logits"], means, stds)
