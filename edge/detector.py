"""A detector: a model, what it says about itself, and a backend that runs it."""

import difflib
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from countline.errors import UsageError
from countline.telemetry import Log
from edge.arrays import Detections
from edge.config import DetectorSettings
from edge.detect import coco
from edge.detect.backend import Backend, RunError
from edge.detect.card import Card, read_card
from edge.detect.decode import Wanted, decode, to_picture
from edge.detect.layout import Layout, Reading, Trial, decide, preparation
from edge.detect.letterbox import Letterbox
from edge.detect.machine import default_threads
from edge.detect.measured import recall
from edge.detect.preparation import Fit, Placement, snug_size
from edge.frames import Image

# Buffers are kept for this many sizes of pictures, about 5 MB each; a further size replaces the oldest.
_MAX_LETTERBOXES = 8
_MAX_BATCH = 8
_GREY = 0.5

# Their exports carry no metadata; the published ones are trained on COCO.
_COCO_TRAINED = frozenset({Layout.YOLOX, Layout.YOLOX_DECODED, Layout.YOLOV6, Layout.RTDETR})

_log = Log("edge.detector")

__all__ = ["Detector", "default_threads"]


class Detector:
    """A detector for pictures of any size. Safe to call from several threads, one after the other."""

    def __init__(self, path: Path, settings: DetectorSettings, classes: Sequence[str] = ()) -> None:
        """Load the model, run it once, and find out how to read its output.

        Args:
            path: The ONNX file.
            settings: Thresholds, threads, input size, backend.
            classes: Names of the classes to detect; empty detects all.

        Raises:
            UsageError: The file is missing, is no ONNX model or a damaged one, is no detector that is known, has no
                class of a name in `classes`, or the backend that the settings name is not installed.
        """
        self._backend = _load(path, settings)
        if self._backend.fallback:
            _log.warning("the detector falls back", model=path.name, reason=self._backend.fallback)
        try:
            self._card = read_card(self._backend.inputs, self._backend.metadata)
            self._within = self._card.fixed_size or settings.input_size or self._card.within
            given = tuple(settings.class_names) or self._card.names
            self._reading = self._try_out(settings.layout, len(given) or None)
            self._class_names = given or _default_names(self._reading)
            if self._card.fixed_size is None:
                self._backend.forget()  # pictures will hardly have the size of the trial
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        self._name = path.stem
        self._preparation = preparation(self._reading.layout)
        self._letterboxes: dict[tuple[int, int], Letterbox] = {}
        self._lock = threading.Lock()
        self._wanted = Wanted(
            class_ids=_class_ids(classes, self._class_names, path),
            confidence=settings.confidence,
            iou=settings.iou,
            class_count=len(self._class_names),
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id."""
        return self._class_names

    @property
    def name(self) -> str:
        """The model's name: that of its file."""
        return self._name

    @property
    def layout(self) -> Layout:
        """How the model's output is arranged."""
        return self._reading.layout

    @property
    def providers(self) -> tuple[str, ...]:
        """What the model runs on, preferred first, such as "CPUExecutionProvider" or "OpenVINO CPU bf16"."""
        return self._backend.runs_on

    @property
    def fallback(self) -> str:
        """One sentence on why the model does not run on what was asked for; empty if it does."""
        return self._backend.fallback

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the model's input for pictures of a size.

        A model that takes any size gets no more padding than its stride demands: 640 x 480 for 768 x 576.
        """
        if self._card.fixed_size is not None:
            return self._card.fixed_size
        if self._preparation.placement is Placement.STRETCHED:
            return self._within
        return snug_size((width, height), self._within, self._card.stride)

    def __call__(self, image: Image) -> Detections:
        """Return what is seen in a picture, in its pixels, best first.

        Args:
            image: uint8, shape (H, W, 3), BGR.
        """
        with self._lock:
            letterbox = self._letterbox(image)
            # Reading the output costs a four-hundredth of the run, and the next run may overwrite it.
            return self._read(self._run(letterbox(image)), 0, letterbox.fit)

    def many(self, images: Sequence[Image]) -> list[Detections]:
        """Return what is seen in each of several pictures, in their order.

        Pictures that need the same size of input go through the model together if it takes any number of them, else
        one by one. On a processor that is no faster (docs/decisions/0010); on an accelerator it may be.

        Args:
            images: Each uint8, shape (H, W, 3), BGR.
        """
        found: dict[int, Detections] = {}
        for group in self._groups(images):
            with self._lock:
                letterboxes = [self._letterbox(images[i]) for i in group]
                tensors = [
                    letterbox(images[i]).copy() for i, letterbox in zip(group, letterboxes, strict=True)
                ]
                outputs = self._run(np.concatenate(tensors))
                for row, (i, letterbox) in enumerate(zip(group, letterboxes, strict=True)):
                    found[i] = self._read(outputs, row, letterbox.fit)
        return [found[i] for i in range(len(images))]

    def feeds(self, image: Image) -> dict[str, NDArray[np.generic]]:
        """Return what the model would be given for a picture, by the names of its inputs; to calibrate it with.

        Args:
            image: uint8, shape (H, W, 3), BGR.
        """
        with self._lock:
            return _feeds(self._card, self._letterbox(image)(image).copy())

    def _groups(self, images: Sequence[Image]) -> list[list[int]]:
        """Return which pictures go into one run."""
        if not self._card.takes_many:
            return [[i] for i in range(len(images))]
        groups: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault(self.input_size(image.shape[1], image.shape[0]), []).append(i)
        # A bound on the memory that one run takes.
        return [
            group[k : k + _MAX_BATCH] for group in groups.values() for k in range(0, len(group), _MAX_BATCH)
        ]

    def _read(self, outputs: Sequence[NDArray[np.generic]], row: int, fit: Fit) -> Detections:
        picked = [outputs[i][row] for i in self._reading.picks]
        found = decode(picked, self._reading.layout, self._wanted, fit.size)
        return to_picture(found, fit.to_source(found.xyxy))

    def _run(self, tensor: NDArray[np.generic]) -> Sequence[NDArray[np.generic]]:
        return self._backend.run(_feeds(self._card, tensor))

    def _letterbox(self, image: Image) -> Letterbox:
        height, width = image.shape[:2]
        letterbox = self._letterboxes.get((width, height))
        if letterbox is None:
            if len(self._letterboxes) >= _MAX_LETTERBOXES:
                del self._letterboxes[next(iter(self._letterboxes))]
            size = self.input_size(width, height)
            letterbox = Letterbox((width, height), size, self._preparation, self._card.picture.dtype)
            self._letterboxes[width, height] = letterbox
        return letterbox

    def _try_out(self, layout: str, class_count: int | None) -> Reading:
        """Run the model once on grey; return how to read its outputs."""
        width, height = size = self._within
        grey = np.full((1, 3, height, width), _GREY, dtype=self._card.picture.dtype)
        try:
            outputs = tuple(np.asarray(output) for output in self._run(grey))
        except RunError as error:
            raise UsageError(
                f"the model does not run on a picture of {width} x {height} pixels: {error}"
            ) from error
        trial = Trial(size, self._backend.outputs, outputs, class_count, self._card.is_end_to_end)
        return decide(trial, None if layout == "auto" else Layout(layout))


def _load(path: Path, settings: DetectorSettings) -> Backend:
    """Load a model with the backend that the settings name, or that was found best here."""
    if not path.is_file():
        raise UsageError(
            f"the model {path} does not exist: give the path of an ONNX file, or a name from models/."
        )
    backend, precision = settings.backend, settings.precision
    if backend == "auto":
        backend, precision = _measured_best(path)
    if backend == "openvino":
        try:
            from edge.detect.run_openvino import OpenVino  # noqa: PLC0415 - an extra: most have it not
        except ImportError as error:
            if settings.backend == "auto":  # it was there when it was measured
                _log.warning("the detector falls back", reason=f"OpenVINO cannot be loaded: {error}")
            else:
                raise UsageError(
                    "detector.backend is openvino, which is not installed here: pip install 'countline[openvino]'."
                ) from error
        else:
            return OpenVino(path, threads=settings.threads, precision=precision)
    from edge.detect.run_onnxruntime import OnnxRuntime  # noqa: PLC0415 - 30 MB that OpenVINO does without

    return OnnxRuntime(path, threads=settings.threads, provider=settings.provider)


def _measured_best(path: Path) -> tuple[str, str]:
    """Return backend and precision that were found best on this machine; onnxruntime if nothing was measured."""
    measurement, reason = recall(path)
    if reason:
        _log.warning(
            "an old measurement is left aside; `countline models measure` makes a new one",
            model=path.name,
            reason=reason,
        )
    best = measurement.best() if measurement else None
    return (best.backend, best.precision) if best else ("onnxruntime", "f32")


def _feeds(card: Card, tensor: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    feeds = {card.picture.name: tensor}
    if card.sizes:
        count, _, height, width = tensor.shape
        # Boxes come in the size that is asked for: in pixels of the input, as from every other model.
        feeds[card.sizes] = np.array([[width, height]] * count, dtype=np.int64)
    return feeds


def _default_names(reading: Reading) -> tuple[str, ...]:
    """Return names for a model that has none: COCO's if it has as many classes as COCO, else their numbers."""
    count = reading.class_count
    if reading.layout is Layout.RFDETR and count == len(coco.by_category()):
        return coco.by_category()
    if count in {None, len(coco.CLASSES)} and reading.layout in _COCO_TRAINED:
        return coco.CLASSES
    if not count:
        raise UsageError(
            "it does not say what its classes are: name them with `detector.class_names`, or export it with the metadata `names`."
        )
    return tuple(f"class{i}" for i in range(count))


def check_classes(what: str, classes: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a class that nothing can ever be of: it would silently count nothing.

    Args:
        what: Whose classes these are, such as "the model yolo11n.onnx".
        classes: Which ones are wanted.
        names: Which ones there are, one at least.

    Raises:
        UsageError: One that is wanted is not there.
    """
    for name in classes:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            raise UsageError(f"{what} has no class {name!r}; the nearest it has is {near!r}.")


def _class_ids(classes: Sequence[str], names: tuple[str, ...], path: Path) -> NDArray[np.intp] | None:
    check_classes(f"the model {path.name}", classes, names)
    if not classes:
        return None
    return np.array(sorted({names.index(name) for name in classes}), dtype=np.intp)
