"""How a detector sees true boxes: shaking, half hidden, twice, or not at all. Pure and seeded.

Measured by matching the public detections (`det.txt`) of PETS09-S2L1 (PETS), TUD-Campus (TUD) and ADL-Rundle-6 (ADL)
of MOT15, and YOLO11n's at 0.1 on the videos of the first two, to the ground truth at an overlap of 0.5 or more. All in
box heights; "visible" is a box of which nearer boxes cover less than 5 %:

| | PETS, 7 fps | ADL, 30 fps | TUD, 25 fps | PETS, YOLO | TUD, YOLO |
| --- | --- | --- | --- | --- | --- |
| visible boxes matched | 3375 | 1925 | 168 | 3875 | 189 |
| sd of middle x | 0.050 | 0.037 | 0.036 | 0.044 | 0.026 |
| sd of lower edge | 0.072 | 0.053 | 0.060 | 0.033 | 0.018 |
| sd of height | 0.102 | 0.094 | 0.089 | 0.039 | 0.040 |
| sd of width | 0.069 | 0.074 | 0.071 | 0.066 | 0.092 |
| correlation of one frame's error with the next's: x, lower, height, width | .48 .35 .41 .42 | .72 .56 .57 .72 | .58 .11 .39 .48 | .75 .72 .69 .60 | .60 .16 .62 .80 |
| sd between tracks: x, lower, height, width | .012 .021 .040 .028 | .020 .024 .046 .042 | .024 .029 .052 .028 | .014 .006 .012 .028 | .009 .005 .029 .032 |
| correlation of the errors of lower edge and height | 0.63 | 0.71 | 0.79 | 0.58 | 0.51 |
| visible but missed | 0.18 | 0.16 | 0.12 | 0.055 | 0.01 |
| missed if 30-50 / 50-70 / > 70 % covered | .73 .76 .85 | .25 .43 .82 | .08 .22 .83 | .23 .37 .59 | .00 .02 .65 |
| runs of misses: number, mean, median, 90th percentile (frames) | 320, 2.3, 1, 4 | 97, 3.7, 1, 8 | 9, 2.4, 1, 4 | 73, 3.1, 2, 5 | 2, 1.0, 1, 1 |
| false positives per frame | 1.07 | 2.42 | 0.80 | 1.56 | 7.5 |
| of those beside a person (overlap 0.3 to 0.5) | 0.64 | 0.22 | 0.42 | 0.35 | 0.11 |
| of those at a place that has them again and again | 0.52 | 0.81 | 0.14 | 0.59 | 0.84 |
| second boxes (overlap above 0.2) beside a matched one, per matched box | .024 | .030 | .049 | .072 | .193 |
| their runs: number, mean (frames) | 74, 1.1 | 70, 1.3 | 9, 1.4 | 186, 1.4 | 18, 2.6 |
| their height by the true one's, and score: medians | .95, .71 | .88, .73 | .59, .66 | .91, .22 | .94, .19 |
| score of true ones: 5th percentile, median, 95th | .89 .98 .99 | .78 .99 1.0 | .82 .99 1.0 | .56 .78 .86 | .27 .83 .92 |
| score of false ones: 5th percentile, median, 95th | .59 .95 .99 | .56 .91 .99 | .51 .75 .99 | .10 .28 .80 | .11 .18 .66 |

The correlations at 7 and at 30 frames a second agree with an error of which two thirds (lower edge, height) to four
fifths (x, width) last 0.25 s and the rest is new in each frame; YOLO's errors last twice as long. In the TUD video YOLO
finds many people who are not in the ground truth, so its false positives are not all false. `PUBLIC` and `YOLO11N` are
made after these figures, and what is made of them was matched in the same way to compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench._walks import PERSON, PRAM, REFERENCE_FPS, Camera, Floats, Walker
from edge.arrays import Detections

# Nearer bodies hide less than their boxes do.
_BODY_SHARE = 0.75
_GRID = (np.arange(8) + 0.5) / 8
_BITS = (1 << np.arange(8)).astype(np.uint64)
_BYTES = (np.uint64(1) << (np.uint64(8) * np.arange(8, dtype=np.uint64))).astype(np.uint64)


@dataclass(frozen=True)
class DetectorModel:
    """A detector's errors; lengths in box heights, standard deviations.

    Attributes:
        x: Of the middle.
        lower: Of the lower edge.
        high: Of the height.
        wide: Of the width.
        lasting: Share of variance, of x, lower edge, height and width, that lasts `lasting_s`; the rest is new each frame.
        lasting_s: Time constant of what lasts.
        per_track: The part of an object's error that never changes, as a share of the deviation.
        evidence: Mean of what speaks for a visible object; its deviation is 1, and below 0 there is no box.
        evidence_s: How long it lasts.
        hidden_costs: Times the square of the hidden share, less evidence.
        hidden_lower: Mean and deviation of the lower edge while the feet are hidden.
        score_floor: Lowest score.
        score_scale: Evidence that takes the score 63 % of the way from the floor to 1.
        merge_iou: Two people who overlap so much are one box: half of the pairs the nearer's, half both's.
        twice: Share of objects' frames with a second box beside the first, smaller and weaker than it.
        twice_s: How long second boxes last.
        clutter: Places that are taken for people from time to time.
        clutter_share: Of the time, each.
        random_per_frame: False boxes anywhere, per frame.
        false_score: Lowest and highest score of false boxes.
        as_person: Share of a pram's frames in which it is called a person.
    """

    x: float = 0.045
    lower: float = 0.065
    high: float = 0.095
    wide: float = 0.07
    lasting: tuple[float, float, float, float] = (0.8, 0.65, 0.65, 0.8)
    lasting_s: float = 0.25
    per_track: float = 0.4
    evidence: float = 1.15
    evidence_s: float = 0.5
    hidden_costs: float = 2.8
    hidden_lower: tuple[float, float] = (0.05, 0.08)
    score_floor: float = 0.5
    score_scale: float = 0.3
    merge_iou: float = 0.6
    twice: float = 0.025
    twice_s: float = 0.05
    clutter: int = 3
    clutter_share: float = 0.25
    random_per_frame: float = 0.15
    false_score: tuple[float, float] = (0.5, 0.99)
    as_person: float = 0.08


PUBLIC = DetectorModel()
YOLO11N = DetectorModel(
    x=0.04,
    lower=0.03,
    high=0.04,
    wide=0.07,
    lasting=(0.9, 0.9, 0.9, 0.9),
    lasting_s=0.5,
    per_track=0.3,
    evidence=1.9,
    hidden_costs=3.5,
    hidden_lower=(-0.02, 0.06),
    score_floor=0.1,
    score_scale=1.35,
    merge_iou=0.7,
    twice=0.05,
    twice_s=0.1,
    false_score=(0.1, 0.65),
)
PERFECT = DetectorModel(
    x=0.0,
    lower=0.0,
    high=0.0,
    wide=0.0,
    evidence=100.0,
    hidden_costs=0.0,
    hidden_lower=(0.0, 0.0),
    merge_iou=2.0,
    twice=0.0,
    clutter=0,
    random_per_frame=0.0,
    as_person=0.0,
)
MODELS = {"public": PUBLIC, "yolo11n": YOLO11N, "perfect": PERFECT}


@dataclass(frozen=True)
class Pillar:
    """Something tall that stands in the view: left and right edge, and the y of its base, pixels."""

    left: float
    right: float
    base: float


@dataclass(frozen=True)
class View:
    """What is between the objects and the detector.

    Attributes:
        camera: Its picture.
        pillars: That hide who is behind them.
        shake_px: How far the picture shakes, standard deviation.
        shake_s: How long a shake lasts.
    """

    camera: Camera
    pillars: Sequence[Pillar] = ()
    shake_px: float = 0.0
    shake_s: float = 0.15


def detect(
    view: View, walkers: Sequence[Walker], frames: int, model: DetectorModel, rng: np.random.Generator
) -> list[Detections]:
    """Return what a detector makes of true objects, for each frame at the reference rate.

    Args:
        view: Of the camera.
        walkers: The true objects.
        frames: How many; each walker has as many.
        model: The detector's errors.
        rng: Decides all of them.
    """
    shake = _drift(rng, (frames, 2), view.shake_s) * view.shake_px
    rows = _false_boxes(view, frames, model, rng)
    if walkers:
        rows = np.concatenate([_objects(view, walkers, shake, model, rng), rows])
    rows[:, 1:5] = np.clip(rows[:, 1:5], 0, [view.camera.width, view.camera.height] * 2)
    wide, high = rows[:, 3] - rows[:, 1], rows[:, 4] - rows[:, 2]
    rows = rows[(wide >= 4) & (high >= 8)]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    ends = np.searchsorted(rows[:, 0], np.arange(frames), side="right")
    return [
        Detections(
            part[:, 1:5].astype(np.float32), part[:, 5].astype(np.float32), part[:, 6].astype(np.int16)
        )
        for part in np.split(rows, ends[:-1])
    ]


def _objects(
    view: View, walkers: Sequence[Walker], shake: Floats, model: DetectorModel, rng: np.random.Generator
) -> Floats:
    """Return rows of frame, x1, y1, x2, y2, score, class of what is made of the objects."""
    foot = np.stack([walker.foot for walker in walkers], axis=1) + shake[:, None]
    size = np.stack([walker.size for walker in walkers], axis=1)
    frame_of, who = np.nonzero(~np.isnan(foot[..., 0]))
    at, extent = foot[frame_of, who], size[frame_of, who]
    true = _boxes(at[:, 0], at[:, 1], extent[:, 0], extent[:, 1])
    wide, high = extent.T
    shape = foot.shape[:2]

    covered, feet_hidden, pairs = _occlusion(frame_of, true)
    behind = np.zeros(len(true))
    seen = true.copy()
    for pillar in view.pillars:
        left, right = pillar.left + shake[frame_of, 0], pillar.right + shake[frame_of, 0]
        is_behind = true[:, 3] < pillar.base + shake[frame_of, 1]
        hidden_px = np.clip(np.minimum(true[:, 2], right) - np.maximum(true[:, 0], left), 0, None) * is_behind
        behind = np.maximum(behind, hidden_px / wide)
        # What stands out on one side only is all that the box holds.
        seen[:, 0] = np.where(
            (hidden_px > 0) & (true[:, 0] >= left), np.maximum(seen[:, 0], right), seen[:, 0]
        )
        seen[:, 2] = np.where(
            (hidden_px > 0) & (true[:, 2] <= right), np.minimum(seen[:, 2], left), seen[:, 2]
        )
    hidden = 1 - (1 - covered) * (1 - behind)

    evidence = model.evidence + _mixed(rng, shape, 0.85, model.evidence_s, 0.3)[frame_of, who]
    evidence -= model.hidden_costs * hidden**2 + np.where(behind > 0.8, 100.0, 0.0)
    is_seen = evidence > 0
    score = model.score_floor + (1 - model.score_floor) * (
        1 - np.exp(-np.maximum(evidence, 0) / model.score_scale)
    )

    errors = [
        (sigma * _mixed(rng, shape, lasting, model.lasting_s, model.per_track))[frame_of, who]
        for sigma, lasting in zip((model.x, model.lower, model.high, model.wide), model.lasting, strict=True)
    ]
    mean, deviation = model.hidden_lower
    blind = (mean + deviation * _drift(rng, shape, 1.0)[frame_of, who]) * feet_hidden
    # A box that reaches too low is also too high, mostly: its upper edge is the better one.
    taller = 0.7 * errors[1] * (model.high / max(model.lower, 1e-9)) + 0.71 * errors[2] + blind
    middle = (seen[:, 0] + seen[:, 2]) / 2 + errors[0] * high
    lower = seen[:, 3] + (errors[1] + blind) * high
    noisy = _boxes(
        middle,
        lower,
        np.maximum(seen[:, 2] - seen[:, 0] + errors[3] * high, 0.3 * (seen[:, 2] - seen[:, 0])),
        high * np.maximum(1 + taller, 0.4),
    )
    is_one = (_overlap(true[pairs[:, 0]], true[pairs[:, 1]]) > model.merge_iou) & is_seen[pairs].all(axis=1)
    is_seen &= _merge(noisy, pairs, is_one, who, rng)
    cls = np.array([walker.cls for walker in walkers], dtype=np.float64)[who]
    is_mistaken = _share_of_time(rng, shape, model.as_person, 1.0)[frame_of, who]
    cls[(cls == PRAM) & is_mistaken] = PERSON
    rows: Floats = np.column_stack([frame_of.astype(np.float64), noisy, score, cls])

    again = _share_of_time(rng, shape, model.twice, model.twice_s)[frame_of, who] & is_seen
    beside = rows[again]
    beside[:, 1:5] += rng.normal((0.0, 0.08, 0.0, 0.0), 0.12, (len(beside), 4)) * high[again, None]
    beside[:, 5] -= (beside[:, 5] - model.score_floor) * (1 - rng.random(len(beside)) ** 2)
    return np.concatenate([rows[is_seen], beside])


def _occlusion(frame_of: NDArray[np.intp], box: Floats) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp]]:
    """Return for each box the share that nearer bodies hide and whether its feet are; and who overlaps whom.

    A nearer body is one with a lower foot. Its parts are an 8 x 8 grid, kept as the bits of a number.

    Args:
        frame_of: Frame of each box, ascending, shape (N,).
        box: shape (N, 4).

    Returns:
        Shape (N,), (N,), and pairs (farther, nearer) of rows, shape (M, 2).
    """
    firsts = np.searchsorted(frame_of, frame_of, side="left")
    place = np.arange(len(box)) - firsts
    most = int(place.max()) + 1
    frames = int(frame_of[-1]) + 1
    row_at = np.full((frames, most), -1)
    row_at[frame_of, place] = np.arange(len(box))
    padded = np.where((row_at >= 0)[..., None], box[row_at], np.nan)
    x1, y1, x2, y2 = np.moveaxis(padded, 2, 0)
    is_pair = (x1[:, :, None] < x2[:, None]) & (x2[:, :, None] > x1[:, None]) & (y2[:, :, None] < y2[:, None])
    is_pair &= y2[:, :, None] > y1[:, None]
    at, i, j = np.nonzero(is_pair)
    far, near = row_at[at, i], row_at[at, j]
    target, cover = box[far], box[near]
    margin = (cover[:, 2] - cover[:, 0]) * (1 - _BODY_SHARE) / 2
    across = target[:, :1] + (target[:, 2:3] - target[:, :1]) * _GRID
    down = target[:, 1:2] + (target[:, 3:4] - target[:, 1:2]) * _GRID
    columns = (across > (cover[:, 0] + margin)[:, None]) & (across < (cover[:, 2] - margin)[:, None])
    lines = (down > cover[:, 1:2]) & (down < cover[:, 3:4])
    # One byte per line of the grid, so that the product of both sets of bits is the covered cells.
    cells = (columns * _BITS).sum(axis=1, dtype=np.uint64) * (lines * _BYTES).sum(axis=1, dtype=np.uint64)
    hidden = np.zeros(len(box), dtype=np.uint64)
    np.bitwise_or.at(hidden, far, cells)
    feet = np.bitwise_count(hidden >> np.uint64(56))
    share: Floats = np.bitwise_count(hidden).astype(np.float64) / 64
    return share, feet > 4, np.column_stack([far, near])


def _merge(
    noisy: Floats,
    pairs: NDArray[np.intp],
    is_one: NDArray[np.bool_],
    who: NDArray[np.intp],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Make one box of two in place, for pairs (farther, nearer); return which rows still have a box of their own."""
    salt = int(rng.integers(1 << 30))
    far, near = pairs[is_one].T
    own = np.ones(len(noisy), dtype=np.bool_)
    own[far] = False
    # A pair of people is always made into a box in the same way.
    both = (np.minimum(who[far], who[near]) * 7919 + np.maximum(who[far], who[near]) * 104729 + salt) % 2 == 0
    np.minimum.at(noisy[:, :2], near[both], noisy[far[both], :2])
    np.maximum.at(noisy[:, 2:], near[both], noisy[far[both], 2:])
    return own


