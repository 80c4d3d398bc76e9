"""Results of a single box in one SQLite file: one writer (the worker), any number of readers (the API).

Everything that one batch changes is one transaction: panes, cameras, the memory of seen events, the position in the
log, and the row of `updates` that the live feed reads. After a crash the store says exactly how far the worker came.

The file is opened with `synchronous = NORMAL`: a crash of the process loses nothing; a power cut may take the last
transactions, whole ones, newest first. Then the worker reads the same entries of the log again, so the log must still
have them, and a salvage of a damaged log must copy them. Therefore the worker reports to the log only what
`Store.make_durable` has carried to the disk. That costs one checkpoint now and then; `synchronous = FULL` would wait for
the disk at every batch, on the way from the frame to the screen.
"""

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from cloud.measures import Measure, MeasureCell
from cloud.process import (
    CameraChange,
    DeviceChange,
    Effects,
    HeatChange,
    LedgerChange,
    Place,
    ProcessState,
)
from cloud.windows import (
    COMPLETE_COVERAGE,
    CameraSnapshot,
    CameraView,
    CountCell,
    PaneChange,
    PaneStatus,
    ZoneCell,
    ZoneTally,
)
from countline.dedupe import DeviceState
from countline.errors import Unavailable, UsageError
from countline.eventlog import connect
from countline.events import Direction

