"""Laws of windows and process: cuts, restarts, repetitions and lateness change no total."""

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.process import DeadEntry, Effects, LedgerChange, LogEntry, Process, ProcessState
from cloud.windows import CountCell, PaneStatus, WindowConfig, ZoneTally, final_status, merge
from countline.events import (
    CountDelta,
    Direction,
    Envelope,
    GatePassed,
    LineCrossed,
    LineTotals,
    ZoneEntered,
    ZoneOccupancy,
    ZoneVisit,
)
from tests import seed

CONFIG = WindowConfig(silent_after_ms=15_000)
T0 = seed.START_MS


class Table:
    """A store in memory: what applying changes in order means."""

    def __init__(self) -> None:
        self.panes: dict[tuple[str, int], tuple[int, PaneStatus, int]] = {}
        self.counts: dict[tuple[str, int], dict[tuple, int]] = {}
        self.zones: dict[tuple[str, int], dict[tuple, ZoneTally]] = {}
        self.measures: dict[tuple[str, int], dict[tuple, tuple[int, int]]] = {}
        self.added = 0

    def apply(self, effects: Effects) -> None:
        """Apply the panes of one batch in their order."""
        for pane in effects.panes:
            key = (pane.camera, pane.start_ms)
            counts = {(c.line, c.direction, c.cls): c.n for c in pane.counts}
            zones = {(c.zone, c.cls): c.tally for c in pane.zones}
            measures = {cell.key: (cell.n, cell.total) for cell in pane.measures}
            self.added += sum(cell.added for cell in pane.counts)
            self.added += sum(cell.added_n for cell in pane.measures)
            if pane.is_absolute:
                self.panes[key] = (pane.watched_ms, pane.status, pane.revision)
                self.counts[key], self.zones[key], self.measures[key] = counts, zones, measures
                continue
            watched_ms, _, revision = self.panes.get(key, (0, None, 0))
            watched_ms += pane.watched_ms
            self.panes[key] = (watched_ms, final_status(watched_ms, CONFIG.pane_ms), revision + pane.revision)
            self.counts[key] = dict(Counter(self.counts.get(key, {})) + Counter(counts))
            sums = self.measures.setdefault(key, {})
            for name, (n, total) in measures.items():
                before_n, before_total = sums.get(name, (0, 0))
                sums[name] = (before_n + n, before_total + total)
            known = self.zones.setdefault(key, {})
            for name, tally in zones.items():
                known[name] = merge(known.get(name, ZoneTally()), tally)

    def without_revisions(self) -> tuple:
        """Return what does not depend on when it was received."""
        return {key: pane[:2] for key, pane in self.panes.items()}, self.counts, self.zones, self.measures


