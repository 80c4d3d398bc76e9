"""The three kinds of trouble.

* `Rejected` is a value: a message that can never become right. It is dead-lettered with its reason, never retried.
* `Unavailable` is an exception: a dependency is down. Keep the data, back off, try again.
* `UsageError` is an exception: a person gave bad input. One sentence says what, where, and how to mend it.

Anything else is a bug: it ends the process, and a supervisor restarts it.
"""

from msgspec import Struct


class Rejected(Struct, frozen=True):
    """A message that will never be accepted.

    Attributes:
        reason: One sentence that names the field and what is wrong with it.
        raw: The bytes as received, cut to what the receiver keeps.
    """

    reason: str
    raw: bytes


class Unavailable(Exception):  # noqa: N818 - it names a state of the world, not a fault of ours
    """A dependency cannot be reached now; the caller keeps its data and tries again.

    Attributes:
        what: The dependency and what it answered.
        retry_after_s: When to try again at the earliest, if the dependency said so.
    """

    def __init__(self, what: str, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after_s = retry_after_s


class UsageError(Exception):
    """Bad input from a person. Its text is shown as it is, without a traceback."""
