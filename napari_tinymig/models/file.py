"""One model = one .safetensors: weight tensors, the ONNX bytes made from them, and a JSON header. Never pickle.

Layout: tensors by their training names; the tensor 'onnx' (U8) holds the ONNX graph; metadata 'tinymig' is the JSON of
`config.ModelHeader`, 'header_sha256' its hash; 'onnx_sha256' is the hash of the graph;
'onnx_weights_sha256' names the weights it was made from.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import save

from ..base.errors import ModelFileError
from ..base.plain_json import parse_json
from ..base.safe_files import write_atomic
from ..recipes.student import HEADER_SCHEMA, ModelHeader

ONNX_TENSOR = "onnx"
ADVICE = "get the file again, or choose another model (tinymig models list)"
DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class ModelFile:
    """What prediction needs of a model: header, ONNX bytes, and the id 'name@hash8' of its contents."""

    path: Path
    header: ModelHeader
    onnx: bytes
    model_id: str

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weight tensors by name, read from the file on request. Raises ModelFileError if the file has changed, or
        one holds NaN."""
        metadata, tensors = _parse(_read_bytes(self.path), self.path)
        if _model_id(metadata) != self.model_id:
            raise ModelFileError(f"{self.path} changed since it was opened as {self.model_id}; open it again.")
        weights = {name: _array(entry) for name, entry in tensors.items() if name != ONNX_TENSOR}
        for name, array in weights.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ModelFileError(f"{self.path} holds NaN or infinity in its weight '{name}'; {ADVICE}.")
        return weights


def weights_sha256(weights: dict[str, NDArray[Any]]) -> str:
    """SHA-256 over the tensors sorted by name: name, dtype, shape and bytes of each."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        code = next((k for k, v in DTYPES.items() if array.dtype == v), None)
        if code is None:
            raise ValueError(f"weight '{name}' has dtype {array.dtype}; expected one of {', '.join(DTYPES)}.")
        _feed(digest, name, code, list(array.shape), array.tobytes())
    return digest.hexdigest()


def write_model_file(path: str | Path, header: ModelHeader, weights: dict[str, NDArray[Any]], onnx: bytes) -> ModelFile:
    """Write a model file through a temporary name and return it as `read_model_file` would.

    `header.weights_sha256` is filled in; a header that already names other weights is refused (ValueError), because
    then the ONNX bytes were made from something else.
    """
    if ONNX_TENSOR in weights:
        raise ValueError("a weight is called 'onnx'; that name is kept for the ONNX bytes.")
    path = Path(path)
    digest = weights_sha256(weights)
    if header.weights_sha256 not in ("", digest):
        raise ValueError(
            f"the header names weights {header.weights_sha256[:8]}, the given weights are {digest[:8]}; "
            "make the ONNX bytes from the weights that are saved."
        )
    header = header.model_copy(update={"weights_sha256": digest})
    text = header.model_dump_json()
    metadata = {
        "tinymig": text,
        "header_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
        "onnx_weights_sha256": digest,
    }
    tensors = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    tensors[ONNX_TENSOR] = np.frombuffer(onnx, dtype=np.uint8)
    write_atomic(path, save(tensors, metadata=metadata))
    return ModelFile(path, header, onnx, _model_id(metadata))


def read_model_file(path: str | Path) -> ModelFile:
    """Header and ONNX bytes of a model file, every hash checked.

    Raises ModelFileError, in one sentence, for a file that is absent, foreign, damaged, from a newer version, or whose
    ONNX bytes were not made from its weights.
    """
    path = Path(path)
    metadata, tensors = _parse(_read_bytes(path), path)
    header = _header(metadata, path)
    if ONNX_TENSOR not in tensors:
        raise ModelFileError(f"{path} holds no ONNX graph; expected a finished model; make it with: tinymig export.")
    onnx = bytes(tensors[ONNX_TENSOR]["data"])
    if hashlib.sha256(onnx).hexdigest() != metadata.get("onnx_sha256"):
        raise ModelFileError(f"{path} is damaged: its ONNX graph does not match its recorded hash; {ADVICE}.")
    digest = hashlib.sha256()
    for name in sorted(set(tensors) - {ONNX_TENSOR}):
        entry = tensors[name]
        if entry["dtype"] not in DTYPES:
            raise ModelFileError(
                f"{path} holds weights of type {entry['dtype']}; expected {', '.join(DTYPES)}; {ADVICE}."
            )
        _feed(digest, name, entry["dtype"], entry["shape"], entry["data"])
    found = digest.hexdigest()
    if not found == header.weights_sha256 == metadata.get("onnx_weights_sha256"):
        raise ModelFileError(
            f"{path}: the ONNX graph belongs to weights {str(metadata.get('onnx_weights_sha256'))[:8]}, the file holds "
            f"weights {found[:8]}; {ADVICE}."
        )
    return ModelFile(path, header, onnx, _model_id(metadata))


def read_header(path: str | Path) -> tuple[ModelHeader, str]:
    """Header and model id alone, for lists; reads a few KB and checks no tensor. Raises ModelFileError."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            text = stream.read(length) if 0 < length <= 100_000_000 else b""
    except OSError as e:
        raise _unopened(path, e) from e
    metadata = _metadata(text, path)
    return _header(metadata, path), _model_id(metadata)


