"""Settings of a box: what they say, what they refuse, and what each part gets of them."""

import re
from pathlib import Path

import msgspec
import pytest

from countline.config import MqttSettings, parse
from countline.errors import UsageError
from deploy import config
from deploy.config import BoxSettings


def read(text: str, **environ: str) -> BoxSettings:
    return parse(text, BoxSettings, "box.yaml", environ)


def test_the_example_is_valid():
    """What `config example` prints can be used as it is."""
    settings = read(config.EXAMPLE)
    assert [camera.name for camera in settings.cameras] == ["entrance"]
    assert settings.cameras[0].lines[0].sides == ("street", "shop")
    assert settings.api == BoxSettings().api


def test_the_rule_in_the_readme_stands_below_the_example():
    """Who copies it below what `config example` prints has a rule about a zone that is there, with both of its actions."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "rules:" in text]
    (rule,) = read(config.EXAMPLE + block).rules
    assert rule.when.startswith("zone.lobby.count")
    assert [bool(action.http) for action in rule.then] == [True, False]
    assert [bool(action.mqtt) for action in rule.then] == [False, True]


def test_an_empty_file_is_valid():
    """Every setting has a default."""
    assert read("") == BoxSettings()


def test_a_usb_camera_may_be_a_number():
    """`source: 0` needs no quotes, neither in the file nor in the environment, and is text from then on."""
    text = "cameras: [{name: a, source: %s}]"
    assert [read(text % source).cameras[0].source for source in ("0", "'0'", "12")] == ["0", "0", "12"]
    assert read(text % "x.mp4", COUNTLINE__CAMERAS__0__SOURCE="0").cameras[0].source == "0"
    assert msgspec.json.decode(msgspec.json.encode(read(text % 0)), type=BoxSettings) == read(text % 0)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("-1", "whole number >= 0"), ("[]", "expected a whole number or text, got a list")],
)
def test_what_names_no_camera_is_refused(source: str, sentence: str):
    """A negative number is no camera, and neither is a list."""
    with pytest.raises(UsageError, match=sentence):
        read(f"cameras: [{{name: a, source: {source}}}]")


@pytest.mark.parametrize(
    ("what", "points"), [("line", "[[0, 0], [1, 1]]"), ("zone", "[[0, 0], [1, 1], [0, 1]]")]
)
def test_a_class_that_the_camera_does_not_detect_is_refused(what: str, points: str):
    """A typo in the classes of a line or zone would silently count nothing."""
    text = "cameras: [{name: a, source: 'synthetic:', classes: [person, car], %ss: [{name: door, points: %s, classes: [%s]}]}]"
    with pytest.raises(
        UsageError,
        match=f"{what} 'door' counts 'persn', which camera 'a' does not detect: did you mean 'person'",
    ):
        read(text % (what, points, "persn"))
    read(text % (what, points, "car"))


def test_the_environment_overrides_the_file():
    """A variable wins over the file."""
    assert read("api: {port: 8000}", COUNTLINE__API__PORT="8001").api.port == 8001


BAD = {
    "typo": ("api:\n  prot: 1", "box.yaml:2: api.prot: there is no such key; did you mean `port`?"),
    "wrong type": ("api:\n  port: many", "box.yaml:2: api.port: expected a whole number"),
    "port": ("api: {port: 70000}", "port 70000 is not a TCP port"),
    "open without token": ("api: {host: 0.0.0.0}", "set a token"),
    "short token": ("api: {token: short}", "too short to be safe"),
    "time zone": ("timezone: Mars/Olympus", "timezone 'Mars/Olympus' is unknown"),
    "pane": ("worker: {pane_s: 7}", "pane_s 7 does not divide a day"),
    "broker": ("broker: {prefer: hivemq}", "hivemq"),
    "two cameras": ("cameras: [{name: a, source: '0'}, {name: a, source: '1'}]", "two cameras are named 'a'"),
    "no source": ("cameras: [{name: a, source: ''}]", "camera 'a' has no source"),
    "zero length": (
        "cameras:\n  - name: a\n    source: '0'\n    lines:\n      - {name: door, points: [[1, 1], [1, 1]]}",
        "line 'door' has a piece of zero length",
    ),
    "not a group": ("- a\n- b", "must be a group of keys"),
    "not yaml": ("a: [", "not valid YAML"),
    "mqtt in the clear": ("mqtt: {host: broker.example}", "set tls: true"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_sentence(name: str):
    """A wrong setting is answered with one line that says where and what."""
    text, expected = BAD[name]
    with pytest.raises(UsageError) as caught:
        read(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_part_gets_its_settings(tmp_path: Path):
    """The parts agree on the files and ports that they share."""
    box = read("cameras: [{name: a, source: '0'}]\npreview: {enabled: true}\ntimezone: Europe/Berlin")
    box = msgspec.structs.replace(box, data_dir=str(tmp_path))
    mqtt = MqttSettings(port=1999)
    edge = config.edge_settings(box, mqtt, model="/m.onnx", preview_port=4711)
    gateway = config.gateway_settings(box, mqtt)
    worker = config.worker_settings(box)
    api = config.api_settings(box, preview_port=4711)
    assert edge.mqtt == gateway.mqtt == mqtt
    assert worker.log_path == str(Path(gateway.data_dir) / "journal.sqlite")
    assert worker.store_path == api.store_path
    assert edge.preview.port == 4711
    assert api.preview_url == "http://127.0.0.1:4711"
    assert edge.detector.model == "/m.onnx"
    assert api.timezone == "Europe/Berlin"


def test_no_camera_is_said():
    """An agent without a camera says how to name one."""
    with pytest.raises(UsageError, match="--camera SOURCE"):
        config.edge_settings(BoxSettings(), MqttSettings(), model="")


def test_secrets_are_hidden():
    """Neither tokens, nor passwords, nor logins in addresses are shown."""
    box = read(
        "cameras: [{name: a, source: 'rtsp://admin:hunter2@192.0.2.1/live'}]\n"
        "api: {token: 0123456789abcdef}\nmqtt: {password: hunter2}"
    )
    text = repr(config.shown(box))
    assert "hunter2" not in text
    assert "0123456789abcdef" not in text
    assert "rtsp://***@192.0.2.1/live" in text


@pytest.mark.parametrize("text", ["1,2,3,4", "0.1, 0.5, 0.9, 0.5", "1,2,3,4,5,6"])
def test_a_typed_line_is_read(text: str):
    """--line takes pairs of numbers."""
    assert len(config.typed_line(text).points) == len(text.split(",")) // 2


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2", "5,5,5,5", "1,2,3,nan,"])
def test_a_wrong_typed_line_is_said(text: str):
    """A line that cannot be one is answered with one sentence."""
    with pytest.raises(UsageError, match="--line"):
        config.typed_line(text)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("usr/share/zoneinfo/posix/Europe/Berlin", "Europe/Berlin"),
        ("etc/strange", "UTC"),
        ("usr/share/zoneinfo/Mars/Olympus", "UTC"),
    ],
)
def test_the_time_zone_comes_from_the_machine(tmp_path: Path, monkeypatch, target: str, expected: str):
    """The link that every Linux keeps names the zone; without a known name it is UTC."""
    path = tmp_path / target
    path.parent.mkdir(parents=True)
    path.write_bytes(b"TZif")
    link = tmp_path / "localtime"
    link.symlink_to(path)
    monkeypatch.setattr(config, "_LOCALTIME", link)
    monkeypatch.delenv("TZ", raising=False)
    assert config.system_timezone() == expected


def test_tz_wins_over_the_link(monkeypatch):
    """TZ is what the person set for this process."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert config.system_timezone() == "Asia/Tokyo"


