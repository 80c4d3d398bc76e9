"""What an agent does by itself, without a cloud: counters, rules, live topics, Home Assistant, commands.

Cameras' threads only add their events up (`feed`, called by `edge.outbox_writer`); all else happens in a thread of its own, so that
neither a rule nor a broker holds up counting.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import structs

from countline.clock import Clock
from countline.errors import Rejected
from countline.events import CameraConfigured, CounterValues, Heartbeat, LineCrossed
from countline.service import Stop
from countline.telemetry import Log
from countline.topics import PREFIX
from edge.act import command
from edge.act.actions import Actions
from edge.act.engine import Engine
from edge.act.plan import asked, counters_plan, rule_plans
from edge.act.showcase import Showcase
from edge.act.world import World
from edge.config import EdgeSettings, places
from edge.config.local import MqttAction, check_topic
from edge.count.counters import Adjust, Counters, CountersState
from edge.count.rules import Moment
from edge.outbox import Outbox
from edge.publish import BATCH_BYTES, Command, Publisher, SideMessage
from edge.side_publisher import SidePublisher

# How often rules are looked at though nothing has happened, for those that say "for 20s" or "in the last 5m".
LOOK_EVERY_S = 0.25
# How often the counters' values are told at most.
TELL_EVERY_S = 1.0
# Commands that wait to be done; beyond that the oldest go.
MAX_COMMANDS = 32
_JOIN_S = 2.0

_log = Log("edge.local")

Snapshots = Callable[[str], bytes | str]
"""Returns a camera's picture as a JPEG, or one sentence why there is none."""


@dataclass(frozen=True)
class Surroundings:
    """What a `Local` is built upon.

    Attributes:
        outbox: Keeps the counters.
        publisher: Whose connection to the broker is used.
        clock: For resets and rules.
        snapshots: Takes a picture; None if none may leave the agent.
    """

    outbox: Outbox
    publisher: Publisher
    clock: Clock
    snapshots: Snapshots | None = None


