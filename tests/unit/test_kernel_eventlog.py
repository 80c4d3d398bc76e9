"""The log of a single box: in order, behind a position, trimmed only when read."""

from pathlib import Path

import pytest

from countline import eventlog
from countline.errors import Unavailable


def test_a_reader_sees_what_another_connection_appends(tmp_path: Path):
    """Order, positions and limits hold; `changed` says when to look."""
    writer = eventlog.connect(tmp_path / "log")
    reader = eventlog.Reader(tmp_path / "log", "worker")
    assert reader.changed()
    assert not reader.changed()
    assert (reader.end(), reader.read_after(0)) == (0, [])
    eventlog.append(writer, 7, [b"a", b"b", b"c"])
    assert reader.changed()
    assert [entry.envelope for entry in reader.read_after(1)] == [b"b", b"c"]
    assert reader.read_after(0, limit=1) == [eventlog.Entry(1, 7, b"a")]
    assert reader.end() == 3
    reader.close()
    writer.close()


def test_nothing_goes_that_a_reader_needs_and_ids_are_never_used_again(tmp_path: Path):
    """The slowest reader holds the rest, and an emptied log goes on counting."""
    writer = eventlog.connect(tmp_path / "log", synchronous="NORMAL")
    fast, slow = (eventlog.Reader(tmp_path / "log", name) for name in ("fast", "slow"))
    eventlog.append(writer, 5, [b"a", b"b"])
    assert eventlog.trim(writer, 100) == 0
    fast.report(2)
    slow.report(1)
    assert eventlog.trim(writer, 5) == 0
    assert eventlog.trim(writer, 6) == 1
    slow.report(2)
    assert eventlog.trim(writer, 6) == 1
    eventlog.append(writer, 6, [b"c"])
    assert [entry.id for entry in fast.read_after(0)] == [3]
    for each in (fast, slow, writer):
        each.close()


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path):
    """The path is named; nothing is left open."""
    (tmp_path / "text").write_text("this is no database " * 50)
    for path in (tmp_path, tmp_path / "text"):
        with pytest.raises(Unavailable, match=str(path)):
            eventlog.connect(path)
