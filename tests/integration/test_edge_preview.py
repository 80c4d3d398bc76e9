"""The preview server over real sockets."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from countline.clock import ManualClock
from countline.errors import UsageError
from countline.events import LineShape, ZoneShape
from edge import preview as preview_module
from edge.arrays import Detections
from edge.capture.annotate import sides
from edge.config import PreviewSettings
from edge.frames import Frame
from edge.preview import MAX_CONNECTIONS, Preview


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def preview(clock: ManualClock) -> Iterator[Preview]:
    served = Preview(PreviewSettings(enabled=True, max_width=320), ["door", "yard"], clock)
    yield served
    served.close()


def frame(index: int, width: int = 640) -> Frame:
    return Frame(index, 1_000 + index, np.full((360, width, 3), 90, dtype=np.uint8))


def get(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_newest_frame_with_its_tracks(preview: Preview) -> None:
    """The answer is a line of JSON with boxes of the whole frame, and a JPEG that may be smaller."""
    track = {
        "id": 3,
        "cls": "person",
        "conf": np.float32(0.5),
        "box": np.array([1, 2, 3, 4], dtype=np.float32),
    }
    preview.publish("door", frame(17), [track])
    status, body = get(preview.port, "/cameras/door/preview?after=16")
    line, jpeg = body.split(b"\n", 1)
    assert status == 200
    assert json.loads(line) == {
        "index": 17,
        "captured_at_ms": 1_017,
        "width": 640,
        "height": 360,
        "tracks": [{"id": 3, "cls": "person", "conf": 0.5, "box": [1, 2, 3, 4]}],
    }
    image = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (180, 320, 3)


def test_viewer_waits_for_a_newer_frame(preview: Preview, clock: ManualClock) -> None:
    """A viewer that has the newest frame gets the next one as soon as it is published."""
    preview.publish("door", frame(1), [])
    answers: list[tuple[int, bytes]] = []
    viewer = threading.Thread(
        target=lambda: answers.append(get(preview.port, "/cameras/door/preview?after=1"))
    )
    viewer.start()
    clock.advance_ms(1_000)
    preview.publish("door", frame(2), [])
    viewer.join()
    assert answers[0][0] == 200
    assert json.loads(answers[0][1].split(b"\n", 1)[0])["index"] == 2


def test_camera_that_was_opened_again_is_seen(preview: Preview) -> None:
    """A viewer that knows a high index of an earlier run gets the frames of the new one."""
    preview.publish("door", frame(0), [])
    assert get(preview.port, "/cameras/door/preview?after=5000")[0] == 200


def test_no_frame_is_204(preview: Preview, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera without a picture, or without a new one, answers 204 after the wait."""
    monkeypatch.setattr(preview_module, "WAIT_S", 0.01)
    preview.publish("door", Frame(3, 3, None), [])
    assert get(preview.port, "/cameras/door/preview") == (204, b"")
    assert get(preview.port, "/cameras/yard/preview?after=-1") == (204, b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/cameras/cellar/preview?after=1", 404),
        ("/", 404),
        ("/cameras/door", 404),
        ("/cameras/door/preview/x", 404),
        ("/cameras/door/preview?after=x", 422),
        ("/cameras/door/preview?after=--1", 422),
        ("/cameras/door/preview?after=99999999999999999999999", 422),
    ],
)
def test_wrong_address(preview: Preview, path: str, status: int) -> None:
    """What is not there is 404, and an index that is none is 422."""
    assert get(preview.port, path)[0] == status


@pytest.mark.parametrize(
    ("host", "status"), [("localhost:1", 200), ("127.0.0.1", 200), ("evil.example", 403)]
)
def test_only_this_machine_may_look(preview: Preview, host: str, status: int) -> None:
    """A page whose name was made to point to this machine gets no picture."""
    preview.publish("door", frame(1), [])
    assert get(preview.port, "/cameras/door/preview", host)[0] == status


