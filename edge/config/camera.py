"""Settings of one camera."""

import difflib
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from countline.events import Label, Name
from edge.config.bounds import check_fps
from edge.config.shapes import (
    MAX_LINES,
    GateSettings,
    GroundSettings,
    HeatSettings,
    LineSettings,
    ZoneSettings,
    check_gates,
    check_person_height,
    check_unique,
)
from edge.config.source import Source, check_scheme

MAX_SIDE_PX = 32_768


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
        try:
            check_scheme(self.source)
        except ValueError as error:
            raise ValueError(f"camera {self.name!r}: {error}") from error
        if self.transport != "auto" and not self.source.lower().startswith(("rtsp://", "rtsps://")):
            raise ValueError(f"camera {self.name!r} has a transport, which only rtsp:// has: leave it out")
        what = f"camera {self.name!r}"
        check_fps(f"{what} has fps", self.fps)
        check_fps(f"{what} has max_fps", self.max_fps)
        if self.size and not all(1 <= side <= MAX_SIDE_PX for side in self.size):
            raise ValueError(
                f"{what} has size {list(self.size)}: give width and height in pixels, 1 to {MAX_SIDE_PX}"
            )
        if not self.classes:
            raise ValueError(f"camera {self.name!r} detects nothing: name at least one class, such as person")
        if len(self.lines) + len(self.zones) > MAX_LINES:
            raise ValueError(f"camera {self.name!r} has more than {MAX_LINES} lines and zones")
        check_unique("line", [line.name for line in self.lines])
        check_unique("zone", [zone.name for zone in self.zones])
        check_gates(self.gates, [line.name for line in self.lines], od=self.od)
        check_person_height(self.person_height_m)
        for kind, shapes in (("line", self.lines), ("zone", self.zones)):
            for shape in shapes:
                self._check_classes(f"{kind} {shape.name!r}", shape.classes)

    def _check_classes(self, what: str, classes: list[Label]) -> None:
        """Refuse a class that the camera does not detect: it would silently count nothing."""
        for cls in classes:
            if cls not in self.classes:
                near = difflib.get_close_matches(cls, self.classes, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(
                    f"{what} counts {cls!r}, which camera {self.name!r} does not detect: {hint}It detects {', '.join(self.classes)}"
                )
