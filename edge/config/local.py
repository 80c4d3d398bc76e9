"""Settings of what an agent does by itself, without a cloud: counters, rules and their actions, live topics, Home Assistant."""

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import time
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import force_setattr

from countline.events import Label, Name
from countline.topics import PREFIX
from edge.expression import Condition, Ref, parse, parse_clear, refs

MAX_COUNTERS = 64
MAX_RULES = 64
MAX_ACTIONS = 8
MAX_HOURS = 24
# The line that a camera without lines and zones counts over; see `edge.count.rules.shapes`.
DEFAULT_LINE = "middle"
# YAML reads 12:30 without quotes as a number to the base of sixty, 750; so it is a time of day all the same.
Hours = str | int | list[str | int]
_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class CounterSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How many are inside: the ins of some lines less their outs, kept over restarts and never below zero.

    Attributes:
        name: Unique within the device.
        lines: The lines around the place, by name; `camera/line` where two cameras have one of that name.
        reset: When it is forced to zero, local time, one or more such as "04:00". Empty never is: then miscounts add up.
        classes: Count only these; empty counts all.
    """

    name: Name
    lines: list[str]
    reset: Hours = "04:00"
    classes: list[Label] = []

    def __post_init__(self) -> None:
        """Refuse a counter that can never count."""
        if not self.lines:
            raise ValueError(f"counter {self.name!r} has no lines: name at least one")
        force_setattr(self, "reset", hours_of(f"counter {self.name!r}", self.reset))


class LiveSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Live counts for others on the same broker, at `countline/v1/<site>/<device>/live/...`.

    Attributes:
        enabled: Publish them.
        max_per_s: Messages per second and topic at most; the latest wins.
        reset: When what is said of each line begins anew, local time, one or more such as "00:00"; empty never does.
    """

    enabled: bool = True
    max_per_s: float = 2.0
    reset: Hours = "00:00"

    def __post_init__(self) -> None:
        """Refuse a rate that is none."""
        if not 0.01 <= self.max_per_s <= 10.0:
            raise ValueError(f"max_per_s {self.max_per_s:g} is not between 0.01 and 10")
        force_setattr(self, "reset", hours_of("live", self.reset))


class HomeAssistantSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Let Home Assistant find every line, zone and counter by itself, on the same broker.

    Attributes:
        enabled: Publish what its MQTT discovery needs, and live counts though `live` is off.
        prefix: Its discovery prefix.
    """

    enabled: bool = False
    prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        """Refuse a prefix that is no topic."""
        check_topic("prefix", self.prefix)


class MqttAction(Struct, frozen=True, forbid_unknown_fields=True):
    """Publish a message.

    Attributes:
        topic: Where to.
        payload: The message; empty sends what has happened as JSON.
        retain: Whether the broker keeps it for those who come later.
        qos: 0, 1 or 2.
    """

    topic: str
    payload: str = ""
    retain: bool = False
    qos: int = 1

    def __post_init__(self) -> None:
        """Refuse what can't be published, and what would speak for others."""
        check_topic("topic", self.topic)
        if self.topic.startswith(f"{PREFIX}/"):
            raise ValueError(
                f"topic {self.topic!r} is for Countline's own messages: choose one that does not begin with {PREFIX}/"
            )
        if self.qos not in {0, 1, 2}:
            raise ValueError(f"qos {self.qos} is not 0, 1 or 2")


class HttpAction(Struct, frozen=True, forbid_unknown_fields=True):
    """Send what has happened to an address, as JSON in a POST.

    Attributes:
        url: http:// or https://.
        headers: Sent along, such as an Authorization.
        timeout_s: How long to wait for the answer.
    """

    url: str
    headers: dict[str, str] = {}
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what is no address of the web."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("url is no http:// or https:// address")
        if parts.username is not None:
            raise ValueError("url holds a login: give it under `headers`, as Authorization")
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
                raise ValueError(f"{name!r} is no header that can be sent")
        _check_timeout(self.timeout_s)


