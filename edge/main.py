"""An edge agent: one process, one device, its cameras. Builds everything and owns the threads."""

import contextlib
import ctypes
import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from countline.clock import Clock, SteadyClock, SystemClock
from countline.errors import Unavailable, UsageError
from countline.service import Stop
from countline.telemetry import Log
from edge.agent import CameraAgent, Shared
from edge.arrays import Detections
from edge.config import EdgeSettings, source_kind
from edge.detector import Detector
from edge.frames import Image
from edge.local import Local, Surroundings
from edge.outbox import Outbox
from edge.outbox_writer import OutboxWriter
from edge.preview import Preview
from edge.publish import Publisher
from edge.scheduler import Look, Scheduler

# How long a stop may take to send what is left. What is not confirmed by then stays in the outbox.
DRAIN_S = 1.5
# A supervisor that was killed leaves us a moment in which its old agent still holds the data folder.
LOCK_WAIT_S = 6.0
# Of mallopt(3), in malloc.h.
M_ARENA_MAX = -8
# Pictures of several cameras that a graphics card looks at together (docs/decisions/0015).
TOGETHER = 4
# A camera that hangs in a driver holds up no stop for longer; what the others counted is safe.
STOP_PATIENCE_S = 1.5

_log = Log("edge.main")


def run(settings: EdgeSettings, stop: Stop) -> None:
    """Count until asked to stop.

    Args:
        settings: `detector.model` is the path of an ONNX file.
        stop: Ends it.

    Raises:
        UsageError: A person has to mend something.
    """
    _share_heaps()
    clock = SteadyClock(SystemClock(), _say_set_back)
    with _lock_folder(Path(settings.data_dir), stop, clock):
        detector = _detector(settings)
        outbox = _open_outbox(settings, clock)
        publisher = Publisher(outbox, settings.mqtt, settings.site, settings.device, clock)
        preview = (
            Preview(settings.preview, [camera.name for camera in settings.cameras])
            if settings.preview.enabled or settings.preview.snapshot != "off"
            else None
        )
        snapshots = preview.snapshot if preview and settings.preview.snapshot != "off" else None
        local = Local(settings, Surroundings(outbox, publisher, clock, snapshots))
        writer = OutboxWriter(outbox, publisher.wake, local)
        scheduler = (
            Scheduler(_look(detector), clock, most=_together(detector))
            if detector
            else Scheduler(None, clock)
        )
        recordings = Path(settings.data_dir) / "detections"
        shared = Shared(scheduler, writer, clock, detector, preview, settings.heartbeat_s, recordings)
        agents = [CameraAgent(camera, shared) for camera in settings.cameras]
        publisher.start()
        scheduler.start()
        local.start(writer.settle, stop)
        try:
            _run_cameras(agents, clock, stop)
            if local.failure:
                raise local.failure
        finally:
            scheduler.close()
            local.close()
            writer.close()
            if not publisher.close(DRAIN_S):
                _log.info(
                    "stopped with events in the outbox; the next start sends them", waiting=outbox.backlog
                )
            if preview:
                preview.close()
            outbox.close()


def _share_heaps() -> None:
    """Let all threads share two heaps: glibc gives each its own, which four cameras pay with 20 MB that nobody uses."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def _say_set_back(by_ms: int) -> None:
    _log.warning(
        "the clock was set back; times go on without a jump until it has caught up, a restart takes the new time at once",
        by_s=round(by_ms / 1000),
    )


def _run_cameras(agents: Sequence[CameraAgent], clock: Clock, stop: Stop) -> None:
    """Run each camera in its thread. The first that fails ends all, and its error goes on to the caller."""
    failures: list[BaseException] = []

    def target(agent: CameraAgent) -> None:
        try:
            agent.run(stop)
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            failures.append(error)
            stop.request()

    threads = [
        threading.Thread(target=target, args=(agent,), name=f"camera {agent.name}", daemon=True)
        for agent in agents
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    until_s = clock.monotonic_s() + STOP_PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, until_s - clock.monotonic_s()))
    if failures:
        raise failures[0]


def _detector(settings: EdgeSettings) -> Detector | None:
    """Load the detector once for all cameras; none if every camera brings its own detections."""
    cameras = [
        camera for camera in settings.cameras if source_kind(camera.source) not in {"synthetic", "detections"}
    ]
    if not cameras:
        return None
    classes = sorted({cls for camera in cameras for cls in camera.classes})
    return Detector(Path(settings.detector.model), settings.detector, classes)


def _look(detector: Detector) -> Look:
    def look(images: Sequence[Image]) -> list[Detections]:
        return [detector(images[0])] if len(images) == 1 else detector.many(images)

    return look


def _together(detector: Detector) -> int:
    """Return how many pictures the detector looks at together: on a processor one, for several are slower there."""
    return TOGETHER if detector.providers[0].startswith("CUDA") else 1


def _open_outbox(settings: EdgeSettings, clock: Clock) -> Outbox:
    path = Path(settings.data_dir) / "outbox.sqlite"
    try:
        return Outbox(path, settings.site, settings.device, clock, settings.outbox_max_mb * 1_000_000)
    except Unavailable as error:
        raise UsageError(
            f"Cannot keep events: {error.what}. Free some space or choose another folder with --data-dir."
        ) from error


def _lock_folder(folder: Path, stop: Stop, clock: Clock) -> IO[str]:
    """Make sure that no other agent uses the data folder; the lock goes with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "edge.lock").open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"Cannot write to the data folder {folder}: {error.strerror}. Choose another with --data-dir."
        ) from error
    until_s = clock.monotonic_s() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic_s() > until_s or stop.wait(0.1):
                lock.close()
                raise UsageError(
                    f"Another agent is running on the data folder {folder}: stop it, or choose another with --data-dir."
                ) from None
        else:
            lock.write(str(os.getpid()))
            lock.flush()
            return lock
