"""Logs: one line an event, secrets masked, text for people and JSON for machines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from countline.telemetry import Log, mask, set_up_logging


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("countline").setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://user:pass@cam/1", "rtsp://***@cam/1"),
        ("no login in rtsp://cam/1", "no login in rtsp://cam/1"),
        ("two a://b:c@d e://f@g", "two a://***@d e://***@g"),
    ],
)
def test_logins_in_urls_are_masked(text: str, expected: str):
    """A camera's password never reaches a log."""
    assert mask(text) == expected


def test_a_json_line_holds_event_and_fields_and_no_secret():
    """One object a line."""
    stream = io.StringIO()
    set_up_logging("edge", style="json", stream=stream)
    Log("edge.publish").info("connected", host="h", api_token="abc", n=3, source="rtsp://u:p@c")
    line = json.loads(stream.getvalue())
    assert {
        key: line[key] for key in ("level", "process", "part", "event", "host", "api_token", "n", "source")
    } == {
        "level": "info",
        "process": "edge",
        "part": "edge.publish",
        "event": "connected",
        "host": "h",
        "api_token": "***",
        "n": 3,
        "source": "rtsp://***@c",
    }


def test_an_error_in_an_exception_carries_its_trace():
    """The trace is masked as well."""
    stream = io.StringIO()
    set_up_logging("edge", style="json", stream=stream)
    try:
        int("rtsp://u:p@c")
    except ValueError:
        Log("edge").error("it broke")
    line = json.loads(stream.getvalue())
    assert "ValueError" in line["trace"]
    assert "u:p" not in line["trace"]


def test_text_is_for_people_and_levels_are_kept():
    """Below the level nothing is written."""
    stream = io.StringIO()
    set_up_logging("edge", level="warning", style="text", stream=stream)
    log = Log("edge")
    log.debug("no")
    log.info("no")
    log.warning("camera is away", camera="door")
    assert stream.getvalue().rstrip().endswith("edge     camera is away camera=door")
    assert stream.getvalue().count("\n") == 1
