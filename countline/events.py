"""THE event contract, version 1: what a device says about what its cameras saw.

Identity of an event is `(site, device, epoch, seq)`. `seq` starts at 1 and has no gaps within an epoch;
a re-created outbox takes an epoch that was never used. `at_ms` is the capture time, UTC epoch milliseconds.

A line runs from A to B. For someone who walks from A to B, as seen on the picture, *in* is from the left hand to
the right hand and *out* from the right to the left (`swap` in the config exchanges them)::

             left of A->B                 in:  left  -> right   (here: downwards)
        A ------------------> B           out: right -> left    (here: upwards)
             right of A->B

With A at the top and B at the bottom the left hand points to the *right* half of the picture. In y-down pixels the
cross product `(B-A) x (P-A)` is negative on the left and positive on the right; it is the sign that ONVIF uses.

Producers may be newer than readers: unknown extra fields are ignored, new fields need defaults, a new meaning
needs a new tag, and a type never changes.
"""

import itertools
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

CONTRACT_VERSION = 1

# 2**53 - 1: the largest integer that every JSON reader, JavaScript included, holds exactly.
_MAX_SAFE_INT = 9_007_199_254_740_991
# Cells of a heat-map: 64 x 64 with full numbers is 70 kB, well below a message's 256.
MAX_HEAT_CELLS = 4_096

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$",
        description="1 to 63 letters, digits, '_', '.', '-'; no '/', '+', '#', which mean something to MQTT.",
    ),
]
GateName = Annotated[
    str,
    Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.\-]{0,62})?$", description="A name as above, or empty."),
]
Label = Annotated[
    str, Meta(min_length=1, max_length=63, description="A detector's class name, such as 'person'.")
]
EpochMs = Annotated[int, Meta(ge=0, le=_MAX_SAFE_INT, description="UTC, milliseconds since 1970.")]
DurationMs = Annotated[int, Meta(ge=0, le=_MAX_SAFE_INT)]
Count = Annotated[int, Meta(ge=0, le=_MAX_SAFE_INT)]
Positive = Annotated[int, Meta(ge=1, le=_MAX_SAFE_INT)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Speed = Annotated[float, Meta(ge=0.0, le=1_000.0, description="Metres per second.")]


class Direction(StrEnum):
    """Which way a line was crossed; see the module's drawing."""

    IN = "in"
    OUT = "out"


class LineTotals(Struct, frozen=True):
    """Cumulative crossings of one line since the epoch began, all classes together, this event included."""

    in_: Count = field(name="in")
    out: Count


class Event(Struct, frozen=True, tag_field="type"):
    """The base of the tagged union; use `AnyEvent` as the type."""


class LineCrossed(Event, frozen=True, tag="line_crossed", omit_defaults=True):
    """One object went over one line; `Envelope.at_ms` is when it did.

    Attributes:
        line: The line's name, unique within its camera.
        direction: Relative to the arrow A->B.
        cls: The object's class, such as "person".
        track: The tracker's id, unique within the device's run; never reused while the process lives.
        conf: The track's mean detection confidence.
        totals: The line's cumulative totals, so that a reader can detect and repair a loss.
        speed_m_s: How fast it was then, metres per second on the ground; None if nobody has said how large things are.
    """

    line: Name
    direction: Direction
    cls: Label
    track: Count
    conf: Share
    totals: LineTotals
    speed_m_s: Speed | None = None


class ZoneOccupancy(Event, frozen=True, tag="zone_occupancy"):
    """How many objects are inside a zone from `Envelope.at_ms` on; sent on each change.

    Attributes:
        zone: The zone's name, unique within its camera.
        cls_counts: Objects per class. A class that is missing has none.
    """

    zone: Name
    cls_counts: Annotated[dict[Label, Count], Meta(max_length=256)]


class ZoneEntered(Event, frozen=True, tag="zone_entered", omit_defaults=True):
    """One object has come into a zone at `Envelope.at_ms`.

    Attributes:
        zone: The zone's name.
        cls: The object's class; its visit's will be the same.
        track: The tracker's id.
        appeared: True if it was inside when it was first seen, so nobody knows where it came from.
    """

    zone: Name
    cls: Label
    track: Count
    appeared: bool = False


class ZoneVisit(Event, frozen=True, tag="zone_visit", omit_defaults=True):
    """One object has left a zone at `Envelope.at_ms` after `dwell_ms` in it.

    Attributes:
        zone: The zone's name.
        cls: The object's class.
        track: The tracker's id.
        dwell_ms: How long it was inside.
        vanished: True if it was inside when it was last seen: it may have stayed longer.
    """

    zone: Name
    cls: Label
    track: Count
    dwell_ms: DurationMs
    vanished: bool = False


class ZoneCrowded(Event, frozen=True, tag="zone_crowded"):
    """A zone has become too full, or is so no longer.

    Attributes:
        zone: The zone's name.
        crowded: True when it begins, False when it ends.
        n: How many are inside.
        limit: More than this many are too many.
        since_ms: When it became too full; the same in both of the events. Beginning and end are believed only after
            they have lasted, so `Envelope.at_ms` is later at the beginning, and is when it ended at the end.
    """

    zone: Name
    crowded: bool
    n: Count
    limit: Positive
    since_ms: EpochMs


class GatePassed(Event, frozen=True, tag="gate_passed"):
    """One object went over one line and then over another; `Envelope.at_ms` is when it went over the second.

    Attributes:
        gate: The gate's name; empty if it is a passage of the camera's origin-destination matrix.
        origin: The first line.
        destination: The second line.
        cls: The object's class.
        track: The tracker's id.
        travel_ms: From the one line to the other.
    """

    gate: GateName
    origin: Name
    destination: Name
    cls: Label
    track: Count
    travel_ms: DurationMs


class Heat(Event, frozen=True, tag="heat"):
    """Where objects of one class were, and for how long, between `from_ms` and `Envelope.at_ms`.

    The picture is cut into `columns` times `rows` cells, numbered from 0 at its upper left, row by row.

    Attributes:
        cls: The objects' class.
        from_ms: When the time that it tells of began.
        columns: Cells side by side.
        rows: Cells one above the other.
        cells: Numbers of the cells in which anybody was, ascending.
        presence_ms: For each of them, milliseconds times objects.
    """

    cls: Label
    from_ms: EpochMs
    columns: Annotated[int, Meta(ge=1, le=64)]
    rows: Annotated[int, Meta(ge=1, le=64)]
    cells: Annotated[list[Count], Meta(max_length=MAX_HEAT_CELLS)]
    presence_ms: Annotated[list[DurationMs], Meta(max_length=MAX_HEAT_CELLS)]

    def __post_init__(self) -> None:
        """Refuse a grid whose cells and times do not belong together."""
        if len(self.cells) != len(self.presence_ms):
            raise ValueError("cells and presence_ms differ in length")
        if any(low >= high for low, high in itertools.pairwise(self.cells)):
            raise ValueError("cells must ascend")
        if self.cells and self.cells[-1] >= self.columns * self.rows:
            raise ValueError(f"there is no cell {self.cells[-1]} in a grid of {self.columns}x{self.rows}")


class CountDelta(Event, frozen=True, tag="count_delta"):
    """`n` crossings rolled into one event: their detail was given up, their number was not.

    Attributes:
        n: How many crossings, at least one.
        from_ms: Capture time of the first of them.
        to_ms: Capture time of the last of them.
    """

    line: Name
    direction: Direction
    cls: Label
    n: Positive
    from_ms: EpochMs
    to_ms: EpochMs


class VisitDelta(Event, frozen=True, tag="visit_delta"):
    """`n` visits rolled into one event: how long each lasted was given up, how long they all lasted was not.

    Attributes:
        n: How many visits ended, at least one.
        dwell_sum_ms: How long they lasted together.
        from_ms: When the first of them ended.
        to_ms: When the last of them ended.
    """

    zone: Name
    cls: Label
    n: Positive
    dwell_sum_ms: DurationMs
    from_ms: EpochMs
    to_ms: EpochMs


class EntryDelta(Event, frozen=True, tag="entry_delta"):
    """`n` entries into a zone rolled into one event.

    Attributes:
        n: How many, at least one.
        from_ms: When the first of them was.
        to_ms: When the last of them was.
    """

    zone: Name
    cls: Label
    n: Positive
    from_ms: EpochMs
    to_ms: EpochMs


class GateDelta(Event, frozen=True, tag="gate_delta"):
    """`n` passages from one line to another rolled into one event: single travel times were given up, their sum was not.

    Attributes:
        n: How many, at least one.
        travel_sum_ms: How long they took together.
        from_ms: When the first of them ended.
        to_ms: When the last of them ended.
    """

    gate: GateName
    origin: Name
    destination: Name
    cls: Label
    n: Positive
    travel_sum_ms: DurationMs
    from_ms: EpochMs
    to_ms: EpochMs


class CameraState(StrEnum):
    """Whether a camera's picture can be counted on right now."""

    OK = "ok"
    BLIND = "blind"


class Heartbeat(Event, frozen=True, tag="heartbeat"):
    """Everything captured up to `Envelope.at_ms` is counted, and events about it have smaller `seq`.

    Heartbeats move the camera's watermark, and they tell zero from blind: within `[since_ms, at_ms)` the camera
    was watched except for `blind_ms`. Spans of consecutive heartbeats touch and never overlap.

    Attributes:
        since_ms: Where the span begins: `at_ms` of the heartbeat before.
        blind_ms: Milliseconds of the span without a usable picture.
        frames: Frames that were counted in the span.
        dropped: Frames that came and were left out because a newer one was there.
        latency_ms: Mean time from capture to counted.
        state: The camera at `at_ms`.
        reason: Why it is blind. Of a camera that is watched: what a person should know, such as that the machine cannot keep
            up; mostly empty.
        backlog: Events in the outbox that the gateway has not confirmed.
    """

    since_ms: EpochMs
    blind_ms: DurationMs = 0
    frames: Count = 0
    dropped: Count = 0
    latency_ms: Annotated[float, Meta(ge=0.0)] = 0.0
    state: CameraState = CameraState.OK
    reason: Annotated[str, Meta(max_length=300)] = ""
    backlog: Count = 0


class Drift(Event, frozen=True, tag="drift"):
    """A measured quality has moved away from its baseline: a nudged camera, a dirty lens, failing light.

    Attributes:
        metric: What was measured, such as "detection_confidence" or "sharpness".
        value: Its value now, in the metric's own unit.
        baseline: Its usual value.
        since_ms: Since when it has been away from the baseline.
    """

    metric: Name
    value: float
    baseline: float
    since_ms: EpochMs


class LineDoubt(Event, frozen=True, tag="line_doubt"):
    """What was seen about a line says that it cannot count well, or, if `cleared`, that it can again.

    Counts go on unchanged. A `camera_configured` takes all doubts back: what still holds is raised anew.

    Attributes:
        line: The line's name.
        reason: "border", "ends", "small", "nobody", "hidden", "slow" or "moved"; there may be more. At most one doubt of
            a line and reason stands at a time.
        says: A sentence for people: what is wrong, and what to do. Empty if it is cleared.
        evidence: The figures behind it, by name, such as {"share": 0.6, "tracks": 45}.
        since_ms: Since when it stands, or stood.
        cleared: True if it stands no longer.
    """

    line: Name
    reason: Name
    says: Annotated[str, Meta(max_length=300)] = ""
    evidence: Annotated[dict[Label, float], Meta(max_length=16)] = {}
    since_ms: EpochMs = 0
    cleared: bool = False


Point = tuple[float, float]
"""x to the right, y down, in pixels of the camera's picture."""


class LineShape(Struct, frozen=True):
    """A line as the camera counts it: a polyline from A (first point) to B (last point).

    Attributes:
        swap: In and out are exchanged.
        sides: What lies on the left and on the right of A->B.
        classes: Only these are counted; empty: all.
        min_height: Objects whose box is lower than this share of the picture are not counted.
        max_height: Those whose box is higher are not; 1: no limit.
    """

    name: Name
    points: Annotated[list[Point], Meta(min_length=2, max_length=64)]
    swap: bool = False
    sides: tuple[str, str] = ("", "")
    classes: Annotated[list[Label], Meta(max_length=256)] = []
    min_height: Share = 0.0
    max_height: Share = 1.0


class ZoneShape(Struct, frozen=True):
    """A zone as the camera counts it: a simple polygon.

    Attributes:
        classes: Only these are counted; empty: all.
        min_height: Of their boxes, as for a line.
        max_height: Of their boxes, as for a line.
        max_occupancy: More than so many are too many; 0: no limit.
        overcrowded_after_ms: For how long, before it is said.
    """

    name: Name
    points: Annotated[list[Point], Meta(min_length=3, max_length=64)]
    classes: Annotated[list[Label], Meta(max_length=256)] = []
    min_height: Share = 0.0
    max_height: Share = 1.0
    max_occupancy: Count = 0
    overcrowded_after_ms: DurationMs = 0


class Way(StrEnum):
    """In which direction a line counts as one of a gate's."""

    IN = "in"
    OUT = "out"
    ANY = "any"


class GateShape(Struct, frozen=True):
    """A gate as the camera counts it: over one line, then over another.

    Attributes:
        origin: The first line's name.
        destination: The second line's name.
        origin_way: In which direction the first has to be crossed.
        destination_way: In which direction the second has to be crossed.
        within_ms: Who takes longer is not counted.
    """

    name: Name
    origin: Name
    destination: Name
    origin_way: Way = Way.ANY
    destination_way: Way = Way.ANY
    within_ms: Positive = 600_000


class CameraConfigured(Event, frozen=True, tag="camera_configured"):
    """From `Envelope.at_ms` on this camera counts with these lines and zones.

    It is the first event of a camera after each start of its agent and after each change, so that whoever reads
    the counts also knows what was counted, and can draw it.

    Attributes:
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        source: The kind of source: "video", "stream", "usb", "gstreamer", "folder", "synthetic", "detections".
        synthetic: True if the scene is made up. A page must say so.
        model: The detector's name; empty if detections come from a file.
        fps: Frames per second that the source claims; 0 if unknown.
        preview: True if the agent serves pictures to a page.
        gates: Passages from one line to another that are counted by a name.
        od: True if all passages from one line to another are counted.
    """

    width: Positive
    height: Positive
    source: Name
    lines: Annotated[list[LineShape], Meta(max_length=256)]
    zones: Annotated[list[ZoneShape], Meta(max_length=256)]
    synthetic: bool = False
    model: str = ""
    fps: Annotated[float, Meta(ge=0.0)] = 0.0
    preview: bool = False
    gates: Annotated[list[GateShape], Meta(max_length=256)] = []
    od: bool = False


class CounterReason(StrEnum):
    """Why a counter has another value though nobody has crossed a line."""

    RESET = "reset"
    SET = "set"
    OFFSET = "offset"
    CLAMPED = "clamped"


class CounterChanged(Event, frozen=True, tag="counter_changed"):
    """A device's counter was put right at `Envelope.at_ms`: it is not what its crossings add up to from here on.

    A counter spans cameras; `Envelope.camera` is the one whose agent wrote it down.

    Attributes:
        counter: The counter's name, unique within its device.
        reason: "reset" at its hour, "set" or "offset" by a person, or "clamped": somebody left who was not counted in, and
            fewer than none are not inside.
        before: Its value before; at a reset what had drifted together, if the place is empty then.
        value: Its value from here on.
        totals: Crossings that it has counted since `since_ms`, all classes together.
        since_ms: When it was reset the time before.
        n: How many such changes are rolled into one.
    """

    counter: Name
    reason: CounterReason
    before: Count
    value: Count
    totals: LineTotals
    since_ms: EpochMs
    n: Positive = 1


class CounterNow(Struct, frozen=True):
    """One counter as it is.

    Attributes:
        counter: Its name, unique within its device.
        value: How many are inside.
        totals: Crossings that it has counted since `since_ms`, all classes together.
        since_ms: When it was last reset, or first began.
    """

    counter: Name
    value: Count
    totals: LineTotals
    since_ms: EpochMs


class CounterValues(Event, frozen=True, tag="counter_values"):
    """All counters of a device as they are at `Envelope.at_ms`: a state, which adds to nothing.

    Sent after a change, about once a second at most, always with the same camera's name; of two the one with the greater
    `(epoch, seq)` is right. A counter that is not among them is not there any more.

    Attributes:
        counters: All of them.
    """

    counters: Annotated[list[CounterNow], Meta(max_length=256)]


AnyEvent = (
    LineCrossed
    | ZoneOccupancy
    | ZoneEntered
    | ZoneVisit
    | ZoneCrowded
    | GatePassed
    | Heat
    | CountDelta
    | EntryDelta
    | VisitDelta
    | GateDelta
    | Heartbeat
    | Drift
    | LineDoubt
    | CameraConfigured
    | CounterChanged
    | CounterValues
)


class Envelope(Struct, frozen=True):
    """One event with its identity; what travels from the device to the store, unchanged.

    Attributes:
        v: The contract's version.
        site: The place that the device belongs to.
        device: The agent's name, unique within the site.
        epoch: Generation of the device's outbox: its creation time in epoch milliseconds.
        seq: Position within the epoch, from 1, without gaps.
        camera: The camera's name, unique within the device.
        at_ms: Capture time, UTC epoch milliseconds, by the device's clock.
        event: What happened.
    """

    v: int
    site: Name
    device: Name
    epoch: Positive
    seq: Positive
    camera: Name
    at_ms: EpochMs
    event: AnyEvent


class Mark(Struct, frozen=True):
    """The gateway's durable mark: every event of `epoch` up to and including `seq` is committed there."""

    epoch: Positive
    seq: Count


class Presence(Struct, frozen=True):
    """Whether a device is connected: a retained message, and its last will."""

    online: bool
    at_ms: EpochMs = 0
    version: str = ""
