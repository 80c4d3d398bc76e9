"""What is known of the living tracks besides where they are: who they are, how often and how surely they were seen."""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.arrays import ClassIds, Scores, Spots, TrackIds
from edge.track.kalman import States
from edge.track.smooth import Sample, Settled

# Places that wait for the decision who a track is; the time that takes is bounded, this is for clocks that jump.
_MAX_WAITING = 1_000
# Newest detections of a track, from which its motion is taken when it is lost.
_RECENT = 32

Rows = NDArray[np.intp]
Bools = NDArray[np.bool_]
_Seen = tuple[int, float, float, float, float]
"""A `Sample` without its names: hundreds are made in a second, and few are looked at."""


_NO_SPOTS = Spots.empty()


class Past:
    """What one track has left behind.

    Attributes:
        places: Its settled places, which wait until it is decided who it is.
        votes: For each class, the sum of the scores of its detections.
    """

    __slots__ = ("_first", "_last", "places", "votes")

    def __init__(self, cls: int, score: float) -> None:
        """Take the class and the score of its first detection."""
        self._first: list[_Seen] = []
        self._last: deque[_Seen] = deque(maxlen=_RECENT)
        self.places: list[Sample] = []
        self.votes = {cls: score}

    def see(self, seen: _Seen, *, is_known: bool) -> None:
        """Keep a detection: the first ones until it is decided who the track is, and the newest."""
        self._last.append(seen)
        if not is_known and len(self._first) < _MAX_WAITING:
            self._first.append(seen)

    @property
    def first(self) -> list[Sample]:
        """All detections, until it was decided who the track is."""
        return [Sample._make(seen) for seen in self._first]

    @property
    def last(self) -> list[Sample]:
        """The newest detections."""
        return [Sample._make(seen) for seen in self._last]

    def wait(self, place: Sample) -> None:
        """Keep a settled place until it is decided who the track is."""
        if len(self.places) < _MAX_WAITING:
            self.places.append(place)

    def decided(self) -> list[Sample]:
        """Let go of what was kept for the decision; return the places that have waited for it."""
        places, self.places, self._first = self.places, [], []
        return places


class Places(NamedTuple):
    """Some spots; see `Spots`."""

    track_id: TrackIds
    at_ms: NDArray[np.int64]
    xy: NDArray[np.float64]
    height_px: NDArray[np.float64]
    class_id: ClassIds
    score: Scores


