"""Whose turn it is at a detector that several cameras share, and which pictures each may bring.

Who has waited longest is next. A camera has one place in the queue, so nobody is passed over more often than there
are others, however fast their cameras are.

If all pictures together are more than the machine can look at, each camera leaves some out, evenly: the gaps between
those that are taken differ by one picture at most. Cameras that bring few keep them all, and what they leave over is
shared by the rest (max-min fairness)::

    room for 20 a second     A brings 5   -> 5      all
                             B brings 15  -> 7.5    every second
                             C brings 30  -> 7.5    every fourth
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


def next_turns(waiting_since: Mapping[str, float], most: int = 1) -> list[str]:
    """Return which cameras' pictures are looked at next, who has waited longest first.

    Args:
        waiting_since: Per camera that has a picture waiting, since when it has been its turn to wait, in any unit.
        most: How many are looked at together.
    """
    return sorted(waiting_since, key=lambda camera: waiting_since[camera])[:most]


def is_taken(index: int, share: float) -> bool:
    """Say whether a picture belongs to the even selection of a share of all.

    Args:
        index: Its number, from 0.
        share: More than 0, at most 1.
    """
    return math.floor((index + 1) * share + 1e-9) > math.floor(index * share + 1e-9)


def fair_shares(wanted_fps: Mapping[str, float], room_fps: float) -> dict[str, float]:
    """Return which share of its pictures each camera may bring, so that all fit.

    Args:
        wanted_fps: Pictures per second that each camera brings, 0 or more.
        room_fps: Pictures per second that can be looked at, more than 0.
    """
    left_fps, shares = room_fps, dict.fromkeys(wanted_fps, 1.0)
    poorest_first = sorted(wanted_fps, key=lambda camera: wanted_fps[camera])
    for place, camera in enumerate(poorest_first):
        fair_fps = left_fps / (len(poorest_first) - place)
        wanted = wanted_fps[camera]
        if wanted > fair_fps:
            shares[camera] = fair_fps / wanted
        left_fps -= wanted * shares[camera]
    return shares


@dataclass(frozen=True, slots=True)
class PaceSettings:
    """When a machine is too slow, and when no longer.

    Attributes:
        too_much: Share of the time that the detector would be busy with all that is brought, from which on pictures
            are left out.
        fit_into: The share that is aimed at then.
        room_below: Below this share more pictures are taken again.
        tighten_after_s: So long it has to be too much.
        relax_after_s: So long there has to be room.
    """

    too_much: float = 1.0
    fit_into: float = 0.9
    room_below: float = 0.75
    tighten_after_s: float = 2.0
    relax_after_s: float = 10.0


class Governor:
    """Finds the rate that a machine keeps up with, and does not swing. Time is an argument, seconds of any clock."""

    def __init__(self, settings: PaceSettings | None = None) -> None:
        """Begin with every picture."""
        self._settings = settings or PaceSettings()
        self._shares: dict[str, float] = {}
        self._too_much_since_s: float | None = None
        self._room_since_s: float | None = None

    def share(self, camera: str) -> float:
        """Return which share of a camera's pictures is taken."""
        return self._shares.get(camera, 1.0)

    def judge(self, now_s: float, wanted_fps: Mapping[str, float], service_s: float) -> bool:
        """Take note of how the machine does; return whether shares have changed.

        Args:
            now_s: When.
            wanted_fps: Per camera the pictures per second that it brings, those that are left out included.
            service_s: How long the detector takes for one, more than 0.
        """
        settings = self._settings
        busy = service_s * sum(fps * self.share(camera) for camera, fps in wanted_fps.items())
        is_thinned = any(self.share(camera) < 1.0 for camera in wanted_fps)
        self._too_much_since_s = _since(self._too_much_since_s, now_s, busy > settings.too_much)
        self._room_since_s = _since(self._room_since_s, now_s, is_thinned and busy < settings.room_below)
        if _has_lasted(self._too_much_since_s, now_s, settings.tighten_after_s) or _has_lasted(
            self._room_since_s, now_s, settings.relax_after_s
        ):
            self._too_much_since_s = self._room_since_s = None
            self._shares = fair_shares(wanted_fps, settings.fit_into / service_s)
            return True
        return False


def _since(since_s: float | None, now_s: float, is_so: bool) -> float | None:  # noqa: FBT001
    return None if not is_so else now_s if since_s is None else since_s


def _has_lasted(since_s: float | None, now_s: float, least_s: float) -> bool:
    return since_s is not None and now_s - since_s >= least_s
