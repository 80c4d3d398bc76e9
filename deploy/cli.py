# ruff: noqa: FBT002, PLC0415, PLR0913, PLR0917 - options are arguments here, and heavy imports wait for their command
"""The `countline` command.

Results go to standard output, messages to standard error. Exit codes: 0 done, 1 failed, 2 a person has to mend
something (one sentence says what), 3 `doctor` has warnings only. Heavy imports happen inside the commands: `--help`
must answer at once.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countline import __version__
from countline.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from countline.service import Stop
    from deploy.config import BoxSettings
    from edge.config import CameraSettings, DetectorSettings

EXIT_INTERRUPTED = 130
DEFAULT_CONFIG = Path("countline.yaml")

app = typer.Typer(
    name="countline",
    help="Count people and vehicles that cross lines and fill zones in camera pictures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing boxes around the help takes longer than all the rest of it
    add_completion=False,
)
settings_app = typer.Typer(
    rich_markup_mode=None, help="Look at settings: schema, show, check, example.", no_args_is_help=True
)
app.add_typer(settings_app, name="config")
models_app = typer.Typer(
    rich_markup_mode=None, help="Look at models: list, measure, quantise, export.", no_args_is_help=True
)
app.add_typer(models_app, name="models")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="A YAML file; countline.yaml of this folder if there is one."),
]
DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Where counts are kept.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show what the parts log.")]


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Of the page; the next free one if it is in use.")] = 8088,
    data_dir: DataDirOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier demos counted.")] = False,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Show the made-up scene; fetches nothing.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """Count people in a real video, live on a page on this machine."""
    from deploy import demo as shop
    from deploy import terminal

    options = shop.DemoOptions(port, data_dir, fresh, synthetic, open_, "info" if verbose else "warning")
    shop.run(options, _stop_on_signals(), terminal.messages())


@app.command()
def up(
    camera: Annotated[
        list[str] | None,
        typer.Option(
            "--camera", help="rtsp://..., a video file, 0 for a USB camera, synthetic: ... (again for more)."
        ),
    ] = None,
    line: Annotated[
        str, typer.Option("--line", help='Count over this line: "x1,y1,x2,y2", pixels or fractions.')
    ] = "",
    config: ConfigOption = None,
    port: Annotated[int | None, typer.Option(help="Of the page.")] = None,
    host: Annotated[
        str | None, typer.Option(help="What to listen on; anything but loopback needs a token.")
    ] = None,
    data_dir: DataDirOption = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show pictures on the page.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """Run everything on this machine: cameras, broker, gateway, windows, API and page."""
    from deploy import box, terminal

    console = terminal.messages()
    settings = _changed(_loaded(config), port=port, host=host, data_dir=data_dir, preview=preview)
    if camera:
        import msgspec

        settings = msgspec.structs.replace(settings, cameras=_cameras(camera, line))
    elif line:
        raise UsageError("--line goes with --camera; with a config file, put the line under its camera.")
    if not settings.cameras:
        raise UsageError(
            'There is no camera to count: give --camera SOURCE, or --config FILE with one under "cameras:".'
        )
    for one in settings.cameras:
        if not one.lines and not one.zones:
            console.print(
                f"Camera {one.name} has no line yet: counting over one across the middle of its picture.",
                soft_wrap=True,
            )
    box.up(settings, _stop_on_signals(), console, box.Options(log_level="info" if verbose else "warning"))


@app.command()
def edge(config: ConfigOption = None) -> None:
    """Run only the edge agent: cameras in, counts out to `mqtt`."""
    from deploy import config as settings
    from deploy import terminal
    from deploy.material import model_file

    box = _loaded(config)
    model = box.detector.model
    if any(settings.needs_model(one) for one in box.cameras):
        with terminal.steps(terminal.messages()) as progress:
            model = str(model_file(model, progress))
    preview_port = box.preview.port if box.preview.enabled else 0
    _run_alone("edge", settings.edge_settings(box, box.mqtt, model=model, preview_port=preview_port))


@app.command()
def gateway(config: ConfigOption = None) -> None:
    """Run only the gateway: validates, sorts out duplicates, keeps."""
    from deploy import config as settings

    box = _loaded(config)
    _run_alone("gateway", settings.gateway_settings(box, box.mqtt))


@app.command()
def worker(config: ConfigOption = None) -> None:
    """Run only the worker: makes windows of the events that the gateway keeps."""
    from deploy import config as settings

    _run_alone("worker", settings.worker_settings(_loaded(config)))


@app.command()
def api(
    config: ConfigOption = None, port: Annotated[int | None, typer.Option(help="To listen on.")] = None
) -> None:
    """Run only the API and the page."""
    from deploy import config as settings

    box = _changed(_loaded(config), port=port)
    preview_port = box.preview.port if box.preview.enabled else 0
    _run_alone("api", settings.api_settings(box, preview_port=preview_port))


@app.command()
def count(
    source: Annotated[str, typer.Argument(help="A video, a folder of pictures, mot:det.txt, or detlog:PATH")],
    lines: Annotated[
        Path | None, typer.Option("--lines", help="YAML with `lines:` and `zones:`, as under a camera.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write one row for each crossing.")] = None,
    annotate: Annotated[
        Path | None, typer.Option("--annotate", help="Write a video with boxes, lines and counts.")
    ] = None,
    heatmap: Annotated[
        Path | None, typer.Option("--heatmap", help="Write a picture of where people were, .png or .jpg.")
    ] = None,
    size: Annotated[str, typer.Option("--size", help="WxH of the picture, for mot:")] = "",
    fps: Annotated[float, typer.Option("--fps", help="Frames per second, for mot: and folders.")] = 0.0,
    model: Annotated[str, typer.Option("--model", help="A name from models/ or an ONNX file.")] = "yolo11n",
    confidence: Annotated[
        float | None, typer.Option("--confidence", help="Drop detections below it.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Count these (again for more).")
    ] = None,
) -> None:
    """Count a recording at full speed and print in and out per line and class. Exit code 1 if it is damaged."""
    from countline.telemetry import set_up_logging
    from deploy import counting, report, terminal

    set_up_logging("count", "warning", "text")
    console = terminal.messages()
    camera = counting.recording(source, lines, size=size, fps=fps, classes=classes or ["person"])
    if lines is None:
        console.print("No --lines: counting over one line across the middle of the picture.")
    if assumed := counting.assumed_rate(camera):
        console.print(assumed)
    detector = counting.detector(camera, model, confidence, console)
    tally = counting.count(camera, detector, console, annotate, heatmap)
    if csv is not None:
        report.write_csv(tally, csv)
    if as_json:
        sys.stdout.write(report.as_json(tally) + "\n")
    else:
        report.print_tables(tally)
    if damage := counting.damage(camera, tally):
        console.print(damage, soft_wrap=True, markup=False)
        raise typer.Exit(1)


@app.command()
def doctor(
    config: ConfigOption = None,
    camera: Annotated[list[str] | None, typer.Option("--camera", help="Look at this camera too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this machine, and say how to mend what is wrong. Exit code 0 ok, 1 something fails, 3 warnings only."""
    from deploy import doctor as surgery

    settings = _loaded(config)
    if camera:
        import msgspec

        settings = msgspec.structs.replace(settings, cameras=_cameras(camera, ""))
    raise typer.Exit(surgery.examine(settings, as_json=as_json))


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"countline {__version__}\n")


