"""Opens a camera through OpenCV: an address, a USB camera, or a GStreamer pipeline."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from countline.errors import UsageError
from countline.telemetry import mask
from edge.capture.opencv import Capture, hush
from edge.capture.reason import Reason, why_not
from edge.capture.transport import TRANSPORTS
from edge.config import CameraSettings, source_kind

# Longer than a camera's worst distance of key frames, shorter than anyone's patience.
OPEN_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 5_000
# HLS comes in segments; most are shorter than this.
SEGMENT_TIMEOUT_MS = 20_000
# What a server hands out as fast as it can: it has to be played at its own speed. A camera sends at its own speed.
_PACED_SUFFIXES = frozenset({".m3u8", ".mp4", ".m4v", ".mov", ".mkv", ".webm"})
_APPSINK = "appsink max-buffers=1 drop=true sync=false"
_JETSON = Path("/etc/nv_tegra_release")


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one camera.

    Attributes:
        label: Its source without a login, for people.
        open: Opens it; takes up to the time-out, and never raises for a camera that is not there.
        why_not: Looks again after `open` has failed, and says why. Takes seconds at most.
        is_paced: Its pictures come faster than they are to be shown, and each says when that is.
        read_timeout_s: A picture that takes longer than this to come is no picture any more; 0 if there is no limit.
    """

    label: str
    open: Callable[[], Capture]
    why_not: Callable[[], Reason]
    is_paced: bool = False
    read_timeout_s: float = 0.0


def connection(settings: CameraSettings) -> Connection:
    """Return how to reach a camera.

    Raises:
        UsageError: This machine can't.
    """
    source, kind = settings.source, source_kind(settings.source)
    label = mask(source)
    if kind == "usb":
        return Connection(label, lambda: _open_usb(settings), lambda: _why_no_usb(source))
    if kind == "gstreamer":
        pipeline = gstreamer_pipeline(settings, is_jetson=_JETSON.exists())
        check_gstreamer(cv2.getBuildInformation())
        return Connection(
            label,
            lambda: _open_gstreamer(pipeline),
            lambda: Reason(
                f"{label}: its GStreamer pipeline does not start; `gst-launch-1.0` with the same words says why"
            ),
        )
    is_paced = Path(urlsplit(source).path).suffix.lower() in _PACED_SUFFIXES
    timeout_ms = SEGMENT_TIMEOUT_MS if is_paced else READ_TIMEOUT_MS
    return Connection(
        label,
        lambda: _open_stream(source, settings.transport, timeout_ms),
        lambda: why_not(source),
        is_paced,
        timeout_ms / 1000,
    )


def gstreamer_pipeline(settings: CameraSettings, *, is_jetson: bool) -> str:
    """Return the words of a GStreamer pipeline that ends in BGR pictures, the newest of which is kept.

    Args:
        settings: `source` is `gst:` and a pipeline, which may end in its own appsink, or `csi:` and a camera's number.
        is_jetson: A Jetson's camera is reached by other words than a Raspberry Pi's.
    """
    kind, _, rest = settings.source.partition(":")
    if kind == "gst":
        words = rest.strip()
        return (
            words if "appsink" in words else f"{words} ! videoconvert ! video/x-raw,format=BGR ! {_APPSINK}"
        )
    width, height = settings.size or (1280, 720)
    rate = round(settings.fps) or 30
    shape = f"width={width},height={height},framerate={rate}/1"
    if is_jetson:
        return (
            f"nvarguscamerasrc sensor-id={rest or 0} ! video/x-raw(memory:NVMM),{shape} ! nvvidconv ! "
            f"video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! {_APPSINK}"
        )
    # libcamerasrc takes a camera's name and not its number; without one it takes the first.
    name = f" camera-name={rest}" if rest and rest != "0" else ""
    return f"libcamerasrc{name} ! video/x-raw,{shape} ! videoconvert ! video/x-raw,format=BGR ! {_APPSINK}"


def check_gstreamer(build_information: str) -> None:
    """Raise UsageError if this OpenCV knows no GStreamer.

    Args:
        build_information: Of `cv2.getBuildInformation`.
    """
    if not re.search(r"GStreamer:\s+YES", build_information):
        raise UsageError(
            "csi: and gst: need an OpenCV with GStreamer, and the one installed here is without, as all wheels are: install the "
            "system's (python3-opencv; on a Jetson NVIDIA's own), or let `rpicam-vid -t 0 --inline --listen -o tcp://127.0.0.1:8888` "
            "serve the camera and use `source: tcp://127.0.0.1:8888`."
        )


def _open_stream(address: str, transport: str, timeout_ms: int) -> Capture:
    # Naming FFmpeg keeps OpenCV from trying other ways, one of which prints the address with its login.
    hush()
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        timeout_ms,
    ]
    with TRANSPORTS.opening(transport):
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)


def _open_gstreamer(pipeline: str) -> Capture:
    hush()
    return cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)


def _open_usb(settings: CameraSettings) -> Capture:
    hush()
    source = settings.source
    # A name that stays, such as /dev/v4l/by-id/..., is a link to the device.
    device = int(source) if source.isdigit() else str(Path(source).resolve())
    capture = cv2.VideoCapture(device, cv2.CAP_ANY)  # pyright: ignore[reportArgumentType, reportCallIssue] - both are right
    for prop, value in usb_wishes(settings):
        capture.set(prop, value)  # a camera that can't do it goes on as it was
    return capture


def usb_wishes(settings: CameraSettings) -> list[tuple[int, float]]:
    """Return what to ask of a USB camera, in this order: OpenCV's properties and their values."""
    wishes: list[tuple[int, float]] = []
    if settings.size:
        # Raw pictures of more than VGA do not fit through USB 2 at a fair rate; MJPEG does.
        wishes += [
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
            (cv2.CAP_PROP_FRAME_WIDTH, settings.size[0]),
            (cv2.CAP_PROP_FRAME_HEIGHT, settings.size[1]),
        ]
    if settings.fps:
        wishes.append((cv2.CAP_PROP_FPS, settings.fps))
    return [*wishes, (cv2.CAP_PROP_BUFFERSIZE, 1)]


def _why_no_usb(source: str, folder: Path = Path("/dev")) -> Reason:
    device = folder / f"video{source}" if source.isdigit() else Path(source)
    if not device.exists():
        others = sorted(path.name for path in folder.glob("video*"))
        found = f"there are {', '.join(others)}" if others else "no camera is plugged in"
        return Reason(f"{device} does not answer: it is not there; {found}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Reason(
            f"{device} may not be used by this user: `sudo usermod -aG video $USER`, then log in again"
        )
    return Reason(f"{device} does not answer: does another program use it, or is it no camera?")
