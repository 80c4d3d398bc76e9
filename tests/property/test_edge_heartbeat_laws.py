"""Laws of heartbeats and of folding."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from countline.events import (
    AnyEvent,
    CountDelta,
    Direction,
    EntryDelta,
    GateDelta,
    GatePassed,
    Heartbeat,
    Heat,
    LineCrossed,
    LineTotals,
    VisitDelta,
    ZoneCrowded,
    ZoneEntered,
    ZoneOccupancy,
    ZoneVisit,
)
from edge.heartbeats import Heartbeats
from edge.sequence import fold

steps = st.lists(
    st.tuples(
        st.sampled_from(["frame", "doubted frame", "none"]), st.integers(-200, 3_000), st.integers(0, 3_000)
    ),
    max_size=50,
)


@given(steps)
def test_heartbeats_touch_and_never_claim_more_blindness_than_time(
    moves: list[tuple[str, int, int]],
) -> None:
    """Consecutive spans share their border, and blind time fits into each."""
    watch = Heartbeats(100_000)
    now_ms, moments = 100_000, []
    for kind, step_ms, blind_ms in moves:
        now_ms += step_ms
        if kind == "none":
            moments += watch.blind(now_ms, "no picture")
        else:
            doubt = "dark" if kind == "doubted frame" else ""
            moments += watch.saw(now_ms, blind_ms=blind_ms, doubt=doubt)
    moments += watch.close()
    edge_ms = 100_000
    for at_ms, beat in moments:
        assert isinstance(beat, Heartbeat)
        assert beat.since_ms == edge_ms
        assert 0 <= beat.blind_ms <= at_ms - beat.since_ms
        edge_ms = at_ms
    assert edge_ms == max([100_000, *_running(moves)])


def _running(moves: list[tuple[str, int, int]]) -> list[int]:
    now_ms, times = 100_000, []
    for _, step_ms, _ in moves:
        now_ms += step_ms
        times.append(now_ms)
    return times


crossings = st.tuples(
    st.integers(0, 10_000),
    st.builds(
        LineCrossed,
        line=st.sampled_from(["a", "b"]),
        direction=st.sampled_from(Direction),
        cls=st.sampled_from(["person", "car"]),
        track=st.just(1),
        conf=st.just(0.5),
        totals=st.just(LineTotals(in_=1, out=1)),
    ),
)
occupancies = st.tuples(
    st.integers(0, 10_000), st.builds(ZoneOccupancy, st.sampled_from(["x", "y"]), st.just({"person": 2}))
)


stays = st.tuples(
    st.integers(0, 10_000),
    st.builds(
        ZoneVisit,
        st.sampled_from(["x", "y"]),
        st.sampled_from(["person", "car"]),
        st.just(1),
        st.integers(0, 9_000),
    ),
)


def more_totals(event: AnyEvent) -> dict[tuple[str, ...], int]:
    match event:
        case ZoneEntered():
            return {("entries", event.zone, event.cls): 1}
        case EntryDelta():
            return {("entries", event.zone, event.cls): event.n}
        case GatePassed():
            passage = (event.gate, event.origin, event.destination, event.cls)
            return {("n", *passage): 1, ("ms", *passage): event.travel_ms}
        case GateDelta():
            passage = (event.gate, event.origin, event.destination, event.cls)
            return {("n", *passage): event.n, ("ms", *passage): event.travel_sum_ms}
        case Heat():
            return {("heat", str(cell)): ms for cell, ms in zip(event.cells, event.presence_ms, strict=True)}
        case _:
            return {}


entries = st.tuples(
    st.integers(0, 10_000),
    st.builds(ZoneEntered, st.sampled_from(["x", "y"]), st.sampled_from(["person", "car"]), st.just(1)),
)
passages = st.tuples(
    st.integers(0, 10_000),
    st.builds(
        GatePassed,
        st.sampled_from(["", "through"]),
        st.just("x"),
        st.just("y"),
        st.sampled_from(["person", "car"]),
        st.just(1),
        st.integers(0, 9_000),
    ),
)
heats = st.tuples(
    st.integers(0, 10_000),
    st.dictionaries(st.integers(0, 3), st.integers(1, 500)).map(
        lambda presence: Heat(
            "person", 0, 2, 2, sorted(presence), [presence[cell] for cell in sorted(presence)]
        )
    ),
)
crowds = st.tuples(
    st.integers(0, 10_000),
    st.builds(ZoneCrowded, st.sampled_from(["x", "y"]), st.booleans(), st.just(9), st.just(8), st.just(1)),
)


@given(st.lists(st.one_of(crossings, occupancies, stays, entries, passages, heats, crowds), max_size=60))
def test_folding_keeps_every_total_however_often_it_is_done(moments: list) -> None:
    """What is folded counts the same per line, direction and class, and folding again changes nothing."""

    def totals(events: list) -> Counter:
        counted: Counter = Counter()
        for _, event in events:
            if isinstance(event, LineCrossed):
                counted[event.line, event.direction, event.cls] += 1
            elif isinstance(event, CountDelta):
                counted[event.line, event.direction, event.cls] += event.n
            elif isinstance(event, ZoneVisit):
                counted[event.zone, event.cls, "visits"] += 1
                counted[event.zone, event.cls, "ms"] += event.dwell_ms
            elif isinstance(event, VisitDelta):
                counted[event.zone, event.cls, "visits"] += event.n
                counted[event.zone, event.cls, "ms"] += event.dwell_sum_ms
            else:
                counted.update(more_totals(event))
        return counted

    folded = fold(moments)
    assert totals(folded) == totals(moments)
    assert len(folded) <= 8 + 4 + 2 + 4 + 4 + 1 + 2
    assert totals(fold(folded)) == totals(moments)
    half = len(moments) // 2
    assert totals(fold([*fold(moments[:half]), *moments[half:]])) == totals(moments)


@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 500)), min_size=1, max_size=20))
def test_folded_heartbeats_are_one_span_with_all_the_blind_time(spans: list[tuple[int, int]]) -> None:
    """Coverage survives folding."""
    at_ms, moments = 0, []
    for length_ms, blind_ms in spans:
        moments.append(
            (at_ms + length_ms, Heartbeat(since_ms=at_ms, blind_ms=min(blind_ms, length_ms), frames=1))
        )
        at_ms += length_ms
    ((end_ms, beat),) = fold(moments)
    assert isinstance(beat, Heartbeat)
    assert (beat.since_ms, end_ms, beat.frames) == (0, at_ms, len(spans))
    assert beat.blind_ms == sum(min(blind_ms, length_ms) for length_ms, blind_ms in spans)
