"""Bodies of the API's answers; the live feed's own are in `cloud.hub`."""

import msgspec
from msgspec import Struct
from starlette.responses import Response

from cloud.hub import CameraBody, CounterBody, GateBody, ZoneBody


class WorkerBody(Struct, frozen=True):
    """How the worker is doing."""

    behind: int
    last_commit_ms: int


class HealthBody(Struct, frozen=True):
    """Whether all is well, and if not, why."""

    status: str
    version: str
    profile: str
    time_ms: int
    timezone: str
    worker: WorkerBody
    live_clients: int
    reasons: list[str]


class CamerasBody(Struct, frozen=True):
    """All cameras."""

    cameras: list[CameraBody]


class ZonesBody(Struct, frozen=True):
    """All zones."""

    zones: list[ZoneBody]


class GatesBody(Struct, frozen=True):
    """All gates and pairs of lines, with their passages of today."""

    gates: list[GateBody]


class CountersBody(Struct, frozen=True):
    """All counters of all devices."""

    counters: list[CounterBody]


class StaysBody(Struct, frozen=True):
    """How many were in a zone over a time; null where that is not known.

    Attributes:
        mean: Weighted by time.
    """

    mean: float | None
    max: int | None
    min: int | None
    last: int | None
    entries: int
    visits: int
    mean_dwell_ms: int | None


class ZoneOccupancyBody(Struct, frozen=True):
    """One zone: all classes together, and each."""

    zone: str
    all: StaysBody
    classes: dict[str, StaysBody]


class OccupancyBody(Struct, frozen=True):
    """The zones of a camera over a time."""

    camera: str
    from_ms: int
    to_ms: int
    zones: list[ZoneOccupancyBody]


class HeatLayerBody(Struct, frozen=True):
    """Where objects of a class were; cells are numbered row by row from the upper left."""

    cls: str = msgspec.field(name="class")
    columns: int
    rows: int
    cells: list[int]
    presence_ms: list[int]


class HeatMapBody(Struct, frozen=True):
    """A camera's heat-map over whole hours."""

    camera: str
    from_ms: int
    to_ms: int
    classes: list[HeatLayerBody]


class SeriesBody(Struct, frozen=True):
    """One series; None stands for "was not grouped by". `n` is null where nothing was watched."""

    camera: str | None
    line: str | None
    direction: str | None
    cls: str | None = msgspec.field(name="class")
    n: list[int | None]


class CoverageBody(Struct, frozen=True):
    """How far one camera's buckets can be trusted.

    Attributes:
        status: "provisional", "complete", "incomplete", or "none" before the camera was heard of.
    """

    camera: str
    coverage: list[float]
    status: list[str]
    revision: list[int]
    watermark_ms: int


class CountsBody(Struct, frozen=True):
    """Counts by columns: `start_ms[i]` belongs to `n[i]` of every series."""

    interval_s: int
    from_ms: int
    to_ms: int
    timezone: str
    start_ms: list[int]
    series: list[SeriesBody]
    cameras: list[CoverageBody]


class GapBody(Struct, frozen=True):
    """A range of events that never arrived, inclusive."""

    from_seq: int
    to_seq: int


class AccountBody(Struct, frozen=True):
    """What has become of one device's events of one epoch.

    Without gaps, `contiguous` is the sum of `counted`, `refused` and `dead_lettered`.
    """

    site: str
    device: str
    epoch: int
    counted: int
    duplicates: int
    refused: int
    refused_because: dict[str, int]
    dead_lettered: int
    crossings: int
    contiguous: int
    missing: list[GapBody]


class UnattributedBody(Struct, frozen=True):
    """Messages that were refused and do not say which event they were, such as those that are not JSON."""

    n: int
    reasons: dict[str, int]


class LedgerBody(Struct, frozen=True):
    """All accounts, and what belongs to none of them."""

    accounts: list[AccountBody]
    unattributed: UnattributedBody


def json_response(body: Struct) -> Response:
    """Return a body as JSON that nobody may keep."""
    return Response(
        msgspec.json.encode(body), headers={"Cache-Control": "no-store"}, media_type="application/json"
    )
