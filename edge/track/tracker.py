"""Detections of single frames become tracks of objects.

Two-stage association after ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every
Detection Box", ECCV 2022): sure detections are matched first, then weak ones to the tracks that are left, so that
an object that is half hidden keeps its track. Unlike the paper's code all durations are seconds and all lengths box
heights, ids belong to the tracker and are never reused, a track's class is a vote over its life, a box that breaks the
scene's perspective is mistrusted where another explains it (`edge.track.perspective`), and a track ends soon when it is
not seen: whether one that begins later is the same object is decided when more of it is known (`edge.track.link`).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes, Detections, Scores, Tracks
from edge.track.associate import Pairs, assign, covered, farness, iou
from edge.track.book import Book, Bools, Places, Rows, spots
from edge.track.kalman import KalmanBoxes, Noise, to_states
from edge.track.link import Linker, LinkSettings, beginning, ending
from edge.track.perspective import Perspective
from edge.track.smooth import Sample, SmootherBank, SmootherSettings, Trail

# More tracks at once than people fit into a picture: a detector gone wild must not eat the machine.
MAX_TRACKS = 512
# Frames that are further apart are no rate but an interruption.
_LONGEST_STEP_MS = 1_000
# How much one more frame tells of the usual distance of frames.
_STEP_SHARE = 0.1


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


class _Lost(NamedTuple):
    """What a lost track has left for its continuation; of one that was too short to be an object also its places."""

    trail: Trail
    is_known: bool
    hits: int
    score_sum: float
    places: list[Sample]


class _Frame:
    """One frame's detections, and which tracks have got which of them."""

    __slots__ = ("at_ms", "columns", "detections", "rows", "score", "states")

    def __init__(self, detections: Detections, score: Scores, at_ms: int) -> None:
        self.detections = detections
        self.states = to_states(detections.xyxy)
        self.score = score
        self.at_ms = at_ms
        self.rows: list[int] = []
        self.columns: list[int] = []


