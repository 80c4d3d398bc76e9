"""MQTT topics, as pure string functions.

::

    countline/v1/<site>/<device>/events     device -> gateway   envelopes, QoS 1
    countline/v1/<site>/<device>/mark       gateway -> device   durable mark, QoS 1, retained
    countline/v1/<site>/<device>/status     device -> all       presence, QoS 1, retained, last will
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


def parse(topic: str) -> tuple[str, str, str] | None:
    """Return `(site, device, kind)` of one of our topics, or None for any other topic."""
    parts = topic.split("/")
    if len(parts) != 5 or f"{parts[0]}/{parts[1]}" != PREFIX:
        return None
    return parts[2], parts[3], parts[4]
