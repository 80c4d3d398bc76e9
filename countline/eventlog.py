"""The log of a single box: envelopes in the order in which the gateway committed them, in one SQLite file.

The gateway appends in the same transaction that remembers what it has admitted; workers read behind a position
that they keep in their own store. A reader reports its position, so that nothing it still needs is deleted.
On a fleet Apache Kafka takes this place.

A position means something in one log only. Each file has a random identity, made with its tables, and a reader keeps
it beside its position: what it finds under the same name later may be another log.
"""

import contextlib
import sqlite3
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import NamedTuple

from countline.errors import Unavailable

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at_ms INTEGER NOT NULL,
    envelope BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS readers (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at_ms INTEGER NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    payload BLOB NOT NULL,
    site TEXT,
    device TEXT,
    epoch INTEGER,
    seq INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO meta (name, value) VALUES ('identity', lower(hex(randomblob(16))));
"""


class Entry(NamedTuple):
    """One envelope of the log."""

    id: int
    received_at_ms: int
    envelope: bytes


class DeadLetter(NamedTuple):
    """What was refused for good: no reader will ever see it as an entry.

    If it says which event it was, its device counts that as delivered. Otherwise these are None.
    """

    id: int
    site: str | None
    device: str | None
    epoch: int | None
    seq: int | None
    reason: str = ""


def connect(path: Path, *, synchronous: str = "FULL") -> sqlite3.Connection:
    """Open a SQLite file the way all our files are opened: WAL, explicit transactions, patient on locks.

    Args:
        path: The file; it is made if it is missing.
        synchronous: "FULL" survives a power cut, "NORMAL" only a crash of the process.

    Raises:
        Unavailable: The file cannot be opened or is not a database.
    """
    try:
        connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise Unavailable(f"{path}: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA busy_timeout = 10000")
    except sqlite3.Error as error:
        connection.close()
        raise Unavailable(f"{path}: {error}") from error
    return connection


def append(connection: sqlite3.Connection, received_at_ms: int, envelopes: Iterable[bytes]) -> None:
    """Add envelopes to the end, within the caller's transaction."""
    connection.executemany(
        "INSERT INTO log (received_at_ms, envelope) VALUES (?, ?)",
        ((received_at_ms, envelope) for envelope in envelopes),
    )


def trim(connection: sqlite3.Connection, before_ms: int, limit: int = 10_000) -> int:
    """Delete entries that were received before `before_ms` and that every known reader has passed.

    Returns:
        How many entries went, at most `limit`, so that one call never holds the file for long.
    """
    cursor = connection.execute(
        "DELETE FROM log WHERE id IN (SELECT id FROM log WHERE received_at_ms < ?"
        " AND id <= (SELECT COALESCE(MIN(position), 0) FROM readers) ORDER BY id LIMIT ?)",
        (before_ms, limit),
    )
    return cursor.rowcount


class Reader:
    """Reads the log of another process, in order, behind a position that the caller keeps.

    Attributes:
        identity: Which log it is; another file has another one.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Open the log at `path`; `name` is the reader's, under which its position is reported.

        Raises:
            Unavailable: The file cannot be opened.
        """
        self._path = path
        self._name = name
        # Looked at first: if the file is exchanged while it is opened, that is seen later.
        before = _file_at(path)
        self._connection = connect(path, synchronous="NORMAL")
        try:
            self._connection.executescript(SCHEMA)
            (self.identity,) = self._connection.execute(
                "SELECT value FROM meta WHERE name = 'identity'"
            ).fetchone()
        except sqlite3.Error:
            self._connection.close()
            raise
        self._file = before or _file_at(path)
        self._seen_version = -1

    def is_replaced(self) -> bool:
        """Say whether there is another file at the path now; whoever asks may open that one."""
        found = _file_at(self._path)
        return found is not None and found != self._file

    def changed(self) -> bool:
        """Say whether another process has committed since the last call. Costs microseconds."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        changed = version != self._seen_version
        self._seen_version = version
        return changed

    @contextlib.contextmanager
    def moment(self) -> Generator[None, None, None]:
        """Let several questions be answered as of one moment: what was committed together is seen together."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def read_after(self, position: int, limit: int = 2_000) -> list[Entry]:
        """Return the entries after `position`, oldest first, at most `limit`."""
        rows = self._connection.execute(
            "SELECT id, received_at_ms, envelope FROM log WHERE id > ? ORDER BY id LIMIT ?", (position, limit)
        )
        return [Entry(*row) for row in rows]

    def dead_after(self, position: int, limit: int = 2_000) -> list[DeadLetter]:
        """Return the dead letters after `position`, oldest first, at most `limit`."""
        rows = self._connection.execute(
            "SELECT id, site, device, epoch, seq, reason FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?",
            (position, limit),
        )
        return [DeadLetter(*row) for row in rows]

    def end(self) -> int:
        """Return the id of the newest entry; 0 if there is none."""
        (end,) = self._connection.execute("SELECT COALESCE(MAX(id), 0) FROM log").fetchone()
        return end

    def report(self, position: int) -> None:
        """Tell the log's owner how far this reader has committed, so durably that not even a power cut undoes it."""
        self._connection.execute(
            "INSERT INTO readers (name, position) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET position = excluded.position",
            (self._name, position),
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Return which file is at the path now, by device and inode. A file that is open never shares its inode."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
