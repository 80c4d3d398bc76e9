"""The writer's side of the store: the worker's."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from cloud.measures import MeasureCell
from cloud.process import (
    CameraChange,
    DeviceChange,
    Effects,
    HeatChange,
    LedgerChange,
    Place,
    ProcessState,
)
from cloud.store.panes import read_counts, read_measures, read_zones
from cloud.store.rows import HEAT_STEP_MS, PaneUpdate, Update, WorkerNote
from cloud.store.schema import SET_META, open_store, trouble
from cloud.windows import (
    COMPLETE_COVERAGE,
    CameraSnapshot,
    CountCell,
    PaneChange,
    PaneStatus,
    ZoneCell,
)
from countline.dedupe import DeviceState
from countline.errors import UsageError

# Batches that a live feed may fall behind before it reads everything anew: minutes of a busy site.
KEEP_UPDATES = 10_000
# Kinds of reasons that are told of messages that belong to nobody: strangers can make up any number. More are "other".
MAX_REASONS = 20
OTHER = "other"

_SET_PANE = (
    "INSERT INTO panes (camera, start_ms, watched_ms, status, revision) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET watched_ms = excluded.watched_ms, status = excluded.status, revision = excluded.revision"
)
# The status of a pane that only the store knows follows from its coverage; the core sends 'provisional' for it.
_ADD_PANE = (
    "INSERT INTO panes (camera, start_ms, watched_ms, status, revision)"
    " VALUES (:camera, :start_ms, :watched_ms, iif(:watched_ms >= :enough_ms, 'complete', 'incomplete'), :revision)"
    " ON CONFLICT DO UPDATE SET watched_ms = watched_ms + excluded.watched_ms,"
    " status = iif(watched_ms + excluded.watched_ms >= :enough_ms, 'complete', 'incomplete'),"
    " revision = revision + excluded.revision RETURNING watched_ms, status, revision"
)
_SET_COUNT = (
    "INSERT INTO counts (camera, start_ms, line, direction, cls, n) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET n = excluded.n"
)
_ADD_COUNT = (
    "INSERT INTO counts (camera, start_ms, line, direction, cls, n) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET n = n + excluded.n"
)
_INSERT_ZONE = (
    "INSERT INTO zone_panes (camera, start_ms, zone, cls, weighted_ms, held_ms, max_n, min_n, last_n, last_ms,"
    " visits, dwell_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
)
_SET_ZONE = _INSERT_ZONE + (
    "weighted_ms = excluded.weighted_ms, held_ms = excluded.held_ms, max_n = excluded.max_n, min_n = excluded.min_n,"
    " last_n = excluded.last_n, last_ms = excluded.last_ms, visits = excluded.visits, dwell_ms = excluded.dwell_ms"
)
_ADD_ZONE = _INSERT_ZONE + (
    "weighted_ms = weighted_ms + excluded.weighted_ms, held_ms = held_ms + excluded.held_ms,"
    " max_n = coalesce(max(max_n, excluded.max_n), max_n, excluded.max_n),"
    " min_n = coalesce(min(min_n, excluded.min_n), min_n, excluded.min_n),"
    " last_n = iif(excluded.last_ms >= last_ms, excluded.last_n, last_n), last_ms = max(last_ms, excluded.last_ms),"
    " visits = visits + excluded.visits, dwell_ms = dwell_ms + excluded.dwell_ms"
)
_INSERT_MEASURE = (
    "INSERT INTO measures (camera, start_ms, kind, name, origin, destination, cls, n, total)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
)
_SET_MEASURE = _INSERT_MEASURE + "n = excluded.n, total = excluded.total"
_ADD_MEASURE = _INSERT_MEASURE + "n = n + excluded.n, total = total + excluded.total"
_SET_HEAT = (
    "INSERT INTO heat (camera, start_ms, cls, columns, rows, cells) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET cells = excluded.cells"
)
_ADD_LEDGER = (
    "INSERT INTO ledger (site, device, epoch, counted, duplicates, refused, crossings, contiguous, missing,"
    " dead_lettered) VALUES (:site, :device, :epoch, :counted, :duplicates, :refused, :crossings, :contiguous,"
    " :missing, :dead_lettered)"
    " ON CONFLICT DO UPDATE SET counted = counted + excluded.counted,"
    " duplicates = duplicates + excluded.duplicates, refused = refused + excluded.refused,"
    " crossings = crossings + excluded.crossings, contiguous = excluded.contiguous, missing = excluded.missing,"
    " dead_lettered = dead_lettered + excluded.dead_lettered"
)
_ADD_REFUSED = (
    "INSERT INTO refusals (site, device, epoch, reason, n) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET n = n + excluded.n"
)
_ADD_UNATTRIBUTED = (
    "INSERT INTO unattributed (reason, n) VALUES (iif("
    " EXISTS (SELECT 1 FROM unattributed WHERE reason = :reason)"
    " OR (SELECT COUNT(*) FROM unattributed WHERE reason <> :other) < :most, :reason, :other), :n)"
    " ON CONFLICT DO UPDATE SET n = n + excluded.n"
)

# Rows of `meta` that say how far the worker came, in the order of the fields of `Place`, and where it begins.
_PLACE: dict[str, str | int] = {"log": "", "position": 0, "dead_position": 0}

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()
_snapshot = msgspec.msgpack.Decoder(CameraSnapshot)
_device = msgspec.msgpack.Decoder(DeviceState)
_cells = msgspec.msgpack.Decoder(list[tuple[int, int]])


class Store:
    """The writer's side. Not thread-safe."""

    def __init__(self, path: Path, pane_ms: int) -> None:
        """Open or make the store; hold `lock(path)` for as long as it is open.

        Raises:
            UsageError: It is damaged, or was made with panes of another length.
            Unavailable: It cannot be opened now.
        """
        self._path = path
        self._pane_ms = pane_ms
        self._connection = open_store(path)
        self._numbers: dict[str, int] = {}
        try:
            with trouble(path):
                self._check_pane()
        except BaseException:
            self._connection.close()
            raise

    def _check_pane(self) -> None:
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'pane_ms'").fetchone()
        if row is None:
            self._connection.execute(SET_META, ("pane_ms", self._pane_ms))
        elif row[0] != self._pane_ms:
            raise UsageError(
                f"The store {self._path} has panes of {row[0] / 1000:g} s: "
                f"set pane_s: {row[0] // 1000} again, or use another data folder."
            )

    def load(self) -> ProcessState:
        """Return the state as of the last commit.

        Raises:
            UsageError: It cannot be read.
            Unavailable: Not now.
        """
        with trouble(self._path):
            found = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())
            cameras = self._connection.execute("SELECT state FROM cameras ORDER BY no").fetchall()
            devices = self._connection.execute("SELECT site, device, state FROM devices").fetchall()
            return ProcessState(
                Place(*(found.get(name, default) for name, default in _PLACE.items())),
                tuple(_snapshot.decode(state) for (state,) in cameras),
                tuple(DeviceChange(site, device, _device.decode(state)) for site, device, state in devices),
            )

    def commit(self, effects: Effects, note: WorkerNote) -> None:
        """Write all effects of one batch, or none.

        Raises:
            Unavailable: Nothing was written. The caller restores its cores by `load` before it tries again.
            UsageError: The file is damaged.
        """
        with trouble(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(effects, note)
                self._connection.execute("COMMIT")
            except BaseException:
                self._numbers.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def note(self, note: WorkerNote) -> None:
        """Say that the worker is alive, outside of any batch.

        Raises:
            Unavailable: Not now.
        """
        with trouble(self._path):
            self._connection.execute(SET_META, ("worker", _json.encode(note)))

    def make_durable(self) -> bool:
        """Carry all commits to the disk; say whether it was done, so that a power cut takes none of them.

        A checkpoint syncs the write-ahead log before it copies from it, and the file after it has copied all. While
        a reader looks at an earlier moment not all can be copied; then it is for the next time.

        Raises:
            Unavailable: Not now.
        """
        with trouble(self._path):
            is_busy, frames, copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return not is_busy and frames == copied

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _write(self, effects: Effects, note: WorkerNote) -> None:
        self._write_cameras(effects.cameras)
        panes = [self._write_pane(pane) for pane in effects.panes]
        self._connection.executemany(
            "INSERT INTO devices (site, device, state) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
            [(change.site, change.device, _msgpack.encode(change.state)) for change in effects.devices],
        )
        self._write_ledger(effects.ledger)
        self._connection.executemany(
            _ADD_UNATTRIBUTED,
            [
                {"reason": reason, "n": n, "other": OTHER, "most": MAX_REASONS}
                for reason, n in effects.unattributed.items()
            ],
        )
        self._connection.executemany(
            SET_META, zip(_PLACE, msgspec.structs.astuple(effects.place), strict=True)
        )
        self._connection.execute(SET_META, ("worker", _json.encode(note)))
        for change in effects.heats:
            self._add_heat(change)
        if panes or effects.cameras:
            update = Update(panes, [change.view for change in effects.cameras], effects.heats)
            cursor = self._connection.execute(
                "INSERT INTO updates (body) VALUES (?)", (_json.encode(update),)
            )
            self._connection.execute(
                "DELETE FROM updates WHERE seq <= ?", ((cursor.lastrowid or 0) - KEEP_UPDATES,)
            )

    def _add_heat(self, change: HeatChange) -> None:
        heat = change.heat
        key = (
            self._numbers[change.camera],
            change.at_ms - change.at_ms % HEAT_STEP_MS,
            heat.cls,
            heat.columns,
            heat.rows,
        )
        row = self._connection.execute(
            "SELECT cells FROM heat WHERE camera = ? AND start_ms = ? AND cls = ? AND columns = ? AND rows = ?",
            key,
        ).fetchone()
        presence = dict(_cells.decode(row[0])) if row else {}
        for cell, presence_ms in zip(heat.cells, heat.presence_ms, strict=True):
            presence[cell] = presence.get(cell, 0) + presence_ms
        self._connection.execute(_SET_HEAT, (*key, _msgpack.encode(sorted(presence.items()))))

    def _write_ledger(self, changes: Sequence[LedgerChange]) -> None:
        for change in changes:
            self._connection.execute(
                _ADD_LEDGER, msgspec.structs.asdict(change) | {"missing": _json.encode(change.missing)}
            )
            account = (change.site, change.device, change.epoch)
            self._connection.executemany(
                _ADD_REFUSED, [(*account, reason, n) for reason, n in change.reasons.items()]
            )

    def _write_cameras(self, changes: Sequence[CameraChange]) -> None:
        for change in changes:
            row = self._connection.execute(
                "INSERT INTO cameras (camera, view, state) VALUES (?, ?, ?)"
                " ON CONFLICT (camera) DO UPDATE SET view = excluded.view, state = excluded.state RETURNING no",
                (change.view.id, _json.encode(change.view), _msgpack.encode(change.state)),
            ).fetchone()
            self._numbers[change.view.id] = row[0]

    def _write_pane(self, pane: PaneChange) -> PaneUpdate:
        # Windows never change a pane without changing their camera, so its number is known by now.
        camera = self._numbers[pane.camera]
        if pane.is_absolute:
            return self._replace_pane(camera, pane)
        return self._add_to_pane(camera, pane)

    def _replace_pane(self, camera: int, pane: PaneChange) -> PaneUpdate:
        start_ms = pane.start_ms
        self._connection.execute(
            _SET_PANE, (camera, start_ms, pane.watched_ms, pane.status.value, pane.revision)
        )
        changed = [cell for cell in pane.counts if cell.added]
        self._connection.executemany(_SET_COUNT, [_count_row(camera, start_ms, cell) for cell in changed])
        self._connection.executemany(_SET_ZONE, [_zone_row(camera, start_ms, cell) for cell in pane.zones])
        self._connection.executemany(
            _SET_MEASURE, [_measure_row(camera, start_ms, cell) for cell in pane.measures if cell.added_n]
        )
        return PaneUpdate(
            pane.camera,
            start_ms,
            pane.watched_ms,
            pane.status,
            pane.revision,
            pane.counts,
            pane.zones,
            pane.measures,
        )

    def _add_to_pane(self, camera: int, pane: PaneChange) -> PaneUpdate:
        start_ms = pane.start_ms
        (row,) = self._connection.execute(
            _ADD_PANE,
            {
                "camera": camera,
                "start_ms": start_ms,
                "watched_ms": pane.watched_ms,
                "revision": pane.revision,
                "enough_ms": COMPLETE_COVERAGE * self._pane_ms,
            },
        ).fetchall()
        self._connection.executemany(_ADD_COUNT, [_count_row(camera, start_ms, cell) for cell in pane.counts])
        self._connection.executemany(_ADD_ZONE, [_zone_row(camera, start_ms, cell) for cell in pane.zones])
        self._connection.executemany(
            _ADD_MEASURE, [_measure_row(camera, start_ms, cell) for cell in pane.measures]
        )
        counts = read_counts(self._connection, camera, start_ms)
        measured = {cell.key: (cell.n, cell.total) for cell in pane.measures}
        zones = read_zones(self._connection, camera, start_ms)
        added = {(cell.line, cell.direction, cell.cls): cell.n for cell in pane.counts}
        visits = {(cell.zone, cell.cls): (cell.added_visits, cell.added_dwell_ms) for cell in pane.zones}
        return PaneUpdate(
            pane.camera,
            start_ms,
            row[0],
            PaneStatus(row[1]),
            row[2],
            tuple(
                CountCell(
                    cell.line,
                    cell.direction,
                    cell.cls,
                    cell.n,
                    added.get((cell.line, cell.direction, cell.cls), 0),
                )
                for cell in counts
            ),
            tuple(
                ZoneCell(cell.zone, cell.cls, cell.tally, *visits.get((cell.zone, cell.cls), (0, 0)))
                for cell in zones
            ),
            tuple(
                MeasureCell(*cell.key, cell.n, cell.total, *measured.get(cell.key, (0, 0)))
                for cell in read_measures(self._connection, camera, start_ms)
            ),
        )


def _count_row(camera: int, start_ms: int, cell: CountCell) -> tuple[object, ...]:
    return camera, start_ms, cell.line, cell.direction.value, cell.cls, cell.n


def _zone_row(camera: int, start_ms: int, cell: ZoneCell) -> tuple[object, ...]:
    return camera, start_ms, cell.zone, cell.cls, *msgspec.structs.astuple(cell.tally)


def _measure_row(camera: int, start_ms: int, cell: MeasureCell) -> tuple[object, ...]:
    return camera, start_ms, cell.kind.value, *cell.key[1:], cell.n, cell.total
