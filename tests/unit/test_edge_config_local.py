"""Settings of counters, rules, live topics: what is wrong is said with its place, before anything starts."""

import re
from datetime import time
from pathlib import Path

import pytest

from countline.config import parse
from countline.errors import UsageError
from deploy.config import BoxSettings, shown
from edge.config import CameraSettings, LineSettings, ZoneSettings, places
from edge.config.local import CounterSettings, counter_lines, times

CAMERAS = """
cameras:
  - name: hall
    source: "synthetic:"
    lines: [{name: door, points: [[0, 0], [1, 1]]}, {name: back, points: [[0, 0], [1, 1]]}]
    zones: [{name: queue, points: [[0, 0], [1, 0], [1, 1]]}]
  - name: yard
    source: "synthetic:"
    lines: [{name: door, points: [[0, 0], [1, 1]]}]
"""


def box(text: str) -> BoxSettings:
    return parse(CAMERAS + text, BoxSettings, "box.yaml", {})


def test_what_the_documentation_shows_is_accepted():
    """All examples of its page together are settings that work."""
    page = (Path(__file__).parents[2] / "docs" / "local.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    cameras = CAMERAS.replace("name: hall", "name: entrance").replace("name: back,", "name: side,")
    yard = cameras.replace("door, points: [[0, 0], [1, 1]]}]\n", "back-door, points: [[0, 0], [1, 1]]}]\n")
    settings = parse(yard + "".join(examples), BoxSettings, "local.md", {})
    assert len(examples) == 5
    assert (len(settings.counters), len(settings.rules)) == (1, 2)
    assert settings.home_assistant.enabled


def test_all_kinds_of_actions_are_accepted():
    """Counters, rules with all four actions, live topics and Home Assistant."""
    settings = box(
        """
timezone: Europe/Berlin
counters: [{name: shop, lines: [hall/door, back], reset: 12:30}]
rules:
  - when: zone.queue.count > 8 for 20s
    clear: "< 6 for 30s"
    then:
      - mqtt: {topic: shop/alarm, payload: "on"}
      - http: {url: "http://127.0.0.1:8123/api/webhook/x", headers: {Authorization: Bearer abc}}
      - gpio: {line: 17}
      - command: [/usr/bin/logger, queue]
  - when: counter.shop.value >= 50 or line.hall/door.in in the last 5m > 100
    then: [{command: [/bin/true]}]
live: {reset: ["00:00", "12:00"]}
home_assistant: {enabled: true}
"""
    )
    assert settings.counters[0].reset == ["12:30"]
    assert times(settings.live.reset) == (time(0), time(12))
    assert "abc" not in str(shown(settings))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "counters: [{name: shop, lines: [dor]}]",
            "counter 'shop': there is no line 'dor': did you mean 'door'",
        ),
        (
            "counters: [{name: shop, lines: [door]}]",
            "several cameras have a line 'door': say hall/door or yard/door",
        ),
        ("counters: [{name: shop, lines: []}]", "has no lines"),
        ("counters: [{name: shop, lines: [back], reset: '24:00'}]", "'24:00' is no time of day"),
        ("counters: [{name: a, lines: [back]}, {name: a, lines: [back]}]", "two counters are named 'a'"),
        (
            "rules: [{when: zone.queue.cont > 8, then: [{command: [x]}]}]",
            "at character 1: a zone has no 'cont'",
        ),
        (
            "rules: [{when: zone.queu.count > 8, then: [{command: [x]}]}]",
            "at character 1: there is no zone 'queu'",
        ),
        ("rules: [{when: line.door.in > 8, then: [{command: [x]}]}]", "say hall/door or yard/door"),
        ("rules: [{when: counter.shop.value > 8, then: [{command: [x]}]}]", "there is no counter 'shop'"),
        ("rules: [{when: zone.queue.count > 8, clear: '< x', then: [{command: [x]}]}]", "plain number"),
        ("rules: [{when: zone.queue.count > 8, then: []}]", "1 to 8 actions"),
        ("rules: [{when: zone.queue.count > 8, then: [{}]}]", "exactly one of mqtt, http, gpio and command"),
        ("rules: [{when: zone.queue.count > 8, then: [{mqtt: {topic: a/#}}]}]", "no topic to publish to"),
        (
            "rules: [{when: zone.queue.count > 8, then: [{mqtt: {topic: countline/v1/a/b/events}}]}]",
            "for Countline's own messages",
        ),
        ("rules: [{when: zone.queue.count > 8, then: [{http: {url: file:///etc/passwd}}]}]", "no http"),
        (
            'rules: [{when: zone.queue.count > 8, then: [{http: {url: "http://a:b@c/"}}]}]',
            "url holds a login",
        ),
        (
            'rules: [{when: zone.queue.count > 8, then: [{http: {url: "http://a/", headers: {A: "x\\r\\ny"}}}]}]',
            "no header",
        ),
        ("rules: [{when: zone.queue.count > 8, then: [{gpio: {line: -1}}]}]", "no output of a chip"),
        ("live: {max_per_s: 0}", "max_per_s"),
        ("home_assistant: {prefix: a/+}", "no topic"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_line(text: str, problem: str):
    """The file and line, and what is wrong there."""
    with pytest.raises(UsageError) as caught:
        box(text)
    assert problem in str(caught.value)
    assert str(caught.value).startswith("box.yaml:")


def test_a_camera_without_lines_and_zones_has_the_line_across_its_middle():
    """It is counted, so it can be asked for."""
    cameras = [
        CameraSettings("a", "synthetic:"),
        CameraSettings("b", "synthetic:", [LineSettings("x", [(0, 0), (1, 1)])]),
    ]
    zone = ZoneSettings("z", [(0, 0), (1, 0), (1, 1)])
    found = places([*cameras, CameraSettings("c", "synthetic:", zones=[zone])], [])
    assert found.lines == {"a": ["middle"], "b": ["x"], "c": []}
    assert counter_lines(CounterSettings("n", ["middle", "b/x"]), found) == {("a", "middle"), ("b", "x")}
