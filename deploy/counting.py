"""`countline count`: what to count of a recording, and counting it at full speed."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from countline.clock import Clock, SystemClock
from countline.config import load
from countline.errors import UsageError
from deploy import terminal
from deploy.box import check_source
from deploy.config import needs_model
from deploy.material import model_file
from edge import recount
from edge.capture import folder, mot
from edge.config import (
    DETLOG,
    LIVE_KINDS,
    CameraSettings,
    DetectorSettings,
    LinesFile,
    source_kind,
    source_path,
)
from edge.tally import Tally

# Without a terminal there is no bar, but whoever waits sees that something happens.
PROGRESS_EVERY_S = 5.0


def recording(
    source: str, lines: Path | None, *, size: str, fps: float, classes: list[str]
) -> CameraSettings:
    """Return the settings under which a recording is counted.

    Args:
        source: A video, a folder of pictures, "mot:PATH" or "detlog:PATH".
        lines: A file with lines and zones; None: one line across the middle.
        size: "WxH", for recorded detections.
        fps: For recorded detections and folders; 0: what the source says.
        classes: What to count.

    Raises:
        UsageError: The source is missing or is no recording, or the lines or the size are wrong.
    """
    if source_kind(source) in LIVE_KINDS:
        raise UsageError(
            f"{source!r} is a camera, not a recording: `countline up --camera {source}` counts it."
        )
    drawn = load(lines, LinesFile, environ={}) if lines else LinesFile()
    if lines and not drawn.lines and not drawn.zones:
        raise UsageError(f"{lines} has neither lines nor zones, so there is nothing to count.")
    camera = {
        "name": "recording",
        "source": source,
        "lines": msgspec.to_builtins(drawn.lines),
        "zones": msgspec.to_builtins(drawn.zones),
        "gates": msgspec.to_builtins(drawn.gates),
        "od": drawn.od,
        "ground": msgspec.to_builtins(drawn.ground),
        "person_height_m": drawn.person_height_m,
        "heat": msgspec.to_builtins(drawn.heat),
        "classes": classes,
        "realtime": False,
        "size": _size(size),
        "fps": fps,
    }
    try:
        settings = msgspec.convert(camera, CameraSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{source}: {error}.") from error
    check_source(settings)
    return settings


def assumed_rate(camera: CameraSettings) -> str:
    """Return a sentence on the frame rate that is assumed because nobody has given one; empty if none is."""
    kind = source_kind(camera.source)
    is_folder = kind == "folder" or (kind == "video" and Path(camera.source).is_dir())
    if camera.fps or camera.source.startswith(DETLOG) or (kind != "detections" and not is_folder):
        return ""
    rate = folder.DEFAULT_FPS if is_folder else mot.DEFAULT_FPS
    return f"No --fps: assuming {rate:g} frames a second, which times and tracking depend on."


def damage(camera: CameraSettings, tally: Tally) -> str:
    """Return a sentence on what is missing of a recording; empty if nothing is."""
    if tally.is_complete:
        return ""
    name = source_path(camera.source)
    return f"{name} is damaged: {tally.frames} of {tally.frames_expected} frames could be read."


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise UsageError(
            f"--size {text!r} is no picture size: give width and height in pixels as WxH, such as 768x576."
        )
    return int(width), int(height)


def detector(
    camera: CameraSettings, model: str, confidence: float | None, console: Console
) -> DetectorSettings:
    """Return the detector's settings, with its model fetched if the recording needs one.

    Raises:
        UsageError: The model is missing, or the confidence is no share.
    """
    if needs_model(camera):
        with terminal.steps(console) as progress:
            model = str(model_file(model, progress))
    try:
        settings = DetectorSettings(model=model)
        return settings if confidence is None else msgspec.structs.replace(settings, confidence=confidence)
    except ValueError as error:
        raise UsageError(f"--{error}.") from error


class PlainProgress:
    """A line now and then of how far the counting is, for where there is no terminal."""

    def __init__(self, console: Console, clock: Clock) -> None:
        """Write to `console`."""
        self._console = console
        self._clock = clock
        self._due_s = clock.monotonic_s() + PROGRESS_EVERY_S

    def __call__(self, done: int, total: int | None) -> None:
        """Tell of `done` frames if a line is due."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._due_s:
            self._due_s = now_s + PROGRESS_EVERY_S
            self._console.print(f"counted {done}{f' of {total}' if total else ''} frames", soft_wrap=True)


def count(
    camera: CameraSettings,
    settings: DetectorSettings,
    console: Console,
    annotate: Path | None,
    heatmap: Path | None = None,
) -> Tally:
    """Count a recording, with a progress bar on standard error, or plain lines if that is no terminal.

    Raises:
        UsageError: The recording or the model cannot be read, or a line lies outside the picture.
    """
    if not console.is_terminal:
        return recount.count(camera, settings, PlainProgress(console, SystemClock()), annotate, heatmap)
    columns = (
        TextColumn("counting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("counting", total=None)

        def told(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        return recount.count(camera, settings, told, annotate, heatmap)
