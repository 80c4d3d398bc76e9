"""Laws of admission: failures of the journal, repetitions and restarts change nothing."""

from hypothesis import given
from hypothesis import strategies as st

from countline import codec
from gateway.admit import Accepted, Admission
from tests.envelopes import TOPIC, envelope

# Each step: the events of a message, whether its commit succeeds, and whether the gateway restarts after it.
_steps = st.lists(
    st.tuples(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.booleans(), st.booleans()), max_size=40
)


@given(_steps)
def test_each_event_is_committed_once_whatever_fails(steps: list[tuple[list[int], bool, bool]]):
    """With failing commits and restarts anywhere, a committed event is never committed again, and marks are true."""
    admission = Admission(10, codec.MAX_MESSAGE_BYTES)
    journal: list[int] = []
    for seqs, succeeds, restarts in steps:
        outcomes = admission.feed(TOPIC, codec.encode_batch([envelope(seq) for seq in seqs]), 0)
        if succeeds:
            journal += [outcome.identity.seq for outcome in outcomes if isinstance(outcome, Accepted)]
            marks = admission.commit()
            assert all(set(range(1, mark.seq + 1)) <= set(journal) for mark in marks.values())
        else:
            admission.rollback()
        if restarts:
            admission = Admission(10, codec.MAX_MESSAGE_BYTES, admission.snapshot())
    sent = {seq for seqs, succeeds, _ in steps if succeeds for seq in seqs}
    assert sorted(journal) == sorted(sent)
