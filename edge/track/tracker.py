"""Detections of single frames become tracks of objects.

Two-stage association after ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every
Detection Box", ECCV 2022): sure detections are matched first, then weak ones to the tracks that are left, so that
an object that is half hidden keeps its track. Unlike the paper's code all durations are seconds and all lengths box
heights, ids belong to the tracker and are never reused, and a track's class is a vote over its life.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes, ClassIds, Detections, Scores, Spots, TrackIds, Tracks
from edge.track.associate import assign, iou
from edge.track.kalman import KalmanBoxes, Noise
from edge.track.smooth import Place, Smoother, SmootherSettings

# More tracks at once than people fit into a picture: a detector gone wild must not eat the machine.
MAX_TRACKS = 512


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
        reach_max: In box heights.
        confirm_hits: Detections that make a track of an object; fewer are noise.
        lost_s: A confirmed track without a detection ends after this time.
        tentative_lost_s: An unconfirmed one after this.
        noise: Of the filter that predicts boxes.
        smoother: Of what is counted.
    """

    sure_score: float = 0.3
    weak_score: float = 0.1
    match_iou: float = 0.15
    weak_match_iou: float = 0.5
    reach: float = 0.6
    reach_max: float = 0.8
    confirm_hits: int = 3
    lost_s: float = 1.5
    tentative_lost_s: float = 0.4
    noise: Noise = field(default_factory=Noise)
    smoother: SmootherSettings = field(default_factory=SmootherSettings)


class _Settled(NamedTuple):
    track_id: int
    place: Place
    class_id: int
    score: float


