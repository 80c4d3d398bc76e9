"""How cameras are reached: what is asked of them, and what is said if this machine can't."""

import threading
from pathlib import Path

import cv2
import pytest

from countline.clock import ManualClock
from countline.config import environment
from countline.errors import UsageError
from edge.capture import open_source
from edge.capture.connect import _why_no_usb, check_gstreamer, connection, gstreamer_pipeline, usb_wishes
from edge.capture.live import Pace
from edge.capture.transport import Transports
from edge.config import CameraSettings, source_kind

VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("rtsp://camera/1", "stream"),
        ("RTSPS://camera/1", "stream"),
        ("http://camera/video.mjpg", "stream"),
        ("https://camera/live.m3u8", "stream"),
        ("tcp://127.0.0.1:8888", "stream"),
        ("0", "usb"),
        ("/dev/video2", "usb"),
        ("/dev/v4l/by-id/usb-046d_C270-video-index0", "usb"),
        ("csi:0", "gstreamer"),
        ("gst:v4l2src ! videoconvert", "gstreamer"),
        ("detlog:/var/lib/countline/door", "detections"),
        ("mot:det.txt", "detections"),
        ("synthetic:", "synthetic"),
        ("pictures/", "folder"),
        ("clip.mp4", "video"),
    ],
)
def test_a_source_is_known_by_its_name(source: str, kind: str) -> None:
    """Each kind has a beginning of its own."""
    assert source_kind(source) == kind


def test_an_opencv_without_gstreamer_is_told_in_a_sentence_with_a_way_out() -> None:
    """The wheels have none, and csi: is refused at once and not tried for ever."""
    with pytest.raises(UsageError, match=r"need an OpenCV with GStreamer.*rpicam-vid"):
        check_gstreamer(
            "  Video I/O:\n    FFMPEG:                      YES\n    GStreamer:                   NO\n"
        )
    check_gstreamer("    GStreamer:                   YES (1.20.3)\n")


@pytest.mark.skipif(
    "GStreamer:                   NO" not in cv2.getBuildInformation(), reason="OpenCV with GStreamer"
)
@pytest.mark.parametrize("source", ["csi:0", "gst:videotestsrc"])
def test_csi_is_refused_where_opencv_has_no_gstreamer(source: str) -> None:
    """Opening it says so."""
    with pytest.raises(UsageError, match="need an OpenCV with GStreamer"):
        open_source(CameraSettings("c", source), ManualClock())


def test_a_pipeline_ends_in_the_newest_bgr_picture() -> None:
    """What a person writes is completed, unless it has its own end; csi: is written for the machine."""
    own = gstreamer_pipeline(CameraSettings("c", "gst: v4l2src ! jpegdec"), is_jetson=False)
    assert own == (
        "v4l2src ! jpegdec ! videoconvert ! video/x-raw,format=BGR ! appsink max-buffers=1 drop=true sync=false"
    )
    whole = "videotestsrc ! video/x-raw,format=BGR ! appsink"
    assert gstreamer_pipeline(CameraSettings("c", f"gst:{whole}"), is_jetson=False) == whole
    camera = CameraSettings("c", "csi:1", size=(1920, 1080), fps=15.0)
    assert gstreamer_pipeline(camera, is_jetson=True).startswith(
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=15/1 ! nvvidconv"
    )
    first = gstreamer_pipeline(CameraSettings("c", "csi:0"), is_jetson=False)
    assert first.startswith("libcamerasrc ! video/x-raw,width=1280,height=720,framerate=30/1 ! ")


def test_a_usb_camera_is_asked_for_size_and_rate() -> None:
    """MJPEG comes first, because the driver offers sizes by format; without a wish nothing is changed."""
    camera = CameraSettings("c", "0", size=(1280, 720), fps=15.0)
    assert usb_wishes(camera) == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 15.0),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]
    assert usb_wishes(CameraSettings("c", "0")) == [(cv2.CAP_PROP_BUFFERSIZE, 1)]


def test_a_usb_camera_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    """A number that has changed after a restart is the usual reason."""
    assert "no camera is plugged in" in _why_no_usb("0", tmp_path).text
    (tmp_path / "video2").touch()
    (tmp_path / "video3").touch()
    assert "there are video2, video3" in _why_no_usb("0", tmp_path).text
    assert "does another program use it" in _why_no_usb("2", tmp_path).text


def test_a_transport_is_for_rtsp_only() -> None:
    """Elsewhere it would do nothing, in silence."""
    with pytest.raises(ValueError, match="only rtsp:// has"):
        CameraSettings("c", "http://camera/1", transport="udp")
    assert (
        connection(CameraSettings("c", "rtsp://a:b@camera/1", transport="udp")).label == "rtsp://***@camera/1"
    )


def test_cameras_of_one_transport_open_side_by_side_and_of_two_one_after_the_other() -> None:
    """The variable that OpenCV reads never changes while a camera is being opened, and what a person has set comes back."""
    before = environment(VARIABLE)
    transports = Transports()
    seen: list[str | None] = []

    def open_tcp() -> None:
        with transports.opening("tcp"):
            seen.append(environment(VARIABLE))

    with transports.opening("udp"), transports.opening("udp"):
        other = threading.Thread(target=open_tcp)
        other.start()
        other.join(0.05)
        assert environment(VARIABLE) == "rtsp_transport;udp"
        assert seen == []
    other.join()
    assert seen == ["rtsp_transport;tcp"]
    with transports.opening("auto"):
        assert environment(VARIABLE) == before


def test_a_paced_stream_waits_for_each_picture_and_goes_on_where_it_is_after_a_jump() -> None:
    """Pictures that come at once are shown at their distance; a stream that begins anew or jumps is not waited for."""
    pace = Pace()
    assert pace.wait_s(10.0, 100.0) == 0
    assert pace.wait_s(10.5, 100.0) == 0.5
    assert pace.wait_s(11.0, 100.5) == 0.5
    assert pace.wait_s(11.5, 102.0) == 0  # late, and the next ones make up for it
    assert pace.wait_s(12.5, 102.1) == pytest.approx(0.4)
    assert pace.wait_s(0.0, 102.5) == 0  # it begins anew
    assert pace.wait_s(0.5, 102.5) == 0.5
    assert pace.wait_s(500.0, 103.0) == 0  # a hole
    assert pace.wait_s(500.5, 103.0) == 0.5
    assert pace.wait_s(501.0, 200.0) == 0  # it was held up
    assert pace.wait_s(501.5, 200.0) == 0.5