def _feed(digest: Any, name: str, code: str, shape: list[int], data: bytes) -> None:
    digest.update(json.dumps([name, code, list(shape)]).encode())
    digest.update(data)


def _array(entry: dict[str, Any]) -> NDArray[Any]:
    return np.frombuffer(bytes(entry["data"]), dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _model_id(metadata: dict[str, str]) -> str:
    """'name@hash8': the hash covers header, graph and weights, so that equal ids give equal masks."""
    header = parse_json(metadata["tinymig"])
    name = header.pop("name", "?")
    text = json.dumps([header, metadata.get("onnx_sha256"), metadata.get("onnx_weights_sha256")], sort_keys=True)
    return f"{name}@{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _unopened(path: Path, error: OSError) -> ModelFileError:
    if isinstance(error, FileNotFoundError):
        return ModelFileError(f"no model file at {path}; expected a .safetensors file; {ADVICE}.")
    return ModelFileError(f"{path} cannot be read ({error.strerror}); expected a .safetensors file; {ADVICE}.")


def _read_bytes(path: Path) -> bytes:
    # Read whole, never mapped: a mapped file could not be replaced by a better model on Windows.
    try:
        return path.read_bytes()
    except OSError as e:
        raise _unopened(path, e) from e


def _metadata(text: bytes, path: Path) -> dict[str, str]:
    foreign = f"{path} is not a napari-tinymig model; expected a .safetensors written by tinymig; {ADVICE}."
    try:
        metadata = parse_json(text).get("__metadata__", {})
    except (ValueError, AttributeError) as e:
        raise ModelFileError(foreign) from e
    if not isinstance(metadata, dict) or "tinymig" not in metadata:
        raise ModelFileError(foreign)
    return metadata


def _parse(raw: bytes, path: Path) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Metadata and tensor entries {dtype, shape, data} of a whole file."""
    length = struct.unpack("<Q", raw[:8])[0] if len(raw) >= 8 else 0
    metadata = _metadata(raw[8 : 8 + length], path)
    try:
        entries = dict(safetensors.deserialize(raw))
    except safetensors.SafetensorError as e:
        raise ModelFileError(f"{path} is damaged or cut short ({e}); {ADVICE}.") from e
    return metadata, entries


def _header(metadata: dict[str, str], path: Path) -> ModelHeader:
    try:
        raw = parse_json(metadata["tinymig"])
        version = int(raw["schema_version"])
    except (ValueError, KeyError, TypeError, OverflowError) as e:
        raise ModelFileError(f"{path} has a damaged header; {ADVICE}.") from e
    if version > HEADER_SCHEMA:
        raise ModelFileError(
            f"{path} was written by a newer version (header {version}, this version reads up to {HEADER_SCHEMA}); "
            "update with: pip install --upgrade napari-tinymig."
        )
    recorded = metadata.get("header_sha256")
    if hashlib.sha256(metadata["tinymig"].encode()).hexdigest() != recorded:
        raise ModelFileError(f"{path} is damaged: its header does not match its recorded hash; {ADVICE}.")
    try:
        return ModelHeader.model_validate(raw)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ModelFileError(
            f"{path} has a header this version cannot read ({where}: {first['msg']}); {ADVICE}."
        ) from e
