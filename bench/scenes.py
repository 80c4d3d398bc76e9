"""Made-up scenes with exactly known crossings: people in a camera's view, and what a detector makes of them.

    scene = make("crowd", fps=5, seed=1)
    scene.frames                                    # one `Detections` per frame, at scene.times_ms
    scene.truth                                     # in and out of each of scene.lines, by the exact paths
    wrong(count_take(scene), scene.truth)           # `bench._truth.wrong`, `bench._run.count_take`

People are at the same places at every frame rate, and so is the truth: a scene is made at `REFERENCE_FPS`, and a slower
one leaves frames out. The truth is read as in `bench._truth`, from the exact foot points at that rate. The view is
`bench._walks.Camera`, a little different for each seed; the detector's errors are `bench._detector`, and are measured.
Only people count: lines leave prams out.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench._detector import PUBLIC, DetectorModel, Pillar, View, detect
from bench._run import Take
from bench._truth import Counts, Walk, count_walks, standard_lines
from bench._walks import CLASS_NAMES, PERSON, REFERENCE_FPS, Camera, Stop, Walker, person, person_with_pram
from edge.config import LineSettings

FRAME_RATES = (3.0, 5.0, 10.0, 15.0, 30.0)
DEFAULT_SECONDS = 60.0
WALK_M_S = (1.3, 0.2)
RUN_M_S = (4.0, 0.6)
_FAR, _SIDE, _NEAR = 0.2, 0.08, 1.25
# Shares of the picture that are clear of the standard lines.
_CLEAR_X = (0.08, 0.12, 0.16, 0.2, 0.31, 0.34, 0.45, 0.55, 0.66, 0.69, 0.8, 0.84, 0.88, 0.92)
_CLEAR_Y = (0.3, 0.33, 0.36, 0.45, 0.55, 0.66, 0.72, 0.78, 0.84, 0.9)


@dataclass(frozen=True)
class TrueTrack:
    """One true object.

    Attributes:
        cls: Its class.
        walk: Frame number at `REFERENCE_FPS` and foot point, for each frame in which it is there.
        boxes: Its boxes there, shape (N, 4), pixels, not cut at the picture's border.
    """

    cls: str
    walk: Walk
    boxes: np.ndarray


@dataclass(frozen=True)
class Scene(Take):
    """What a camera gave, and what is true.

    Attributes:
        tracks: The true objects, at `REFERENCE_FPS` whatever `fps` is.
    """

    tracks: Sequence[TrueTrack] = ()


@dataclass
class Stage:
    """A scene while it is being made: scenarios put people and things into it."""

    rng: np.random.Generator
    camera: Camera
    seconds: float
    walkers: list[Walker] = field(default_factory=list)
    pillars: list[Pillar] = field(default_factory=list)
    shake_px: float = 0.0

    def walk(self, stops: Sequence[Stop], start_s: float, speed_m_s: float) -> None:
        """Let one person walk."""
        self.walkers.append(person(self.camera, stops, start_s, speed_m_s, self.seconds, self.rng))

    def push(self, stops: Sequence[Stop], start_s: float, speed_m_s: float) -> None:
        """Let one person push a pram."""
        self.walkers += person_with_pram(self.camera, stops, start_s, speed_m_s, self.seconds, self.rng)

    def starts_s(self, people: int) -> list[float]:
        """Return when people come, so that some are there from the beginning and some leave too late."""
        return np.sort(self.rng.uniform(-6.0, self.seconds - 3.0, people)).tolist()

    def speed_m_s(self, speed: tuple[float, float] = WALK_M_S) -> float:
        """Return somebody's speed by its mean and deviation."""
        return float(max(0.3 * speed[0], self.rng.normal(*speed)))

    def way(self, *between: Stop) -> list[Stop]:
        """Return a way through: in by one door and out by another."""
        first, last = self.doors()
        return [*first, *between, *last[::-1]]

    def doors(self) -> tuple[list[Stop], list[Stop]]:
        """Return two different doors, each from outside to inside."""
        first, last = self.rng.permutation(4)[:2].tolist()
        return self.door(first), self.door(last)

    def door(self, which: int) -> list[Stop]:
        """Return how people come in at the left, the right, far away or below, clear of all lines.

        A foot outside the picture crosses no line there, whatever the part of the box that is inside looks like.
        """
        x, y = float(self.rng.choice(_CLEAR_X)), float(self.rng.choice(_CLEAR_Y))
        match which:
            case 0:
                return [Stop(-_SIDE, y), Stop(0.04, y)]
            case 1:
                return [Stop(1 + _SIDE, y), Stop(0.96, y)]
            case 2:
                return [Stop(x, _FAR)]
            case _:
                return [Stop(x, _NEAR), Stop(x, 0.95)]

    def near(self) -> Stop:
        """Return a place somewhere inside, clear of all lines."""
        return Stop(float(self.rng.choice(_CLEAR_X[3:11])), float(self.rng.choice(_CLEAR_Y)))