class Local:
    """All that one device does by itself. It is the books that `edge.outbox_writer` keeps."""

    def __init__(self, settings: EdgeSettings, around: Surroundings) -> None:
        """Go on from what the outbox has kept.

        Raises:
            UsageError: A rule switches an output that cannot be had.
        """
        self._clock = around.clock
        self._snapshots = around.snapshots
        self._first_camera = settings.cameras[0].name
        there = places(settings.cameras, settings.counters)
        plans = rule_plans(settings, there)
        kept = around.outbox.counters
        if kept:  # of a camera that is gone nothing is kept any longer
            lines = {camera: lines for camera, lines in kept.lines.items() if camera in there.lines}
            kept = structs.replace(kept, lines=lines)
        self._counters = Counters(counters_plan(settings, there), around.clock.now_ms(), kept)
        self._kept: CountersState | None = None
        self._told: CounterValues | None = None
        self._told_s = float("-inf")
        self._world = World([camera.name for camera in settings.cameras], asked(plans))
        self._engine = Engine(plans)
        self._actions = Actions(settings.rules, plans, self._say)
        self._showcase = Showcase(settings, there)
        self._side = SidePublisher(around.publisher, around.outbox, self._showcase)
        self._rest_ms = 1000 / settings.live.max_per_s
        self._posted_ms = float("-inf")
        self._changed = threading.Condition()
        self._commands: deque[Command] = deque(maxlen=MAX_COMMANDS)
        self._wishes: deque[tuple[Adjust, Command]] = deque(maxlen=MAX_COMMANDS)
        self._is_new_connection = False
        self._has_news = True
        self._is_posted = False
        self._is_closing = False
        self._settle: Callable[[], None] = lambda: None
        self._stop = Stop()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="local", daemon=True)
        takes_commands = bool(settings.counters) or around.snapshots is not None
        around.publisher.listen(self._on_connected, self._on_command if takes_commands else None)

    def start(self, settle: Callable[[], None], stop: Stop) -> None:
        """Begin.

        Args:
            settle: Calls `Local.settle` under the lock of whoever keeps events, and makes safe what it returns.
            stop: Asked for if this fails; then `failure` says why.
        """
        self._settle = settle
        self._stop = stop
        self._thread.start()

    def close(self) -> None:
        """Stop; outputs are switched off."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        # No camera counts any more, so this is how it stays until the next start.
        self._settle()
        self._actions.close()

    # Called while events are being kept, by cameras' threads and, through `settle`, by ours.

    def feed(self, camera: str, moments: Sequence[Moment]) -> list[Moment]:
        """Add a camera's events up; return them with how counters were put right on the way."""
        with self._changed:
            changes = self._counters.feed(camera, moments)
            self._world.feed(camera, moments)
            if changes or any(isinstance(event, LineCrossed | CameraConfigured) for _, event in moments):
                self._kept = None
            if any(isinstance(event, CameraConfigured) for _, event in moments):
                self._told = None  # whoever reads begins anew with that camera
            self._has_news = True
            self._is_posted = False
            if not all(isinstance(event, Heartbeat) for _, event in moments):
                self._changed.notify_all()
        # A heartbeat says that everything before it is on its way.
        beats = [moment for moment in moments if isinstance(moment[1], Heartbeat)]
        others = [moment for moment in moments if not isinstance(moment[1], Heartbeat)]
        return [*others, *changes, *beats] if changes else list(moments)

    def settle(self) -> tuple[str, list[Moment]]:
        """Make the resets that are due and do what people have asked for.

        Returns:
            A camera and, to be kept with it, how counters were put right by this, and what they are if that is news.
        """
        with self._changed:
            now_ms = self._clock.now_ms()
            due_ms = self._counters.next_tick_ms()
            changes = self._counters.tick(now_ms)
            while self._wishes:
                changes += self._adjust(*self._wishes.popleft(), now_ms)
            # What is said of lines begins anew without an event.
            if changes or (due_ms is not None and due_ms <= now_ms):
                self._kept = None
                self._has_news = True
                self._is_posted = False
            return self._first_camera, changes + self._news(now_ms)

    def _news(self, now_ms: int) -> list[Moment]:
        """Return the counters' values if they have changed and were not told just now; at the end in any case."""
        values, now_s = self._counters.values(), self._clock.monotonic_s()
        is_due = self._is_closing or now_s - self._told_s >= TELL_EVERY_S
        if not values.counters or values == self._told or not is_due:
            return []
        self._told, self._told_s = values, now_s
        return [(now_ms, values)]

    def state(self) -> CountersState | None:
        """Return the counters as they are to be kept; the same object if they have not changed."""
        with self._changed:
            if self._kept is None:
                self._kept = self._counters.snapshot()
            return self._kept

    # Called by paho's thread.

    def _on_connected(self) -> None:
        with self._changed:
            self._is_new_connection = True
            self._changed.notify_all()

    def _on_command(self, told: Command) -> None:
        with self._changed:
            self._commands.append(told)
            self._changed.notify_all()

    # Our thread.

    def _run(self) -> None:
        try:
            while self._wait():
                self._step()
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self.failure = error
            self._stop.request()

    def _wait(self) -> bool:
        """Wait for news, or for the time to look again; say whether to go on."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._has_news or self._commands or self._is_new_connection or self._is_closing,
                timeout=self._patience_s(),
            )
            self._has_news = False
            return not self._is_closing

    def _patience_s(self) -> float:
        pulse_ends_s = self._actions.next_tick_s()
        if pulse_ends_s is None:
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max(0.0, pulse_ends_s - self._clock.monotonic_s()))

    def _step(self) -> None:
        self._take_commands()
        self._settle()
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        with self._changed:
            verdicts = self._engine.tick(
                lambda ref: self._world.value(ref, now_ms, self._counters), round(now_s * 1000)
            )
            if not self._is_posted and now_s * 1000 - self._posted_ms >= self._rest_ms:
                self._is_posted, self._posted_ms = True, now_s * 1000
                self._showcase.post(self._world, self._counters)
            is_new, self._is_new_connection = self._is_new_connection, False
        for verdict in verdicts:
            self._actions.do(verdict, now_ms, now_s)
        self._actions.tick(now_s)
        if is_new:
            self._side.begin()
        self._side.flush(round(now_s * 1000))

    def _say(self, action: MqttAction, told: bytes) -> None:
        payload = action.payload.encode() or told
        self._side.put(SideMessage(action.topic, payload, action.qos, is_retained=action.retain))

    def _take_commands(self) -> None:
        while True:
            with self._changed:
                if not self._commands:
                    return
                told = self._commands.popleft()
            if told.is_retained:
                _log.warning("a retained command is not done: it would be done again at each connection")
                continue
            wish = command.read(told.payload)
            if isinstance(wish, Rejected):
                self._answer(told, error=wish.reason)
            elif isinstance(wish, command.Snapshot):
                self._picture(wish.camera, told)
            else:
                self._wishes.append((wish, told))

    def _adjust(self, wish: Adjust, told: Command, now_ms: int) -> list[Moment]:
        try:
            changes = self._counters.adjust(wish, now_ms)
        except KeyError:
            self._answer(told, error=f"there is no counter {wish.counter!r}")
            return []
        value = self._counters.counter(wish.counter).value
        _log.info("a counter was put right", counter=wish.counter, reason=wish.reason.value, value=value)
        self._answer(told, counter=wish.counter, value=value)
        return changes

    def _picture(self, camera: str, told: Command) -> None:
        picture = (
            self._snapshots(camera)
            if self._snapshots
            else "no picture may leave this agent: see preview.snapshot"
        )
        if isinstance(picture, str):
            self._answer(told, error=picture)
        elif len(picture) > BATCH_BYTES:  # a broker that refuses it would end our connection
            self._answer(
                told,
                error=f"the picture has {len(picture)} bytes, {BATCH_BYTES} may be sent: lower preview.max_width",
            )
        elif _may_answer(told):
            self._side.put(SideMessage(told.answer_to, picture, 1, correlation=told.correlation))

    def _answer(self, told: Command, **fields: object) -> None:
        if "error" in fields:
            _log.warning("a command was not done", reason=fields["error"])
        if _may_answer(told):
            answer = json.dumps({"ok": "error" not in fields, **fields}).encode()
            self._side.put(SideMessage(told.answer_to, answer, 1, correlation=told.correlation))


def _may_answer(told: Command) -> bool:
    """Say whether an answer is wanted, on a topic that nobody trusts us on."""
    try:
        check_topic("response topic", told.answer_to)
    except ValueError:
        return False
    return not told.answer_to.startswith(f"{PREFIX}/")
