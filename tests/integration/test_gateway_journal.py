"""The journal against real files: transactions, a full disk, damage, locks, trimming."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from countline import codec, eventlog
from countline.clock import ManualClock
from countline.dedupe import DeviceDedupe
from countline.errors import Rejected, Unavailable, UsageError
from gateway import journal as journal_module
from gateway.admit import DeviceProgress, Identity, Refused
from gateway.config import JournalSettings
from gateway.fleet import DeviceKey
from gateway.journal import Batch, Journal, JournalInUseError
from tests.envelopes import envelope

KEY = DeviceKey("home", "box")
NOW_MS = ManualClock().now_ms()
HOUR_MS = 3_600_000


def _batch(*seqs: int, received_at_ms: int = NOW_MS, refused: tuple[Refused, ...] = ()) -> Batch:
    dedupe = DeviceDedupe()
    for seq in range(1, max(seqs, default=0) + 1):
        dedupe.feed(5, seq)
    progress = DeviceProgress(dedupe.snapshot(), 5)
    return Batch(received_at_ms, [codec.encode(envelope(seq)) for seq in seqs], {KEY: progress}, refused)


def _refused(size: int = 3) -> Refused:
    return Refused("t", Rejected("no good", b"x" * size), Identity(KEY, 5, 9))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path, JournalSettings(), NOW_MS)
    yield opened
    opened.close()


def _read(path: Path, name: str = "test") -> list[eventlog.Entry]:
    reader = eventlog.Reader(path / "journal.sqlite", name)
    try:
        return reader.read_after(0)
    finally:
        reader.close()


def _letters(path: Path) -> list[tuple[str, str, bytes, int]]:
    connection = sqlite3.connect(path / "journal.sqlite")
    try:
        return connection.execute(
            "SELECT topic, reason, payload, seq FROM dead_letters ORDER BY id"
        ).fetchall()
    finally:
        connection.close()


def test_a_commit_holds_events_progress_and_dead_letters(tmp_path: Path):
    """A reader in another connection finds the events in order, and a restart the progress."""
    opened = Journal(tmp_path, JournalSettings(), NOW_MS)
    opened.commit(_batch(1, 2, refused=(_refused(),)))
    assert [codec.decode(entry.envelope) for entry in _read(tmp_path)] == [envelope(1), envelope(2)]
    assert _letters(tmp_path) == [("t", "no good", b"xxx", 9)]
    opened.close()
    again = Journal(tmp_path, JournalSettings(), NOW_MS)
    assert again.devices() == dict(_batch(1, 2).devices)
    again.close()


def test_a_full_disk_commits_nothing_and_recovers(journal: Journal, tmp_path: Path):
    """A batch that does not fit is refused whole; when there is room again it goes in."""
    journal.commit(_batch(1))
    (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = _batch(*range(2, 400))
    with pytest.raises(Unavailable, match="full"):
        journal.commit(big)
    assert len(_read(tmp_path)) == 1
    assert journal.devices() == dict(_batch(1).devices)
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    journal.commit(big)
    assert len(_read(tmp_path)) == 399


def test_a_second_gateway_on_the_same_folder_is_one_sentence(journal: Journal, tmp_path: Path):
    """The journal has one owner; the lock goes with it."""
    journal.commit(_batch(1))
    with pytest.raises(JournalInUseError, match="Another gateway uses the journal"):
        Journal(tmp_path, JournalSettings(), NOW_MS)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    """The folder is named in the message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to its data folder"):
        Journal(tmp_path / "file" / "gateway", JournalSettings(), NOW_MS)


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path):
    """The gateway starts anew, keeps the file, and gives ids above any that a worker may have seen."""
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all" * 500)
    opened = Journal(tmp_path, JournalSettings(), NOW_MS)
    assert opened.set_aside == tmp_path / f"journal.sqlite.damaged-{NOW_MS}"
    assert opened.set_aside.read_bytes().startswith(b"no database")
    assert opened.devices() == {}
    opened.commit(_batch(1))
    opened.close()
    assert _read(tmp_path)[0].id > NOW_MS


def test_what_can_be_read_of_a_damaged_file_is_kept(tmp_path: Path):
    """Progress, readers and unread entries outlive damage elsewhere in the file."""
    opened = Journal(tmp_path, JournalSettings(), NOW_MS)
    opened.commit(_batch(*range(1, 2_000)))
    opened.close()
    reader = eventlog.Reader(tmp_path / "journal.sqlite", "worker")
    reader.report(100)
    reader.close()
    path = tmp_path / "journal.sqlite"
    content = bytearray(path.read_bytes())
    half = len(content) * 3 // 4 // 4096 * 4096
    content[half : half + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    again = Journal(tmp_path, JournalSettings(), NOW_MS)
    assert again.set_aside is not None
    assert again.devices() == dict(_batch(*range(1, 2_000)).devices)
    again.commit(_batch(2_000))
    again.close()
    entries = _read(tmp_path)
    assert entries[0].id == 101
    assert 1_000 < len(entries) < 1_900
    assert entries[-1].id == NOW_MS * 1_000 + 1
    assert codec.decode(entries[-1].envelope) == envelope(2_000)


def test_damage_while_running_ends_the_process(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    """It is not waited out like a full disk: a restart sets the file aside."""

    def damaged(*_: object) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    monkeypatch.setattr(eventlog, "append", damaged)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        journal.commit(_batch(1))


def test_only_what_is_old_and_read_by_all_is_trimmed(journal: Journal, tmp_path: Path):
    """Age alone deletes nothing that a reader still needs."""
    late_ms = NOW_MS + 73 * HOUR_MS
    journal.commit(_batch(1, 2, 3))
    journal.commit(_batch(4, received_at_ms=late_ms))
    assert journal.trim(late_ms).entries == 0
    reader = eventlog.Reader(tmp_path / "journal.sqlite", "worker")
    reader.report(2)
    reader.close()
    assert journal.trim(NOW_MS).entries == 0
    assert journal.trim(late_ms).entries == 2
    assert [entry.id for entry in _read(tmp_path)] == [3, 4]


def test_dead_letters_go_by_age(journal: Journal, tmp_path: Path):
    """After their days they are gone."""
    journal.commit(_batch(refused=(_refused(),)))
    assert journal.trim(NOW_MS + 29 * 24 * HOUR_MS).dead_letters == 0
    assert journal.trim(NOW_MS + 31 * 24 * HOUR_MS).dead_letters == 1
    assert _letters(tmp_path) == []


def test_dead_letters_are_bounded_by_size(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A device gone mad loses its oldest dead letters, counted, and fills no disk."""
    monkeypatch.setattr(journal_module, "MAX_DEAD_LETTER_BYTES", 10_000)
    for _ in range(30):
        journal.commit(_batch(refused=(_refused(800),)))
    kept = _letters(tmp_path)
    assert len(kept) * 1_000 <= 10_000
    assert journal.dead_letters_dropped == 30 - len(kept)
