"""Draws on pictures: a video of what was counted and why, and single pictures on which nobody can be known."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from countline.errors import UsageError
from countline.events import LineShape, Point, ZoneShape
from edge.arrays import Tracks
from edge.frames import Frame, Image, SourceInfo

# BGR. In and out differ in lightness too, so that the colour-blind can tell them apart.
_LINE = (60, 200, 255)
_ZONE = (200, 160, 60)
_BOX = (120, 220, 120)
_FAINT = (150, 150, 150)
_TEXT = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DEFAULT_FPS = 10.0
SUFFIXES = frozenset({".mp4", ".avi"})
# A blurred picture has so many pixels along its longer side. Of somebody as high as half the picture the head has three.
_COARSE_PX = 64
# A hidden face has so many.
_FACE_PX = 4
# How far beyond a box a face may reach, as a share of the box: detectors cut hair and chins.
_FACE_MARGIN = 0.15


class Annotator:
    """Draws what the pipeline saw and writes it as a video."""

    def __init__(
        self, path: Path, info: SourceInfo, lines: Sequence[LineShape], zones: Sequence[ZoneShape]
    ) -> None:
        """Open the video file.

        Raises:
            UsageError: It cannot be written.
        """
        if path.suffix.lower() not in SUFFIXES:  # OpenCV would answer with an assertion
            raise UsageError(
                f"Cannot write the video {path}: its name must end in {' or '.join(sorted(SUFFIXES))}."
            )
        self._lines = lines
        self._zones = zones
        self._size = (info.width, info.height)
        self._writer = cv2.VideoWriter(
            str(path), cv2.VideoWriter.fourcc(*"mp4v"), info.fps or _DEFAULT_FPS, self._size
        )
        if not self._writer.isOpened():
            raise UsageError(f"Cannot write the video {path}: the folder must exist and be writable.")

    def write(
        self, frame: Frame, tracks: Tracks, class_names: Sequence[str], totals: Mapping[str, tuple[int, int]]
    ) -> None:
        """Draw one frame and add it to the video.

        Args:
            frame: Its picture stays as it is; without one the ground is grey.
            tracks: Boxes to draw: seen ones bold, unconfirmed ones faint.
            class_names: By class id.
            totals: Per line, (in, out).
        """
        picture = grey_ground(self._size) if frame.image is None else frame.image.copy()
        for zone in self._zones:
            cv2.polylines(picture, [_as_array(zone.points)], isClosed=True, color=_ZONE, thickness=2)
        for row in range(len(tracks)):
            if tracks.seen[row]:
                self._draw_track(picture, tracks, row, class_names)
        for line in self._lines:
            _draw_line(picture, line, totals.get(line.name, (0, 0)))
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()

    def _draw_track(self, picture: Image, tracks: Tracks, row: int, class_names: Sequence[str]) -> None:
        x1, y1, x2, y2 = (round(float(value)) for value in tracks.xyxy[row])
        confirmed = bool(tracks.confirmed[row])
        cv2.rectangle(picture, (x1, y1), (x2, y2), _BOX if confirmed else _FAINT, 2 if confirmed else 1)
        if confirmed:
            label = f"{class_names[int(tracks.class_id[row])]} {int(tracks.track_id[row])}"
            cv2.putText(picture, label, (x1, max(10, y1 - 4)), _FONT, 0.4, _TEXT, 1, cv2.LINE_AA)


def blurred(image: Image) -> Image:
    """Return a picture of the same size on which nobody can be told apart: all of it is coarse."""
    height, width = image.shape[:2]
    scale = _COARSE_PX / max(height, width)
    if scale >= 1:
        return cv2.GaussianBlur(image, (0, 0), 2.0).astype(np.uint8)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    coarse = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def faceless(image: Image, boxes: Sequence[Sequence[float]]) -> Image:
    """Return a copy on which the upper third of each box is coarse.

    Args:
        image: Stays as it is.
        boxes: x1, y1, x2, y2 in its pixels, of everybody who was found.
    """
    picture = image.copy()
    height, width = picture.shape[:2]
    for x1, y1, x2, y2 in boxes:
        beyond_x, beyond_y = _FACE_MARGIN * (x2 - x1), _FACE_MARGIN * (y2 - y1)
        left, right = max(0, int(x1 - beyond_x)), min(width, math.ceil(x2 + beyond_x))
        top, bottom = max(0, int(y1 - beyond_y)), min(height, math.ceil(y1 + (y2 - y1) / 3))
        if left < right and top < bottom:
            part = picture[top:bottom, left:right]
            coarse = cv2.resize(part, (_FACE_PX, _FACE_PX), interpolation=cv2.INTER_AREA)
            picture[top:bottom, left:right] = cv2.resize(
                coarse, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
            )
    return picture


def draw_shapes(picture: Image, lines: Sequence[LineShape], zones: Sequence[ZoneShape]) -> None:
    """Draw lines with the arrow that is "in" and the names of their sides, and zones, onto a picture."""
    for zone in zones:
        cv2.polylines(picture, [_as_array(zone.points)], isClosed=True, color=_ZONE, thickness=2)
        _write(picture, zone.name, zone.points[0])
    for line in lines:
        cv2.polylines(picture, [_as_array(line.points)], isClosed=False, color=_LINE, thickness=2)
        middle, tip = in_arrow(line)
        cv2.arrowedLine(picture, _rounded(middle), _rounded(tip), _LINE, 2, cv2.LINE_AA, tipLength=0.35)
        _write(picture, line.name, line.points[0])
        for name, (_, beside) in zip(line.sides, sides(line), strict=True):
            _write(picture, name, (beside[0], beside[1] + 20))  # clear of the arrow


def sides(line: LineShape, distance_px: float = 44.0) -> tuple[tuple[Point, Point], tuple[Point, Point]]:
    """Return where the names of the left and of the right side stand: from the middle of the line across to each."""
    middle, right = in_arrow(msgspec.structs.replace(line, swap=False), distance_px)
    left = (2 * middle[0] - right[0], 2 * middle[1] - right[1])
    return (middle, left), (middle, right)


def _write(picture: Image, text: str, at: Point) -> None:
    height, width = picture.shape[:2]
    x, y = min(width - 40, max(2, round(at[0]) + 4)), min(height - 4, max(14, round(at[1])))
    cv2.putText(picture, text, (x, y), _FONT, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, (x, y), _FONT, 0.5, _TEXT, 1, cv2.LINE_AA)


def _draw_line(picture: Image, line: LineShape, totals: tuple[int, int]) -> None:
    cv2.polylines(picture, [_as_array(line.points)], isClosed=False, color=_LINE, thickness=2)
    middle, tip = in_arrow(line)
    cv2.arrowedLine(picture, _rounded(middle), _rounded(tip), _LINE, 2, cv2.LINE_AA, tipLength=0.35)
    text = f"{line.name}: in {totals[0]} out {totals[1]}"
    x, y = _rounded(middle)
    cv2.putText(picture, text, (x + 6, max(14, y - 8)), _FONT, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, (x + 6, max(14, y - 8)), _FONT, 0.5, _TEXT, 1, cv2.LINE_AA)


def in_arrow(line: LineShape, length_px: float = 28.0) -> tuple[Point, Point]:
    """Return where the arrow for "in" begins and ends: from the middle of the line's longest piece, across it."""
    pieces = list(itertools.pairwise(line.points))
    a, b = max(pieces, key=lambda piece: math.dist(*piece))
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    length = math.dist(a, b)
    # The right hand of someone who walks from a to b, in y-down pixels.
    across = (-(b[1] - a[1]) / length, (b[0] - a[0]) / length)
    sign = -1.0 if line.swap else 1.0
    return middle, (middle[0] + sign * across[0] * length_px, middle[1] + sign * across[1] * length_px)


def grey_ground(size: tuple[int, int]) -> Image:
    """Return what stands for a picture where there are only detections; `size` is width and height."""
    return np.full((size[1], size[0], 3), 60, dtype=np.uint8)


def _as_array(points: Sequence[Point]) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.array([_rounded(point) for point in points], dtype=np.int32)


def _rounded(point: Point) -> tuple[int, int]:
    return round(point[0]), round(point[1])
