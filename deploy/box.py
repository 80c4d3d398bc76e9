"""`countline up`: all parts of one box, started, watched and stopped together.

    broker <- gateway -> journal -> worker -> store -> api -> page
      ^                                                  |
      '---- edge (cameras) ------- pictures, if shown ---'

Each part is a process of its own, so none slows another down. The box stops the edge first and the broker last: each
part finds those that it delivers to still there while it drains.
"""

import asyncio
import contextlib
import errno
import fcntl
import http.client
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from countline.clock import SystemClock
from countline.config import MqttSettings
from countline.errors import UsageError
from countline.service import Part, Stop, Supervisor
from countline.telemetry import set_up_logging
from deploy import config, terminal
from deploy.broker import BrokerSettings, choose, is_listening
from deploy.config import BoxSettings, Paths
from deploy.material import model_file
from deploy.part import own_process
from edge.config import DETLOG, CameraSettings, source_kind, source_path

LOOPBACK = "127.0.0.1"
STOP_ORDER = ("edge", "gateway", "worker", "api", "broker")
# A store that cannot grow by this much is as good as full.
MIN_FREE_MB = 100
# The parts of a killed supervisor stop by themselves; this is well above the longest drain.
LEFTOVER_PATIENCE_S = 10.0
# Parts drain in a fraction of this; a part that takes longer gets a signal, and after as long again it is ended by force.
DRAIN_S = {"edge": 2.0, "gateway": 2.0, "worker": 1.0, "api": 2.0, "broker": 0.5}
STATUS_EVERY_S = 2.0
HEARD_EVERY_S = 0.1
# A camera that is not heard of by then, though the page is there, is for the page to show.
HEARD_PATIENCE_S = 20.0
_ANSWER_TIMEOUT_S = 2.0
_MAX_ANSWER_BYTES = 1_000_000
_MAX_PORT_TRIES = 20


@dataclass(frozen=True)
class Options:
    """How a box shows itself.

    Attributes:
        title: Above the page's address.
        notes: Further rows below it, name and text.
        log_level: Of the parts.
        on_live: Called with the page's address once it answers.
    """

    title: str = "Countline is counting"
    notes: Sequence[tuple[str, str]] = ()
    log_level: str = "warning"
    on_live: Callable[[str], object] | None = None


def up(settings: BoxSettings, stop: Stop, console: Console, options: Options | None = None) -> None:
    """Run a whole box until it is asked to stop.

    Args:
        settings: What to run.
        stop: Ends it.
        console: Where to tell a person about it.
        options: How it shows itself.

    Raises:
        UsageError: A person has to mend something first: the data folder, the port, a camera, the model.
    """
    options = options or Options()
    set_up_logging("box", options.log_level)
    paths = Paths(settings.data_dir)
    with hold(paths, stop):
        check_disk(paths.folder)
        for camera in settings.cameras:
            check_source(camera)
        with terminal.steps(console) as progress:
            model = settings.detector.model
            if any(config.needs_model(camera) for camera in settings.cameras):
                model = str(model_file(model, progress))
        if stop.is_requested():
            return
        box = with_ports(settings)
        parts = plan(box, model=model, log_level=options.log_level)
        asyncio.run(_run(box, parts, stop, console, options))
        console.print(f"Stopped. Everything counted is kept in {paths.folder}.", soft_wrap=True)


def plan(box: BoxSettings, *, model: str, log_level: str = "warning") -> list[Part]:
    """Return the parts of a box in the order in which they start.

    Args:
        box: Settings with real ports.
        model: The ONNX file's path.
        log_level: Of the parts.
    """
    paths = Paths(box.data_dir)
    mqtt = MqttSettings(host=LOOPBACK, port=box.broker.port)
    preview = box.preview.port if box.preview.enabled else 0
    api = config.api_settings(box, preview_port=preview)
    own = {
        "broker": BrokerSettings(port=box.broker.port, data_dir=str(paths.folder), prefer=box.broker.prefer),
        "gateway": config.gateway_settings(box, mqtt),
        "worker": config.worker_settings(box),
        "api": api,
        "edge": config.edge_settings(box, mqtt, model=model, preview_port=preview),
    }
    ready = {
        "broker": lambda: is_listening(LOOPBACK, box.broker.port),
        "api": lambda: is_listening(_reachable(api.host), api.port),
    }
    # The edge starts before the page answers: loading its libraries and its model takes the longest.
    return [
        Part(
            name=name,
            arguments=own_process(
                "deploy.part", name, "--lock", str(paths.parts_lock), "--log-level", log_level
            ),
            settings=msgspec.json.encode(own[name]),
            ready=ready.get(name),
            drain_s=DRAIN_S[name],
        )
        for name in ("broker", "gateway", "worker", "edge", "api")
    ]


