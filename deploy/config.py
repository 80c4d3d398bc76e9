"""Settings of a box: one YAML file for all parts, and what each part gets of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from cloud.config import ApiSettings, WorkerSettings
from countline.codec import MAX_MESSAGE_BYTES
from countline.config import MqttSettings, environment
from countline.errors import UsageError
from countline.events import Name
from countline.telemetry import mask
from edge.config import (
    MAX_CAMERAS,
    CameraSettings,
    DetectorSettings,
    EdgeSettings,
    LineSettings,
    PreviewSettings,
    check_bounds,
    check_names,
    check_port_number,
    check_unique,
    source_kind,
)
from edge.config.local import CounterSettings, HomeAssistantSettings, LiveSettings, RuleSettings
from gateway.config import GatewaySettings, JournalSettings

HIDDEN = "***"
_SECRET_KEYS = frozenset({"password", "token", "headers"})
_LOCALTIME = Path("/etc/localtime")
# A line or zone with more than this is drawn, not typed.
_MAX_TYPED_POINTS = 64


class BoxGateway(Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway of a box.

    Attributes:
        journal: How it keeps what it has admitted.
        max_message_bytes: Larger MQTT messages are set aside unread.
        max_devices: More devices than this are not admitted.
    """

    journal: JournalSettings = JournalSettings()
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_devices: int = 10_000


class BoxWorker(Struct, frozen=True, forbid_unknown_fields=True):
    """The worker of a box, which makes windows of the events.

    Attributes:
        pane_s: Length of the smallest window, seconds. A day is a whole number of them.
        silent_after_s: A camera that has not been heard of for so long is shown as offline.
    """

    pane_s: int = 10
    silent_after_s: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what the worker would refuse."""
        WorkerSettings(log_path="", store_path="", pane_s=self.pane_s, silent_after_s=self.silent_after_s)


class BoxApi(Struct, frozen=True, forbid_unknown_fields=True):
    """The API and page of a box.

    Attributes:
        host: What to listen on. Anything but this machine's own loopback needs a token.
        port: TCP port; 0 takes a free one.
        token: Whoever shows it may read. Better given as `COUNTLINE__API__TOKEN`.
        max_clients: Live connections at most.
    """

    host: str = "127.0.0.1"
    port: int = 8088
    token: str = ""
    max_clients: int = 1_000

    def __post_init__(self) -> None:
        """Refuse what the API would refuse."""
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port {self.port} is not a TCP port, 1 to 65535 are allowed")
        ApiSettings(
            store_path="", host=self.host, port=self.port, token=self.token, max_clients=self.max_clients
        )


class BoxBroker(Struct, frozen=True, forbid_unknown_fields=True):
    """The MQTT broker that a box runs for itself, on loopback.

    Attributes:
        prefer: "auto" takes mosquitto if it is installed, else the embedded one; or "mosquitto" or "embedded".
        port: TCP port; 0 takes a free one.
    """

    prefer: Literal["auto", "mosquitto", "embedded"] = "auto"
    port: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no port."""
        check_port_number(self.port)


class BoxSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """All that `countline up` needs; `countline edge`, `gateway`, `worker` and `api` take their part of it.

    Attributes:
        site: The place, such as a shop.
        device: This box's name, unique within the site.
        data_dir: Where everything is kept that must not be lost.
        timezone: Where "today" begins and ends, such as "Europe/Berlin"; empty takes the machine's.
        cameras: What to count.
        detector: How people and things are found in a picture.
        preview: Whether the page may show pictures.
        heartbeat_s: How often a camera says that it is watched.
        outbox_max_mb: Counts that wait for the gateway never take more than this.
        counters: How many are inside.
        rules: What the agent does at once, without a cloud.
        live: Live counts for others on the same broker.
        home_assistant: Whether Home Assistant finds them by itself.
        mqtt: The broker of `countline edge` and `countline gateway`; `countline up` runs its own.
        broker: The broker that `countline up` runs.
        gateway: What admits and keeps the events.
        worker: What makes windows of them.
        api: What serves the page.
    """

    site: Name = "home"
    device: Name = "box"
    data_dir: str = "countline-data"
    timezone: str = ""
    cameras: list[CameraSettings] = []
    detector: DetectorSettings = DetectorSettings()
    preview: PreviewSettings = PreviewSettings()
    heartbeat_s: float = 1.0
    outbox_max_mb: int = 256
    counters: list[CounterSettings] = []
    rules: list[RuleSettings] = []
    live: LiveSettings = LiveSettings()
    home_assistant: HomeAssistantSettings = HomeAssistantSettings()
    mqtt: MqttSettings = MqttSettings()
    broker: BoxBroker = BoxBroker()
    gateway: BoxGateway = BoxGateway()
    worker: BoxWorker = BoxWorker()
    api: BoxApi = BoxApi()

    def __post_init__(self) -> None:
        """Refuse two cameras of one name, too many of them, and unknown time zones."""
        if len(self.cameras) > MAX_CAMERAS:
            raise ValueError(f"cameras has {len(self.cameras)} entries, up to {MAX_CAMERAS} are allowed")
        check_unique("camera", [camera.name for camera in self.cameras])
        if self.timezone:
            ApiSettings(store_path="", timezone=self.timezone)
        check_bounds(self.heartbeat_s, self.outbox_max_mb)
        check_names(self.cameras, self.counters, self.rules)


class Paths:
    """Where a box keeps what, below its data folder."""

    def __init__(self, data_dir: str) -> None:
        """Name the files; nothing is made."""
        self.folder = Path(data_dir).expanduser().absolute()
        self.lock = self.folder / "countline.lock"
        self.parts_lock = self.folder / "parts.lock"
        self.journal = self.folder / "journal.sqlite"
        self.store = self.folder / "store.sqlite"


def edge_settings(box: BoxSettings, mqtt: MqttSettings, *, model: str, preview_port: int = 0) -> EdgeSettings:
    """Return the edge agent's part.

    Args:
        box: The whole.
        mqtt: Where to publish.
        model: The ONNX file's path.
        preview_port: Where to serve pictures, if the preview is on.

    Raises:
        UsageError: There is no camera.
    """
    if not box.cameras:
        raise UsageError(
            "There is no camera to count: give --camera SOURCE, or list one under `cameras:` in the config."
        )
    return EdgeSettings(
        site=box.site,
        device=box.device,
        data_dir=str(Paths(box.data_dir).folder),
        cameras=box.cameras,
        detector=msgspec.structs.replace(box.detector, model=model),
        mqtt=mqtt,
        preview=msgspec.structs.replace(box.preview, port=preview_port or box.preview.port),
        heartbeat_s=box.heartbeat_s,
        outbox_max_mb=box.outbox_max_mb,
        timezone=box.timezone or system_timezone(),
        counters=box.counters,
        rules=box.rules,
        live=box.live,
        home_assistant=box.home_assistant,
    )


def gateway_settings(box: BoxSettings, mqtt: MqttSettings) -> GatewaySettings:
    """Return the gateway's part; it listens at the broker `mqtt`."""
    return GatewaySettings(
        data_dir=str(Paths(box.data_dir).folder),
        mqtt=mqtt,
        journal=box.gateway.journal,
        max_message_bytes=box.gateway.max_message_bytes,
        max_devices=box.gateway.max_devices,
    )


def worker_settings(box: BoxSettings) -> WorkerSettings:
    """Return the worker's part."""
    paths = Paths(box.data_dir)
    return WorkerSettings(
        log_path=str(paths.journal),
        store_path=str(paths.store),
        pane_s=box.worker.pane_s,
        silent_after_s=box.worker.silent_after_s,
    )


def api_settings(box: BoxSettings, *, preview_port: int = 0) -> ApiSettings:
    """Return the API's part; `preview_port` is where the agent serves pictures, 0 if it does not."""
    return ApiSettings(
        store_path=str(Paths(box.data_dir).store),
        host=box.api.host,
        port=box.api.port,
        token=box.api.token,
        timezone=box.timezone or system_timezone(),
        preview_url=f"http://127.0.0.1:{preview_port}" if preview_port else "",
        page_dir=str(page_dir()),
        max_clients=box.api.max_clients,
    )


