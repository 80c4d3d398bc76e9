"""The wire format of version 1, byte for byte: what is in `golden/` must be readable for ever."""

import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countline import codec
from countline import events as ev

GOLDEN = Path(__file__).parent / "golden"


def _configured(line: dict[str, Any], zone: dict[str, Any], **more: Any) -> ev.CameraConfigured:
    return ev.CameraConfigured(
        768,
        576,
        "video",
        [
            ev.LineShape(
                "door",
                [(0.0, 288.0), (768.0, 288.5)],
                swap=True,
                sides=("street", "shop"),
                classes=["person"],
                **line,
            )
        ],
        [ev.ZoneShape("lobby", [(0.0, 0.0), (10.0, 0.0), (10.0, 10.5)], **zone)],
        synthetic=True,
        model="yolo11n",
        fps=7.5,
        preview=True,
        **more,
    )


EVENTS: dict[str, ev.AnyEvent] = {
    "line_crossed": ev.LineCrossed("door", ev.Direction.IN, "person", 7, 0.875, ev.LineTotals(in_=3, out=1)),
    "zone_occupancy": ev.ZoneOccupancy("lobby", {"person": 2, "dog": 1}),
    "zone_visit": ev.ZoneVisit("lobby", "person", 9, 8_125),
    "count_delta": ev.CountDelta("door", ev.Direction.OUT, "car", 5, 1_700_000_000_000, 1_700_000_060_000),
    "heartbeat": ev.Heartbeat(1_699_999_999_000, 250, 24, 1, 61.5, ev.CameraState.BLIND, "no picture", 4),
    "drift": ev.Drift("sharpness", 0.25, 0.5, 1_700_000_000_000),
    "camera_configured": _configured(
        {"min_height": 0.125, "max_height": 0.75},
        {"min_height": 0.25, "max_height": 0.5, "max_occupancy": 8, "overcrowded_after_ms": 10_000},
        gates=[ev.GateShape("through", "door", "exit", ev.Way.IN, ev.Way.ANY, 60_000)],
        od=True,
    ),
    "visit_delta": ev.VisitDelta("lobby", "person", 3, 24_000, 1_700_000_000_000, 1_700_000_060_000),
    "counter_changed": ev.CounterChanged(
        "shop", ev.CounterReason.RESET, 3, 0, ev.LineTotals(in_=120, out=117), 1_699_913_600_000, 2
    ),
    "zone_entered": ev.ZoneEntered("lobby", "person", 9, appeared=True),
    "zone_crowded": ev.ZoneCrowded("lobby", crowded=True, n=9, limit=8, since_ms=1_699_999_990_000),
    "gate_passed": ev.GatePassed("through", "street", "shop", "person", 9, 12_500),
    "heat": ev.Heat("person", 1_699_999_700_000, 32, 18, [0, 33, 575], [250, 12_000, 40]),
    "entry_delta": ev.EntryDelta("lobby", "person", 3, 1_700_000_000_000, 1_700_000_060_000),
    "gate_delta": ev.GateDelta("", "street", "shop", "car", 4, 60_000, 1_700_000_000_000, 1_700_000_060_000),
    "line_doubt": ev.LineDoubt(
        "door",
        "ends",
        "Tracks end there: move it.",
        {"share": 0.625, "tracks": 48.0},
        1_700_000_000_000,
        cleared=True,
    ),
    "counter_values": ev.CounterValues(
        [ev.CounterNow("shop", 12, ev.LineTotals(in_=120, out=108), 1_699_913_600_000)]
    ),
}

# What earlier versions wrote in other bytes: fields that came later were missing.
EARLIER: dict[str, ev.AnyEvent] = {"camera_configured": _configured({}, {})}
OPTIONAL: dict[str, ev.AnyEvent] = {
    "line_crossed": ev.LineCrossed(
        "door", ev.Direction.IN, "person", 7, 0.875, ev.LineTotals(in_=3, out=1), 1.25
    ),
    "zone_visit": ev.ZoneVisit("lobby", "person", 9, 8_125, vanished=True),
}


def _envelope(name: str, event: ev.AnyEvent | None = None) -> ev.Envelope:
    seq = list(EVENTS).index(name) + 1
    said = event or EVENTS[name]
    return ev.Envelope(1, "home", "box", 1_700_000_000_000, seq, "entrance", 1_700_000_001_234, said)


def _golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n")


def test_every_event_type_has_golden_bytes():
    """An event type that is added needs a file in `golden/`, and none may ever go."""
    tags = {kind.__struct_config__.tag for kind in typing.get_args(ev.AnyEvent)}
    assert tags == set(EVENTS)
    files = {path.stem for path in GOLDEN.glob("*.json")}
    assert files == tags | {"mark", "presence", "batch"}


@pytest.mark.parametrize("name", EVENTS)
def test_golden_bytes_decode_to_the_same_event(name: str):
    """What was written by version 1 is read as it was meant."""
    assert codec.decode(_golden(name)) == _envelope(name)


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_encodes_to_its_golden_bytes(name: str):
    """The encoder writes the same bytes as ever."""
    assert codec.encode(_envelope(name)) == _golden(name)


@pytest.mark.parametrize("name", EARLIER)
def test_what_earlier_versions_wrote_is_read_as_it_was_meant(name: str):
    """Fields that came later take their defaults."""
    before = (GOLDEN / "earlier" / f"{name}.json").read_bytes().rstrip(b"\n")
    assert codec.decode(before) == _envelope(name, EARLIER[name])


@pytest.mark.parametrize("name", OPTIONAL)
def test_optional_fields_have_golden_bytes_too(name: str):
    """A field that is left out where there is nothing to say is written where there is."""
    golden = (GOLDEN / "optional" / f"{name}.json").read_bytes().rstrip(b"\n")
    assert codec.encode(_envelope(name, OPTIONAL[name])) == golden
    assert codec.decode(golden) == _envelope(name, OPTIONAL[name])


def test_the_golden_batch_is_all_events_in_one_array():
    """A batch is a JSON array of envelopes."""
    envelopes = [_envelope(name) for name in EVENTS]
    assert codec.encode_batch(envelopes) == _golden("batch")
    assert codec.decode_message(_golden("batch")) == envelopes


def test_marks_and_presence_keep_their_bytes():
    """The two small messages have golden bytes too."""
    mark = ev.Mark(1_700_000_000_000, 41)
    presence = ev.Presence(online=True, at_ms=1_700_000_000_000, version="0.1.0")
    assert (codec.encode_value(mark), codec.encode_value(presence)) == (_golden("mark"), _golden("presence"))
    assert codec.decode_mark(_golden("mark")) == mark
    assert codec.decode_presence(_golden("presence")) == presence


@pytest.mark.parametrize("name", EVENTS)
def test_unknown_extra_fields_of_a_newer_producer_are_ignored(name: str):
    """A field that this version does not know, in the envelope or in the event, changes nothing."""
    tree = msgspec.json.decode(_golden(name))
    tree["from_the_future"] = {"a": [1, 2]}
    tree["event"]["from_the_future"] = "x"
    assert codec.decode(msgspec.json.encode(tree)) == _envelope(name)


@pytest.mark.parametrize("name", EVENTS)
def test_fields_with_defaults_may_be_missing(name: str):
    """An older producer that does not know a field with a default is still understood."""
    tree = msgspec.json.decode(_golden(name))
    kind = type(EVENTS[name])
    for field in msgspec.structs.fields(kind):
        if not field.required:
            tree["event"].pop(field.encode_name, None)
    assert isinstance(codec.decode(msgspec.json.encode(tree)), ev.Envelope)
