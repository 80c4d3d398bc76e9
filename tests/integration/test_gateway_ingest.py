"""The gateway with real brokers: once each, marked after the commit, nothing lost by kill -9, bad messages kept apart."""

import asyncio
import os
import signal
import socket
import sqlite3
import threading
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest

from countline import codec, topics
from countline import events as ev
from countline.clock import SystemClock
from countline.config import MqttSettings
from countline.errors import Unavailable, UsageError
from countline.service import Stop
from countline.telemetry import Counters
from gateway import ingest as ingest_module
from gateway import journal as journal_module
from gateway import main
from gateway.config import GatewaySettings, JournalSettings
from gateway.ingest import Inbox, Incoming, Ingest
from gateway.journal import Batch, Journal
from tests import brokers, gateways
from tests.envelopes import envelope, heartbeat
from tests.gateways import FakeDevice, journal_seqs


def _letters(data_dir: Path) -> list[tuple[str, bytes]]:
    connection = sqlite3.connect(data_dir / "journal.sqlite")
    try:
        return connection.execute("SELECT reason, payload FROM dead_letters ORDER BY id").fetchall()
    finally:
        connection.close()


def test_what_is_sent_twice_is_in_the_journal_once(broker_port: int, tmp_path: Path):
    """Batches, single events and repetitions end as each event once, in order, marked."""
    with gateways.in_thread(broker_port, tmp_path), FakeDevice(broker_port) as device:
        device.send_until_marked(envelope(1), envelope(2))
        device.send(envelope(2), envelope(3))
        device.send_bytes(codec.encode(envelope(4)))
        device.send(envelope(1), envelope(5))
        assert device.is_marked(5)
        assert journal_seqs(tmp_path) == [1, 2, 3, 4, 5]
    assert [mark.seq for mark in device.marks] == sorted(mark.seq for mark in device.marks)


def test_a_mark_is_never_ahead_of_the_journal_and_is_retained(broker_port: int, tmp_path: Path):
    """At each mark the journal holds what it claims; who connects later gets the newest mark."""
    with gateways.in_thread(broker_port, tmp_path):
        with FakeDevice(broker_port) as device:
            for seq in range(1, 21):
                device.send_until_marked(envelope(seq))
                assert device.marks[-1].seq <= len(journal_seqs(tmp_path))
        with FakeDevice(broker_port) as later:
            assert later.is_marked(20)
            assert later.marks == [ev.Mark(5, 20)]


def test_a_gateway_killed_again_and_again_loses_nothing_and_takes_nothing_twice(
    broker_port: int, tmp_path: Path
):
    """After each SIGKILL the device sends from its mark on; at the end the journal is the exact sequence."""
    sent: list[ev.Envelope] = []
    with FakeDevice(broker_port) as device:
        for _ in range(4):
            with gateways.as_process(broker_port, tmp_path) as child:
                sent.append(envelope(len(sent) + 1))
                device.send_until_marked(*sent)
                for _ in range(30):
                    sent.append(envelope(len(sent) + 1))
                    device.send(sent[-1])
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
        with gateways.as_process(broker_port, tmp_path):
            device.send_until_marked(*sent)
    assert sorted(journal_seqs(tmp_path)) == [one.seq for one in sent]


