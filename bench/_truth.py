"""True line crossings from ground-truth tracks in MOT format, and how far counts are from them.

For a line A->B and a true track the bottom centres of consecutive rows are joined. Each step that crosses the segment
counts one, "in" from the left hand of A->B to its right, else "out". A crossing that is undone within seven frames
cancels. Eight lines per sequence: x at 25, 40, 50, 60 and 75 % (A at the top), y at 40, 50 and 60 % (A at the left).
A point may lie exactly on a line, in ground truth of whole pixels it often does. Read one way, a step onto the line and
the step off it on the other side are one crossing; read strictly, neither step changes the sign, so there is none. Both
readings are reported, for the second leaves out people who really went over, and the first is not what others publish.
The error is WAPE: the sum over lines and directions of |counted - true|, divided by the sum of true.
"""

import itertools
from pathlib import Path

import numpy as np

from countline.events import Point
from edge.config import LineSettings
from edge.count.geometry import cross, signed_crossing

UNDONE_WITHIN_FRAMES = 7
Counts = list[tuple[int, int]]
"""In and out per line."""


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


def true_crossings(gt_file: Path, lines: list[LineSettings], *, strict: bool = False) -> Counts:
    """Return in and out of each line by a ground-truth file; rows whose seventh column is 0 do not count.

    Args:
        gt_file: In MOT format.
        lines: To judge.
        strict: Leave out steps that begin or end exactly on a line.
    """
    rows = np.loadtxt(gt_file, delimiter=",", ndmin=2)
    rows = rows[rows[:, 6] != 0]
    tracks = [rows[rows[:, 1] == track] for track in np.unique(rows[:, 1])]
    walks = [_walk(track[np.argsort(track[:, 0])]) for track in tracks]
    return [_count(line.points, walks, strict=strict) for line in lines]


def wrong(counted: Counts, truth: Counts) -> int:
    """Return the sum of |counted - true| over lines and directions."""
    return sum(
        abs(ours - theirs)
        for pair, true_pair in zip(counted, truth, strict=True)
        for ours, theirs in zip(pair, true_pair, strict=True)
    )


Walk = list[tuple[int, Point]]


def _walk(track: np.ndarray) -> Walk:
    return [
        (int(frame), (float(left + width / 2), float(top + height)))
        for frame, left, top, width, height in track[:, [0, 2, 3, 4, 5]]
    ]


def _count(line: list[Point], walks: list[Walk], *, strict: bool) -> tuple[int, int]:
    n_in = n_out = 0
    for walk in walks:
        crossings: list[tuple[int, int]] = []
        for (_, before), (frame, after) in itertools.pairwise(walk):
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
