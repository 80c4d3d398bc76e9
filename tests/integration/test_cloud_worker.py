"""The worker over real files: one transaction per batch, kills, restarts, damage, a full disk."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from cloud import run_local
from cloud.config import WorkerSettings
from cloud.process import Process
from cloud.run_local import Worker
from cloud.store.reader import StoreReader
from cloud.store.rows import WorkerNote
from cloud.store.schema import lock
from cloud.store.writer import MAX_REASONS, Store
from cloud.windows import WindowConfig
from countline import eventlog
from countline.clock import ManualClock, SystemClock
from countline.codec import encode
from countline.errors import Rejected, Unavailable, UsageError
from countline.eventlog import Reader
from countline.events import Envelope
from countline.service import Stop
from gateway.admit import Accepted, Admission, Duplicate, Refused
from gateway.config import JournalSettings
from gateway.journal import Batch, Journal
from tests import seed

TABLES = ("panes", "counts", "zone_panes", "ledger", "devices")
PROGRAM = """
import sys
import msgspec
from cloud import run_local
from cloud.config import WorkerSettings
from countline.service import Stop
run_local.BATCH = 7
run_local.run(msgspec.json.decode(sys.argv[1], type=WorkerSettings), Stop())
"""


def contents(path: Path) -> dict[str, list]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in TABLES
        }


def position(path: Path) -> int:
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        try:
            row = connection.execute("SELECT value FROM meta WHERE name = 'position'").fetchone()
        except sqlite3.OperationalError:
            return 0
    return row[0] if row else 0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(seed.START_MS + 3_600_000)


@pytest.fixture
def worker_settings(tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(
        str(tmp_path / "journal.sqlite"), str(tmp_path / "store.sqlite"), silent_after_s=1e9
    )


def backlog() -> list:
    """Return ten minutes, of which a part arrives after its panes have left memory."""
    device = seed.Device()
    said = list(device.minutes(0, 10))
    late = said[20:40]
    return said[:20] + said[40:] + late


def drain(worker_settings: WorkerSettings, clock) -> None:
    with contextlib.closing(Worker(worker_settings, clock)) as worker:
        while worker.step():
            pass


def test_cloud_worker_killed_at_any_point_converges(tmp_path, worker_settings, clock):
    """A worker that is killed again and again ends with exactly the panes of one that ran through."""
    said = backlog()
    seed.fill_journal(Path(worker_settings.log_path), said)
    killed = msgspec.structs.replace(worker_settings, store_path=str(tmp_path / "killed.sqlite"))
    command = [sys.executable, "-c", PROGRAM, msgspec.json.encode(killed).decode()]
    rng = random.Random(1)
    store = Path(killed.store_path)
    kills = 0
    while position(store) < len(said):
        before = position(store)
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}) as process:
            goal = min(len(said), before + rng.randint(1, 150))
            while position(store) < goal and process.poll() is None:
                pass
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        kills += 1
    drain(worker_settings, clock)
    assert kills >= 3
    assert contents(store) == contents(Path(worker_settings.store_path))


def test_cloud_worker_counts_every_crossing_once(worker_settings, clock):
    """Crossings in the panes and in the ledger are those in the journal, though some of them came twice and late."""
    said = backlog()
    seed.fill_journal(Path(worker_settings.log_path), [*said, *said[:50]])
    drain(worker_settings, clock)
    tables = contents(Path(worker_settings.store_path))
    assert sum(row[-1] for row in tables["counts"]) == 90
    ((_, _, _, counted, duplicates, refused, crossings, contiguous, missing, _),) = tables["ledger"]
    assert (counted, duplicates, refused, crossings) == (len(said), 50, 0, 90)
    assert (contiguous, missing) == (len(said), b"[]")


def test_cloud_ledger_tells_why_events_were_refused(monkeypatch, worker_settings, clock):
    """Reasons add up over batches, and the sum of counted and refused is all that came."""
    monkeypatch.setattr("cloud.process.MAX_CAMERAS_PER_DEVICE", 1)
    device, other = seed.Device(), seed.Device(camera="another")
    for _ in range(2):
        said = [device.crossed(seed.START_MS)]
        other.seq = device.seq
        said += [other.crossed(seed.START_MS), other.crossed(seed.START_MS)]
        device.seq = other.seq
        seed.fill_journal(Path(worker_settings.log_path), said)
        drain(worker_settings, clock)
    with contextlib.closing(StoreReader(Path(worker_settings.store_path))) as reader:
        (account,) = reader.ledger()
        assert next(iter(reader.cameras().values())).camera == "entrance"
    assert (account.counted, account.refused, account.contiguous) == (2, 4, 6)
    assert account.reasons == {"too many cameras": 4}


@pytest.mark.parametrize("batch", [1, 7, 33])
def test_cloud_store_is_the_same_for_any_batching(tmp_path, batch):
    """Differences that the store adds give what memory would have given."""
    said = backlog()
    entries = [seed.LogEntry(i, e.at_ms + 50, e) for i, e in enumerate(said, start=1)]
    config = WindowConfig()
    found = []
    for size in (batch, len(entries)):
        path = tmp_path / f"{size}.sqlite"
        with contextlib.closing(Store(path, config.pane_ms)) as store:
            for low in range(0, len(entries), size):
                process = Process.restore(config, store.load())
                part = entries[low : low + size]
                store.commit(process.feed(part, part[-1].id), WorkerNote())
        found.append(contents(path))
    assert found[0]["counts"] == found[1]["counts"]
    assert found[0]["zone_panes"] == found[1]["zone_panes"]
    assert found[0]["panes"] == found[1]["panes"]


def test_cloud_worker_goes_on_after_a_full_disk(worker_settings, clock):
    """When the disk is full nothing is half done; with room again the totals are right."""
    said = backlog()
    seed.fill_journal(Path(worker_settings.log_path), said)
    with contextlib.closing(Worker(worker_settings, clock)) as worker:
        connection = worker._store._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(Unavailable, match="full"):
            worker.step()
        assert position(Path(worker_settings.store_path)) == 0
        connection.execute("PRAGMA max_page_count = 1000000")
        worker.restore()
        worker.step()
    assert sum(row[-1] for row in contents(Path(worker_settings.store_path))["counts"]) == 90


def test_cloud_worker_marks_a_silent_camera(worker_settings):
    """A camera that says nothing is offline for readers, without a new event in the journal."""
    settings = msgspec.structs.replace(worker_settings, silent_after_s=15.0)
    seed.fill_journal(Path(settings.log_path), seed.Device().minutes(0, 1))
    clock = ManualClock(seed.START_MS + 60_000)
    with contextlib.closing(Worker(settings, clock)) as worker:
        worker.step()
        clock.advance_ms(16_000)
        worker.step()
    with contextlib.closing(StoreReader(Path(settings.store_path))) as reader:
        (view,) = reader.cameras().values()
        assert view.state == "offline"
        assert reader.note().behind == 0


def test_cloud_worker_stops_and_reports_its_position(worker_settings):
    """A stop ends the worker, and the journal knows how far it came."""
    said = backlog()
    seed.fill_journal(Path(worker_settings.log_path), said)
    stop = Stop()
    thread = threading.Thread(target=run_local.run, args=(worker_settings, stop, SystemClock()))
    thread.start()
    while position(Path(worker_settings.store_path)) < len(said):
        pass
    stop.request()
    thread.join(10)
    assert not thread.is_alive()
    with contextlib.closing(sqlite3.connect(worker_settings.log_path)) as connection:
        (name, _) = connection.execute("SELECT name, position FROM readers").fetchone()
    assert name == run_local.READER


def test_cloud_store_has_one_writer(worker_settings):
    """A second worker on the same store is refused with a sentence."""
    path = Path(worker_settings.store_path)
    with lock(path), pytest.raises(UsageError, match="Another worker"):
        run_local.run(worker_settings, Stop())


def test_cloud_store_damaged_is_said_in_a_sentence(tmp_path, worker_settings, clock):
    """A file that is no database, or panes of another length, is told with what to do."""
    Path(worker_settings.store_path).write_bytes(b"not a database" * 1000)
    with pytest.raises(UsageError, match="damaged"):
        Worker(worker_settings, clock)
    good = msgspec.structs.replace(worker_settings, store_path=str(tmp_path / "good.sqlite"))
    drain(good, clock)
    with pytest.raises(UsageError, match="pane_s: 10"):
        Worker(msgspec.structs.replace(good, pane_s=60), clock)


@pytest.mark.parametrize("repeated", [3, 10_000])
def test_cloud_worker_reads_a_new_journal_from_its_start(worker_settings, clock, repeated):
    """A journal that was deleted and made anew, shorter or longer, is read from its start, and nothing counted twice."""
    said = backlog()
    log = Path(worker_settings.log_path)
    seed.fill_journal(log, said)
    drain(worker_settings, clock)
    log.unlink()
    device = seed.Device(seq=len(said))
    again = [device.crossed(seed.START_MS), *said[-repeated:], device.crossed(seed.START_MS)]
    seed.fill_journal(log, again)
    drain(worker_settings, clock)
    tables = contents(Path(worker_settings.store_path))
    assert sum(row[-1] for row in tables["counts"]) == 92
    assert tables["ledger"][0][4] == min(repeated, len(said))


def test_cloud_worker_goes_over_to_a_journal_that_was_replaced(worker_settings, clock):
    """A running worker notices that there is another file at the path, and goes on with that one from its start."""
    said = backlog()
    log, store = Path(worker_settings.log_path), Path(worker_settings.store_path)
    seed.fill_journal(log, said[:100])
    with contextlib.closing(Worker(worker_settings, clock)) as worker:
        while worker.step():
            pass
        log.rename(log.with_name("aside"))
        seed.fill_journal(log, said[90:])
        clock.advance_ms(2_001)
        worker.step()
        while worker.step():
            pass
        seed.fill_journal(log, [seed.Device(seq=len(said)).crossed(seed.START_MS)])
        worker.step()
    tables = contents(store)
    assert sum(row[-1] for row in tables["counts"]) == 91
    assert tables["ledger"][0][3:5] == (len(said) + 1, 10)


def test_cloud_worker_counts_a_salvaged_journal_once(tmp_path, worker_settings, clock):
    """When the gateway sets a damaged journal aside, the worker counts what was salvaged and what follows once each."""
    said = backlog()
    log, store = Path(worker_settings.log_path), Path(worker_settings.store_path)
    seed.fill_journal(log, said)
    with contextlib.closing(Worker(worker_settings, clock)) as worker:
        while worker.step():
            pass
        with contextlib.closing(Reader(log, run_local.READER)) as reader:
            reader.report(50)
        damage(log)
        journal = Journal(tmp_path, JournalSettings(), clock.now_ms())
        assert journal.set_aside is not None
        late = seed.Device(seq=len(said)).crossed(seed.START_MS)
        journal.commit(Batch(clock.now_ms(), [encode(late)], {}))
        journal.close()
        with contextlib.closing(Reader(log, "test")) as reader:
            salvaged = len(reader.read_after(0)) - 1
        clock.advance_ms(2_001)
        worker.step()
        while worker.step():
            pass
    tables = contents(store)
    assert 0 < salvaged < len(said)
    assert sum(row[-1] for row in tables["counts"]) == 91
    assert tables["ledger"][0][3:5] == (len(said) + 1, salvaged)


def reported(log: Path) -> int:
    with contextlib.closing(sqlite3.connect(log)) as connection:
        row = connection.execute("SELECT position FROM readers").fetchone()
    return row[0] if row else 0


def after_power_cut(store: Path, folder: Path) -> Path:
    """Return the worst that a power cut can leave of a store: the file as of its last sync, nothing of the WAL."""
    folder.mkdir()
    left = folder / store.name
    shutil.copyfile(store, left)
    return left


def test_cloud_worker_reports_only_what_outlives_a_power_cut(tmp_path, worker_settings, clock, monkeypatch):
    """The journal is told of nothing that the store could lose, so after a power cut the totals are the same."""
    monkeypatch.setattr(run_local, "BATCH", 100)
    said = backlog()
    log, store = Path(worker_settings.log_path), Path(worker_settings.store_path)
    seed.fill_journal(log, said)
    lagging = False
    with contextlib.closing(Worker(worker_settings, clock)) as worker:
        for cut in range(4):
            worker.step()
            left = after_power_cut(store, tmp_path / f"cut{cut}")
            assert reported(log) <= position(left)
            lagging |= position(left) < position(store)
            clock.advance_ms(20_000)
        assert reported(log) >= 200
        assert lagging
        with contextlib.closing(eventlog.connect(log)) as journal:
            eventlog.trim(journal, clock.now_ms())
        left = after_power_cut(store, tmp_path / "last")
        while worker.step():
            pass
    assert position(left) < len(said)
    drain(msgspec.structs.replace(worker_settings, store_path=str(left)), clock)
    assert contents(left) == contents(store)


def test_cloud_worker_waits_with_its_report_for_readers(worker_settings, clock):
    """While a reader looks at an earlier moment, not all can be carried to the disk, and nothing is reported."""
    said = backlog()
    log, store = Path(worker_settings.log_path), Path(worker_settings.store_path)
    seed.fill_journal(log, said[:50])
    with (
        contextlib.closing(Worker(worker_settings, clock)) as worker,
        contextlib.closing(StoreReader(store)) as reader,
    ):
        worker.step()
        assert reported(log) == 50
        seed.fill_journal(log, said[50:])
        with reader._snapshot() as looking:
            looking.execute("SELECT COUNT(*) FROM panes").fetchone()
            clock.advance_ms(31_000)
            worker.step()
            assert (position(store), reported(log)) == (len(said), 50)
        clock.advance_ms(2_001)
        worker.step()
        assert reported(log) == len(said)


def gateway_takes(folder: Path, payloads: list[list[bytes]], now_ms: int) -> None:
    """Admit messages and commit them, each in a transaction of its own, as the gateway does."""
    journal = Journal(folder, JournalSettings(), now_ms)
    admission = Admission(10, 1_000_000, journal.devices())
    for payload in payloads:
        outcomes = admission.feed("countline/v1/home/box/events", b"[" + b",".join(payload) + b"]", now_ms)
        assert {type(outcome) for outcome in outcomes} <= {Accepted, Refused, Duplicate}
        fresh = [outcome.raw for outcome in outcomes if isinstance(outcome, Accepted)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        journal.commit(Batch(now_ms, fresh, admission.touched(), refused))
        admission.commit()
    journal.close()


def spoilt(envelope: Envelope) -> bytes:
    """Return an event that says which one it is, and otherwise nothing that is understood."""
    return encode(envelope).replace(b'"line_crossed"', b'"line_devoured"')


def test_cloud_ledger_knows_dead_letters_from_gaps(tmp_path, worker_settings, clock):
    """What the gateway refused for good is no gap: all that arrived adds up, and only what is missing is missing."""
    device = seed.Device()
    said = [device.crossed(seed.START_MS) for _ in range(1_200)]
    raws = [spoilt(one) if one.seq % 2 else encode(one) for one in said]
    store = Path(worker_settings.store_path)
    with contextlib.closing(Worker(worker_settings, clock)) as worker:
        for first in range(0, 1_000, 100):
            gateway_takes(tmp_path, [raws[first : first + 100], raws[first : first + 1]], clock.now_ms())
            worker.step()
        gateway_takes(tmp_path, [[*raws[1_000:1_099], *raws[1_101:]]], clock.now_ms())
        while worker.step():
            pass
    with contextlib.closing(StoreReader(store)) as reader:
        (account,) = reader.ledger()
    assert (account.counted, account.crossings, account.dead_lettered) == (599, 599, 599)
    assert (account.refused, account.duplicates) == (0, 0)
    assert (account.contiguous, account.missing) == (1_099, [(1_100, 1_101)])
    gateway_takes(tmp_path, [raws[1_099:1_101]], clock.now_ms())
    drain(worker_settings, clock)
    with contextlib.closing(StoreReader(store)) as reader:
        (account,) = reader.ledger()
    assert account.contiguous == account.counted + account.dead_lettered == 1_200
    assert account.missing == []


def test_cloud_ledger_counts_dead_letters_once(tmp_path, worker_settings, clock):
    """A new journal that refuses the same events again changes nothing in the account, nor does a restart."""
    device = seed.Device()
    raws = [spoilt(device.crossed(seed.START_MS)), encode(device.crossed(seed.START_MS))]
    for _ in range(2):
        gateway_takes(tmp_path, [raws], clock.now_ms())
        drain(worker_settings, clock)
        drain(worker_settings, clock)
        Path(worker_settings.log_path).unlink()
    with contextlib.closing(StoreReader(Path(worker_settings.store_path))) as reader:
        (account,) = reader.ledger()
    assert (account.counted, account.dead_lettered, account.contiguous) == (1, 1, 2)
    assert account.duplicates == 1


def test_cloud_ledger_knows_messages_that_are_nobodys(tmp_path, worker_settings, clock):
    """What was refused and names no event of its sender is told by kind of reason, once, and in no account."""
    device = seed.Device()
    foreign = encode(device.crossed(seed.START_MS)).replace(b'"box"', b'"cellar"')
    gateway_takes(
        tmp_path, [[b"{1"], [b"   {22"], [foreign], [encode(device.crossed(seed.START_MS))]], clock.now_ms()
    )
    for _ in range(2):
        drain(worker_settings, clock)
    with contextlib.closing(StoreReader(Path(worker_settings.store_path))) as reader:
        told = reader.unattributed()
        (account,) = reader.ledger()
    assert told.pop("home/cellar speaks on the topic of home/box") == 1
    ((kind, n),) = told.items()
    assert (n, "byte N" in kind) == (2, True)
    assert (account.counted, account.dead_lettered) == (1, 0)


def test_cloud_store_tells_a_bounded_number_of_reasons(tmp_path, worker_settings, clock):
    """Whatever strangers make up, the store holds some kinds of reasons and counts the rest together."""
    refused = [Refused("t", Rejected("b" * letters, b"")) for letters in (*range(1, 51), 3, 50, 500)]
    journal = Journal(tmp_path, JournalSettings(), clock.now_ms())
    with contextlib.closing(journal), contextlib.closing(Worker(worker_settings, clock)) as worker:
        for first in range(0, len(refused), 10):
            journal.commit(Batch(clock.now_ms(), [], {}, refused[first : first + 10]))
            worker.step()
    with contextlib.closing(StoreReader(Path(worker_settings.store_path))) as reader:
        told = reader.unattributed()
    assert len(told) == MAX_REASONS + 1
    assert (told["other"], told["bbb"], sum(told.values())) == (32, 2, len(refused))


def test_cloud_store_of_the_format_before_is_taken_over(worker_settings, clock):
    """A store that was made before dead letters were told goes on with all that is in it; an unknown one is refused."""
    path = Path(worker_settings.store_path)
    seed.fill_journal(Path(worker_settings.log_path), backlog())
    drain(worker_settings, clock)
    before = contents(path)["ledger"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "ALTER TABLE ledger DROP COLUMN dead_lettered; UPDATE meta SET value = 1 WHERE name = 'schema'"
        )
    with contextlib.closing(StoreReader(path)) as reader:
        assert reader.ledger()[0].dead_lettered == 0
    assert contents(path)["ledger"] == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("UPDATE meta SET value = 99 WHERE name = 'schema'")
    with pytest.raises(UsageError, match="format 99"):
        StoreReader(path)


def damage(log: Path) -> None:
    """Overwrite a page in the middle of a journal that nobody writes; what was in its WAL is in the file before."""
    with contextlib.closing(sqlite3.connect(log)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(log.read_bytes())
    half = len(content) * 3 // 4 // 4096 * 4096
    content[half : half + 4096] = b"\xff" * 4096
    log.write_bytes(content)


def test_cloud_journal_damaged_is_said_in_a_sentence(worker_settings, clock):
    """A journal that is no database is told with what to do, and closes what was opened."""
    Path(worker_settings.log_path).write_bytes(b"not a database" * 1000)
    with pytest.raises(UsageError, match="journal"):
        Worker(worker_settings, clock)


def test_cloud_store_updates_are_read_in_order_or_not_at_all(worker_settings, clock):
    """A reader gets every commit after its position, or is told that some are gone."""
    seed.fill_journal(Path(worker_settings.log_path), backlog())
    drain(worker_settings, clock)
    path = Path(worker_settings.store_path)
    with contextlib.closing(StoreReader(path)) as reader:
        (update,) = reader.updates_after(0) or []
        assert update[0] == 1
        assert reader.updates_after(1) == []
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("INSERT INTO updates (seq, body) VALUES (9, x'7b7d')")
            connection.commit()
        assert reader.updates_after(1) is None
        assert reader.changed()
        assert not reader.changed()
