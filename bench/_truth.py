"""True line crossings from ground-truth tracks in MOT format, and how far counts are from them.

For a line A->B and a true track the bottom centres of consecutive rows are joined. Each step that crosses the segment
counts one, "in" from the left hand of A->B to its right, else "out". A crossing that is undone within seven frames
cancels. Eight lines per sequence: x at 25, 40, 50, 60 and 75 % (A at the top), y at 40, 50 and 60 % (A at the left).
A point may lie exactly on a line, in ground truth of whole pixels it often does. Read one way, a step onto the line and
the step off it on the other side are one crossing; read strictly, neither step changes the sign, so there is none. Both
readings are reported, for the second leaves out people who really went over, and the first is not what others publish.
The error is WAPE: the sum over lines and directions of |counted - true|, divided by the sum of true.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from countline.errors import UsageError
from countline.events import Point
from edge.config import LineSettings
from edge.count.geometry import cross, signed_crossing

UNDONE_WITHIN_FRAMES = 7
Counts = list[tuple[int, int]]
"""In and out per line."""
Walk = list[tuple[int, Point]]
"""Frame number and foot point of one object, in order."""


def standard_lines(width: int, height: int) -> list[LineSettings]:
    """Return the eight lines of a sequence, pixels."""
    upright = [
        LineSettings(f"x{share}", [(width * share / 100, 0.0), (width * share / 100, float(height))])
        for share in (25, 40, 50, 60, 75)
    ]
    level = [
        LineSettings(f"y{share}", [(0.0, height * share / 100), (float(width), height * share / 100)])
        for share in (40, 50, 60)
    ]
    return [*upright, *level]


def true_crossings(gt_file: Path, lines: Sequence[LineSettings], *, strict: bool = False) -> Counts:
    """Return in and out of each line by a ground-truth file.

    Args:
        gt_file: In MOT format.
        lines: To judge.
        strict: Leave out steps that begin or end exactly on a line.
    """
    return count_walks(lines, true_walks(gt_file), strict=strict)


def true_walks(gt_file: Path) -> list[Walk]:
    """Return the walks of a ground-truth file in MOT format; rows whose seventh column is 0 do not count.

    Raises:
        UsageError: The file is not such a file.
    """
    if not gt_file.read_bytes().strip():
        raise UsageError(f"{gt_file} is empty.")
    try:
        rows = np.loadtxt(gt_file, delimiter=",", ndmin=2)
    except ValueError as error:
        raise UsageError(f"{gt_file} is not ground truth in MOT format: {error}.") from error
    if rows.shape[1] < 7:
        raise UsageError(
            f"{gt_file} is not ground truth in MOT format: `frame,id,left,top,width,height,flag` are seven numbers."
        )
    rows = rows[rows[:, 6] != 0]
    tracks = [rows[rows[:, 1] == track] for track in np.unique(rows[:, 1])]
    return [_walk(track[np.argsort(track[:, 0])]) for track in tracks]


def count_walks(lines: Sequence[LineSettings], walks: Sequence[Walk], *, strict: bool = False) -> Counts:
    """Return in and out of each line, of two points, by true walks."""
    arrays = [np.array([point for _, point in walk], dtype=np.float64).reshape(-1, 2) for walk in walks]
    return [_count(line.points, walks, arrays, strict=strict) for line in lines]


def wrong(counted: Counts, truth: Counts) -> int:
    """Return the sum of |counted - true| over lines and directions."""
    return sum(
        abs(ours - theirs)
        for pair, true_pair in zip(counted, truth, strict=True)
        for ours, theirs in zip(pair, true_pair, strict=True)
    )


def _walk(track: np.ndarray) -> Walk:
    return [
        (int(frame), (float(left + width / 2), float(top + height)))
        for frame, left, top, width, height in track[:, [0, 2, 3, 4, 5]]
    ]


def _count(
    line: list[Point], walks: Sequence[Walk], arrays: Sequence[np.ndarray], *, strict: bool
) -> tuple[int, int]:
    n_in = n_out = 0
    (ax, ay), (bx, by) = line
    for walk, points in zip(walks, arrays, strict=True):
        crossings: list[tuple[int, int]] = []
        # Only steps between the two sides can cross; all others need no second look.
        is_right = (bx - ax) * (points[:, 1] - ay) - (by - ay) * (points[:, 0] - ax) > 0
        for i in np.flatnonzero(is_right[1:] != is_right[:-1]).tolist():
            (_, before), (frame, after) = walk[i], walk[i + 1]
            step = signed_crossing(before, after, line[0], line[1])
            if not step or (
                strict and 0.0 in {cross(line[0], line[1], before), cross(line[0], line[1], after)}
            ):
                continue
            if crossings and crossings[-1][1] == -step and frame - crossings[-1][0] <= UNDONE_WITHIN_FRAMES:
                crossings.pop()
            else:
                crossings.append((frame, step))
        n_in += sum(step > 0 for _, step in crossings)
        n_out += sum(step < 0 for _, step in crossings)
    return n_in, n_out
