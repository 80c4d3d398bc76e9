"""Which events a gateway takes: validate, compare with the topic, dedupe. Pure: it decides, the shells do.

Taking is in two steps, because what is taken and not committed must not be remembered as taken::

    feed, feed, feed ...  ->  touched()  ->  the journal commits it all  ->  commit()
                                             the journal cannot          ->  rollback()

An event that can never become right (an unknown type, a count below zero) is refused for ever, so its place in the
sequence counts as arrived: otherwise its device would keep it, and send it again, for ever. A whole batch that is
too large is refused too, but its events keep their places open: the device may cut it smaller.

A capture time far ahead of the gateway's clock is taken as it is and flagged: the event happened, only its time is
doubtful, and the time of receipt stands next to it in the journal.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct

from countline import codec, topics
from countline.dedupe import DeviceDedupe, DeviceState, EpochState, Verdict
from countline.errors import Rejected
from countline.events import Envelope, Mark, Name, Positive
from gateway.fleet import DeviceKey

# A capture time further ahead than this is a clock that is set wrong, not one that drifts.
MAX_AHEAD_MS = 86_400_000


class Identity(NamedTuple):
    """Which event."""

    key: DeviceKey
    epoch: int
    seq: int


class Accepted(Struct, frozen=True):
    """A new event.

    Attributes:
        identity: Which one.
        envelope: It.
        raw: Its JSON as received, with whatever a newer producer added.
        is_ahead: Its capture time is more than a day after its receipt.
    """

    identity: Identity
    envelope: Envelope
    raw: bytes
    is_ahead: bool = False


class Duplicate(Struct, frozen=True):
    """An event that has arrived before."""

    identity: Identity


class NotYet(Struct, frozen=True):
    """An event that is not taken now; its device will send it again."""

    identity: Identity
    reason: str


class Refused(Struct, frozen=True):
    """What can never become right.

    Attributes:
        topic: Where it came.
        rejected: Why, and its bytes.
        identity: Which event it was, if that much can be read: it counts as arrived.
    """

    topic: str
    rejected: Rejected
    identity: Identity | None = None


Outcome = Accepted | Duplicate | NotYet | Refused


class DeviceProgress(Struct, frozen=True):
    """What a gateway remembers of a device.

    Attributes:
        arrived: Which events have arrived.
        epoch: The epoch that the device sends now: that of its last event, not the largest one, for a device
            whose clock was ahead once has used a larger one.
    """

    arrived: DeviceState = DeviceState()
    epoch: int = 0


class _Claim(Struct, frozen=True):
    """As much of an envelope as says which event it is."""

    site: Name
    device: Name
    epoch: Positive
    seq: Positive


_claim = msgspec.json.Decoder(_Claim)
_raw_batch = msgspec.json.Decoder(list[msgspec.Raw])


class _Device:
    """A working copy of one device's progress."""

    def __init__(self, progress: DeviceProgress) -> None:
        self.dedupe = DeviceDedupe.restore(progress.arrived)
        self.epoch = progress.epoch

    def feed(self, epoch: int, seq: int) -> Verdict:
        verdict = self.dedupe.feed(epoch, seq)
        self.epoch = epoch
        return verdict

    def progress(self) -> DeviceProgress:
        return DeviceProgress(self.dedupe.snapshot(), self.epoch)


