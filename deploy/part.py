"""One part of a box as a process of its own: `python -m deploy.part NAME`, its settings as one JSON line on stdin.

It stops when its standard input ends, so it never outlives its supervisor. While it runs it shares the lock of its
data folder, so that the next `countline up` there waits until the last part of an earlier one is gone.
"""

import argparse
import fcntl
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from countline.errors import Unavailable, UsageError
from countline.service import EXIT_USAGE, Stop, read_settings_and_watch
from countline.telemetry import Log, set_up_logging

EXIT_UNAVAILABLE = 1

_log = Log("part")


# -P, and our folder only at the end: an `edge` folder in a person's working directory must not pass for ours.
_LAUNCH = (
    "import runpy, sys; root, module = sys.argv[1:3]; del sys.argv[1:3]; sys.path.append(root); "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def own_process(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs one of our modules in a process of its own, from whatever folder."""
    root = str(Path(__file__).resolve().parent.parent)
    return [sys.executable, "-P", "-c", _LAUNCH, root, module, *arguments]


@dataclass(frozen=True)
class Entry:
    """Where a part begins. Imported only in its own process: the page's server never loads a vision library.

    Attributes:
        module: Holds `function`.
        function: Takes settings and a Stop, and returns when it has drained.
        settings: Module and name of the settings' type.
        extra: What to install for it.
    """

    module: str
    function: str
    settings: tuple[str, str]
    extra: str


PARTS = {
    "broker": Entry("deploy.broker", "run", ("deploy.broker", "BrokerSettings"), "box"),
    "gateway": Entry("gateway.main", "run", ("gateway.config", "GatewaySettings"), "gateway"),
    "worker": Entry("cloud.main", "run_worker", ("cloud.config", "WorkerSettings"), "cloud"),
    "api": Entry("cloud.main", "run_api", ("cloud.config", "ApiSettings"), "cloud"),
    "edge": Entry("edge.main", "run", ("edge.config", "EdgeSettings"), "edge"),
}


def run_part(name: str, settings: Any, stop: Stop) -> None:
    """Run a part until it is asked to stop and has drained.

    Args:
        name: A key of PARTS.
        settings: What its function takes.
        stop: Ends it.

    Raises:
        UsageError: A person has to mend something; a package that it needs is not installed, for one.
        Unavailable: Something outside has gone; starting again may help.
    """
    entry = PARTS[name]
    try:
        with stop.ends_process():
            function = getattr(importlib.import_module(entry.module), entry.function)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"countline", "edge", "gateway", "cloud", "deploy"}:
            raise
        raise UsageError(
            f"The {name} needs the Python package {package}, which is not installed: install countline[{entry.extra}]."
        ) from error
    function(settings, stop)


def guarded(name: str, settings: Any, stop: Stop) -> int:
    """Run a part and return its exit code; what a person or a dependency has to mend becomes one sentence."""
    try:
        run_part(name, settings, stop)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the sentence is for a person
        return EXIT_USAGE
    except Unavailable as error:
        # No traceback: the sentence says it all, and whoever started this part starts it again.
        _log.warning("a dependency is gone", what=error.what)
        return EXIT_UNAVAILABLE
    return 0


def share_lock(path: Path) -> Any:
    """Take the shared lock at `path` until this process ends; keep what it returns."""
    handle = path.open("a")
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def main(arguments: list[str] | None = None) -> int:
    """Be the part that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="countline part")
    parser.add_argument("name", choices=sorted(PARTS))
    parser.add_argument("--lock", type=Path, default=None)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-style", default="auto")
    chosen = parser.parse_args(arguments)
    set_up_logging(chosen.name, chosen.log_level, chosen.log_style)
    stop = Stop()
    line = read_settings_and_watch(stop)
    if not line.strip():
        return 0  # The supervisor was gone before it had said anything.
    module, kind = PARTS[chosen.name].settings
    settings = msgspec.json.decode(line, type=getattr(importlib.import_module(module), kind))
    lock = share_lock(chosen.lock) if chosen.lock else None
    try:
        return guarded(chosen.name, settings, stop)
    finally:
        if lock is not None:
            lock.close()


if __name__ == "__main__":
    sys.exit(main())
