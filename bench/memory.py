"""What an edge agent holds of memory, and whether it grows.

    python -m bench.memory [--frames N] [--seconds S] [--cameras N] [--json]

- An agent as a process of its own, with YOLO11n on the demo's video played live, is watched for some seconds: its peak.
- The agent's loop runs on the synthetic scene as fast as it goes, with an outbox that is emptied as by a gateway: its
  memory is looked at after each second of the scene. There is no detector and no decoding in it: that is what the live
  agent is for. The slope, by least squares over the second half, is told for 24 hours of frames, with its error. Below
  10 000 frames none is told: what grows there is warm-up.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench._report import arguments, progress, show
from bench._truth import standard_lines
from countline.clock import SystemClock
from countline.config import MqttSettings
from countline.errors import UsageError
from countline.events import Heartbeat, LineTotals
from countline.service import Stop
from deploy.material import demo_video, model_file
from deploy.part import own_process
from edge.agent import CameraAgent, Shared
from edge.capture.synthetic import FPS, HEIGHT, WIDTH
from edge.config import CameraSettings, DetectorSettings, EdgeSettings
from edge.count.rules import Moment
from edge.outbox import Outbox
from edge.outbox_writer import OutboxWriter
from edge.scheduler import Scheduler

DAY_FRAMES = FPS * 86_400
# What grows before is caches, heaps and first pages.
LEAST_FRAMES = 10_000
# Memory of one second is that of the second before, nearly: the error is taken from means of so many batches.
BATCHES = 10
OUTBOX_BYTES = 64_000_000
# Nobody listens there: events wait in the outbox, as they do when a network is down.
NO_BROKER_PORT = 9


def main() -> None:
    """Measure and print."""
    parser = arguments("What an edge agent holds of memory, and whether it grows.")
    parser.add_argument("--frames", type=int, default=20_000, help="of the synthetic scene")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the live agent is watched")
    parser.add_argument("--cameras", type=int, default=1, help="of the live agent")
    parser.add_argument("--video", type=Path, help="default: the demo's")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--backend", default="onnxruntime")
    options = parser.parse_args()
    video = options.video or demo_video(_say)
    if video is None:
        parser.error("the demo's video cannot be had here: give one with --video")
    detector = DetectorSettings(model=str(model_file(options.model, _say)), backend=options.backend)
    progress("an agent as a process ...")
    live = watch_agent(video, detector, options.cameras, options.seconds)
    progress(f"{options.frames} frames of the synthetic scene ...")
    samples = _run(options.frames)
    slope = slope_for_day(samples)
    result = {
        "live": live,
        "loop": {
            "frames": round(samples[-1][0]),
            "start_mb": round(samples[0][1], 1),
            "half_mb": round(samples[len(samples) // 2][1], 1),
            "end_mb": round(samples[-1][1], 1),
            "mb_per_24h": round(slope[0], 2) if slope else None,
            "standard_error_mb": round(slope[1], 2) if slope else None,
            "has_detector": False,
            "has_decoding": False,
        },
    }
    rows = [
        [
            f"agent with {options.model}, {options.cameras} live, {options.seconds:.0f} s",
            f"{live['rss_mb']} MB",
        ],
        ["  its peak", f"{live['peak_mb']} MB"],
        ["loop without detector and decoding, first second", f"{samples[0][1]:.1f} MB"],
        ["  half way", f"{samples[len(samples) // 2][1]:.1f} MB"],
        [f"  after {samples[-1][0]:.0f} frames", f"{samples[-1][1]:.1f} MB"],
        [f"  slope for 24 h ({DAY_FRAMES:.0f} frames)", _told(slope)],
    ]
    show("Resident memory", ["", ""], rows, result, as_json=options.json)


def _say(sentence: str, _share: float | None = None) -> None:
    progress(sentence)


def watch_agent(video: Path, detector: DetectorSettings, cameras: int, seconds: float) -> dict[str, Any]:
    """Return what an agent in a process of its own holds after some seconds of live video, and its peak, MB.

    Raises:
        UsageError: It ended by itself in that time.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = EdgeSettings(
            site="bench",
            device="box",
            data_dir=folder,
            cameras=[CameraSettings(f"camera{n}", str(video), loop=True) for n in range(cameras)],
            detector=detector,
            mqtt=MqttSettings(port=NO_BROKER_PORT),
        )
        process = subprocess.Popen(
            own_process("deploy.part", "edge", "--log-level", "error"), stdin=subprocess.PIPE
        )
        assert process.stdin is not None
        try:
            process.stdin.write(msgspec.json.encode(settings) + b"\n")
            process.stdin.flush()
            time.sleep(seconds)
            if process.poll() is not None:
                raise UsageError(
                    f"the agent ended by itself within {seconds:.0f} s: what it said stands above."
                )
            held = _status(process.pid)
        finally:
            process.stdin.close()
            process.wait(timeout=20)
    return {
        "seconds": seconds,
        "cameras": cameras,
        "rss_mb": round(held["VmRSS"], 1),
        "peak_mb": round(held["VmHWM"], 1),
    }


