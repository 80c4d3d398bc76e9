"""Keeps book of when a camera was watched, so that zero can be told from blind.

Heartbeats of one camera touch and never overlap: each begins where the one before ended. Blind time is booked from
the last frame on, once the shell says that there is no picture, and ends with the next frame. A frame that can't be
counted on (`edge.evidence.camera_health`) is counted all the same, and the time up to it is blind.
"""

from countline.events import CameraState, Heartbeat
from edge.count.rules import Moment

# Shown to people; the contract allows no more.
MAX_REASON = 300


class Heartbeats:
    """The heartbeats of one camera. Time is an argument, UTC epoch ms."""

    def __init__(self, started_at_ms: int, heartbeat_ms: int = 1_000) -> None:
        """Begin to watch.

        Args:
            started_at_ms: From here on the camera is watched, or blind.
            heartbeat_ms: How often to say so.
        """
        self._heartbeat_ms = heartbeat_ms
        self._since_ms = started_at_ms
        self._seen_ms = started_at_ms
        self._blind_since_ms: int | None = None
        self._reason = ""
        self._note = ""
        self._blind_ms = 0
        self._frames = 0
        self._dropped = 0
        self._latency_sum_ms = 0.0

    def saw(
        self,
        captured_at_ms: int,
        *,
        dropped: int = 0,
        blind_ms: int = 0,
        latency_ms: float = 0.0,
        doubt: str = "",
        note: str = "",
    ) -> list[Moment]:
        """Take note that one frame is counted and its events are on their way.

        Args:
            captured_at_ms: Of the frame.
            dropped: Frames that were left out before it.
            blind_ms: Time without a picture that the source has measured before it.
            latency_ms: From capture to now.
            doubt: Why the picture can't be counted on, by its own evidence; empty if it can.
            note: What a person should know though the camera is watched: that frames are left out, and why.

        Returns:
            A heartbeat up to this frame, if one is due.
        """
        at_ms = max(captured_at_ms, self._seen_ms)
        if self._blind_since_ms is not None:
            self._blind_ms += at_ms - self._blind_since_ms
            self._blind_since_ms = None
            self._reason = ""
        elif doubt:
            self._blind_ms += at_ms - self._seen_ms
        else:
            self._blind_ms += min(blind_ms, at_ms - self._seen_ms)
        self._seen_ms = at_ms
        if doubt:
            self._blind_since_ms, self._reason = at_ms, doubt
        self._note = note
        self._frames += 1
        self._dropped += dropped
        self._latency_sum_ms += max(0.0, latency_ms)
        return self._beat() if at_ms - self._since_ms >= self._heartbeat_ms else []

    def blind(self, now_ms: int, reason: str) -> list[Moment]:
        """Take note that there is no picture now, and why.

        Returns:
            A heartbeat up to now that tells the blind time, if one is due.
        """
        now_ms = max(now_ms, self._seen_ms)
        if self._blind_since_ms is None:
            self._blind_since_ms = self._seen_ms
        self._blind_ms += now_ms - self._blind_since_ms
        self._blind_since_ms = self._seen_ms = now_ms
        self._reason = reason
        return self._beat() if now_ms - self._since_ms >= self._heartbeat_ms else []

    def close(self) -> list[Moment]:
        """Return the heartbeat up to the last frame or blind moment, if the span since the last one is not empty."""
        return self._beat() if self._seen_ms > self._since_ms else []

    def _beat(self) -> list[Moment]:
        heartbeat = Heartbeat(
            since_ms=self._since_ms,
            blind_ms=min(self._blind_ms, self._seen_ms - self._since_ms),
            frames=self._frames,
            dropped=self._dropped,
            latency_ms=round(self._latency_sum_ms / self._frames, 1) if self._frames else 0.0,
            state=CameraState.OK if self._blind_since_ms is None else CameraState.BLIND,
            reason=(self._reason or self._note)[:MAX_REASON],
        )
        self._since_ms = self._seen_ms
        self._blind_ms = self._frames = self._dropped = 0
        self._latency_sum_ms = 0.0
        return [(self._seen_ms, heartbeat)]