def _overlap(first: Floats, second: Floats) -> Floats:
    """Return intersection over union of each pair, shapes (M, 4)."""
    inner = np.clip(
        np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]), 0, None
    )
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (first, second)]
    return inner.prod(axis=1) / (areas[0] + areas[1] - inner.prod(axis=1))


def _false_boxes(view: View, frames: int, model: DetectorModel, rng: np.random.Generator) -> Floats:
    """Return rows of frame, x1, y1, x2, y2, score, class of boxes where nobody is."""
    camera = view.camera
    clutter_at, place = np.nonzero(
        _share_of_time(rng, (frames, model.clutter), model.clutter_share, 1.0)
        if model.clutter
        else np.zeros((frames, 0))
    )
    anywhere_at = np.repeat(np.arange(frames), rng.poisson(model.random_per_frame, frames))
    frame_of = np.concatenate([clutter_at, anywhere_at])
    low, high = (0.0, 0.25 * camera.height), (camera.width, camera.height)
    spots = rng.uniform(low, high, (model.clutter, 2))[place]
    foot = np.concatenate([spots, rng.uniform(low, high, (len(anywhere_at), 2))])
    tall = camera.box_height(foot[:, 1], 1.7)
    foot += rng.normal(0, 0.03, foot.shape) * tall[:, None]
    boxes = _boxes(foot[:, 0], foot[:, 1], 0.4 * tall, tall)
    score = rng.uniform(*model.false_score, len(tall))
    return np.column_stack([frame_of, boxes, score, np.full(len(tall), float(PERSON))])


