"""Bytes to envelopes and back: bounds, reasons, order."""

import pytest

from countline import codec
from countline.errors import Rejected
from countline.events import Envelope
from tests.envelopes import envelope


def test_a_batch_comes_back_in_order():
    """What is encoded together is decoded together."""
    envelopes = [envelope(seq) for seq in (3, 1, 2)]
    assert codec.decode_message(codec.encode_batch(envelopes)) == envelopes


def test_a_single_envelope_is_a_message_too():
    """An object needs no array around it, and leading spaces don't matter."""
    assert codec.decode_message(b"  " + codec.encode(envelope(1))) == [envelope(1)]


def test_joining_encoded_envelopes_is_the_same_as_encoding_a_batch():
    """The outbox never decodes what it sends."""
    envelopes = [envelope(1), envelope(2)]
    assert codec.join_batch([codec.encode(one) for one in envelopes]) == codec.encode_batch(envelopes)


def test_only_the_bad_one_of_a_batch_is_rejected():
    """Its reason names the field, its bytes are its own."""
    bad = codec.encode(envelope(2)).replace(b'"seq":2', b'"seq":0')
    decoded = codec.decode_message(
        codec.join_batch([codec.encode(envelope(1)), bad, codec.encode(envelope(3))])
    )
    assert [type(one) for one in decoded] == [Envelope, Rejected, Envelope]
    assert isinstance(decoded[1], Rejected)
    assert "$.seq" in decoded[1].reason
    assert decoded[1].raw == bad


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b'"site":"home"', b'"site":"a/b"'),
        (b'"site":"home"', b'"site":"+"'),
        (b'"camera":"entrance"', b'"camera":""'),
        (b'"epoch":5', b'"epoch":0'),
        (b'"seq":1', b'"seq":"1"'),
        (b'"seq":1', b'"seq":9007199254740992'),
        (b'"at_ms":1700000000000', b'"at_ms":-1'),
        (b'"direction":"in"', b'"direction":"up"'),
        (b'"conf":0.9', b'"conf":1.5'),
        (b'"type":"line_crossed"', b'"type":"unheard_of"'),
    ],
)
def test_what_breaks_the_contract_is_rejected_with_a_reason(field: bytes, value: bytes):
    """Each bound of the contract holds on the wire."""
    payload = codec.encode(envelope(1))
    assert field in payload
    decoded = codec.decode(payload.replace(field, value, 1))
    assert isinstance(decoded, Rejected)
    assert decoded.reason


def test_another_contract_version_is_rejected():
    """A different meaning is never read as this one; alone and in a batch."""
    other = codec.encode(envelope(1)).replace(b'"v":1', b'"v":2')
    assert isinstance(codec.decode(other), Rejected)
    mixed = codec.decode_message(codec.join_batch([other, codec.encode(envelope(2))]))
    assert [type(one) for one in mixed] == [Rejected, Envelope]


def test_a_message_over_the_limit_is_rejected_unread_and_kept_in_part():
    """The dead letter holds the beginning."""
    [rejected] = codec.decode_message(b"[" + b"x" * 300_000)
    assert isinstance(rejected, Rejected)
    assert "262144 are allowed" in rejected.reason
    assert len(rejected.raw) == codec.MAX_REJECTED_BYTES


def test_a_batch_of_too_many_events_is_rejected():
    """The number of events has its own bound, also when one of them is bad."""
    good = [codec.encode(envelope(seq)) for seq in range(1, codec.MAX_BATCH + 2)]
    for parts in (good, [*good[:-1], b"{}"]):
        [rejected] = codec.decode_message(codec.join_batch(parts), max_bytes=10_000_000)
        assert isinstance(rejected, Rejected)
        assert "1000 are allowed" in rejected.reason


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"{", b"[1,", b"nul", b"[" * 5_000, b'{"epoch":0,"seq":1}']
)
def test_garbage_is_a_value_and_never_an_exception(payload: bytes):
    """Decoders of all kinds answer with `Rejected`."""
    assert isinstance(codec.decode_message(payload)[0], Rejected)
    assert isinstance(codec.decode_mark(payload), Rejected)
    assert isinstance(codec.decode_presence(payload), Rejected)