class GpioAction(Struct, frozen=True, forbid_unknown_fields=True):
    """Switch an output of the board: on when the rule fires, off when it clears. Needs the `gpio` extra.

    Attributes:
        line: The output's number on its chip.
        chip: Its device file.
        active_low: Whether on is no voltage.
        pulse_s: Off again after so long; 0 stays on until the rule clears.
    """

    line: int
    chip: str = "/dev/gpiochip0"
    active_low: bool = False
    pulse_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that no chip has."""
        if not 0 <= self.line < 1024:
            raise ValueError(f"line {self.line} is no output of a chip, 0 to 1023 are allowed")
        if not 0.0 <= self.pulse_s <= 60.0:
            raise ValueError(f"pulse_s {self.pulse_s:g} is not between 0 and 60")


class ActionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule does: exactly one of these.

    Attributes:
        mqtt: Publish a message on the agent's own broker.
        http: Send a POST.
        gpio: Switch an output.
        command: Start a program, named with its arguments as a list; it gets what has happened as JSON on standard input,
            and no shell comes between.
        timeout_s: How long a `command` may run.
    """

    mqtt: MqttAction | None = None
    http: HttpAction | None = None
    gpio: GpioAction | None = None
    command: list[str] = []
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse none, and several."""
        given = [bool(self.mqtt), bool(self.http), bool(self.gpio), bool(self.command)]
        if sum(given) != 1:
            raise ValueError("an action is exactly one of mqtt, http, gpio and command")
        _check_timeout(self.timeout_s)


class RuleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Something to do at once, on this machine.

    Attributes:
        when: What has to hold, and for how long, such as `zone.queue.count > 8 for 20s`.
        then: What to do when it does.
        name: For messages; empty takes `rule1`, `rule2` and so on.
        clear: What ends it, such as `< 6 for 30s`; empty is as soon as `when` does not hold any more.
        on_clear: What to do then; a `gpio` under `then` is switched off anyway.
        cooldown_s: So long after it has fired it does not fire again.
    """

    when: str
    then: list[ActionSettings]
    name: str = ""
    clear: str = ""
    on_clear: list[ActionSettings] = []
    cooldown_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be understood."""
        if not 1 <= len(self.then) <= MAX_ACTIONS or len(self.on_clear) > MAX_ACTIONS:
            raise ValueError(
                f"a rule has 1 to {MAX_ACTIONS} actions under `then`, and up to {MAX_ACTIONS} under `on_clear`"
            )
        if not 0.0 <= self.cooldown_s <= 86_400.0:
            raise ValueError(f"cooldown_s {self.cooldown_s:g} is not between 0 and 86400")
        _ = self.conditions()

    def conditions(self) -> tuple[Condition, Condition | None]:
        """Return when it fires and when it clears; None is as soon as it does not hold any more.

        Raises:
            ValueError: One of them cannot be understood.
        """
        when = parse(self.when)
        return when, parse_clear(self.clear, when) if self.clear else None


class Places(Struct, frozen=True):
    """What a device has.

    Attributes:
        lines: Names of lines by camera.
        zones: Names of zones by camera.
        counters: Names of counters.
    """

    lines: Mapping[str, Sequence[str]]
    zones: Mapping[str, Sequence[str]]
    counters: Sequence[str]

    def find(self, kind: str, camera: str, name: str) -> tuple[str, str]:
        """Return the camera and the name that are meant; of a counter the camera is empty.

        Raises:
            ValueError: There is none of that name, or there are several.
        """
        by_camera: Mapping[str, Sequence[str]] = (
            {"": self.counters} if kind == "counter" else self.lines if kind == "line" else self.zones
        )
        found = [(one, name) for one, names in by_camera.items() if name in names and camera in {"", one}]
        if len(found) == 1:
            return found[0]
        if found:
            options = " or ".join(f"{one}/{name}" for one, _ in found)
            raise ValueError(f"several cameras have a {kind} {name!r}: say {options}")
        known = [f"{one}/{known}" if camera else known for one, names in by_camera.items() for known in names]
        wanted = f"{camera}/{name}" if camera else name
        near = difflib.get_close_matches(wanted, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known[:20]) or 'none at all'}"
        raise ValueError(f"there is no {kind} {wanted!r}: {hint}")


def check_local(counters: Sequence[CounterSettings], rules: Sequence[RuleSettings], places: Places) -> None:
    """Refuse counters and rules that speak of what is not there.

    Raises:
        ValueError: One sentence.
    """
    for what, things, limit in (("counters", counters, MAX_COUNTERS), ("rules", rules, MAX_RULES)):
        if len(things) > limit:
            raise ValueError(f"there are {len(things)} {what}, up to {limit} are allowed")
    for counter in counters:
        try:
            counter_lines(counter, places)
        except ValueError as error:
            raise ValueError(f"counter {counter.name!r}: {error}") from error
    for rule in rules:
        for condition in rule.conditions():
            for ref in refs(condition.expression) if condition else ():
                _check_ref(rule, ref, places)


def counter_lines(counter: CounterSettings, places: Places) -> frozenset[tuple[str, str]]:
    """Return `(camera, line)` of each line of a counter.

    Raises:
        ValueError: There is no such line, or several are named so.
    """
    return frozenset(
        places.find("line", camera, name)
        for camera, _, name in (line.rpartition("/") for line in counter.lines)
    )


def hours_of(what: str, given: Hours) -> list[str | int]:
    """Return hours as a list of "HH:MM".

    Raises:
        ValueError: One is no hour.
    """
    several = given if isinstance(given, list) else [given]
    texts = [f"{hour // 60:02}:{hour % 60:02}" if isinstance(hour, int) else hour for hour in several]
    hours: list[str | int] = [text for text in texts if text]
    if len(hours) > MAX_HOURS:
        raise ValueError(f"{what} is reset {len(hours)} times a day, up to {MAX_HOURS} are allowed")
    for text in texts:
        if text and not _HOUR.fullmatch(text):
            raise ValueError(f'{what}: {text!r} is no time of day: write it as "04:00", from 00:00 to 23:59')
    return hours


def times(hours: Hours) -> tuple[time, ...]:
    """Return hours that `hours_of` has accepted as times of day."""
    several = hours if isinstance(hours, list) else [hours]
    return tuple(sorted({time.fromisoformat(str(hour)) for hour in several}))


def check_topic(key: str, topic: str) -> None:
    """Raise ValueError if a topic cannot be published to."""
    if not topic or len(topic.encode()) > 500 or re.search(r"[+#\x00-\x1f]", topic) or topic.startswith("$"):
        raise ValueError(f"{key} {topic!r} is no topic to publish to: it must not be empty nor hold + or #")


def _check_ref(rule: RuleSettings, ref: Ref, places: Places) -> None:
    try:
        places.find(ref.kind, ref.camera, ref.name)
    except ValueError as error:
        raise ValueError(f"the rule {rule.when!r}: at character {ref.at}: {error}") from error


def _check_timeout(timeout_s: float) -> None:
    if not 0.1 <= timeout_s <= 300.0:
        raise ValueError(f"timeout_s {timeout_s:g} is not between 0.1 and 300")
