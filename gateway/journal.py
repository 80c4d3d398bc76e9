"""The gateway's durable memory: one SQLite file that holds what was admitted, and what was refused and why.

One transaction a commit: the events, the progress of their devices, the dead letters. So after a crash the marks that
were given are true, and an event is in the log exactly once. Workers read the log from their own processes
(`countline.eventlog`).
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from countline import eventlog
from countline.errors import Unavailable, UsageError
from gateway.admit import DeviceProgress, Refused
from gateway.config import JournalSettings
from gateway.fleet import DeviceKey

FILE_NAME = "journal.sqlite"
LOCK_NAME = "journal.lock"

# Dead letters beyond this go, oldest first: a device gone mad must not fill the disk.
MAX_DEAD_LETTER_BYTES = 100_000_000
# What a dead letter costs besides its payload.
DEAD_LETTER_ROW_BYTES = 200
# So many rows go in one delete, so that it never holds the file for long.
TRIM_ROWS = 10_000

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
# Ids of a log that replaces a damaged one start here times the time in ms: above any position that a worker has.
_IDS_PER_MS = 1_000
_SCHEMA_VERSION = 1
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_SCHEMA = (
    eventlog.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS devices (
    site TEXT NOT NULL,
    device TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (site, device)
) STRICT, WITHOUT ROWID;
"""
)

# How to read what from a damaged file, in order of worth, and how to write it to the new one.
_SALVAGE = (
    ("SELECT site, device, state FROM devices", "INSERT INTO devices (site, device, state) VALUES (?, ?, ?)"),
    ("SELECT name, position FROM readers", "INSERT INTO readers (name, position) VALUES (?, ?)"),
    (
        (
            "SELECT id, received_at_ms, envelope FROM log"
            " WHERE id > (SELECT COALESCE(MIN(position), 0) FROM readers) ORDER BY id"
        ),
        "INSERT INTO log (id, received_at_ms, envelope) VALUES (?, ?, ?)",
    ),
)

_progress = msgspec.json.Decoder(DeviceProgress)


class JournalInUseError(UsageError):
    """Another gateway has the journal open."""


class Batch(Struct, frozen=True):
    """What is committed together.

    Attributes:
        received_at_ms: When it came.
        envelopes: New events, as received, in order.
        devices: The progress of each device that it touches.
        refused: For the dead letters.
    """

    received_at_ms: int
    envelopes: Sequence[bytes]
    devices: Mapping[DeviceKey, DeviceProgress]
    refused: Sequence[Refused] = ()


class Trimmed(Struct, frozen=True):
    """What a trim has deleted."""

    entries: int = 0
    dead_letters: int = 0