def test_page_and_models_are_found():
    """A checkout finds what an installed package carries along."""
    assert (config.models_dir() / "yolo11n" / "model.toml").is_file()
    assert config.page_dir().name == "dashboard"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cameras: [{name: a, source: a.mp4, fps: -3}]", "camera 'a' has fps -3, 0 to 1000 pictures"),
        ("cameras: [{name: a, source: a.mp4, fps: .nan}]", "camera 'a' has fps nan, 0 to 1000 pictures"),
        ("cameras: [{name: a, source: a.mp4, max_fps: -1}]", "camera 'a' has max_fps -1, 0 to 1000 pictures"),
        ("cameras: [{name: a, source: a.mp4, max_fps: .inf}]", "camera 'a' has max_fps inf, 0 to 1000"),
        ("cameras: [{name: a, source: 'mot:a', size: [0, 0]}]", r"camera 'a' has size \[0, 0\]: give width"),
        ("cameras: [{name: a, source: '0', size: [640, -480]}]", "give width and height in pixels, 1 to"),
        (
            "cameras: [{name: a, source: 'rstp://u:secret@192.0.2.1/'}]",
            "camera 'a': the source begins with rstp://, which is no kind of address here: did you mean rtsp://[?] There are rtsp://",
        ),
        ("cameras: [{name: a, source: 'gopher://x'}]", "here: There are rtsp://, rtsps://, rtmp://, http://"),
        (
            "cameras: [{name: a, source: '0', zones: [{name: z, points: [[0, 0], [1, 1], [1, 0], [0, 1]]}]}]",
            "zone 'z' has sides that cross: give its corners one after the other",
        ),
        ("heartbeat_s: 0", "heartbeat_s is 0, 0.05 to 10 seconds are allowed"),
        ("heartbeat_s: -1", "heartbeat_s is -1, 0.05 to 10 seconds are allowed"),
        ("heartbeat_s: .nan", "heartbeat_s is nan, 0.05 to 10 seconds are allowed"),
        ("outbox_max_mb: 0", "outbox_max_mb is 0, 1 to 1000000 are allowed"),
        (
            "detector: {threads: -4}",
            "detector: threads is -4, 1 to 1024 are allowed, or 0 to fit the machine",
        ),
        ("preview: {port: 99999}", "preview: port 99999 is not a TCP port, 1 to 65535 are allowed"),
        ("preview: {max_fps: .nan}", "preview: max_fps is nan, 0 to 1000 pictures per second are allowed"),
        ("broker: {port: -1}", "broker: port -1 is not a TCP port"),
    ],
)
def test_a_number_that_nothing_can_work_with_is_refused_at_once(text: str, sentence: str):
    """An agent would fail over it again and again; one sentence says what is allowed."""
    with pytest.raises(UsageError, match=sentence) as refused:
        read(text)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "source", ["RTSP://192.0.2.1/", "gst:filesrc location=x ! a://b", "csi:0", "a:b.mp4"]
)
def test_what_only_looks_like_an_address_is_no_unknown_one(source: str):
    """A scheme in capitals is known, and a pipeline or a file may hold what it likes."""
    assert read(f"cameras: [{{name: a, source: '{source}'}}]").cameras[0].source == source


def test_a_zone_may_be_bent_and_touch_itself():
    """Only sides that cross leave open what is inside."""
    hooked = "[[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]]"
    pinched = "[[0, 0], [4, 0], [2, 2], [4, 4], [0, 4], [2, 2]]"
    zones = f"[{{name: h, points: {hooked}}}, {{name: p, points: {pinched}}}]"
    assert len(read(f"cameras: [{{name: a, source: '0', zones: {zones}}}]").cameras[0].zones) == 2


def test_the_last_numbers_that_are_allowed_are_allowed():
    """Bounds belong to what they bound."""
    camera = "{name: a, source: a.mp4, fps: 1000, max_fps: 0.01, size: [1, 32768]}"
    settings = read(
        f"{{cameras: [{camera}], heartbeat_s: 10, outbox_max_mb: 1, preview: {{port: 65535}}, detector: {{threads: 1024}}}}"
    )
    assert (settings.heartbeat_s, settings.outbox_max_mb, settings.cameras[0].max_fps) == (10.0, 1, 0.01)
