"""Every layout, from a picture to boxes: models that report what colour lies where."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from countline.errors import UsageError
from edge.config import DetectorSettings
from edge.detect.layout import Layout
from edge.detector import Detector
from tests.graphs import write_detector

NAMES = ["red", "green", "blue"]
BGR = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
# Twice as large as the input and of its shape, so that no layout has padding and all have the same boxes.
SIDE = 320


def settings(backend: str = "onnxruntime", **more: object) -> DetectorSettings:
    return DetectorSettings(confidence=0.8, iou=0.5, backend=backend, **more)


def picture(colour: str, x: int, y: int, side: int = 64, width: int = SIDE, height: int = SIDE) -> np.ndarray:
    """Return a black picture with a block of a colour."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[y : y + side, x : x + side] = BGR[colour]
    return image


def largest(detector: Detector, image: np.ndarray) -> tuple[list[float], str]:
    """Return the largest box and its class."""
    found = detector(image)
    assert len(found), "nothing was found"
    sides = found.xyxy[:, 2:] - found.xyxy[:, :2]
    row = int(sides.prod(axis=1).argmax())
    return found.xyxy[row].tolist(), detector.class_names[found.class_id[row]]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("layout", list(Layout))
def test_a_block_of_colour_is_found_where_it_is(
    tmp_path: Path, layout: Layout, dtype: type[np.generic], backend: str
) -> None:
    """The layout is told from the model, colours keep their places, and boxes come back to the picture's pixels."""
    path = write_detector(tmp_path / "tiny.onnx", layout, dtype=dtype)
    # A list says nothing of its classes' number, and RF-DETR has one column more: its metadata or a person name them.
    detector = Detector(path, settings(backend))
    assert detector.layout is layout
    for colour, (x, y) in {"red": (64, 128), "green": (192, 0), "blue": (256, 256)}.items():
        box, name = largest(detector, picture(colour, x, y))
        assert name == colour
        assert_allclose(box, [x, y, x + 64, y + 64], atol=0.5)


@pytest.mark.parametrize("layout", [Layout.CHANNELS_FIRST, Layout.YOLOX, Layout.RTDETR, Layout.RFDETR])
def test_wide_pictures_lie_as_the_family_wants_them(tmp_path: Path, layout: Layout) -> None:
    """Centred, in the corner or stretched: boxes come back to the same place of a wide picture."""
    detector = Detector(write_detector(tmp_path / "tiny.onnx", layout), settings())
    # 320 x 160 lies in rows 40 to 120 of the input if centred, in 0 to 80 in the corner; stretched each row is one.
    box, name = largest(detector, picture("green", 128, 48, side=64, width=320, height=160))
    assert name == "green"
    x1, y1, x2, y2 = box
    assert x1 >= 128 - 1
    assert y1 >= 48 - 1
    assert x2 <= 192 + 1
    assert y2 <= 112 + 1


def test_several_pictures_go_through_together(tmp_path: Path) -> None:
    """A model of any batch takes the pictures of a size at once and returns to each its own; another takes them one by one."""
    images = [picture("red", 0, 0), picture("blue", 128, 64, width=640), picture("green", 64, 128)]
    for batch in ("batch", 1):
        detector = Detector(
            write_detector(tmp_path / "tiny.onnx", Layout.CHANNELS_FIRST, batch=batch), settings()
        )
        runs = 0
        run = detector._run

        def counted(tensor: np.ndarray, run=run) -> object:
            nonlocal runs
            runs += 1
            return run(tensor)

        detector._run = counted  # type: ignore[method-assign]
        together = detector.many(images)
        assert runs == (1 if batch == "batch" else 3)
        for image, found in zip(images, together, strict=True):
            alone = detector(image)
            assert_allclose(found.xyxy, alone.xyxy)
            assert found.class_id.tolist() == alone.class_id.tolist()
        assert detector.many([]) == []


@pytest.mark.parametrize("layout", [Layout.RTDETR, Layout.RFDETR])
def test_several_pictures_through_models_of_several_tensors(tmp_path: Path, layout: Layout) -> None:
    """RT-DETR's second input and the outputs of both have a row for each picture too."""
    detector = Detector(write_detector(tmp_path / "tiny.onnx", layout, batch="batch"), settings())
    images = [picture("red", 0, 0), picture("green", 64, 128)]
    found = detector.many(images)
    assert [detector.class_names[one.class_id[0]] for one in found] == ["red", "green"]


def test_a_person_names_the_classes_of_a_model_that_does_not(tmp_path: Path) -> None:
    """`detector.class_names` counts before the metadata, and RF-DETR's spare column stays nobody's."""
    path = write_detector(tmp_path / "tiny.onnx", Layout.RFDETR, with_names=False)
    assert Detector(path, settings()).class_names == ("class0", "class1", "class2", "class3")
    detector = Detector(path, settings(class_names=NAMES), ["blue"])
    assert largest(detector, picture("blue", 64, 64))[1] == "blue"
    assert len(detector(picture("red", 64, 64))) == 0
    listed = write_detector(tmp_path / "list.onnx", Layout.END_TO_END, with_names=False)
    with pytest.raises(UsageError, match=r"name them with `detector\.class_names`"):
        Detector(listed, settings())


def test_rt_detr_without_names_has_those_of_coco(tmp_path: Path) -> None:
    """The exports of RT-DETR and D-FINE name no class: the published ones know COCO's."""
    path = write_detector(tmp_path / "tiny.onnx", Layout.RTDETR, with_names=False)
    assert Detector(path, settings(), ["person"]).class_names[:3] == ("person", "bicycle", "car")


def test_a_layout_that_is_said_wins(tmp_path: Path) -> None:
    """`detector.layout` overrules what the values look like, and is refused where the shapes forbid it."""
    path = write_detector(tmp_path / "tiny.onnx", Layout.YOLOX_DECODED)
    assert Detector(path, settings(layout="yolov6")).layout is Layout.YOLOV6
    with pytest.raises(UsageError, match=r"tiny\.onnx: it is not of the layout 'rfdetr'"):
        Detector(path, settings(layout="rfdetr"))


def test_openvino_keeps_few_shapes_compiled(tmp_path: Path) -> None:
    """A camera of yet another size is served by the model for any size, so that memory stays bounded."""
    path = write_detector(tmp_path / "tiny.onnx", Layout.CHANNELS_FIRST, batch="batch")
    detector = Detector(path, settings("openvino"))
    for n in (1, 2, 3, 4):
        found = detector.many([picture("red", 64, 64)] * n)
        assert [len(one) for one in found] == [len(found[0])] * n
    assert len(detector._backend._requests) == 2
