"""A device says that it has put a counter right: that is in the ledger, and in no count."""

from cloud.process import LogEntry, Process
from cloud.windows import WindowConfig
from countline.events import CounterChanged, CounterReason, Direction, Envelope, LineCrossed, LineTotals
from tests import seed

T0 = seed.START_MS


def test_a_counters_change_is_counted_as_an_event_and_changes_no_crossing():
    """One crossing and two changes are three events, one crossing, and nothing refused or dead."""
    totals = LineTotals(in_=1, out=0)
    events = [
        LineCrossed("door", Direction.IN, "person", 1, 0.9, totals),
        CounterChanged("shop", CounterReason.RESET, 3, 0, totals, T0 - 9),
        CounterChanged("shop", CounterReason.CLAMPED, 0, 0, totals, T0, 2),
    ]
    log = [
        LogEntry(seq, T0, Envelope(1, "home", "box", 1_700_000_000_000, seq, "entrance", T0 + seq, event))
        for seq, event in enumerate(events, start=1)
    ]
    effects = Process(WindowConfig()).feed(log, log[-1].id)
    (account,) = effects.ledger
    assert (account.counted, account.crossings, account.refused, account.dead_lettered) == (3, 1, 0, 0)
    assert (account.contiguous, account.missing) == (3, [])
    assert [(cell.line, cell.n) for pane in effects.panes for cell in pane.counts if cell.n] == [("door", 1)]
