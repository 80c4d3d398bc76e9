"""Admission: what is taken, refused, remembered, and given back."""

import msgspec
import pytest

from countline import codec
from countline import events as ev
from countline.codec import MAX_MESSAGE_BYTES
from gateway.admit import MAX_AHEAD_MS, Accepted, Admission, Duplicate, NotYet, Refused
from gateway.fleet import DeviceKey
from tests.envelopes import TOPIC, envelope

NOW_MS = 1_700_000_000_000
KEY = DeviceKey("home", "box")


def _admission(max_devices: int = 10) -> Admission:
    return Admission(max_devices, MAX_MESSAGE_BYTES)


def _feed(admission: Admission, *seqs: int, epoch: int = 5) -> list[type]:
    payload = codec.encode_batch([envelope(seq, epoch=epoch) for seq in seqs])
    return [type(outcome) for outcome in admission.feed(TOPIC, payload, NOW_MS)]


def test_new_events_are_accepted_once_and_marked_after_the_commit():
    """The mark moves with the commit, not with the arrival, and a repetition is a duplicate."""
    admission = _admission()
    assert _feed(admission, 1, 2, 2) == [Accepted, Accepted, Duplicate]
    assert admission.marks() == {}
    assert admission.commit() == {KEY: ev.Mark(5, 2)}
    assert _feed(admission, 1, 2, 3) == [Duplicate, Duplicate, Accepted]


def test_what_could_not_be_committed_is_taken_again():
    """After a rollback the same events are new again."""
    admission = _admission()
    _feed(admission, 1)
    admission.commit()
    _feed(admission, 2, 3)
    admission.rollback()
    assert admission.marks() == {KEY: ev.Mark(5, 1)}
    assert _feed(admission, 2, 3) == [Accepted, Accepted]


def test_a_repetition_gives_the_mark_again_without_a_write():
    """A device that has missed its mark gets it with the next commit; nothing has to be written for it."""
    admission = _admission()
    _feed(admission, 1)
    admission.commit()
    _feed(admission, 1)
    assert admission.touched() == {}
    assert admission.commit() == {KEY: ev.Mark(5, 1)}


def test_the_raw_bytes_keep_what_a_newer_producer_added():
    """An unknown field goes on to the journal as it came."""
    tree = msgspec.to_builtins(envelope(1)) | {"from_the_future": True}
    payload = b" [ " + msgspec.json.encode(tree) + b" ] "
    [outcome] = _admission().feed(TOPIC, payload, NOW_MS)
    assert isinstance(outcome, Accepted)
    assert msgspec.json.decode(outcome.raw)["from_the_future"] is True


def test_one_bad_event_does_not_take_its_batch_with_it():
    """The good ones around it are accepted, and its place counts as arrived, so that the mark can pass it."""
    bad = msgspec.to_builtins(envelope(2)) | {"at_ms": -1}
    payload = (
        b"["
        + codec.encode(envelope(1))
        + b","
        + msgspec.json.encode(bad)
        + b","
        + codec.encode(envelope(3))
        + b"]"
    )
    admission = _admission()
    outcomes = admission.feed(TOPIC, payload, NOW_MS)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Refused, Accepted]
    refused = outcomes[1]
    assert isinstance(refused, Refused)
    assert "at_ms" in refused.rejected.reason
    assert refused.identity == (KEY, 5, 2)
    assert admission.commit() == {KEY: ev.Mark(5, 3)}
    assert isinstance(admission.feed(TOPIC, msgspec.json.encode(bad), NOW_MS)[0], Duplicate)


def test_an_event_type_of_the_future_is_refused_and_passed():
    """An unknown type is kept with the dead letters and does not stop its device."""
    tree = msgspec.to_builtins(envelope(1)) | {"event": {"type": "teleported"}}
    admission = _admission()
    [outcome] = admission.feed(TOPIC, msgspec.json.encode(tree), NOW_MS)
    assert isinstance(outcome, Refused)
    assert "teleported" in outcome.rejected.reason
    assert admission.commit() == {KEY: ev.Mark(5, 1)}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x",
        b"[",
        b"{}",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b'[{"v":1}]',
        b"[" * 100_000,
        b'{"v":1,"site":"home"}',
    ],
)
def test_garbage_is_refused_with_its_reason(payload: bytes):
    """What is no event at all is refused, and nothing is remembered of it."""
    admission = _admission()
    [outcome] = admission.feed(TOPIC, payload, NOW_MS)
    assert isinstance(outcome, Refused)
    assert outcome.rejected.reason
    assert outcome.identity is None
    assert admission.touched() == {}


