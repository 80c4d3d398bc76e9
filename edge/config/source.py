"""What a camera's `source` may be."""

import difflib
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

LIVE_KINDS = frozenset({"stream", "usb", "gstreamer"})
"""Kinds of sources that are cameras: they have no end, and their pictures are gone when nobody looks."""
DETLOG = "detlog:"
_MOT = "mot:"
_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

if TYPE_CHECKING:
    Source = str
else:
    # In YAML a USB camera's number is a number. It is text from `CameraSettings.__post_init__` on, so code reads text.
    Source = str | Annotated[int, Meta(ge=0)]


def source_kind(source: str) -> str:
    """Return "video", "stream", "usb", "gstreamer", "folder", "synthetic" or "detections" for a camera's source."""
    if source.startswith("synthetic:"):
        return "synthetic"
    if source.startswith((_MOT, DETLOG)):
        return "detections"
    if source.startswith(("csi:", "gst:")):
        return "gstreamer"
    if _scheme(source) in _SCHEMES:
        return "stream"
    if source.isdigit() or source.startswith("/dev/"):
        return "usb"
    return "folder" if not PurePath(source).suffix or source.endswith("/") else "video"


def source_path(source: str) -> str:
    """Return the file or folder that a source of recorded pictures or detections names."""
    return source.removeprefix(_MOT).removeprefix(DETLOG)


def check_scheme(source: str) -> None:
    """Raise ValueError if a source is an address of a kind that nothing here can reach."""
    scheme = _scheme(source)
    if scheme and scheme not in _SCHEMES:
        near = difflib.get_close_matches(scheme, _SCHEMES, n=1)
        hint = f"did you mean {near[0]}://? " if near else ""
        known = ", ".join(f"{one}://" for one in _SCHEMES)
        raise ValueError(
            f"the source begins with {scheme}://, which is no kind of address here: {hint}There are {known}"
        )


def _scheme(source: str) -> str:
    found = _SCHEME.match(source)
    return found[1].lower() if found else ""
