"""`GET /v1/counts`: counts by columns. Null is not zero: it stands where nothing was watched and nothing counted."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct
from starlette.datastructures import QueryParams

from cloud.api.problems import Problem
from cloud.api.schemas import CountsBody, CoverageBody, SeriesBody
from cloud.hub import local_midnight
from cloud.store.reader import StoreReader
from cloud.store.rows import CountRow, CoverageRow
from cloud.windows import CameraView, Liveness, PaneStatus, final_status

# Buckets times series of one answer: about a megabyte of JSON.
MAX_CELLS = 10_000
DAY_MS = 86_400_000
# Offsets of time zones are multiples of this, so steps of it fit every local hour and day.
QUARTER_MS = 900_000
INTERVALS_S = {"10s": 10, "30s": 30, "1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "1d": 86_400}
# The status of time before a camera was heard of at all: there was nothing to watch, so nothing is incomplete.
NO_CAMERA = "none"
GROUPS = ("camera", "line", "direction", "class")
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_PARAMETERS = frozenset({"last", "from", "to", "interval", "camera", "line", "group_by"})
_MAX_MS = 253_402_300_799_000  # The end of the year 9999.

_Series = tuple[str | None, str | None, str | None, str | None]


class Query(Struct, frozen=True):
    """A valid question.

    Attributes:
        from_ms: Start of the first bucket.
        to_ms: Where the last bucket ends, exclusive.
        interval_s: The length of buckets; a day is a local one of 23 to 25 hours.
        edges_ms: Starts of all buckets, and the end of the last.
        groups: By what to group.
        cameras: Only these; empty for all.
        lines: Only these; empty for all.
    """

    from_ms: int
    to_ms: int
    interval_s: int
    edges_ms: list[int]
    groups: frozenset[str]
    cameras: frozenset[str]
    lines: frozenset[str]

    def step_ms(self, pane_ms: int) -> int:
        """Return the steps in which the store sums up; each lies in one bucket."""
        return max(pane_ms, min(self.interval_s * 1000, QUARTER_MS))


def parse(parameters: QueryParams, now_ms: int, zone: ZoneInfo, pane_ms: int) -> Query:
    """Read the question.

    Raises:
        Problem: It makes no sense; the hint says what would.
    """
    check_known(parameters, _PARAMETERS)
    from_ms, to_ms = time_range(parameters, now_ms)
    interval_s = _interval(parameters, to_ms - from_ms, pane_ms)
    edges = _edges(from_ms, to_ms, interval_s, zone)
    groups = frozenset(_list(parameters, "group_by")) or frozenset(GROUPS[:3])
    if not groups <= set(GROUPS):
        raise Problem(
            422, f"It cannot be grouped by {min(groups - set(GROUPS))!r}.", f"Allowed: {', '.join(GROUPS)}."
        )
    return Query(
        edges[0],
        edges[-1],
        interval_s,
        edges,
        groups,
        frozenset(_list(parameters, "camera")),
        frozenset(_list(parameters, "line")),
    )


def answer(query: Query, reader: StoreReader, now_ms: int, timezone: str) -> CountsBody:
    """Look the counts up.

    Raises:
        Problem: The answer would be too large.
        Unavailable: The store cannot be read now.
    """
    views = {
        no: view for no, view in reader.cameras().items() if not query.cameras or view.id in query.cameras
    }
    missing = query.cameras - {view.id for view in views.values()}
    if missing:
        raise Problem(422, f"There is no camera {min(missing)!r}.", "GET /v1/cameras lists them.")
    if len(views) * (len(query.edges_ms) - 1) > MAX_CELLS:
        raise _too_large(query.to_ms - query.from_ms, len(views))
    pane_ms = reader.pane_ms()
    bounds = ({no: view.id for no, view in views.items()}, query.from_ms, query.to_ms, query.step_ms(pane_ms))
    coverage = [
        _coverage(query, view, rows, now_ms, pane_ms)
        for view, rows in _by_camera(views, reader.coverage(*bounds))
    ]
    series = _series(query, views, reader.counts(*bounds), {body.camera: body.coverage for body in coverage})
    return CountsBody(
        query.interval_s, query.from_ms, query.to_ms, timezone, query.edges_ms[:-1], series, coverage
    )


# ---- the question


def _list(parameters: QueryParams, name: str) -> list[str]:
    return [part for value in parameters.getlist(name) for part in value.split(",") if part]


def check_known(parameters: QueryParams, allowed: Collection[str]) -> None:
    """Raise a Problem if a parameter is none: a typo must not be answered with something else."""
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        raise Problem(
            422, f"There is no parameter {unknown[0]!r}.", f"Allowed: {', '.join(sorted(allowed))}."
        )


def one_camera(parameters: QueryParams, reader: StoreReader) -> tuple[str, int]:
    """Read `camera`: return the name and the store's number of the one camera that is asked for.

    Raises:
        Problem: None is, or it is not there.
        Unavailable: The store cannot be read now.
    """
    wanted = parameters.get("camera", "")
    numbers = {view.id: no for no, view in reader.cameras().items()}
    if wanted not in numbers:
        raise Problem(422, f"There is no camera {wanted!r}.", "Give camera=; GET /v1/cameras lists them.")
    return wanted, numbers[wanted]


def time_range(parameters: QueryParams, now_ms: int) -> tuple[int, int]:
    """Read `last`, or `from` and `to`: which time is asked for, the last hour if nothing is said.

    Raises:
        Problem: It makes no sense.
    """
    last, start, end = parameters.get("last"), parameters.get("from"), parameters.get("to")
    if last is not None and (start is not None or end is not None):
        raise Problem(422, "`last` and `from`/`to` exclude each other.", "Give one of them.")
    if start is None:
        if end is not None:
            raise Problem(422, "`to` needs `from`.", "Give both, or `last=60m`.")
        return now_ms - _duration_ms(last or "60m"), now_ms
    from_ms, to_ms = _time_ms("from", start), _time_ms("to", end) if end is not None else now_ms
    if from_ms >= to_ms:
        raise Problem(
            422, "The range is empty: `from` is not before `to`.", "Exchange them, or use `last=60m`."
        )
    return from_ms, to_ms


def _duration_ms(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if (
        unit not in _UNITS_MS
        or not (number.isascii() and number.isdigit())
        or not 0 < int(number) <= 1_000_000
    ):
        raise Problem(422, f"last={text!r} is no duration.", "Write for example 30s, 60m, 24h or 7d.")
    return int(number) * _UNITS_MS[unit]


def _time_ms(name: str, text: str) -> int:
    hint = "Write 2026-07-01T08:00:00Z, 2026-07-01T10:00:00+02:00 or milliseconds since 1970."
    if text.isascii() and text.isdigit() and len(text) <= 15:
        at_ms = int(text)
    else:
        try:
            # A '+' that was not escaped arrives as a blank.
            moment = datetime.fromisoformat(text.replace(" ", "+"))
        except ValueError as error:
            raise Problem(422, f"{name}={text!r} is no time.", hint) from error
        if moment.tzinfo is None:
            raise Problem(422, f"{name}={text!r} does not say its offset from UTC.", hint)
        at_ms = round(moment.astimezone(UTC).timestamp() * 1000)
    if not 0 <= at_ms <= _MAX_MS:
        raise Problem(422, f"{name}={text!r} is out of range.", hint)
    return at_ms


def _interval(parameters: QueryParams, length_ms: int, pane_ms: int) -> int:
    name = parameters.get("interval")
    if name is None:
        fitting = [s for s in INTERVALS_S.values() if s * 1000 >= pane_ms and length_ms <= s * 1000 * 120]
        return fitting[0] if fitting else INTERVALS_S["1d"]
    interval_s = INTERVALS_S.get(name)
    if interval_s is None:
        raise Problem(422, f"interval={name!r} is not known.", f"Allowed: {', '.join(INTERVALS_S)}.")
    if interval_s * 1000 % pane_ms:
        raise Problem(
            422, f"interval={name} does not fit panes of {pane_ms / 1000:g} s.", "Take a multiple of them."
        )
    return interval_s


def _edges(from_ms: int, to_ms: int, interval_s: int, zone: ZoneInfo) -> list[int]:
    interval_ms = interval_s * 1000
    if (to_ms - from_ms) // interval_ms > MAX_CELLS:
        raise _too_large(to_ms - from_ms, 1)
    if interval_ms == DAY_MS:
        edges = [local_midnight(from_ms, zone)]
        while edges[-1] < to_ms:
            edges.append(local_midnight(edges[-1] + 1, zone, 1))
        return edges
    # Hours of a zone that is half an hour off begin half an hour off.
    shift_ms = _offset_ms(from_ms, zone) % interval_ms
    start_ms = (from_ms + shift_ms) // interval_ms * interval_ms - shift_ms
    count = -(-(to_ms - start_ms) // interval_ms)
    return [start_ms + index * interval_ms for index in range(count + 1)]


def _offset_ms(at_ms: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0


def _too_large(length_ms: int, series: int) -> Problem:
    fits = [
        name for name, seconds in INTERVALS_S.items() if length_ms / (seconds * 1000) * series <= MAX_CELLS
    ]
    hint = (
        f"Use interval={fits[0]} or larger."
        if fits
        else "Ask for a shorter range or fewer cameras and lines."
    )
    return Problem(422, f"The answer would have more than {MAX_CELLS} values.", hint)


# ---- the answer


def _by_camera(
    views: Mapping[int, CameraView], rows: list[CoverageRow]
) -> list[tuple[CameraView, list[CoverageRow]]]:
    found: dict[str, list[CoverageRow]] = defaultdict(list)
    for row in rows:
        found[row.camera].append(row)
    return [(view, found[view.id]) for view in views.values()]


def _coverage(
    query: Query, view: CameraView, rows: list[CoverageRow], now_ms: int, pane_ms: int
) -> CoverageBody:
    buckets = len(query.edges_ms) - 1
    watched, revisions = [0] * buckets, [0] * buckets
    is_provisional = [False] * buckets
    for row in rows:
        bucket = bisect_right(query.edges_ms, row.step_ms) - 1
        watched[bucket] += row.watched_ms
        revisions[bucket] += row.revision
        is_provisional[bucket] |= row.is_provisional
    shares: list[float] = []
    status: list[str] = []
    first_ms = query.to_ms if view.first_ms is None else view.first_ms
    for index in range(buckets):
        start_ms, end_ms = max(query.edges_ms[index], first_ms), query.edges_ms[index + 1]
        if end_ms <= start_ms:
            shares.append(0.0)
            status.append(NO_CAMERA)
            continue
        # The bucket that is still running is measured by what of it has passed.
        length_ms = max(1, min(end_ms, max(now_ms, start_ms + pane_ms)) - start_ms)
        shares.append(round(min(1.0, watched[index] / length_ms), 4))
        is_open = is_provisional[index] or (end_ms > view.watermark_ms and view.state is not Liveness.OFFLINE)
        status.append(PaneStatus.PROVISIONAL if is_open else final_status(watched[index], end_ms - start_ms))
    return CoverageBody(view.id, shares, status, revisions, view.watermark_ms)


def _series(
    query: Query, views: Mapping[int, CameraView], rows: list[CountRow], coverage: Mapping[str, list[float]]
) -> list[SeriesBody]:
    buckets = len(query.edges_ms) - 1
    members: dict[_Series, set[str]] = defaultdict(set)
    for key, camera in _configured(query, views):
        members[key].add(camera)
    sums: dict[_Series, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        if not query.lines or row.line in query.lines:
            key = _key(query, row.camera, row.line, row.direction, row.cls)
            members[key].add(row.camera)
            sums[key][bisect_right(query.edges_ms, row.step_ms) - 1] += row.n
    if len(members) * buckets > MAX_CELLS:
        raise _too_large(query.to_ms - query.from_ms, len(members))
    bodies: list[SeriesBody] = []
    for key in sorted(members, key=lambda series: tuple(name or "" for name in series)):
        seen = [any(coverage[camera][index] > 0 for camera in members[key]) for index in range(buckets)]
        n = [sums[key].get(index, 0 if seen[index] else None) for index in range(buckets)]
        bodies.append(SeriesBody(*key, n))
    return bodies


def _configured(query: Query, views: Mapping[int, CameraView]) -> list[tuple[_Series, str]]:
    """Return the series that exist without any crossing, so that zero is shown as zero."""
    return [
        (_key(query, view.id, shape.name, direction, cls), view.id)
        for view in views.values()
        for shape in view.lines
        if not query.lines or shape.name in query.lines
        for direction in ("in", "out")
        for cls in (shape.classes if "class" in query.groups else [""])
    ]


def _key(query: Query, camera: str, line: str, direction: str, cls: str) -> _Series:
    values = (camera, line, direction, cls)
    named = [value if name in query.groups else None for name, value in zip(GROUPS, values, strict=True)]
    return named[0], named[1], named[2], named[3]
