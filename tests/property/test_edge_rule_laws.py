"""Laws of local rules and live topics."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from countline.events import Direction
from edge.act.board import Board
from edge.act.engine import Engine, RulePlan
from edge.act.world import PIECES, Window
from edge.expression import parse, parse_clear

WHEN = parse("zone.queue.count > 8 for 20s")
PLAN = RulePlan("queue", WHEN, parse_clear("< 6 for 30s", WHEN), 60_000)

walks = st.lists(
    st.tuples(st.integers(1, 40_000), st.one_of(st.none(), st.integers(0, 12))), min_size=1, max_size=80
)


@given(walks)
def test_a_rule_keeps_its_times(walk: list[tuple[int, int | None]]):
    """It fires after 20 s above 8, clears after 30 s below 6, alternates, and cools down for a minute."""
    engine, now_ms, held = Engine([PLAN]), 0, []
    changes: list[tuple[int, bool]] = []
    for pause_ms, count in walk:
        now_ms += pause_ms
        held.append((now_ms, count))
        for verdict in engine.tick(lambda _, count=count: count, now_ms):
            changes.append((now_ms, verdict.is_on))
            wait_ms, is_right = (20_000, lambda n: n > 8) if verdict.is_on else (30_000, lambda n: n < 6)
            begin = max((at_ms for at_ms, _ in held if at_ms <= now_ms - wait_ms), default=None)
            assert begin is not None
            assert all(n is not None and is_right(n) for at_ms, n in held if at_ms >= begin)
    assert [is_on for _, is_on in changes] == [index % 2 == 0 for index in range(len(changes))]
    fired = [at_ms for at_ms, is_on in changes if is_on]
    assert all(later - earlier >= 60_000 for earlier, later in itertools.pairwise(fired))
    assert engine.is_on(0) == (len(changes) % 2 == 1)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=50))
def test_without_times_a_rule_is_its_condition(counts: list[int]):
    """A rule without `for` and `clear` is on exactly while its condition holds."""
    engine = Engine([RulePlan("any", parse("zone.queue.count > 8"))])
    for now_ms, count in enumerate(counts):
        engine.tick(lambda _, count=count: count, now_ms)
        assert engine.is_on(0) == (count > 8)


@given(
    st.lists(st.tuples(st.integers(-2_000, 5_000), st.sampled_from(list(Direction))), max_size=200),
    st.integers(1_000, 600_000),
)
def test_a_window_counts_who_crossed_lately(moves: list[tuple[int, Direction]], window_ms: int):
    """All of the window are counted, none is that is older by more than a piece of it, and memory is bounded."""
    window, now_ms, crossed = Window(window_ms), 10_000_000, []
    for step_ms, direction in moves:
        now_ms += max(0, step_ms)
        window.add(direction, now_ms + min(0, step_ms))
        crossed.append((now_ms + min(0, step_ms), direction))
        slack_ms = window_ms // PIECES + 1
        for index, way in enumerate(Direction):
            surely = sum(at_ms >= now_ms - window_ms for at_ms, d in crossed if d is way)
            perhaps = sum(at_ms >= now_ms - window_ms - slack_ms for at_ms, d in crossed if d is way)
            assert surely <= window.totals(now_ms)[index] <= perhaps
    assert len(window._counts) <= 2 * PIECES + 1


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from("ab"), st.integers(0, 3), st.booleans()), max_size=100
    )
)
def test_the_latest_wins_and_no_topic_is_written_to_more_often_than_it_may(
    puts: list[tuple[int, str, int, bool]],
):
    """Messages of one topic are half a second apart and never repeat; the last one is what was written last."""
    board, now_ms = Board(500), 0
    sent: dict[str, list[tuple[int, bytes]]] = {"a": [], "b": []}
    latest: dict[str, bytes] = {}

    def flush() -> None:
        for topic, payload in board.due(now_ms):
            board.sent(topic, payload, now_ms)
            sent[topic].append((now_ms, payload))

    for pause_ms, topic, number, is_looked_at in puts:
        now_ms += pause_ms
        latest[topic] = str(number).encode()
        board.put(topic, latest[topic])
        if is_looked_at:
            flush()
    now_ms += 500
    flush()
    for topic, messages in sent.items():
        assert all(later[0] - earlier[0] >= 500 for earlier, later in itertools.pairwise(messages))
        assert all(later[1] != earlier[1] for earlier, later in itertools.pairwise(messages))
        assert not messages or messages[-1][1] == latest[topic]
    board.forget()
    assert dict(board.due(now_ms)) == latest
