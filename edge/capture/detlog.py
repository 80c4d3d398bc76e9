r"""The format of a detection log: what a detector saw in each frame, and never a picture.

A file is a magic word and then records. A record is a head of 8 bytes, its payload's length and CRC-32, and its payload. The
first payload is the header, as JSON; each other one is a block, some seconds of frames:

```
CLDETLOG 1\n
length u32 | crc32 u32 | {"version":1,"camera":...,"width":...,"height":...,"fps":...,"classes":[...]}
length u32 | crc32 u32 | frames u32 | first_ms i64 | last_ms i64 | zlib of the columns
...
```

Columns, all of a block's frames and then all of its boxes, each as little-endian integers whose bytes stand apart (all lowest
ones, then all second ones ...), because so they compress best: time since the frame before (i64), boxes of the frame (i32);
left, top, width, height in eighths of a pixel (i32), class (i16), score in two-hundredths (u8).

A process that dies leaves a torn last record; it is not read. The numbers are rounded before they are counted (`rounded`), so
that who counts the log counts the very same.
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct as Layout
from typing import BinaryIO

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from countline.errors import UsageError
from edge.arrays import Detections

SUFFIX = ".detlog"
MAGIC = b"CLDETLOG 1\n"
# Far above what seconds of the fullest scene take: a longer record is a damaged length.
MAX_RECORD_BYTES = 16_000_000
_MAX_COLUMNS_BYTES = 64_000_000
_PER_PX = 8
_PER_SCORE = 200
# Scores are cut and not rounded, so that none gets over a threshold; this keeps 0.7 in float32 from being cut to 0.695.
_SCORE_EPSILON = 1e-4
# Beyond this there is no picture; eighths of a pixel of it still fit, exactly, into a float32 and into an i32.
_MAX_PX = 1_000_000.0
_HEAD = Layout("<II")
_SPAN = Layout("<Iqq")


class Header(Struct, frozen=True):
    """What the first record of a file says.

    Attributes:
        version: Of the format.
        camera: Its name.
        width: Of the pictures that were looked at, pixels.
        height: Of them, pixels.
        fps: That the source claimed; 0 if unknown.
        classes: Names by class id.
    """

    version: int
    camera: str
    width: int
    height: int
    fps: float
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in one frame.

    Attributes:
        captured_at_ms: Of the frame, UTC epoch ms.
        detections: Rounded.
    """

    captured_at_ms: int
    detections: Detections


@dataclass(frozen=True, slots=True)
class Span:
    """What a block says of itself before it is unpacked.

    Attributes:
        frames: In it.
        first_ms: Of its first frame, UTC epoch ms.
        last_ms: Of its last frame.
    """

    frames: int
    first_ms: int
    last_ms: int


def rounded(found: Detections) -> Detections:
    """Return detections as a log keeps them; what is no box (not finite, far away, without an area) is left out.

    Doing it twice changes nothing any more.
    """
    xyxy, score = found.xyxy.astype(np.float64), found.score.astype(np.float64)
    # Comparisons with NaN are false.
    is_box = (np.abs(xyxy) <= _MAX_PX).all(axis=1) & (score >= 0) & (score <= 1)
    units = np.rint(np.where(is_box[:, None], xyxy, 0) * _PER_PX)
    is_box &= (units[:, 2] > units[:, 0]) & (units[:, 3] > units[:, 1])
    return Detections(
        (units[is_box] / _PER_PX).astype(np.float32),
        (np.floor(score[is_box] * _PER_SCORE + _SCORE_EPSILON) / _PER_SCORE).astype(np.float32),
        found.class_id[is_box],
    )


def beginning(header: Header) -> bytes:
    """Return the bytes that a file begins with."""
    return MAGIC + _record(msgspec.json.encode(header))


def block(seen: Sequence[Seen]) -> bytes:
    """Return some frames as a record. There is at least one, and their detections are rounded."""
    times = np.array([one.captured_at_ms for one in seen], dtype=np.int64)
    counts = np.array([len(one.detections) for one in seen], dtype=np.int32)
    xyxy = np.rint(np.concatenate([one.detections.xyxy for one in seen]).astype(np.float64) * _PER_PX).astype(
        np.int32
    )
    score = np.rint(
        np.concatenate([one.detections.score for one in seen]).astype(np.float64) * _PER_SCORE
    ).astype(np.uint8)
    class_id = np.concatenate([one.detections.class_id for one in seen]).astype(np.int16)
    columns = (
        np.diff(times, prepend=times[0]),
        counts,
        xyxy[:, 0],
        xyxy[:, 1],
        xyxy[:, 2] - xyxy[:, 0],
        xyxy[:, 3] - xyxy[:, 1],
        class_id,
        score,
    )
    packed = zlib.compress(b"".join(_planes(column) for column in columns))
    return _record(_SPAN.pack(len(seen), int(times[0]), int(times[-1])) + packed)


