"""What was measured on this machine for a model, and so which backend `auto` means: a small file beside the model."""

import hashlib
from importlib import metadata
from pathlib import Path

import msgspec
from msgspec import Struct

from countline.errors import UsageError
from edge.detect.machine import processor

# Detections that agree so well are the same to a counter: the rest is boxes at the edge of the threshold.
MIN_AGREEMENT = 0.97
# Wrong counts per count of fp32: what the whole product may lose by a faster backend.
MAX_WAPE = 0.02
# A change for less is not worth another library.
MAX_TIME_RATIO = 0.95
_LIBRARIES = ("onnxruntime", "openvino")


class Result(Struct, frozen=True, forbid_unknown_fields=True):
    """How one backend did against onnxruntime in fp32.

    Attributes:
        model: Of the file, without its ending.
        backend: "onnxruntime" or "openvino".
        precision: "f32", "bf16" or "f16".
        median_ms: A picture prepared, run and read.
        time_ratio: To onnxruntime's fp32, from runs that took turns.
        agreement: Mean average precision at an overlap of 0.5 with fp32's detections as the truth, 0 to 1.
        wape: |its counts - fp32's| over fp32's, summed over eight lines and both directions; None if fp32 counted none.
        counted: Crossings that fp32 counted.
    """

    model: str
    backend: str
    precision: str
    median_ms: float
    time_ratio: float
    agreement: float
    wape: float | None = None
    counted: int = 0

    @property
    def is_offered(self) -> bool:
        """Whether it agrees well enough to count with. One crossing of a few is no disagreement."""
        if self.agreement < MIN_AGREEMENT:
            return False
        return self.wape is None or self.wape * self.counted <= max(1.0, MAX_WAPE * self.counted)


class Measurement(Struct, frozen=True, forbid_unknown_fields=True):
    """All that was measured for a model on a machine.

    Attributes:
        machine: `edge.detect.machine.processor` of then.
        versions: Of the libraries, by name.
        sha256: Of the model.
        frames: That were looked at.
        results: By backend.
    """

    machine: str
    versions: dict[str, str]
    sha256: str
    frames: int
    results: list[Result]

    def best(self) -> Result | None:
        """Return the fastest backend that agrees and is worth a change; None if onnxruntime is."""
        worth = [one for one in self.results if one.is_offered and one.time_ratio <= MAX_TIME_RATIO]
        return min(worth, key=lambda one: one.time_ratio, default=None)


def place(model: Path) -> Path:
    """Return where a model's measurement lies."""
    return model.with_suffix(".measured.json")


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed."""
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def new(model: Path, frames: int, results: list[Result]) -> Measurement:
    """Return a measurement of now."""
    return Measurement(processor(), versions(), _checksum(model), frames, results)


def keep(model: Path, measurement: Measurement) -> Path:
    """Write a measurement beside its model.

    Raises:
        UsageError: The folder cannot be written.
    """
    path = place(model)
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(measurement), indent=2))
    except OSError as error:
        raise UsageError(
            f"Cannot keep the measurement in {path}: {error.strerror}. Set detector.backend and detector.precision instead."
        ) from error
    return path


def recall(model: Path) -> tuple[Measurement | None, str]:
    """Return what was measured for a model, or None and why it does not hold; no reason if nothing was measured."""
    try:
        known = msgspec.json.decode(place(model).read_bytes(), type=Measurement)
    except FileNotFoundError:
        return None, ""
    except (OSError, msgspec.MsgspecError) as error:
        return None, f"its measurement cannot be read ({error})"
    if known.machine != processor():
        return None, "it was measured on another machine"
    if known.versions != versions():
        return None, "it was measured with other versions of the libraries"
    if known.sha256 != _checksum(model):
        return None, "another model of this name was measured"
    return known, ""


def _checksum(model: Path) -> str:
    try:
        with model.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""
