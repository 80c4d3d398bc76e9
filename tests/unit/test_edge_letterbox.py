"""Fitting pictures into a detector's input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edge.detect.letterbox import Letterbox
from edge.detect.preparation import PAD_GREY, Placement, Preparation, fit, snug_size


@pytest.mark.parametrize(
    ("source", "within", "size"),
    [
        ((768, 576), (640, 640), (640, 480)),
        ((1920, 1080), (640, 640), (640, 384)),
        ((1080, 1920), (640, 640), (384, 640)),
        ((640, 640), (640, 640), (640, 640)),
        ((100, 100), (640, 640), (640, 640)),
        ((4000, 10), (640, 640), (640, 32)),
    ],
)
def test_snug_size_pads_to_the_stride_and_no_more(
    source: tuple[int, int], within: tuple[int, int], size: tuple[int, int]
) -> None:
    """A model that takes any size gets the picture with the least padding that its stride allows."""
    assert snug_size(source, within, 32) == size


@pytest.mark.parametrize(
    ("source", "size", "inner", "left", "top"),
    [
        ((768, 576), (640, 640), (640, 480), 0, 80),
        ((1920, 1080), (640, 384), (640, 360), 0, 12),
        ((99, 50), (64, 64), (64, 32), 0, 16),
        ((641, 480), (640, 640), (640, 479), 0, 80),  # 80.5: the odd row goes below
    ],
)
def test_picture_lies_in_the_middle(
    source: tuple[int, int], size: tuple[int, int], inner: tuple[int, int], left: int, top: int
) -> None:
    """The scaled picture is centred, an odd pixel of padding goes to the right and below, as in training."""
    found = fit(source, size)
    assert (found.inner, found.left, found.top) == (inner, left, top)


def test_input_is_rgb_between_zero_and_one() -> None:
    """Channels are swapped from BGR to RGB and divided by 255 exactly, without a change of size."""
    image = np.arange(32 * 64 * 3, dtype=np.uint32).reshape(32, 64, 3).astype(np.uint8)
    tensor = Letterbox((64, 32), (64, 32))(image)
    assert tensor.shape == (1, 3, 32, 64)
    assert tensor.dtype == np.float32
    assert tensor.flags["C_CONTIGUOUS"]
    assert (tensor[0] == image[:, :, ::-1].transpose(2, 0, 1) / np.float32(255)).all()


def test_padding_is_grey_on_both_sides() -> None:
    """What the picture does not cover is grey 114."""
    tensor = Letterbox((64, 32), (64, 64))(np.full((32, 64, 3), 255, dtype=np.uint8))
    grey = np.float32(PAD_GREY) / np.float32(255)
    assert (tensor[0, :, :16] == grey).all()
    assert (tensor[0, :, 48:] == grey).all()
    assert (tensor[0, :, 16:48] == 1).all()


def test_scaled_picture_fills_its_place() -> None:
    """A picture that is scaled lands in the buffer itself, not in a copy of it."""
    letterbox = Letterbox((200, 100), (64, 64))
    first = letterbox(np.full((100, 200, 3), 51, dtype=np.uint8)).copy()
    second = letterbox(np.full((100, 200, 3), 255, dtype=np.uint8))
    assert_allclose(first[0, :, 16:48], 0.2, atol=1e-6)
    assert (second[0, :, 16:48] == 1).all()


def test_boxes_come_back_to_the_picture() -> None:
    """A box of the input is mapped to the pixels of the source and cut to the picture."""
    found = fit((768, 576), (640, 640))
    boxes = np.array([[100, 50, 300, 500], [-50, -50, 900, 900]], dtype=np.float32)
    assert_allclose(
        found.to_source(found.to_input(boxes)), [[100, 50, 300, 500], [0, 0, 768, 576]], rtol=1e-5
    )
    assert found.to_source(boxes).dtype == np.float32


def test_picture_of_the_inputs_own_size_is_not_copied_into_grey() -> None:
    """A picture that fills the input is taken as it is, and is itself left as it was."""
    image = np.random.default_rng(1).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    before = image.copy()
    letterbox = Letterbox((64, 32), (64, 32))
    first = letterbox(image).copy()
    letterbox(np.zeros_like(image))
    assert (letterbox(image) == first).all()
    assert (image == before).all()


def test_yolox_wants_raw_bgr_in_the_upper_left() -> None:
    """YOLOX gets blue first, 0 to 255, padded with grey on the right and below."""
    image = np.zeros((32, 64, 3), dtype=np.uint8)
    image[:] = (10, 20, 30)
    tensor = Letterbox((64, 32), (64, 64), Preparation(Placement.TOP_LEFT, is_bgr=True, divisor=1.0))(image)
    assert tensor[0, :, 0, 0].tolist() == [10, 20, 30]
    assert (tensor[0, :, 32:] == PAD_GREY).all()


def test_rf_detr_wants_imagenets_mean_and_deviation() -> None:
    """Red, green and blue are each moved and scaled by their own numbers."""
    preparation = Preparation(
        Placement.STRETCHED, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)
    )
    image = np.full((10, 20, 3), (0, 51, 255), dtype=np.uint8)
    tensor = Letterbox((20, 10), (32, 32), preparation)(image)
    expected = [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    assert_allclose(tensor[0, :, 31, 31], expected, rtol=1e-5)


def test_half_precision_input() -> None:
    """A model of float16 gets float16, from the same quotients."""
    image = np.random.default_rng(1).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    half = Letterbox((64, 32), (64, 32), dtype=np.float16)(image)
    assert half.dtype == np.float16
    assert (half == Letterbox((64, 32), (64, 32))(image).astype(np.float16)).all()


@pytest.mark.parametrize("placement", list(Placement))
def test_boxes_come_back_from_every_placement(placement: Placement) -> None:
    """There and back again is the same place, however the picture lies in the input."""
    found = fit((768, 432), (320, 320), placement)
    boxes = np.array([[100, 50, 300, 400]], dtype=np.float32)
    assert_allclose(found.to_source(found.to_input(boxes)), boxes, rtol=1e-5)
    inside = found.to_input(np.array([[0, 0, 768, 432]], dtype=np.float32))[0]
    corners = {
        Placement.CENTRED: [0, 70, 320, 250],
        Placement.TOP_LEFT: [0, 0, 320, 180],
        Placement.STRETCHED: [0, 0, 320, 320],
    }
    assert_allclose(inside, corners[placement], atol=1e-4)
