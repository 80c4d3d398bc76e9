"""One camera's agent in a process of its own, for tests that cut its camera: python -m tests.soak ADDRESS FOLDER.

It counts until its standard input ends, keeps its events in FOLDER/outbox.sqlite, and prints its memory once a second, in KiB.
Instead of a detector it has one that finds nothing: what is tested here is the way of the pictures.
"""

import sys
import threading
from contextlib import closing
from pathlib import Path

from countline.clock import SystemClock
from countline.service import Stop
from edge.agent import CameraAgent, Shared
from edge.arrays import Detections
from edge.config import CameraSettings
from edge.outbox import Outbox
from edge.outbox_writer import OutboxWriter
from edge.scheduler import Scheduler


def resident_kib() -> int:
    """Return how much memory this process has."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def main() -> None:
    """Run the agent."""
    address, folder = sys.argv[1], Path(sys.argv[2])
    stop, clock = Stop(), SystemClock()
    with closing(Outbox(folder / "outbox.sqlite", "site", "box", clock, 100_000_000)) as outbox:
        writer, scheduler = (
            OutboxWriter(outbox),
            Scheduler(lambda images: [Detections.empty() for _ in images], clock),
        )
        camera = CameraSettings("gate", address, record=True)
        agent = CameraAgent(camera, Shared(scheduler, writer, clock, recordings=folder / "detections"))
        scheduler.start()
        counting = threading.Thread(target=agent.run, args=(stop,))
        counting.start()
        threading.Thread(target=lambda: (sys.stdin.read(), stop.request()), daemon=True).start()
        while not stop.wait(1.0):
            sys.stdout.write(f"{resident_kib()}\n")
            sys.stdout.flush()
        counting.join()
        scheduler.close()
        writer.close()


if __name__ == "__main__":
    main()
