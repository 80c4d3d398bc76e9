"""Detections of single frames become tracks of objects.

Two-stage association after ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every
Detection Box", ECCV 2022): sure detections are matched first, then weak ones to the tracks that are left, so that
an object that is half hidden keeps its track. Unlike the paper's code all durations are seconds and all lengths box
heights, ids belong to the tracker and are never reused, a track's class is a vote over its life, a box that breaks the
scene's perspective is mistrusted where another explains it (`edge.track.perspective`), and a track ends soon when it is
not seen: whether one that begins later is the same object is decided when more of it is known (`edge.track.link`).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes, ClassIds, Detections, Scores, Spots, TrackIds, Tracks
from edge.track.associate import assign, iou
from edge.track.kalman import KalmanBoxes, Noise
from edge.track.link import Linker, LinkSettings, beginning, ending
from edge.track.perspective import Perspective
from edge.track.smooth import Sample, SmootherBank, SmootherSettings, Trail

# More tracks at once than people fit into a picture: a detector gone wild must not eat the machine.
MAX_TRACKS = 512
# Places that wait for the decision who a track is; the time that takes is bounded, this is for clocks that jump.
_MAX_WAITING = 1_000
# Newest detections of a track, from which its motion is taken when it is lost.
_RECENT = 32

# Frames that are further apart are no rate but an interruption.
_LONGEST_STEP_MS = 1_000

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How tracks begin, go on and end.

    Attributes:
        sure_score: Detections from here on are sure: they may begin tracks and are matched first.
        weak_score: Detections from here on may continue a track.
        match_iou: Overlap that a sure detection needs with a track's predicted box.
        weak_match_iou: The same for a weak detection: it must fit better.
        reach: A lost track may also take a sure detection without overlap within this many box heights for each
            second that it has been lost, and at most `reach_max`.
        first_reach: The same for an unconfirmed track, whose speed is not known yet.
        reach_max: In box heights.
        confirm_hits: Detections that make a track of an object; fewer are noise.
        confirm_s: And they must make up so much time: noise lasts, so that at high frame rates some of it is seen often.
        link_hits: Detections that make a track which may be the continuation of a lost one.
        link_s: And so much time.
        lost_s: A confirmed track without a detection ends after this time; it may be linked later.
        decide_s: A new track is looked at for so long before it is decided whether it continues a lost one; not shorter
            than `lost_s`, so that those which it may continue are known to be lost.
        tentative_lost_s: An unconfirmed one after this.
        patience_frames: Neither ends before so many frames, however slowly they come.
        strange: Boxes whose height is off the scene's perspective by more than so many spreads are weak, if they overlap
            another by `strange_overlap`. 0 mistrusts none.
        strange_overlap: Share of the box.
        strange_score: What is left of their score.
        noise: Of the filter that predicts boxes.
        smoother: Of what is counted.
        link: Of tracks that were lost.
    """

    sure_score: float = 0.3
    weak_score: float = 0.1
    match_iou: float = 0.3
    weak_match_iou: float = 0.5
    reach: float = 0.6
    first_reach: float = 2.0
    reach_max: float = 0.8
    confirm_hits: int = 3
    confirm_s: float = 0.35
    link_hits: int = 2
    link_s: float = 0.27
    lost_s: float = 0.7
    decide_s: float = 1.0
    tentative_lost_s: float = 0.4
    patience_frames: float = 1.5
    strange: float = 2.0
    strange_overlap: float = 0.2
    strange_score: float = 0.2
    noise: Noise = field(default_factory=Noise)
    smoother: SmootherSettings = field(default_factory=SmootherSettings)
    link: LinkSettings = field(default_factory=LinkSettings)


class _Past:
    """What is kept of a track besides its filters.

    Attributes:
        first: (at_ms, x, y, height) of its detections, until it is decided who it is.
        last: The same of the newest.
        places: The same of its settled places, which wait until it is decided who it is.
    """

    __slots__ = ("first", "last", "places")

    def __init__(self) -> None:
        self.first: list[Sample] = []
        self.last: deque[Sample] = deque(maxlen=_RECENT)
        self.places: list[Sample] = []


class _Lost(NamedTuple):
    """What a lost track has left for its continuation; of one that was too short to be an object also its places."""

    trail: Trail
    is_known: bool
    hits: int
    score_sum: float
    places: list[Sample]


class _Frame:
    """One frame's detections while they are matched."""

    __slots__ = ("at_ms", "columns", "detections", "rows", "score")

    def __init__(self, detections: Detections, score: Scores, at_ms: int) -> None:
        self.detections = detections
        self.score = score
        self.at_ms = at_ms
        # Which tracks have got which detections.
        self.rows: list[Rows] = []
        self.columns: list[Rows] = []


