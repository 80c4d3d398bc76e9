"""Lines that cannot count, by the evidence of what was seen about them.

A line may be drawn where no counter can be right, and its numbers look as good as any. What goes wrong there leaves
traces, which are gathered of every track that ends (`edge.count.witness`), and judged over the last ones near the line::

    border   feet beyond the line would be outside the picture: known from the drawing, sharper once heights are known
    ends     tracks begin or end on the line, so nobody is seen on both of its sides: a door, a pillar, a parked van
    small    people there are smaller than a detector finds
    nobody   nobody was ever seen there, though elsewhere
    hidden   feet are not seen: boxes end at the picture's lower border, or are too short for their place in the scene
    slow     people move so far from one frame to the next that they are not recognised
    moved    the camera looks elsewhere than when its lines were drawn (`edge.evidence.camera_health`)

Nothing is counted differently for it. A doubt is raised and cleared at different levels, so that it does not flicker.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from countline.events import AnyEvent, LineDoubt, LineShape
from edge.arrays import Spots, Tracks
from edge.count.witness import Path, Perspective, Witness, share_at_border, testify

# Tracks about a line that its evidence is made of: the newest.
MAX_WITNESSES = 200
# As many as a tracker has; more are not looked at.
MAX_TRACKS = 512
# The inner size that nearly all detectors work at, pixels.
DETECTOR_SIDE = 640
# An unknown body is taken to be so high, share of the picture's height.
_USUAL_HEIGHT = 0.1
# From so many tracks on their heights are known.
_KNOWN = 20
# Of so many frames the usual distance is taken.
_FRAMES = 51
# No doubt is in a hurry, and judging is dearer than gathering.
_JUDGE_EVERY_MS = 10_000
# A track that is seen so soon after the start may have been there before.
_START_MS = 2_000

Said = list[tuple[int, AnyEvent]]


@dataclass(frozen=True, slots=True)
class Level:
    """When a doubt is raised and cleared.

    Attributes:
        on: From this measure on it is raised.
        off: Below this one it is cleared.
        least: Of so many tracks near the line at least.
    """

    on: float
    off: float
    least: int = _KNOWN


@dataclass(frozen=True, slots=True)
class DoubtSettings:
    """Levels of the doubts.

    Attributes:
        border: Share of the line's length without room for feet beyond it.
        ends: Share of the tracks near the line that begin or end there.
        small: How many times lower than `small_px` people are in the detector's input.
        small_px: YOLO11n lost a quarter of the people at 18 pixels and half of them at 14; what it still found then was
            21 and 18 pixels high.
        nobody: Tracks elsewhere without one near the line,
        nobody_s: and so much time.
        hidden: Share of the tracks near the line whose feet are not seen there.
        slow: Step from one frame to the next, box heights, of the faster quarter of steps.
        walk: Who walks goes so many body heights in a second: 1.4 m/s at 1.7 m.
    """

    border: Level = Level(0.5, 0.4, 0)
    ends: Level = Level(0.6, 0.45)
    small: Level = Level(1.0, 0.85)
    small_px: float = 20.0
    nobody: int = 50
    nobody_s: float = 600.0
    hidden: Level = Level(0.4, 0.25)
    slow: Level = Level(0.6, 0.45, 0)
    walk: float = 0.8


_YES = Level(1.0, 1.0, 0)

BORDER_SAYS = (
    "It runs along the picture's border, where feet on its far side are not seen: draw it further inside, half a body's "
    "height from the border or more."
)
MOVED_SAYS = "The camera looks elsewhere than when it was started: put it back, or draw the line anew and restart the agent."


@dataclass(frozen=True, slots=True)
class _Finding:
    """What may be said of a line now."""

    reason: str
    measure: float
    level: Level
    says: str
    evidence: dict[str, float]


@dataclass(slots=True)
class _Case:
    """One line, and what speaks against it."""

    line: LineShape
    witnesses: deque[Witness] = field(default_factory=lambda: deque[Witness](maxlen=MAX_WITNESSES))
    elsewhere: int = 0
    is_fresh: bool = False
    raised: dict[str, LineDoubt] = field(default_factory=dict[str, LineDoubt])

    def weigh(self, finding: _Finding, at_ms: int) -> Said:
        """Raise or clear a doubt if its measure says so."""
        before, level = self.raised.get(finding.reason), finding.level
        if before is None and finding.measure >= level.on and len(self.witnesses) >= level.least:
            evidence = {name: round(value, 3) for name, value in finding.evidence.items()}
            doubt = LineDoubt(self.line.name, finding.reason, finding.says, evidence, at_ms)
            self.raised[finding.reason] = doubt
            return [(at_ms, doubt)]
        if before is not None and finding.measure < level.off:
            del self.raised[finding.reason]
            return [
                (at_ms, LineDoubt(self.line.name, finding.reason, since_ms=before.since_ms, cleared=True))
            ]
        return []


class Doubts:
    """The lines of one camera. Memory is bounded by the constants above, per line and living track."""

    def __init__(
        self, lines: Sequence[LineShape], width: int, height: int, settings: DoubtSettings | None = None
    ) -> None:
        """Take the lines.

        Args:
            lines: In pixels of the picture.
            width: Of the picture, pixels.
            height: Of the picture, pixels.
            settings: Levels.
        """
        self._settings = settings or DoubtSettings()
        self._size = (width, height)
        self._scale = min(1.0, DETECTOR_SIDE / max(width, height))
        self._cases = [_Case(line) for line in lines]
        self._paths: dict[int, Path] = {}
        self._perspective = Perspective()
        self._since_ms: int | None = None
        self._judged_ms = 0
        self._at_ms = 0
        self._distances_ms: deque[int] = deque(maxlen=_FRAMES)

    def feed(self, tracks: Tracks, at_ms: int) -> Said:
        """Take the tracks of one frame; return the doubts that are raised or cleared by it."""
        said: Said = []
        if self._since_ms is None:
            self._since_ms = self._judged_ms = at_ms
            for case in self._cases:
                said += case.weigh(self._border(case), at_ms)
        else:
            self._distances_ms.append(at_ms - self._at_ms)
        self._at_ms = at_ms
        self._follow(tracks.settled)
        for track in tracks.ended:
            path = self._paths.pop(track, None)
            if path is not None:
                self._hear(path)
        if at_ms - self._judged_ms >= _JUDGE_EVERY_MS:
            self._judged_ms = at_ms
            for case in self._cases:
                for finding in self._findings(case):
                    said += case.weigh(finding, at_ms)
        return said

    def moved(self, at_ms: int, *, is_nudged: bool) -> Said:
        """Take note whether the camera looks elsewhere than its lines were drawn for."""
        finding = _Finding("moved", float(is_nudged), _YES, MOVED_SAYS, {})
        return [moment for case in self._cases for moment in case.weigh(finding, at_ms)]

    def current(self) -> list[LineDoubt]:
        """Return the doubts that stand now."""
        return [doubt for case in self._cases for doubt in case.raised.values()]

    def _follow(self, spots: Spots) -> None:
        places = zip(spots.track_id.tolist(), spots.xy.tolist(), spots.height_px.tolist(), strict=True)
        for track, (x, y), height_px in places:
            path = self._paths.get(track)
            if path is not None:
                path.add(x, y, height_px)
            elif len(self._paths) < MAX_TRACKS:
                has_begun = self._at_ms - (self._since_ms or 0) > _START_MS
                self._paths[track] = Path(x, y, height_px, has_begun=has_begun)

    def _hear(self, path: Path) -> None:
        """Ask a track that has ended what it says of each line."""
        way = path.array()
        middle = way[len(way) // 2]  # one place of each, so that who waits weighs no more
        self._perspective.add(float(middle[1]), float(middle[2]))
        for case in self._cases:
            witness = testify(path, case.line.points, self._size, self._perspective)
            if witness is None:
                case.elsewhere += 1
            else:
                case.witnesses.append(witness)
                case.is_fresh = True

    def _findings(self, case: _Case) -> Iterator[_Finding]:
        """Return what may be said of a line, as far as it may have changed."""
        yield self._slow(case)
        yield self._nobody(case)
        if case.is_fresh:
            case.is_fresh = False
            yield self._border(case)
            yield self._ends(case)
            yield self._small(case)
            yield self._hidden(case)

    def _border(self, case: _Case) -> _Finding:
        # Heights are known from some tracks on; before that the usual one has to do.
        body_px = _USUAL_HEIGHT * self._size[1]
        if len(case.witnesses) >= _KNOWN:
            body_px = _height_px(case)
        share = share_at_border(case.line.points, self._size, body_px)
        evidence = {"share": share, "height_px": body_px}
        return _Finding("border", share, self._settings.border, BORDER_SAYS, evidence)

    def _ends(self, case: _Case) -> _Finding:
        n = len(case.witnesses)
        share = sum(witness.ends_here for witness in case.witnesses) / n
        says = (
            f"{share:.0%} of the people near it appear or vanish there, so they are not seen on both sides: move it away from "
            "doors, pillars and whatever hides people."
        )
        return _Finding("ends", share, self._settings.ends, says, {"share": share, "tracks": n})

    def _small(self, case: _Case) -> _Finding:
        seen_px, least_px = _height_px(case) * self._scale, self._settings.small_px
        says = (
            f"People there are {seen_px:.0f} pixels high for the detector, which loses many below {least_px:.0f}: move the "
            "camera closer, zoom in, or draw the line where people are larger."
        )
        evidence = {"height_px": seen_px, "tracks": len(case.witnesses)}
        return _Finding("small", least_px / max(seen_px, 1.0), self._settings.small, says, evidence)

    def _hidden(self, case: _Case) -> _Finding:
        n = len(case.witnesses)
        share = sum(witness.is_hidden for witness in case.witnesses) / n
        says = (
            f"The feet of {share:.0%} of the people there are not seen: draw the line where nothing hides them, away from the "
            "picture's lower border."
        )
        return _Finding("hidden", share, self._settings.hidden, says, {"share": share, "tracks": n})

    def _slow(self, case: _Case) -> _Finding:
        steps = [step for witness in case.witnesses for step in witness.steps]
        step = float(np.quantile(steps, 0.75)) if len(case.witnesses) >= _KNOWN and steps else 0.0
        # Whoever is too fast leaves no track, so those that are left do not tell. Who walks is known.
        if len(self._distances_ms) == _FRAMES:
            step = max(step, self._settings.walk * float(np.median(self._distances_ms)) / 1000)
        says = (
            f"People there move {step:.1f} of their height from one frame to the next, so they are easily lost between: raise "
            "the frame rate, or take a smaller model or fewer cameras if the machine cannot keep up."
        )
        evidence = {"step_heights": step, "tracks": len(case.witnesses)}
        return _Finding("slow", step, self._settings.slow, says, evidence)

    def _nobody(self, case: _Case) -> _Finding:
        settings, n = self._settings, case.elsewhere
        is_long = self._at_ms - (self._since_ms or 0) >= settings.nobody_s * 1000
        is_unseen = not case.witnesses and n >= settings.nobody and is_long
        says = f"Nobody was seen near it, but {n} elsewhere: draw it where people walk, and where they are seen whole."
        return _Finding("nobody", float(is_unseen), _YES, says, {"tracks_elsewhere": n})


def _height_px(case: _Case) -> float:
    return float(np.median([witness.height_px for witness in case.witnesses]))


def drawn_badly(lines: Sequence[LineShape], width: int, height: int) -> list[LineDoubt]:
    """Return what can be said of lines from their drawing alone: those that run along the border.

    Args:
        lines: In pixels of the picture.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
    """
    level, found = DoubtSettings().border, list[LineDoubt]()
    for line in lines:
        share = share_at_border(line.points, (width, height), _USUAL_HEIGHT * height)
        if share >= level.on:
            found.append(LineDoubt(line.name, "border", BORDER_SAYS, {"share": round(share, 3)}))
    return found
