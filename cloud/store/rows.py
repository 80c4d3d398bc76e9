"""What readers of the store get: values without a connection."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from cloud.measures import MeasureCell
from cloud.process import (
    HeatChange,
)
from cloud.windows import (
    CameraView,
    CountCell,
    PaneStatus,
    ZoneCell,
)

# Heat-maps are summed by the hour: five minutes of them would fill the disk of a box within a year.
HEAT_STEP_MS = 3_600_000


class PaneUpdate(Struct, frozen=True):
    """A pane as it is in the store after a commit, with what that commit added to it."""

    camera: str
    start_ms: int
    watched_ms: int
    status: PaneStatus
    revision: int
    counts: tuple[CountCell, ...] = ()
    zones: tuple[ZoneCell, ...] = ()
    measures: tuple[MeasureCell, ...] = ()


class Update(Struct, frozen=True):
    """What one commit changed, for the live feed."""

    panes: list[PaneUpdate] = []
    cameras: list[CameraView] = []
    heats: list[HeatChange] = []


class WorkerNote(Struct, frozen=True):
    """What the worker says of itself.

    Attributes:
        alive_ms: When it last said so.
        last_commit_ms: When it last committed results; 0 if never.
        behind: Entries of the log that wait for it.
    """

    alive_ms: int = 0
    last_commit_ms: int = 0
    behind: int = 0


class CountRow(NamedTuple):
    """Crossings of one series in one step of time."""

    camera: str
    line: str
    direction: str
    cls: str
    step_ms: int
    n: int


class CoverageRow(NamedTuple):
    """How well one camera was watched in one step of time."""

    camera: str
    step_ms: int
    watched_ms: int
    revision: int
    is_provisional: bool


class MeasureTotal(NamedTuple):
    """A sum of the day; see `cloud.measures`."""

    camera: str
    kind: str
    name: str
    origin: str
    destination: str
    cls: str
    n: int
    total: int


class HeatLayer(NamedTuple):
    """A camera's map of one class and a time; cells and milliseconds of presence belong together."""

    cls: str
    columns: int
    rows: int
    cells: list[int]
    presence_ms: list[int]


class ZoneSum(NamedTuple):
    """A zone's tally of one class over a time; see `cloud.windows.ZoneTally`."""

    zone: str
    cls: str
    weighted_ms: int = 0
    held_ms: int = 0
    max_n: int | None = None
    min_n: int | None = None
    last_n: int | None = None
    visits: int = 0
    dwell_ms: int = 0
    entries: int = 0


class ZoneTotal(NamedTuple):
    """A zone's day."""

    camera: str
    zone: str
    visits: int
    dwell_ms: int
    max_n: int


class Picture(NamedTuple):
    """Everything a live feed starts from, as of one moment.

    Attributes:
        seq: The newest update that is part of it.
        pane_ms: The length of panes.
        cameras: All of them.
        counts: Totals of the day: camera, line, direction, class, n.
        zones: Zones of the day.
        panes: The newest panes.
        measures: Other sums of the day.
    """

    seq: int
    pane_ms: int
    cameras: list[CameraView]
    counts: list[tuple[str, str, str, str, int]]
    zones: list[ZoneTotal]
    panes: list[PaneUpdate]
    measures: Sequence[MeasureTotal] = ()
