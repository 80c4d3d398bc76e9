"""The MQTT broker of a single box: mosquitto where it is installed, else the embedded one (iotcore, which is rumqttd).

Neither keeps anything on disk: what a broker loses, the outboxes of the devices send again. Both listen on loopback
only, and both end with their parent, however it ends.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from countline.errors import Unavailable, UsageError
from countline.service import Stop
from countline.telemetry import Log

HOST = "127.0.0.1"
# Well above countline.codec.MAX_MESSAGE_BYTES: a message that is too large must still reach the gateway, which keeps
# its beginning and says why it was refused. What is larger than this, the broker refuses by itself.
MAX_PAYLOAD_BYTES = 1_048_576
# The fixed and variable header of a PUBLISH: two topics' worth of bytes and its properties.
MAX_HEADER_BYTES = 4_096
# Messages under way to one client without its acknowledgement: enough to keep a gateway busy for a commit.
MAX_INFLIGHT = 200
# Messages that wait for a gateway that is away; at 100 events each this is hours of a box, and they are in the outbox too.
MAX_QUEUED = 20_000
MAX_QUEUED_BYTES = 67_108_864
MAX_CONNECTIONS = 1_000
# How often the child is looked at while it should be up, and how long it may take to come up and to go.
WATCH_S = 0.2
START_S = 10.0
END_S = 1.0

_PR_SET_PDEATHSIG = 1
_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"

_log = Log("broker")


class BrokerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The broker of a single box.

    Attributes:
        port: TCP port on loopback.
        data_dir: Where its generated configuration file goes.
        prefer: "mosquitto", "embedded", or "auto": mosquitto if it is installed.
    """

    port: int
    data_dir: str
    prefer: Literal["auto", "mosquitto", "embedded"] = "auto"


def choose(prefer: str = "auto") -> str:
    """Return "mosquitto" or "embedded": what `run` would start on this machine.

    Raises:
        UsageError: Mosquitto is asked for and is not installed.
        ImportError: Only the embedded one is left, and it is not installed.
    """
    if prefer != "embedded" and _mosquitto() is not None:
        return "mosquitto"
    if prefer == "mosquitto":
        raise UsageError(
            "mosquitto is not installed: install it (`apt install mosquitto`) or take the embedded broker."
        )
    _library()
    return "embedded"


def _library() -> Any:
    """Return the embedded broker: a machine with an agent alone has none, and its doctor must load without it."""
    import iotcore  # noqa: PLC0415

    return iotcore


def is_listening(host: str, port: int) -> bool:
    """Say whether something takes TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def run(settings: BrokerSettings, stop: Stop) -> None:
    """Run the broker until it is asked to stop.

    Raises:
        UsageError: The port is in use, the folder is not writable, or the wanted broker is not installed.
        Unavailable: The broker ended by itself.
    """
    name = choose(settings.prefer)
    check_port_free(settings.port)
    with ExitStack() as stack:
        is_running = (
            _start_mosquitto(settings, stack) if name == "mosquitto" else _start_embedded(settings, stack)
        )
        waited_s = 0.0
        while is_running() and not is_listening(HOST, settings.port) and waited_s < START_S:
            waited_s += WATCH_S / 4
            if stop.wait(WATCH_S / 4):
                return
        if is_running():
            _log.info("broker is up", broker=name, port=settings.port)
        while not stop.wait(WATCH_S):
            if not is_running():
                raise Unavailable(f"the broker {name} has ended by itself")


def check_port_free(port: int) -> None:
    """Raise UsageError if something listens on the port already."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"MQTT port {port} on {HOST} cannot be used ({error.strerror}): stop what runs there or choose another."
            ) from error


def mosquitto_config(settings: BrokerSettings, *, as_root: bool) -> str:
    """Return the text of a mosquitto.conf; see the module's docstring."""
    lines = [
        f"listener {settings.port} {HOST}",
        "allow_anonymous true",
        "persistence false",
        f"max_packet_size {MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES}",
        f"max_inflight_messages {MAX_INFLIGHT}",
        f"max_queued_messages {MAX_QUEUED}",
        f"max_queued_bytes {MAX_QUEUED_BYTES}",
        f"max_connections {MAX_CONNECTIONS}",
        "set_tcp_nodelay true",
        "connection_messages false",
        "log_dest stderr",
        "log_type error",
    ]
    if as_root:
        # A change of user would clear the death signal, and a broker would be left behind.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def embedded_config(settings: BrokerSettings) -> str:
    """Return the text of a rumqttd TOML file with one MQTT 5 listener."""
    return f"""id = 0
[router]
id = 0
max_connections = {MAX_CONNECTIONS}
max_outgoing_packet_count = {MAX_INFLIGHT}
max_segment_size = {MAX_QUEUED_BYTES // 8}
max_segment_count = 8
[v5.1]
name = "v5"
listen = "{HOST}:{settings.port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = {MAX_PAYLOAD_BYTES}
max_inflight_count = {MAX_INFLIGHT}
dynamic_filters = true
"""


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SYSTEM_FOLDERS)


def _write(settings: BrokerSettings, name: str, text: str) -> Path:
    path = Path(settings.data_dir) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The broker cannot write {path}: {error.strerror}.") from error
    return path


def _start_mosquitto(settings: BrokerSettings, stack: ExitStack) -> Callable[[], bool]:
    program = _mosquitto()
    assert program is not None
    path = _write(settings, "mosquitto.conf", mosquitto_config(settings, as_root=os.geteuid() == 0))
    # What it has to say is kept beside its settings, from its last start only: as root it always has something.
    words = stack.enter_context((path.parent / "mosquitto.log").open("wb"))
    child = subprocess.Popen(
        [program, "-c", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=words,
        stderr=words,
        preexec_fn=_death_signal(),  # noqa: PLW1509 - the hook makes two system calls and takes no lock
    )
    stack.callback(_end, child)
    return lambda: child.poll() is None


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _death_signal() -> Callable[[], None] | None:
    """Return what a child runs before it becomes another program, so that the kernel ends it when its parent dies."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before we asked.
            os._exit(1)

    return ask


def _start_embedded(settings: BrokerSettings, stack: ExitStack) -> Callable[[], bool]:
    path = _write(settings, "broker.toml", embedded_config(settings))
    broker = _library().Broker(config_path=str(path))
    try:
        broker.start(START_S)
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"the embedded broker does not start: {error}") from error
    stack.callback(broker.stop, END_S)
    return lambda: broker.is_running