class _Sampling(OutboxWriter):
    """Keeps events as an agent does, and looks at the memory with each heartbeat."""

    def __init__(self, outbox: Outbox, frames: int, stop: Stop) -> None:
        """Ask to stop after so many frames."""
        super().__init__(outbox, lambda: outbox.trim(outbox.last_seq))
        self._most = frames
        self._stop = stop
        self._frames = 0
        # All of it is there from the start: what is measured must not grow by the measuring.
        self._samples = np.ones((int(frames / FPS) + 2, 2))
        self._taken = 0

    def keep(
        self, camera: str, moments: Sequence[Moment], totals: dict[str, LineTotals] | None = None
    ) -> None:
        """Keep events; see `OutboxWriter.keep`."""
        super().keep(camera, moments, totals)
        for _, event in moments:
            if isinstance(event, Heartbeat):
                self._frames += event.frames
                if self._taken < len(self._samples):
                    self._samples[self._taken] = self._frames, _status("self")["VmRSS"]
                    self._taken += 1
                if self._frames >= self._most:
                    self._stop.request()

    def samples(self) -> list[tuple[float, float]]:
        """Return pairs of frames so far and resident megabytes."""
        return [(float(frames), float(mb)) for frames, mb in self._samples[: self._taken]]


def _run(frames: int) -> list[tuple[float, float]]:
    """Run an agent on the synthetic scene; return pairs of frames so far and resident megabytes."""
    clock, stop = SystemClock(), Stop()
    camera = CameraSettings("scene", "synthetic:", standard_lines(WIDTH, HEIGHT), realtime=False, loop=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Outbox(Path(folder) / "outbox.sqlite", "bench", "box", clock, OUTBOX_BYTES)) as outbox,
    ):
        writer = _Sampling(outbox, frames, stop)
        try:
            CameraAgent(camera, Shared(Scheduler(None, clock), writer, clock)).run(stop)
        finally:
            writer.close()
    return writer.samples()


def slope_for_day(samples: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return how much memory 24 hours of frames would add, and the standard error of that, MB.

    Args:
        samples: Pairs of frames so far and resident megabytes, of a whole run. The first half of it is left aside.

    Returns:
        None for a run of less than `LEAST_FRAMES`: it tells how an agent warms up.
    """
    if samples[-1][0] < LEAST_FRAMES:
        return None
    later = np.array(samples[len(samples) // 2 :])
    batches = np.array([batch.mean(axis=0) for batch in np.array_split(later, BATCHES)])
    frames, held = batches.T
    slope, intercept = statistics.linear_regression(frames.tolist(), held.tolist())
    rest = held - intercept - slope * frames
    error = (float((rest**2).sum()) / (BATCHES - 2) / float(((frames - frames.mean()) ** 2).sum())) ** 0.5
    return slope * DAY_FRAMES, error * DAY_FRAMES


def _told(slope: tuple[float, float] | None) -> str:
    if slope is None:
        return f"not told: below {LEAST_FRAMES} frames it is warm-up"
    return f"{slope[0]:.2f} +- {slope[1]:.2f} MB"


def _status(process: int | str) -> dict[str, float]:
    """Return the memory of a process by the kernel's names, MB (10**6 bytes)."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    pairs = (line.split(":", 1) for line in lines if line.startswith("Vm"))
    return {name: int(value.split()[0]) * 1024 / 1e6 for name, value in pairs}


if __name__ == "__main__":
    main()
