"""The detector with onnxruntime: hand-made models for what may go wrong, the real one for what must go right."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from countline.errors import UsageError
from edge.config import DetectorSettings
from edge.detect.layout import Layout
from edge.detector import Detector, default_threads
from tests.models import write_model

SETTINGS = DetectorSettings(confidence=0.25, iou=0.5, backend="onnxruntime")
NAMES = "{0: 'person', 1: 'dog'}"
BLACK = np.zeros((100, 200, 3), dtype=np.uint8)


def v8(*rows: list[float]) -> np.ndarray:
    """Return an output for an input of 64 x 64, which has 84 cells."""
    output = np.zeros((1, 6, 84), dtype=np.float32)
    output[0, :, : len(rows)] = np.array(rows, dtype=np.float32).T
    return output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.onnx"


def test_boxes_are_in_pixels_of_the_picture(path: Path) -> None:
    """A box of the model's input comes out in the picture's pixels, cut to the picture."""
    write_model(
        path, {"output0": v8([32, 32, 32, 16, 0.9, 0], [60, 32, 32, 8, 0.8, 0])}, metadata={"names": NAMES}
    )
    detector = Detector(path, SETTINGS, ["person"])
    assert (detector.name, detector.class_names, detector.layout) == (
        "tiny",
        ("person", "dog"),
        Layout.CHANNELS_FIRST,
    )
    assert detector.input_size(200, 100) == (64, 64)
    found = detector(BLACK)  # 200 x 100 is 64 x 32 within 64 x 64, 16 rows of grey above it
    assert_allclose(found.xyxy, [[50, 25, 150, 75], [137.5, 37.5, 200, 62.5]])
    assert_allclose(found.score, [0.9, 0.8])


def test_pictures_of_several_sizes_take_turns(path: Path) -> None:
    """One detector serves cameras of different sizes, and keeps a bounded number of buffers for them."""
    write_model(path, {"output0": v8([32, 32, 32, 16, 0.9, 0])}, metadata={"names": NAMES})
    detector = Detector(path, SETTINGS)
    for width in range(64, 64 * 20, 64):
        found = detector(np.zeros((width // 2, width, 3), dtype=np.uint8))
        assert_allclose(found.xyxy, [[width / 4, width / 8, width * 3 / 4, width * 3 / 8]])
    assert len(detector._letterboxes) <= 8


def test_yolov5_with_its_grids_beside_the_list(path: Path) -> None:
    """A YOLOv5 export that returns its three grids too is read from the list of boxes."""
    output = np.zeros((1, 252, 7), dtype=np.float32)
    output[0, 9] = [32, 32, 32, 16, 0.8, 0.1, 0.9]
    grid = np.zeros((1, 3, 8, 8, 7), dtype=np.float32)
    write_model(
        path, {"output0": output, "grid": grid}, metadata={"names": "['person', 'dog']", "stride": "32"}
    )
    detector = Detector(path, SETTINGS, ["dog"])
    assert detector.layout is Layout.OBJECTNESS
    found = detector(BLACK)
    assert_allclose(found.score, [0.72], rtol=1e-6)
    assert found.class_id.tolist() == [1]


@pytest.mark.parametrize(
    "metadata", [{"args": "{'nms': True}"}, {"end2end": "True"}, {"args": "{'nms': False}"}]
)
def test_end_to_end_model(path: Path, metadata: dict[str, str]) -> None:
    """An end-to-end model is told by its metadata, or by its shape where they say nothing."""
    output = np.zeros((1, 300, 6), dtype=np.float32)
    output[0, 0] = [16, 24, 48, 40, 0.9, 1]
    write_model(path, {"output0": output}, metadata=metadata | {"names": NAMES})
    detector = Detector(path, SETTINGS)
    assert detector.layout is Layout.END_TO_END
    assert_allclose(detector(BLACK).xyxy, [[50, 25, 150, 75]])


def test_model_without_names_numbers_its_classes(path: Path) -> None:
    """Classes without names are called by their number."""
    write_model(path, {"output0": v8([32, 32, 32, 16, 0.9, 0])})
    assert Detector(path, SETTINGS).class_names == ("class0", "class1")


def test_class_that_the_model_does_not_have_is_refused_with_the_nearest(path: Path) -> None:
    """A class name with a typo is refused, and the nearest name is proposed."""
    write_model(path, {"output0": v8([0] * 6)}, metadata={"names": NAMES})
    with pytest.raises(UsageError, match="no class 'persn'; the nearest it has is 'person'"):
        Detector(path, SETTINGS, ["persn"])


def test_file_that_is_no_model_is_refused(path: Path) -> None:
    """A missing file, one that is no ONNX, and a truncated one are refused in a sentence."""
    with pytest.raises(UsageError, match="does not exist"):
        Detector(path, SETTINGS)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UsageError, match="is not an ONNX model, or a damaged one"):
        Detector(path, SETTINGS)
    write_model(path, {"output0": v8([0] * 6)})
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(UsageError, match="is not an ONNX model, or a damaged one"):
        Detector(path, SETTINGS)
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"tiny\.onnx"):
        Detector(path, SETTINGS)


@pytest.mark.parametrize(
    ("outputs", "shape", "sentence"),
    [
        ({"output": np.zeros((1, 84, 9), dtype=np.float32)}, (1, 3, 64, 64), r"\[1, 84, 9\].*84 cells"),
        ({"a": np.zeros((1, 5), dtype=np.float32)}, (1, 3, 64, 64), r"it returns a \[1, 5\] float32"),
        (
            {"labels": np.zeros((1, 9), dtype=np.int64), "boxes": np.zeros((1, 9, 4), dtype=np.float32)},
            (1, 3, 64, 64),
            r"\[1, 9, 4\]",
        ),
        (
            {"output": np.zeros((1, 6, 84), dtype=np.float32)},
            (1, 64, 64, 3),
            r"it takes images \[1, 64, 64, 3\]",
        ),
        (
            {"output": np.zeros((1, 6, 84), dtype=np.float32)},
            (4, 3, 64, 64),
            r"it takes images \[4, 3, 64, 64\]",
        ),
        ({"output": np.zeros((1, 6, 84), dtype=np.float32)}, (1, 3), r"it takes images \[1, 3\]"),
    ],
)
def test_unknown_layout_is_refused_with_the_shapes(
    path: Path, outputs: dict[str, np.ndarray], shape: tuple[int, ...], sentence: str
) -> None:
    """A model that is no YOLO detector that is known is refused in a sentence with the shapes found."""
    write_model(path, outputs, shape=shape, metadata={"names": NAMES})
    with pytest.raises(UsageError, match=sentence) as refusal:
        Detector(path, SETTINGS)
    assert str(path) in str(refusal.value)


def test_at_least_one_thread() -> None:
    """However small the machine, there is a thread to run on."""
    assert 1 <= default_threads() <= (os.cpu_count() or 1)


@pytest.fixture(scope="module")
def model() -> Path:
    from_environment = os.environ.get("COUNTLINE_TEST_MODEL")
    if from_environment:
        return Path(from_environment)
    from deploy.material import demo_model  # noqa: PLC0415 - it may go out to the network

    return demo_model(lambda *_: None)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    from_environment = os.environ.get("COUNTLINE_TEST_VIDEO")
    if from_environment:
        video: Path | None = Path(from_environment)
    else:
        from deploy.material import demo_video  # noqa: PLC0415

        video = demo_video(lambda *_: None)
    assert video is not None, "the demo's video can't be had here"
    capture = cv2.VideoCapture(str(video))
    is_there, image = capture.read()
    capture.release()
    assert is_there
    return np.asarray(image, dtype=np.uint8)


def test_real_model_sees_the_people_of_the_demo(model: Path, picture: np.ndarray) -> None:
    """The demo's model finds the people of the demo's first frame, in an input of the picture's own shape."""
    detector = Detector(model, DetectorSettings(confidence=0.4, backend="onnxruntime"), ["person"])
    assert detector.input_size(768, 576) == (640, 480)
    found = detector(picture)
    assert 3 <= len(found) <= 12
    assert set(found.class_id.tolist()) == {0}
    assert (found.xyxy[:, 3] - found.xyxy[:, 1] > found.xyxy[:, 2] - found.xyxy[:, 0]).all()  # upright


def test_real_model_agrees_with_itself_at_another_size(model: Path, picture: np.ndarray) -> None:
    """The same picture with grey above and below gives the same people at the same places."""
    settings = DetectorSettings(confidence=0.5, backend="onnxruntime")
    plain = Detector(model, settings, ["person"])(picture)
    framed = cv2.copyMakeBorder(picture, 96, 96, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    other = Detector(model, settings, ["person"])(np.asarray(framed, dtype=np.uint8))
    assert len(plain) == len(other)
    assert_allclose(
        plain.xyxy[np.lexsort(plain.xyxy.T)] + np.float32([0, 96, 0, 96]),
        other.xyxy[np.lexsort(other.xyxy.T)],
        atol=3,
    )
