"""Sends the outbox to the gateway over MQTT 5: the only file that knows paho.

Batches go out at QoS 1, but what counts is the gateway's durable mark on `.../mark`: only it trims the outbox. What
has no mark after a while is sent again from the mark on, because a broker may lose everything it has acknowledged.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from countline import __version__, codec, topics
from countline.backoff import Backoff
from countline.clock import Clock
from countline.config import MqttSettings
from countline.errors import Rejected, Unavailable
from countline.events import Mark, Presence
from countline.telemetry import Log
from edge.outbox import Outbox

BATCH_EVENTS = 500
# Well below the 256 kB that a gateway takes.
BATCH_BYTES = 200_000
# Batches on the way without the broker's acknowledgement: enough to fill a slow link, few enough to bound memory.
MAX_INFLIGHT = 16
# Events on the way without the gateway's mark. More would only be sent again if the mark does not come.
MAX_UNMARKED = 20_000
# No progress of the mark for so long, and everything after it is sent again.
RESEND_AFTER_S = 5.0
# The same if the gateway takes later events and its mark stays: then it is there, and misses the next one. So it is at
# a start in which we reach the broker before the gateway does.
RESEND_GAP_AFTER_S = 1.0
# Resends in vain are this far apart at most.
MAX_RESEND_WAIT_S = 60.0
KEEPALIVE_S = 15
CONNECT_TIMEOUT_S = 5.0
# Messages beside the events, such as live counts, that the broker has not taken yet: so few that events hardly wait for them.
MAX_BESIDE = 100
MAX_BESIDE_ACKNOWLEDGED = 8

_log = Log("edge.publish")


@dataclass(frozen=True, slots=True)
class Command:
    """What came on the device's command topic.

    Attributes:
        payload: As it came.
        is_retained: It is an old one, which the broker keeps.
        answer_to: The topic that an answer is wanted on; empty if none is.
        correlation: To be sent back with the answer.
    """

    payload: bytes
    is_retained: bool = False
    answer_to: str = ""
    correlation: bytes = b""


@dataclass(frozen=True, slots=True)
class SideMessage:
    """A message beside the events.

    Attributes:
        topic: Where to.
        payload: What; empty takes a retained message back.
        qos: 0, 1 or 2.
        is_retained: Whether the broker keeps it.
        correlation: Of the question that it answers.
    """

    topic: str
    payload: bytes
    qos: int = 0
    is_retained: bool = False
    correlation: bytes = b""


class Publisher:
    """Drains the outbox in a thread of its own."""

    def __init__(self, outbox: Outbox, settings: MqttSettings, site: str, device: str, clock: Clock) -> None:
        """Prepare; `start` begins.

        Args:
            outbox: What to send.
            settings: Where to.
            site: Of the device.
            device: Its name.
            clock: For resends and presence.
        """
        self._outbox = outbox
        self._settings = settings
        self._site = site
        self._device = device
        self._clock = clock
        self._wake = threading.Condition()
        self._is_stopping = False
        self._is_connected = False
        self._is_down = False
        self._sent = outbox.mark
        # By paho's message ids: batches and other messages on the way, and those that arrived before we knew their id.
        self._batches: set[int] = set()
        self._beside: dict[int, int] = {}
        self._early: set[int] = set()
        self._on_connected: Callable[[], None] = lambda: None
        self._on_command: Callable[[Command], None] | None = None
        self._progress_s = clock.monotonic_s()
        self._resends = 0
        self._has_gap = False
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)

    def listen(self, on_connected: Callable[[], None], on_command: Callable[[Command], None] | None) -> None:
        """Say whom to tell of each new connection, and of commands; call it before `start`.

        Args:
            on_connected: Called from paho's thread; it must not wait.
            on_command: The same; None does not listen to commands.
        """
        self._on_connected = on_connected
        self._on_command = on_command

    def start(self) -> None:
        """Begin to connect and to send."""
        self._thread.start()

    def offer(self, message: SideMessage) -> Callable[[], bool] | None:
        """Send something beside the events, if there is a connection and not too much is under way. Never waits.

        Returns:
            What says whether it has arrived; None if it was not taken: offer it again later.
        """
        with self._wake:
            under_way = sum(qos > 0 for qos in self._beside.values()) if message.qos else len(self._beside)
            limit = MAX_BESIDE_ACKNOWLEDGED if message.qos else MAX_BESIDE
            if not self._is_connected or under_way >= limit:
                return None
        properties = Properties(PacketTypes.PUBLISH)
        if message.correlation:
            properties.CorrelationData = message.correlation
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.is_retained, properties=properties
        )
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            return None
        with self._wake:
            if info.mid in self._early:
                self._early.discard(info.mid)
            else:
                self._beside[info.mid] = message.qos
        return lambda: _has_arrived(info)

    def wake(self) -> None:
        """Say that the outbox has something new."""
        with self._wake:
            self._wake.notify_all()

    def close(self, drain_s: float) -> bool:
        """Send what waits, for at most `drain_s` seconds, and disconnect.

        Returns:
            True if the gateway has confirmed everything. What it has not stays in the outbox for the next start.
        """
        with self._wake:
            is_drained = self._wake.wait_for(
                lambda: self._outbox.backlog == 0 or not self._is_connected, timeout=drain_s
            )
        if self._is_connected:
            gone = self._client.publish(
                topics.status(self._site, self._device), self._presence(online=False), 1, retain=True
            )
            with contextlib.suppress(RuntimeError, ValueError):
                gone.wait_for_publish(timeout=0.5)
        with self._wake:
            self._is_stopping = True
            self._wake.notify_all()
        self._thread.join(timeout=2.0)
        return is_drained and self._outbox.backlog == 0

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"countline-{self._site}-{self._device}",
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,  # we do, with jitter
        )
        client.max_inflight_messages_set(MAX_INFLIGHT)
        client.max_queued_messages_set(MAX_INFLIGHT * 2)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.will_set(topics.status(self._site, self._device), self._presence(online=False), 1, retain=True)
        settings = self._settings
        if settings.username:
            client.username_pw_set(settings.username, settings.password)
        if settings.tls:
            context = ssl.create_default_context(cafile=settings.ca_file or None)
            if settings.cert_file:
                context.load_cert_chain(settings.cert_file, settings.key_file or None)
            client.tls_set_context(context)
        client.on_socket_open = _without_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.message_callback_add(topics.mark(self._site, self._device), self._on_mark)
        client.message_callback_add(topics.command(self._site, self._device), self._hear)
        return client

    def _presence(self, *, online: bool) -> bytes:
        return codec.encode_value(Presence(online=online, at_ms=self._clock.now_ms(), version=__version__))

    # Our thread: connects, and sends while connected.

    def _run(self) -> None:
        backoff = Backoff(base_s=0.25, cap_s=15.0)
        while not self._is_stopping:
            self._is_down = False
            # A new one each time: nothing of the last connection, such as batches without an acknowledgement, goes on.
            self._client = self._make_client()
            try:
                self._client.connect(self._settings.host, self._settings.port, KEEPALIVE_S)
            except OSError as error:
                self._wait_before_retry(backoff, str(error))
                continue
            self._client.loop_start()
            if self._wait_for_broker():
                backoff.reset()
                self._send_batches()
            self._client.disconnect()
            self._client.loop_stop()
            self._wait_before_retry(backoff, "the connection ended")

    def _wait_for_broker(self) -> bool:
        with self._wake:
            self._wake.wait_for(
                lambda: self._is_connected or self._is_down or self._is_stopping, timeout=CONNECT_TIMEOUT_S
            )
            return self._is_connected

    def _wait_before_retry(self, backoff: Backoff, reason: str) -> None:
        if self._is_stopping:
            return
        wait_s = backoff.next_delay_s()
        if backoff.attempts in {1, 5} or backoff.attempts % 20 == 0:
            broker = f"{self._settings.host}:{self._settings.port}"
            _log.warning(
                "no broker; events wait in the outbox",
                broker=broker,
                reason=reason,
                waiting=self._outbox.backlog,
            )
        with self._wake:
            self._wake.wait_for(lambda: self._is_stopping, timeout=wait_s)

    def _send_batches(self) -> None:
        while not self._is_stopping and self._is_connected:
            with self._wake:
                self._wake.wait_for(lambda: self._may_send() or not self._is_connected, timeout=0.5)
                if self._is_stopping or not self._is_connected:
                    return
                self._send_again_if_stuck()
                if not self._may_send():
                    continue
                rows = self._outbox.read_after(self._sent, BATCH_EVENTS, BATCH_BYTES)
                if not rows:
                    continue
                self._sent = rows[-1][0]
            self._publish([envelope for _, envelope in rows])

    # Called by paho's network thread.

    def _on_connect(
        self, client: mqtt.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            _log.error(
                "the broker refuses this device; check username, password and its access rules",
                reason=str(reason),
            )
            return
        client.subscribe(topics.mark(self._site, self._device), qos=1)
        if self._on_command:
            client.subscribe(topics.command(self._site, self._device), qos=1)
        client.publish(topics.status(self._site, self._device), self._presence(online=True), 1, retain=True)
        with self._wake:
            self._is_connected = True
            self._batches.clear()
            self._beside.clear()
            self._early.clear()
            self._has_gap = False
            # Whatever was on the way may be lost: begin again after what the gateway has confirmed.
            self._sent = self._outbox.mark
            self._progress_s = self._clock.monotonic_s()
            self._wake.notify_all()
        _log.info("connected to the broker", waiting=self._outbox.backlog)
        self._on_connected()

    def _on_disconnect(self, *_: object) -> None:
        with self._wake:
            self._is_connected = False
            self._is_down = True
            self._wake.notify_all()

    def _on_publish(self, _client: mqtt.Client, _userdata: object, mid: int, *_: object) -> None:
        with self._wake:
            if mid in self._batches:
                self._batches.discard(mid)
            elif self._beside.pop(mid, None) is None:
                self._early.add(mid)
            self._wake.notify_all()

    def _hear(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if self._on_command:
            properties = message.properties
            self._on_command(
                Command(
                    bytes(message.payload),
                    message.retain,
                    str(getattr(properties, "ResponseTopic", "")),
                    bytes(getattr(properties, "CorrelationData", b"")),
                )
            )

    def _on_mark(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        mark = codec.decode_mark(bytes(message.payload))
        if isinstance(mark, Rejected):
            _log.error("the gateway's mark cannot be read", reason=mark.reason)
        elif mark.epoch == self._outbox.epoch:
            self._take_mark(mark)

    def _take_mark(self, mark: Mark) -> None:
        if mark.seq > self._outbox.last_seq:
            _log.error(
                "the gateway has seen events that this outbox never held; was the data folder restored from a copy?",
                gateway=mark.seq,
                outbox=self._outbox.last_seq,
            )
        before = self._outbox.mark
        try:
            self._outbox.trim(mark.seq)
        except Unavailable as error:
            _log.warning("confirmed events stay in the outbox for now", reason=error.what)
            return
        with self._wake:
            # A mark that repeats itself is no progress: the gateway sends one with all that it commits.
            if self._outbox.mark > before:
                self._progress_s = self._clock.monotonic_s()
                self._resends = 0
                self._has_gap = False
            elif self._sent > before:
                self._has_gap = True
            self._sent = max(self._sent, self._outbox.mark)
            self._wake.notify_all()

    def _may_send(self) -> bool:
        return self._is_stopping or (
            self._is_connected
            and len(self._batches) < MAX_INFLIGHT
            and self._outbox.last_seq > self._sent
            and self._sent - self._outbox.mark < MAX_UNMARKED
        )

    def _send_again_if_stuck(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._sent <= self._outbox.mark:
            self._progress_s = now_s
        elif now_s - self._progress_s > self._patience_s():
            if not self._has_gap:
                _log.warning(
                    "no mark from the gateway; sending again", after=self._outbox.mark, up_to=self._sent
                )
            self._resends += 1
            self._progress_s = now_s
            self._has_gap = False
            self._sent = self._outbox.mark

    def _patience_s(self) -> float:
        """Grow with each resend in vain, so that a gateway that is down is not flooded."""
        first_s = RESEND_GAP_AFTER_S if self._has_gap else RESEND_AFTER_S
        return min(MAX_RESEND_WAIT_S, first_s * (1 + self._resends))

    def _publish(self, envelopes: list[bytes]) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = "application/json"
        info = self._client.publish(
            topics.events(self._site, self._device), codec.join_batch(envelopes), qos=1, properties=properties
        )
        if info.rc == mqtt.MQTT_ERR_SUCCESS:
            with self._wake:
                if info.mid in self._early:
                    self._early.discard(info.mid)
                else:
                    self._batches.add(info.mid)
        elif info.rc != mqtt.MQTT_ERR_NO_CONN:
            _log.warning("a batch was not taken by the client; it will be sent again", rc=info.rc)


def _has_arrived(info: mqtt.MQTTMessageInfo) -> bool:
    try:
        return info.is_published()
    except (RuntimeError, ValueError):  # its connection has gone
        return False


def _without_delay(_client: mqtt.Client, _userdata: object, connection: object) -> None:
    """Small packets wait for each other otherwise, 40 ms a hop."""
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
