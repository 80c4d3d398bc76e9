"""For how long objects were where: seconds of presence per cell of a coarse grid, and per class.

An object's time between two of its places goes to the cell of the later one. Where it was lost for longer than
`MAX_GAP_MS` nobody knows where it was, so that time goes nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.events import Heat
from edge.arrays import Spots

MAX_GAP_MS = 2_000


@dataclass(frozen=True, slots=True)
class HeatGrid:
    """How the picture is cut, and how often a map is told.

    Attributes:
        columns: Cells side by side.
        rows: Cells one above the other.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        every_ms: Maps end at multiples of it.
    """

    columns: int
    rows: int
    width: int
    height: int
    every_ms: int


class HeatMap:
    """One camera's map. Its size is fixed by the grid and the number of classes."""

    def __init__(self, grid: HeatGrid, class_names: Sequence[str]) -> None:
        """Start with nobody anywhere."""
        self._grid = grid
        self._class_names = tuple(class_names)
        self._layers: dict[int, NDArray[np.int64]] = {}
        self._seen_ms: dict[int, int] = {}
        self._from_ms: int | None = None

    def feed(self, spots: Spots, now_ms: int) -> list[tuple[int, Heat]]:
        """Take where objects stood; return the maps of all classes if they are due."""
        told: list[tuple[int, Heat]] = []
        if self._from_ms is None:
            self._from_ms = now_ms
        elif now_ms // self._grid.every_ms != self._from_ms // self._grid.every_ms:
            told = self.finish(now_ms)
        if len(spots):
            self._add(spots)
        return told

    def finish(self, now_ms: int) -> list[tuple[int, Heat]]:
        """Return the maps up to now, one per class that was there, and begin new ones."""
        from_ms = now_ms if self._from_ms is None else self._from_ms
        told: list[tuple[int, Heat]] = []
        for class_id, layer in sorted(self._layers.items()):
            cells = np.flatnonzero(layer)
            if len(cells):
                event = Heat(
                    self._class_names[class_id],
                    from_ms,
                    self._grid.columns,
                    self._grid.rows,
                    cells.tolist(),
                    layer[cells].tolist(),
                )
                told.append((now_ms, event))
        self._layers = {}
        self._from_ms = now_ms
        return told

    def end(self, track: int) -> None:
        """Let go of a track that will not come back."""
        self._seen_ms.pop(track, None)

    def _add(self, spots: Spots) -> None:
        grid = self._grid
        columns = np.clip(spots.xy[:, 0] * grid.columns // grid.width, 0, grid.columns - 1).astype(np.int64)
        rows = np.clip(spots.xy[:, 1] * grid.rows // grid.height, 0, grid.rows - 1).astype(np.int64)
        cells = (rows * grid.columns + columns).tolist()
        classes, times = spots.class_id.tolist(), spots.at_ms.tolist()
        for row, track in enumerate(spots.track_id.tolist()):
            since_ms = times[row] - self._seen_ms.get(track, times[row])
            self._seen_ms[track] = times[row]
            if 0 < since_ms <= MAX_GAP_MS:
                layer = self._layers.get(classes[row])
                if layer is None:
                    layer = self._layers[classes[row]] = np.zeros(grid.columns * grid.rows, dtype=np.int64)
                layer[cells[row]] += since_ms
