"""`countline models`: what models there are, which backend is best for one here, and smaller ones made of them."""

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from countline.errors import UsageError
from deploy import measure, quantise, terminal
from deploy.box import check_source
from deploy.doctor import probe
from deploy.material import cache_dir, demo_video, describe, is_genuine, model_file, model_names
from edge.config import CameraSettings, DetectorSettings
from edge.detect import measured
from edge.detect.measured import Measurement, Result
from edge.detector import Detector

# Two and a half minutes of a slow machine; half a minute of footage.
DEFAULT_FRAMES = 400


@dataclass(frozen=True)
class Footage:
    """What to measure and calibrate on.

    Attributes:
        source: A video or a folder of pictures; empty is the demo's video.
        classes: What is counted in it.
        frames: At most so many.
    """

    source: str = ""
    classes: tuple[str, ...] = ("person",)
    frames: int = DEFAULT_FRAMES


def show_list() -> None:
    """Print the models of `models/`, and what was measured for them here."""
    table = Table("name", "licence", "here", "backend")
    for name in model_names():
        material = describe(name)
        path = cache_dir() / material.name / material.file.name
        is_here = is_genuine(path, material.file)
        table.add_row(name, material.license, str(path) if is_here else "not fetched yet", _chosen(path))
    Console(highlight=False).print(table)


def _chosen(path: Path) -> str:
    known, reason = measured.recall(path) if path.exists() else (None, "")
    if known is None:
        return f"onnxruntime ({reason or 'not measured'})"
    best = known.best()
    return f"{best.backend} {best.precision}" if best else "onnxruntime f32"


def run_measure(settings: DetectorSettings, footage: Footage, console: Console, *, as_json: bool) -> None:
    """Measure a model's backends here, keep what came out beside the model, and print it.

    Raises:
        UsageError: The model or the footage cannot be read, or the folder of the model cannot be written.
    """
    camera = _camera(footage, console)
    settings = _with_model(settings, console)
    model = Path(settings.model)
    compared = (
        measure.subjects(model, settings)
        if _openvino_loads(console)
        else measure.subjects(model, settings)[:1]
    )
    found = _measured(compared, settings, camera, footage, console)
    path = measured.keep(model, found)
    _show(found.results, found, as_json=as_json)
    console.print(
        f"Kept in {path}: `detector.backend: auto` takes {_chosen(model)}.", soft_wrap=True, markup=False
    )


def run_quantise(
    settings: DetectorSettings, footage: Footage, backend: str, console: Console, *, as_json: bool
) -> None:
    """Write a model in 8-bit integers beside its own file, if it agrees with it.

    Raises:
        UsageError: Something is missing, or no way of quantising this model agrees with it.
    """
    quantise.check_installed()
    camera = _camera(footage, console)
    settings = _with_model(settings, console)
    model = Path(settings.model)
    plain = msgspec.structs.replace(settings, backend="onnxruntime", precision="f32")
    inputs = quantise.calibration(Detector(model, plain, footage.classes), camera, footage.frames)
    # Made for one backend the other would run it slowly.
    kind = "int8" if backend == "onnxruntime" else f"int8-{backend}"
    target = model.with_name(f"{model.stem}.{kind}.onnx")
    trial = model.with_name(f".{model.stem}.{kind}.onnx")
    try:
        for recipe in quantise.recipes(backend):
            what = "all but the last convolutions" if recipe.keeps_last else "all convolutions"
            console.print(f"Quantising {what} of {model.name} with {len(inputs)} frames.", markup=False)
            quantise.quantise(model, trial, recipe, inputs)
            compared = [
                measure.Subject(model, "onnxruntime", "f32"),
                measure.Subject(trial, backend, "f32"),
            ]
            found = _measured(compared, plain, camera, footage, console)
            _show(found.results, found, as_json=as_json)
            if found.results[1].is_offered:
                trial.replace(target)
                console.print(
                    f"{target} agrees with {model.name}: set detector.model to it, and detector.backend to {backend}.",
                    soft_wrap=True,
                    markup=False,
                )
                return
    finally:
        trial.unlink(missing_ok=True)
    raise UsageError(
        f"{model.name} in 8 bits does not see and count what it does in 32 (agreement {measured.MIN_AGREEMENT} and {measured.MAX_WAPE:.0%} "
        "of the counts are asked for): calibrate on footage with more people in it, or stay with 32 bits."
    )


def run_export(weights: str, console: Console) -> None:
    """Export Ultralytics' weights to ONNX, for any size of picture.

    Raises:
        UsageError: Ultralytics' package is not installed, or cannot export these weights.
    """
    try:
        library = importlib.import_module("ultralytics")
    except ImportError as error:
        raise UsageError(
            "Exporting needs the package ultralytics (AGPL-3.0): pip install 'countline[models]'. Models of other families are "
            "exported by their own projects; models/README.md says how."
        ) from error
    try:
        written = library.YOLO(weights).export(format="onnx", dynamic=True)
    except Exception as error:  # the library raises whatever it likes
        raise UsageError(f"{weights} cannot be exported: {error}") from error
    console.print(f"{written}: set detector.model to it.", soft_wrap=True, markup=False)


def _camera(footage: Footage, console: Console) -> CameraSettings:
    source = footage.source
    if not source:
        with terminal.steps(console) as progress:
            video = demo_video(progress)
        if video is None:
            raise UsageError("The demo's video cannot be had here: give footage of your own with --footage.")
        source = str(video)
    camera = msgspec.convert(
        {"name": "footage", "source": source, "classes": list(footage.classes), "realtime": False},
        CameraSettings,
    )
    check_source(camera)
    return camera


def _with_model(settings: DetectorSettings, console: Console) -> DetectorSettings:
    with terminal.steps(console) as progress:
        return msgspec.structs.replace(settings, model=str(model_file(settings.model, progress)))


def _openvino_loads(console: Console) -> bool:
    """Ask in a process of its own: a library built for another processor would take this one along."""
    answer = probe("openvino", "")
    if isinstance(answer, str):
        console.print(f"OpenVINO is left aside: {answer}.", soft_wrap=True, markup=False)
    return not isinstance(answer, str)


def _measured(
    compared: list[measure.Subject],
    settings: DetectorSettings,
    camera: CameraSettings,
    footage: Footage,
    console: Console,
) -> Measurement:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"measuring {len(compared)} backends", total=None)

        def told(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        return measure.measure(compared, settings, camera, footage.frames, told)


def _show(results: list[Result], found: Measurement, *, as_json: bool) -> None:
    if as_json:
        whole = msgspec.to_builtins(found) | {"offered": [one.is_offered for one in results]}
        sys.stdout.write(json.dumps(whole) + "\n")
        return
    table = Table(title=f"{found.frames} frames, each by every backend in turn", title_justify="left")
    for name in ("model", "run by", "ms", "x first", "agreement", "WAPE", "offered"):
        table.add_column(name, justify="right" if name in {"ms", "x first", "agreement"} else "left")
    for one in results:
        wape = "-" if one.wape is None else f"{one.wape:.3f} of {one.counted}"
        table.add_row(
            one.model,
            f"{one.backend} {one.precision}",
            f"{one.median_ms:.1f}",
            f"{one.time_ratio:.2f}",
            f"{one.agreement:.3f}",
            wape,
            "yes" if one.is_offered else "no",
        )
    Console(highlight=False).print(table)