class Tracker:
    """Tracks the objects of one camera. `feed` it each frame, in order of time."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        """Start without a track."""
        self._settings = settings or TrackerSettings()
        self._perspective = Perspective()
        self._linker = Linker(self._settings.link)
        # Of the living tracks; row by row the same.
        self._book = Book()
        self._boxes = KalmanBoxes(self._settings.noise)
        self._smoothers = SmootherBank(self._settings.smoother)
        self._lost: dict[int, _Lost] = {}
        self._at_ms: int | None = None
        self._step_ms = 0.0
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
        if self._at_ms is not None and at_ms > self._at_ms:
            step_ms = at_ms - self._at_ms
            self._learn_step(min(step_ms, _LONGEST_STEP_MS))
            self._boxes.predict(step_ms / 1000)
        self._at_ms = at_ms
        settled: list[Places] = []
        ended = self._drop_lost(at_ms, settled)
        self._book.next_frame()
        frame = _Frame(detections, self._trusted(detections), at_ms)
        sure = self._match_all(frame)
        self._take(frame)
        self._begin(frame, sure)
        self._decide(at_ms, settled)
        self._settle(at_ms, settled)
        return self._tracks(at_ms, settled, ended)

    def _learn_step(self, step_ms: int) -> None:
        """Follow the usual distance of frames: a live stream brings some in bursts, which are no higher rate."""
        settings = self._settings
        self._step_ms += (step_ms - self._step_ms) * (_STEP_SHARE if self._step_ms else 1.0)
        self._confirm_hits = max(settings.confirm_hits, round(settings.confirm_s * 1000 / self._step_ms))
        # Whoever is confirmed may be linked, whatever the settings say.
        link_hits = max(settings.link_hits, round(settings.link_s * 1000 / self._step_ms))
        self._link_hits = min(link_hits, self._confirm_hits)

    def finish(self) -> Tracks:
        """End all tracks, because no frame will come any more; all that was seen is settled."""
        settled: list[Places] = []
        self._settle(None, settled)
        self._decide(None, settled)
        ended = [*self._book.track_id.tolist(), *self._give_up(self._linker.forget(None))]
        self._keep(np.zeros(len(self._book), dtype=np.bool_))
        self._book.next_frame()
        return self._tracks(self._at_ms or 0, settled, ended)

    def _trusted(self, detections: Detections) -> Scores:
        """Return how far each detection is trusted: its score, or less if it looks like no whole object."""
        settings = self._settings
        if settings.strange <= 0:
            return detections.score
        is_strange = self._perspective.strangeness(detections.xyxy) > settings.strange
        self._perspective.learn(detections.xyxy[detections.score >= settings.sure_score])
        if not np.count_nonzero(is_strange):
            return detections.score
        is_strange &= covered(detections.xyxy) >= settings.strange_overlap
        return np.where(is_strange, np.minimum(detections.score, settings.strange_score), detections.score)

    def _match_all(self, frame: _Frame) -> Rows:
        """Find out which tracks are seen in a frame; return the sure detections that are none of them."""
        settings = self._settings
        free = np.arange(len(self._book))
        sure = (frame.score >= settings.sure_score).nonzero()[0]
        if len(free) == 0:
            return sure
        boxes, is_confirmed = self._boxes.xyxy(), self._is_confirmed()
        # A track that was confirmed long ago is a better owner than one that has just begun.
        handicap = (~is_confirmed).astype(np.float64) * 0.1
        free, sure = _match(frame, boxes, handicap, (free, sure), settings.match_iou)
        if len(free) and len(sure) < len(frame.score):
            weak = ((frame.score < settings.sure_score) & (frame.score >= settings.weak_score)).nonzero()[0]
            free, _ = _match(frame, boxes, handicap, (free, weak), settings.weak_match_iou)
        if len(free) and len(sure):
            # Tracks that overlap nothing, with sure detections near where they should be by now.
            lost_s = (frame.at_ms - self._book.seen_ms[free]) / 1000
            reach = np.where(is_confirmed[free], settings.reach, settings.first_reach)
            limit = np.minimum(settings.reach_max, reach * lost_s)
            cost = farness(boxes[free], frame.detections.xyxy[sure], limit)
            free, sure = _pick(frame, free, sure, assign(cost, 1.0))
        return sure

    def _take(self, frame: _Frame) -> None:
        """Take note of the tracks that are seen."""
        rows, columns = np.array(frame.rows, dtype=np.intp), np.array(frame.columns, dtype=np.intp)
        detections, score = frame.detections, frame.score.take(columns)
        seen = frame.states.take(columns, axis=0)
        all_seen, doubt = np.zeros((len(self._book), 4)), np.empty(len(self._book))
        all_seen[rows] = seen
        doubt.fill(np.inf)
        doubt[rows] = _doubt(score)
        self._boxes.update(all_seen, doubt)
        self._book.see(
            rows, frame.at_ms, detections.score.take(columns), detections.class_id.take(columns), score
        )
        if frame.at_ms == self._smoothers.newest_ms:
            return  # a clock that stands still: the first frame of a moment is the one that counts
        self._smoothers.feed(frame.at_ms, all_seen[:, :2], all_seen[:, 3], doubt)
        self._book.remember(rows, frame.at_ms, seen, score)

    def _begin(self, frame: _Frame, candidates: Rows) -> None:
        candidates = candidates[: max(0, MAX_TRACKS - len(self._book))]
        if len(candidates) == 0:
            return
        before = len(self._book)
        seen, score = frame.states[candidates], frame.detections.score[candidates]
        self._boxes.add(seen)
        self._smoothers.add(seen[:, :2], seen[:, 3], _doubt(score))
        self._book.begin(frame.at_ms, score, frame.detections.class_id[candidates])
        self._book.remember(np.arange(before, len(self._book)), frame.at_ms, seen, score)

    def _decide(self, now_ms: int | None, settled: list[Places], gone: Bools | None = None) -> None:
        """Decide of tracks that were seen for long enough, or are `gone`, whether they continue a lost one.

        Args:
            now_ms: The time; None decides of all.
            settled: What is settled by that is added.
            gone: Rows that must be decided now, shape (N,).
        """
        settings, book = self._settings, self._book
        if np.count_nonzero(book.is_known) == len(book):
            return
        undecided = (~book.is_known & (book.hits >= self._link_hits)).nonzero()[0]
        if len(undecided) == 0:
            return
        is_due = book.hits[undecided] >= self._confirm_hits
        if now_ms is not None:
            wait_ms = max(round(settings.decide_s * 1000), self._patience_ms(settings.lost_s))
            is_due &= now_ms - book.first_ms[undecided] >= wait_ms
            if gone is not None:
                is_due |= gone[undecided]
        if not np.count_nonzero(is_due):
            return
        starts = [(row, beginning(book.pasts[row].first)) for row in undecided.tolist()]
        continued = self._linker.link(starts, is_due.tolist())
        for row in undecided[is_due].tolist():
            if row in continued:
                self._continue(row, continued[row])
            if book.is_known[row] or book.hits[row] >= self._confirm_hits:
                settled += book.know(row)

    def _continue(self, row: int, track: int) -> None:
        """Let a track be the continuation of a lost one."""
        lost, book = self._lost.pop(track), self._book
        past = book.pasts[row]
        book.track_id[row] = track
        book.is_known[row] = lost.is_known
        book.hits[row] += lost.hits
        book.score_sum[row] += lost.score_sum
        past.places = [*lost.places, *self._smoothers.rejoin(row, lost.trail, past.first)]

    def _settle(self, now_ms: int | None, settled: list[Places]) -> None:
        """Hand on what the smoother has settled: of tracks that are known; that of others waits."""
        places = self._smoothers.settle(now_ms)
        if places is not None:
            settled += self._book.settled(places)

    def _drop_lost(self, at_ms: int, settled: list[Places]) -> list[int]:
        """Let lost tracks go: confirmed ones wait for a continuation; return the ids that will not come back."""
        settings, seen_ms = self._settings, self._book.seen_ms
        longest_ms = self._patience_ms(settings.lost_s)
        wait_ms = max(round(settings.decide_s * 1000), longest_ms)
        ended = self._give_up(self._linker.forget(at_ms - wait_ms - round(settings.link.gap_s * 1000)))
        tentative_ms = self._patience_ms(settings.tentative_lost_s)
        if len(seen_ms) == 0 or at_ms - int(seen_ms.min()) <= min(longest_ms, tentative_ms):
            return ended
        gone = at_ms - seen_ms > np.where(self._is_confirmed(), longest_ms, tentative_ms)
        if not np.count_nonzero(gone):
            return ended
        if self._smoothers.is_waiting(gone):
            self._settle(None, settled)  # after a pause without any frame
        self._decide(at_ms, settled, gone)
        for row in gone.nonzero()[0].tolist():
            ended += self._lose(row)
        self._keep(~gone)
        return ended

    def _lose(self, row: int) -> list[int]:
        """Keep a lost track for its continuation; return the ids that will not come back."""
        book = self._book
        track, past, hits = int(book.track_id[row]), book.pasts[row], int(book.hits[row])
        if hits < self._link_hits and not book.is_known[row]:
            return [track]
        self._lost[track] = _Lost(
            self._smoothers.trail(row),
            bool(book.is_known[row]),
            hits,
            float(book.score_sum[row]),
            past.places,
        )
        return self._give_up(self._linker.lose(track, ending(past.last)))

    def _give_up(self, tracks: list[int]) -> list[int]:
        for track in tracks:
            self._lost.pop(track, None)
        return tracks

    def _is_confirmed(self) -> Bools:
        return self._book.is_known | (self._book.hits >= self._confirm_hits)

    def _patience_ms(self, seconds: float) -> int:
        return max(round(seconds * 1000), round(self._settings.patience_frames * self._step_ms))

    def _keep(self, mask: Bools) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        self._boxes.keep(mask)
        self._smoothers.keep(mask)
        self._book.keep(mask)

    def _tracks(self, at_ms: int, settled: list[Places], ended: list[int]) -> Tracks:
        book = self._book
        return Tracks(
            xyxy=self._boxes.xyxy(),
            score=book.score,
            class_id=book.class_id.copy(),
            track_id=book.track_id.copy(),
            seen=book.seen_ms == at_ms,
            confirmed=self._is_confirmed(),
            settled=spots(settled),
            ended=tuple(ended),
        )


def _doubt(score: Scores) -> NDArray[np.float64]:
    """Return `doubt_of` many scores."""
    return 1 / np.maximum(score, 0.05).astype(np.float64)


def _match(
    frame: _Frame, boxes: Boxes, handicap: NDArray[np.float64], left: tuple[Rows, Rows], least_iou: float
) -> tuple[Rows, Rows]:
    """Match tracks with detections by overlap.

    Args:
        frame: Takes note of the pairs.
        boxes: Of all tracks, shape (N, 4).
        handicap: What is taken off the overlap of each track, shape (N,).
        left: The tracks and the detections to match.
        least_iou: Overlap that a pair needs.

    Returns:
        The tracks and the detections that are left.
    """
    tracks, candidates = left
    if len(tracks) == 0 or len(candidates) == 0:
        return left
    overlap = iou(boxes.take(tracks, axis=0), frame.detections.xyxy.take(candidates, axis=0))
    cost = 1.0 - overlap + handicap.take(tracks)[:, None]
    return _pick(frame, tracks, candidates, assign(cost, 1.0 - least_iou))


def _pick(frame: _Frame, tracks: Rows, candidates: Rows, pairs: Pairs) -> tuple[Rows, Rows]:
    """Take note of pairs; return the tracks and the detections that are left."""
    if not pairs:
        return tracks, candidates
    rows, columns = (list(indices) for indices in zip(*pairs, strict=True))
    frame.rows += tracks.take(rows).tolist()
    frame.columns += candidates.take(columns).tolist()
    return _without(tracks, rows), _without(candidates, columns)


def _without(rows: Rows, places: list[int]) -> Rows:
    if len(places) == len(rows):
        return rows[:0]
    left = np.ones(len(rows), dtype=np.bool_)
    left[places] = False
    return rows[left]
