"""Sends the outbox to the gateway over MQTT 5: the only file that knows paho.

Batches go out at QoS 1, but what counts is the gateway's durable mark on `.../mark`: only it trims the outbox. What
has no mark after a while is sent again from the mark on, because a broker may lose everything it has acknowledged.
"""

import contextlib
import socket
import ssl
import threading

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

_log = Log("edge.publish")


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
        self._inflight = 0
        self._progress_s = clock.monotonic_s()
        self._resends = 0
        self._has_gap = False
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)

    def start(self) -> None:
        """Begin to connect and to send."""
        self._thread.start()

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
                self._inflight += 1
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
        client.publish(topics.status(self._site, self._device), self._presence(online=True), 1, retain=True)
        with self._wake:
            self._is_connected = True
            self._inflight = 0
            self._has_gap = False
            # Whatever was on the way may be lost: begin again after what the gateway has confirmed.
            self._sent = self._outbox.mark
            self._progress_s = self._clock.monotonic_s()
            self._wake.notify_all()
        _log.info("connected to the broker", waiting=self._outbox.backlog)

    def _on_disconnect(self, *_: object) -> None:
        with self._wake:
            self._is_connected = False
            self._is_down = True
            self._wake.notify_all()

    def _on_publish(self, *_: object) -> None:
        with self._wake:
            self._inflight = max(0, self._inflight - 1)
            self._wake.notify_all()

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
            and self._inflight < MAX_INFLIGHT
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
        if info.rc not in {mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_NO_CONN}:
            _log.warning("a batch was not taken by the client; it will be sent again", rc=info.rc)


def _without_delay(_client: mqtt.Client, _userdata: object, connection: object) -> None:
    """Small packets wait for each other otherwise, 40 ms a hop."""
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
