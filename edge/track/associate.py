"""Which detection belongs to which track: overlap, and the assignment that makes the most of it."""

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes

Costs = NDArray[np.float64]


def iou(first: Boxes, second: Boxes) -> Costs:
    """Return the overlap (intersection over union, 0 to 1) of each pair, shape (N, M)."""
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inner = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    area_first = (first[:, 2] - first[:, 0]) * (first[:, 3] - first[:, 1])
    area_second = (second[:, 2] - second[:, 0]) * (second[:, 3] - second[:, 1])
    union = area_first[:, None] + area_second[None, :] - inner
    return np.where(union > 0, inner / np.maximum(union, 1e-9), 0.0)


def assign(cost: Costs, limit: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of costs is smallest, using only pairs that cost less than `limit`.

    Leaving a row alone costs `limit`, so that one very good pair never forces two bad ones.

    Args:
        cost: shape (N, M), finite.
        limit: Upper bound of a pair's cost.

    Returns:
        (row, column) pairs, ascending by row.
    """
    rows, columns = cost.shape
    if rows == 0 or columns == 0:
        return []
    allowed = cost < limit
    # Most pairs have no rival: whom nobody else may have.
    sole = (allowed.sum(axis=1) == 1)[:, None] & (allowed.sum(axis=0) == 1)[None, :] & allowed
    rows_of_sole, columns_of_sole = np.nonzero(sole)
    pairs = list(zip(rows_of_sole.tolist(), columns_of_sole.tolist(), strict=True))
    allowed = allowed & ~sole
    live_rows = np.flatnonzero(allowed.any(axis=1))
    live_columns = np.flatnonzero(allowed.any(axis=0))
    if len(live_rows) == 0:
        return pairs
    # Each row gets a column of its own that stands for "alone"; other pairs that are not allowed cost too much.
    n, m = len(live_rows), len(live_columns)
    square = np.full((n, m + n), np.inf)
    inside = cost[np.ix_(live_rows, live_columns)]
    square[:, :m] = np.where(allowed[np.ix_(live_rows, live_columns)], inside, np.inf)
    square[np.arange(n), m + np.arange(n)] = limit
    chosen = _shortest_augmenting_paths(square)
    pairs += [
        (int(live_rows[row]), int(live_columns[column])) for row, column in enumerate(chosen) if column < m
    ]
    return sorted(pairs)


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
