"""The journal as the worker reads it: which one it is, what was refused in it, and all of it as of one moment."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from countline import eventlog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def opened(path: Path) -> contextlib.closing[eventlog.Reader]:
    return contextlib.closing(eventlog.Reader(path, "worker"))


def test_cloud_a_journal_has_one_identity_of_its_own(path):
    """Whoever opens a journal finds the same identity; another file has another one."""
    with opened(path) as reader, opened(path) as again, opened(path.with_name("other")) as other:
        assert len(reader.identity) == 32
        assert reader.identity == again.identity
        assert reader.identity != other.identity


def test_cloud_a_reader_sees_that_its_journal_was_replaced(path):
    """Only another file at the path counts: a file that is missing for a moment is still the same journal."""
    with opened(path) as reader:
        assert not reader.is_replaced()
        path.rename(path.with_name("aside"))
        assert not reader.is_replaced()
        with opened(path) as new:
            assert reader.is_replaced()
            assert not new.is_replaced()


def test_cloud_a_moment_holds_still(path):
    """What is committed while a reader looks is seen by its next look, not by half of this one."""
    with opened(path) as reader, contextlib.closing(eventlog.connect(path)) as writer:
        with reader.moment():
            assert reader.dead_after(0) == []
            writer.execute("BEGIN IMMEDIATE")
            eventlog.append(writer, 1, [b"a"])
            writer.execute(
                "INSERT INTO dead_letters (received_at_ms, topic, reason, payload, site, device, epoch, seq)"
                " VALUES (1, 't', 'no', x'', 'home', 'box', 5, 9), (1, 't', 'no', x'', NULL, NULL, NULL, NULL)"
            )
            writer.execute("COMMIT")
            assert (reader.read_after(0), reader.dead_after(0)) == ([], [])
        assert [entry.id for entry in reader.read_after(0)] == [1]
        nobodys = eventlog.DeadLetter(2, None, None, None, None, "no")
        assert reader.dead_after(0) == [eventlog.DeadLetter(1, "home", "box", 5, 9, "no"), nobodys]
        assert (reader.dead_after(1), reader.dead_after(2)) == ([nobodys], [])


def test_cloud_a_damaged_journal_leaves_nothing_open(path):
    """A file that breaks while its tables are made is closed again."""
    with opened(path):
        pass
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError):
        eventlog.Reader(path, "worker")
