"""Writes tiny ONNX models for tests, by hand: a model whose output is a constant needs no library to build it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_FLOAT, _INT64 = 1, 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _value_info(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, d) if isinstance(d, int) else _bytes(2, d)) for d in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims)))


def write_model(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    *,
    shape: Sequence[int | str] = (1, 3, 64, 64),
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a model that takes a picture and returns constants, whatever it sees.

    Args:
        path: Where to write it.
        outputs: float32 or int64 arrays by the name of the output.
        shape: Of its input `images`; a string is an axis of any length.
        metadata: As an export of the YOLO family would write them.
    """
    graph = b""
    for name, array in outputs.items():
        kind = _INT64 if array.dtype == np.int64 else _FLOAT
        dims = b"".join(_number(1, side) for side in array.shape)
        tensor = dims + _number(2, kind) + _bytes(8, f"{name}_constant") + _bytes(9, array.tobytes())
        node = _bytes(1, f"{name}_constant") + _bytes(2, name) + _bytes(4, "Identity")
        graph += _bytes(1, node) + _bytes(5, tensor) + _bytes(12, _value_info(name, kind, array.shape))
    graph += _bytes(2, "test") + _bytes(11, _value_info("images", _FLOAT, shape))
    model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))
    for key, value in (metadata or {}).items():
        model += _bytes(14, _bytes(1, key) + _bytes(2, value))
    path.write_bytes(model)
    return path
