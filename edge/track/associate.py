"""Which detection belongs to which track: overlap, nearness, and the assignment that makes the most of them."""

import math

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes

Costs = NDArray[np.float64]
Pairs = list[tuple[int, int]]

# Boxes whose heights differ by more than this factor's logarithm are not the same object.
_LARGEST_LOG_RATIO = 0.35
# So many ways to pair a few rivals are tried; of more the best is searched for cleverly, which takes longer to begin.
_MOST_WAYS = 200


def iou(first: Boxes, second: Boxes) -> Costs:
    """Return the overlap (intersection over union, 0 to 1) of each pair, shape (N, M)."""
    ours, theirs = _columns(first)[:, :, None], _columns(second)[:, None, :]
    inner = _intersection(ours, theirs)
    union = _area(ours) + _area(theirs) - inner
    return inner / np.maximum(union, 1e-9)


def covered(xyxy: Boxes) -> NDArray[np.float64]:
    """Return which share of each box the box that covers it most covers, shape (N,)."""
    corners = _columns(xyxy)
    inner = _intersection(corners[:, :, None], corners[:, None, :]).astype(np.float64)
    area = np.diagonal(inner).copy()
    np.fill_diagonal(inner, 0.0)
    return inner.max(axis=1) / np.maximum(area, 1e-9)


def _columns(xyxy: Boxes) -> NDArray[np.float32]:
    """Return x1, y1, x2, y2, shape (4, N); contiguous, because that is many times faster to work with."""
    return np.ascontiguousarray(xyxy.T)