def crowd(stage: Stage, *, per_minute: float = 110, bends: float = 0.5) -> None:
    """Many people in all directions, about 20 at once; half of them bend once on their way."""
    for start_s in stage.starts_s(_number(stage, per_minute)):
        between = [stage.near()] if stage.rng.random() < bends else []
        stage.walk(stage.way(*between), start_s, stage.speed_m_s())


def u_turns(stage: Stage, *, per_minute: float = 30, overshoot: tuple[float, float] = (-0.12, 0.12)) -> None:
    """People walk up to a line, turn shortly before or behind it, and go back; some wait there first.

    `overshoot`: how far behind the line they turn, in shares of the picture; at least 0.035 on either side.
    """
    for start_s in stage.starts_s(_number(stage, per_minute)):
        first, last = stage.doors()
        past = stage.rng.uniform(*overshoot)
        past = float(np.copysign(max(abs(past), 0.035), past))
        stay_s = float(stage.rng.choice([0.0, 0.5, 2.0]))
        if stage.rng.random() < 0.5:
            share = float(stage.rng.choice([0.25, 0.4, 0.5, 0.6, 0.75]))
            turn = Stop(share + past * np.sign(share - first[-1].x), stage.rng.uniform(0.35, 0.9), stay_s)
        else:
            share = float(stage.rng.choice([0.4, 0.5, 0.6]))
            turn = Stop(stage.rng.uniform(0.15, 0.85), share + past * np.sign(share - first[-1].y), stay_s)
        back = first if stage.rng.random() < 0.6 else last
        stage.walk([*first, turn, *back[::-1]], start_s, stage.speed_m_s())


def loiterers_on_the_line(
    stage: Stage,
    *,
    loiterers: int = 8,
    passers_per_minute: float = 20,
    beside: tuple[float, float] = (0.008, 0.03),
) -> None:
    """People stand beside a line for long, `beside` it by shares of the picture, while others pass."""
    for i in range(loiterers):
        offset = stage.rng.uniform(*beside) * stage.rng.choice([-1, 1])
        if i % 2:
            x, y = stage.rng.choice([0.25, 0.4, 0.5, 0.6, 0.75]) + offset, stage.rng.uniform(0.35, 0.9)
        else:
            x, y = stage.rng.uniform(0.1, 0.9), stage.rng.choice([0.4, 0.5, 0.6]) + offset
        stay = Stop(float(x), float(y), stage.rng.uniform(0.3, 0.7) * stage.seconds)
        stage.walk(stage.way(stay), stage.rng.uniform(-5, 10), stage.speed_m_s())
    for start_s in stage.starts_s(_number(stage, passers_per_minute)):
        stage.walk(stage.way(), start_s, stage.speed_m_s())


