"""What a model knows of its training images, as read from its header: versioned, below 20 KB, made by `fit`."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import ModelFileError

VERSION = 1


def read_statistics(raw: dict[str, Any], source: str = "the model") -> dict[str, Any] | None:
    """Statistics of a header, or None where the model has none. Raises ModelFileError for a newer version."""
    if not raw:
        return None
    version = raw.get("version")
    if version != VERSION:
        raise ModelFileError(
            f"{source} carries source statistics of version {version}; this version reads {VERSION}; "
            "update with: pip install --upgrade napari-tinymig."
        )
    return raw


@dataclass(frozen=True)
class StageStatistics:
    """One stage, unpacked. mean, scale: (2 C,); basis: (k, 2 C); variance: (k,); residual: per channel."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    basis: NDArray[np.float32]
    variance: NDArray[np.float32]
    residual: float


def unpack_stage(raw: dict[str, Any]) -> StageStatistics:
    """Arrays of one entry of `stages`."""
    return StageStatistics(
        unpack(raw["mean"]),
        unpack(raw["scale"]),
        unpack(raw["basis"]),
        np.asarray(raw["variance"], np.float32),
        float(raw["residual"]),
    )


def whiten(stage: StageStatistics, moments: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coordinates (n, k) of unit variance along the principal directions, and the rest (n, 2 C), of (n, 2 C)."""
    z = np.clip((moments - stage.mean) / stage.scale, -30, 30)
    coordinates = z @ stage.basis.T  # (n, k)
    return coordinates / np.sqrt(stage.variance), z - coordinates @ stage.basis


@dataclass(frozen=True)
class Reference:
    """Unpacked statistics. stages: one each; neighbours: training frames in whitened coordinates, (n, sum of k)."""

    stages: tuple[StageStatistics, ...]
    neighbours: NDArray[np.float32] | None


def reference_of(statistics: dict[str, Any]) -> Reference:
    """Unpacked arrays, kept between frames of one model."""
    return _unpacked(_Key(statistics))


class _Key:
    """Identity of a statistics dict, so that an unhashable value can be remembered."""

    def __init__(self, statistics: dict[str, Any]):
        self.statistics = statistics

    def __hash__(self) -> int:
        return id(self.statistics)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.statistics is self.statistics


@lru_cache(maxsize=16)
def _unpacked(key: _Key) -> Reference:
    raw = key.statistics
    neighbours = unpack(raw["reference"]) if raw.get("reference") else None
    return Reference(tuple(unpack_stage(s) for s in raw["stages"]), neighbours)


def pack(array: NDArray[Any], dtype: type) -> dict[str, Any]:
    """An array as JSON: base64 of float16, or of 8-bit steps of `scale`."""
    array = np.asarray(array, np.float32)
    if dtype is np.int8:
        scale = float(np.abs(array).max()) / 127 or 1.0
        data = np.round(array / scale).astype("<i1")
        return {
            "shape": list(array.shape),
            "scale": float(f"{scale:.6g}"),
            "i8": base64.b64encode(data.tobytes()).decode(),
        }
    return {"shape": list(array.shape), "f16": base64.b64encode(array.astype("<f2").tobytes()).decode()}


def unpack(raw: dict[str, Any]) -> NDArray[np.float32]:
    """The array of `pack`, float32."""
    if "i8" in raw:
        data = np.frombuffer(base64.b64decode(raw["i8"]), "<i1").astype(np.float32) * np.float32(raw["scale"])
    else:
        data = np.frombuffer(base64.b64decode(raw["f16"]), "<f2").astype(np.float32)
    return data.reshape(raw["shape"])
