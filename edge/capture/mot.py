"""A MOT det.txt as a recording without pictures: what a detector once saw.

A line is `frame,id,left,top,width,height,conf[,x,y,z]`, frames counted from 1. `id` and what follows `conf` are not
looked at. All detections are people.

Confidence differs from detector to detector. If all of a file's lie within 0 to 1, they are taken as they are. Else
they are raw scores of an unknown range, and the file's lowest to highest are stretched to 0.1 to 1, evenly: the order
stays, and the weakest is still above the usual threshold, as it was above its detector's. If all are equal, all are 1.
"""

import math
from pathlib import Path

import numpy as np

from countline.errors import UsageError
from countline.telemetry import Log
from edge.arrays import Detections
from edge.capture.player import Sight
from edge.frames import SourceInfo

DEFAULT_FPS = 25.0
CLASS_NAMES = ("person",)
# Three days at 25 frames a second; more is a number that slipped.
MAX_FRAME = 7_000_000
MAX_BYTES = 1_000_000_000
# Far outside any picture, and still exact enough in float32 for a box to keep its area.
MAX_PX = 1_000_000
# Raw scores of a detector; whoever writes more has mixed up columns.
MAX_CONF = 1e9
_LOWEST = 0.1

_log = Log("capture.mot")


class MotReel:
    """The detections of a file, frame by frame; frames without any are there too."""

    def __init__(self, path: Path, size: tuple[int, int] | None, fps: float = 0.0) -> None:
        """Name the file.

        Args:
            path: The det.txt.
            size: Width and height of the picture that it was made from.
            fps: Of the recording that it was made from; 0 is `DEFAULT_FPS`.
        """
        self._path = path
        self._size = size
        self._fps = fps or DEFAULT_FPS
        self._frames: list[Detections] = []
        self._position = -1

    def open(self) -> SourceInfo:
        """Read the whole file; see `Reel.open`."""
        if self._size is None or min(self._size) < 1:
            raise UsageError(
                f"mot:{self._path} has no picture: give its width and height, as `size: [W, H]` of the camera in the config or with `countline count --size WxH`."
            )
        self._frames = read_mot(self._path)
        return SourceInfo(*self._size, fps=self._fps, frame_count=len(self._frames), class_names=CLASS_NAMES)

    def advance(self) -> bool:
        """Go to the next frame."""
        self._position += 1
        return self._position < len(self._frames)

    def sight(self) -> Sight | None:
        """Return the frame's detections."""
        return None, self._frames[self._position]

    def rewind(self) -> None:
        """Go back to the first frame."""
        self._position = -1

    def close(self) -> None:
        """Forget the detections."""
        self._frames = []


def read_mot(path: Path) -> list[Detections]:
    """Return the detections of a det.txt for every frame from 1 to the largest number in it.

    Raises:
        UsageError: The file is missing, too large, empty, or a line of it is not as described above.
    """
    rows = _read_rows(path)
    rows = rows[np.lexsort((np.arange(len(rows)), rows[:, 0]))]
    frames = rows[:, 0].astype(np.int64)
    score = _to_share(rows[:, 5])
    xyxy = np.concatenate([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:5]], axis=1).astype(np.float32)
    # float32 may swallow the width of a box far outside the picture.
    has_area = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    if not has_area.all():
        _log.warning(
            "boxes of no width or height are left out", path=path, boxes=int((~has_area).sum()), of=len(rows)
        )
    last = int(frames[-1])
    xyxy, score, frames = xyxy[has_area], score[has_area], frames[has_area]
    ends = np.searchsorted(frames, np.arange(1, last + 1), side="right").tolist()
    starts = [0, *ends[:-1]]
    return [
        Detections(xyxy[start:end], score[start:end], np.zeros(end - start, dtype=np.int16))
        for start, end in zip(starts, ends, strict=True)
    ]


def _read_rows(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return rows of frame, left, top, width, height, conf."""
    rows: list[list[float]] = []
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB.")
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    rows.append(_row(line, path, number))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file of detections.") from error
    except OSError as error:
        raise UsageError(f"the detections {path} can't be read: {error.strerror}.") from error
    if not rows:
        raise UsageError(f"{path} holds no detections.")
    return np.array(rows, dtype=np.float64)


def _row(line: str, path: Path, number: int) -> list[float]:
    fields = line.split(",")
    try:
        frame, _, left, top, width, height, conf = (float(field) for field in fields[:7])
    except ValueError:
        raise UsageError(
            f"{path}, line {number}: {line.strip()[:80]!r} is not `frame,id,left,top,width,height,conf`, seven numbers or more."
        ) from None
    row = [frame, left, top, width, height, conf]
    if not all(math.isfinite(value) for value in row):
        raise UsageError(f"{path}, line {number}: {line.strip()[:80]!r} holds a value that is not finite.")
    if max(map(abs, row[1:5])) > MAX_PX or abs(conf) > MAX_CONF:
        raise UsageError(
            f"{path}, line {number}: {line.strip()[:80]!r} holds a number that no picture has: {MAX_PX} pixels are the most, "
            f"and {MAX_CONF:.0f} for conf."
        )
    if not (frame.is_integer() and 1 <= frame <= MAX_FRAME):
        raise UsageError(
            f"{path}, line {number}: {fields[0].strip()!r} is no frame number; they go from 1 to {MAX_FRAME}."
        )
    return row


def _to_share(
    raw: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    lowest, highest = raw.min(), raw.max()
    if lowest >= 0 and highest <= 1:
        return raw.astype(np.float32)
    if lowest == highest:
        return np.ones(len(raw), dtype=np.float32)
    return (_LOWEST + (1 - _LOWEST) * (raw - lowest) / (highest - lowest)).astype(np.float32)