def along_the_line(
    stage: Stage, *, per_minute: float = 24, beside: tuple[float, float] = (0.008, 0.04)
) -> None:
    """People walk along a line, `beside` it by shares of the picture; a third change the side on their way."""
    for start_s in stage.starts_s(_number(stage, per_minute)):
        offset = stage.rng.uniform(*beside) * stage.rng.choice([-1, 1])
        other = -offset if stage.rng.random() < 1 / 3 else offset
        if stage.rng.random() < 0.5:
            y = float(stage.rng.choice([0.4, 0.5, 0.6]))
            ends = [Stop(-_SIDE, y + offset), Stop(1 + _SIDE, y + other)]
        else:
            x = float(stage.rng.choice([0.25, 0.4, 0.5, 0.6, 0.75]))
            ends = [Stop(x + offset, _FAR), Stop(x + other, _NEAR)]
        stage.walk(ends if stage.rng.random() < 0.5 else ends[::-1], start_s, stage.speed_m_s())


def prams(stage: Stage, *, per_minute: float = 16, alone_per_minute: float = 8) -> None:
    """People push prams, some walk alone: lines count people only."""
    for start_s in stage.starts_s(_number(stage, per_minute)):
        stage.push(stage.way(), start_s, stage.speed_m_s((1.1, 0.15)))
    for start_s in stage.starts_s(_number(stage, alone_per_minute)):
        stage.walk(stage.way(), start_s, stage.speed_m_s())


def pillar(stage: Stage, *, per_minute: float = 40, wide: tuple[float, float] = (0.05, 0.12)) -> None:
    """A wide and a slim pillar stand at lines, and people pass behind and before them."""
    camera = stage.camera
    for x, share in zip((0.5, 0.27), wide[::-1], strict=True):
        left = (x - share / 2 + stage.rng.uniform(-0.03, 0.03)) * camera.width
        stage.pillars.append(
            Pillar(left, left + share * camera.width, stage.rng.uniform(0.6, 0.8) * camera.height)
        )
    for start_s in stage.starts_s(_number(stage, per_minute)):
        y = stage.rng.uniform(0.3, 0.9)
        ends = [Stop(-_SIDE, y), Stop(1 + _SIDE, y + stage.rng.uniform(-0.15, 0.15))]
        stage.walk(ends if stage.rng.random() < 0.5 else ends[::-1], start_s, stage.speed_m_s())


def merging(
    stage: Stage, *, pairs_per_minute: float = 14, apart_m: tuple[float, float] = (0.1, 0.35)
) -> None:
    """Two people walk into one box for a while, together or against each other, and part again."""
    camera = stage.camera
    for start_s in stage.starts_s(_number(stage, pairs_per_minute)):
        meet, leave = stage.near(), stage.near()
        tall_px = camera.box_height(np.array(meet.y * camera.height), 1.0)
        beside = float(stage.rng.uniform(*apart_m) * tall_px) / camera.width
        speed_m_s = stage.speed_m_s()
        for offset, behind in ((0.0, 0.0), (beside, 0.01)):
            first, last = stage.doors()
            here, there = (Stop(stop.x + offset, stop.y + behind) for stop in (meet, leave))
            # Both come to the place at the same time: whoever has the longer way starts earlier.
            way_s = _way_s(camera, [*first, here], speed_m_s)
            stage.walk([*first, here, there, *last[::-1]], start_s + 5.0 - way_s, speed_m_s)


def shake(stage: Stage, *, per_minute: float = 30, shake_px: float = 5.0) -> None:
    """The camera shakes, and people walk and stand."""
    stage.shake_px = shake_px
    for start_s in stage.starts_s(_number(stage, per_minute)):
        between = [replace(stage.near(), stay_s=4.0)] if stage.rng.random() < 0.3 else []
        stage.walk(stage.way(*between), start_s, stage.speed_m_s())


def sparse(stage: Stage, *, per_minute: float = 10) -> None:
    """One or two people at a time."""
    for start_s in stage.starts_s(_number(stage, per_minute)):
        stage.walk(stage.way(), start_s, stage.speed_m_s())


def quiet(stage: Stage, *, people: int = 2) -> None:
    """Nearly nobody for the whole time: what is counted besides is noise."""
    for start_s in stage.starts_s(people):
        stage.walk(stage.way(), max(start_s, 0.0), stage.speed_m_s())


