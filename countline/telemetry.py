"""Structured logs and counters.

A log line is an event name and fields: text for a person at a terminal, one JSON object a line for a machine.
Fields whose name says that they hold a secret are masked.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

_SECRET = re.compile(r"(?i)password|secret|token|credential|authorization")
_URL_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)


def mask(text: str) -> str:
    """Return `text` without the login of any URL in it, such as a camera's `rtsp://user:password@host`."""
    return _URL_LOGIN.sub(r"\g<scheme>***@", text)


class Log:
    """Writes events with fields through the standard `logging`."""

    def __init__(self, part: str) -> None:
        """Name the part of the program that speaks, such as "gateway.ingest"."""
        self._logger = logging.getLogger(f"countline.{part}")

    def debug(self, event: str, **fields: Any) -> None:
        """Say what only someone who hunts a fault wants to know."""
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: Any) -> None:
        """Say what an operator wants to know."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        """Say what is wrong and will mend itself, or waits for someone to mend it."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: Any) -> None:
        """Say what is broken; the traceback of the exception being handled, if any, goes along."""
        self._logger.error(event, extra={"fields": fields}, exc_info=sys.exc_info()[0] is not None)


class _Formatter(logging.Formatter):
    def __init__(self, process: str, *, as_json: bool) -> None:
        super().__init__()
        self._process = process
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        safe = {key: "***" if _SECRET.search(key) else _plain(value) for key, value in fields.items()}
        text = mask(record.getMessage())
        trace = mask(self.formatException(record.exc_info)) if record.exc_info else ""
        if self._as_json:
            line = {
                "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
                "level": record.levelname.lower(),
                "process": self._process,
                "part": record.name.removeprefix("countline."),
                "event": text,
                **safe,
            }
            return json.dumps(line | ({"trace": trace} if trace else {}), ensure_ascii=False)
        words = " ".join(f"{key}={value}" for key, value in safe.items())
        line = (
            f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {self._process:<8} {text} {words}"
        )
        return f"{line.rstrip()}\n{trace}" if trace else line.rstrip()


def _plain(value: object) -> object:
    return value if isinstance(value, (int, float, bool)) or value is None else mask(str(value))


def set_up_logging(
    process: str, level: str = "info", style: str = "auto", stream: TextIO | None = None
) -> None:
    """Send all logs of this process to `stream`, standard error by default.

    Args:
        process: Its name, such as "edge".
        level: "debug", "info", "warning" or "error".
        style: "json", "text", or "auto": text on a terminal, else JSON.
        stream: Where to write.
    """
    target: TextIO = sys.stderr if stream is None else stream
    as_json = style == "json" or (style == "auto" and not target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(_Formatter(process, as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("countline").setLevel(level.upper())


class Counters:
    """Named totals of one process, such as `events_published_total`. One writer thread per name."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def add(self, name: str, n: float = 1) -> None:
        """Add to a total; its first use makes it."""
        self._values[name] = self._values.get(name, 0) + n

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._values[name] = value

    def snapshot(self) -> dict[str, float]:
        """Return all values by name, sorted."""
        return dict(sorted(self._values.items()))