def test_bad_messages_are_kept_with_their_reason_and_good_ones_counted(broker_port: int, tmp_path: Path):
    """Garbage, a foreign name, an oversized message and one bad event in a batch become dead letters; the rest counts."""
    bad = msgspec.json.encode(msgspec.to_builtins(envelope(2)) | {"camera": "a/b"})
    oversized = b'["' + b"x" * (codec.MAX_MESSAGE_BYTES + 1) + b'"]'
    with gateways.in_thread(broker_port, tmp_path), FakeDevice(broker_port) as device:
        device.send_until_marked(envelope(1))
        device.send_bytes(b"\xffgarbage")
        device.send_bytes(oversized)
        device.send(envelope(1, device="other"))
        device.publish(topics.status("home", "box"), b"neither on nor off")
        device.send_bytes(b"[" + bad + b"," + codec.encode(envelope(3)) + b"]")
        assert device.is_marked(3)
    assert journal_seqs(tmp_path) == [1, 3]
    letters = _letters(tmp_path)
    assert len(letters) == 5
    assert [("malformed" in reason or "invalid" in reason.lower()) for reason, _ in letters][:1] == [True]
    assert any(
        "262144 are allowed" in reason and len(raw) == codec.MAX_REJECTED_BYTES for reason, raw in letters
    )
    assert any("speaks on the topic of" in reason for reason, _ in letters)
    assert any("camera" in reason and raw == bad for reason, raw in letters)


