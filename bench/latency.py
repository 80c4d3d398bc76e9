"""How old a picture's counts are when a screen gets them: from the frame's capture to the WebSocket's other end.

    python -m bench.latency [--seconds N] [--video FILE]

A whole box runs on a real video at its own speed, with a heartbeat every frame or so. A heartbeat travels the same way
as a count: outbox, MQTT, journal, windows, store, live feed. Its age on arrival is the latency from frame to screen:
detection, two commits to disk and all queues are in it.

A crossing is older when it comes, because it is counted only when it is sure: a third of a second is waited for the
frames after it (decision 8), and the object must be clear of the line. That age is told apart.
"""

import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field
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
    with running(["--camera", str(video), "--line", "0.5,0,0.5,1"], settings) as port:
        heard = asyncio.run(_listen(port, options.seconds))
    frames, crossings = _summary(heard.frames_ms), _summary(heard.crossings_ms)
    result = {**frames, "crossings": crossings, "camera_fps": heard.fps}
    rows = [[name, frames[name], crossings[name]] for name in frames]
    show(
        f"Age on arrival at the screen, at {heard.fps:.0f} frames a second",
        ["", "frame", "crossing"],
        rows,
        result,
        as_json=options.json,
    )


@dataclass
class _Heard:
    """Ages of what arrived, milliseconds."""

    frames_ms: list[float] = field(default_factory=list)
    crossings_ms: list[float] = field(default_factory=list)
    fps: float = 0.0


async def _listen(port: int, seconds: float) -> _Heard:
    heard = _Heard()
    newest: dict[str, int] = {}
    started_s = time.monotonic()
    async with connect(f"ws://127.0.0.1:{port}/v1/live", max_size=None) as socket:
        while time.monotonic() - started_s < seconds + SETTLE_S:
            message = json.loads(await asyncio.wait_for(socket.recv(), 10))
            now_ms = time.time() * 1000
            is_settled = message["type"] == "delta" and time.monotonic() - started_s > SETTLE_S
            for camera in message.get("cameras", []):
                if camera["state"] != "ok":
                    continue  # Without a picture nothing is detected: such a heartbeat would flatter the figure.
                heard.fps = camera["fps"]
                if _is_news(newest, camera["id"], camera["watermark_ms"]) and is_settled:
                    heard.frames_ms.append(now_ms - camera["watermark_ms"])
            for line in message.get("lines", []):
                at_ms = line["last_crossing_ms"] or 0
                if _is_news(newest, f"{line['camera']}/{line['line']}", at_ms) and is_settled:
                    heard.crossings_ms.append(now_ms - at_ms)
    return heard


def _is_news(newest: dict[str, int], key: str, at_ms: int) -> bool:
    """Note the newest time of a camera or line; say whether it is newer than the one before."""
    if at_ms <= newest.get(key, 0):
        return False
    newest[key] = at_ms
    return True


def _summary(ages_ms: list[float]) -> dict[str, float | int | None]:
    if not ages_ms:
        return {"samples": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "max_ms": None}
    ascending = sorted(ages_ms)
    return {
        "samples": len(ascending),
        "p50_ms": round(statistics.median(ascending), 1),
        "p90_ms": round(_percentile(ascending, 0.90), 1),
        "p99_ms": round(_percentile(ascending, 0.99), 1),
        "max_ms": round(ascending[-1], 1),
    }


def _percentile(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


if __name__ == "__main__":
    main()
