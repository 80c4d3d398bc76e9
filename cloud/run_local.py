"""The worker of a single box: follows the journal, counts it into panes, commits them.

One rule keeps memory and file the same: cores are fed, then committed. If the commit fails, the cores have already
moved on, so they are thrown away and restored from the last commit before the same entries are fed again.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloud.config import WorkerSettings
from cloud.process import DeadEntry, DeadMessage, Effects, LogEntry, Process
from cloud.store.rows import WorkerNote
from cloud.store.schema import lock
from cloud.store.writer import Store
from cloud.windows import WindowConfig
from countline.backoff import Backoff
from countline.clock import Clock, SystemClock
from countline.codec import decode
from countline.errors import Rejected, Unavailable, UsageError
from countline.eventlog import DeadLetter, Entry, Reader
from countline.service import Stop
from countline.telemetry import Log

READER = "worker"
# How long a fresh entry may lie in the journal before it is seen; a poll costs 2 microseconds.
POLL_S = 0.02
# Entries per transaction. Larger batches are no faster, and a stop has to wait for one.
BATCH = 2_000
# How often the worker says that it is alive, and looks whether the journal is still the same file.
NOTE_EVERY_S = 2.0
# How often it tells the journal how far it has come. That needs the disk, and nothing waits for it: the journal keeps
# what was read for days.
REPORT_EVERY_S = 30.0
# A reader of the store holds a checkpoint up for milliseconds; a stop does not wait longer than this many polls.
LAST_REPORT_TRIES = 15
# The same trouble is said at most this often.
REPEAT_LOG_S = 30.0

_log = Log("cloud.worker")


class Worker:
    """One worker over open files. `step` does one batch; `run` calls it for ever."""

    def __init__(self, settings: WorkerSettings, clock: Clock) -> None:
        """Open journal and store, and restore the state of the last commit.

        Raises:
            UsageError: A file is damaged.
            Unavailable: A file cannot be opened now.
        """
        self._config = WindowConfig(settings.pane_s * 1000, int(settings.silent_after_s * 1000))
        self._clock = clock
        self._log_path = settings.log_path
        self._store = Store(Path(settings.store_path), self._config.pane_ms)
        try:
            self._process = Process.restore(self._config, self._store.load())
            with _journal(self._log_path):
                self._reader = Reader(Path(self._log_path), READER)
        except BaseException:
            self._store.close()
            raise
        self._follow_log()
        self._last_commit_ms = 0
        self._next_note_s = self._next_report_s = self._next_refusal_s = 0.0

    def close(self) -> None:
        """Close the files."""
        self._reader.close()
        self._store.close()

    def restore(self) -> None:
        """Throw the cores away and go on from the last commit."""
        self._process = Process.restore(self._config, self._store.load())
        self._follow_log()

    def step(self) -> bool:
        """Process what the journal has, at most one batch, and do what is due.

        Returns:
            Whether there may be more right away.

        Raises:
            Unavailable: Nothing was committed; call `restore` before the next step.
        """
        with _journal(self._log_path):
            if self._reader.changed() or self._is_behind:
                letters, entries = self._read()
                self._is_behind = BATCH in {len(letters), len(entries)}
                if letters:
                    self._commit(self._process.bury([_buried(letter) for letter in letters]))
                if entries:
                    self._commit(self._process.feed(_decoded(entries), entries[-1].id))
                if not letters and not entries:
                    self._check_end()
            now_ms = self._clock.now_ms()
            due_ms = self._process.next_tick_ms()
            # Whoever still has a backlog to read cannot tell a silent camera from an unread one.
            if not self._is_behind and due_ms is not None and now_ms >= due_ms:
                self._commit(self._process.tick(now_ms))
            self._note()
        return self._is_behind

    def _read(self) -> tuple[list[DeadLetter], list[Entry]]:
        """Return what is next: no entry before all dead letters that were committed before it."""
        place = self._process.place
        with self._reader.moment():
            letters = self._reader.dead_after(place.dead_letter, BATCH)
            if len(letters) == BATCH:
                return letters, []
            return letters, self._reader.read_after(place.entry, BATCH)

    def _follow_log(self) -> None:
        self._is_behind = True
        if self._process.follow(self._reader.identity):
            _log.info("reading a journal from its start", path=self._log_path)

    def _reopen_if_replaced(self) -> None:
        """Go over to the journal that the gateway writes now, if it had to begin another one."""
        if self._reader.is_replaced():
            _log.warning("there is another journal at the path, going over to it", path=self._log_path)
            reader = Reader(Path(self._log_path), READER)
            self._reader.close()
            self._reader = reader
            self._follow_log()

    def _check_end(self) -> None:
        """Begin anew if the journal was put back to an earlier state: otherwise its ids never go back."""
        if 0 < self._reader.end() < self._process.position:
            _log.warning(
                "the journal ends before what was read of it, reading it from its start",
                was_at=self._process.position,
            )
            self._process.rewind()
            self._is_behind = True

    def _commit(self, effects: Effects) -> None:
        now_ms = self._clock.now_ms()
        behind = self._reader.end() - effects.place.entry if self._is_behind else 0
        self._store.commit(effects, WorkerNote(now_ms, now_ms, behind))
        self._last_commit_ms = now_ms
        self._tell_refusals(effects)

    def _tell_refusals(self, effects: Effects) -> None:
        refused = sum(change.refused for change in effects.ledger)
        if refused and self._clock.monotonic_s() >= self._next_refusal_s:
            self._next_refusal_s = self._clock.monotonic_s() + REPEAT_LOG_S
            change = next(change for change in effects.ledger if change.refused)
            _log.warning(
                "events are not counted, the ledger says which",
                events=refused,
                device=f"{change.site}/{change.device}",
                reason=", ".join(change.reasons),
            )

    def _note(self) -> None:
        if self._clock.monotonic_s() < self._next_note_s:
            return
        self._next_note_s = self._clock.monotonic_s() + NOTE_EVERY_S
        self._reopen_if_replaced()
        behind = max(0, self._reader.end() - self._process.position)
        self._store.note(WorkerNote(self._clock.now_ms(), self._last_commit_ms, behind))
        self._report()

    def _report(self) -> bool:
        """Tell the journal what it need not keep: only what not even a power cut takes from the store."""
        if self._clock.monotonic_s() < self._next_report_s or not self._store.make_durable():
            return False
        self._next_report_s = self._clock.monotonic_s() + REPORT_EVERY_S
        self._reader.report(self._process.position)
        return True

    def finish(self) -> None:
        """Report once more before the end, if the store's readers let it be made durable within a moment."""
        self._next_report_s = 0.0
        pause = threading.Event()
        with contextlib.suppress(Unavailable):
            for _ in range(LAST_REPORT_TRIES):
                if self._report():
                    return
                pause.wait(POLL_S)


