"""Bytes <-> envelopes. JSON on the wire: one envelope, or an array of them.

Decoding never raises on bad bytes: what cannot be read becomes a `Rejected`, one per bad envelope, so that one
bad event does not take its batch with it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from countline.errors import Rejected
from countline.events import CONTRACT_VERSION, AnyEvent, Envelope, Mark, Presence

# A batch of 500 envelopes is about 100 kB; a broker's usual limit is 256 kB or more.
MAX_MESSAGE_BYTES = 262_144
MAX_BATCH = 1_000
# What a dead letter keeps of a message that is too large to keep whole.
MAX_REJECTED_BYTES = 65_536

_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(Envelope)
_batch = msgspec.json.Decoder(list[Envelope])
_raw_batch = msgspec.json.Decoder(list[msgspec.Raw])
_mark = msgspec.json.Decoder(Mark)
_presence = msgspec.json.Decoder(Presence)


def encode(envelope: Envelope) -> bytes:
    """Return one envelope as a JSON object."""
    return _encoder.encode(envelope)


def encode_value(value: Mark | Presence | AnyEvent) -> bytes:
    """Return a mark, a presence message or a bare event as a JSON object."""
    return _encoder.encode(value)


def join_batch(encoded: Sequence[bytes]) -> bytes:
    """Return already encoded envelopes as one JSON array, without decoding them again."""
    return b"[" + b",".join(encoded) + b"]"


def encode_batch(envelopes: Iterable[Envelope]) -> bytes:
    """Return envelopes as one JSON array."""
    return join_batch([_encoder.encode(envelope) for envelope in envelopes])


def decode(payload: bytes) -> Envelope | Rejected:
    """Read one envelope."""
    try:
        envelope = _envelope.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _rejected(str(error), payload)
    return _checked(envelope, payload)


def decode_message(payload: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> list[Envelope | Rejected]:
    """Read a message of one envelope or an array of them, in order.

    Args:
        payload: The message's bytes.
        max_bytes: Larger messages are rejected unread.

    Returns:
        One entry per envelope; a message that is no message at all gives a single `Rejected`.
    """
    if len(payload) > max_bytes:
        return [_rejected(f"the message has {len(payload)} bytes, {max_bytes} are allowed", payload)]
    if payload.lstrip()[:1] != b"[":
        return [decode(payload)]
    try:
        envelopes = _batch.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_one_by_one(payload)
    if len(envelopes) > MAX_BATCH:
        return [_rejected(f"the batch has {len(envelopes)} events, {MAX_BATCH} are allowed", payload)]
    if all(envelope.v == CONTRACT_VERSION for envelope in envelopes):
        return list(envelopes)
    return _decode_one_by_one(payload)


def decode_mark(payload: bytes) -> Mark | Rejected:
    """Read a gateway's durable mark."""
    try:
        return _mark.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _rejected(str(error), payload)


def decode_presence(payload: bytes) -> Presence | Rejected:
    """Read a device's presence message."""
    try:
        return _presence.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _rejected(str(error), payload)


def _decode_one_by_one(payload: bytes) -> list[Envelope | Rejected]:
    try:
        parts = _raw_batch.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [_rejected(str(error), payload)]
    if len(parts) > MAX_BATCH:
        return [_rejected(f"the batch has {len(parts)} events, {MAX_BATCH} are allowed", payload)]
    return [decode(bytes(part)) for part in parts]


def _checked(envelope: Envelope, payload: bytes) -> Envelope | Rejected:
    if envelope.v != CONTRACT_VERSION:
        return _rejected(f"contract version {envelope.v} is not {CONTRACT_VERSION} - at `$.v`", payload)
    return envelope


def _rejected(reason: str, payload: bytes) -> Rejected:
    return Rejected(reason=reason, raw=bytes(payload[:MAX_REJECTED_BYTES]))
