"""From a frame to events: the only place that knows the order of the steps. Pure: the detector is a callable."""

from dataclasses import dataclass

from countline.events import CameraConfigured, LineTotals
from edge.arrays import Tracks
from edge.count.rules import Moment, Rules
from edge.frames import Detect, Frame
from edge.track.tracker import Tracker, TrackerSettings


@dataclass(frozen=True)
class CameraPlan:
    """What one camera counts.

    Attributes:
        configured: Lines and zones in pixels of its picture: the event that says so to everybody else.
        class_names: By class id.
        totals: Per line, where to go on counting from after a restart.
    """

    configured: CameraConfigured
    class_names: tuple[str, ...]
    totals: dict[str, LineTotals] | None = None


class Pipeline:
    """Counts one camera. Feed it frames in order of time."""

    def __init__(self, plan: CameraPlan, detect: Detect, tracker: TrackerSettings | None = None) -> None:
        """Take what to count, how to detect and how to track."""
        self._detect = detect
        self._tracker = Tracker(tracker)
        self._rules = Rules(plan.configured.lines, plan.configured.zones, plan.class_names, plan.totals)
        self._at_ms = 0
        self.tracks: Tracks | None = None

    def feed(self, frame: Frame) -> list[Moment]:
        """Count one frame; return what it decides, in order of time, none of it later than the frame.

        What happened is decided a quarter of a second later (`edge.track.smooth`), and a crossing only when the object
        is clear of the line.

        A frame whose clock has stepped back is taken as captured with the one before.
        """
        self._at_ms = max(frame.captured_at_ms, self._at_ms)
        self.tracks = self._tracker.feed(self._detect(frame), self._at_ms)
        return self._rules.feed(self.tracks, self._at_ms)

    def finish(self) -> list[Moment]:
        """Settle what was seen, because no frame will come any more; return what that decides."""
        return self._rules.feed(self._tracker.finish(), self._at_ms)

    def totals(self) -> dict[str, LineTotals]:
        """Return the cumulative crossings per line."""
        return self._rules.totals()
