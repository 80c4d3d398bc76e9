"""`GET /v1/occupancy`: how many were in a camera's zones over a time: mean, most, fewest, last; who came and how long they stayed."""

from collections.abc import Iterable

from starlette.datastructures import QueryParams

from cloud.api.counts import check_known, one_camera, time_range
from cloud.api.schemas import OccupancyBody, StaysBody, ZoneOccupancyBody
from cloud.store.reader import StoreReader
from cloud.store.rows import ZoneSum
from cloud.windows import ALL_CLASSES

_PARAMETERS = frozenset({"camera", "last", "from", "to"})


def answer(parameters: QueryParams, reader: StoreReader, now_ms: int) -> OccupancyBody:
    """Look the zones of one camera up, in the panes that begin within the time asked for.

    Raises:
        Problem: The question makes no sense.
        Unavailable: The store cannot be read now.
    """
    check_known(parameters, _PARAMETERS)
    wanted, number = one_camera(parameters, reader)
    from_ms, to_ms = time_range(parameters, now_ms)
    sums = reader.zone_sums(number, from_ms, to_ms)
    return OccupancyBody(wanted, from_ms, to_ms, _zones(sums))


def _zones(sums: Iterable[ZoneSum]) -> list[ZoneOccupancyBody]:
    zones: dict[str, dict[str, ZoneSum]] = {}
    for one in sums:
        zones.setdefault(one.zone, {})[one.cls] = one
    bodies: list[ZoneOccupancyBody] = []
    for zone, classes in zones.items():
        known = classes.get(ALL_CLASSES, ZoneSum(zone, ALL_CLASSES))
        per_class = {cls: _stays(one, known.held_ms) for cls, one in classes.items() if cls != ALL_CLASSES}
        whole = known._replace(
            visits=sum(one.visits for one in classes.values()),
            dwell_ms=sum(one.dwell_ms for one in classes.values()),
            entries=sum(one.entries for one in classes.values()),
        )
        bodies.append(ZoneOccupancyBody(zone, _stays(whole, known.held_ms), per_class))
    return bodies


def _stays(one: ZoneSum, known_ms: int) -> StaysBody:
    """Return a class's numbers; while a zone was watched and the class was not told of, there was none of it."""
    was_absent = one.held_ms < known_ms
    return StaysBody(
        round(one.weighted_ms / known_ms, 3) if known_ms else None,
        one.max_n,
        0 if was_absent and one.min_n is not None else one.min_n,
        one.last_n,
        one.entries,
        one.visits,
        round(one.dwell_ms / one.visits) if one.visits else None,
    )
