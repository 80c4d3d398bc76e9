"""The tables of a store, and how its file is opened and locked."""

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from countline.errors import Unavailable, UsageError
from countline.eventlog import connect

SCHEMA_VERSION = 2
# What makes a store of an earlier format one of the next.
_MIGRATIONS = {1: "ALTER TABLE ledger ADD COLUMN dead_lettered INTEGER NOT NULL DEFAULT 0"}

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

SET_META = (
    "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


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
        raise UsageError(damaged(path, str(error))) from error


def damaged(path: Path, reason: str) -> str:
    """Return the sentence that says so."""
    return (
        f"The store {path} is damaged or not a store of Countline ({reason}): move it away and start again; "
        "a new one is counted from what the log still holds."
    )


def open_store(path: Path) -> sqlite3.Connection:
    """Open a store, made or brought to the newest format if need be."""
    try:
        connection = connect(path, synchronous="NORMAL")
    except Unavailable as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError) and not isinstance(
            error.__cause__, sqlite3.OperationalError
        ):
            raise UsageError(damaged(path, str(error.__cause__))) from error
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
        connection.execute(SET_META, ("schema", found))
