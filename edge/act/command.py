"""What a device can be told to do, over its command topic. Pure. Who may tell it is up to the broker's access rules.

::

    {"counter": "shop", "set": 12}        inside are 12
    {"counter": "shop", "offset": -2}     two fewer
    {"counter": "shop", "reset": true}    zero, and what was counted begins anew
    {"snapshot": "entrance"}              a picture of this camera, if `preview.snapshot` allows it

`"id": "..."` makes sure that a command which arrives twice is done once.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from countline.errors import Rejected
from countline.events import CounterReason
from edge.count.counters import MAX_VALUE, Adjust

MAX_BYTES = 2_000
_Number = Annotated[int, Meta(ge=-MAX_VALUE, le=MAX_VALUE)]


class Snapshot(Struct, frozen=True):
    """A picture of a camera is wanted."""

    camera: str


class _Command(Struct, frozen=True, forbid_unknown_fields=True):
    counter: str = ""
    set: _Number | None = None
    offset: _Number | None = None
    reset: bool = False
    snapshot: str = ""
    id: Annotated[str, Meta(max_length=100)] = ""


def read(payload: bytes) -> Adjust | Snapshot | Rejected:
    """Read a command."""
    if len(payload) > MAX_BYTES:
        return _rejected(f"a command has at most {MAX_BYTES} bytes", payload)
    try:
        command = msgspec.json.decode(payload, type=_Command)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _rejected(str(error), payload)
    ways = [
        (CounterReason.SET, command.set),
        (CounterReason.OFFSET, command.offset),
        (CounterReason.RESET, 0 if command.reset else None),
    ]
    given = [(reason, n) for reason, n in ways if n is not None]
    if command.snapshot and not command.counter and not given:
        return Snapshot(command.snapshot)
    if not command.counter or command.snapshot or len(given) != 1:
        return _rejected(
            "a command is a `counter` with exactly one of set, offset and reset, or a `snapshot`", payload
        )
    reason, n = given[0]
    if reason is CounterReason.SET and n < 0:
        return _rejected(f"set is {n}, but nobody is less than 0 inside: set 0 or more", payload)
    return Adjust(command.counter, reason, n, command.id)


def _rejected(reason: str, payload: bytes) -> Rejected:
    return Rejected(reason, payload[:MAX_BYTES])