class Tracker:
    """Tracks the objects of one camera. `feed` it each frame, in order of time."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        """Start without a track."""
        self._settings = settings or TrackerSettings()
        self._boxes = KalmanBoxes(self._settings.noise)
        self._track_id: TrackIds = np.zeros(0, dtype=np.int64)
        self._hits = np.zeros(0, dtype=np.int64)
        self._seen_ms = np.zeros(0, dtype=np.int64)
        self._score: Scores = np.zeros(0, dtype=np.float32)
        self._class_id: ClassIds = np.zeros(0, dtype=np.int16)
        self._votes: list[dict[int, float]] = []
        self._smoothers: list[Smoother] = []
        self._next_id = 1
        self._at_ms: int | None = None

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
            self._boxes.predict((at_ms - self._at_ms) / 1000)
        self._at_ms = at_ms
        ended, settled = self._drop_lost(at_ms)
        self._score = np.zeros(len(self._boxes), dtype=np.float32)
        sure = np.flatnonzero(detections.score >= settings.sure_score)
        weak = np.flatnonzero(
            (detections.score < settings.sure_score) & (detections.score >= settings.weak_score)
        )
        free = np.arange(len(self._boxes))
        free, sure = self._match(detections, free, sure, settings.match_iou, at_ms)
        free, _ = self._match(detections, free, weak, settings.weak_match_iou, at_ms)
        free, sure = self._match_far(detections, free, sure, at_ms)
        self._begin(detections, sure, at_ms)
        for row in range(len(self._boxes)):
            settled += self._settle(row, at_ms)
        return self._tracks(at_ms, settled, ended)

    def finish(self) -> Tracks:
        """End all tracks, because no frame will come any more; all that was seen is settled."""
        settled = [spot for row in range(len(self._boxes)) for spot in self._settle(row, None)]
        ended = tuple(int(track) for track in self._track_id)
        self._keep(np.zeros(len(self._boxes), dtype=np.bool_))
        self._score = np.zeros(0, dtype=np.float32)
        return self._tracks(self._at_ms or 0, settled, ended)

    def _match(
        self,
        detections: Detections,
        tracks: NDArray[np.intp],
        candidates: NDArray[np.intp],
        least_iou: float,
        at_ms: int,
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Match by overlap; return the tracks and the detections that are left."""
        if len(tracks) == 0 or len(candidates) == 0:
            return tracks, candidates
        overlap = iou(self._boxes.xyxy()[tracks], detections.xyxy[candidates])
        # A track that was confirmed long ago is a better owner than one that has just begun.
        tentative = (self._hits[tracks] < self._settings.confirm_hits)[:, None] * 0.1
        pairs = assign(1.0 - overlap + tentative, 1.0 - least_iou)
        return self._take(detections, tracks, candidates, pairs, at_ms)

    def _match_far(
        self, detections: Detections, tracks: NDArray[np.intp], candidates: NDArray[np.intp], at_ms: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Match confirmed tracks that are lost with sure detections near where they should be by now."""
        settings = self._settings
        lost_s = (at_ms - self._seen_ms[tracks]) / 1000
        eligible = self._hits[tracks] >= settings.confirm_hits
        chosen = tracks[eligible]
        if len(chosen) == 0 or len(candidates) == 0:
            return tracks, candidates
        ours = self._boxes.xyxy()[chosen]
        theirs = detections.xyxy[candidates]
        height = ours[:, 3] - ours[:, 1]
        ratio = (theirs[:, 3] - theirs[:, 1])[None, :] / height[:, None]
        offset = _foot(ours)[:, None, :] - _foot(theirs)[None, :, :]
        distance = np.hypot(offset[..., 0], offset[..., 1]) / height[:, None]
        limit = np.minimum(settings.reach_max, settings.reach * lost_s[eligible])[:, None]
        cost = np.where(np.abs(np.log(ratio)) < 0.35, distance / np.maximum(limit, 1e-9), 2.0)
        pairs = assign(np.minimum(cost, 2.0).astype(np.float64), 1.0)
        rest, left = self._take(detections, chosen, candidates, pairs, at_ms)
        return np.concatenate([tracks[~eligible], rest]), left

    def _take(
        self,
        detections: Detections,
        tracks: NDArray[np.intp],
        candidates: NDArray[np.intp],
        pairs: list[tuple[int, int]],
        at_ms: int,
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if not pairs:
            return tracks, candidates
        rows = tracks[[row for row, _ in pairs]]
        columns = candidates[[column for _, column in pairs]]
        score = detections.score[columns]
        self._boxes.update(rows, detections.xyxy[columns], score)
        self._hits[rows] += 1
        self._seen_ms[rows] = at_ms
        self._score[rows] = score
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            self._vote(row, int(detections.class_id[column]), float(detections.score[column]))
            self._sample(row, detections, column, at_ms)
        return np.setdiff1d(tracks, rows), np.setdiff1d(candidates, columns)

    def _vote(self, row: int, class_id: int, weight: float) -> None:
        votes = self._votes[row]
        votes[class_id] = votes.get(class_id, 0.0) + weight
        self._class_id[row] = max(votes, key=lambda one: votes[one])

    def _sample(self, row: int, detections: Detections, column: int, at_ms: int) -> None:
        x1, y1, x2, y2 = (float(value) for value in detections.xyxy[column])
        self._smoothers[row].add(at_ms, (x1 + x2) / 2, y2, y2 - y1, float(detections.score[column]))

    def _settle(self, row: int, now_ms: int | None) -> list[_Settled]:
        """Return what is settled of one track; nothing before it is confirmed."""
        hits = int(self._hits[row])
        if hits < self._settings.confirm_hits:
            return []
        places = self._smoothers[row].settle(now_ms)
        if not places:
            return []
        score = min(1.0, sum(self._votes[row].values()) / hits)
        return [
            _Settled(int(self._track_id[row]), place, int(self._class_id[row]), score) for place in places
        ]

    def _begin(self, detections: Detections, candidates: NDArray[np.intp], at_ms: int) -> None:
        candidates = candidates[: max(0, MAX_TRACKS - len(self._boxes))]
        n = len(candidates)
        if n == 0:
            return
        self._boxes.add(detections.xyxy[candidates])
        self._track_id = np.concatenate([self._track_id, np.arange(self._next_id, self._next_id + n)])
        self._next_id += n
        self._hits = np.concatenate([self._hits, np.ones(n, dtype=np.int64)])
        self._seen_ms = np.concatenate([self._seen_ms, np.full(n, at_ms, dtype=np.int64)])
        self._score = np.concatenate([self._score, detections.score[candidates]])
        self._class_id = np.concatenate([self._class_id, detections.class_id[candidates]])
        self._votes += [
            {int(class_id): float(score)}
            for class_id, score in zip(
                detections.class_id[candidates], detections.score[candidates], strict=True
            )
        ]
        for column in candidates.tolist():
            self._smoothers.append(Smoother(self._settings.smoother))
            self._sample(len(self._smoothers) - 1, detections, column, at_ms)

    def _drop_lost(self, at_ms: int) -> tuple[tuple[int, ...], list[_Settled]]:
        """Let lost tracks go; return their ids, and where their objects stood as far as that was not settled."""
        settings = self._settings
        patience_ms = (
            np.where(self._hits >= settings.confirm_hits, settings.lost_s, settings.tentative_lost_s) * 1000
        )
        keep = at_ms - self._seen_ms <= patience_ms
        if keep.all():
            return (), []
        gone = np.flatnonzero(~keep).tolist()
        ended = tuple(int(self._track_id[row]) for row in gone)
        settled = [spot for row in gone for spot in self._settle(row, None)]
        self._keep(keep)
        return ended, settled

    def _keep(self, mask: NDArray[np.bool_]) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        self._boxes.keep(mask)
        self._track_id, self._hits = self._track_id[mask], self._hits[mask]
        self._seen_ms, self._class_id = self._seen_ms[mask], self._class_id[mask]
        self._votes = [votes for votes, kept in zip(self._votes, mask, strict=True) if kept]
        self._smoothers = [smoother for smoother, kept in zip(self._smoothers, mask, strict=True) if kept]

    def _tracks(self, at_ms: int, settled: list[_Settled], ended: tuple[int, ...]) -> Tracks:
        return Tracks(
            xyxy=self._boxes.xyxy(),
            score=self._score,
            class_id=self._class_id.copy(),
            track_id=self._track_id.copy(),
            seen=self._seen_ms == at_ms,
            confirmed=self._hits >= self._settings.confirm_hits,
            settled=_spots(settled),
            ended=ended,
        )


def _spots(settled: list[_Settled]) -> Spots:
    if not settled:
        return Spots.empty()
    settled = sorted(settled, key=lambda one: one.place.at_ms)
    return Spots(
        track_id=np.array([one.track_id for one in settled], dtype=np.int64),
        at_ms=np.array([one.place.at_ms for one in settled], dtype=np.int64),
        xy=np.array([(one.place.x, one.place.y) for one in settled]),
        height_px=np.array([one.place.height_px for one in settled]),
        class_id=np.array([one.class_id for one in settled], dtype=np.int16),
        score=np.array([one.score for one in settled], dtype=np.float32),
    )


def _foot(xyxy: Boxes) -> NDArray[np.float32]:
    """Return the middle of each box's lower edge, shape (N, 2)."""
    return np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1).astype(np.float32)
