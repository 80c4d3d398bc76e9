"""Evidence over time: what is believed only once it has lasted, and means that become slow ones. Pure."""


class Held:
    """Believed once its evidence has lasted, forgotten once it has been missing for a while."""

    __slots__ = ("_changed_ms", "_off_ms", "_on_ms", "is_on", "since_ms")

    def __init__(self, on_s: float, off_s: float) -> None:
        self._on_ms, self._off_ms = on_s * 1000, off_s * 1000
        self.is_on = False
        self.since_ms = 0
        self._changed_ms: int | None = None

    def feed(self, at_ms: int, *, is_there: bool) -> bool:
        """Take one look; return whether it is believed."""
        if is_there == self.is_on:
            self._changed_ms = None
            return self.is_on
        if self._changed_ms is None:
            self._changed_ms = at_ms
        if at_ms - self._changed_ms >= (self._on_ms if is_there else self._off_ms):
            self.is_on = is_there
            self.since_ms = self._changed_ms
            self._changed_ms = None
        return self.is_on

    def pause(self) -> None:
        """Forget what is pending."""
        self._changed_ms = None


class Mean:
    """A mean that becomes a slow one: all looks count alike at first, then newer ones more."""

    __slots__ = ("_seconds", "_slow_s", "value")

    def __init__(self, slow_s: float) -> None:
        self._slow_s = slow_s
        self._seconds = 0.0
        self.value = 0.0

    def feed(self, value: float, dt_s: float) -> None:
        """Take a value that has held for `dt_s` seconds."""
        self._seconds = min(self._slow_s, self._seconds + dt_s)
        self.value += (value - self.value) * (min(1.0, dt_s / self._seconds) if self._seconds else 1.0)