def test_a_full_disk_confirms_nothing_and_goes_on_when_there_is_room(
    embedded_broker_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While nothing can be committed no mark moves; afterwards the device's repetition is taken once."""
    is_full = threading.Event()
    refused = threading.Event()
    commit = Journal.commit

    def commit_if_room(journal: Journal, batch: Batch) -> None:
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count = {pages if is_full.is_set() else 1_000_000}")
        try:
            commit(journal, batch)
        except Unavailable:
            refused.set()
            raise

    monkeypatch.setattr(Journal, "commit", commit_if_room)
    with gateways.in_thread(embedded_broker_port, tmp_path), FakeDevice(embedded_broker_port) as device:
        device.send_until_marked(envelope(1))
        is_full.set()
        backlog = [envelope(seq) for seq in range(2, 600)]
        device.send(*backlog)
        assert refused.wait(gateways.PATIENCE_S)
        assert device.marks[-1].seq == 1
        is_full.clear()
        device.send_until_marked(*backlog)
    assert journal_seqs(tmp_path) == list(range(1, 600))


def test_a_broker_that_goes_and_comes_back_is_found_again(tmp_path: Path):
    """A broker that forgets everything gets the marks again, and events flow on."""
    port = brokers.free_port()
    with gateways.in_thread(port, tmp_path / "gateway"):
        for last in (3, 6):
            with brokers.running("embedded", tmp_path / "broker", port), FakeDevice(port) as device:
                device.send_until_marked(*(envelope(seq) for seq in range(1, last + 1)))
        with brokers.running("embedded", tmp_path / "broker", port), FakeDevice(port) as device:
            assert device.is_marked(6)
    assert journal_seqs(tmp_path / "gateway") == [1, 2, 3, 4, 5, 6]


def test_a_gateway_that_lost_its_journal_takes_over_the_marks(broker_port: int, tmp_path: Path):
    """A device that has let go of its first events is not stuck when the journal is gone."""
    with FakeDevice(broker_port) as device:
        with gateways.in_thread(broker_port, tmp_path / "first"):
            device.send_until_marked(envelope(1), envelope(2))
        with gateways.in_thread(broker_port, tmp_path / "second"):
            device.send_until_marked(envelope(3), envelope(4))
    assert journal_seqs(tmp_path / "second") == [3, 4]


def test_a_stop_commits_and_marks_what_has_arrived(broker_port: int, tmp_path: Path):
    """What the gateway has received before the stop is durable and marked after it."""
    with FakeDevice(broker_port) as device:
        with gateways.in_thread(broker_port, tmp_path):
            device.send_until_marked(envelope(1))
            for seq in range(2, 300):
                device.send(envelope(seq))
        marked = device.marks[-1].seq
        assert device.is_marked(len(journal_seqs(tmp_path)), timeout_s=2.0), marked


def test_a_gateway_without_a_broker_stops_when_asked(tmp_path: Path):
    """Trying to reach a broker does not keep it."""
    with gateways.in_thread(brokers.free_port(), tmp_path):
        pass


def test_a_second_gateway_on_the_same_journal_ends_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It waits a little for the first to go, then says what to do."""
    monkeypatch.setattr(main, "LOCK_WAIT_S", 0.2)
    first = Journal(tmp_path, JournalSettings(), 1)
    try:
        with pytest.raises(UsageError, match="Another gateway"):
            main.run(gateways.settings(1, tmp_path), Stop())
    finally:
        first.close()


def test_a_certificate_that_is_missing_is_one_sentence(tmp_path: Path):
    """The file is named."""
    settings = GatewaySettings(
        data_dir=str(tmp_path),
        mqtt=MqttSettings(host="broker.example", tls=True, ca_file=str(tmp_path / "no.pem")),
    )
    with pytest.raises(UsageError, match=r"no\.pem"):
        main.run(settings, Stop())


async def test_the_inbox_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """What does not fit is dropped and counted: its device sends it again."""
    monkeypatch.setattr(ingest_module, "MAX_INBOX_BYTES", 100)
    counters = Counters()
    inbox = Inbox(counters)
    for _ in range(15):
        inbox.offer(Incoming("t", b"0123456789"))
    assert len(await inbox.take()) == 10
    inbox.done()
    await inbox.until_idle()
    assert counters.snapshot() == {"messages_received_total": 10, "messages_dropped_total": 5}


async def test_house_is_kept_and_presence_is_noted(
    embedded_broker_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The journal is trimmed and the fleet looked at in turns; a device's presence is known."""
    monkeypatch.setattr(ingest_module, "HOUSE_S", 0.01)
    trimmed = threading.Event()
    trim = Journal.trim

    def note_trim(journal: Journal, now_ms: int) -> journal_module.Trimmed:
        trimmed.set()
        return trim(journal, now_ms)

    monkeypatch.setattr(Journal, "trim", note_trim)
    journal = Journal(tmp_path, JournalSettings(), 1)
    stop = Stop()
    flow = Ingest(gateways.settings(embedded_broker_port, tmp_path), journal, SystemClock(), Counters())
    running = asyncio.create_task(flow.run(stop))
    with await asyncio.to_thread(FakeDevice, embedded_broker_port) as device:
        presence = codec.encode_value(ev.Presence(online=False))
        await asyncio.to_thread(device.publish, topics.status("home", "gone"), presence, retain=True)
        await asyncio.to_thread(device.publish, topics.status("home", "gone"), b"", retain=True)
        await asyncio.to_thread(device.send_until_marked, heartbeat(1))
        assert await asyncio.to_thread(trimmed.wait, gateways.PATIENCE_S)
    stop.request()
    await running
    journal.close()
    assert flow.fleet.devices()[journal_module.DeviceKey("home", "box")].is_online


def test_the_session_of_a_gateway_waits_for_it(broker_port: int, tmp_path: Path):
    """What is published while the gateway is away is there when it comes back, without a repetition."""
    with FakeDevice(broker_port) as device:
        for seq in (1, 2):
            with gateways.in_thread(broker_port, tmp_path):
                device.send_until_marked(envelope(seq))
        device.send(envelope(3))
        with gateways.in_thread(broker_port, tmp_path):
            assert device.is_marked(3)


def test_the_gateway_uses_mqtt_5(broker_port: int):
    """Both brokers speak it."""
    connected = threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="five", protocol=mqtt.MQTTv5)
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", broker_port)
    client.loop_start()
    assert connected.wait(gateways.PATIENCE_S)
    client.disconnect()
    client.loop_stop()


def test_a_stop_while_the_broker_does_not_answer_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """A broker that takes the connection and says nothing neither holds the stop nor leaves a trace of it."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        stop = Stop()
        gateway = threading.Thread(
            target=main.run, args=(gateways.settings(mute.getsockname()[1], tmp_path), stop)
        )
        gateway.start()
        connection, _ = mute.accept()
        stop.request()
        gateway.join(gateways.PATIENCE_S)
        connection.close()
    assert not gateway.is_alive()
    assert "Traceback" not in capfd.readouterr().err
