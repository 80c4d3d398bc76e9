"""Struct-of-arrays values of the frame loop. Shapes are checked once, here."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
"""float32, shape (N, 4): x1, y1, x2, y2 in pixels of the source frame, x to the right, y down, x1 < x2, y1 < y2."""
Scores = NDArray[np.float32]
"""float32, shape (N,): confidence, 0 to 1."""
ClassIds = NDArray[np.int16]
"""int16, shape (N,): index into the detector's class names."""
TrackIds = NDArray[np.int64]
"""int64, shape (N,): from 1, never reused within a tracker."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector saw in one frame, in no particular order.

    Attributes:
        xyxy: Boxes, shape (N, 4).
        score: Confidence, shape (N,).
        class_id: Class index, shape (N,).
    """

    xyxy: Boxes
    score: Scores
    class_id: ClassIds

    def __post_init__(self) -> None:
        """Check the shapes."""
        n = len(self.xyxy)
        assert self.xyxy.shape == (n, 4), f"xyxy has shape {self.xyxy.shape}"
        assert self.score.shape == (n,), f"score has shape {self.score.shape}"
        assert self.class_id.shape == (n,), f"class_id has shape {self.class_id.shape}"

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> "Detections":
        """Return no detections."""
        return cls(
            np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int16)
        )


@dataclass(frozen=True, slots=True)
class Spots:
    """Where objects stood, settled: nothing that comes later changes it. This is what is counted.

    Only of confirmed tracks: what was seen of one before it was confirmed comes with the frame that confirms it. Ordered
    by time; of one track all times differ.

    Attributes:
        track_id: shape (N,).
        at_ms: When, UTC epoch ms, int64, shape (N,): a fraction of a second before the frame that settled it, or more.
        xy: Middle of the lower edge, pixels, float64, shape (N, 2).
        height_px: Of the box, float64, shape (N,).
        class_id: Class index, by vote so far, shape (N,).
        score: Mean confidence of the track's detections so far, shape (N,).
    """

    track_id: TrackIds
    at_ms: NDArray[np.int64]
    xy: NDArray[np.float64]
    height_px: NDArray[np.float64]
    class_id: ClassIds
    score: Scores

    def __post_init__(self) -> None:
        """Check the shapes."""
        n = len(self.track_id)
        assert self.xy.shape == (n, 2), f"xy has shape {self.xy.shape}"
        assert self.at_ms.shape == self.height_px.shape == self.class_id.shape == self.score.shape == (n,)

    def __len__(self) -> int:
        return len(self.track_id)

    @classmethod
    def empty(cls) -> "Spots":
        """Return no spots."""
        return cls(
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.int64),
            np.zeros((0, 2)),
            np.zeros(0),
            np.zeros(0, dtype=np.int16),
            np.zeros(0, dtype=np.float32),
        )


@dataclass(frozen=True, slots=True)
class Tracks:
    """The living tracks of one frame, and those that have ended since the frame before.

    Attributes:
        xyxy: The tracker's estimate of each box, shape (N, 4).
        score: Confidence of the detection behind it, 0 where it was predicted, shape (N,).
        class_id: Class index, by vote over the track's life, shape (N,).
        track_id: shape (N,).
        seen: True where a detection of this frame supports the track, bool, shape (N,).
        confirmed: True where enough detections say that there is an object; the others may be noise, bool, shape (N,).
        settled: Where objects stood, as far as this frame has settled it: this is what is counted.
        ended: Ids that will not come back, so that whoever keeps state per track can let it go; all their spots are
            settled.
    """

    xyxy: Boxes
    score: Scores
    class_id: ClassIds
    track_id: TrackIds
    seen: NDArray[np.bool_]
    confirmed: NDArray[np.bool_]
    settled: Spots = field(default_factory=Spots.empty)
    ended: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the shapes."""
        n = len(self.xyxy)
        assert self.xyxy.shape == (n, 4), f"xyxy has shape {self.xyxy.shape}"
        assert self.score.shape == self.class_id.shape == self.track_id.shape == (n,)
        assert self.seen.shape == self.confirmed.shape == (n,)

    def __len__(self) -> int:
        return len(self.xyxy)