@app.command(hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def part(context: typer.Context) -> None:
    """Run one part of a box; its settings come as one JSON line on standard input."""
    from deploy.part import main as run

    raise typer.Exit(run(context.args))


@settings_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the settings, for editors that check YAML."""
    import json

    from countline.config import schema
    from deploy.config import BoxSettings

    sys.stdout.write(json.dumps(schema(BoxSettings), indent=2) + "\n")


@settings_app.command("show")
def config_show(config: ConfigOption = None) -> None:
    """Print the settings that are in force, defaults and environment included; secrets stay hidden."""
    import yaml

    from deploy.config import shown

    yaml.safe_dump(shown(_loaded(config)), sys.stdout, sort_keys=False, allow_unicode=True)


@settings_app.command("check")
def config_check(
    file: Annotated[
        Path | None, typer.Argument(help="A YAML file; countline.yaml of this folder if there is one.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Say whether the settings are right."""
    if file is not None and config is not None:
        raise UsageError("Give one file to check: as FILE or with --config, not both.")
    config = file or config
    settings = _loaded(config)
    lines = sum(len(camera.lines) for camera in settings.cameras)
    zones = sum(len(camera.zones) for camera in settings.cameras)
    where = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else "the defaults")
    sys.stdout.write(f"ok: {where}: cameras: {len(settings.cameras)}, lines: {lines}, zones: {zones}\n")


@settings_app.command("example")
def config_example() -> None:
    """Print a settings file to start from."""
    from deploy.config import EXAMPLE

    sys.stdout.write(EXAMPLE)


