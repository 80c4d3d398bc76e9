"""Keeps a camera's events until they are on the disk: what the outbox cannot take waits in memory, within a bound."""

from collections.abc import Callable, Sequence

from countline.backoff import Backoff
from countline.clock import Clock
from countline.errors import Unavailable
from countline.events import CountDelta, LineCrossed, LineTotals
from countline.telemetry import Log
from edge.count.rules import Moment
from edge.outbox import Outbox
from edge.sequence import fold

# Events that could not be written wait in memory; beyond this many they are folded, which bounds them for good.
MAX_PENDING = 2_000
# After a write that failed the next one waits, at most so long: trying with each frame would cost what counting needs.
WRITE_RETRY_CAP_S = 1.0

_log = Log("edge.keep")


class Keeper:
    """The way of one camera's events into the outbox."""

    def __init__(self, camera: str, outbox: Outbox, clock: Clock, on_kept: Callable[[], None]) -> None:
        """Take the outbox that the cameras share.

        Args:
            camera: Whose events they are.
            outbox: Where they are safe.
            clock: Says when to try again.
            on_kept: Called when events have become safe, so that they are sent.
        """
        self._camera = camera
        self._outbox = outbox
        self._clock = clock
        self._on_kept = on_kept
        self._pending: list[Moment] = []
        self._totals: dict[str, LineTotals] = outbox.totals(camera)
        self._failures = 0
        self._backoff = Backoff(base_s=0.1, cap_s=WRITE_RETRY_CAP_S)
        self._again_s = 0.0

    def keep(self, moments: Sequence[Moment], totals: dict[str, LineTotals] | None = None) -> None:
        """Put events into the outbox. If it cannot be written they wait here, and are folded when they are many.

        Args:
            moments: The events, in order.
            totals: The camera's cumulative crossings per line, these events included; None if they have not changed.
        """
        if totals is not None:
            self._totals = totals
        self._pending += moments
        if not self._pending or self._clock.monotonic_s() < self._again_s:
            return
        try:
            self._outbox.append(self._camera, self._pending, self._totals)
        except Unavailable as error:
            self._failures += 1
            self._again_s = self._clock.monotonic_s() + self._backoff.next_delay_s()
            if self._failures == 1 or self._failures % 100 == 0:
                _log.warning(  # no traceback: a full disk is no bug
                    "events wait in memory until the outbox can be written",
                    camera=self._camera,
                    reason=error.what,
                )
            if len(self._pending) > MAX_PENDING:
                self._pending = fold(self._pending)
            return
        self._pending = []
        self._failures = 0
        self._again_s = 0.0
        self._backoff.reset()
        self._on_kept()

    def close(self) -> None:
        """Try once more at the end, with as few bytes as can be; what does not fit even then is lost, and said."""
        if not self._pending:
            return
        self._pending = fold(self._pending)
        self._again_s = 0.0
        self.keep([])
        if self._pending:
            _log.error(
                "the outbox could not be written until the end: what waited in memory is lost",
                camera=self._camera,
                crossings=_crossings(self._pending),
                events=len(self._pending),
            )


def _crossings(moments: Sequence[Moment]) -> int:
    """Return how many crossings these events tell of."""
    return sum(
        event.n if isinstance(event, CountDelta) else isinstance(event, LineCrossed) for _, event in moments
    )
