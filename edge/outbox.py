"""Events wait here, on disk, until the gateway says that it has them on its disk.

One SQLite file in WAL mode, synced at each commit. An event, its sequence number and the line totals are written in
one transaction, so that a kill or a power cut at any moment leaves a whole state: the counts go on from where they
were. A row leaves only when the gateway's durable mark passes it; a broker's acknowledgement proves nothing.
"""

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from countline import codec
from countline.clock import Clock
from countline.errors import Unavailable, UsageError
from countline.eventlog import connect
from countline.events import Heartbeat, LineTotals
from countline.telemetry import Log
from edge.count.counters import CountersState
from edge.count.rules import Moment
from edge.sequence import Sequencer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

_PUT_STATE = (
    "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)

_log = Log("edge.outbox")


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one camera.

    Attributes:
        camera: Whose they are.
        moments: The events, in order.
        totals: The camera's cumulative crossings per line, these events included; None if they have not changed.
    """

    camera: str
    moments: list[Moment]
    totals: dict[str, LineTotals] | None = None


class Outbox:
    """The waiting events of one device. Safe to use from several threads."""

    def __init__(self, path: Path, site: str, device: str, clock: Clock, max_bytes: int) -> None:
        """Open the outbox, or make one with an epoch that was never used.

        Args:
            path: Its file. A damaged one is set aside and a new one is made.
            site: Of the device.
            device: Its name.
            clock: For the epoch.
            max_bytes: The file never grows beyond this.

        Raises:
            Unavailable: The folder cannot be written.
            UsageError: The file holds the events of another device: a device may only speak for itself.
        """
        self._lock = threading.Lock()
        self._path = path
        self._connection = _open(path, clock)
        (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {max(64, max_bytes // page_bytes)}")
        state = dict(self._connection.execute("SELECT key, value FROM state"))
        owner = f"{site}/{device}"
        if "epoch" not in state:
            state = {"epoch": str(clock.now_ms()), "last_seq": "0", "mark": "0", "owner": owner}
            self._transaction([("INSERT INTO state (key, value) VALUES (?, ?)", list(state.items()))])
        elif (held := state.get("owner", owner)) != owner:
            self._connection.close()
            raise UsageError(
                f"The data folder {path.parent} holds the events of {held}, not of {owner}: keep the names "
                "site and device, or choose another folder with --data-dir."
            )
        self._sequencer = Sequencer(site, device, int(state["epoch"]), int(state["last_seq"]))
        self._mark = int(state["mark"])
        self._totals: dict[str, dict[str, LineTotals]] = msgspec.json.decode(
            state.get("totals", "{}"), type=dict[str, dict[str, LineTotals]]
        )
        self._counters: CountersState | None = None
        if "counters" in state:
            self._counters = msgspec.json.decode(state["counters"], type=CountersState)

    @property
    def epoch(self) -> int:
        """The outbox's generation."""
        return self._sequencer.epoch

    @property
    def last_seq(self) -> int:
        """The newest event's number; 0 if there was none yet."""
        return self._sequencer.last_seq

    @property
    def mark(self) -> int:
        """Up to here the gateway has everything."""
        return self._mark

    @property
    def backlog(self) -> int:
        """Events that the gateway has not confirmed."""
        return self.last_seq - self._mark

    def totals(self, camera: str) -> dict[str, LineTotals]:
        """Return the cumulative crossings per line of a camera, as of the last committed event."""
        return dict(self._totals.get(camera, {}))

    @property
    def counters(self) -> CountersState | None:
        """The device's counters as of the last committed event; None if there never were any."""
        return self._counters

    def remember(self, key: str, value: str) -> None:
        """Keep a note that is no event.

        Raises:
            Unavailable: The disk or the outbox is full, or cannot be written.
        """
        with self._lock:
            self._transaction([(_PUT_STATE, [(f"note:{key}", value)])])

    def recall(self, key: str) -> str:
        """Return what was noted; empty if nothing was."""
        with self._lock:
            row = self._connection.execute(
                "SELECT value FROM state WHERE key = ?", (f"note:{key}",)
            ).fetchone()
        return row[0] if row else ""

    def append(self, camera: str, moments: Sequence[Moment], totals: dict[str, LineTotals]) -> None:
        """Commit the events of one camera; see `append_all`."""
        self.append_all([Batch(camera, list(moments), totals)])

    def append_all(self, batches: Sequence[Batch], counters: CountersState | None = None) -> None:
        """Commit events and the line totals that they lead to, in one transaction. They are safe when this returns.

        Args:
            batches: The events.
            counters: The device's counters, these events included; None if it has none.

        Raises:
            Unavailable: The disk or the outbox is full, or cannot be written. Nothing was written; try again.
        """
        with self._lock:
            before = self._sequencer.last_seq
            envelopes = [
                envelope
                for batch in batches
                for envelope in self._sequencer.number(
                    batch.camera, [self._with_backlog(moment) for moment in batch.moments]
                )
            ]
            all_totals = self._totals | {
                batch.camera: batch.totals for batch in batches if batch.totals is not None
            }
            state = [
                ("last_seq", str(self._sequencer.last_seq)),
                ("totals", msgspec.json.encode(all_totals).decode()),
            ]
            if counters is not None and counters is not self._counters:
                state.append(("counters", msgspec.json.encode(counters).decode()))
            try:
                self._transaction(
                    [
                        (
                            "INSERT INTO outbox (seq, envelope) VALUES (?, ?)",
                            [(envelope.seq, codec.encode(envelope)) for envelope in envelopes],
                        ),
                        (_PUT_STATE, state),
                    ]
                )
            except Unavailable:
                self._sequencer.last_seq = before
                raise
            self._totals = all_totals
            self._counters = counters or self._counters

    def read_after(self, seq: int, limit: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """Return the next events after `seq` as (seq, encoded envelope), oldest first.

        Args:
            seq: Where to go on.
            limit: How many at most.
            max_bytes: How many bytes at most, but at least one event.
        """
        rows: list[tuple[int, bytes]] = []
        size = 0
        with self._lock:
            cursor = self._connection.execute(
                "SELECT seq, envelope FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
            )
            for row_seq, envelope in cursor:
                size += len(envelope) + 1
                if rows and size > max_bytes:
                    break
                rows.append((row_seq, envelope))
        return rows

    def trim(self, seq: int) -> None:
        """Let go of the events up to `seq`: the gateway has committed them.

        Raises:
            Unavailable: The file cannot be written; the events stay.
        """
        with self._lock:
            seq = min(seq, self._sequencer.last_seq)
            if seq <= self._mark:
                return
            self._transaction(
                [
                    ("DELETE FROM outbox WHERE seq <= ?", [(seq,)]),
                    ("UPDATE state SET value = ? WHERE key = 'mark'", [(str(seq),)]),
                ]
            )
            self._mark = seq

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _with_backlog(self, moment: Moment) -> Moment:
        at_ms, event = moment
        if isinstance(event, Heartbeat):
            return at_ms, msgspec.structs.replace(event, backlog=self.backlog)
        return moment

    def _transaction(self, statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, rows in statements:
                self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            # A full disk has rolled back already; then there is nothing to roll back.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise Unavailable(f"the outbox {self._path} cannot be written: {error}") from error


def _open(path: Path, clock: Clock) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _checked(path)
    except OSError as error:
        raise Unavailable(f"the data folder {path.parent} cannot be written: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.damaged-{clock.now_ms()}")
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _log.error(
            "the outbox was damaged and is set aside; a new one begins", kept_as=str(aside), reason=str(error)
        )
        return _checked(path)


def _checked(path: Path) -> sqlite3.Connection:
    try:
        connection = connect(path)
    except Unavailable as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError) and not isinstance(
            error.__cause__, sqlite3.OperationalError
        ):
            raise error.__cause__ from error
        raise
    try:
        connection.executescript(_SCHEMA)
        _check(connection)
    except sqlite3.OperationalError as error:
        connection.close()
        raise Unavailable(f"the outbox {path} cannot be written: {error}") from error
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(str(verdict))
