"""How RTSP comes, TCP or UDP, camera by camera, though OpenCV takes it from an environment variable of the whole process."""

import contextlib
import threading
from collections.abc import Iterator

from countline.config import environment, set_environment

_NAME = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


class Transports:
    """Lets cameras of one transport be opened side by side, and those of different ones one after the other.

    OpenCV reads the variable when it begins to open a camera. A camera that does not answer holds up others of another
    transport that want to connect for as long as its opening may take; it holds up none that is read.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._idle = threading.Condition()
        self._opening = 0
        self._own = environment(_NAME)
        self._value = self._own

    @contextlib.contextmanager
    def opening(self, transport: str) -> Iterator[None]:
        """Keep the variable as this camera needs it for as long as it is being opened.

        Args:
            transport: "tcp", "udp", or "auto": what a person has set, or OpenCV's own way, TCP and then UDP.
        """
        value = self._own if transport == "auto" else f"rtsp_transport;{transport}"
        # Who waits for a change keeps the turn, so that those who need none do not slip past for ever.
        with self._turn, self._idle:
            if value != self._value:
                self._idle.wait_for(lambda: self._opening == 0)
                set_environment(_NAME, value)
                self._value = value
            self._opening += 1
        try:
            yield
        finally:
            with self._idle:
                self._opening -= 1
                self._idle.notify_all()


TRANSPORTS = Transports()
"""Of this process, as its environment."""
