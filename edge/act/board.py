"""What stands on the live topics: the latest wins, and no topic is written to more often than it may be. Pure."""

from dataclasses import dataclass

from countline import topics


@dataclass(slots=True)
class _Slot:
    payload: bytes = b""
    sent: bytes | None = None
    sent_at_ms: int | None = None


class Board:
    """The live topics of a device. Time is in ms of any clock that only goes forward."""

    def __init__(self, every_ms: int) -> None:
        """Take how long a topic rests after each message."""
        self._every_ms = every_ms
        self._slots: dict[str, _Slot] = {}

    def put(self, topic: str, payload: bytes) -> None:
        """Write on a topic. It is sent when it is due, if nothing newer was written until then."""
        self._slots.setdefault(topic, _Slot()).payload = payload

    def due(self, now_ms: int) -> list[tuple[str, bytes]]:
        """Return what has changed on topics that have rested long enough; say `sent` of each that was."""
        return [
            (topic, slot.payload)
            for topic, slot in self._slots.items()
            if slot.payload != slot.sent
            and (slot.sent_at_ms is None or now_ms - slot.sent_at_ms >= self._every_ms)
        ]

    def sent(self, topic: str, payload: bytes, now_ms: int) -> None:
        """Take note that this was sent."""
        slot = self._slots[topic]
        slot.sent, slot.sent_at_ms = payload, now_ms

    def forget(self) -> None:
        """Send all again: the broker may have lost them."""
        for slot in self._slots.values():
            slot.sent = slot.sent_at_ms = None


@dataclass(frozen=True, slots=True)
class LiveTopics:
    """Where a device says what it sees now. All are retained.

    Attributes:
        site: Of the device.
        device: Its name.
    """

    site: str
    device: str

    def camera(self, camera: str) -> str:
        """Return where a camera's state is."""
        return topics.live(self.site, self.device, camera, "state")

    def line(self, camera: str, line: str) -> str:
        """Return where a line's counts are."""
        return topics.live(self.site, self.device, camera, "line", line)

    def zone(self, camera: str, zone: str) -> str:
        """Return where a zone's occupancy is."""
        return topics.live(self.site, self.device, camera, "zone", zone)

    def counter(self, counter: str) -> str:
        """Return where a counter's value is. No camera's name begins with `_`."""
        return topics.live(self.site, self.device, "_", "counter", counter)
