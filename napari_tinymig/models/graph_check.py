"""Does an ONNX graph keep its numbers in itself? A walk through its protobuf, without the onnx package."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MODEL = {7: "graph", 25: "function"}
_GRAPH = {1: "node", 5: "tensor", 15: "sparse"}
_NODE = {5: "attribute"}
_ATTRIBUTE = {5: "tensor", 10: "tensor", 6: "graph", 11: "graph", 22: "sparse", 23: "sparse"}
_CHILDREN = {
    "model": _MODEL,
    "graph": _GRAPH,
    "function": {7: "node"},
    "node": _NODE,
    "attribute": _ATTRIBUTE,
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor (onnx.proto)
_DEEPEST = 60


def reads_other_files(graph: bytes) -> bool:
    """Whether any tensor of an ONNX model names a file of its own for its data: it would make another file be read.

    Raises ValueError for bytes that are no protobuf message, or are nested too deeply.
    """
    return _external(memoryview(graph), "model", 0)


def _external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    for number, value in _fields(message):
        if kind == "tensor":
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
                return True
            continue
        child = _CHILDREN[kind].get(number)
        if child and isinstance(value, memoryview) and _external(value, child, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of a protobuf message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        length, at = _varint(message, at) if wire == _BYTES else ({_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, -1), at)
        if length < 0 or at + length > len(message):
            raise ValueError("no protobuf message")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("no protobuf message")
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
