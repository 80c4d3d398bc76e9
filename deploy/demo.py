"""`countline demo`: people in a real video, detected and counted live on a page, by the same box as any other."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from countline.errors import UsageError
from countline.service import Stop
from deploy import box, terminal
from deploy.config import BoxApi, BoxSettings
from deploy.material import DEMO_MODEL, DEMO_VIDEO, cache_dir, demo_model, demo_video
from edge.config import CameraSettings, DetectorSettings, LineSettings, PreviewSettings, ZoneSettings

# What `--fresh` may remove from a demo's data folder, and nothing else.
_OURS = ("*.sqlite", "*.sqlite-*", "*.sqlite.*")


@dataclass(frozen=True)
class DemoOptions:
    """What the command line of a demo says.

    Attributes:
        port: Where the page should be; the next free one is taken if it is in use.
        data_dir: Where to keep counts; None: in the cache folder.
        is_fresh: Forget what earlier demos counted.
        is_synthetic: Show the made-up scene even if the video is there.
        opens_browser: Open the page.
        log_level: Of the parts.
    """

    port: int = 8088
    data_dir: Path | None = None
    is_fresh: bool = False
    is_synthetic: bool = False
    opens_browser: bool = False
    log_level: str = "warning"


def run(options: DemoOptions, stop: Stop, console: Console) -> None:
    """Fetch what the demo shows, and run it until it is asked to stop.

    Raises:
        UsageError: A person has to mend something first.
    """
    api = BoxApi()
    port = box.next_free_port(api.host, options.port)
    if port != options.port:
        console.print(f"Port {options.port} is in use; the page is on port {port}.")
    with terminal.steps(console) as progress:
        video, model = (None, None) if options.is_synthetic else _material(progress)
    folder = options.data_dir or cache_dir() / ("demo-data" if video else "demo-data-synthetic")
    settings = BoxSettings(
        site="demo",
        device="box",
        data_dir=str(folder),
        cameras=[plaza(video) if video else synthetic()],
        detector=DetectorSettings(model=str(model)) if model else DetectorSettings(),
        preview=PreviewSettings(enabled=True),
        api=msgspec.structs.replace(api, port=port),
    )
    if options.is_fresh:
        forget(folder, stop)
    box.up(settings, stop, console, _shown(video, options, console))


def _material(progress: terminal.Steps) -> tuple[Path | None, Path | None]:
    """Return video and model, or neither: without one of them the other shows nothing."""
    video = demo_video(progress)
    if video is None:
        return None, None
    try:
        return video, demo_model(progress)
    except UsageError as error:
        progress(str(error))
        return None, None


def _shown(video: Path | None, options: DemoOptions, console: Console) -> box.Options:
    if video:
        note = (
            "demo",
            f"a real video ({DEMO_VIDEO.title}) in a loop, detected by {DEMO_MODEL} (weights: AGPL-3.0)",
        )
    else:
        console.print(
            "[bold yellow]This is the synthetic scene: made-up people, drawn by Countline. Nothing here is a camera.[/bold yellow]"
        )
        note = ("demo", "SYNTHETIC SCENE: made-up people, not a camera and no detector")
    notes = [note, ("next", 'your own camera: countline up --camera "rtsp://user:password@camera/stream"')]
    return box.Options(
        title="Countline demo",
        notes=notes,
        log_level=options.log_level,
        on_live=webbrowser.open if options.opens_browser else None,
    )


def plaza(video: Path) -> CameraSettings:
    """Return the camera of the demo's video: 768x576, paths that cross in front of a building."""
    return CameraSettings(
        name="plaza",
        source=str(video),
        loop=True,
        realtime=True,
        # In is towards the centre at all three, so that in minus out says how many are there.
        lines=[
            # A at the top, B at the bottom: the left hand of A->B is the right half of the picture.
            LineSettings(
                name="west", points=[(384.0, 130.0), (384.0, 400.0)], sides=("centre", "west path"), swap=True
            ),
            # A at the left, B at the right: the left hand is above.
            LineSettings(
                name="south",
                points=[(470.0, 395.0), (768.0, 330.0)],
                sides=("centre", "south road"),
                swap=True,
            ),
            LineSettings(name="north", points=[(590.0, 150.0), (740.0, 200.0)], sides=("car park", "centre")),
        ],
        zones=[
            ZoneSettings(
                name="plaza", points=[(400.0, 190.0), (690.0, 190.0), (745.0, 330.0), (480.0, 385.0)]
            )
        ],
    )


def synthetic() -> CameraSettings:
    """Return a camera of the made-up scene."""
    return CameraSettings(
        name="synthetic",
        source="synthetic:",
        loop=True,
        lines=[LineSettings(name="middle", points=[(0.5, 0.0), (0.5, 1.0)], sides=("right", "left"))],
        zones=[ZoneSettings(name="centre", points=[(0.3, 0.3), (0.7, 0.3), (0.7, 0.9), (0.3, 0.9)])],
    )


def forget(folder: Path, stop: Stop) -> None:
    """Remove what earlier demos counted in `folder`; other files there stay.

    Raises:
        UsageError: A demo is running there.
    """
    paths = box.Paths(str(folder))
    with box.hold(paths, stop):
        for pattern in _OURS:
            for path in paths.folder.glob(pattern):
                path.unlink(missing_ok=True)
