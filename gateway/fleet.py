"""What a gateway knows about its devices: who is there, how far behind, how wrong its clock. Pure.

A device is offline when its last will says so, or when nothing has come from it for `SILENT_AFTER_MS`: a device that
is there sends heartbeats every second.
"""

from typing import NamedTuple

from msgspec import Struct

from countline.events import Envelope, Heartbeat, Presence

# Longer than a reconnect with its backoff; a last will comes much earlier.
SILENT_AFTER_MS = 60_000
# The clock is judged by heartbeats of a device that has caught up; the least delayed one of this many is nearest.
SKEW_SAMPLES = 30


class DeviceKey(NamedTuple):
    """Which device."""

    site: str
    device: str


class Device(Struct):
    """One device as the gateway sees it.

    Attributes:
        last_seen_ms: When something last came from it, by the gateway's clock; 0 if nothing has.
        is_online: Whether it is there.
        epoch: The epoch of its outbox.
        backlog: Events that it had not got confirmed, at its last heartbeat.
        skew_ms: How far its clock is ahead of ours; None until it is known. Delivery makes it look late, never early.
        duplicates: Events that came again, since the gateway started.
    """

    last_seen_ms: int = 0
    is_online: bool = False
    epoch: int = 0
    backlog: int = 0
    skew_ms: int | None = None
    duplicates: int = 0
    samples: list[int] = []


class Change(Struct, frozen=True):
    """A device has come or gone."""

    key: DeviceKey
    is_online: bool
    reason: str


class Fleet:
    """Keeps one `Device` per device, `max_devices` at most: beyond it the one seen longest ago is forgotten."""

    def __init__(self, max_devices: int) -> None:
        self._max_devices = max_devices
        self._devices: dict[DeviceKey, Device] = {}

    def feed(self, key: DeviceKey, envelope: Envelope, now_ms: int) -> list[Change]:
        """Take note of a new event."""
        device = self._seen(key, now_ms)
        device.epoch = envelope.epoch
        if isinstance(envelope.event, Heartbeat):
            device.backlog = envelope.event.backlog
            if envelope.event.backlog == 0:
                device.samples = [*device.samples[1 - SKEW_SAMPLES :], envelope.at_ms - now_ms]
                device.skew_ms = max(device.samples)
        return self._turn(key, device, is_online=True, reason="it sends events")

    def feed_duplicate(self, key: DeviceKey, now_ms: int) -> list[Change]:
        """Take note of an event that came again."""
        device = self._seen(key, now_ms)
        device.duplicates += 1
        return self._turn(key, device, is_online=True, reason="it sends events")

    def feed_presence(self, key: DeviceKey, presence: Presence, now_ms: int) -> list[Change]:
        """Take note of what a device, or its last will, says about its being there."""
        device = self._seen(key, now_ms if presence.online else None)
        return self._turn(key, device, is_online=presence.online, reason="it says so")

    def tick(self, now_ms: int) -> list[Change]:
        """Return the devices that have been silent for too long."""
        changes: list[Change] = []
        for key, device in self._devices.items():
            if device.is_online and now_ms - device.last_seen_ms >= SILENT_AFTER_MS:
                changes += self._turn(key, device, is_online=False, reason="nothing has come from it")
        return changes

    def next_tick_ms(self) -> int | None:
        """Return when the next device would be silent for too long; None if none is there."""
        return min(
            (device.last_seen_ms + SILENT_AFTER_MS for device in self._devices.values() if device.is_online),
            default=None,
        )

    def devices(self) -> dict[DeviceKey, Device]:
        """Return what is known of each device; the values stay the fleet's own."""
        return dict(self._devices)

    def _seen(self, key: DeviceKey, now_ms: int | None) -> Device:
        device = self._devices.pop(key, None) or Device()
        if len(self._devices) >= self._max_devices:
            del self._devices[next(iter(self._devices))]
        self._devices[key] = device  # Last in the dict is last seen.
        if now_ms is not None:
            device.last_seen_ms = now_ms
        return device

    @staticmethod
    def _turn(key: DeviceKey, device: Device, *, is_online: bool, reason: str) -> list[Change]:
        if device.is_online == is_online:
            return []
        device.is_online = is_online
        return [Change(key, is_online, reason)]
