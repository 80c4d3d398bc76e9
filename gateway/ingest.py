"""MQTT in, marks out: the only user of aiomqtt.

::

    broker -> Inbox -> admit -> journal commit -> marks -> broker
              bounded  pure     in a thread       the newest per device

Messages are acknowledged to the broker as they come, and dropped when the inbox is full or the journal cannot commit:
a device keeps every event until the durable mark has passed it, and sends it again. So nothing has to be held here,
and memory is bounded however long the disk is full.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from countline import codec, topics
from countline.backoff import Backoff
from countline.clock import Clock
from countline.config import MqttSettings
from countline.errors import Rejected, Unavailable, UsageError
from countline.events import Mark
from countline.service import Stop
from countline.telemetry import Counters, Log
from gateway.admit import Accepted, Admission, Duplicate, NotYet, Outcome, Refused
from gateway.config import GatewaySettings
from gateway.fleet import Change, DeviceKey, Fleet
from gateway.journal import Batch, Journal

# One commit takes at most so many messages, and waits at most so long for more after the first.
MAX_BATCH_MESSAGES = 500
LINGER_S = 0.01
# Messages that wait for a commit: a second of a busy fleet. What does not fit, its device sends again.
MAX_INBOX_BYTES = 67_108_864
MAX_INBOX_MESSAGES = 20_000
# The broker keeps our subscriptions and queue so long while we are away.
SESSION_EXPIRY_S = 3_600
KEEPALIVE_S = 15
CONNECT_TIMEOUT_S = 5.0
# Marks that wait for the broker's acknowledgement at the same time.
MAX_MARKS_UNDER_WAY = 10
# A drain must leave time for closing: the whole stop has two seconds.
DRAIN_COMMIT_S = 1.2
DRAIN_MARKS_S = 0.5
# How often the journal is trimmed and the counters are logged.
HOUSE_S = 60.0
# A connection that has lasted so long was a good one: the next one is tried at once. A shorter one may be two
# gateways of the same name, which throw each other out.
GOOD_CONNECTION_S = 2.0
# How long a connection that is just coming up may hold a stop.
LEAVE_S = 0.3
# The same trouble is said at most this often.
REPEAT_LOG_S = 30.0

T = TypeVar("T")

_ALL_MARKS = f"{topics.PREFIX}/+/+/mark"

_log = Log("gateway.ingest")


class Incoming(NamedTuple):
    """One MQTT message."""

    topic: str
    payload: bytes


class Inbox:
    """Messages that wait for the next commit, bounded in number and bytes."""

    def __init__(self, counters: Counters) -> None:
        self._messages: deque[Incoming] = deque()
        self._bytes = 0
        self._counters = counters
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def offer(self, message: Incoming) -> None:
        """Take a message, or drop it if there is no room."""
        size = len(message.payload)
        if len(self._messages) >= MAX_INBOX_MESSAGES or self._bytes + size > MAX_INBOX_BYTES:
            self._counters.add("messages_dropped_total")
            return
        self._counters.add("messages_received_total")
        self._messages.append(message)
        self._bytes += size
        self._arrived.set()
        self._idle.clear()

    async def take(self) -> list[Incoming]:
        """Wait for a message, then a little for more; return up to `MAX_BATCH_MESSAGES`, oldest first."""
        await self._arrived.wait()
        if len(self._messages) < MAX_BATCH_MESSAGES:
            await asyncio.sleep(LINGER_S)
        taken = [self._messages.popleft() for _ in range(min(len(self._messages), MAX_BATCH_MESSAGES))]
        self._bytes -= sum(len(message.payload) for message in taken)
        if not self._messages:
            self._arrived.clear()
        return taken

    def done(self) -> None:
        """Say that what was taken is committed, or given up."""
        if not self._messages:
            self._idle.set()

    async def until_idle(self) -> None:
        """Wait until nothing waits and nothing is being committed."""
        await self._idle.wait()


class Marks:
    """The marks that have to be published: per device only the newest."""

    def __init__(self) -> None:
        self._waiting: dict[DeviceKey, Mark] = {}
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, marks: dict[DeviceKey, Mark]) -> None:
        """Replace the marks of some devices."""
        # A mark of zero says nothing, and would hide one that a gateway before this one has left at the broker.
        marks = {key: mark for key, mark in marks.items() if mark.seq}
        if marks:
            self._waiting |= marks
            self._changed.set()
            self._idle.clear()

    async def take(self) -> dict[DeviceKey, Mark]:
        """Wait until there are some and return them all."""
        await self._changed.wait()
        self._changed.clear()
        taken, self._waiting = self._waiting, {}
        return taken

    def done(self) -> None:
        """Say that what was taken is published."""
        if not self._waiting:
            self._idle.set()

    async def until_idle(self) -> None:
        """Wait until all is published."""
        await self._idle.wait()


class Ingest:
    """Runs the flow in the module's drawing until it is told to stop."""

    def __init__(self, settings: GatewaySettings, journal: Journal, clock: Clock, counters: Counters) -> None:
        """Go on from what the journal remembers. Call it from within the event loop.

        Raises:
            UsageError: A certificate or key file cannot be used.
        """
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._counters = counters
        self._tls = tls_context(settings.mqtt)
        self._admission = Admission(settings.max_devices, settings.max_message_bytes, journal.devices())
        self._inbox = Inbox(counters)
        self._marks = Marks()
        self._journal_lock = asyncio.Lock()
        self._last_said_s: dict[str, float] = {}
        self.fleet = Fleet(settings.max_devices)

    async def run(self, stop: Stop) -> None:
        """Receive, commit and mark until `stop` is requested, then drain within two seconds."""
        committer = asyncio.create_task(self._commit_for_ever(), name="commit")
        connector = asyncio.create_task(self._connect_for_ever(), name="connect")
        keeper = asyncio.create_task(self._keep_house(), name="keep house")
        stopped = asyncio.create_task(stop.wait_async(), name="stop")
        tasks = [committer, connector, keeper, stopped]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()  # It only ends by a fault: let it out.
            await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_COMMIT_S):
                await self._inbox.until_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_MARKS_S):
                await self._marks.until_idle()

    # The broker's side.

    async def _connect_for_ever(self) -> None:
        backoff = Backoff(base_s=0.25, cap_s=5.0)
        while True:
            started_s = self._clock.monotonic_s()
            try:
                async with self._connected() as client:
                    await self._serve(client)
            except (aiomqtt.MqttError, OSError) as error:
                if self._clock.monotonic_s() - started_s > GOOD_CONNECTION_S:
                    backoff.reset()
                wait_s = backoff.next_delay_s()
                self._counters.add("reconnects_total")
                _log.warning("MQTT broker is away, trying again", reason=str(error), wait_s=round(wait_s, 2))
                await asyncio.sleep(wait_s)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiomqtt.Client]:
        # A new client each time: one that has lost its connection says "connected" before it is.
        mqtt = self._settings.mqtt
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        client = aiomqtt.Client(
            mqtt.host,
            mqtt.port,
            username=mqtt.username or None,
            password=mqtt.password or None,
            identifier=f"countline-{self._settings.name}",
            protocol=aiomqtt.ProtocolVersion.V5,
            # A new journal takes over retained marks, and rumqttd sends them to new subscriptions only.
            clean_start=not self._admission.marks(),
            properties=properties,
            keepalive=KEEPALIVE_S,
            timeout=CONNECT_TIMEOUT_S,
            tls_context=self._tls,
            max_concurrent_outgoing_calls=MAX_MARKS_UNDER_WAY,
            # Small packets wait for each other otherwise, 40 ms a hop.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            queue_type=self._queue_type(),
        )
        async with contextlib.AsyncExitStack() as stack:
            entering = asyncio.ensure_future(stack.enter_async_context(client))
            try:
                await asyncio.shield(entering)
            except asyncio.CancelledError:
                # Half a connection can't be closed: let it come up, if it does so soon, and leave politely.
                await asyncio.wait([entering], timeout=LEAVE_S)
                if not entering.cancel():
                    entering.exception()
                raise
            yield client

    def _queue_type(self) -> type[asyncio.Queue[aiomqtt.Message]]:
        """Return a queue that hands each message to the inbox at once, so that it waits in one place only."""
        inbox = self._inbox

        class Handover(asyncio.Queue[aiomqtt.Message]):
            def put_nowait(self, item: aiomqtt.Message) -> None:
                inbox.offer(Incoming(item.topic.value, bytes(item.payload)))

        return Handover

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Subscribe, publish marks, and end by raising when the connection ends."""
        options = SubscribeOptions(qos=1, noLocal=True)
        await client.subscribe(
            [(topic, options) for topic in (_ALL_MARKS, topics.ALL_STATUS, topics.ALL_EVENTS)]
        )
        _log.info("MQTT broker is there", host=self._settings.mqtt.host, port=self._settings.mqtt.port)
        # A device that has missed its mark can let go of its backlog at once.
        self._marks.put(self._admission.marks())
        publisher = asyncio.create_task(self._publish_marks(client), name="marks")
        # No message comes out here, see `_queue_type`: it returns only by raising when the connection ends.
        ended = asyncio.ensure_future(anext(client.messages))
        try:
            done, _ = await asyncio.wait([publisher, ended], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (publisher, ended):
                task.cancel()
            await asyncio.gather(publisher, ended, return_exceptions=True)

    async def _publish_marks(self, client: aiomqtt.Client) -> None:
        while True:
            marks = await self._marks.take()
            items = list(marks.items())
            for first in range(0, len(items), MAX_MARKS_UNDER_WAY):
                chunk = items[first : first + MAX_MARKS_UNDER_WAY]
                await asyncio.gather(*(self._publish_mark(client, key, mark) for key, mark in chunk))
            self._counters.add("marks_published_total", len(marks))
            self._marks.done()

    @staticmethod
    async def _publish_mark(client: aiomqtt.Client, key: DeviceKey, mark: Mark) -> None:
        await client.publish(topics.mark(*key), codec.encode_value(mark), qos=1, retain=True)

    # The journal's side.

    async def _commit_for_ever(self) -> None:
        backoff = Backoff(base_s=0.1, cap_s=5.0)
        while True:
            messages = await self._inbox.take()
            try:
                await self._commit(messages)
                backoff.reset()
            except Unavailable as error:
                self._counters.add("commits_failed_total")
                self._say_now_and_then("journal cannot commit, nothing is confirmed", reason=error.what)
                await asyncio.sleep(error.retry_after_s or backoff.next_delay_s())
            finally:
                self._inbox.done()

    async def _commit(self, messages: Sequence[Incoming]) -> None:
        """Admit messages, make them durable, and mark them; on `Unavailable` it is as if they had not come."""
        now_ms = self._clock.now_ms()
        outcomes = [outcome for message in messages for outcome in self._judge(message, now_ms)]
        batch = Batch(
            received_at_ms=now_ms,
            envelopes=[outcome.raw for outcome in outcomes if isinstance(outcome, Accepted)],
            devices=self._admission.touched(),
            refused=[outcome for outcome in outcomes if isinstance(outcome, Refused)],
        )
        if batch.envelopes or batch.refused or batch.devices:
            try:
                async with self._journal_lock:
                    await _uninterrupted(asyncio.to_thread(self._journal.commit, batch))
            except Unavailable:
                self._admission.rollback()
                raise
        self._marks.put(self._admission.commit())
        self._count(outcomes, now_ms)

    def _judge(self, message: Incoming, now_ms: int) -> list[Outcome]:
        parsed = topics.parse(message.topic)
        kind = parsed[2] if parsed else "events"
        if parsed is None or kind == "events":
            return self._admission.feed(message.topic, message.payload, now_ms)
        key = DeviceKey(parsed[0], parsed[1])
        if not message.payload:
            return []  # A retained message was cleared.
        if kind == "mark":
            mark = codec.decode_mark(message.payload)
            if isinstance(mark, Mark) and self._admission.adopt(key, mark):
                _log.warning(
                    "took over a mark from the broker", site=key.site, device=key.device, seq=mark.seq
                )
            return []
        presence = codec.decode_presence(message.payload)
        if isinstance(presence, Rejected):
            return [Refused(message.topic, presence)]
        self._tell(self.fleet.feed_presence(key, presence, now_ms))
        return []

    def _count(self, outcomes: Sequence[Outcome], now_ms: int) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Accepted):
                self._counters.add("events_accepted_total")
                self._tell(self.fleet.feed(outcome.identity.key, outcome.envelope, now_ms))
                if outcome.is_ahead:
                    self._counters.add("events_ahead_total")
                    self._say_now_and_then(
                        "a device's clock is days ahead", device="/".join(outcome.identity.key)
                    )
            elif isinstance(outcome, Duplicate):
                self._counters.add("events_duplicate_total")
                self._tell(self.fleet.feed_duplicate(outcome.identity.key, now_ms))
            elif isinstance(outcome, NotYet):
                self._counters.add("events_not_yet_total")
                self._say_now_and_then("events are not taken", reason=outcome.reason)
            else:
                self._counters.add("dead_letters_total")
                self._say_now_and_then(
                    "a message was refused", topic=outcome.topic, reason=outcome.rejected.reason
                )

    # The rest.

    async def _keep_house(self) -> None:
        """Every minute: trim the journal, look for silent devices, log the counters."""
        while True:
            await asyncio.sleep(HOUSE_S)
            now_ms = self._clock.now_ms()
            self._tell(self.fleet.tick(now_ms))
            try:
                async with self._journal_lock:
                    trimmed = await _uninterrupted(asyncio.to_thread(self._journal.trim, now_ms))
                self._counters.add("entries_trimmed_total", trimmed.entries)
            except Unavailable as error:
                self._say_now_and_then("journal cannot be trimmed", reason=error.what)
            self._counters.set("dead_letters_dropped_total", self._journal.dead_letters_dropped)
            devices = self.fleet.devices().values()
            self._counters.set("devices_online", sum(device.is_online for device in devices))
            _log.info("counters", **self._counters.snapshot())

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            event = "device is online" if change.is_online else "device is offline"
            _log.info(event, site=change.key.site, device=change.key.device, reason=change.reason)

    def _say_now_and_then(self, event: str, **fields: Any) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._last_said_s.get(event, -REPEAT_LOG_S) >= REPEAT_LOG_S:
            self._last_said_s[event] = now_s
            _log.warning(event, **fields)


def tls_context(mqtt: MqttSettings) -> ssl.SSLContext | None:
    """Return how to encrypt the connection, or None if it is not encrypted.

    Raises:
        UsageError: A certificate or key file cannot be used.
    """
    if not mqtt.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=mqtt.ca_file or None)
        if mqtt.cert_file:
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(file for file in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file) if file)
        raise UsageError(f"The MQTT certificates cannot be used ({files}): {error}.") from error
    return context


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await work in a thread to its end even if we are cancelled: nobody may close the journal under it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
