"""A frame, and what every source of frames can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Detections

Image = NDArray[np.uint8]
"""uint8, shape (H, W, 3), BGR."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera. It never leaves the process, and is never logged.

    Attributes:
        index: Position in the source since it was opened, from 0.
        captured_at_ms: UTC epoch milliseconds; of a recording that is not played in real time, its start plus the
            frame's time in it.
        image: The picture, or None for a source of detections.
        detections: What a recorded detector saw, for a source of detections; else None.
        dropped: Frames between the one before and this one that a live source left out.
        blind_ms: How long there was no picture before this one, beyond the usual distance of two frames.
        is_still: Nothing moves in it, so nobody was looked for: its `detections` are empty, and prove nothing.
        doubt: Why the picture can't be counted on, by its own evidence; empty if it can.
    """

    index: int
    captured_at_ms: int
    image: Image | None
    detections: Detections | None = None
    dropped: int = 0
    blind_ms: int = 0
    is_still: bool = False
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame.

    Attributes:
        width: Of its pictures, pixels.
        height: Of its pictures, pixels.
        fps: Nominal frames per second; 0 if unknown.
        frame_count: Of a recording; None of a live source.
        counts_exactly: False if `frame_count` is an estimate, from a video's length and rate.
        class_names: Of recorded detections, by class id; empty if a detector has to say.
    """

    width: int
    height: int
    fps: float
    frame_count: int | None = None
    class_names: tuple[str, ...] = ()
    counts_exactly: bool = True


class FrameSource(Protocol):
    """A camera, or something that plays one."""

    @property
    def info(self) -> SourceInfo:
        """What is known of the source. Available once `open` has returned."""
        ...

    def open(self) -> SourceInfo:
        """Open it.

        Raises:
            UsageError: A person has to mend something: the file is missing or is no video.
            Unavailable: It may come back by itself: a camera that does not answer.
        """
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame; of a live source the newest, once.

        Returns:
            None if no frame came within `timeout_s`, or at the end of a recording (see `is_finished`).

        Raises:
            Unavailable: The source is gone. It reconnects by itself; go on reading.
        """
        ...

    @property
    def is_finished(self) -> bool:
        """True once a recording has come to its end."""
        ...

    def close(self) -> None:
        """Let the source go. It can't be opened again."""
        ...


Detect = Callable[[Frame], Detections]
"""What the pipeline needs of a detector."""
