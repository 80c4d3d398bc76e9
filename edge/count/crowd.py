"""When a zone is too full, and when it is so no longer: both believed only after they have lasted.

::

    more than the limit      ____     ______________     ___
                        ____|    |___|              |___|   |_________________
                                     |<-- after -->B        still crowded     |<-- after -->E
                                     since_ms                                 E is dated back to here
"""

from dataclasses import dataclass

from countline.events import ZoneCrowded


@dataclass(slots=True)
class Crowding:
    """Watches how many are in one zone. Feed it at each frame, in order of time.

    Attributes:
        zone: The zone's name.
        limit: More than so many are too many.
        after_ms: How long a change must last.
    """

    zone: str
    limit: int
    after_ms: int
    _is_crowded: bool = False
    _since_ms: int = 0
    _changed_at_ms: int | None = None

    def feed(self, n: int, at_ms: int) -> list[tuple[int, ZoneCrowded]]:
        """Take how many are inside; return what is known now, if anything is: when, and what."""
        if (n > self.limit) == self._is_crowded:
            self._changed_at_ms = None
            return []
        if self._changed_at_ms is None:
            self._changed_at_ms = at_ms
        if at_ms - self._changed_at_ms < self.after_ms:
            return []
        if self._is_crowded:
            return self.finish(n, self._changed_at_ms)
        self._is_crowded, self._since_ms, self._changed_at_ms = True, self._changed_at_ms, None
        return [(at_ms, ZoneCrowded(self.zone, True, n, self.limit, self._since_ms))]

    def finish(self, n: int, at_ms: int) -> list[tuple[int, ZoneCrowded]]:
        """End it, because nobody watches any more or because it has ended."""
        if not self._is_crowded:
            return []
        self._is_crowded, self._changed_at_ms = False, None
        return [(at_ms, ZoneCrowded(self.zone, False, n, self.limit, self._since_ms))]
