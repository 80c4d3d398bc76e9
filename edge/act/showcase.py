"""What a device shows to others on its broker: live counts, and what Home Assistant needs to find them. Pure."""

import json

from edge.act.board import Board, LiveTopics
from edge.act.home_assistant import discovery
from edge.act.world import World
from edge.config import EdgeSettings
from edge.config.local import Places
from edge.count.counters import Counters, Tally


class Showcase:
    """The retained messages of one device. `board` holds back live counts that come too often; `fixed` never changes."""

    def __init__(self, settings: EdgeSettings, places: Places) -> None:
        """Take what there is to show."""
        self._places = places
        self._live = LiveTopics(settings.site, settings.device)
        # Home Assistant shows what is live.
        self._is_live = settings.live.enabled or settings.home_assistant.enabled
        self.board = Board(round(1000 / settings.live.max_per_s))
        self.fixed: dict[str, bytes] = {}
        if settings.home_assistant.enabled:
            self.fixed = discovery(settings.home_assistant.prefix, self._live, places)

    def topics(self) -> set[str]:
        """Return all topics that hold a retained message of this device, its presence and its events aside."""
        if not self._is_live:
            return set(self.fixed)
        lines = {
            self._live.line(camera, line) for camera, names in self._places.lines.items() for line in names
        }
        zones = {
            self._live.zone(camera, zone) for camera, names in self._places.zones.items() for zone in names
        }
        cameras = {self._live.camera(camera) for camera in self._places.lines}
        return {*self.fixed, *lines, *zones, *cameras, *map(self._live.counter, self._places.counters)}

    def post(self, world: World, counters: Counters) -> None:
        """Write what is now on the board."""
        if not self._is_live:
            return
        for camera in self._places.lines:
            state, reason = world.state(camera)
            self._put(self._live.camera(camera), {"state": state, "reason": reason})
        for camera, names in self._places.lines.items():
            for name in names:
                tally, since_ms = counters.line(camera, name)
                self._put(self._live.line(camera, name), {**_told(tally), "since_ms": since_ms})
        for camera, names in self._places.zones.items():
            for name in names:
                counts = world.occupancy(camera, name)
                count = None if counts is None else sum(counts.values())
                self._put(self._live.zone(camera, name), {"count": count, "classes": dict(counts or {})})
        for name in self._places.counters:
            counter = counters.counter(name)
            told = {"value": counter.value, **_told(counter.tally)}
            told |= {"clamped": counter.clamped, "since_ms": counter.since_ms}
            self._put(self._live.counter(name), told)

    def _put(self, topic: str, value: dict[str, object]) -> None:
        self.board.put(topic, json.dumps(value, separators=(",", ":")).encode())


def _told(tally: Tally) -> dict[str, object]:
    classes = sorted({*tally.in_, *tally.out})
    return {
        "in": tally.totals.in_,
        "out": tally.totals.out,
        "classes": {cls: {"in": tally.in_.get(cls, 0), "out": tally.out.get(cls, 0)} for cls in classes},
    }
