"""Laws of dedupe: whatever order and however often events come, each is new exactly once."""

from hypothesis import given
from hypothesis import strategies as st

from countline.dedupe import (
    MAX_EPOCHS_PER_DEVICE,
    MAX_RANGES_PER_EPOCH,
    DeviceDedupe,
    Verdict,
)

_seqs = st.lists(st.integers(1, 40), max_size=120)
_arrivals = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30)), max_size=120)


@given(_arrivals)
def test_each_identity_is_new_exactly_once(arrivals: list[tuple[int, int]]):
    """However often and in whatever order identities come, the first of each is new, the rest duplicates."""
    dedupe = DeviceDedupe()
    new = [identity for identity in arrivals if dedupe.feed(*identity) is Verdict.NEW]
    assert sorted(new) == sorted(set(arrivals))


@given(_arrivals, st.randoms(use_true_random=False))
def test_order_does_not_change_what_is_remembered(arrivals: list[tuple[int, int]], random):
    """Any permutation, with any repetition, ends in the same state."""
    shuffled = arrivals + arrivals[: len(arrivals) // 2]
    random.shuffle(shuffled)
    one, other = DeviceDedupe(), DeviceDedupe()
    for identity in arrivals:
        one.feed(*identity)
    for identity in shuffled:
        other.feed(*identity)
    assert one.snapshot() == other.snapshot()


@given(_arrivals, st.integers(0, 120))
def test_a_restart_at_any_point_changes_nothing(arrivals: list[tuple[int, int]], cut: int):
    """Snapshot, restore, and go on: the same verdicts and the same state."""
    whole = DeviceDedupe()
    expected = [whole.feed(*identity) for identity in arrivals]
    first = DeviceDedupe()
    verdicts = [first.feed(*identity) for identity in arrivals[:cut]]
    second = DeviceDedupe.restore(first.snapshot())
    verdicts += [second.feed(*identity) for identity in arrivals[cut:]]
    assert verdicts == expected
    assert second.snapshot() == whole.snapshot()


@given(_seqs)
def test_the_mark_is_the_longest_run_from_one(seqs: list[int]):
    """The mark never claims what has not arrived, and claims all that has without a gap."""
    dedupe = DeviceDedupe()
    for seq in seqs:
        dedupe.feed(5, seq)
    expected = next(n for n in range(len(seqs) + 1) if n + 1 not in seqs)
    assert dedupe.mark(5) == expected


@given(_seqs)
def test_missing_names_exactly_what_has_not_arrived(seqs: list[int]):
    """Mark, gaps and arrivals make up the whole sequence."""
    dedupe = DeviceDedupe()
    for seq in seqs:
        dedupe.feed(5, seq)
    missing = {seq for low, high in dedupe.missing(5) for seq in range(low, high + 1)}
    assert missing == set(range(1, max(seqs, default=0) + 1)) - set(seqs)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 5_000)), max_size=300))
def test_state_stays_within_its_bound(arrivals: list[tuple[int, int]]):
    """No sequence of identities makes a device's state larger than the two constants say."""
    dedupe = DeviceDedupe()
    for identity in arrivals:
        dedupe.feed(*identity)
    state = dedupe.snapshot()
    assert len(state.epochs) <= MAX_EPOCHS_PER_DEVICE
    assert all(len(epoch.ranges) <= MAX_RANGES_PER_EPOCH for epoch in state.epochs)


@given(st.randoms(use_true_random=False))
def test_what_is_refused_for_its_gaps_is_taken_when_it_comes_again(random):
    """Past the bound of gaps nothing is taken, and once the gaps are filled everything still arrives once."""
    seqs = list(range(2, 2 * MAX_RANGES_PER_EPOCH + 40, 2))
    random.shuffle(seqs)
    dedupe = DeviceDedupe()
    taken = {seq for seq in seqs if dedupe.feed(5, seq) is Verdict.NEW}
    assert len(taken) == MAX_RANGES_PER_EPOCH
    again = [seq for seq in range(1, max(seqs) + 1) if dedupe.feed(5, seq) is Verdict.NEW]
    assert set(again) | taken == set(range(1, max(seqs) + 1))
    assert not set(again) & taken
    assert dedupe.mark(5) == max(seqs)