SCHEMA_VERSION = 2
# What makes a store of an earlier format one of the next.
_MIGRATIONS = {1: "ALTER TABLE ledger ADD COLUMN dead_lettered INTEGER NOT NULL DEFAULT 0"}
# Batches that a live feed may fall behind before it reads everything anew: minutes of a busy site.
KEEP_UPDATES = 10_000
# Kinds of reasons that are told of messages that belong to nobody: strangers can make up any number. More are "other".
MAX_REASONS = 20
OTHER = "other"
# Heat-maps are summed by the hour: five minutes of them would fill the disk of a box within a year.
HEAT_STEP_MS = 3_600_000
# What a reader assumes until the worker has written the length of its panes.
DEFAULT_PANE_MS = 10_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cameras (
    no INTEGER PRIMARY KEY,
    camera TEXT NOT NULL UNIQUE,
    view BLOB NOT NULL,
    state BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS panes (
    camera INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    watched_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (camera, start_ms)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (
    camera INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    line TEXT NOT NULL,
    direction TEXT NOT NULL,
    cls TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (camera, start_ms, line, direction, cls)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS zone_panes (
    camera INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    zone TEXT NOT NULL,
    cls TEXT NOT NULL,
    weighted_ms INTEGER NOT NULL,
    held_ms INTEGER NOT NULL,
    max_n INTEGER,
    min_n INTEGER,
    last_n INTEGER,
    last_ms INTEGER NOT NULL,
    visits INTEGER NOT NULL,
    dwell_ms INTEGER NOT NULL,
    PRIMARY KEY (camera, start_ms, zone, cls)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS measures (
    camera INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    origin TEXT NOT NULL,
    destination TEXT NOT NULL,
    cls TEXT NOT NULL,
    n INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (camera, start_ms, kind, name, origin, destination, cls)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heat (
    camera INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    cls TEXT NOT NULL,
    columns INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    cells BLOB NOT NULL,
    PRIMARY KEY (camera, start_ms, cls, columns, rows)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS devices (
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (site, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger (
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    crossings INTEGER NOT NULL,
    contiguous INTEGER NOT NULL,
    missing BLOB NOT NULL,
    dead_lettered INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (site, device, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusals (
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    reason TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (site, device, epoch, reason)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unattributed (
    reason TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS updates (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL
) STRICT;
"""

_SET_META = (
    "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
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
_view = msgspec.json.Decoder(CameraView)
_snapshot = msgspec.msgpack.Decoder(CameraSnapshot)
_device = msgspec.msgpack.Decoder(DeviceState)
_cells = msgspec.msgpack.Decoder(list[tuple[int, int]])
_gaps = msgspec.json.Decoder(list[tuple[int, int]])


class PaneUpdate(Struct, frozen=True):
    """A pane as it is in the store after a commit, with what that commit added to it."""

    camera: str
    start_ms: int
    watched_ms: int
    status: PaneStatus
    revision: int
    counts: tuple[CountCell, ...] = ()
    zones: tuple[ZoneCell, ...] = ()
    measures: tuple[MeasureCell, ...] = ()


class Update(Struct, frozen=True):
    """What one commit changed, for the live feed."""

    panes: list[PaneUpdate] = []
    cameras: list[CameraView] = []
    heats: list[HeatChange] = []


_update = msgspec.json.Decoder(Update)


class WorkerNote(Struct, frozen=True):
    """What the worker says of itself.

    Attributes:
        alive_ms: When it last said so.
        last_commit_ms: When it last committed results; 0 if never.
        behind: Entries of the log that wait for it.
    """

    alive_ms: int = 0
    last_commit_ms: int = 0
    behind: int = 0


_note = msgspec.json.Decoder(WorkerNote)


class CountRow(NamedTuple):
    """Crossings of one series in one step of time."""

    camera: str
    line: str
    direction: str
    cls: str
    step_ms: int
    n: int


class CoverageRow(NamedTuple):
    """How well one camera was watched in one step of time."""

    camera: str
    step_ms: int
    watched_ms: int
    revision: int
    is_provisional: bool


class MeasureTotal(NamedTuple):
    """A sum of the day; see `cloud.measures`."""

    camera: str
    kind: str
    name: str
    origin: str
    destination: str
    cls: str
    n: int
    total: int


class HeatLayer(NamedTuple):
    """A camera's map of one class and a time; cells and milliseconds of presence belong together."""

    cls: str
    columns: int
    rows: int
    cells: list[int]
    presence_ms: list[int]


class ZoneSum(NamedTuple):
    """A zone's tally of one class over a time; see `cloud.windows.ZoneTally`."""

    zone: str
    cls: str
    weighted_ms: int = 0
    held_ms: int = 0
    max_n: int | None = None
    min_n: int | None = None
    last_n: int | None = None
    visits: int = 0
    dwell_ms: int = 0
    entries: int = 0


class ZoneTotal(NamedTuple):
    """A zone's day."""

    camera: str
    zone: str
    visits: int
    dwell_ms: int
    max_n: int


class Picture(NamedTuple):
    """Everything a live feed starts from, as of one moment.

    Attributes:
        seq: The newest update that is part of it.
        pane_ms: The length of panes.
        cameras: All of them.
        counts: Totals of the day: camera, line, direction, class, n.
        zones: Zones of the day.
        panes: The newest panes.
        measures: Other sums of the day.
    """

    seq: int
    pane_ms: int
    cameras: list[CameraView]
    counts: list[tuple[str, str, str, str, int]]
    zones: list[ZoneTotal]
    panes: list[PaneUpdate]
    measures: Sequence[MeasureTotal] = ()


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the right to write the store at `path`; it ends with the process, however that ends.

    Raises:
        UsageError: Another worker holds it, or the folder cannot be written.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        file = lock_path.open("w")
    except OSError as error:
        raise UsageError(f"Cannot write next to the store {path}: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Another worker already writes the store {path}: stop it, or use another data folder."
            ) from error
        yield


@contextlib.contextmanager
def trouble(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one of the three kinds of trouble.

    Raises:
        Unavailable: The disk is full, the file is locked or cannot be reached now.
        UsageError: The file is damaged or is no store.
    """
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.InterfaceError) as error:
        raise Unavailable(f"{path}: {error}") from error
    except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
        raise UsageError(_damaged(path, str(error))) from error


def _damaged(path: Path, reason: str) -> str:
    return (
        f"The store {path} is damaged or not a store of Countline ({reason}): move it away and start again; "
        "a new one is counted from what the log still holds."
    )


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = connect(path, synchronous="NORMAL")
    except Unavailable as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError) and not isinstance(
            error.__cause__, sqlite3.OperationalError
        ):
            raise UsageError(_damaged(path, str(error.__cause__))) from error
        raise
    try:
        with trouble(path):
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA}")
            _check_version(connection, path)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    found = row[0] if row else SCHEMA_VERSION
    while found in _MIGRATIONS:
        connection.execute(_MIGRATIONS[found])
        found += 1
    if found != SCHEMA_VERSION:
        raise UsageError(
            f"The store {path} has format {found}, this version reads format {SCHEMA_VERSION}: "
            "use the version that wrote it, or another data folder."
        )
    if row is None or row[0] != found:
        connection.execute(_SET_META, ("schema", found))


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
        self._connection = _open(path)
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
            self._connection.execute(_SET_META, ("pane_ms", self._pane_ms))
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
            self._connection.execute(_SET_META, ("worker", _json.encode(note)))

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
            _SET_META, zip(_PLACE, msgspec.structs.astuple(effects.place), strict=True)
        )
        self._connection.execute(_SET_META, ("worker", _json.encode(note)))
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
        counts = _read_counts(self._connection, camera, start_ms)
        measured = {cell.key: (cell.n, cell.total) for cell in pane.measures}
        zones = _read_zones(self._connection, camera, start_ms)
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
                for cell in _read_measures(self._connection, camera, start_ms)
            ),
        )


def _count_row(camera: int, start_ms: int, cell: CountCell) -> tuple[object, ...]:
    return camera, start_ms, cell.line, cell.direction.value, cell.cls, cell.n


def _zone_row(camera: int, start_ms: int, cell: ZoneCell) -> tuple[object, ...]:
    return camera, start_ms, cell.zone, cell.cls, *msgspec.structs.astuple(cell.tally)


def _measure_row(camera: int, start_ms: int, cell: MeasureCell) -> tuple[object, ...]:
    return camera, start_ms, cell.kind.value, *cell.key[1:], cell.n, cell.total


def _read_measures(connection: sqlite3.Connection, camera: int, start_ms: int) -> list[MeasureCell]:
    rows = connection.execute(
        "SELECT kind, name, origin, destination, cls, n, total FROM measures WHERE camera = ? AND start_ms = ?",
        (camera, start_ms),
    )
    return [MeasureCell(Measure(kind), *rest) for kind, *rest in rows]


def _read_counts(connection: sqlite3.Connection, camera: int, start_ms: int) -> list[CountCell]:
    rows = connection.execute(
        "SELECT line, direction, cls, n FROM counts WHERE camera = ? AND start_ms = ?", (camera, start_ms)
    )
    return [CountCell(line, Direction(direction), cls, n) for line, direction, cls, n in rows]


def _read_zones(connection: sqlite3.Connection, camera: int, start_ms: int) -> list[ZoneCell]:
    rows = connection.execute(
        "SELECT zone, cls, weighted_ms, held_ms, max_n, min_n, last_n, last_ms, visits, dwell_ms"
        " FROM zone_panes WHERE camera = ? AND start_ms = ?",
        (camera, start_ms),
    )
    return [ZoneCell(zone, cls, ZoneTally(*tally)) for zone, cls, *tally in rows]


class StoreReader:
    """A reader's side, in a connection of its own. Not thread-safe; reads only."""

    def __init__(self, path: Path) -> None:
        """Open the store; it is made if the worker has not yet done so.

        Raises:
            UsageError: It is damaged.
            Unavailable: It cannot be opened now.
        """
        self._path = path
        self._connection = _open(path)
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
                panes += [_pane_update(connection, no, view.id, row) for row in rows]
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


def _pane_update(
    connection: sqlite3.Connection, no: int, camera: str, row: tuple[int, int, str, int]
) -> PaneUpdate:
    start_ms, watched_ms, status, revision = row
    return PaneUpdate(
        camera,
        start_ms,
        watched_ms,
        PaneStatus(status),
        revision,
        tuple(_read_counts(connection, no, start_ms)),
        tuple(_read_zones(connection, no, start_ms)),
        tuple(_read_measures(connection, no, start_ms)),
    )
