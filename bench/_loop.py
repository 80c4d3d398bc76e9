"""The whole loop of one camera, in blocks of frames, with others measured in the pauses between."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from countline.clock import SystemClock
from countline.service import Stop
from edge.agent import CameraAgent, Shared
from edge.arrays import Detections
from edge.config import CameraSettings
from edge.detector import Detector
from edge.frames import Image
from edge.outbox import Outbox
from edge.outbox_writer import OutboxWriter
from edge.scheduler import Look, Scheduler

# What is still being counted when a block ends is done by then; it belongs to no block.
SETTLE_S = 0.05
OUTBOX_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds a frame, block by block; the first block warms up and is left out.

    Attributes:
        loop_ms: Of the loop.
        others_ms: Of each other, in the pause after the same block.
    """

    loop_ms: list[float]
    others_ms: dict[str, list[float]]

    def ratio(self, other: str) -> float:
        """Return the median over the blocks of what the loop takes, by what the other one takes beside it."""
        return statistics.median(
            loop / other for loop, other in zip(self.loop_ms, self.others_ms[other], strict=True)
        )


class _Blocks:
    """Stands before the detector: after each block it lets the loop rest and measures the others."""

    def __init__(
        self,
        detector: Detector,
        others: Mapping[str, Callable[[], object]],
        frames: int,
        blocks: int,
        stop: Stop,
    ) -> None:
        self._detector = detector
        self._others = others
        self._frames = frames
        self._blocks = blocks
        self._stop = stop
        self._in_block = 0
        self._began_s = time.perf_counter()
        self.loop_ms: list[float] = []
        self.others_ms: dict[str, list[float]] = {name: [] for name in others}

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        if self._in_block == self._frames:
            self.loop_ms.append(self._since_ms())
            time.sleep(SETTLE_S)
            for name, other in self._others.items():
                self._began_s = time.perf_counter()
                for _ in range(self._frames):
                    other()
                self.others_ms[name].append(self._since_ms())
            if len(self.loop_ms) > self._blocks:
                self._stop.request()
            self._in_block, self._began_s = 0, time.perf_counter()
        self._in_block += len(images)
        return [self._detector(image) for image in images]

    def _since_ms(self) -> float:
        return (time.perf_counter() - self._began_s) * 1000 / self._frames


def measure_loop(
    camera: CameraSettings,
    detector: Detector,
    others: Mapping[str, Callable[[], object]],
    frames: int,
    blocks: int,
) -> Measured:
    """Run an agent on a recording that goes on for ever, and others beside it, by turns.

    All of the agent is in it: decoding the video, letterbox, inference, tracking, lines, a durable outbox. Of a block's
    frames the first was read and the last is counted in the pauses.

    Args:
        camera: What to count, as fast as it can be.
        detector: Looks at the pictures.
        others: Each is called once per frame.
        frames: In a block.
        blocks: How many are measured.
    """
    stop = Stop()
    meter = _Blocks(detector, others, frames, blocks, stop)
    run_agent(camera, detector, meter, stop)
    return Measured(
        meter.loop_ms[1 : blocks + 1],
        {name: spent[1 : blocks + 1] for name, spent in meter.others_ms.items()},
    )


def processor_ms(camera: CameraSettings, detector: Detector) -> float:
    """Return the processor time of all threads, milliseconds, that an agent takes for a recording from end to end."""
    began_s = time.process_time()
    run_agent(camera, detector, lambda images: [detector(image) for image in images], _StopsAtEnd())
    return (time.process_time() - began_s) * 1000


class _StopsAtEnd(Stop):
    """Asks itself to stop when the agent has nothing to do but wait: at the end of a recording."""

    def wait(self, timeout_s: float | None = None) -> bool:
        self.request()
        return super().wait(timeout_s)


def run_agent(camera: CameraSettings, detector: Detector, look: Look, stop: Stop) -> None:
    """Run one camera's agent with an outbox of its own, as a process would, until it is asked to stop."""
    clock = SystemClock()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Outbox(Path(folder) / "outbox.sqlite", "bench", "box", clock, OUTBOX_BYTES)) as outbox,
    ):
        writer, scheduler = OutboxWriter(outbox), Scheduler(look, clock)
        agent = CameraAgent(camera, Shared(scheduler, writer, clock, detector))
        scheduler.start()
        try:
            agent.run(stop)
        finally:
            scheduler.close()
            writer.close()