def _boxes(middle: Floats, lower: Floats, wide: Floats, high: Floats) -> Floats:
    return np.stack([middle - wide / 2, lower - high, middle + wide / 2, lower], axis=1)


def _drift(rng: np.random.Generator, shape: tuple[int, int], lasting_s: float) -> Floats:
    """Return noise of deviation 1 along the first axis whose correlation falls to 1/e in `lasting_s`."""
    keep = float(np.exp(-1 / (REFERENCE_FPS * lasting_s)))
    noise = rng.standard_normal(shape)
    noise[1:] *= np.sqrt(1 - keep * keep)
    for i in range(1, len(noise)):
        noise[i] += keep * noise[i - 1]
    return noise


def _mixed(
    rng: np.random.Generator, shape: tuple[int, int], lasting: float, lasting_s: float, per_track: float
) -> Floats:
    """Return noise of deviation 1: one part for ever, one that lasts a while, one that is new in each frame."""
    always = per_track * rng.standard_normal(shape[1])
    rest = np.sqrt(lasting) * _drift(rng, shape, lasting_s) + np.sqrt(1 - lasting) * rng.standard_normal(
        shape
    )
    return always + np.sqrt(1 - per_track**2) * rest


def _share_of_time(
    rng: np.random.Generator, shape: tuple[int, int], share: float, lasting_s: float
) -> NDArray[np.bool_]:
    """Return true for a share of the time, in runs."""
    noise = _drift(rng, shape, lasting_s)
    return noise > (np.quantile(noise, 1 - share) if 0 < share < 1 else np.inf)
