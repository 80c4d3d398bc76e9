"""Makes events safe behind the cameras' backs: one thread writes them to the disk, as many at once as have come.

A disk that takes its time, as memory cards do for seconds, holds up no camera: what it has not taken waits in memory,
within a bound. Nothing is sent before it is on the disk, because the publisher reads it from there.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from countline.backoff import Backoff
from countline.errors import Unavailable
from countline.events import CountDelta, LineCrossed, LineTotals
from countline.telemetry import Log
from edge.count.counters import CountersState
from edge.count.rules import Moment
from edge.outbox import Batch, Outbox
from edge.sequence import fold

# Events of a camera that wait in memory; beyond this many they are folded, which bounds them for good.
MAX_PENDING = 2_000
# After a write that failed the next one waits, at most so long: trying with each event would cost what counting needs.
WRITE_RETRY_CAP_S = 1.0
# How long `close` waits for a disk that hangs.
CLOSE_PATIENCE_S = 5.0

_log = Log("edge.outbox_writer")


class Books(Protocol):
    """What adds events up, and is kept in one transaction with them."""

    def feed(self, camera: str, moments: Sequence[Moment]) -> list[Moment]:
        """Take a camera's events; return them with what they lead to."""
        ...

    def settle(self) -> tuple[str, list[Moment]]:
        """Return what is due though no camera has said anything, and which camera it goes with."""
        ...

    def state(self) -> CountersState | None:
        """Return what all events so far add up to: the same object if that has not changed."""
        ...


class OutboxWriter:
    """The way of all cameras' events into the outbox. Safe to use from several threads."""

    def __init__(
        self, outbox: Outbox, on_kept: Callable[[], None] = lambda: None, books: Books | None = None
    ) -> None:
        """Take the outbox, and begin to wait for events.

        Args:
            outbox: Where they are safe.
            on_kept: Called when events have become safe, so that they are sent.
            books: Add them up.
        """
        self._outbox = outbox
        self._books = books
        self._on_kept = on_kept
        self._changed = threading.Condition()
        self._pending: dict[str, Batch] = {}
        self._is_closing = False
        self._failures = 0
        self._backoff = Backoff(base_s=0.1, cap_s=WRITE_RETRY_CAP_S)
        self._thread = threading.Thread(target=self._run, name="keep", daemon=True)
        self._thread.start()

    def totals(self, camera: str) -> dict[str, LineTotals]:
        """Return the cumulative crossings per line of a camera, as of the last event that is safe."""
        return self._outbox.totals(camera)

    def keep(
        self, camera: str, moments: Sequence[Moment], totals: dict[str, LineTotals] | None = None
    ) -> None:
        """Make events safe soon. Never waits for the disk.

        Args:
            camera: Whose they are.
            moments: The events, in order.
            totals: The camera's cumulative crossings per line, these events included; None if they have not changed.
        """
        if not moments:
            return
        with self._changed:
            told = self._books.feed(camera, moments) if self._books else list(moments)
            self._add(Batch(camera, told, totals))

    def settle(self) -> None:
        """Make safe what is due in the books though no camera has said anything."""
        if self._books:
            with self._changed:
                camera, moments = self._books.settle()
                if moments:
                    self._add(Batch(camera, moments))

    def _add(self, batch: Batch) -> None:
        self._pending[batch.camera] = _joined(self._pending.get(batch.camera), batch)
        self._changed.notify_all()

    def close(self) -> None:
        """Try once more at the end, with as few bytes as can be; what does not fit even then is lost, and said."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_PATIENCE_S)
        with self._changed:
            for batch in self._pending.values():
                _log.error(
                    "the outbox could not be written until the end: what waited in memory is lost",
                    camera=batch.camera,
                    crossings=_crossings(batch.moments),
                    events=len(batch.moments),
                )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closing)
                is_last = self._is_closing
                batches, self._pending = list(self._pending.values()), {}
                # Under the same lock: the books hold these events, and none that is not among them.
                counters = self._books.state() if self._books else None
            if is_last:
                self._put_back([batch for batch in batches if not self._write_last(batch, counters)])
                return
            if not self._write(batches, counters):
                self._put_back(batches)
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closing, timeout=self._backoff.next_delay_s())

    def _write_last(self, batch: Batch, counters: CountersState | None) -> bool:
        folded = replace(batch, moments=fold(batch.moments))
        return self._write([batch], counters) or self._write([folded], counters)

    def _write(self, batches: Sequence[Batch], counters: CountersState | None) -> bool:
        try:
            self._outbox.append_all(batches, counters)
        except Unavailable as error:
            self._failures += 1
            if self._failures == 1 or self._failures % 100 == 0:
                _log.warning(  # no traceback: a full disk is no bug
                    "events wait in memory until the outbox can be written",
                    cameras=[batch.camera for batch in batches],
                    reason=error.what,
                )
            return False
        self._failures = 0
        self._backoff.reset()
        self._on_kept()
        return True

    def _put_back(self, batches: Sequence[Batch]) -> None:
        """Let events wait again, before those that have come since."""
        with self._changed:
            for batch in batches:
                self._pending[batch.camera] = _joined(batch, self._pending.get(batch.camera))


def _joined(first: Batch | None, then: Batch | None) -> Batch:
    """Return both, folded if they are many."""
    if first is None or then is None:
        both = first or then
        assert both is not None
        return both
    moments = [*first.moments, *then.moments]
    totals = first.totals if then.totals is None else then.totals
    return Batch(first.camera, fold(moments) if len(moments) > MAX_PENDING else moments, totals)


def _crossings(moments: Sequence[Moment]) -> int:
    """Return how many crossings these events tell of."""
    return sum(
        event.n if isinstance(event, CountDelta) else isinstance(event, LineCrossed) for _, event in moments
    )