ModelArgument = Annotated[
    str, typer.Argument(help="A name from models/ or an ONNX file; that of the settings if none is given.")
]
FootageOption = Annotated[
    str, typer.Option("--footage", help="A video or a folder of pictures of your own; the demo's if none.")
]
FramesOption = Annotated[int, typer.Option("--frames", min=10, help="Look at so many frames at most.")]
ClassOption = Annotated[list[str] | None, typer.Option("--class", help="What is counted (again for more).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@models_app.command("list")
def models_list() -> None:
    """Print the models that have a name, and which backend was found best for each here."""
    from deploy import models

    models.show_list()


@models_app.command("measure")
def models_measure(
    model: ModelArgument = "",
    footage: FootageOption = "",
    frames: FramesOption = 400,
    classes: ClassOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure each backend on this machine, and let `detector.backend: auto` take the fastest that agrees with fp32."""
    from deploy import models, terminal

    settings = _detector(config, model)
    look = models.Footage(footage, tuple(classes or ["person"]), frames)
    models.run_measure(settings, look, terminal.messages(), as_json=as_json)


@models_app.command("quantise")
def models_quantise(
    model: ModelArgument = "",
    footage: FootageOption = "",
    frames: FramesOption = 400,
    classes: ClassOption = None,
    backend: Annotated[
        str, typer.Option("--backend", help="onnxruntime or openvino: what the model is made for.")
    ] = "onnxruntime",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model in 8-bit integers, calibrated on your footage, if it sees and counts the same."""
    from deploy import models, terminal

    if backend not in {"onnxruntime", "openvino"}:
        raise UsageError(f"--backend {backend!r} is none: onnxruntime and openvino are.")
    settings = _detector(config, model)
    look = models.Footage(footage, tuple(classes or ["person"]), frames)
    models.run_quantise(settings, look, backend, terminal.messages(), as_json=as_json)


@models_app.command("export")
def models_export(
    weights: Annotated[str, typer.Argument(help="Weights of an Ultralytics model, such as yolo11n.pt.")],
) -> None:
    """Export Ultralytics' weights to ONNX; needs their package."""
    from deploy import models, terminal

    models.run_export(weights, terminal.messages())


def _detector(config: Path | None, model: str) -> "DetectorSettings":
    import msgspec

    settings = _loaded(config).detector
    return msgspec.structs.replace(settings, model=model) if model else settings


def _loaded(path: Path | None) -> "BoxSettings":
    from countline.config import load
    from deploy.config import BoxSettings

    if path is None:
        # No file is an empty file: the environment still counts.
        path = DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else Path(os.devnull)
    return load(path, BoxSettings)


def _changed(
    settings: "BoxSettings",
    *,
    port: int | None = None,
    host: str | None = None,
    data_dir: Path | None = None,
    preview: bool = False,
) -> "BoxSettings":
    """Return the settings with what the command line says in their place."""
    import msgspec

    replace = msgspec.structs.replace
    try:
        if port is not None or host is not None:
            new = replace(
                settings.api, port=settings.api.port if port is None else port, host=host or settings.api.host
            )
            settings = replace(settings, api=new)
        if data_dir is not None:
            settings = replace(settings, data_dir=str(data_dir))
        if preview:
            settings = replace(settings, preview=replace(settings.preview, enabled=True))
    except ValueError as error:
        text = str(error)
        raise UsageError(f"{text[:1].upper()}{text[1:]}.") from error
    return settings


def _cameras(sources: list[str], line: str) -> "list[CameraSettings]":
    """Return a camera for each --camera, all with the same --line if there is one."""
    import msgspec

    from deploy.config import typed_line
    from edge.config import CameraSettings

    lines = [typed_line(line)] if line else []
    names = ["camera"] if len(sources) == 1 else [f"camera{number}" for number in range(1, len(sources) + 1)]
    try:
        return [
            msgspec.convert(
                {"name": name, "source": source, "lines": msgspec.to_builtins(lines)}, CameraSettings
            )
            for name, source in zip(names, sources, strict=True)
        ]
    except msgspec.ValidationError as error:
        raise UsageError(f"--camera: {error}.") from error


def _stop_on_signals() -> "Stop":
    from countline.service import Stop

    stop = Stop()
    stop.on_signals()
    return stop


def _run_alone(name: str, settings: Any) -> None:
    """Run one part in this process, as a service manager would."""
    from countline.telemetry import set_up_logging
    from deploy.part import guarded

    set_up_logging(name)
    raise typer.Exit(guarded(name, settings, _stop_on_signals()))


def main() -> None:
    """Be the command: what a person has to mend is one sentence, never a traceback."""
    try:
        app(prog_name="countline")
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except Unavailable as error:
        sys.stderr.write(f"error: {error.what}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