def _intersection(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the area that boxes share, shape (N, M); their corners are given as shapes (4, N, 1) and (4, 1, M)."""
    sides = np.minimum(ours[2:], theirs[2:])
    sides -= np.maximum(ours[:2], theirs[:2])
    np.maximum(sides, 0.0, out=sides)
    return sides[0] * sides[1]


def _area(box: NDArray[np.float32]) -> NDArray[np.float32]:
    return (box[2] - box[0]) * (box[3] - box[1])


def farness(ours: Boxes, theirs: Boxes, reach: NDArray[np.float64]) -> Costs:
    """Return how far boxes are from others by their lower edges' middles, shape (N, M).

    Args:
        ours: shape (N, 4).
        theirs: shape (M, 4).
        reach: What counts as 1, in heights of ours, shape (N,).

    Returns:
        At most 2, which is also what boxes of another height are.
    """
    height = (ours[:, 3] - ours[:, 1])[:, None]
    ratio = (theirs[:, 3] - theirs[:, 1]) / height
    x = ((ours[:, 0] + ours[:, 2]) / 2)[:, None] - (theirs[:, 0] + theirs[:, 2]) / 2
    y = ours[:, 3:] - theirs[:, 3]
    far = np.hypot(x, y) / height / np.maximum(reach, 1e-9)[:, None]
    return np.where(np.abs(np.log(ratio)) < _LARGEST_LOG_RATIO, np.minimum(far, 2.0), 2.0)


def assign(cost: Costs, limit: float) -> Pairs:
    """Pair rows with columns so that the sum of costs is smallest, using only pairs that cost less than `limit`.

    Leaving a row alone costs `limit`, so that one very good pair never forces two bad ones.

    Args:
        cost: shape (N, M), finite.
        limit: Upper bound of a pair's cost.

    Returns:
        (row, column) pairs, ascending by row.
    """
    rows, columns = (cost < limit).nonzero()
    # Most pairs have no rival: whom nobody else may have.
    has_rival = (np.bincount(rows).take(rows) > 1) | (np.bincount(columns).take(columns) > 1)
    if not np.count_nonzero(has_rival):
        return _pairs(rows, columns)
    pairs = _pairs(rows[~has_rival], columns[~has_rival])
    for group in _groups(_pairs(rows[has_rival], columns[has_rival])):
        pairs += _assign_group(cost, limit, group)
    return sorted(pairs)


def _pairs(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Pairs:
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _groups(allowed: Pairs) -> list[Pairs]:
    """Split pairs into groups of rivals: no row and no column is in two of them."""
    by_row: dict[int, Pairs] = {}
    by_column: dict[int, Pairs] = {}
    for row, column in allowed:
        ours, theirs = by_row.get(row), by_column.get(column)
        group = ours or theirs or []
        if ours is not None and theirs is not None and ours is not theirs:
            group, other = (ours, theirs) if len(ours) > len(theirs) else (theirs, ours)
            group += other
            by_row.update((r, group) for r, _ in other)
            by_column.update((c, group) for _, c in other)
        group.append((row, column))
        by_row[row] = by_column[column] = group
    return list({id(group): group for group in by_row.values()}.values())


def _assign_group(cost: Costs, limit: float, group: Pairs) -> Pairs:
    """Return the best of the pairs of one group."""
    choices: dict[int, list[tuple[float, int]]] = {}
    for row, column in group:
        choices.setdefault(row, []).append((float(cost[row, column]), column))
    if math.prod(len(some) + 1 for some in choices.values()) <= _MOST_WAYS:
        chosen = _try_all(list(choices.values()), limit)
        return [(row, column) for row, column in zip(choices, chosen, strict=True) if column >= 0]
    rows, columns = sorted(choices), sorted({column for _, column in group})
    # Each row gets a column of its own that stands for "alone"; other pairs that are not allowed cost too much.
    n, m = len(rows), len(columns)
    square = np.full((n, m + n), np.inf)
    inside = cost[np.ix_(rows, columns)]
    square[:, :m] = np.where(inside < limit, inside, np.inf)
    square[np.arange(n), m + np.arange(n)] = limit
    found = _shortest_augmenting_paths(square)
    return [(rows[row], columns[column]) for row, column in enumerate(found) if column < m]


def _try_all(choices: list[list[tuple[float, int]]], limit: float) -> list[int]:
    """Return the column of each row, -1 for none, with the smallest sum; `choices` are costs and columns of each row."""
    ordered = [[*sorted(some), (limit, -1)] for some in choices]
    # What the rows from one on cost at least: whoever cannot win any more is not followed.
    least = [0.0]
    for some in reversed(ordered):
        least.append(least[-1] + some[0][0])
    least.reverse()
    best, chosen = math.inf, [-1] * len(ordered)

    def follow(row: int, spent: float, taken: list[int]) -> None:
        nonlocal best, chosen
        if spent + least[row] >= best:
            return
        if row == len(ordered):
            best, chosen = spent, taken
            return
        for price, column in ordered[row]:
            if column < 0 or column not in taken:
                follow(row + 1, spent + price, [*taken, column])

    follow(0, 0.0, [])
    return chosen


def _shortest_augmenting_paths(cost: Costs) -> list[int]:
    """Return the column of each row in a cheapest full assignment of the rows; needs columns >= rows.

    Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems",
    Computing 38, 1987: one Dijkstra search per row over reduced costs, O(rows * rows * columns).
    """
    n, m = cost.shape
    row_price = np.zeros(n)
    column_price = np.zeros(m)
    row_of = np.full(m, -1)
    column_of = np.full(n, -1)
    for start in range(n):
        distance = np.full(m, np.inf)
        came_from = np.full(m, -1)
        done = np.zeros(m, dtype=bool)
        row, shortest, end = start, 0.0, -1
        while end < 0:
            through = shortest + cost[row] - row_price[row] - column_price
            better = ~done & (through < distance)
            distance[better] = through[better]
            came_from[better] = row
            column = int(np.argmin(np.where(done, np.inf, distance)))
            shortest = float(distance[column])
            done[column] = True
            if row_of[column] < 0:
                end = column
            else:
                row = int(row_of[column])
        reached = done & (row_of >= 0)
        row_price[start] += shortest
        row_price[row_of[reached]] += shortest - distance[reached]
        column_price[done] += distance[done] - shortest
        while end >= 0:
            row = int(came_from[end])
            row_of[end] = row
            column_of[row], end = end, int(column_of[row])
    return [int(column) for column in column_of]
