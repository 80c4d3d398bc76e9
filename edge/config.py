"""Settings of an edge agent: its cameras, lines, zones and detector."""

import difflib
import itertools
import re
from datetime import UTC, tzinfo
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from countline.config import MqttSettings
from countline.events import Label, Name, Point, Way
from edge.local_config import (
    DEFAULT_LINE,
    CounterSettings,
    HomeAssistantSettings,
    LiveSettings,
    Places,
    RuleSettings,
    check_local,
)

MAX_CAMERAS = 64
MAX_LINES = 256

Backend = Literal["auto", "onnxruntime", "openvino"]
Precision = Literal["f32", "bf16", "f16"]
Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino", "coreml", "xnnpack"]
ModelLayout = Literal[
    "auto", "yolov5", "yolov6", "yolov8", "yolov8-corners", "end-to-end", "yolox", "yolox-decoded", "rtdetr",
    "ultralytics-rtdetr", "ultralytics-rtdetr-list", "rfdetr",
]  # fmt: skip
# Lines of a camera with an origin-destination matrix: it has a series for each pair of them and each class.
MAX_OD_LINES = 32
# A heat-map is coarse by intention: it says where people are, not who they are.
MAX_HEAT_SIDE = 64

LIVE_KINDS = frozenset({"stream", "usb", "gstreamer"})
"""Kinds of sources that are cameras: they have no end, and their pictures are gone when nobody looks."""
DETLOG = "detlog:"
_MOT = "mot:"

if TYPE_CHECKING:
    Source = str
else:
    # In YAML a USB camera's number is a number. It is text from `CameraSettings.__post_init__` on, so code reads text.
    Source = str | Annotated[int, Meta(ge=0)]


class LineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A line to count over.

    Attributes:
        name: Unique within the camera.
        points: From A to B; two or more [x, y], in pixels, or in fractions of the picture if all are within 0 to 1.
        classes: Count only these; empty counts all that the camera detects.
        swap: Exchange in and out.
        sides: What lies on the left and on the right of A->B, such as ["street", "shop"].
        min_height: Do not count objects whose box is lower than this share of the picture's height.
        max_height: Do not count objects whose box is higher than this share; 1 is no limit.
    """

    name: Name
    points: list[Point]
    classes: list[Label] = []
    swap: bool = False
    sides: tuple[str, str] = ("", "")
    min_height: float = 0.0
    max_height: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a line that can never count."""
        if not 2 <= len(self.points) <= 64:
            raise ValueError(f"line {self.name!r} has {len(self.points)} points, 2 to 64 are allowed")
        for start, end in itertools.pairwise(self.points):
            if start == end:
                raise ValueError(
                    f"line {self.name!r} has a piece of zero length at {list(start)}: give it two different points"
                )
        _check_heights(f"line {self.name!r}", self.min_height, self.max_height)


class ZoneSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An area whose occupancy and visits are counted.

    Attributes:
        name: Unique within the camera.
        points: Its corners, three or more [x, y], in pixels or in fractions as for a line.
        classes: Count only these; empty counts all that the camera detects.
        min_height: Do not count objects whose box is lower than this share of the picture's height.
        max_height: Do not count objects whose box is higher than this share; 1 is no limit.
        max_occupancy: More than so many inside are too many; 0 is no limit.
        overcrowded_after_s: For how long there must be too many before it is said, and no longer too many before that is.
    """

    name: Name
    points: list[Point]
    classes: list[Label] = []
    min_height: float = 0.0
    max_height: float = 1.0
    max_occupancy: Annotated[int, Meta(ge=0)] = 0
    overcrowded_after_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what is no area."""
        if not 3 <= len(self.points) <= 64:
            raise ValueError(f"zone {self.name!r} has {len(self.points)} points, 3 to 64 are allowed")
        _check_heights(f"zone {self.name!r}", self.min_height, self.max_height)
        if not 0 <= self.overcrowded_after_s <= 86_400:
            raise ValueError(
                f"zone {self.name!r} has overcrowded_after_s {self.overcrowded_after_s:g}, 0 to 86400 are allowed"
            )


class GateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A gate: over one line, then over another.

    Attributes:
        name: Unique within the camera.
        from_: The line that is crossed first.
        to: The line that is crossed then; it may be the same if the directions differ.
        within_s: Who takes longer from the one to the other is not counted.
        from_direction: In which direction the first must be crossed: "in", "out" or "any".
        to_direction: In which direction the second must be crossed.
    """

    name: Name
    from_: Name = field(name="from")
    to: Name
    within_s: float = 600.0
    from_direction: Way = Way.ANY
    to_direction: Way = Way.ANY

    def __post_init__(self) -> None:
        """Refuse a gate that nobody can pass, and one that everybody passes who turns round."""
        if not 0 < self.within_s <= 86_400:
            raise ValueError(
                f"gate {self.name!r} has within_s {self.within_s:g}, more than 0 and at most 86400 are allowed"
            )
        ways = {self.from_direction, self.to_direction}
        if self.from_ == self.to and ways != {Way.IN, Way.OUT}:
            raise ValueError(
                f"gate {self.name!r} goes from line {self.to!r} to itself: give two lines, or from_direction and "
                "to_direction that are in and out"
            )


class GroundSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Four points on the ground, so that speeds can be told in metres per second.

    Attributes:
        points: The corners of a rectangle that lies on the ground, in order around it, as for a line: such as a carpet, a
            parking space, or four marks that were measured.
        size_m: Its length from the first to the second point, and from the second to the third, in metres.
    """

    points: list[Point]
    size_m: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse what is no rectangle seen in perspective. Whether it is one is judged with the points in pixels."""
        if len(self.points) != 4:
            raise ValueError(f"ground has {len(self.points)} points, exactly 4 are needed")
        if not all(0 < side <= 100_000 for side in self.size_m):
            raise ValueError(f"ground has the size {list(self.size_m)} m, both sides must be above 0")


class HeatSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The heat-map of a camera: for how long people were where.

    Attributes:
        every_s: How often it is sent; 0 sends none.
        columns: Cells side by side.
        rows: Cells one above the other.
    """

    every_s: float = 300.0
    columns: Annotated[int, Meta(ge=1, le=MAX_HEAT_SIDE)] = 32
    rows: Annotated[int, Meta(ge=1, le=MAX_HEAT_SIDE)] = 18

    def __post_init__(self) -> None:
        """Refuse an interval of nothing, and one that floods the store."""
        if self.every_s and not 10 <= self.every_s <= 86_400:
            raise ValueError(f"heat has every_s {self.every_s:g}, 10 to 86400 are allowed, or 0 for none")


class LinesFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The file that `countline count --lines` takes: the same keys as a camera's."""

    lines: list[LineSettings] = []
    zones: list[ZoneSettings] = []
    gates: list[GateSettings] = []
    od: bool = False
    ground: GroundSettings | None = None
    person_height_m: float = 0.0
    heat: HeatSettings = HeatSettings()

    def __post_init__(self) -> None:
        """Refuse two of the same name, and gates without their lines."""
        check_unique("line", [line.name for line in self.lines])
        check_unique("zone", [zone.name for zone in self.zones])
        _check_gates(self.gates, [line.name for line in self.lines], od=self.od)
        _check_person_height(self.person_height_m)


class EvidenceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a camera's picture can be counted on, and when the detector may rest.

    Attributes:
        enabled: A picture that is frozen, dark, covered or of a camera that was moved is blind time, and says why.
        frozen_s: The same picture for so long is a frozen one, seconds.
        unusable_s: Dark or covered for so long.
        moved_s: The scene beside where it was for so long.
        settle_s: A camera that was moved must stand still for so long before it is trusted again.
        motion_gate: Where nothing moves the detector rests.
        detect_every_s: However still the scene is, somebody is looked for so often.
    """

    enabled: bool = True
    frozen_s: float = 15.0
    unusable_s: float = 5.0
    moved_s: float = 8.0
    settle_s: float = 60.0
    motion_gate: bool = True
    detect_every_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse times in which nothing can be told."""
        for key in ("frozen_s", "unusable_s", "moved_s", "settle_s", "detect_every_s"):
            seconds = getattr(self, key)
            if not 0.5 <= seconds <= 3600:
                raise ValueError(f"evidence.{key} is {seconds:g}, 0.5 to 3600 seconds are allowed")


class CameraSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One camera.

    Attributes:
        name: Unique within the device.
        source: A video file; an address, rtsp://, rtsps://, http:// or https:// (MJPEG or HLS), or tcp://; a USB camera (0
            or /dev/video0); `csi:0` or `gst:PIPELINE` where OpenCV has GStreamer; a folder of pictures; `synthetic:` for a
            made-up scene; `mot:PATH` for a MOT det.txt; `detlog:PATH` for what `record` has kept, a file or a folder.
            docs/sources.md shows one of each.
        lines: What to count over. None and no zones: one line across the middle of the picture.
        zones: Areas to watch.
        gates: Passages from one line to another.
        od: Count all passages from any line to any other: an origin-destination matrix.
        ground: Where four points of the picture lie on the ground, to tell speeds.
        person_height_m: Instead of `ground`: how tall people are, such as 1.7, to tell their speeds across the picture;
            0 tells none.
        heat: For how long people were where.
        classes: What to detect.
        max_fps: Frames beyond this rate are left out; 0 takes all that the machine manages.
        loop: Begin a file again at its end.
        realtime: Play a file at its own speed, as a camera would; false is as fast as possible.
        size: Width and height of the picture, for `mot:`, which has none. A USB or CSI camera is asked for it, and the
            pictures of every camera are scaled to it: then lines in pixels hold even if the camera is set to another size.
        fps: Frame rate of a folder (0 takes 10) or `mot:` (0 takes 25); of a video only if its file does not say
            (0 takes 25); what a USB or CSI camera is asked for (0 leaves it to the camera).
        transport: How RTSP comes: "tcp", "udp", or "auto", which is TCP and then UDP. Over UDP lost packets become smears.
        record: Keep what the detector finds, without any picture, so that `countline count detlog:` can count it again over
            other lines: true keeps it in `detections/` of the data folder, a path there.
        record_max_mb: The oldest recordings are deleted beyond this.
        record_max_days: And those that are older than this.
        evidence: What the picture itself says: whether it can be counted on, and whether anything moves.
    """

    name: Name
    source: Source
    lines: list[LineSettings] = []
    zones: list[ZoneSettings] = []
    gates: list[GateSettings] = []
    od: bool = False
    ground: GroundSettings | None = None
    person_height_m: float = 0.0
    heat: HeatSettings = HeatSettings()
    classes: list[Label] = field(default_factory=lambda: ["person"])
    max_fps: float = 0.0
    loop: bool = False
    realtime: bool = True
    size: tuple[int, int] | None = None
    fps: float = 0.0
    transport: Literal["auto", "tcp", "udp"] = "auto"
    record: bool | str = False
    record_max_mb: Annotated[int, Meta(ge=1)] = 1_000
    record_max_days: Annotated[int, Meta(ge=1, le=3_650)] = 30
    evidence: EvidenceSettings = EvidenceSettings()

    def __post_init__(self) -> None:
        """Refuse what can't be counted."""
        force_setattr(self, "source", str(self.source))
        if not self.source:
            raise ValueError(f"camera {self.name!r} has no source")
        if self.transport != "auto" and not self.source.lower().startswith(("rtsp://", "rtsps://")):
            raise ValueError(f"camera {self.name!r} has a transport, which only rtsp:// has: leave it out")
        if not self.classes:
            raise ValueError(f"camera {self.name!r} detects nothing: name at least one class, such as person")
        if len(self.lines) + len(self.zones) > MAX_LINES:
            raise ValueError(f"camera {self.name!r} has more than {MAX_LINES} lines and zones")
        check_unique("line", [line.name for line in self.lines])
        check_unique("zone", [zone.name for zone in self.zones])
        _check_gates(self.gates, [line.name for line in self.lines], od=self.od)
        _check_person_height(self.person_height_m)
        for what, shapes in (("line", self.lines), ("zone", self.zones)):
            for shape in shapes:
                self._check_classes(f"{what} {shape.name!r}", shape.classes)

    def _check_classes(self, what: str, classes: list[Label]) -> None:
        """Refuse a class that the camera does not detect: it would silently count nothing."""
        for cls in classes:
            if cls not in self.classes:
                near = difflib.get_close_matches(cls, self.classes, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(
                    f"{what} counts {cls!r}, which camera {self.name!r} does not detect: {hint}It detects {', '.join(self.classes)}"
                )


class DetectorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The detector.

    Attributes:
        model: A name from `models/`, or the path of an ONNX file.
        confidence: Detections below it are dropped. Keep it low: the tracker decides what to make of weak ones.
        iou: Overlap above which two boxes of a class are one object.
        threads: For the backend; 0 fits them to the machine.
        input_size: Width and height that the picture is fitted into, multiples of 32, for models that take any;
            empty takes the model's own.
        backend: What runs the model: onnxruntime, or openvino (`pip install 'countline[openvino]'`). auto takes what
            `countline models measure` found best on this machine, and onnxruntime before that.
        precision: The numbers that openvino calculates with: f32, bf16 or f16, if the processor has them.
        provider: What onnxruntime runs on: cpu, cuda, tensorrt, openvino, coreml or xnnpack. auto takes the fastest that
            this build of it has, and says so if one does not start.
        layout: How the model's output is arranged, if it cannot be told from the model: see models/README.md.
        class_names: Names of the model's classes, by their number, if the model does not name them.
    """

    model: str = "yolo11n"
    confidence: float = 0.1
    iou: float = 0.7
    threads: int = 0
    input_size: tuple[int, int] | None = None
    backend: Backend = "auto"
    precision: Precision = "f32"
    provider: Provider = "auto"
    layout: ModelLayout = "auto"
    class_names: list[Label] = []

    def __post_init__(self) -> None:
        """Refuse thresholds that are no shares, sizes that no model takes, and numbers that a backend does not know."""
        for key, value in (("confidence", self.confidence), ("iou", self.iou)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{key} {value} is not between 0 and 1")
        if self.input_size and (min(self.input_size) < 32 or any(side % 32 for side in self.input_size)):
            raise ValueError(f"input_size {list(self.input_size)} must be multiples of 32")
        if self.precision != "f32" and self.backend != "openvino":
            raise ValueError(
                f"precision {self.precision} goes with backend openvino, not with {self.backend}"
            )


class PreviewSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Pictures for the page. Off by default: then no picture ever leaves the agent's memory.

    The agent serves them on loopback only; the API hands them on to whoever may see the page.

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
        """Refuse pictures too small to see anything on."""
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


def _check_heights(what: str, min_height: float, max_height: float) -> None:
    if not 0 <= min_height < max_height <= 1:
        raise ValueError(
            f"{what} counts boxes from min_height {min_height:g} to max_height {max_height:g}: give shares of the picture, "
            "0 to 1, the smaller one first"
        )


def _check_gates(gates: list[GateSettings], lines: list[str], *, od: bool) -> None:
    if len(gates) > MAX_LINES:
        raise ValueError(f"there are {len(gates)} gates, {MAX_LINES} are allowed")
    check_unique("gate", [gate.name for gate in gates])
    for gate in gates:
        for line in (gate.from_, gate.to):
            if line not in lines:
                near = difflib.get_close_matches(line, lines, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"gate {gate.name!r} needs the line {line!r}, which is not there{hint}")
    if od and not 2 <= len(lines) <= MAX_OD_LINES:
        raise ValueError(f"od needs 2 to {MAX_OD_LINES} lines, and there are {len(lines)}")


def _check_person_height(height_m: float) -> None:
    if height_m and not 0.2 <= height_m <= 3:
        raise ValueError(f"person_height_m is {height_m:g}: give metres, such as 1.7, or 0 to tell no speeds")


def check_unique(what: str, names: list[str]) -> None:
    """Raise ValueError if a name stands there twice."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what}s are named {name!r}: names must be unique")


def source_kind(source: str) -> str:
    """Return "video", "stream", "usb", "gstreamer", "folder", "synthetic" or "detections" for a camera's source."""
    if source.startswith("synthetic:"):
        return "synthetic"
    if source.startswith((_MOT, DETLOG)):
        return "detections"
    if source.startswith(("csi:", "gst:")):
        return "gstreamer"
    if re.match(r"(?i)(rtsp|rtsps|rtmp|http|https|udp|tcp)://", source):
        return "stream"
    if source.isdigit() or source.startswith("/dev/"):
        return "usb"
    return "folder" if not PurePath(source).suffix or source.endswith("/") else "video"


def source_path(source: str) -> str:
    """Return the file or folder that a source of recorded pictures or detections names."""
    return source.removeprefix(_MOT).removeprefix(DETLOG)
