"""How long to wait before the next try: exponential, with full jitter.

Full jitter (a uniform draw between zero and the exponential bound) spreads the reconnects of many devices best;
see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

import random


def delay_s(attempt: int, share: float, base_s: float = 0.5, cap_s: float = 30.0) -> float:
    """Return the wait before try number `attempt` + 1.

    Args:
        attempt: Failed tries so far, from 0.
        share: A uniform draw from [0, 1).
        base_s: Bound of the first wait.
        cap_s: Bound that the waits grow to.
    """
    bound_s = min(cap_s, base_s * 2.0 ** min(attempt, 32))
    return share * bound_s


class Backoff:
    """Counts failed tries of one dependency and draws the waits between them."""

    def __init__(self, base_s: float = 0.5, cap_s: float = 30.0, rng: random.Random | None = None) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng or random.Random()
        self._attempt = 0

    def next_delay_s(self) -> float:
        """Return how long to wait now, and remember that one more try failed."""
        delay = delay_s(self._attempt, self._rng.random(), self._base_s, self._cap_s)
        self._attempt += 1
        return delay

    def reset(self) -> None:
        """Forget the failures: the dependency answered."""
        self._attempt = 0

    @property
    def attempts(self) -> int:
        """Failed tries since the last success."""
        return self._attempt