async def _run(
    box: BoxSettings, parts: Sequence[Part], stop: Stop, console: Console, options: Options
) -> None:
    watcher = asyncio.create_task(_show(box, stop, console, options))
    try:
        await Supervisor(parts, stop).run(STOP_ORDER)
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def _show(box: BoxSettings, stop: Stop, console: Console, options: Options) -> None:
    """Announce the page once it shows the cameras; on a terminal go on with one line of what is happening."""
    url = page_url(box)
    began_ms = SystemClock().now_ms()
    tries = round(HEARD_PATIENCE_S / HEARD_EVERY_S)
    while not stop.is_requested() and not await asyncio.to_thread(_is_live, box, began_ms, patient=tries > 0):
        tries -= 1
        await asyncio.sleep(HEARD_EVERY_S)
    if stop.is_requested():
        return  # Something could not start, and said so: it must not read as if all were well.
    terminal.banner(console, url, facts(box, options), title=options.title)
    if options.on_live:
        options.on_live(url)
    stopped = asyncio.create_task(stop.wait_async())
    if not console.is_terminal:
        await stopped
        return
    with console.status("starting") as status:
        while not stopped.done():
            status.update(await asyncio.to_thread(status_line, box))
            await asyncio.wait({stopped}, timeout=STATUS_EVERY_S)
        status.update("stopping: the edge first, then what it delivers to")
        await asyncio.Event().wait()


def _is_live(box: BoxSettings, began_ms: int, *, patient: bool) -> bool:
    """Say whether the page answers and, as long as we are patient, whether each camera has been heard of.

    A camera that cannot be counted ends the box with a sentence; "is counting" must not stand before it.
    """
    answer = _ask(box, "/v1/cameras")
    if answer is None or not patient:
        return answer is not None
    heard = {one.get("camera") for one in answer.get("cameras", []) if one.get("last_seen_ms", 0) >= began_ms}
    return heard >= {camera.name for camera in box.cameras}


def facts(box: BoxSettings, options: Options) -> list[tuple[str, str]]:
    """Return the rows of the start banner: name and text."""
    rows: list[tuple[str, str]] = []
    for camera in box.cameras:
        names = [f"line {line.name}" for line in camera.lines] + [
            f"zone {zone.name}" for zone in camera.zones
        ]
        source = str(config.shown(camera)["source"])  # type: ignore[index] - a Struct is shown as a dict
        rows.append(
            ("camera", f"{camera.name}: {source}; {', '.join(names) or 'one line across the middle'}")
        )
    rows += [
        ("pictures", _who_sees(box)),
        ("data", str(Paths(box.data_dir).folder)),
        (
            "broker",
            {"embedded": "embedded"}.get(choose(box.broker.prefer), "mosquitto")
            + f", {LOOPBACK}:{box.broker.port}",
        ),
        *options.notes,
        ("stop", "Ctrl-C"),
    ]
    return rows


def _who_sees(box: BoxSettings) -> str:
    """Say who may see pictures, and by which ways."""
    snapshot = box.preview.snapshot
    words: list[str] = []
    if box.preview.enabled:
        on_page = "on this machine only" if _is_local(box) else "to whoever has the token"
        words.append(f"shown on the page, {on_page}")
    if snapshot != "off":
        at = f"http://{LOOPBACK}:{box.preview.port}"
        words.append(
            f"single ones on request, {snapshot} at most: by HTTP on this machine ({at}) and by MQTT"
        )
    return "; ".join(words) or "never leave the counting process"


def status_line(box: BoxSettings) -> str:
    """Ask the API how the cameras are, and say it in one line."""
    answer = _ask(box, "/v1/cameras")
    if answer is None:
        return "the page's server does not answer; it is being restarted"
    words: list[str] = []
    for camera in answer.get("cameras", []):
        name, state = camera.get("camera", "?"), camera.get("state", "?")
        if state == "ok":
            words.append(f"{name} {float(camera.get('fps') or 0):.1f} fps")
        else:
            words.append(f"{name} {state} {camera.get('reason') or ''}".rstrip())
    return (
        " · ".join(words[:4]) + (f" · and {len(words) - 4} more" if len(words) > 4 else "")
        or "waiting for the first picture"
    )


def _ask(box: BoxSettings, path: str) -> Any:
    connection = http.client.HTTPConnection(_reachable(box.api.host), box.api.port, timeout=_ANSWER_TIMEOUT_S)
    try:
        headers = {"Authorization": f"Bearer {box.api.token}"} if box.api.token else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return json.loads(answer.read(_MAX_ANSWER_BYTES)) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def page_url(box: BoxSettings) -> str:
    """Return the page's address, as one types it on this machine."""
    host = _reachable(box.api.host)
    return f"http://[{host}]:{box.api.port}/" if ":" in host else f"http://{host}:{box.api.port}/"


