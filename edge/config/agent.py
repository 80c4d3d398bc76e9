"""Settings of an edge agent: all that it needs."""

from datetime import UTC, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from countline.config import MqttSettings
from countline.events import Name
from edge.config.bounds import check_bounds, check_fps, check_port_number
from edge.config.camera import CameraSettings
from edge.config.detector import DetectorSettings
from edge.config.local import (
    DEFAULT_LINE,
    CounterSettings,
    HomeAssistantSettings,
    LiveSettings,
    Places,
    RuleSettings,
    check_local,
)
from edge.config.shapes import check_unique

MAX_CAMERAS = 64


class PreviewSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Pictures for the page and for drawing lines. All is off by default: then no picture ever leaves the agent's memory.

    Pictures for the page (`enabled`) are served on loopback only; the API hands them on to whoever may see the page. A single
    one on request (`snapshot`) goes by HTTP on loopback to whoever is on this machine, and by MQTT to whoever the broker lets write to
    the agent's `.../cmd`.

    Attributes:
        enabled: Show the newest picture of each camera on the page.
        snapshot: The most that a single picture on request, for drawing lines, may show: "off" is none; "blurred" is all of it
            so coarse that nobody is told apart; "faceless" hides the upper third of everybody who is tracked, not of whoever
            was missed or has just come; "clear" hides nothing. Without a request for more it is blurred.
        port: On loopback; 0 takes a free one.
        max_fps: Pictures per second at most.
        max_width: Larger pictures are scaled down, pixels.
    """

    enabled: bool = False
    snapshot: Literal["off", "blurred", "faceless", "clear"] = "off"
    port: int = 0
    max_fps: float = 12.0
    max_width: int = 960

    def __post_init__(self) -> None:
        """Refuse pictures too small to see anything on, and numbers that are no port and no rate."""
        check_port_number(self.port)
        check_fps("max_fps is", self.max_fps)
        if self.max_width < 64:
            raise ValueError(f"max_width {self.max_width} is too small, 64 or more are allowed")


class EdgeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """All that an edge agent needs.

    Attributes:
        site: The place that the device belongs to.
        device: This agent's name, unique within the site.
        data_dir: Where its outbox lives.
        cameras: What it counts.
        detector: How it detects.
        mqtt: Where it publishes.
        preview: Whether a page may see pictures.
        heartbeat_s: How often a camera says that it is watched.
        outbox_max_mb: The outbox never grows beyond this.
        timezone: The site's, such as "Europe/Berlin": in it counters are reset.
        counters: How many are inside.
        rules: What to do at once, without a cloud.
        live: Live counts for others on the same broker.
        home_assistant: Whether Home Assistant finds them by itself.
    """

    site: Name
    device: Name
    data_dir: str
    cameras: list[CameraSettings]
    detector: DetectorSettings = DetectorSettings()
    mqtt: MqttSettings = MqttSettings()
    preview: PreviewSettings = PreviewSettings()
    heartbeat_s: float = 1.0
    outbox_max_mb: int = 256
    timezone: str = "UTC"
    counters: list[CounterSettings] = []
    rules: list[RuleSettings] = []
    live: LiveSettings = LiveSettings()
    home_assistant: HomeAssistantSettings = HomeAssistantSettings()

    def __post_init__(self) -> None:
        """Refuse two cameras of one name, none at all, and counters and rules of what is not there."""
        if not 1 <= len(self.cameras) <= MAX_CAMERAS:
            raise ValueError(f"cameras has {len(self.cameras)} entries, 1 to {MAX_CAMERAS} are allowed")
        check_unique("camera", [camera.name for camera in self.cameras])
        zone_of(self.timezone)
        check_bounds(self.heartbeat_s, self.outbox_max_mb)
        check_names(self.cameras, self.counters, self.rules)


def zone_of(name: str) -> tzinfo:
    """Return a time zone.

    Raises:
        ValueError: There is none of that name.
    """
    if name == "UTC":  # needs no data, which a slim machine may lack
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # KeyError: zoneinfo's own "not found"
        raise ValueError(f'timezone {name!r} is unknown: give one such as "Europe/Berlin"') from error


def places(cameras: list[CameraSettings], counters: list[CounterSettings]) -> Places:
    """Return the names of all lines, zones and counters of a device."""
    return Places(
        {
            camera.name: [line.name for line in camera.lines] or ([] if camera.zones else [DEFAULT_LINE])
            for camera in cameras
        },
        {camera.name: [zone.name for zone in camera.zones] for camera in cameras},
        [counter.name for counter in counters],
    )


def check_names(
    cameras: list[CameraSettings], counters: list[CounterSettings], rules: list[RuleSettings]
) -> None:
    """Refuse counters and rules that have one name, or speak of what is not there.

    Raises:
        ValueError: One sentence.
    """
    check_unique("counter", [counter.name for counter in counters])
    check_unique("rule", [rule.name for rule in rules if rule.name])
    check_local(counters, rules, places(cameras, counters))