class Book:
    """N living tracks. Rows keep their order.

    Attributes:
        track_id: shape (N,), as everything here.
        hits: Of how many detections it is made.
        first_ms: When it was seen first.
        seen_ms: And last.
        score: Confidence of the detection of the newest frame, 0 if there was none; a new array each frame.
        score_sum: Of all.
        class_id: By vote.
        is_known: Whether it is decided who it is.
        pasts: What else there is.
    """

    def __init__(self) -> None:
        """Start without a track."""
        self.track_id: TrackIds = np.zeros(0, dtype=np.int64)
        self.hits = np.zeros(0, dtype=np.int64)
        self.first_ms = np.zeros(0, dtype=np.int64)
        self.seen_ms = np.zeros(0, dtype=np.int64)
        self.score: Scores = np.zeros(0, dtype=np.float32)
        self.score_sum = np.zeros(0)
        self.class_id: ClassIds = np.zeros(0, dtype=np.int16)
        self.is_known: Bools = np.zeros(0, dtype=np.bool_)
        self.pasts: list[Past] = []
        self._next_id = 1

    def __len__(self) -> int:
        return len(self.pasts)

    def next_frame(self) -> None:
        """Nobody has been seen yet in a new frame."""
        self.score = np.zeros(len(self), dtype=np.float32)

    def begin(self, at_ms: int, score: Scores, class_id: ClassIds) -> None:
        """Begin M tracks at the end with a detection each, shapes (M,)."""
        n = len(score)
        one = np.ones(n, dtype=np.int64)
        self.track_id = np.concatenate([self.track_id, np.arange(self._next_id, self._next_id + n)])
        self._next_id += n
        self.hits = np.concatenate([self.hits, one])
        self.first_ms = np.concatenate([self.first_ms, one * at_ms])
        self.seen_ms = np.concatenate([self.seen_ms, one * at_ms])
        self.score = np.concatenate([self.score, score])
        self.score_sum = np.concatenate([self.score_sum, score])
        self.class_id = np.concatenate([self.class_id, class_id])
        self.is_known = np.concatenate([self.is_known, np.zeros(n, dtype=np.bool_)])
        self.pasts += map(Past, class_id.tolist(), score.tolist())

    def see(self, rows: Rows, at_ms: int, score: Scores, class_id: ClassIds, weight: Scores) -> None:
        """Give tracks a detection each.

        Args:
            rows: Which tracks, shape (M,).
            at_ms: When.
            score: Of the detections, shape (M,).
            class_id: Their classes, shape (M,).
            weight: What their votes on the class count, shape (M,).
        """
        self.hits[rows] += 1
        self.seen_ms[rows] = at_ms
        self.score[rows] = score
        self.score_sum += self.score
        votes_cast: zip[tuple[int, int, float]] = zip(
            rows.tolist(), class_id.tolist(), weight.tolist(), strict=True
        )
        for row, cls, one in votes_cast:
            votes = self.pasts[row].votes
            votes[cls] = votes.get(cls, 0.0) + one
            if len(votes) > 1:
                self.class_id[row] = max(votes, key=votes.__getitem__)

    def remember(self, rows: Rows, at_ms: int, seen: States, score: Scores) -> None:
        """Keep tracks' detections: rows, shape (M,); states, shape (M, 4); scores, shape (M,)."""
        is_known: list[bool] = self.is_known.tolist()
        all_seen: zip[tuple[int, list[float], float]] = zip(
            rows.tolist(), seen.tolist(), score.tolist(), strict=True
        )
        for row, (x, y, _, height_px), one in all_seen:
            self.pasts[row].see((at_ms, x, y, height_px, one), is_known=is_known[row])

    def keep(self, mask: Bools) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        self.track_id, self.hits = self.track_id[mask], self.hits[mask]
        self.first_ms, self.seen_ms = self.first_ms[mask], self.seen_ms[mask]
        self.class_id, self.score_sum = self.class_id[mask], self.score_sum[mask]
        self.is_known = self.is_known[mask]
        self.pasts = [past for past, kept in zip(self.pasts, mask.tolist(), strict=True) if kept]

    def settled(self, places: Settled) -> list[Places]:
        """Return what of settled frames belongs to tracks that are known; that of others waits."""
        frames, rows = (places.seen & self.is_known).nonzero()
        found: list[Places] = []
        if len(rows):
            at = frames * len(self) + rows
            xy = places.xy.reshape(-1, 2).take(at, axis=0)
            found = [self._places(rows, places.at_ms.take(frames), xy, places.height_px.take(at))]
        if len(rows) < np.count_nonzero(places.seen):
            for frame, row in np.argwhere(places.seen & ~self.is_known).tolist():
                x, y = places.xy[frame, row].tolist()
                height_px = float(places.height_px[frame, row])
                self.pasts[row].wait(Sample(int(places.at_ms[frame]), x, y, height_px, 1.0))
        return found

    def know(self, row: int) -> list[Places]:
        """It is decided who a track is: return its places that have waited for that."""
        self.is_known[row] = True
        waited = self.pasts[row].decided()
        if not waited:
            return []
        times_ms, xs, ys, heights, _ = zip(*waited, strict=True)
        rows = np.full(len(times_ms), row)
        return [self._places(rows, np.array(times_ms), np.array([xs, ys]).T, np.array(heights))]

    def _places(
        self, rows: Rows, at_ms: NDArray[np.int64], xy: NDArray[np.float64], height_px: NDArray[np.float64]
    ) -> Places:
        score = np.minimum(self.score_sum / self.hits, 1.0).astype(np.float32)
        return Places(
            self.track_id.take(rows), at_ms, xy, height_px, self.class_id.take(rows), score.take(rows)
        )


def spots(settled: list[Places]) -> Spots:
    """Return all as one, in order of time."""
    if not settled:
        return _NO_SPOTS
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