class Admission:
    """Decides about each message of a gateway, and remembers what has arrived of each device.

    Its state is bounded by `max_devices` times the bound of `countline.dedupe`.
    """

    def __init__(
        self,
        max_devices: int,
        max_message_bytes: int,
        progress: Mapping[DeviceKey, DeviceProgress] | None = None,
    ) -> None:
        """Go on from what the journal remembers.

        Args:
            max_devices: Events of devices beyond this number are not taken.
            max_message_bytes: Larger messages are refused.
            progress: What is known of each device.
        """
        self._max_devices = max_devices
        self._max_message_bytes = max_message_bytes
        self._committed: dict[DeviceKey, DeviceProgress] = dict(progress or {})
        self._working: dict[DeviceKey, _Device] = {}

    def feed(self, topic: str, payload: bytes, now_ms: int) -> list[Outcome]:
        """Judge one message of an events topic, event by event, in order.

        Args:
            topic: Where it was published. A device may only speak for itself.
            payload: Its bytes.
            now_ms: When it was received.
        """
        parsed = topics.parse(topic)
        if parsed is None or parsed[2] != "events":
            raw = payload[: codec.MAX_REJECTED_BYTES]
            return [Refused(topic, Rejected(f"the topic {topic!r} is not one for events", raw))]
        key = DeviceKey(parsed[0], parsed[1])
        entries = codec.decode_message(payload, self._max_message_bytes)
        raws = _raws(payload, entries)
        return [self._judge(topic, key, entry, raw, now_ms) for entry, raw in zip(entries, raws, strict=True)]

    def _judge(
        self, topic: str, key: DeviceKey, entry: Envelope | Rejected, raw: bytes, now_ms: int
    ) -> Outcome:
        if isinstance(entry, Rejected):
            identity = _claimed(raw, key)
            return (
                Refused(topic, entry)
                if identity is None
                else self._take(identity) or Refused(topic, entry, identity)
            )
        if (entry.site, entry.device) != key:
            reason = f"{entry.site}/{entry.device} speaks on the topic of {key.site}/{key.device}"
            return Refused(topic, Rejected(reason, raw[: codec.MAX_REJECTED_BYTES]))
        identity = Identity(key, entry.epoch, entry.seq)
        is_ahead = entry.at_ms > now_ms + MAX_AHEAD_MS
        return self._take(identity) or Accepted(identity, entry, raw, is_ahead=is_ahead)

    def _take(self, identity: Identity) -> Duplicate | NotYet | None:
        """Note an event as arrived; return why it is not new, or None if it is."""
        device = self._device(identity.key)
        if device is None:
            return NotYet(identity, f"{self._max_devices} devices are known already, no more are taken")
        verdict = device.feed(identity.epoch, identity.seq)
        if verdict is Verdict.DUPLICATE:
            return Duplicate(identity)
        return NotYet(identity, "too many gaps before it") if verdict is Verdict.NOT_YET else None

    def adopt(self, key: DeviceKey, mark: Mark) -> bool:
        """Take over a mark that this gateway gave before it lost its journal.

        The device has let go of everything up to there and will never send it again. Without this, its mark
        could never move on.

        Returns:
            True if it says more than is known; `touched` holds the device then.
        """
        # Looked up without noting the device as fed: its own mark comes back from the broker, and must not go out again.
        if self._mark_of(key, mark.epoch) >= mark.seq:
            return False
        device = self._device(key)
        if device is None:
            return False
        device.dedupe = DeviceDedupe.restore(_raised(device.dedupe.snapshot(), mark))
        device.epoch = device.epoch or mark.epoch
        return True

    def touched(self) -> dict[DeviceKey, DeviceProgress]:
        """Return what changed since the last `commit` or `rollback`, as it is now."""
        now = {key: device.progress() for key, device in self._working.items()}
        return {key: progress for key, progress in now.items() if progress != self._committed.get(key)}

    def commit(self) -> dict[DeviceKey, Mark]:
        """Remember what was fed, for it is durable now.

        Returns:
            The mark of each device that was fed, also of one that only repeated itself: it may have missed its mark.
        """
        self._committed |= self.touched()
        fed, self._working = self._working, {}
        return {key: _mark(self._committed[key]) for key in fed}

    def rollback(self) -> None:
        """Forget what was fed since the last `commit`: it could not be made durable."""
        self._working = {}

    def marks(self) -> dict[DeviceKey, Mark]:
        """Return the durable mark of each known device."""
        return {key: _mark(progress) for key, progress in self._committed.items()}

    def snapshot(self) -> dict[DeviceKey, DeviceProgress]:
        """Return all that is remembered as durable."""
        return dict(self._committed)

    def _mark_of(self, key: DeviceKey, epoch: int) -> int:
        working = self._working.get(key)
        dedupe = (
            working.dedupe
            if working
            else DeviceDedupe.restore(self._committed.get(key, DeviceProgress()).arrived)
        )
        return dedupe.mark(epoch)

    def _device(self, key: DeviceKey) -> _Device | None:
        working = self._working.get(key)
        if working is None:
            progress = self._committed.get(key)
            if progress is None:
                new = sum(1 for other in self._working if other not in self._committed)
                if len(self._committed) + new >= self._max_devices:
                    return None
                progress = DeviceProgress()
            working = self._working[key] = _Device(progress)
        return working


def _raws(payload: bytes, entries: list[Envelope | Rejected]) -> list[bytes]:
    """Return each entry's own bytes, as received."""
    if payload.lstrip()[:1] != b"[":
        return [payload.strip()]
    if len(entries) == 1 and isinstance(entries[0], Rejected):
        # Either the array's only event, or a message that was refused whole: then it names no single event.
        parts = _parts(payload)
        return [parts[0] if len(parts) == 1 else b""]
    return _parts(payload)


def _parts(payload: bytes) -> list[bytes]:
    try:
        return [bytes(part) for part in _raw_batch.decode(payload)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def _claimed(raw: bytes, key: DeviceKey) -> Identity | None:
    """Return which event of the topic's own device a refused one says it is."""
    try:
        claim = _claim.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Identity(key, claim.epoch, claim.seq) if (claim.site, claim.device) == key else None


def _mark(progress: DeviceProgress) -> Mark:
    return Mark(progress.epoch, DeviceDedupe.restore(progress.arrived).mark(progress.epoch))


def _raised(state: DeviceState, mark: Mark) -> DeviceState:
    """Return `state` with everything of the mark's epoch up to the mark arrived."""
    dedupe = DeviceDedupe.restore(state)
    if mark.epoch not in {epoch.epoch for epoch in state.epochs}:
        dedupe.feed(mark.epoch, mark.seq)
    epochs: list[EpochState] = []
    for epoch in dedupe.snapshot().epochs:
        if epoch.epoch == mark.epoch and epoch.contiguous < mark.seq:
            above = [(max(low, mark.seq + 1), high) for low, high in epoch.ranges if high > mark.seq]
            contiguous = mark.seq
            if above and above[0][0] == contiguous + 1:
                contiguous = above.pop(0)[1]
            epochs.append(EpochState(epoch.epoch, contiguous, tuple(above)))
        else:
            epochs.append(epoch)
    return DeviceState(tuple(epochs))