@st.composite
def streams(draw: st.DrawFn) -> list[Envelope]:
    """Return what one device may say: heartbeats with holes and blindness, and everything else in between."""
    device = seed.Device()
    said = [device.configured(T0)]
    at_ms = T0
    for _ in range(draw(st.integers(1, 40))):
        since_ms = at_ms + draw(st.sampled_from([0, 0, 0, 0, 3_000, 40_000]))
        at_ms = since_ms + draw(st.integers(1, 25_000))
        offsets = sorted(draw(st.lists(st.integers(0, at_ms - since_ms - 1), max_size=4)))
        said += [draw(_events(device, since_ms + offset)) for offset in offsets]
        said.append(
            device.heartbeat(since_ms, at_ms, draw(st.sampled_from([0, 0, 1, (at_ms - since_ms) // 3])))
        )
    return said


def _sums(kind: int, cls: str, direction: Direction) -> st.SearchStrategy:
    if kind == 6:
        return st.builds(ZoneEntered, st.just("lobby"), st.just(cls), st.just(1), st.booleans())
    if kind == 7:
        names = (st.sampled_from(["", "through"]), st.just("a"), st.just("b"))
        return st.builds(GatePassed, *names, st.just(cls), st.just(1), st.integers(0, 9_000))
    totals = LineTotals(in_=1, out=0)
    return st.sampled_from([None, 1.25]).map(
        lambda speed: LineCrossed("door", direction, cls, 1, 0.5, totals, speed)
    )


@st.composite
def _events(draw: st.DrawFn, device: seed.Device, at_ms: int) -> Envelope:
    cls = draw(st.sampled_from(["person", "dog"]))
    direction = draw(st.sampled_from(Direction))
    kind = draw(st.integers(0, 8))
    if kind > 5:
        return device.event(at_ms, draw(_sums(kind, cls, direction)))
    if kind == 0:
        from_ms = at_ms - draw(st.integers(0, 300_000))
        return device.event(
            at_ms, CountDelta("door", direction, cls, draw(st.integers(1, 50)), from_ms, at_ms)
        )
    if kind == 1:
        return device.event(at_ms, ZoneOccupancy("lobby", {cls: draw(st.integers(0, 4))}))
    if kind == 2:
        return device.event(at_ms, ZoneVisit("lobby", cls, 1, draw(st.integers(0, 9_000))))
    return device.crossed(at_ms, direction, cls)


def entries(said: list[Envelope], late_ms: int = 50) -> list[LogEntry]:
    return [LogEntry(i, max(e.at_ms, 0) + late_ms, e) for i, e in enumerate(said, start=1)]


def counted(said: list[Envelope]) -> int:
    crossed = sum(isinstance(e.event, LineCrossed) for e in said)
    return crossed + sum(e.event.n for e in said if isinstance(e.event, CountDelta))


def measured(said: list[Envelope]) -> int:
    return sum(
        isinstance(e.event, ZoneEntered | GatePassed)
        or (isinstance(e.event, LineCrossed) and e.event.speed_m_s is not None)
        for e in said
    )


def in_one_go(log: list[LogEntry]) -> Table:
    table = Table()
    table.apply(Process(CONFIG).feed(log, log[-1].id))
    return table


@settings(max_examples=80, deadline=None)
@given(streams(), st.data())
def test_cloud_law_any_cut_and_restart_gives_the_same_panes(said, data):
    """However the log is cut into batches, and whenever the worker restarts, the panes are the same."""
    log = entries(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=8)))
    process, table = Process(CONFIG), Table()
    for low, high in zip([0, *cuts], [*cuts, len(log)], strict=True):
        # A batch may repeat what was committed already: the position says so.
        batch = log[max(0, low - 2) : high]
        if batch:
            table.apply(process.feed(batch, batch[-1].id))
        state = msgspec.msgpack.encode(process.snapshot())
        process = Process.restore(CONFIG, msgspec.msgpack.decode(state, type=ProcessState))
    whole = in_one_go(log)
    assert table.panes == whole.panes
    assert table.without_revisions() == whole.without_revisions()


@settings(max_examples=60, deadline=None)
@given(streams(), st.data())
def test_cloud_law_duplicates_change_nothing(said, data):
    """Events that come again, at once or much later, change no pane."""
    repeats: dict[int, list[Envelope]] = {}
    for index in data.draw(st.lists(st.integers(0, len(said) - 1), max_size=10)):
        repeats.setdefault(data.draw(st.integers(index, len(said) - 1)), []).append(said[index])
    doubled = [one for index, event in enumerate(said) for one in (event, *repeats.get(index, []))]
    table, whole = in_one_go(entries(doubled)), in_one_go(entries(said))
    assert table.without_revisions() == whole.without_revisions()


@settings(max_examples=60, deadline=None)
@given(streams(), st.integers(0, 100), st.integers(60_000, 36_000_000))
def test_cloud_law_a_backlog_hours_late_equals_live(said, cut, late_ms):
    """What comes hours late, after the camera was called silent, ends in the same panes as live."""
    cut = min(cut, len(said))
    process, table = Process(CONFIG), Table()
    live, late = entries(said)[:cut], entries(said, late_ms)[cut:]
    if live:
        table.apply(process.feed(live, live[-1].id))
        table.apply(process.tick(live[-1].received_at_ms + 20_000))
    if late:
        table.apply(process.feed(late, late[-1].id))
        assert table.without_revisions() == in_one_go(entries(said)).without_revisions()


@settings(max_examples=60, deadline=None)
@given(streams(), st.randoms(use_true_random=False))
def test_cloud_law_order_does_not_matter_to_sums(said, random):
    """Counts, visits and the number of crossings are the same in any order of arrival."""
    shuffled = list(said)
    random.shuffle(shuffled)
    table, whole = in_one_go(entries(shuffled)), in_one_go(entries(said))
    assert {k: v for k, v in table.counts.items() if v} == {k: v for k, v in whole.counts.items() if v}
    assert sum(sum(counts.values()) for counts in table.counts.values()) == counted(said)
    assert {k: v for k, v in table.measures.items() if v} == {k: v for k, v in whole.measures.items() if v}
    assert sum(n for sums in table.measures.values() for n, _ in sums.values()) == measured(said)
    assert table.added == counted(said) + measured(said)
    visits = [sum(t.visits for z in side.zones.values() for t in z.values()) for side in (table, whole)]
    assert visits[0] == visits[1]


@settings(max_examples=60, deadline=None)
@given(streams(), st.randoms(use_true_random=False))
def test_cloud_law_coverage_is_never_more_than_the_time(said, random):
    """No pane is watched longer than it is, whatever order and repetition; memory stays bounded."""
    shuffled = [*said, *said]
    random.shuffle(shuffled)
    process, table = Process(CONFIG), Table()
    log = entries(shuffled)
    table.apply(process.feed(log, log[-1].id))
    assert all(0 <= watched_ms <= CONFIG.pane_ms for watched_ms, _, _ in table.panes.values())
    assert all(len(camera.panes) <= 64 for camera in process.snapshot().cameras)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["counted", "dead", "lost", "twice"]), min_size=1, max_size=60), st.data())
def test_cloud_law_the_ledger_adds_up(fates, data):
    """Whatever becomes of events, in whatever batches: counted, refused, dead letters and gaps are all of them."""
    device = seed.Device()
    process = Process(CONFIG)
    told: Counter = Counter()
    last: LedgerChange | None = None
    entry = letter = 0
    for fate in fates:
        event = device.crossed(T0)
        effects: list[Effects] = []
        if fate == "dead":
            letter += 1
            effects.append(
                process.bury([DeadEntry(letter, event.site, event.device, event.epoch, event.seq)])
            )
        elif fate != "lost":
            for _ in range(1 + (fate == "twice")):
                entry += 1
                effects.append(process.feed([LogEntry(entry, T0, event)], entry))
        if data.draw(st.booleans()):
            process = Process.restore(CONFIG, process.snapshot())
        for last in (change for one in effects for change in one.ledger):
            told.update(counted=last.counted, dead=last.dead_lettered, twice=last.duplicates)
            told["arrived"] += last.counted + last.refused + last.dead_lettered
    assert told["dead"] == fates.count("dead")
    assert told["twice"] == fates.count("twice")
    if last is not None:
        gaps = sum(high - low + 1 for low, high in last.missing)
        newest = max(seq for seq, fate in enumerate(fates, start=1) if fate != "lost")
        assert told["arrived"] + gaps == newest
        assert last.missing or last.contiguous == told["arrived"]


def test_cloud_law_cells_are_small_arrays():
    """A count travels as an array, which keeps live updates and snapshots small."""
    assert (
        msgspec.json.encode(CountCell("door", Direction.IN, "person", 3, 1)) == b'["door","in","person",3,1]'
    )
