"""The outbox on a real disk: gapless numbers, whole states, bounded size."""

import itertools
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from countline import codec
from countline.clock import ManualClock
from countline.errors import Unavailable, UsageError
from countline.events import Direction, Envelope, Heartbeat, LineCrossed, LineTotals
from edge.count.rules import Moment
from edge.outbox import Outbox

MB = 1_000_000


def crossing(n: int) -> Moment:
    return 1_000 + n, LineCrossed("door", Direction.IN, "person", n, 0.9, LineTotals(in_=n, out=0))


def totals(n: int) -> dict[str, LineTotals]:
    return {"door": LineTotals(in_=n, out=0)}


def open_outbox(path: Path, clock: ManualClock | None = None, max_bytes: int = MB) -> Outbox:
    return Outbox(path, "site", "device", clock or ManualClock(), max_bytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    with closing(open_outbox(path)) as opened:
        yield opened


def waiting(outbox: Outbox) -> list[Envelope]:
    envelopes = [codec.decode(raw) for _, raw in outbox.read_after(outbox.mark, 10_000, MB)]
    assert all(isinstance(envelope, Envelope) for envelope in envelopes)
    return [envelope for envelope in envelopes if isinstance(envelope, Envelope)]


def fill(outbox: Outbox) -> None:
    for n in itertools.count(0, 50):
        outbox.append("cam", [crossing(n + i) for i in range(50)], totals(n + 50))


def test_events_are_numbered_from_one_without_a_gap_over_restarts(path: Path) -> None:
    """A restart goes on with the same epoch, the next number and the same totals."""
    with closing(open_outbox(path)) as first:
        first.append("cam", [crossing(1), crossing(2)], totals(2))
        epoch = first.epoch
    with closing(open_outbox(path, ManualClock(1_800_000_000_000))) as second:
        second.append("cam", [crossing(3)], totals(3))
        assert second.epoch == epoch
        assert [envelope.seq for envelope in waiting(second)] == [1, 2, 3]
        assert second.totals("cam") == totals(3)


def test_only_a_mark_lets_events_go(outbox: Outbox) -> None:
    """Reading takes nothing away; a mark takes exactly what it covers, and an older mark nothing."""
    outbox.append("cam", [crossing(n) for n in range(1, 11)], totals(10))
    outbox.trim(4)
    assert [envelope.seq for envelope in waiting(outbox)] == [5, 6, 7, 8, 9, 10]
    outbox.trim(2)
    assert (outbox.mark, outbox.backlog) == (4, 6)


def test_a_mark_beyond_the_last_event_does_not_skip_numbers(outbox: Outbox) -> None:
    """A mark from a lost future can't make the outbox forget events it has yet to see."""
    outbox.append("cam", [crossing(1)], totals(1))
    outbox.trim(500)
    outbox.append("cam", [crossing(2)], totals(2))
    assert [envelope.seq for envelope in waiting(outbox)] == [2]


def test_batches_are_bounded_in_events_and_bytes_but_never_empty(outbox: Outbox) -> None:
    """A batch takes what fits, and at least one event, so that the outbox always drains."""
    outbox.append("cam", [crossing(n) for n in range(1, 11)], totals(10))
    assert len(outbox.read_after(0, 3, MB)) == 3
    assert len(outbox.read_after(0, 10, 450)) == 2
    assert len(outbox.read_after(0, 10, 1)) == 1


def test_heartbeats_say_how_much_waits(outbox: Outbox) -> None:
    """The backlog travels with the heartbeat, so that an operator sees a link that is too thin."""
    outbox.append("cam", [crossing(n) for n in range(1, 6)], totals(5))
    outbox.append("cam", [(9_000, Heartbeat(since_ms=8_000))], totals(5))
    last = waiting(outbox)[-1].event
    assert isinstance(last, Heartbeat)
    assert last.backlog == 5


def test_a_full_outbox_says_so_and_keeps_its_numbers(path: Path) -> None:
    """When nothing more fits the event is refused whole; once there is room the numbers go on without a gap."""
    with closing(open_outbox(path, max_bytes=64 * 4096)) as outbox:
        with pytest.raises(Unavailable, match="full"):
            fill(outbox)
        n = outbox.last_seq
        assert n > 0
        assert n % 50 == 0
        outbox.trim(n)
        outbox.append("cam", [crossing(n + 1)], totals(n + 1))
        assert [envelope.seq for envelope in waiting(outbox)] == [n + 1]


def test_a_damaged_outbox_is_set_aside_and_a_new_epoch_begins(path: Path) -> None:
    """Counting goes on, and nothing that was there is deleted."""
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with closing(open_outbox(path, ManualClock(1_900_000_000_000))) as outbox:
        outbox.append("cam", [crossing(1)], totals(1))
        assert outbox.epoch == 1_900_000_000_000
    assert [kept.name for kept in path.parent.glob("*.damaged-*")] == ["outbox.sqlite.damaged-1900000000000"]


def test_the_outbox_of_another_device_is_not_taken_over(path: Path) -> None:
    """Events that wait carry the old name, which the gateway would refuse: one sentence says so before that."""
    open_outbox(path).close()
    with pytest.raises(UsageError, match="site/device, not of site/other"):
        Outbox(path, "site", "other", ManualClock(), MB)


def test_an_unwritable_folder_is_said_in_one_sentence(tmp_path: Path) -> None:
    """A file where the folder should be can't be written into."""
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="data folder"):
        open_outbox(tmp_path / "file" / "outbox.sqlite")


def test_kill_minus_nine_leaves_every_confirmed_event_and_matching_totals(path: Path) -> None:
    """Whatever `append` has returned for is there after SIGKILL, and the totals agree with the events."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from countline.clock import SystemClock\n"
        "from countline.events import *\n"
        "from edge.outbox import Outbox\n"
        "outbox = Outbox(Path(sys.argv[1]), 'site', 'device', SystemClock(), 10_000_000)\n"
        "n = outbox.last_seq\n"
        "while True:\n"
        "    n += 1\n"
        "    event = LineCrossed('door', Direction.IN, 'person', n, 0.9, LineTotals(in_=n, out=0))\n"
        "    outbox.append('cam', [(n, event)], {'door': LineTotals(in_=n, out=0)})\n"
        "    print(n, flush=True)\n"
    )
    confirmed = 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                confirmed = int(line)
                if confirmed % 20 == 0:
                    writer.send_signal(signal.SIGKILL)
                    break
            confirmed = max([confirmed, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        with closing(sqlite3.connect(path)) as connection:
            numbers = [seq for (seq,) in connection.execute("SELECT seq FROM outbox ORDER BY seq")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= confirmed
        with closing(open_outbox(path)) as outbox:
            assert outbox.totals("cam") == totals(len(numbers))
