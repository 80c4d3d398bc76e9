# ruff: noqa: TID251 - a script that runs before anything is installed
"""Make `.venv` and fill it with the pinned packages. Needs nothing but Python 3.11 or newer and a network.

    python3 tools/bootstrap.py all     what Countline runs with
    python3 tools/bootstrap.py test    and what its tests need
    python3 tools/bootstrap.py lint    and the linters

Each set contains the one before, so a `.venv` made for the tests also serves `make demo`. Every package is pinned
with its hash in `requirements/`. When nothing has changed since the last run it says nothing and ends at once.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
import venv
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "countline-stamp.json"
SETS = ("all", "test", "lint")
NEEDS = (3, 11)


def main() -> int:
    """Bring `.venv` to the set named on the command line; return the exit code."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else "all"
    if wanted not in SETS:
        return fail(f"unknown set {wanted!r}: use one of {', '.join(SETS)}")
    if sys.version_info < NEEDS:
        return fail(
            f"Python {sys.version.split()[0]} is too old: Countline needs 3.11 or newer (make PYTHON=python3.12)"
        )
    if is_current(wanted):
        return 0
    with only_one():
        # Another terminal may have done it while this one waited.
        return 0 if is_current(wanted) else install(wanted)


def install(wanted: str) -> int:
    """Make `.venv` and install `wanted` into it."""
    started_s = time.monotonic()
    installed = read_stamp().get("set", "all")
    chosen = max(wanted, installed, key=SETS.index)
    if not is_usable():
        say(f"making .venv with Python {sys.version.split()[0]}")
        has_own_pip = not can_lend_pip()
        if has_own_pip and not can_make_pip():
            return fail(
                "this Python cannot make a virtual environment: install its venv package "
                "(on Debian or Ubuntu: apt-get install python3-venv) or name another one (make PYTHON=/path/to/python3)"
            )
        venv.EnvBuilder(with_pip=has_own_pip, clear=True, symlinks=True).create(VENV)
    STAMP.unlink(missing_ok=True)
    lock = ROOT / "requirements" / f"{chosen}.txt"
    count = sum("==" in line and not line.startswith(" ") for line in lock.read_text("utf-8").splitlines())
    python = str(VENV / "bin" / "python")
    say("installing uv, the package installer, at its pinned version")
    # The machine's own pip, if it has one: making one for .venv only to fetch another installer takes seconds.
    pip = [sys.executable, "-m", "pip", "--python", python] if can_lend_pip() else [python, "-m", "pip"]
    options = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    if run([*pip, *options, "-r", str(ROOT / "requirements" / "uv.txt")]):
        return fail("pip could not install uv; the lines above say why. Is there a network?")
    say(f"installing {count} pinned packages from requirements/{lock.name} (each checked against its hash)")
    uv = [python, "-m", "uv", "pip"]
    if run([*uv, "sync", "--python", python, "--require-hashes", str(lock)]):
        return fail(
            "the packages could not be installed; the lines above say why. Run the same command again to go on."
        )
    # The build needs nothing from outside: its backend is among the packages just installed.
    editable = [
        "install",
        "--quiet",
        "--python",
        python,
        "--no-deps",
        "--no-build-isolation",
        "--editable",
        str(ROOT),
    ]
    if run([*uv, *editable]):
        return fail("countline itself could not be installed; the lines above say why.")
    STAMP.write_text(json.dumps({"set": chosen, "digest": digest(chosen)}), encoding="utf-8")
    say(f"ready after {time.monotonic() - started_s:.0f} s")
    return 0


def can_lend_pip() -> bool:
    """Say whether the Python that runs this has a pip that can install into another environment (22.3 can)."""
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= (22, 3)


def can_make_pip() -> bool:
    """Say whether this Python can put a pip into a new environment; Debian ships it without."""
    return importlib.util.find_spec("ensurepip") is not None


def is_current(wanted: str) -> bool:
    """Say whether `.venv` already holds `wanted`, at the versions that are pinned now."""
    stamp = read_stamp()
    has = stamp.get("set")
    return has in SETS and SETS.index(has) >= SETS.index(wanted) and stamp.get("digest") == digest(has)


def read_stamp() -> dict[str, str]:
    """Return what the last complete run wrote, or nothing."""
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def is_usable() -> bool:
    """Say whether a complete `.venv` of this Python is there, to be brought up to date."""
    config = VENV / "pyvenv.cfg"
    if not (read_stamp() and config.exists() and (VENV / "bin" / "python").exists()):
        return False
    version = ".".join(map(str, sys.version_info[:3]))
    return f"version = {version}" in config.read_text(encoding="utf-8").splitlines()


def digest(name: str) -> str:
    """Return a fingerprint of all that decides what `.venv` holds."""
    seen = hashlib.sha256(f"{sys.version_info[:3]} {ROOT}".encode())
    for path in ("requirements/uv.txt", f"requirements/{name}.txt", "pyproject.toml", "tools/bootstrap.py"):
        seen.update((ROOT / path).read_bytes())
    return seen.hexdigest()


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Let one terminal at a time change `.venv`; the others wait."""
    folder = ROOT / ".cache"
    folder.mkdir(exist_ok=True)
    with (folder / "bootstrap.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another terminal is setting up .venv; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(command: list[str]) -> int:
    """Run a command on this terminal and return its exit code."""
    # A virtual environment that happens to be active must not draw the packages to itself.
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    }
    # Both installers would rather hard-link from their cache; across file systems they copy, and need not say so.
    environment.setdefault("UV_LINK_MODE", "copy" if is_other_file_system() else "hardlink")
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode


def is_other_file_system() -> bool:
    """Say whether uv's cache and `.venv` lie on different file systems."""
    home = pathlib.Path(
        os.environ.get("UV_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home()
    )
    return not home.exists() or home.stat().st_dev != ROOT.stat().st_dev


def say(sentence: str) -> None:
    """Tell the person at the terminal."""
    print(f"setup: {sentence}", file=sys.stderr, flush=True)


def fail(sentence: str) -> int:
    """Tell what went wrong, and return the exit code that says so."""
    print(f"error: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
