"""Hostile files put together by hand, for hostile_files.py: nothing here opens one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from safetensors.numpy import save

from napari_tinymig.models.file import weights_sha256
from napari_tinymig.recipes.student import ModelHeader
from napari_tinymig.tasks.table import TASKS

Files = dict[str, bytes]
DEEP = 100_000


class Evil:
    """Unpickled, it makes a file: a sign that code ran."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch code-ran",)


def graph(nodes: list[Any], initializers: list[Any] = (), side: int = 64) -> bytes:  # type: ignore[assignment]
    """The bytes of an ONNX graph from 'image' (B, 3, s, s) to 'logits'."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    made = helper.make_graph(nodes, "g", [image], [logits], initializers)
    domains = [helper.make_opsetid("", 17), *(helper.make_opsetid(n.domain, 1) for n in nodes if n.domain)]
    model = helper.make_model(made, opset_imports=domains)
    model.ir_version = 8
    return model.SerializeToString()


def good_graph() -> bytes:
    """Logits of two regions: means of the channels."""
    return graph(
        [
            helper.make_node("ReduceMean", ["image"], ["m"], axes=[1], keepdims=1),
            helper.make_node("Concat", ["m", "m"], ["logits"], axis=1),
        ]
    )


def model_bytes(
    change: Callable[[dict[str, Any]], None] = lambda header: None,
    onnx_bytes: bytes | None = None,
    weights: dict[str, Any] | None = None,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """A model file whose hashes are all right, so that what is wrong is met behind them."""
    weights = {"a": np.ones(3, np.float32)} if weights is None else weights
    content = good_graph() if onnx_bytes is None else onnx_bytes
    digest = weights_sha256(weights)
    header = ModelHeader(name="evil", task=TASKS["optic"], weights_sha256=digest, input={"size": 64})
    raw = json.loads(header.model_dump_json())
    change(raw)
    text = json.dumps(raw)
    told = {
        "tinymig": text,
        "header_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "onnx_sha256": hashlib.sha256(content).hexdigest(),
        "onnx_weights_sha256": digest,
    }
    return save(weights | {"onnx": np.frombuffer(content, np.uint8)}, told | (metadata or {}))


def raw_safetensors(header: bytes | dict[str, Any], data: bytes = b"\0" * 64, length: int | None = None) -> bytes:
    """A safetensors file put together by hand."""
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def foreign_containers() -> Iterator[tuple[str, bytes]]:
    """Pickles, archives and bombs under the name of a model."""
    yield "pickle", pickle.dumps(Evil())
    yield "pickle_protocol_0", pickle.dumps(Evil(), 0)
    yield "pickle_after_a_length", struct.pack("<Q", 40) + pickle.dumps(Evil())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("archive/data.pkl", pickle.dumps(Evil()))
        z.writestr("../../code-ran", "slipped")
    yield "torch_zip_with_slip", archive.getvalue()
    yield (
        "numpy_object_array",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128)
        + pickle.dumps([Evil()]),
    )
    yield "zip_bomb", _zip_bomb()
    yield "python", b"import os; os.system('touch code-ran')"
    yield "yaml", b"!!python/object/apply:os.system ['touch code-ran']"
    yield "empty", b""
    yield "zeros", bytes(4096)
    yield "ones", b"\xff" * 4096


def _zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("bomb", bytes(50_000_000))
    return out.getvalue()


def headers_of_tensors() -> Iterator[tuple[str, bytes]]:
    """Safetensors headers that lie."""
    huge = 2**62
    tensor = {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}
    good = model_bytes()
    told = json.loads(good[8 : 8 + struct.unpack("<Q", good[:8])[0]])["__metadata__"]
    yield "header_longer_than_the_file", raw_safetensors({"a": tensor}, length=2**40)
    yield "header_of_2_to_the_63", raw_safetensors({"a": tensor}, length=2**63)
    yield "header_all_brackets", raw_safetensors(b"[" * DEEP)
    yield "header_all_objects", raw_safetensors(b'{"a":' * DEEP)
    for key in ("tinymig", "onnx_sha256"):
        yield f"metadata_deep_{key}", raw_safetensors({"__metadata__": {key: "[" * DEEP, "tinymig": "[" * DEEP}})
    yield "metadata_no_object", raw_safetensors({"__metadata__": 3})
    yield "metadata_number", raw_safetensors({"__metadata__": {"tinymig": 3}})
    for name, change in {
        "shape_huge": {"shape": [huge, huge]},
        "shape_negative": {"shape": [-4, 4]},
        "shape_overflow": {"shape": [2**33, 2**33]},
        "offsets_beyond": {"data_offsets": [0, huge]},
        "offsets_backwards": {"data_offsets": [64, 0]},
        "offsets_negative": {"data_offsets": [-64, 0]},
        "dtype_unknown": {"dtype": "PYTHON"},
        "dtype_number": {"dtype": 7},
        "dtype_wrong_size": {"dtype": "F64"},
    }.items():
        yield f"tensor_{name}", raw_safetensors({"__metadata__": told, "a": tensor | change})
    both = {"__metadata__": told, "a": tensor, "b": tensor}
    yield "tensors_overlap", raw_safetensors(both)
    yield (
        "many_tensors",
        raw_safetensors({f"t{i}": {**tensor, "shape": [0], "data_offsets": [0, 0]} for i in range(9999)}),
    )


def headers_of_models() -> Iterator[tuple[str, bytes]]:
    """Model headers that lie, with all hashes right."""

    def setting(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
        def change(raw: dict[str, Any]) -> None:
            for key in path[:-1]:
                raw = raw[key]
            raw[path[-1]] = value

        return change

    for name, path, value in (
        ("version_newer", ("schema_version",), 10**6),
        ("version_text", ("schema_version",), "one"),
        ("version_infinite", ("schema_version",), float("inf")),
        ("name_path", ("name",), "../../../code-ran"),
        ("name_null", ("name",), "a\0b"),
        ("name_long", ("name",), "n" * 10**6),
        ("kind", ("kind",), "virus"),
        ("size_huge", ("input", "size"), 10**9),
        ("size_negative", ("input", "size"), -1),
        ("size_zero", ("input", "size"), 0),
        ("mean_nan", ("input", "mean"), [float("nan")] * 3),
        ("std_zero", ("input", "std"), [0.0, 0.0, 0.0]),
        ("locator_path", ("input", "locator"), "../../etc/passwd"),
        ("task_none", ("task",), {"name": "x"}),
        ("regions_none", ("task", "regions"), []),
        ("colour", ("task", "regions", 0, "colour"), "javascript:alert(1)"),  # type: ignore[list-item]
        ("unknown_key", ("__class__",), "os.system"),
        ("thresholds", ("thresholds",), {"cup": "__import__('os')"}),
        ("weights_of_another", ("weights_sha256",), "0" * 64),
    ):
        yield f"header_{name}", model_bytes(setting(*path, value=value))
    yield "header_hash_missing", model_bytes(metadata={"header_sha256": ""})
    yield "graph_hash_wrong", model_bytes(metadata={"onnx_sha256": "0" * 64})
    yield "weights_hash_wrong", model_bytes(metadata={"onnx_weights_sha256": "0" * 64})


def graphs() -> Iterator[tuple[str, bytes]]:
    """ONNX graphs that reach out, run for ever, or give what no network gives."""
    for name, where in (("absolute", "/etc/passwd"), ("parent", "../../../../etc/passwd"), ("beside", "secret.bin")):
        tensor = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[16], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", where), ("offset", "0"), ("length", "16")):
            tensor.external_data.add(key=key, value=value)
        cast = helper.make_node("Cast", ["w"], ["logits"], to=TensorProto.FLOAT)
        yield f"onnx_external_{name}", model_bytes(onnx_bytes=graph([cast], [tensor]))
    for domain, kind in (("com.evil", "Run"), ("ai.onnx.contrib", "PyOp"), ("com.microsoft.extensions", "PyOp")):
        node = helper.make_node(kind, ["image"], ["logits"], domain=domain)
        yield f"onnx_operator_{domain}", model_bytes(onnx_bytes=graph([node]))
    nan = helper.make_tensor("n", TensorProto.FLOAT, [1], [float("nan")])
    yield "onnx_nan", model_bytes(onnx_bytes=graph([helper.make_node("Mul", ["image", "n"], ["logits"])], [nan]))
    yield (
        "onnx_one_channel_too_many",
        model_bytes(onnx_bytes=graph([helper.make_node("Identity", ["image"], ["logits"])])),
    )
    size = helper.make_tensor("s", TensorProto.INT64, [4], [1, 1, 2**20, 2**20])
    yield (
        "onnx_output_of_terabytes",
        model_bytes(
            onnx_bytes=graph(
                [
                    helper.make_node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=1),
                    helper.make_node("Expand", ["m", "s"], ["logits"]),
                ],
                [size],
            )
        ),
    )
    yield "onnx_no_graph", model_bytes(onnx_bytes=b"")
    yield "onnx_noise", model_bytes(onnx_bytes=os.urandom(2000))
    yield "onnx_cut", model_bytes(onnx_bytes=good_graph()[:-20])
    yield "weights_nan", model_bytes(weights={"a": np.full(3, np.nan, np.float32)})
    half = {"dtype": "BF16", "shape": [32], "data_offsets": [0, 64]}
    yield "weights_bfloat", raw_safetensors({"__metadata__": {"tinymig": "{}"}, "a": half})


def cut_and_flipped(seed: int) -> Iterator[tuple[str, bytes]]:
    """A good model cut at every 2 %, and with three bits flipped at fifty places."""
    whole = model_bytes()
    for percent in range(0, 100, 2):
        yield f"cut_at_{percent}_percent", whole[: len(whole) * percent // 100]
    rng = np.random.default_rng(seed)
    for n in range(50):
        raw = bytearray(whole)
        for at in rng.integers(0, len(raw), 3):
            raw[at] ^= 1 << int(rng.integers(8))
        yield f"flipped_{n}", bytes(raw)


def annotation_sets() -> Iterator[tuple[str, Files]]:
    """Lists of cases that lead elsewhere."""
    case = {"stem": "a", "image": "images/a.png", "label": "labels/a.png"}
    listed: dict[str, Any] = {"version": 1, "task": "optic", "cases": [case]}
    for key in ("image", "label"):
        for name, path in (
            ("parent", "../outside.png"),
            ("absolute", "/etc/passwd"),
            ("windows", "C:\\Windows\\win.ini"),
            ("backslashes", "..\\..\\outside.png"),
            ("null", "images/a\0.png"),
            ("empty", ""),
            ("number", 3),
        ):
            yield (
                f"set_{key}_{name}",
                {"annotations.json": json.dumps(listed | {"cases": [case | {key: path}]}).encode()},
            )
    for name, text in (
        ("deep", "[" * DEEP),
        ("list", "[]"),
        ("newer", json.dumps(listed | {"version": 10**6})),
        ("version_text", json.dumps(listed | {"version": "x"})),
        ("cases_number", json.dumps(listed | {"cases": 3})),
        ("role", json.dumps(listed | {"cases": [case | {"role": "root"}]})),
        ("unknown", json.dumps(listed | {"cases": [case | {"__reduce__": "os.system"}]})),
        ("fraction", json.dumps(listed | {"cases": [case | {"labelled_fraction": 1e308}]})),
        ("binary", "\udcff\udcfe"),
        ("pickle", None),
    ):
        yield (
            f"set_{name}",
            {"annotations.json": pickle.dumps(Evil()) if text is None else text.encode("utf-8", "surrogateescape")},
        )


def prompt_files() -> Iterator[tuple[str, bytes]]:
    """Prompt files that are none."""
    click = {"kind": "click", "positions": [[1, 2]], "label": 1}
    for name, content in (
        ("deep", b"[" * DEEP),
        ("pickle", pickle.dumps(Evil())),
        ("number", b"3"),
        ("binary", b"\xff\xfe\x00"),
        ("kind", json.dumps([click | {"kind": "exec"}]).encode()),
        ("unknown_key", json.dumps([click | {"__class__": "os"}]).encode()),
        ("positions_text", json.dumps([click | {"positions": [["a", "b"]]}]).encode()),
        ("positions_infinite", json.dumps([click | {"positions": [[1e400, 0]]}]).encode()),
        ("positions_nan", b'[{"kind": "click", "positions": [[NaN, 0]]}]'),
        ("positions_number", json.dumps([click | {"positions": 3}]).encode()),
        ("label_text", json.dumps([click | {"label": "__import__('os')"}]).encode()),
        ("reach", json.dumps([click | {"reach": [1]}]).encode()),
        ("newer", json.dumps({"format": 99, "prompts": [click]}).encode()),
        ("no_list", json.dumps({"prompts": {"a": 1}}).encode()),
        ("digits", b'[{"kind": "click", "positions": [[' + b"9" * 5000 + b", 0]]}]"),
        ("edit_bomb", json.dumps([{"kind": "edit", "data": "A" * 10_000_000}]).encode()),
    ):
        yield f"prompts_{name}", content
