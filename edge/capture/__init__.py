"""Sources of frames: cameras, recordings, made-up scenes. Only here is a picture decoded."""

from pathlib import Path

import numpy as np

from countline.clock import Clock
from edge.capture.connect import OPEN_TIMEOUT_MS, connection
from edge.capture.detlog import Header
from edge.capture.folder import FolderReel
from edge.capture.live import LiveSource
from edge.capture.mot import MotReel
from edge.capture.player import Player, Reel
from edge.capture.recorder import Recorder
from edge.capture.replay import DetlogSource
from edge.capture.synthetic import FRAMES, SyntheticReel
from edge.capture.video import VideoReel
from edge.config import DETLOG, LIVE_KINDS, CameraSettings, source_kind, source_path
from edge.frames import FrameSource, SourceInfo

__all__ = ["Recorder", "open_recorder", "open_source"]

_DEFAULT_SEED = 1


def open_source(
    settings: CameraSettings,
    clock: Clock,
    rng: np.random.Generator | None = None,
    *,
    patience_s: float = OPEN_TIMEOUT_MS / 1000,
) -> FrameSource:
    """Return the source that a camera's settings name. It is not opened yet: call its `open`.

    Args:
        settings: Of the camera.
        clock: Stamps and paces the frames.
        rng: Decides what happens in a `synthetic:` scene; by default always the same.
        patience_s: How long one call of `open` waits for a camera's first picture before it raises `Unavailable`;
            the camera is still being connected to, and the next call waits on.
    """
    kind = _kind(settings.source)
    if kind in LIVE_KINDS:
        return LiveSource(
            connection(settings), clock, max_fps=settings.max_fps, size=settings.size, patience_s=patience_s
        )
    if settings.source.startswith(DETLOG):
        path = Path(source_path(settings.source)).expanduser()
        return DetlogSource(
            path, clock, realtime=settings.realtime, loop=settings.loop, max_fps=settings.max_fps
        )
    return Player(
        _reel(kind, settings, rng),
        clock,
        realtime=settings.realtime,
        loop=settings.loop and kind != "synthetic",
        max_fps=settings.max_fps,
    )


def open_recorder(
    settings: CameraSettings, info: SourceInfo, class_names: tuple[str, ...], folder: Path
) -> Recorder | None:
    """Return what keeps a camera's detections, None if they are not to be kept.

    Args:
        settings: Of the camera.
        info: Of its source, which is open.
        class_names: By class id of the detections.
        folder: Where a folder for each camera is made, unless the settings name another.
    """
    if not settings.record:
        return None
    parent = folder if settings.record is True else Path(settings.record).expanduser()
    header = Header(1, settings.name, info.width, info.height, info.fps, class_names)
    return Recorder(
        parent / settings.name, header, max_mb=settings.record_max_mb, max_days=settings.record_max_days
    )


def _kind(source: str) -> str:
    """Return the kind; what lies on the disk decides where the name alone would mislead."""
    kind = source_kind(source)
    if kind in {"video", "folder"}:
        path = Path(source)
        return "folder" if path.is_dir() else "video" if path.is_file() else kind
    return kind


def _reel(kind: str, settings: CameraSettings, rng: np.random.Generator | None) -> Reel:
    if kind == "synthetic":
        is_endless = settings.realtime or settings.loop
        return SyntheticReel(rng or np.random.default_rng(_DEFAULT_SEED), None if is_endless else FRAMES)
    if kind == "detections":
        return MotReel(Path(source_path(settings.source)), settings.size, settings.fps)
    path = Path(settings.source)
    return FolderReel(path, settings.fps) if kind == "folder" else VideoReel(path, settings.fps)