class Journal:
    """The journal of one gateway process. Calls block; one thread at a time may make them.

    Attributes:
        set_aside: Where a damaged file was moved at the start; None if there was none.
        dead_letters_dropped: Dead letters that went because there were too many, since the start.
    """

    def __init__(self, data_dir: Path, settings: JournalSettings, now_ms: int) -> None:
        """Open the journal in `data_dir`, or make one. A damaged file is set aside and a new one begun.

        Args:
            data_dir: The gateway's folder; it is made if it is missing.
            settings: How long to keep what.
            now_ms: The time.

        Raises:
            JournalInUseError: Another gateway uses it.
            UsageError: It cannot be written.
        """
        self._path = data_dir / FILE_NAME
        self._settings = settings
        self.set_aside: Path | None = None
        self.dead_letters_dropped = 0
        self._lock = _lock(data_dir)
        try:
            self._connection = self._open(now_ms)
            self._dead_bytes = self._count_dead_bytes()
        except BaseException:
            os.close(self._lock)
            raise

    def devices(self) -> dict[DeviceKey, DeviceProgress]:
        """Return the progress of all known devices."""
        rows = self._connection.execute("SELECT site, device, state FROM devices").fetchall()
        return {DeviceKey(site, device): _progress.decode(state) for site, device, state in rows}

    def commit(self, batch: Batch) -> None:
        """Make a batch durable: all of it, or nothing.

        Raises:
            Unavailable: The disk is full, gone, or not writable. Nothing was written.
            sqlite3.DatabaseError: The file is damaged.
        """
        dead_bytes = self._dead_bytes
        dropped = 0
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            eventlog.append(self._connection, batch.received_at_ms, batch.envelopes)
            self._connection.executemany(
                "INSERT INTO devices (site, device, state) VALUES (?, ?, ?)"
                " ON CONFLICT (site, device) DO UPDATE SET state = excluded.state",
                ((*key, msgspec.json.encode(progress)) for key, progress in batch.devices.items()),
            )
            dead_bytes += self._bury(batch)
            if dead_bytes > MAX_DEAD_LETTER_BYTES:
                dropped = self._drop_oldest(dead_bytes - MAX_DEAD_LETTER_BYTES * 9 // 10)
                dead_bytes = self._count_dead_bytes()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if _is_damage(error):
                raise  # A restart sets the file aside; see `_open`.
            raise Unavailable(f"{self._path}: {error}") from error
        self._dead_bytes = dead_bytes
        self.dead_letters_dropped += dropped

    def trim(self, now_ms: int) -> Trimmed:
        """Delete what is old enough and what all readers have passed; at most `TRIM_ROWS` of each kind.

        Raises:
            Unavailable: The disk is full, gone, or not writable.
        """
        entries_before_ms = now_ms - round(self._settings.retention_hours * _HOUR_MS)
        letters_before_ms = now_ms - round(self._settings.dead_letter_days * _DAY_MS)
        try:
            entries = eventlog.trim(self._connection, entries_before_ms, TRIM_ROWS)
            letters = self._connection.execute(
                "DELETE FROM dead_letters WHERE id IN"
                " (SELECT id FROM dead_letters WHERE received_at_ms < ? ORDER BY id LIMIT ?)",
                (letters_before_ms, TRIM_ROWS),
            ).rowcount
            if letters:
                self._dead_bytes = self._count_dead_bytes()
        except sqlite3.Error as error:
            raise Unavailable(f"{self._path}: {error}") from error
        return Trimmed(entries, letters)

    def close(self) -> None:
        """Close the file and let another gateway have it."""
        self._connection.close()
        os.close(self._lock)

    def _bury(self, batch: Batch) -> int:
        """Insert the dead letters; return what they cost."""
        added = 0
        for refused in batch.refused:
            identity = refused.identity
            event = (*identity.key, identity.epoch, identity.seq) if identity else (None, None, None, None)
            self._connection.execute(
                "INSERT INTO dead_letters (received_at_ms, topic, reason, payload, site, device, epoch, seq)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (batch.received_at_ms, refused.topic, refused.rejected.reason, refused.rejected.raw, *event),
            )
            added += len(refused.rejected.raw) + DEAD_LETTER_ROW_BYTES
        return added

    def _drop_oldest(self, over_bytes: int) -> int:
        """Delete the oldest dead letters until `over_bytes` are gone; return how many went."""
        dropped = 0
        last_id = 0
        for row_id, size in self._connection.execute(
            "SELECT id, length(payload) FROM dead_letters ORDER BY id"
        ):
            if over_bytes <= 0:
                break
            over_bytes -= size + DEAD_LETTER_ROW_BYTES
            dropped += 1
            last_id = row_id
        self._connection.execute("DELETE FROM dead_letters WHERE id <= ?", (last_id,))
        return dropped

    def _count_dead_bytes(self) -> int:
        (size,) = self._connection.execute(
            "SELECT COALESCE(SUM(length(payload) + ?), 0) FROM dead_letters", (DEAD_LETTER_ROW_BYTES,)
        ).fetchone()
        return size

    def _roll_back(self) -> None:
        # On a full disk SQLite has rolled back by itself.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _open(self, now_ms: int) -> sqlite3.Connection:
        try:
            return self._open_checked()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise UsageError(f"The gateway cannot write its journal {self._path}: {error}.") from error
        self.set_aside = _set_aside(self._path, now_ms)
        connection = self._open_checked()
        connection.execute("BEGIN IMMEDIATE")
        _salvage(self.set_aside, connection)
        # A worker's position must never be ahead of what is still to come.
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'log'")
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('log', ?)", (now_ms * _IDS_PER_MS,)
        )
        connection.execute("COMMIT")
        return connection

    def _open_checked(self) -> sqlite3.Connection:
        synchronous = "FULL" if self._settings.survive_power_cut else "NORMAL"
        try:
            connection = eventlog.connect(self._path, synchronous=synchronous)
        except Unavailable as error:
            cause = error.__cause__
            raise cause if isinstance(cause, sqlite3.Error) else error from None
        try:
            connection.executescript(_SCHEMA)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                damage = sqlite3.DatabaseError(found)
                damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damage
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _is_damage(error: sqlite3.Error) -> bool:
    # The low byte is the error, the rest its shade.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _salvage(damaged: Path, into: sqlite3.Connection) -> None:
    """Copy what can still be read of a damaged file: the devices' progress, the readers, and what they have not read.

    Without its progress a device would wait for ever: it never sends again what it was told is safe.
    """
    source = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)
    try:
        for read, write in _SALVAGE:
            with contextlib.suppress(sqlite3.Error, msgspec.DecodeError):
                for row in source.execute(read):
                    if "devices" in read:
                        _progress.decode(row[2])
                    into.execute(write, row)
    finally:
        source.close()


def _set_aside(path: Path, now_ms: int) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{now_ms}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _lock(data_dir: Path) -> int:
    """Take the lock of the folder's journal; return its open file, which holds it until it is closed."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"The gateway cannot write to its data folder {data_dir}: {error.strerror}."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise JournalInUseError(
            f"Another gateway uses the journal in {data_dir}: stop it, or give this one its own data folder."
        ) from error
    return lock
