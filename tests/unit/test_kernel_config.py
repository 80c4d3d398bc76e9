"""Config: one sentence for each mistake, with file, line, key, and the nearest known key."""

from pathlib import Path

import pytest
from msgspec import Struct

from countline import config
from countline.config import MqttSettings
from countline.errors import UsageError


class _Camera(Struct, frozen=True, forbid_unknown_fields=True):
    """A camera; `source` is where it is, `fps` how fast."""

    source: str
    fps: float = 0.0


class _Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """A config."""

    mqtt: MqttSettings = MqttSettings()
    cameras: list[_Camera] = []
    name: str = ""


def _parse(text: str, **environ: str) -> _Settings:
    return config.parse(text, _Settings, "c.yaml", environ)


def _mistake(text: str, **environ: str) -> str:
    with pytest.raises(UsageError) as caught:
        _parse(text, **environ)
    return str(caught.value)


def test_an_empty_config_is_all_defaults():
    """Nothing has to be said."""
    assert _parse("") == _Settings()


def test_a_typo_names_the_line_and_the_nearest_key():
    """The reader sees where, what, and what was probably meant."""
    assert _mistake("name: x\nmqtt:\n  prot: 1\n") == (
        "c.yaml:3: mqtt.prot: there is no such key; did you mean `port`? "
        "Allowed here: host, port, tls, ca_file, cert_file, key_file, username, password."
    )


def test_a_typo_in_a_list_names_its_entry():
    """Keys inside lists are found too."""
    text = "cameras:\n- source: a\n- source: b\n  fsp: 3\n"
    assert _mistake(text).startswith("c.yaml:")
    assert "there is no such key; did you mean `fps`?" in _mistake(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "mqtt: {port: 1}\nname: a\nmqtt: {port: 2}\n",
            "c.yaml:3: the key `mqtt` stands here again, first in line 1",
        ),
        (
            "cameras:\n- source: a\n  source: b\n",
            "c.yaml:3: the key `source` stands here again, first in line 2",
        ),
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, sentence: str):
    """YAML would take the last one silently; here the file, the line and the key are named."""
    assert _mistake(text).startswith(sentence)


def test_an_anchor_that_is_used_twice_is_no_key_twice():
    """Aliases and merge keys may repeat what stands elsewhere."""
    text = "cameras:\n- &first {source: a, fps: 2}\n- {<<: *first, source: b}\n- *first\n"
    assert [(camera.source, camera.fps) for camera in _parse(text).cameras] == [("a", 2), ("b", 2), ("a", 2)]


def test_a_wrong_type_says_what_is_allowed_in_plain_words():
    """No Python type names."""
    assert _mistake("mqtt:\n  port: soon\n") == "c.yaml:2: mqtt.port: expected a whole number, got text."


def test_a_value_that_cannot_work_says_why():
    """The checks of the settings themselves speak through."""
    assert "99999 is not a TCP port" in _mistake("mqtt: {port: 99999}")
    assert "do not cross a network in the clear" in _mistake("mqtt: {host: far.example}")


@pytest.mark.parametrize("text", ["mqtt: [", "a: b: c", "\tx: 1"])
def test_what_is_not_yaml_names_its_line(text: str):
    """A parse error is one sentence."""
    assert "this is not valid YAML" in _mistake(text)


@pytest.mark.parametrize("text", ["- a", "hello", "3"])
def test_a_config_that_is_no_group_of_keys_is_refused(text: str):
    """A list or a word is no config."""
    assert "must be a group of keys" in _mistake(text)


def test_the_environment_overrides_the_file_at_any_depth():
    """Groups are made on the way, list entries are reached by number."""
    settings = _parse(
        "cameras: [{source: a}]\nmqtt: {port: 1}\n",
        COUNTLINE__MQTT__PORT="1884",
        COUNTLINE__MQTT__USERNAME="u",
        COUNTLINE__CAMERAS__0__SOURCE="rtsp://x",
        OTHER="ignored",
    )
    assert (settings.mqtt.port, settings.mqtt.username, settings.cameras[0].source) == (1884, "u", "rtsp://x")


def test_a_mistake_in_the_environment_names_the_variable():
    """The reader looks in the right place."""
    assert _mistake("", COUNTLINE__MQTT__PROT="1").startswith(
        "The environment variable COUNTLINE__MQTT__PROT: mqtt.prot:"
    )
    assert "points at nothing" in _mistake("cameras: [{source: a}]", COUNTLINE__CAMERAS__7__SOURCE="b")
    assert "points at nothing" in _mistake("name: x", COUNTLINE__NAME__DEEPER__STILL="b")


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path):
    """Missing, a folder, or not text."""
    with pytest.raises(UsageError, match="Cannot read the config"):
        config.load(tmp_path / "none.yaml", _Settings, {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        config.load(tmp_path / "binary.yaml", _Settings, {})


def test_a_file_is_loaded(tmp_path: Path):
    """The usual case."""
    (tmp_path / "c.yaml").write_text("name: hello\n", encoding="utf-8")
    assert config.load(tmp_path / "c.yaml", _Settings, {}).name == "hello"


def test_the_schema_is_a_json_schema_with_documentation():
    """An editor can use it."""
    schema = config.schema(_Settings)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "How to reach the MQTT broker" in schema["$defs"]["MqttSettings"]["description"]


@pytest.mark.parametrize(
    ("host", "expected"), [("localhost", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False)]
)
def test_loopback_is_recognised(host: str, expected: bool):
    """Only this machine's own addresses count."""
    assert config.is_loopback(host) is expected
