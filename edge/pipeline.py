"""From a frame to events: the only place that knows the order of the steps. Pure: the detector is a callable."""

from dataclasses import dataclass, field

import numpy as np

from countline.events import CameraConfigured, LineTotals
from edge.arrays import Detections, Tracks
from edge.count.doubts import Doubts
from edge.count.line import DEAD_BAND
from edge.count.measuring import Measuring
from edge.count.rules import Moment, Rules
from edge.frames import Detect, Frame
from edge.track.tracker import Tracker, TrackerSettings

# More boxes at once than people fit into a picture, and than there may be tracks: the surest are taken.
MAX_BOXES = 512
# Pixels. No picture is so large; sums and squares of such numbers are still exact enough to compare.
_FARTHEST_PX = 1e6


@dataclass(frozen=True)
class CameraPlan:
    """What one camera counts.

    Attributes:
        configured: Lines and zones in pixels of its picture: the event that says so to everybody else.
        class_names: By class id.
        totals: Per line, where to go on counting from after a restart.
        measuring: Gates, speeds and what else is wanted.
    """

    configured: CameraConfigured
    class_names: tuple[str, ...]
    totals: dict[str, LineTotals] | None = None
    measuring: Measuring = field(default_factory=Measuring)


class Pipeline:
    """Counts one camera. Feed it frames in order of time."""

    def __init__(
        self,
        plan: CameraPlan,
        detect: Detect | None = None,
        tracker: TrackerSettings | None = None,
        *,
        dead_band: float = DEAD_BAND,
    ) -> None:
        """Take what to count, how to track, how to detect if it is fed frames, and how wide a line is in box heights."""
        self._detect = detect
        self._tracker = Tracker(tracker)
        configured = plan.configured
        self._rules = Rules(
            configured.lines,
            configured.zones,
            plan.class_names,
            plan.totals,
            plan.measuring,
            dead_band=dead_band,
        )
        self._doubts = Doubts(configured.lines, configured.width, configured.height)
        self._n_classes = len(plan.class_names)
        self._at_ms = 0
        self._left_out = 0
        self.tracks: Tracks | None = None

    def feed(self, frame: Frame) -> list[Moment]:
        """Detect on one frame and count it; see `count`."""
        assert self._detect is not None
        return self.count(self._detect(frame), frame.captured_at_ms)

    def count(self, detections: Detections, captured_at_ms: int) -> list[Moment]:
        """Count what was seen on one frame; return what it decides, in order of time, none of it later than the frame.

        What happened is decided a third of a second later (`edge.track.smooth`), and a crossing only when the object
        is clear of the line.

        A frame whose clock has stepped back is taken as captured with the one before. Boxes that are none are left out.
        """
        self._at_ms = max(captured_at_ms, self._at_ms)
        good = usable(detections, self._n_classes)
        self._left_out += len(detections) - len(good)
        self.tracks = self._tracker.feed(good, self._at_ms)
        return self._rules.feed(self.tracks, self._at_ms) + self._doubts.feed(self.tracks, self._at_ms)

    @property
    def has_tracks(self) -> bool:
        """Whether any track lives, confirmed or not."""
        return self.tracks is not None and len(self.tracks) > 0

    @property
    def left_out(self) -> int:
        """How many boxes were none, or one too many; see `usable`."""
        return self._left_out

    def finish(self) -> list[Moment]:
        """Settle what was seen, because no frame will come any more; return what that decides."""
        # Tracks that end because nothing is seen any more say nothing about lines.
        return self._rules.finish(self._tracker.finish(), self._at_ms)

    def nudged(self, *, is_nudged: bool) -> list[Moment]:
        """Take note whether the camera looks elsewhere than its lines were drawn for; return what there is to say of them."""
        return self._doubts.moved(self._at_ms, is_nudged=is_nudged)

    def totals(self) -> dict[str, LineTotals]:
        """Return the cumulative crossings per line."""
        return self._rules.totals()


def usable(detections: Detections, n_classes: int) -> Detections:
    """Return what can be counted of a frame: boxes of finite numbers with an area, of a known class, the surest if too many.

    A model in half precision may return NaN, and a damaged file anything: one bad box must not spoil a good frame.

    Args:
        detections: What a detector returned.
        n_classes: Class ids are below this.
    """
    xyxy, score, class_id = detections.xyxy, detections.score, detections.class_id
    # Comparisons with NaN are false, so that these keep neither NaN nor infinity.
    good = (
        (np.abs(xyxy) <= _FARTHEST_PX).all(axis=1)
        & (xyxy[:, 0] < xyxy[:, 2])
        & (xyxy[:, 1] < xyxy[:, 3])
        & (score >= 0)
        & (score <= 1)
        & (class_id >= 0)
        & (class_id < n_classes)
    )
    if len(good) <= MAX_BOXES and good.all():
        return detections
    rows = np.flatnonzero(good)
    if len(rows) > MAX_BOXES:
        rows = np.sort(rows[np.argsort(-score[rows], kind="stable")[:MAX_BOXES]])
    return Detections(xyxy[rows], score[rows], class_id[rows])