def typed_line(text: str, name: str = "line") -> LineSettings:
    """Read a line from the command line: "x1,y1,x2,y2", in pixels or in fractions of the picture.

    Raises:
        UsageError: These are not two or more points.
    """
    hint = f"--line {text!r} is not a line: give two points as x1,y1,x2,y2 (pixels, or fractions of the picture from 0 to 1)"
    try:
        numbers = [float(part) for part in text.replace(" ", "").split(",")]
    except ValueError as error:
        raise UsageError(f"{hint}.") from error
    if len(numbers) % 2 or not 4 <= len(numbers) <= 2 * _MAX_TYPED_POINTS:
        raise UsageError(f"{hint}.")
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    try:
        return msgspec.convert({"name": name, "points": points}, LineSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"--line {text!r}: {error}.") from error


def needs_model(camera: CameraSettings) -> bool:
    """Say whether the camera's pictures need a detector: a synthetic scene and recorded detections bring their own."""
    return source_kind(camera.source) not in {"synthetic", "detections"}


def system_timezone() -> str:
    """Return the machine's time zone, such as "Europe/Berlin", or "UTC" if it does not say one."""
    named = (environment("TZ") or "").removeprefix(":")
    if _is_zone(named):
        return named
    try:
        target = _LOCALTIME.resolve(strict=True).as_posix()
    except OSError:
        return "UTC"
    name = target.partition("/zoneinfo/")[2]
    for prefix in ("posix/", "right/"):
        name = name.removeprefix(prefix)
    return name if _is_zone(name) else "UTC"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # KeyError: zoneinfo's own "not found"
        return False
    return bool(name) and not name.startswith("/")


def page_dir() -> Path:
    """Return the folder of the page: beside the sources, or inside an installed package."""
    return _shipped("dashboard")


def models_dir() -> Path:
    """Return the folder of the models' descriptions: beside the sources, or inside an installed package."""
    return _shipped("models")


def _shipped(name: str) -> Path:
    here = Path(__file__).resolve().parent
    packed = here / "data" / name
    return packed if packed.is_dir() else here.parent / name


def shown(settings: Struct) -> object:
    """Return settings as plain values to print, with passwords, tokens and logins in addresses hidden."""
    return _hide(msgspec.to_builtins(settings))


def _hide(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: HIDDEN if key in _SECRET_KEYS and inner else _hide(inner) for key, inner in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_hide(inner) for inner in value]
    return mask(value) if isinstance(value, str) else value


EXAMPLE = """\
# Countline: the settings of one box. Start it with: countline up --config countline.yaml
# Every key can also be set by the environment: COUNTLINE__API__PORT=8090 sets api.port.

site: home                    # the place
device: box                   # this machine, unique within the site
data_dir: countline-data      # counts are kept here
# timezone: Europe/Berlin     # where "today" begins; the machine's own if left out

cameras:
  - name: entrance
    # A video file, rtsp:// or http://, a USB camera (0 or /dev/video0), a folder of pictures, or synthetic:
    source: rtsp://user:password@192.0.2.10/stream1
    classes: [person]
    lines:
      # From A to B, in pixels or in fractions of the picture. Someone who walks from the left hand to the right
      # hand of A->B goes in. From left to right across the picture, the left hand is above: in is downwards.
      - name: door
        points: [[0.1, 0.6], [0.9, 0.6]]
        sides: [street, shop]
        # swap: true          # exchange in and out
    zones:
      - name: lobby
        points: [[0.2, 0.6], [0.8, 0.6], [0.8, 0.95], [0.2, 0.95]]

# counters:                   # how many are inside; more of it, rules and Home Assistant: docs/local.md
#   - {name: shop, lines: [door], reset: "04:00"}

detector:
  model: yolo11n              # a name from models/, or the path of an ONNX file

preview:
  enabled: false              # true shows pictures on the page

api:
  host: 127.0.0.1             # 0.0.0.0 opens the page to the network and needs a token
  port: 8088
"""