def runners(stage: Stage, *, per_minute: float = 40, walkers_per_minute: float = 10) -> None:
    """People run through; some walk."""
    for start_s in stage.starts_s(_number(stage, per_minute)):
        stage.walk(stage.way(), start_s, stage.speed_m_s(RUN_M_S))
    for start_s in stage.starts_s(_number(stage, walkers_per_minute)):
        stage.walk(stage.way(), start_s, stage.speed_m_s())


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    scenario.__name__: scenario
    for scenario in (
        crowd,
        u_turns,
        loiterers_on_the_line,
        along_the_line,
        prams,
        pillar,
        merging,
        shake,
        sparse,
        quiet,
        runners,
    )
}


def make(
    scenario: str,
    fps: float,
    seed: int,
    seconds: float = DEFAULT_SECONDS,
    detector: DetectorModel = PUBLIC,
) -> Scene:
    """Make a scene.

    Args:
        scenario: A key of `SCENARIOS`.
        fps: Up to `REFERENCE_FPS`; of a rate that does not divide it, frames are unevenly apart, as they truly were.
        seed: Decides everything else; the same people walk at every frame rate and before every detector.
        seconds: How long.
        detector: Its errors.
    """
    if not 0 < fps <= REFERENCE_FPS:
        raise ValueError(f"fps {fps} is not above 0 and at most {REFERENCE_FPS}")
    salt = zlib.crc32(scenario.encode())
    rng = np.random.default_rng([seed, salt])
    stage = Stage(rng, _some_camera(rng), seconds)
    SCENARIOS[scenario](stage)
    walkers = [walker for walker in stage.walkers if not np.isnan(walker.foot).all()]
    view = View(stage.camera, stage.pillars, stage.shake_px)
    n_frames = int(seconds * REFERENCE_FPS)
    every = detect(view, walkers, n_frames, detector, np.random.default_rng([seed, salt, 1]))
    chosen = np.unique(np.round(np.arange(int(seconds * fps)) * REFERENCE_FPS / fps).astype(int))
    chosen = chosen[chosen < n_frames].tolist()
    tracks = [_true_track(walker) for walker in walkers]
    lines = [
        LineSettings(line.name, line.points, classes=[CLASS_NAMES[PERSON]])
        for line in standard_lines(stage.camera.width, stage.camera.height)
    ]
    return Scene(
        scenario,
        stage.camera.width,
        stage.camera.height,
        fps,
        [round(index * 1000 / REFERENCE_FPS) for index in chosen],
        [every[index] for index in chosen],
        lines,
        true_counts(tracks, lines),
        CLASS_NAMES,
        tracks,
    )


def true_counts(tracks: Sequence[TrueTrack], lines: Sequence[LineSettings]) -> Counts:
    """Return in and out of lines by the exact paths of the people."""
    walks = [track.walk for track in tracks if track.cls == CLASS_NAMES[PERSON]]
    return count_walks(lines, walks)


def _true_track(walker: Walker) -> TrueTrack:
    there = np.flatnonzero(~np.isnan(walker.foot[:, 0]))
    foot, size = walker.foot[there], walker.size[there]
    x, y = foot.T
    wide, high = size.T
    boxes = np.stack([x - wide / 2, y - high, x + wide / 2, y], axis=1)
    walk = list(zip(there.tolist(), map(tuple, foot.tolist()), strict=True))
    return TrueTrack(CLASS_NAMES[walker.cls], walk, boxes)


def _some_camera(rng: np.random.Generator) -> Camera:
    """Return a camera that hangs at 3.5 to 6 m and sees its horizon a little above the picture."""
    height = 720
    return Camera(
        width=1280,
        height=height,
        focal_px=float(rng.uniform(800, 1200)),
        height_m=float(rng.uniform(3.5, 6.0)),
        horizon_px=float(rng.uniform(-0.35, -0.05) * height),
    )


def _number(stage: Stage, per_minute: float) -> int:
    return max(1, round(per_minute * stage.seconds / 60))


def _way_s(camera: Camera, stops: Sequence[Stop], speed_m_s: float) -> float:
    places = camera.ground(np.array([(stop.x * camera.width, stop.y * camera.height) for stop in stops]))
    return float(np.hypot(*np.diff(places, axis=0).T).sum()) / speed_m_s