def _reachable(host: str) -> str:
    return LOOPBACK if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - compared, not bound


def _is_local(box: BoxSettings) -> bool:
    return box.api.host in {"localhost", "::1"} or box.api.host.startswith("127.")


# Checks before anything starts.


@contextlib.contextmanager
def hold(paths: Paths, stop: Stop) -> Iterator[None]:
    """Hold a data folder, made if need be, so that no second box uses it.

    Raises:
        UsageError: Another box runs there, or it cannot be written.
    """
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unwritable(paths.folder, error) from error
    with open(handle, "r+", encoding="ascii") as lock:  # noqa: PTH123 - the descriptor is open already
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = lock.read(20).strip() or "unknown"
            raise UsageError(
                f"Another countline (process {pid}) already runs on {paths.folder}: stop it first, or choose another folder with --data-dir."
            ) from error
        try:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        except OSError as error:
            raise _unwritable(paths.folder, error) from error
        _wait_for_leftovers(paths, stop)
        yield


def _wait_for_leftovers(paths: Paths, stop: Stop) -> None:
    """Wait until the parts of a box that was killed here have ended by themselves."""
    with paths.parts_lock.open("a") as handle:
        tries = int(LEFTOVER_PATIENCE_S / 0.1)
        for _ in range(tries):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if stop.wait(0.1):
                    return
            else:
                return
    raise UsageError(
        f"Parts of an earlier countline still run on {paths.folder} (waited {LEFTOVER_PATIENCE_S:.0f} s): "
        "look for them with `pgrep -fa deploy.part` and end them."
    )


def check_disk(folder: Path) -> None:
    """Raise UsageError if the folder cannot be written or its disk is as good as full."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        with probe.open("wb") as handle:
            handle.write(bytes(4096))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < MIN_FREE_MB:
        raise UsageError(
            f"The disk of {folder} is full: {free_mb} MB are free, {MIN_FREE_MB} MB are needed. Make room, or choose another folder with --data-dir."
        )


def _unwritable(folder: Path, error: OSError) -> UsageError:
    if error.errno == errno.ENOSPC:
        return UsageError(
            f"The disk of {folder} is full: make room, or choose another folder with --data-dir."
        )
    return UsageError(
        f"The data folder {folder} cannot be written ({error.strerror}): choose another with --data-dir, or mend its permissions."
    )


def check_source(camera: CameraSettings) -> None:
    """Raise UsageError if the camera's source is a file or folder that is not there."""
    kind = source_kind(camera.source)
    if kind not in {"video", "folder", "detections"}:
        return
    name = source_path(camera.source)
    if camera.source.startswith(DETLOG) and "*" in name:
        return  # a pattern, judged when it is opened
    if not Path(name).expanduser().exists():
        raise UsageError(f"Camera {camera.name!r}: there is no file or folder {name!r}.")


def check_port(host: str, port: int) -> None:
    """Raise UsageError if a server cannot listen there."""
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"Port {port} is in use on {host}: stop what runs there, or choose another with --port."
            ) from error
        raise UsageError(
            f"Cannot listen on {host} port {port} ({error.strerror}): choose another with --host and --port."
        ) from error


def next_free_port(host: str, port: int) -> int:
    """Return the first port from `port` on that is free.

    Raises:
        UsageError: None of the next ones is.
    """
    for candidate in range(port, min(port + _MAX_PORT_TRIES, 65_536)):
        with contextlib.suppress(OSError):
            _bind(host, candidate)
            return candidate
    raise UsageError(
        f"Ports {port} to {port + _MAX_PORT_TRIES - 1} are all in use on {host}: choose another with --port."
    )


def free_port() -> int:
    """Return a port of loopback that nobody uses at this moment."""
    return _bind(LOOPBACK, 0)


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections still linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def with_ports(settings: BoxSettings) -> BoxSettings:
    """Return the settings with real ports wherever they say 0, and fail early on those that are taken."""
    if settings.api.port:
        check_port(settings.api.host, settings.api.port)
    api = settings.api if settings.api.port else msgspec.structs.replace(settings.api, port=free_port())
    broker = msgspec.structs.replace(settings.broker, port=settings.broker.port or free_port())
    preview = msgspec.structs.replace(settings.preview, port=settings.preview.port or free_port())
    return msgspec.structs.replace(settings, api=api, broker=broker, preview=preview)
