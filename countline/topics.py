"""MQTT topics, as pure string functions.

::

    countline/v1/<site>/<device>/events     device -> gateway   envelopes, QoS 1
    countline/v1/<site>/<device>/mark       gateway -> device   durable mark, QoS 1, retained
    countline/v1/<site>/<device>/status     device -> all       presence, QoS 1, retained, last will
    countline/v1/<site>/<device>/live/...   device -> all       what it sees now, QoS 0, retained
    countline/v1/<site>/<device>/cmd        a person -> device  what it is to do, QoS 1
"""

from countline.events import CONTRACT_VERSION

PREFIX = f"countline/v{CONTRACT_VERSION}"
ALL_EVENTS = f"{PREFIX}/+/+/events"
ALL_STATUS = f"{PREFIX}/+/+/status"


def events(site: str, device: str) -> str:
    """Return where a device publishes its events."""
    return f"{PREFIX}/{site}/{device}/events"


def mark(site: str, device: str) -> str:
    """Return where the gateway publishes a device's durable mark."""
    return f"{PREFIX}/{site}/{device}/mark"


def status(site: str, device: str) -> str:
    """Return where a device says that it is online, and its last will that it is not."""
    return f"{PREFIX}/{site}/{device}/status"


def live(site: str, device: str, *path: str) -> str:
    """Return where a device says what it sees now."""
    return "/".join([PREFIX, site, device, "live", *path])


def command(site: str, device: str) -> str:
    """Return where a device is told what to do."""
    return f"{PREFIX}/{site}/{device}/cmd"


def parse(topic: str) -> tuple[str, str, str] | None:
    """Return `(site, device, kind)` of one of our topics, or None for any other topic."""
    parts = topic.split("/")
    if len(parts) != 5 or f"{parts[0]}/{parts[1]}" != PREFIX:
        return None
    return parts[2], parts[3], parts[4]
