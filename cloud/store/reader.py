"""The readers' side of the store: the API's."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cloud.process import (
    LedgerChange,
)
from cloud.store.panes import pane_update
from cloud.store.rows import (
    CountRow,
    CoverageRow,
    HeatLayer,
    MeasureTotal,
    PaneUpdate,
    Picture,
    Update,
    WorkerNote,
    ZoneSum,
    ZoneTotal,
)
from cloud.store.schema import open_store, trouble
from cloud.windows import (
    CameraView,
)

# What a reader assumes until the worker has written the length of its panes.
DEFAULT_PANE_MS = 10_000

_LEDGER = (
    "SELECT site, device, epoch, counted, duplicates, refused, crossings, contiguous, missing, dead_lettered"
    " FROM ledger"
    " ORDER BY site, device, epoch"
)
_DAY_COUNTS = (
    "SELECT line, direction, cls, SUM(n) FROM counts WHERE camera = ? AND start_ms >= ? AND start_ms < ?"
    " GROUP BY line, direction, cls"
)
_DAY_ZONES = (
    "SELECT zone, SUM(visits), SUM(dwell_ms), COALESCE(MAX(iif(cls = '', max_n, NULL)), 0) FROM zone_panes"
    " WHERE camera = ? AND start_ms >= ? AND start_ms < ? GROUP BY zone"
)
_ZONE_SUMS = (
    "SELECT zone, cls, SUM(weighted_ms), SUM(held_ms), MAX(max_n), MIN(min_n), NULL, SUM(visits), SUM(dwell_ms)"
    " FROM zone_panes WHERE camera = ? AND start_ms >= ? AND start_ms < ? GROUP BY zone, cls ORDER BY zone, cls"
)
# With one MAX the other columns are of the row that has it.
_ZONE_LAST = (
    "SELECT zone, cls, last_n, MAX(last_ms) FROM zone_panes"
    " WHERE camera = ? AND start_ms >= ? AND start_ms < ? GROUP BY zone, cls"
)
_ZONE_ENTRIES = (
    "SELECT name, cls, SUM(n) FROM measures WHERE camera = ? AND start_ms >= ? AND start_ms < ?"
    " AND kind = 'entry' GROUP BY name, cls"
)
_DAY_MEASURES = (
    "SELECT kind, name, origin, destination, cls, SUM(n), SUM(total) FROM measures"
    " WHERE camera = ? AND start_ms >= ? AND start_ms < ? GROUP BY kind, name, origin, destination, cls"
)
_HEAT = (
    "SELECT cls, columns, rows, cells FROM heat WHERE camera = ? AND start_ms >= ? AND start_ms < ?"
    " ORDER BY cls, start_ms"
)
_NEW_PANES = "SELECT start_ms, watched_ms, status, revision FROM panes WHERE camera = ? AND start_ms >= ? ORDER BY start_ms"
_COUNTS = (
    "SELECT line, direction, cls, start_ms / ?1 * ?1 AS step_ms, SUM(n) FROM counts"
    " WHERE camera = ?2 AND start_ms >= ?3 AND start_ms < ?4 GROUP BY line, direction, cls, step_ms"
)
_COVERAGE = (
    "SELECT start_ms / ?1 * ?1 AS step_ms, SUM(watched_ms), SUM(revision), MAX(status = 'provisional')"
    " FROM panes WHERE camera = ?2 AND start_ms >= ?3 AND start_ms < ?4 GROUP BY step_ms"
)

_view = msgspec.json.Decoder(CameraView)
_update = msgspec.json.Decoder(Update)
_note = msgspec.json.Decoder(WorkerNote)
_cells = msgspec.msgpack.Decoder(list[tuple[int, int]])
_gaps = msgspec.json.Decoder(list[tuple[int, int]])


class StoreReader:
    """A reader's side, in a connection of its own. Not thread-safe; reads only."""

    def __init__(self, path: Path) -> None:
        """Open the store; it is made if the worker has not yet done so.

        Raises:
            UsageError: It is damaged.
            Unavailable: It cannot be opened now.
        """
        self._path = path
        self._connection = open_store(path)
        self._connection.execute("PRAGMA query_only = ON")
        self._seen_version = -1

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def changed(self) -> bool:
        """Say whether the worker has committed since the last call. Costs microseconds.

        Raises:
            Unavailable: Not now.
        """
        with trouble(self._path):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        changed = version != self._seen_version
        self._seen_version = version
        return changed

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read several tables as of one moment."""
        with trouble(self._path):
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("COMMIT")

    def pane_ms(self) -> int:
        """Return the length of panes."""
        with trouble(self._path):
            row = self._connection.execute("SELECT value FROM meta WHERE name = 'pane_ms'").fetchone()
        return row[0] if row else DEFAULT_PANE_MS

    def note(self) -> WorkerNote:
        """Return what the worker said of itself last."""
        with trouble(self._path):
            row = self._connection.execute("SELECT value FROM meta WHERE name = 'worker'").fetchone()
            return _note.decode(row[0]) if row else WorkerNote()

    def updates_after(self, seq: int, limit: int = 500) -> list[tuple[int, Update]] | None:
        """Return the commits after `seq`, oldest first; None if some of them are gone already."""
        with trouble(self._path):
            rows = self._connection.execute(
                "SELECT seq, body FROM updates WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
            ).fetchall()
            if rows and rows[0][0] != seq + 1:
                return None
            return [(number, _update.decode(body)) for number, body in rows]

    def picture(self, day_from_ms: int, day_to_ms: int, panes_from_ms: int) -> Picture:
        """Return all that a live feed starts from.

        Args:
            day_from_ms: Start of the day whose totals are wanted.
            day_to_ms: Its end, exclusive.
            panes_from_ms: Single panes from here on are wanted too.
        """
        with self._snapshot() as connection:
            (seq,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM updates").fetchone()
            cameras = connection.execute("SELECT no, view FROM cameras ORDER BY camera").fetchall()
            views = {no: _view.decode(view) for no, view in cameras}
            counts: list[tuple[str, str, str, str, int]] = []
            zones: list[ZoneTotal] = []
            panes: list[PaneUpdate] = []
            measures: list[MeasureTotal] = []
            for no, view in views.items():
                bounds = (no, day_from_ms, day_to_ms)
                counts += [(view.id, *row) for row in connection.execute(_DAY_COUNTS, bounds)]
                zones += [ZoneTotal(view.id, *row) for row in connection.execute(_DAY_ZONES, bounds)]
                measures += [MeasureTotal(view.id, *row) for row in connection.execute(_DAY_MEASURES, bounds)]
                rows = connection.execute(_NEW_PANES, (no, panes_from_ms)).fetchall()
                panes += [pane_update(connection, no, view.id, row) for row in rows]
        return Picture(seq, self.pane_ms(), list(views.values()), counts, zones, panes, measures)

    def cameras(self) -> dict[int, CameraView]:
        """Return all cameras by their number in the store."""
        with trouble(self._path):
            rows = self._connection.execute("SELECT no, view FROM cameras ORDER BY camera").fetchall()
            return {no: _view.decode(view) for no, view in rows}

    def counts(self, cameras: dict[int, str], from_ms: int, to_ms: int, step_ms: int) -> list[CountRow]:
        """Return crossings of `[from_ms, to_ms)`, summed per series and step.

        Args:
            cameras: The cameras wanted, by number.
            from_ms: Start of a pane.
            to_ms: Start of a pane.
            step_ms: Steps begin at multiples of it; a multiple of the pane's length.
        """
        rows: list[CountRow] = []
        with trouble(self._path):
            for no, camera in cameras.items():
                found = self._connection.execute(_COUNTS, (step_ms, no, from_ms, to_ms))
                rows += [CountRow._make((camera, *row)) for row in found]
        return rows

    def coverage(self, cameras: dict[int, str], from_ms: int, to_ms: int, step_ms: int) -> list[CoverageRow]:
        """Return how well cameras were watched within `[from_ms, to_ms)`, per step; see `counts`."""
        rows: list[CoverageRow] = []
        with trouble(self._path):
            for no, camera in cameras.items():
                found = self._connection.execute(_COVERAGE, (step_ms, no, from_ms, to_ms))
                rows += [
                    CoverageRow(camera, step, watched_ms, revision, bool(provisional))
                    for step, watched_ms, revision, provisional in found
                ]
        return rows

    def zone_sums(self, no: int, from_ms: int, to_ms: int) -> list[ZoneSum]:
        """Return a camera's zones over the panes that begin within `[from_ms, to_ms)`, per class and for all classes."""
        bounds = (no, from_ms, to_ms)
        sums: dict[tuple[str, str], ZoneSum] = {}
        with self._snapshot() as connection:
            for zone, cls, *numbers in connection.execute(_ZONE_SUMS, bounds):
                sums[zone, cls] = ZoneSum(zone, cls, *numbers)
            for zone, cls, last_n, _ in connection.execute(_ZONE_LAST, bounds):
                sums[zone, cls] = sums[zone, cls]._replace(last_n=last_n)
            for zone, cls, entries in connection.execute(_ZONE_ENTRIES, bounds):
                one = sums.get((zone, cls), ZoneSum(zone, cls))
                sums[zone, cls] = one._replace(entries=entries)
        return list(sums.values())

    def heat(self, no: int, from_ms: int, to_ms: int) -> list[HeatLayer]:
        """Return where and for how long a camera's objects were in the hours that begin within `[from_ms, to_ms)`.

        Args:
            no: The camera's number.
            from_ms: See above.
            to_ms: See above.

        Returns:
            One map per class, and per grid if that was changed meanwhile.
        """
        sums: dict[tuple[str, int, int], dict[int, int]] = {}
        with trouble(self._path):
            for cls, columns, rows, cells in self._connection.execute(_HEAT, (no, from_ms, to_ms)):
                layer = sums.setdefault((cls, columns, rows), {})
                for cell, presence_ms in _cells.decode(cells):
                    layer[cell] = layer.get(cell, 0) + presence_ms
        return [
            HeatLayer(*key, sorted(layer), [layer[cell] for cell in sorted(layer)])
            for key, layer in sums.items()
        ]

    def ledger(self) -> list[LedgerChange]:
        """Return the account of every device and epoch."""
        with self._snapshot() as connection:
            rows = connection.execute(_LEDGER).fetchall()
            refusals = connection.execute("SELECT site, device, epoch, reason, n FROM refusals").fetchall()
            reasons: dict[tuple[str, str, int], dict[str, int]] = {}
            for *account, reason, n in refusals:
                reasons.setdefault(tuple(account), {})[reason] = n
            names = LedgerChange.__struct_fields__
            accounts = [
                (*counted, _gaps.decode(missing), reasons.get(tuple(counted[:3]), {}), dead)
                for *counted, missing, dead in rows
            ]
            return msgspec.convert(
                [dict(zip(names, account, strict=True)) for account in accounts], list[LedgerChange]
            )

    def unattributed(self) -> dict[str, int]:
        """Return how many messages were refused that belong to nobody's account, by kind of reason, most first."""
        with trouble(self._path):
            return dict(
                self._connection.execute("SELECT reason, n FROM unattributed ORDER BY n DESC, reason")
            )