def _record(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _planes(column: NDArray[np.integer]) -> bytes:
    """Return a column's bytes, all lowest ones first."""
    as_bytes = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"))).view(np.uint8)
    return as_bytes.reshape(len(column), column.dtype.itemsize).T.tobytes()


def unpacked(payload: bytes) -> list[Seen]:
    """Return the frames of a block's payload.

    Raises:
        ValueError: It is not what `block` makes.
    """
    frames, first_ms, _ = _SPAN.unpack_from(payload)
    try:
        columns = zlib.decompressobj().decompress(payload[_SPAN.size :], _MAX_COLUMNS_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    data = io.BytesIO(columns)
    times = first_ms + np.cumsum(_column(data, np.dtype("<i8"), frames))
    counts = _column(data, np.dtype("<i4"), frames)
    boxes = int(counts.sum(dtype=np.int64)) if (counts >= 0).all() else -1
    left, top, width, height = (
        _column(data, np.dtype("<i4"), boxes).astype(np.float64) / _PER_PX for _ in range(4)
    )
    class_id = _column(data, np.dtype("<i2"), boxes).astype(np.int16)
    score = (_column(data, np.dtype("u1"), boxes) / _PER_SCORE).astype(np.float32)
    xyxy = np.stack([left, top, left + width, top + height], axis=1).astype(np.float32)
    ends = np.cumsum(counts).tolist()
    return [
        Seen(at_ms, Detections(xyxy[start:end], score[start:end], class_id[start:end]))
        for at_ms, start, end in zip(times.tolist(), [0, *ends[:-1]], ends, strict=True)
    ]


def _column(data: BinaryIO, dtype: np.dtype[np.generic], length: int) -> NDArray[np.int64]:
    if not 0 <= length <= _MAX_COLUMNS_BYTES:
        raise ValueError("a length that can't be")
    raw = data.read(length * dtype.itemsize)
    if len(raw) != length * dtype.itemsize:
        raise ValueError("a column is cut short")
    planes = np.frombuffer(raw, dtype=np.uint8).reshape(dtype.itemsize, length)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(length).astype(np.int64)


def read_header(file: BinaryIO, path: Path) -> Header:
    """Read a file's beginning.

    Raises:
        UsageError: It is no detection log, or one of a later version.
    """
    is_log = file.read(len(MAGIC)) == MAGIC
    payload = next(_payloads(file), None) if is_log else None
    if payload is None:
        raise UsageError(f"{path} is no detection log, or not even its beginning was written.")
    try:
        header = msgspec.json.decode(payload, type=Header)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is no detection log: its header can't be read ({error}).") from error
    if header.version != 1:
        raise UsageError(
            f"{path} is a detection log of version {header.version}; this Countline reads 1: update it."
        )
    return header


def read_spans(file: BinaryIO) -> Iterator[Span]:
    """Yield what the blocks say of themselves, without reading them; the file stands behind its header.

    A torn last block is left out.
    """
    begin = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(begin)
    while len(head := file.read(_HEAD.size + _SPAN.size)) == _HEAD.size + _SPAN.size:
        length, _ = _HEAD.unpack_from(head)
        after = file.tell() - _SPAN.size + length
        if not _SPAN.size <= length <= MAX_RECORD_BYTES or after > size:
            return
        yield Span(*_SPAN.unpack_from(head, _HEAD.size))
        file.seek(after)


def read_blocks(file: BinaryIO) -> Iterator[list[Seen]]:
    """Yield the frames of each whole block; the file stands behind its header.

    A torn last block ends it; a damaged one in the middle is left out.
    """
    for payload in _payloads(file):
        if payload is None:
            continue
        try:
            seen = unpacked(payload)
        except ValueError:
            continue
        yield seen


def _payloads(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield payloads, None in place of one that is damaged, until the file ends or its record is torn."""
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, crc = _HEAD.unpack(head)
        if length > MAX_RECORD_BYTES:
            return
        payload = file.read(length)
        if len(payload) < length:
            return
        yield payload if zlib.crc32(payload) == crc and length >= _SPAN.size else None