def test_pictures_are_encoded_only_when_asked_for_and_once(
    preview: Preview, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing encodes nothing; several viewers of a frame share one encoding."""
    encoded: list[int] = []
    original = preview_module._jpeg
    monkeypatch.setattr(preview_module, "_jpeg", lambda *args: (encoded.append(1), original(*args))[1])
    for index in range(50):
        clock.advance_ms(100)
        preview.publish("door", frame(index), [])
    assert not encoded
    for _ in range(3):
        assert get(preview.port, "/cameras/door/preview")[0] == 200
    assert len(encoded) == 1


def test_frames_beyond_the_rate_are_not_shown(preview: Preview, clock: ManualClock) -> None:
    """A camera of 50 frames a second is shown at no more than the preview's rate."""
    shown = set()
    for index in range(50):
        clock.advance_ms(20)
        preview.publish("door", frame(index), [])
        shown.add(preview._shelves["door"].frame.index)  # type: ignore[union-attr]
    assert 10 <= len(shown) <= 13


def test_too_many_viewers_are_turned_away() -> None:
    """Viewers are bounded; one more is told to come later, and closing the preview sends those home who say nothing."""
    preview = Preview(PreviewSettings(enabled=True), ["door"])
    waiting = [
        socket.create_connection(("127.0.0.1", preview.port), timeout=10) for _ in range(MAX_CONNECTIONS)
    ]
    try:
        assert get(preview.port, "/cameras/door/preview")[0] == 503
        preview.close()
        assert all(connection.recv(1) == b"" for connection in waiting)
    finally:
        for connection in waiting:
            connection.close()


def test_taken_port_is_refused_in_a_sentence(preview: Preview) -> None:
    """A port in use is an error that says how to mend it."""
    with pytest.raises(UsageError, match=f"port {preview.port}.*preview.port"):
        Preview(PreviewSettings(enabled=True, port=preview.port), ["door"])


def noise(seed: int) -> np.ndarray:
    """Return a picture of which every pixel matters."""
    return np.random.default_rng(seed).integers(0, 256, (360, 640, 3), dtype=np.uint8)


def shot(preview: Preview, image: np.ndarray, query: str = "", box: tuple[float, ...] = (300, 60, 340, 180)):
    """Return what a snapshot of a picture with one person shows, the line and zone left out."""
    preview._shelves["door"].taken_at_s = float("-inf")
    preview.publish(
        "door", Frame(1, 1_001, image), [{"id": 1, "cls": "person", "conf": 0.9, "box": list(box)}]
    )
    status, body = get(preview.port, f"/cameras/door/snapshot{query}")
    assert status == 200
    picture = cv2.imdecode(np.frombuffer(body, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.int16)


@pytest.fixture
def shooting() -> Iterator[Preview]:
    served = Preview(PreviewSettings(snapshot="clear", max_width=640), ["door"], ManualClock())
    yield served
    served.close()


def test_a_blurred_snapshot_tells_nobody_apart(shooting: Preview) -> None:
    """What differs only in detail, such as two faces as wide as a thirtieth of the picture, looks the same."""
    street = np.full((360, 640, 3), 120, dtype=np.uint8)
    faces = []
    for seed in (1, 2):
        face = noise(seed)[:21, :21]
        face = np.where(face > np.median(face, axis=(0, 1)), 160, 80).astype(np.uint8)
        picture = street.copy()
        picture[100:121, 310:331] = face
        faces.append(picture)
    assert np.abs(faces[0].astype(int) - faces[1]).max() >= 80
    one, other = (shot(shooting, face) for face in faces)
    assert np.abs(one - other).max() <= 24
    clear = [shot(shooting, face, "?kind=clear") for face in faces]
    assert np.abs(clear[0] - clear[1]).max() >= 70


def test_a_faceless_snapshot_hides_the_upper_third_of_who_was_found(shooting: Preview) -> None:
    """Heads are four coarse pixels wide, all else is as it was."""
    image = noise(3)
    image = cv2.GaussianBlur(image, (0, 0), 2.0).astype(np.uint8)
    clear, hidden = shot(shooting, image, "?kind=clear"), shot(shooting, image, "?kind=faceless")
    differs = np.abs(clear - hidden).max(axis=2)
    assert differs[62:98, 302:338].mean() > 5
    differs[32:112, 284:356] = 0  # the face, and what a JPEG makes of its border
    assert differs.max() <= 3
    assert len(np.unique(hidden[65:68, 300:340].mean(axis=(0, 2)).round(-1))) <= 5


def test_lines_with_their_arrow_sides_and_zones_are_drawn_on_every_kind(shooting: Preview) -> None:
    """Whoever draws lines sees those that there are, and which way is in."""
    grey = np.full((360, 640, 3), 90, dtype=np.uint8)
    plain = shot(shooting, grey)
    line = LineShape("gate", [(320.0, 20.0), (320.0, 340.0)], sides=("street", "shop"))
    shooting.configure("door", [line], [ZoneShape("hall", [(20.0, 20.0), (120.0, 20.0), (120.0, 120.0)])])
    for kind in ("blurred", "faceless", "clear"):
        drawn = shot(shooting, grey, f"?kind={kind}")
        changed = np.abs(drawn - plain).max(axis=2) > 40
        assert changed[20:340, 318:323].mean() > 0.5  # the line
        assert changed[175:186, 292:312].any()  # its arrow: A is above, so the right hand is in the left half
        assert changed[18:23, 20:120].mean() > 0.5  # the zone
    assert sides(line)[0][1][0] > 320 > sides(line)[1][1][0]


@pytest.mark.parametrize(
    ("allowed", "kind", "status"),
    [
        ("off", "blurred", 403),
        ("blurred", "blurred", 200),
        ("blurred", "faceless", 403),
        ("faceless", "faceless", 200),
        ("faceless", "clear", 403),
        ("clear", "clear", 200),
        ("clear", "naked", 403),
    ],
)
def test_a_snapshot_shows_no_more_than_the_settings_allow(allowed: str, kind: str, status: int) -> None:
    """Whoever asks for more is refused, and without `enabled` there is no moving picture."""
    served = Preview(PreviewSettings(snapshot=allowed), ["door"])  # type: ignore[arg-type]
    try:
        assert get(served.port, "/cameras/yard/snapshot")[0] == (403 if allowed == "off" else 404)
        served.publish("door", frame(1), [])
        assert get(served.port, f"/cameras/door/snapshot?kind={kind}")[0] == status
        assert get(served.port, "/cameras/door/preview")[0] == 404
    finally:
        served.close()


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        (
            "/cameras/door/snapshot?kind=clear",
            403,
            "a snapshot that is clear is not allowed, because preview.snapshot is blurred.",
        ),
        ("/cameras/door/snapshot?kind=naked", 403, "a snapshot is blurred, faceless, clear, not 'naked'."),
        ("/cameras/dor/snapshot", 404, "there is no camera 'dor': did you mean 'door'? There is door, yard."),
        ("/cameras/door/snapshot", 404, "camera 'door' has not shown a picture yet."),
        ("/cameras/door/preview", 404, "no picture is shown, because preview.enabled is false."),
        ("/", 404, "there is /cameras/CAMERA/snapshot and /cameras/CAMERA/preview."),
    ],
)
def test_a_refusal_says_why(path: str, status: int, sentence: str) -> None:
    """Whoever asks with curl sees one sentence and a new line."""
    served = Preview(PreviewSettings(snapshot="blurred"), ["door", "yard"])
    try:
        assert get(served.port, path) == (status, f"{sentence}\n".encode())
    finally:
        served.close()