class _Places(NamedTuple):
    """Some spots; see `Spots`."""

    track_id: TrackIds
    at_ms: NDArray[np.int64]
    xy: NDArray[np.float64]
    height_px: NDArray[np.float64]
    class_id: ClassIds
    score: Scores


class Tracker:
    """Tracks the objects of one camera. `feed` it each frame, in order of time."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        """Start without a track."""
        self._settings = settings or TrackerSettings()
        self._perspective = Perspective()
        self._linker = Linker(self._settings.link)
        self._boxes = KalmanBoxes(self._settings.noise)
        self._smoothers = SmootherBank(self._settings.smoother)
        self._track_id: TrackIds = np.zeros(0, dtype=np.int64)
        self._hits = np.zeros(0, dtype=np.int64)
        self._first_ms = np.zeros(0, dtype=np.int64)
        self._seen_ms = np.zeros(0, dtype=np.int64)
        self._score: Scores = np.zeros(0, dtype=np.float32)
        self._score_sum = np.zeros(0)
        self._class_id: ClassIds = np.zeros(0, dtype=np.int16)
        self._votes: list[dict[int, float]] = []
        self._pasts: list[_Past] = []
        self._lost: dict[int, _Lost] = {}
        self._is_known = np.zeros(0, dtype=np.bool_)
        self._next_id = 1
        self._at_ms: int | None = None
        self._step_ms = 0
        self._confirm_hits = self._settings.confirm_hits
        self._link_hits = self._settings.link_hits

    def feed(self, detections: Detections, at_ms: int) -> Tracks:
        """Take one frame's detections and return the tracks as of now.

        Args:
            detections: What the detector saw.
            at_ms: The frame's capture time; not before the frame's before.

        Returns:
            All living tracks, unconfirmed ones too, and the ids of those that ended since the last frame.
        """
        settings = self._settings
        if self._at_ms is not None and at_ms > self._at_ms:
            step_ms = at_ms - self._at_ms
            self._step_ms = min(step_ms, _LONGEST_STEP_MS)
            self._confirm_hits = max(settings.confirm_hits, round(settings.confirm_s * 1000 / step_ms))
            self._link_hits = max(settings.link_hits, round(settings.link_s * 1000 / step_ms))
            self._boxes.predict(step_ms / 1000)
        self._at_ms = at_ms
        settled: list[_Places] = []
        ended = self._drop_lost(at_ms, settled)
        score = self._trusted(detections)
        self._score = np.zeros(len(self._boxes), dtype=np.float32)
        sure = np.flatnonzero(score >= settings.sure_score)
        weak = np.flatnonzero((score < settings.sure_score) & (score >= settings.weak_score))
        frame = _Frame(detections, score, at_ms)
        free = np.arange(len(self._boxes))
        free, sure = self._match(frame, free, sure, settings.match_iou)
        free, _ = self._match(frame, free, weak, settings.weak_match_iou)
        free, sure = self._match_far(frame, free, sure)
        self._smooth(frame)
        self._begin(frame, sure)
        self._decide(at_ms, settled)
        self._settle(at_ms, settled)
        return self._tracks(at_ms, settled, ended)

    def finish(self) -> Tracks:
        """End all tracks, because no frame will come any more; all that was seen is settled."""
        settled: list[_Places] = []
        self._settle(None, settled)
        self._decide(None, settled)
        ended = [*self._track_id.tolist(), *self._give_up(self._linker.forget(None))]
        self._keep(np.zeros(len(self._boxes), dtype=np.bool_))
        self._score = np.zeros(0, dtype=np.float32)
        return self._tracks(self._at_ms or 0, settled, ended)

    def _trusted(self, detections: Detections) -> Scores:
        """Return how far each detection is trusted: its score, or less if it looks like no whole object."""
        settings = self._settings
        if settings.strange <= 0:
            return detections.score
        is_strange = self._perspective.strangeness(detections.xyxy) > settings.strange
        self._perspective.learn(detections.xyxy[detections.score >= settings.sure_score])
        if is_strange.any():
            is_strange &= _covered(detections.xyxy) >= settings.strange_overlap
        return np.where(is_strange, np.minimum(detections.score, settings.strange_score), detections.score)

    def _match(self, frame: _Frame, tracks: Rows, candidates: Rows, least_iou: float) -> tuple[Rows, Rows]:
        """Match by overlap; return the tracks and the detections that are left."""
        if len(tracks) == 0 or len(candidates) == 0:
            return tracks, candidates
        overlap = iou(self._boxes.xyxy()[tracks], frame.detections.xyxy[candidates])
        # A track that was confirmed long ago is a better owner than one that has just begun.
        tentative = ~self._is_confirmed()[tracks][:, None] * 0.1
        pairs = assign(1.0 - overlap + tentative, 1.0 - least_iou)
        return self._take(frame, tracks, candidates, pairs)

    def _match_far(self, frame: _Frame, tracks: Rows, candidates: Rows) -> tuple[Rows, Rows]:
        """Match tracks that overlap nothing with sure detections near where they should be by now."""
        settings = self._settings
        if len(tracks) == 0 or len(candidates) == 0:
            return tracks, candidates
        lost_s = (frame.at_ms - self._seen_ms[tracks]) / 1000
        reach = np.where(self._is_confirmed()[tracks], settings.reach, settings.first_reach)
        ours = self._boxes.xyxy()[tracks]
        theirs = frame.detections.xyxy[candidates]
        height = ours[:, 3] - ours[:, 1]
        ratio = (theirs[:, 3] - theirs[:, 1])[None, :] / height[:, None]
        offset = _foot(ours)[:, None, :] - _foot(theirs)[None, :, :]
        distance = np.hypot(offset[..., 0], offset[..., 1]) / height[:, None]
        limit = np.minimum(settings.reach_max, reach * lost_s)[:, None]
        cost = np.where(np.abs(np.log(ratio)) < 0.35, distance / np.maximum(limit, 1e-9), 2.0)
        pairs = assign(np.minimum(cost, 2.0).astype(np.float64), 1.0)
        return self._take(frame, tracks, candidates, pairs)

    def _take(
        self, frame: _Frame, tracks: Rows, candidates: Rows, pairs: list[tuple[int, int]]
    ) -> tuple[Rows, Rows]:
        if not pairs:
            return tracks, candidates
        picked = np.array(pairs)
        rows, columns = tracks[picked[:, 0]], candidates[picked[:, 1]]
        score = frame.score[columns]
        self._boxes.update(rows, frame.detections.xyxy[columns], score)
        self._hits[rows] += 1
        self._seen_ms[rows] = frame.at_ms
        self._score[rows] = frame.detections.score[columns]
        self._score_sum[rows] += self._score[rows]
        self._vote(rows, frame.detections.class_id[columns], score)
        frame.rows.append(rows)
        frame.columns.append(columns)
        free = np.ones(len(tracks), dtype=np.bool_)
        free[picked[:, 0]] = False
        left = np.ones(len(candidates), dtype=np.bool_)
        left[picked[:, 1]] = False
        return tracks[free], candidates[left]

    def _vote(self, rows: Rows, class_id: ClassIds, weight: Scores) -> None:
        triples: zip[tuple[int, int, float]] = zip(
            rows.tolist(), class_id.tolist(), weight.tolist(), strict=True
        )
        for row, cls, score in triples:
            votes = self._votes[row]
            votes[cls] = votes.get(cls, 0.0) + score
            if len(votes) > 1:
                self._class_id[row] = max(votes, key=votes.__getitem__)

    def _smooth(self, frame: _Frame) -> None:
        """Hand what was matched to the smoother."""
        if frame.at_ms == self._smoothers.newest_ms:
            return  # a clock that stands still: the first frame of a moment is the one that counts
        rows = np.concatenate(frame.rows) if frame.rows else np.zeros(0, dtype=np.intp)
        columns = np.concatenate(frame.columns) if frame.columns else np.zeros(0, dtype=np.intp)
        foot, height = _places(frame.detections.xyxy[columns])
        self._smoothers.feed(frame.at_ms, rows, foot, height, frame.score[columns])
        for row, sample in zip(
            rows.tolist(), _samples(frame.at_ms, foot, height, frame.score[columns]), strict=True
        ):
            self._sample(row, sample)

    def _sample(self, row: int, sample: Sample) -> None:
        past = self._pasts[row]
        past.last.append(sample)
        if not self._is_known[row] and len(past.first) < _MAX_WAITING:
            past.first.append(sample)

    def _begin(self, frame: _Frame, candidates: Rows) -> None:
        candidates = candidates[: max(0, MAX_TRACKS - len(self._boxes))]
        n = len(candidates)
        if n == 0:
            return
        xyxy, score = frame.detections.xyxy[candidates], frame.detections.score[candidates]
        class_id = frame.detections.class_id[candidates]
        foot, height = _places(xyxy)
        before = len(self._boxes)
        self._boxes.add(xyxy)
        self._smoothers.add(foot, height, score)
        self._track_id = np.concatenate([self._track_id, np.arange(self._next_id, self._next_id + n)])
        self._next_id += n
        self._hits = np.concatenate([self._hits, np.ones(n, dtype=np.int64)])
        self._first_ms = np.concatenate([self._first_ms, np.full(n, frame.at_ms, dtype=np.int64)])
        self._seen_ms = np.concatenate([self._seen_ms, np.full(n, frame.at_ms, dtype=np.int64)])
        self._score = np.concatenate([self._score, score])
        self._score_sum = np.concatenate([self._score_sum, score])
        self._class_id = np.concatenate([self._class_id, class_id])
        self._votes += [{cls: one} for cls, one in zip(class_id.tolist(), score.tolist(), strict=True)]
        self._pasts += [_Past() for _ in range(n)]
        self._is_known = np.concatenate([self._is_known, np.zeros(n, dtype=np.bool_)])
        for row, sample in enumerate(_samples(frame.at_ms, foot, height, score), start=before):
            self._sample(row, sample)

    def _decide(
        self, now_ms: int | None, settled: list[_Places], gone: NDArray[np.bool_] | None = None
    ) -> None:
        """Decide of tracks that were seen for long enough, or are `gone`, whether they continue a lost one.

        Args:
            now_ms: The time; None decides of all.
            settled: What is settled by that is added.
            gone: Rows that must be decided now, shape (N,).
        """
        settings = self._settings
        undecided = np.flatnonzero(~self._is_known & (self._hits >= self._link_hits))
        if len(undecided) == 0:
            return
        is_due = self._hits[undecided] >= self._confirm_hits
        if now_ms is not None:
            wait_ms = max(round(settings.decide_s * 1000), self._patience_ms(settings.lost_s))
            is_due &= now_ms - self._first_ms[undecided] >= wait_ms
            if gone is not None:
                is_due |= gone[undecided]
        if not is_due.any():
            return
        starts = [(row, beginning(self._pasts[row].first)) for row in undecided.tolist()]
        continued = self._linker.link(starts, is_due.tolist())
        for row in undecided[is_due].tolist():
            if row in continued:
                self._continue(row, continued[row])
            if self._is_known[row] or self._hits[row] >= self._confirm_hits:
                self._is_known[row] = True
                self._flush(row, settled)

    def _continue(self, row: int, track: int) -> None:
        """Let a track be the continuation of a lost one."""
        lost, past = self._lost.pop(track), self._pasts[row]
        self._track_id[row] = track
        self._is_known[row] = lost.is_known
        self._hits[row] += lost.hits
        self._score_sum[row] += lost.score_sum
        past.places = [*lost.places, *self._smoothers.rejoin(row, lost.trail, past.first)]

    def _flush(self, row: int, settled: list[_Places]) -> None:
        """Hand on the places that have waited for the decision who a track is."""
        past = self._pasts[row]
        if past.places:
            times_ms, xs, ys, heights, _ = zip(*past.places, strict=True)
            rows = np.full(len(times_ms), row)
            xy = np.stack([np.array(xs), np.array(ys)], axis=1)
            settled.append(self._places_of(rows, np.array(times_ms), xy, np.array(heights)))
        past.first, past.places = [], []

    def _settle(self, now_ms: int | None, settled: list[_Places]) -> None:
        """Hand on what the smoother has settled: of tracks that are known; that of others waits."""
        places = self._smoothers.settle(now_ms)
        if places is None:
            return
        frames, rows = np.nonzero(places.seen & self._is_known)
        if len(rows):
            xy, height_px = places.xy[frames, rows], places.height_px[frames, rows]
            settled.append(self._places_of(rows, places.at_ms[frames], xy, height_px))
        for frame, row in np.argwhere(places.seen & ~self._is_known).tolist():
            waiting = self._pasts[row].places
            if len(waiting) < _MAX_WAITING:
                x, y = places.xy[frame, row].tolist()
                height_px = float(places.height_px[frame, row])
                waiting.append(Sample(int(places.at_ms[frame]), x, y, height_px, 1.0))

    def _places_of(
        self, rows: Rows, at_ms: NDArray[np.int64], xy: NDArray[np.float64], height_px: NDArray[np.float64]
    ) -> _Places:
        score = np.minimum(1.0, self._score_sum[rows] / self._hits[rows]).astype(np.float32)
        return _Places(self._track_id[rows], at_ms, xy, height_px, self._class_id[rows], score)

    def _drop_lost(self, at_ms: int, settled: list[_Places]) -> list[int]:
        """Let lost tracks go: confirmed ones wait for a continuation; return the ids that will not come back."""
        settings = self._settings
        longest_ms = self._patience_ms(settings.lost_s)
        wait_ms = max(round(settings.decide_s * 1000), longest_ms)
        ended = self._give_up(self._linker.forget(at_ms - wait_ms - round(settings.link.gap_s * 1000)))
        is_confirmed = self._is_confirmed()
        patience_ms = np.where(is_confirmed, longest_ms, self._patience_ms(settings.tentative_lost_s))
        gone = at_ms - self._seen_ms > patience_ms
        if not gone.any():
            return ended
        if self._smoothers.is_waiting(gone):
            self._settle(None, settled)  # after a pause without any frame
        self._decide(at_ms, settled, gone)
        for row in np.flatnonzero(gone).tolist():
            ended += self._lose(row)
        self._keep(~gone)
        return ended

    def _lose(self, row: int) -> list[int]:
        """Keep a lost track for its continuation; return the ids that will not come back."""
        track, past = int(self._track_id[row]), self._pasts[row]
        hits, is_known = int(self._hits[row]), bool(self._is_known[row])
        if hits < self._link_hits:
            return [track]
        self._lost[track] = _Lost(
            self._smoothers.trail(row), is_known, hits, float(self._score_sum[row]), past.places
        )
        return self._give_up(self._linker.lose(track, ending(past.last)))

    def _give_up(self, tracks: list[int]) -> list[int]:
        for track in tracks:
            self._lost.pop(track, None)
        return tracks

    def _is_confirmed(self) -> NDArray[np.bool_]:
        return self._is_known | (self._hits >= self._confirm_hits)

    def _patience_ms(self, seconds: float) -> int:
        return max(round(seconds * 1000), round(self._settings.patience_frames * self._step_ms))

    def _keep(self, mask: NDArray[np.bool_]) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        self._boxes.keep(mask)
        self._smoothers.keep(mask)
        self._track_id, self._hits = self._track_id[mask], self._hits[mask]
        self._first_ms, self._seen_ms = self._first_ms[mask], self._seen_ms[mask]
        self._class_id, self._score_sum = self._class_id[mask], self._score_sum[mask]
        self._is_known = self._is_known[mask]
        self._votes = [votes for votes, kept in zip(self._votes, mask, strict=True) if kept]
        self._pasts = [past for past, kept in zip(self._pasts, mask, strict=True) if kept]

    def _tracks(self, at_ms: int, settled: list[_Places], ended: list[int]) -> Tracks:
        return Tracks(
            xyxy=self._boxes.xyxy(),
            score=self._score,
            class_id=self._class_id.copy(),
            track_id=self._track_id.copy(),
            seen=self._seen_ms == at_ms,
            confirmed=self._is_confirmed(),
            settled=_spots(settled),
            ended=tuple(ended),
        )


def _spots(settled: list[_Places]) -> Spots:
    if not settled:
        return Spots.empty()
    if len(settled) == 1:
        return Spots(*settled[0])
    at_ms = np.concatenate([places.at_ms for places in settled])
    order = np.argsort(at_ms, kind="stable")
    return Spots(
        np.concatenate([places.track_id for places in settled])[order],
        at_ms[order],
        np.concatenate([places.xy for places in settled])[order],
        np.concatenate([places.height_px for places in settled])[order],
        np.concatenate([places.class_id for places in settled])[order],
        np.concatenate([places.score for places in settled])[order],
    )


def _places(xyxy: Boxes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each box's lower edge, shape (N, 2), and its height, shape (N,)."""
    box = xyxy.astype(np.float64)
    return np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]], axis=1), box[:, 3] - box[:, 1]


def _samples(
    at_ms: int, foot: NDArray[np.float64], height_px: NDArray[np.float64], score: Scores
) -> list[Sample]:
    columns = zip(foot.tolist(), height_px.tolist(), score.tolist(), strict=True)
    return [Sample(at_ms, x, y, height, sure) for (x, y), height, sure in columns]


def _foot(xyxy: Boxes) -> NDArray[np.float32]:
    """Return the middle of each box's lower edge, shape (N, 2)."""
    return np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1).astype(np.float32)


def _covered(xyxy: Boxes) -> NDArray[np.float64]:
    """Return which share of each box the box that covers it most covers, shape (N,)."""
    left_top = np.maximum(xyxy[:, None, :2], xyxy[None, :, :2])
    right_bottom = np.minimum(xyxy[:, None, 2:], xyxy[None, :, 2:])
    inner = np.clip(right_bottom - left_top, 0, None).prod(axis=2).astype(np.float64)
    area = np.diagonal(inner).copy()
    np.fill_diagonal(inner, 0.0)
    return inner.max(axis=1) / np.maximum(area, 1e-9)