def test_a_message_that_is_too_large_is_refused_and_its_events_stay_open():
    """A batch may be cut smaller and come again, so none of its events counts as arrived."""
    admission = Admission(10, 1_000)
    payload = codec.encode_batch([envelope(seq) for seq in range(1, 20)])
    [outcome] = admission.feed(TOPIC, payload, NOW_MS)
    assert isinstance(outcome, Refused)
    assert "1000 are allowed" in outcome.rejected.reason
    assert outcome.identity is None
    assert admission.touched() == {}


def test_a_single_event_that_is_too_large_is_passed():
    """It cannot be cut smaller, so its device must not wait for it for ever."""
    admission = Admission(10, 100)
    [outcome] = admission.feed(TOPIC, codec.encode_batch([envelope(1)]), NOW_MS)
    assert isinstance(outcome, Refused)
    assert admission.commit() == {KEY: ev.Mark(5, 1)}


def test_a_device_may_not_speak_for_another():
    """The envelope's names must be those of the topic, and the other device's sequence is not touched."""
    admission = _admission()
    [outcome] = admission.feed(TOPIC, codec.encode(envelope(1, device="other")), NOW_MS)
    assert isinstance(outcome, Refused)
    assert outcome.rejected.reason == "home/other speaks on the topic of home/box"
    assert admission.touched() == {}


@pytest.mark.parametrize("topic", ["countline/v1/home/box/status", "countline/v2/home/box/events", "x", ""])
def test_a_topic_that_is_not_for_events_is_refused(topic: str):
    """Only events topics are admitted."""
    [outcome] = _admission().feed(topic, codec.encode(envelope(1)), NOW_MS)
    assert isinstance(outcome, Refused)


def test_an_empty_batch_is_nothing():
    """It is neither an event nor an error."""
    assert _admission().feed(TOPIC, b"[]", NOW_MS) == []


def test_a_clock_that_is_days_ahead_is_taken_and_flagged():
    """The event happened; only its time is doubtful."""
    payload = codec.encode_batch(
        [envelope(1, at_ms=NOW_MS + MAX_AHEAD_MS), envelope(2, at_ms=NOW_MS + MAX_AHEAD_MS + 1)]
    )
    outcomes = _admission().feed(TOPIC, payload, NOW_MS)
    assert [outcome.is_ahead for outcome in outcomes if isinstance(outcome, Accepted)] == [False, True]


def test_more_devices_than_allowed_are_not_taken_and_not_lost():
    """The events of one device too many are left with it; known devices go on."""
    admission = _admission(max_devices=1)
    _feed(admission, 1)
    [outcome] = admission.feed(
        "countline/v1/home/two/events", codec.encode(envelope(1, device="two")), NOW_MS
    )
    assert isinstance(outcome, NotYet)
    admission.commit()
    assert _feed(admission, 2) == [Accepted]
    assert set(admission.snapshot()) == {KEY}


def test_the_mark_follows_the_epoch_that_the_device_sends():
    """A device whose clock was ahead once uses a smaller epoch later; its mark is about the one it sends."""
    admission = _admission()
    _feed(admission, 1, 2, epoch=9)
    admission.commit()
    _feed(admission, 1, epoch=7)
    assert admission.commit() == {KEY: ev.Mark(7, 1)}


def test_a_mark_from_before_the_journal_was_lost_is_taken_over():
    """The device never sends again what is below its mark, so the new journal goes on above it."""
    admission = _admission()
    _feed(admission, 8, 11)
    assert admission.adopt(KEY, ev.Mark(5, 7))
    assert admission.commit() == {KEY: ev.Mark(5, 8)}
    assert not admission.adopt(KEY, ev.Mark(5, 6))
    assert _feed(admission, 7, 9, 10, 11) == [Duplicate, Accepted, Accepted, Duplicate]
    assert admission.commit() == {KEY: ev.Mark(5, 11)}


def test_an_empty_mark_makes_no_device():
    """A mark that confirms nothing says nothing."""
    admission = _admission()
    assert not admission.adopt(KEY, ev.Mark(5, 0))
    assert admission.commit() == {}


def test_a_restart_goes_on_where_the_commit_was():
    """What the journal holds is enough to go on."""
    admission = _admission()
    _feed(admission, 1, 2, 4)
    admission.commit()
    again = Admission(10, MAX_MESSAGE_BYTES, admission.snapshot())
    assert again.marks() == {KEY: ev.Mark(5, 2)}
    assert _feed(again, 2, 3, 4, 5) == [Duplicate, Accepted, Duplicate, Accepted]
