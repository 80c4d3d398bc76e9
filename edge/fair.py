"""Whose turn it is at a detector that several cameras share, and how many pictures each may bring.

Who has waited longest is next. A camera has one place in the queue, so nobody is passed over more often than there
are others, however fast their cameras are.

If all pictures together are more than the machine can look at, each camera leaves out evenly: every second picture,
every third. Cameras that bring few keep them all, and what they leave over is shared by the rest (max-min fairness)::

    room for 20 a second     A brings 5   -> 5
                             B brings 15  -> 7.5, every 2nd
                             C brings 30  -> 7.5, every 4th
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Nobody is asked to leave out more; then the newest picture is taken whenever the detector is free.
MAX_STRIDE = 1_000


def next_turns(waiting_since: Mapping[str, float], most: int = 1) -> list[str]:
    """Return which cameras' pictures are looked at next, who has waited longest first.

    Args:
        waiting_since: Per camera that has a picture waiting, since when it has been its turn to wait, in any unit.
        most: How many are looked at together.
    """
    return sorted(waiting_since, key=lambda camera: waiting_since[camera])[:most]


def fair_strides(wanted_fps: Mapping[str, float], room_fps: float) -> dict[str, int]:
    """Return of how many pictures each camera may bring one, so that all fit.

    Args:
        wanted_fps: Pictures per second that each camera brings, 0 or more.
        room_fps: Pictures per second that can be looked at, more than 0.
    """
    left_fps, strides = room_fps, dict.fromkeys(wanted_fps, 1)
    poorest_first = sorted(wanted_fps, key=lambda camera: wanted_fps[camera])
    for place, camera in enumerate(poorest_first):
        share_fps = left_fps / (len(poorest_first) - place)
        wanted = wanted_fps[camera]
        # A hair more than fits is no reason to halve the rate.
        strides[camera] = min(MAX_STRIDE, max(1, math.ceil(wanted / share_fps - 1e-6)))
        left_fps = max(left_fps - min(wanted, share_fps), 1e-9)
    return strides


@dataclass(frozen=True, slots=True)
class PaceSettings:
    """When a machine is too slow, and when no longer.

    Attributes:
        too_much: Share of the time that the detector would be busy with all that is brought, from which on pictures
            are left out.
        fit_into: The share that is aimed at when pictures are left out.
        relax_below: More pictures are taken again once those would keep it busy for no more than this share.
        tighten_after_s: So long it has to be too much.
        relax_after_s: So long there has to be room again.
    """

    too_much: float = 1.0
    fit_into: float = 0.92
    relax_below: float = 0.75
    tighten_after_s: float = 2.0
    relax_after_s: float = 10.0


class Governor:
    """Finds the rate that a machine keeps up with, and does not swing. Time is an argument, seconds of any clock."""

    def __init__(self, settings: PaceSettings | None = None) -> None:
        """Begin with every picture."""
        self._settings = settings or PaceSettings()
        self._strides: dict[str, int] = {}
        self._too_much_since_s: float | None = None
        self._room_since_s: float | None = None

    def stride(self, camera: str) -> int:
        """Return of how many pictures of a camera one is taken."""
        return self._strides.get(camera, 1)

    def judge(self, now_s: float, wanted_fps: Mapping[str, float], service_s: float) -> bool:
        """Take note of how the machine does; return whether a stride has changed.

        Args:
            now_s: When.
            wanted_fps: Per camera the pictures per second that it brings, those that are left out included.
            service_s: How long the detector takes for one, more than 0.
        """
        settings = self._settings
        busy = service_s * sum(fps / self.stride(camera) for camera, fps in wanted_fps.items())
        if busy > settings.too_much:
            self._room_since_s = None
            if self._too_much_since_s is None:
                self._too_much_since_s = now_s
            if now_s - self._too_much_since_s < settings.tighten_after_s:
                return False
            return self._adopt(fair_strides(wanted_fps, settings.fit_into / service_s))
        self._too_much_since_s = None
        roomy = fair_strides(wanted_fps, settings.relax_below / service_s)
        # Cameras are relaxed together: one that gained while another lost would swing.
        roomy = {camera: min(stride, self.stride(camera)) for camera, stride in roomy.items()}
        if all(stride == self.stride(camera) for camera, stride in roomy.items()):
            self._room_since_s = None
            return False
        if self._room_since_s is None:
            self._room_since_s = now_s
        return now_s - self._room_since_s >= settings.relax_after_s and self._adopt(roomy)

    def _adopt(self, strides: dict[str, int]) -> bool:
        self._too_much_since_s = self._room_since_s = None
        has_changed = any(stride != self.stride(camera) for camera, stride in strides.items())
        self._strides = strides
        return has_changed
