"""Events become safe behind the cameras' backs, whatever the disk does."""

import logging
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from countline.clock import SystemClock
from countline.codec import decode
from countline.errors import Unavailable
from countline.events import CountDelta, Direction, Envelope, Heartbeat, LineCrossed, LineTotals
from edge import outbox_writer
from edge.count.counters import CountersState
from edge.outbox import Batch, Outbox
from edge.outbox_writer import OutboxWriter

SOON_S = 20.0


class Disk(Outbox):
    """An outbox on a disk that can be made slow, or full."""

    def __init__(self, path: Path) -> None:
        """Make a disk that is neither."""
        super().__init__(path / "outbox.sqlite", "site", "box", SystemClock(), 10_000_000)
        self.may_write = threading.Event()
        self.may_write.set()
        self.tries = threading.Semaphore(0)
        self.writes: list[list[tuple[str, int]]] = []
        self.is_full = False

    def append_all(self, batches: Sequence[Batch], counters: CountersState | None = None) -> None:
        """Write, once the disk has time and room."""
        self.tries.release()
        assert self.may_write.wait(SOON_S)
        if self.is_full:
            raise Unavailable("the disk is full")
        self.writes.append([(batch.camera, len(batch.moments)) for batch in batches])
        super().append_all(batches, counters)


def crossed(n: int) -> tuple[int, LineCrossed]:
    return n, LineCrossed("l", Direction.IN, "person", n, 0.9, LineTotals(in_=n, out=0))


def written(outbox: Outbox) -> list[Envelope]:
    events = [decode(body) for _, body in outbox.read_after(0, 100_000, 100_000_000)]
    assert all(isinstance(event, Envelope) for event in events)
    return [event for event in events if isinstance(event, Envelope)]


def test_a_slow_disk_holds_up_no_camera_and_takes_all_that_waits_at_once(tmp_path: Path):
    """While the disk is busy both cameras go on; then one transaction takes all they have said, each in its order."""
    with closing(Disk(tmp_path)) as disk:
        disk.may_write.clear()
        writer = OutboxWriter(disk)
        writer.keep("a", [crossed(1)], {"l": LineTotals(in_=1, out=0)})
        assert disk.tries.acquire(timeout=SOON_S)
        for n in range(2, 12):
            writer.keep("a", [crossed(n)], {"l": LineTotals(in_=n, out=0)})
            writer.keep("b", [(n, Heartbeat(since_ms=n - 1))])
        disk.may_write.set()
        assert disk.tries.acquire(timeout=SOON_S)
        writer.close()
        assert disk.writes[0] == [("a", 1)]
        assert sorted(disk.writes[1]) == [("a", 10), ("b", 10)]
        assert [event.at_ms for event in written(disk) if event.camera == "a"] == list(range(1, 12))
        assert disk.totals("a") == {"l": LineTotals(in_=11, out=0)}
        assert disk.totals("b") == {}


def test_totals_on_the_disk_never_run_ahead_of_the_events(tmp_path: Path):
    """A kill between two writes leaves totals that say what the written events say."""
    with closing(Disk(tmp_path)) as disk:
        disk.may_write.clear()
        writer = OutboxWriter(disk)
        writer.keep("a", [crossed(1)], {"l": LineTotals(in_=1, out=0)})
        assert disk.tries.acquire(timeout=SOON_S)
        writer.keep("a", [crossed(2)], {"l": LineTotals(in_=2, out=0)})
        seen: list[tuple[int, int]] = []
        keeper_writes = super(Disk, disk).append_all

        def note(batches: Sequence[Batch], counters: CountersState | None = None) -> None:
            keeper_writes(batches, counters)
            seen.append((len(written(disk)), disk.totals("a")["l"].in_))

        disk.append_all = note  # type: ignore[method-assign]
        disk.may_write.set()
        writer.close()
        assert (len(written(disk)), disk.totals("a")["l"].in_) == (2, 2)
        assert all(events == total for events, total in seen)


def test_a_full_disk_is_tried_again_and_nothing_changes_place(tmp_path: Path):
    """What could not be written comes before what has come since."""
    with closing(Disk(tmp_path)) as disk:
        disk.is_full = True
        writer = OutboxWriter(disk)
        writer.keep("a", [crossed(1)])
        assert disk.tries.acquire(timeout=SOON_S)
        writer.keep("a", [crossed(2)])
        assert disk.tries.acquire(timeout=SOON_S)
        disk.is_full = False
        writer.keep("a", [crossed(3)])
        assert disk.tries.acquire(timeout=SOON_S)
        writer.close()
        assert [event.at_ms for event in written(disk)] == [1, 2, 3]


def test_many_that_wait_are_folded_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Memory is bounded while the disk is full for a day; the number of crossings stays."""
    monkeypatch.setattr(outbox_writer, "MAX_PENDING", 50)
    with closing(Disk(tmp_path)) as disk:
        disk.is_full = True
        writer = OutboxWriter(disk)
        for n in range(1, 1_001):
            writer.keep("a", [crossed(n)], {"l": LineTotals(in_=n, out=0)})
        disk.is_full = False
        writer.close()
        events = [envelope.event for envelope in written(disk)]
        n = sum(event.n if isinstance(event, CountDelta) else 1 for event in events)
        assert n == 1_000
        assert len(events) <= 101
        assert disk.totals("a") == {"l": LineTotals(in_=1_000, out=0)}


def test_what_is_lost_at_the_end_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """How many crossings of which camera."""
    caplog.set_level(logging.ERROR)
    with closing(Disk(tmp_path)) as disk:
        disk.is_full = True
        writer = OutboxWriter(disk)
        writer.keep("a", [crossed(1), crossed(2)])
        writer.close()
    (said,) = [record.fields for record in caplog.records if "is lost" in record.getMessage()]  # type: ignore[attr-defined]
    assert (said["camera"], said["crossings"]) == ("a", 2)


def test_what_is_safe_is_sent(tmp_path: Path):
    """The publisher is woken after the write, never before."""
    with closing(Disk(tmp_path)) as disk:
        safe: list[int] = []
        writer = OutboxWriter(disk, lambda: safe.append(disk.last_seq))
        writer.keep("a", [crossed(1)])
        writer.close()
        assert safe == [1]