@contextlib.contextmanager
def _journal(path: str) -> Iterator[None]:
    """Turn what SQLite says about the journal into one of the three kinds of trouble."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.InterfaceError) as error:
        raise Unavailable(f"the journal {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise UsageError(_damaged(path, error)) from error
    except Unavailable as error:
        cause = error.__cause__
        if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError):
            raise UsageError(_damaged(path, cause)) from error
        raise


def _damaged(path: str, error: Exception) -> str:
    return (
        f"The journal {path} is damaged ({error}): move it away and start again; "
        "agents send again what the gateway has not confirmed."
    )


def run(settings: WorkerSettings, stop: Stop, clock: Clock | None = None) -> None:
    """Follow the journal until `stop` is requested.

    Raises:
        UsageError: Another worker writes this store, or a file is damaged.
    """
    clock = clock or SystemClock()
    backoff = Backoff()
    with lock(Path(settings.store_path)):
        worker = _open(settings, stop, clock, backoff)
        if worker is None:
            return
        try:
            _log.info("worker started", store=settings.store_path)
            _follow(worker, stop, backoff)
            worker.finish()
        finally:
            worker.close()
    _log.info("worker stopped")


def _open(settings: WorkerSettings, stop: Stop, clock: Clock, backoff: Backoff) -> Worker | None:
    while not stop.is_requested():
        try:
            return Worker(settings, clock)
        except Unavailable as error:
            wait_s = backoff.next_delay_s()
            _log.warning("cannot open the files, trying again", what=error.what, wait_s=round(wait_s, 2))
            stop.wait(wait_s)
    return None


def _follow(worker: Worker, stop: Stop, backoff: Backoff) -> None:
    is_broken = False
    while not stop.is_requested():
        try:
            if is_broken:
                worker.restore()
                is_broken = False
            has_more = worker.step()
        except Unavailable as error:
            is_broken = True
            wait_s = backoff.next_delay_s()
            _log.warning("cannot commit, trying again", what=error.what, wait_s=round(wait_s, 2))
            stop.wait(wait_s)
        else:
            backoff.reset()
            if not has_more:
                stop.wait(POLL_S)


def _buried(letter: DeadLetter) -> DeadEntry | DeadMessage:
    if letter.site is None or letter.device is None or letter.epoch is None or letter.seq is None:
        return DeadMessage(letter.id, letter.reason)
    return DeadEntry(letter.id, letter.site, letter.device, letter.epoch, letter.seq)


def _decoded(entries: Sequence[Entry]) -> list[LogEntry]:
    decoded: list[LogEntry] = []
    for entry in entries:
        envelope = decode(entry.envelope)
        if isinstance(envelope, Rejected):
            # The gateway admits only what it can read, so this is a damaged journal or an older program.
            _log.error("unreadable entry in the journal, left out", id=entry.id, reason=envelope.reason)
        else:
            decoded.append(LogEntry(entry.id, entry.received_at_ms, envelope))
    return decoded
