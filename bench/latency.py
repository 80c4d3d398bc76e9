"""How old a picture's counts are when a screen gets them: from the frame's capture to the WebSocket's other end.

    python -m bench.latency [--seconds N] [--video FILE]

A whole box runs on a real video at its own speed, with a heartbeat every frame or so. Each heartbeat says up to which
captured frame everything is counted, and travels the same way as a crossing: outbox, MQTT, journal, windows, store,
live feed. Its age on arrival is the latency: detection, two commits to disk and all queues are in it.
"""

import asyncio
import json
import statistics
import time
from pathlib import Path

from websockets.asyncio.client import connect

from bench._box import running
from bench._report import arguments, progress, show
from deploy.material import demo_video

SETTLE_S = 5.0


def main() -> None:
    """Measure and print."""
    parser = arguments("Frame-to-screen latency of a whole box.")
    parser.add_argument("--video", type=Path, help="default: the demo's")
    parser.add_argument("--seconds", type=float, default=40.0)
    options = parser.parse_args()
    video = options.video or demo_video(lambda sentence, _share=None: progress(sentence))
    if video is None:
        parser.error("the demo's video cannot be had here: give one with --video")
    settings = {"HEARTBEAT_S": "0.05"}
    with running(["--camera", str(video)], settings) as port:
        ages_ms, fps = asyncio.run(_listen(port, options.seconds))
    ages_ms.sort()
    result = {
        "samples": len(ages_ms),
        "p50_ms": round(statistics.median(ages_ms), 1),
        "p90_ms": round(_percentile(ages_ms, 0.90), 1),
        "p99_ms": round(_percentile(ages_ms, 0.99), 1),
        "max_ms": round(ages_ms[-1], 1),
        "camera_fps": fps,
    }
    rows = [[key, value] for key, value in result.items()]
    show("Frame to screen", ["", "value"], rows, result, as_json=options.json)


async def _listen(port: int, seconds: float) -> tuple[list[float], float]:
    ages_ms: list[float] = []
    newest: dict[str, int] = {}
    fps = 0.0
    started_s = time.monotonic()
    async with connect(f"ws://127.0.0.1:{port}/v1/live", max_size=None) as socket:
        while time.monotonic() - started_s < seconds + SETTLE_S:
            message = json.loads(await asyncio.wait_for(socket.recv(), 10))
            now_ms = time.time() * 1000
            for camera in message.get("cameras", []):
                if message["type"] != "delta" or camera["watermark_ms"] <= newest.get(camera["id"], 0):
                    continue
                newest[camera["id"]] = camera["watermark_ms"]
                fps = camera["fps"]
                if time.monotonic() - started_s > SETTLE_S:
                    ages_ms.append(now_ms - camera["watermark_ms"])
    return ages_ms, fps


def _percentile(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


if __name__ == "__main__":
    main()