def test_of_recorded_detections_the_ground_is_grey() -> None:
    """There is no picture, but lines can be looked at all the same; before the first frame it is not known."""
    served = Preview(PreviewSettings(snapshot="blurred", max_width=640), ["door"])
    line = LineShape("in", [(100.0, 180.0), (500.0, 180.0)])
    served.configure("door", [line], [], (640, 360))
    try:
        assert get(served.port, "/cameras/door/snapshot")[0] == 404
        served.publish("door", Frame(0, 0, None, Detections.empty()), [])
        status, body = get(served.port, "/cameras/door/snapshot")
    finally:
        served.close()
    picture = cv2.imdecode(np.frombuffer(body, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert status == 200
    assert picture is not None
    assert picture.shape == (360, 640, 3)
    assert picture[:100].std() < 3
    assert picture[178:183, 150:250].max(axis=2).mean() > 150


def test_where_single_pictures_can_be_had_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Without a port in the settings nobody could know it."""
    caplog.set_level("INFO")
    served = Preview(PreviewSettings(snapshot="blurred"), ["door"])
    served.close()
    (said,) = [record.fields for record in caplog.records if "single pictures" in record.getMessage()]  # type: ignore[attr-defined]
    assert said == {"at": f"http://127.0.0.1:{served.port}/cameras/door/snapshot", "at_most": "blurred"}
