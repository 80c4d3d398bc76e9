"""What an agent makes of each picture before anybody is looked for in it: can it be counted on, and is it worth a look."""

from collections import deque
from dataclasses import replace

from countline.telemetry import Log
from edge.arrays import Detections
from edge.capture.glance import glance
from edge.config import EvidenceSettings
from edge.count.rules import Moment
from edge.evidence.camera_health import CameraHealth, HealthSettings
from edge.evidence.motion_gate import MotionGate, MotionSettings
from edge.frames import Frame

# What was noticed and not yet told; more of it would mean that nobody asks.
MAX_UNTOLD = 64

_log = Log("edge.inspector")


class Inspector:
    """Of one camera. `inspect` belongs to the thread that reads, `told` and `has_tracks` to the one that counts."""

    def __init__(self, camera: str, settings: EvidenceSettings) -> None:
        """Take the camera's name, for messages, and what to look for."""
        self._camera = camera
        self._health = CameraHealth(health_settings(settings)) if settings.enabled else None
        self._gate = (
            MotionGate(MotionSettings(detect_every_s=settings.detect_every_s))
            if settings.motion_gate
            else None
        )
        self._untold: deque[Moment] = deque(maxlen=MAX_UNTOLD)
        # Set by the thread that counts. A frame late is soon enough: the gate waits longer before it lets one go.
        self.has_tracks = False
        # Whether the camera looks elsewhere than at first.
        self.is_nudged = False
        self._is_doubted = False

    def inspect(self, frame: Frame) -> Frame:
        """Return the frame with what is thought of its picture. One without a picture, or detected already, is left as it is."""
        if frame.image is None or frame.detections is not None:
            return frame
        gate, health, at_ms = self._gate, self._health, frame.captured_at_ms
        is_due = health is not None and health.is_due(at_ms)
        if gate is None and not is_due:
            return replace(frame, doubt=health.reason) if health is not None and health.reason else frame
        seen = glance(frame.image)
        if health is not None:
            self._untold += [(at_ms, event) for event in health.feed(seen, at_ms)]
            self._log_changes(health)
            if health.reason:
                frame = replace(frame, doubt=health.reason)
        if gate is not None and not gate.feed(seen.grey, at_ms, has_tracks=self.has_tracks):
            return replace(frame, detections=Detections.empty(), is_still=True)
        return frame

    def _log_changes(self, health: CameraHealth) -> None:
        if bool(health.reason) != self._is_doubted:
            self._is_doubted = bool(health.reason)
            if self._is_doubted:
                _log.warning("the picture can't be counted on", camera=self._camera, reason=health.reason)
            else:
                _log.info("the picture can be counted on again", camera=self._camera)
        if health.is_nudged and not self.is_nudged:
            _log.warning(
                "the camera looks elsewhere than when it was started: its lines may be wrong; put it back, or draw "
                "them anew and restart it",
                camera=self._camera,
            )
        self.is_nudged = health.is_nudged

    def told(self) -> list[Moment]:
        """Return what was noticed since the last call: `Drift` events."""
        moments: list[Moment] = []
        while self._untold:
            moments.append(self._untold.popleft())
        return moments


def health_settings(settings: EvidenceSettings) -> HealthSettings:
    """Return how long evidence must last, from what a person has set."""
    return HealthSettings(
        frozen_s=settings.frozen_s,
        unusable_s=settings.unusable_s,
        moved_s=settings.moved_s,
        settle_s=settings.settle_s,
    )
