"""The real worker, API and preview behind a page, fed by cameras that are told what to see.

Only the detector and the network are missing: tests say who crosses, and the journal is written as the gateway does.
`python tests/page_server.py [--video FILE]` shows a lively scene to look at while working on the page.
"""

import argparse
import math
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from cloud.config import ApiSettings, WorkerSettings
from cloud.main import run_api, run_worker
from countline import eventlog
from countline import events as ev
from countline.codec import encode
from countline.service import Stop
from edge.config import PreviewSettings
from edge.frames import Frame
from edge.preview import Preview

PAGE = Path(__file__).parent.parent / "dashboard"
SITE, DEVICE = "demo", "box"
HOUR_MS = 3_600_000
BEAT_MS = 1_000
BATCH_MS = 10_000
PICTURES_PER_S = 10

CROSSING = ev.LineShape("crossing", [(250, 330), (560, 250)], sides=("park", "street"), classes=["person"])
KERB = ev.LineShape("kerb", [(690, 560), (600, 240)], swap=True, sides=("pavement", "lawn"))
PLAZA = ev.ZoneShape("plaza", [(80, 380), (420, 330), (500, 540), (90, 560)])


def now_ms() -> int:
    """Return UTC, milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass
class Camera:
    """A camera that is told what to see.

    Attributes:
        blind: Why it sees nothing; empty while it does.
        is_silent: Whether it has stopped to send anything.
        past_blind_min: Begin with an hour of counts behind it, blind between these minutes ago; None to begin now.
    """

    name: str
    lines: Sequence[ev.LineShape] = (CROSSING, KERB)
    zones: Sequence[ev.ZoneShape] = (PLAZA,)
    width: int = 768
    height: int = 576
    synthetic: bool = False
    preview: bool = True
    gates: Sequence[ev.GateShape] = ()
    od: bool = False
    blind: str = ""
    is_silent: bool = False
    past_blind_min: tuple[int, int] | None = None
    beaten_ms: int = 0
    totals: dict[str, list[int]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """As the API names it."""
        return f"{SITE}/{DEVICE}/{self.name}"

    def configured(self) -> ev.CameraConfigured:
        """Say with what it counts."""
        kind = "synthetic" if self.synthetic else "video"
        shapes = list(self.lines), list(self.zones)
        return ev.CameraConfigured(
            self.width,
            self.height,
            kind,
            *shapes,
            self.synthetic,
            "yolo11n",
            7.0,
            self.preview,
            list(self.gates),
            self.od,
        )

    def crossed(self, line: str, direction: str) -> ev.LineCrossed:
        """Let one person cross."""
        totals = self.totals.setdefault(line, [0, 0])
        totals[direction == "out"] += 1
        track = sum(map(sum, self.totals.values()))
        return ev.LineCrossed(line, ev.Direction(direction), "person", track, 0.8, ev.LineTotals(*totals))

    def beat(self, at_ms: int) -> ev.Heartbeat:
        """Say that all up to now is counted."""
        since_ms, self.beaten_ms = self.beaten_ms, at_ms
        span_ms = at_ms - since_ms
        state = ev.CameraState.BLIND if self.blind else ev.CameraState.OK
        blind_ms = span_ms if self.blind else 0
        frames = 0 if self.blind else round(7 * span_ms / 1000)
        return ev.Heartbeat(since_ms, blind_ms, frames, 0, 61.0, state, self.blind)


Seen = tuple[Camera, int, ev.AnyEvent]


class PageBox:
    """A worker, an API and a preview on this machine; use it as a context.

    Attributes:
        url: Where the page is.
    """

    def __init__(
        self, folder: Path, cameras: Sequence[Camera], *, page: Path = PAGE, token: str = ""
    ) -> None:
        self.cameras = {camera.name: camera for camera in cameras}
        self._journal = folder / "journal.sqlite"
        self._worker = WorkerSettings(str(self._journal), str(folder / "store.sqlite"))
        self._preview = Preview(PreviewSettings(enabled=True), list(self.cameras))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self._api = ApiSettings(
            self._worker.store_path,
            port=port,
            token=token,
            timezone="Europe/Berlin",
            preview_url=f"http://127.0.0.1:{self._preview.port}",
            page_dir=str(page),
        )
        self.url = f"http://127.0.0.1:{port}/"
        self._epoch = now_ms()
        self._seq = count(1)
        self._writing = threading.Lock()
        self._ended = Stop()
        self._parts: dict[str, tuple[Stop, threading.Thread]] = {}

    def __enter__(self) -> Self:
        self._log = eventlog.connect(self._journal, synchronous="NORMAL")
        self._log.executescript(eventlog.SCHEMA)
        for camera in self.cameras.values():
            if camera.past_blind_min is None:
                camera.beaten_ms = now_ms()
                self.send(camera, camera.beaten_ms, camera.configured())
            else:
                self.send_all(past_hour(camera, *camera.past_blind_min))
        self._start("worker", lambda stop: run_worker(self._worker, stop))
        self.start_api()
        self._start("beats", self._beat)
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._parts)):
            self._stop(name)
        self._preview.close()
        self._log.close()

    def start_api(self) -> None:
        """Let the API answer, on the same port as before."""
        self._start("api", lambda stop: run_api(self._api, stop))
        port = self._api.port
        for _ in range(500):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the API did not start")

    def stop_api(self) -> None:
        """Let the API go away."""
        self._stop("api")

    def send(self, camera: Camera, at_ms: int, *events: ev.AnyEvent) -> None:
        """Commit events as the gateway does."""
        self.send_all([(camera, at_ms, event) for event in events])

    def send_all(self, seen: Sequence[Seen]) -> None:
        """Commit events of any cameras and times in one transaction."""
        with self._writing:
            envelopes = [
                encode(ev.Envelope(1, SITE, DEVICE, self._epoch, next(self._seq), camera.name, at_ms, event))
                for camera, at_ms, event in seen
            ]
            self._log.execute("BEGIN IMMEDIATE")
            eventlog.append(self._log, now_ms(), envelopes)
            self._log.execute("COMMIT")

    def cross(self, camera: str, line: str, direction: str) -> None:
        """Let one person cross a line, now."""
        seen = self.cameras[camera]
        self.send(seen, now_ms(), seen.crossed(line, direction))

    def show(self, camera: str, frame: Frame, tracks: Sequence[dict[str, object]]) -> None:
        """Show a picture."""
        self._preview.publish(camera, frame, tracks)

    def _beat(self, stop: Stop) -> None:
        while not stop.wait(BEAT_MS / 1000):
            at_ms = now_ms()
            awake = [camera for camera in self.cameras.values() if not camera.is_silent]
            self.send_all([(camera, at_ms, camera.beat(at_ms)) for camera in awake])

    def _start(self, name: str, run: Callable[[Stop], None]) -> None:
        stop = Stop()
        thread = threading.Thread(target=run, args=(stop,), name=name, daemon=True)
        thread.start()
        self._parts[name] = stop, thread

    def _stop(self, name: str) -> None:
        stop, thread = self._parts.pop(name)
        stop.request()
        thread.join(10)
        assert not thread.is_alive(), f"{name} did not stop"


def past_hour(camera: Camera, blind_from_min: int, blind_to_min: int) -> list[Seen]:
    """Make up the hour before now: crossings at changing pace, and minutes (counted back from now) without sight."""
    chance = np.random.default_rng(7)
    end_ms = now_ms()
    camera.beaten_ms = end_ms - HOUR_MS
    is_blind_now, camera.blind = camera.blind, ""
    seen: list[Seen] = [(camera, camera.beaten_ms, camera.configured())]
    for at_ms in range(camera.beaten_ms + BATCH_MS, end_ms, BATCH_MS):
        camera.blind = "covered" if blind_to_min <= (end_ms - at_ms) // 60_000 < blind_from_min else ""
        pace = 0.0 if camera.blind else 0.5 + 0.4 * math.sin(at_ms / 700_000)
        for line in camera.lines:
            ways = ["in"] * int(chance.poisson(pace)) + ["out"] * int(chance.poisson(0.8 * pace))
            times_ms = [at_ms - int(ago_ms) for ago_ms in chance.integers(1, BATCH_MS, len(ways))]
            seen.extend(
                (camera, at, camera.crossed(line.name, way)) for at, way in zip(times_ms, ways, strict=True)
            )
        seen.append((camera, at_ms, camera.beat(at_ms)))
    camera.blind = is_blind_now
    for zone in camera.zones:
        visits = [
            ev.ZoneVisit(zone.name, "person", track, int(chance.integers(4_000, 40_000)))
            for track in range(60)
        ]
        seen.extend((camera, end_ms - 2_000, visit) for visit in visits)
        seen.append((camera, end_ms - 1_000, ev.ZoneOccupancy(zone.name, {"person": 3, "bicycle": 1})))
    return seen


def drawn(index: int) -> tuple[Frame, list[dict[str, object]]]:
    """Draw a picture with a few people who walk."""
    picture = np.full((576, 768, 3), (70, 82, 76), np.uint8)
    tracks: list[dict[str, object]] = []
    for person in range(4):
        x = int(384 + 330 * math.sin(index / 30 + person * 1.7))
        y = 180 + 80 * person
        cv2.circle(picture, (x, y - 44), 14, (150, 170, 190), -1)
        cv2.rectangle(picture, (x - 16, y - 28), (x + 16, y + 44), (90, 120, 180), -1)
        tracks.append(
            {"id": person + 1, "cls": "person", "conf": 0.9, "box": [x - 22, y - 62, x + 22, y + 48]}
        )
    return Frame(index, now_ms(), picture), tracks


def recorded(path: str) -> list[tuple[np.ndarray, list[dict[str, object]]]]:
    """Read a recording, with boxes around what moves in it."""
    video = cv2.VideoCapture(path)
    moving = cv2.createBackgroundSubtractorMOG2(200, 40, False)
    pictures: list[tuple[np.ndarray, list[dict[str, object]]]] = []
    for _ in range(300):
        is_read, picture = video.read()
        if not is_read:
            break
        mask = cv2.dilate(cv2.medianBlur(moving.apply(picture), 5), np.ones((9, 5), np.uint8), iterations=2)
        shapes = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        boxes = [(x, y, w, h) for x, y, w, h in map(cv2.boundingRect, shapes) if w * h > 700 and w < h < 200]
        tracks = [
            {"id": 10 + i, "cls": "person", "box": [x, y, x + w, y + h]}
            for i, (x, y, w, h) in enumerate(boxes)
        ]
        pictures.append((picture, tracks))
    video.release()
    return pictures[40:]


def main() -> None:
    """Show a lively scene until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video")
    parser.add_argument("--cameras", type=int, default=1)
    asked = parser.parse_args()
    stairs = ev.LineShape("stairs", [(60, 180), (580, 180)], sides=("upstairs", "hall"))
    cameras = [
        Camera("plaza", past_blind_min=(29, 22)),
        Camera("backdoor", past_blind_min=(29, 22), blind="the lens is covered"),
        Camera("hall", [stairs], [], 640, 360, synthetic=True, preview=False),
    ][: asked.cameras]
    film = recorded(asked.video) if asked.video else []
    chance = np.random.default_rng()
    with tempfile.TemporaryDirectory() as folder, PageBox(Path(folder), cameras) as box:
        print(box.url, flush=True)  # noqa: T201 - a person started this to look at it
        for index in count():
            picture, tracks = film[index % len(film)] if film else (None, [])
            frame, tracks = (Frame(index, now_ms(), picture), tracks) if film else drawn(index)
            box.show("plaza", frame, tracks)
            if chance.random() < 0.1:
                camera = cameras[int(chance.integers(len(cameras)))]
                line = camera.lines[int(chance.integers(len(camera.lines)))]
                if not camera.blind:
                    box.cross(camera.name, line.name, "in" if chance.random() < 0.55 else "out")
            time.sleep(1 / PICTURES_PER_S)


if __name__ == "__main__":
    main()
