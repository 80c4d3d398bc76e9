"""Settings of the detector."""

from typing import Literal

from msgspec import Struct

from countline.events import Label

Backend = Literal["auto", "onnxruntime", "openvino"]
Precision = Literal["f32", "bf16", "f16"]
Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino", "coreml", "xnnpack"]
ModelLayout = Literal[
    "auto", "yolov5", "yolov6", "yolov8", "yolov8-corners", "end-to-end", "yolox", "yolox-decoded", "rtdetr",
    "ultralytics-rtdetr", "ultralytics-rtdetr-list", "rfdetr",
]  # fmt: skip

MAX_THREADS = 1_024


class DetectorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The detector.

    Attributes:
        model: A name from `models/`, or the path of an ONNX file.
        confidence: Detections below it are dropped. Keep it low: the tracker decides what to make of weak ones.
        iou: Overlap above which two boxes of a class are one object.
        threads: For the backend; 0 fits them to the machine.
        input_size: Width and height that the picture is fitted into, multiples of 32, for models that take any;
            empty takes the model's own.
        backend: What runs the model: onnxruntime, or openvino (`pip install 'countline[openvino]'`). auto takes what
            `countline models measure` found best on this machine, and onnxruntime before that.
        precision: The numbers that openvino calculates with: f32, bf16 or f16, if the processor has them.
        provider: What onnxruntime runs on: cpu, cuda, tensorrt, openvino, coreml or xnnpack. auto takes the fastest that
            this build of it has, and says so if one does not start.
        layout: How the model's output is arranged, if it cannot be told from the model: see models/README.md.
        class_names: Names of the model's classes, by their number, if the model does not name them.
    """

    model: str = "yolo11n"
    confidence: float = 0.1
    iou: float = 0.7
    threads: int = 0
    input_size: tuple[int, int] | None = None
    backend: Backend = "auto"
    precision: Precision = "f32"
    provider: Provider = "auto"
    layout: ModelLayout = "auto"
    class_names: list[Label] = []

    def __post_init__(self) -> None:
        """Refuse thresholds that are no shares, sizes that no model takes, and numbers that a backend does not know."""
        for key, value in (("confidence", self.confidence), ("iou", self.iou)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{key} {value} is not between 0 and 1")
        if self.input_size and (min(self.input_size) < 32 or any(side % 32 for side in self.input_size)):
            raise ValueError(f"input_size {list(self.input_size)} must be multiples of 32")
        if not 0 <= self.threads <= MAX_THREADS:
            raise ValueError(
                f"threads is {self.threads}, 1 to {MAX_THREADS} are allowed, or 0 to fit the machine"
            )
        if self.precision != "f32" and self.backend != "openvino":
            raise ValueError(
                f"precision {self.precision} goes with backend openvino, not with {self.backend}"
            )
