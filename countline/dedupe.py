"""Which events are new: one contiguous mark per (device, epoch), and a few ranges above it.

Delivery repeats events (a lost acknowledgement, a reconnect, a restart) and may skip some for a while. Because
`seq` has no gaps, one integer remembers everything that has arrived, and a short list of ranges the rest::

    seq   1 2 3 4 5 . . 8 9 . 11          contiguous = 5, ranges = [(8, 9), (11, 11)], missing = [(6, 7), (10, 10)]
"""

from enum import StrEnum

from msgspec import Struct

# A device that has re-created its outbox this often still has its older epochs known. Beyond it the oldest goes.
MAX_EPOCHS_PER_DEVICE = 8
# More separate gaps than this mean a broken link: nothing above is taken until the device has resent what is missing.
MAX_RANGES_PER_EPOCH = 256


class Verdict(StrEnum):
    """What a sequence number is to us."""

    NEW = "new"
    DUPLICATE = "duplicate"
    # Not taken, not confirmed: the device will send it again.
    NOT_YET = "not_yet"


class EpochState(Struct, frozen=True):
    """What has arrived of one epoch.

    Attributes:
        epoch: The outbox generation.
        contiguous: Every `seq` up to and including this one has arrived.
        ranges: Inclusive ranges above `contiguous`, ascending, not touching each other.
    """

    epoch: int
    contiguous: int = 0
    ranges: tuple[tuple[int, int], ...] = ()


class DeviceState(Struct, frozen=True):
    """What has arrived of one device, all its known epochs, ascending."""

    epochs: tuple[EpochState, ...] = ()


class DeviceDedupe:
    """Remembers what has arrived of one device. Its state is bounded by the two constants above."""

    def __init__(self) -> None:
        self._epochs: dict[int, EpochState] = {}

    @classmethod
    def restore(cls, state: DeviceState) -> "DeviceDedupe":
        """Build one that goes on from a snapshot."""
        dedupe = cls()
        dedupe._epochs = {epoch.epoch: epoch for epoch in state.epochs}
        return dedupe

    def snapshot(self) -> DeviceState:
        """Return all that is remembered."""
        return DeviceState(tuple(self._epochs[epoch] for epoch in sorted(self._epochs)))

    def feed(self, epoch: int, seq: int) -> Verdict:
        """Take note of one event's identity and say whether it is new.

        An epoch older than all known ones, when as many are known as may be, counts as seen: its outbox is gone.
        """
        state = self._epochs.get(epoch)
        if state is None:
            if len(self._epochs) >= MAX_EPOCHS_PER_DEVICE:
                oldest = min(self._epochs)
                if epoch < oldest:
                    return Verdict.DUPLICATE
                del self._epochs[oldest]
            state = EpochState(epoch)
        verdict, self._epochs[epoch] = _take(state, seq)
        return verdict

    def mark(self, epoch: int) -> int:
        """Return the `seq` up to which this epoch has arrived without a gap; 0 if nothing has."""
        state = self._epochs.get(epoch)
        return state.contiguous if state else 0

    def missing(self, epoch: int) -> list[tuple[int, int]]:
        """Return the gaps of an epoch as inclusive ranges, ascending."""
        state = self._epochs.get(epoch)
        if state is None:
            return []
        gaps: list[tuple[int, int]] = []
        above = state.contiguous
        for low, high in state.ranges:
            gaps.append((above + 1, low - 1))
            above = high
        return gaps

    def latest_epoch(self) -> int:
        """Return the newest epoch that was seen; 0 if none was."""
        return max(self._epochs, default=0)


def _take(state: EpochState, seq: int) -> tuple[Verdict, EpochState]:
    if seq <= state.contiguous:
        return Verdict.DUPLICATE, state
    if seq == state.contiguous + 1 and not state.ranges:
        return Verdict.NEW, EpochState(state.epoch, seq)
    if any(low <= seq <= high for low, high in state.ranges):
        return Verdict.DUPLICATE, state
    ranges = _with(state.ranges, seq)
    contiguous = state.contiguous
    if ranges[0][0] == contiguous + 1:
        contiguous = ranges[0][1]
        ranges = ranges[1:]
    if len(ranges) > MAX_RANGES_PER_EPOCH:
        return Verdict.NOT_YET, state
    return Verdict.NEW, EpochState(state.epoch, contiguous, ranges)


def _with(ranges: tuple[tuple[int, int], ...], seq: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges with `seq` added and neighbours joined."""
    merged: list[tuple[int, int]] = []
    low = high = seq
    for range_low, range_high in ranges:
        if range_high < low - 1:
            merged.append((range_low, range_high))
        elif range_low > high + 1:
            merged.append((low, high))
            low, high = range_low, range_high
        else:
            low, high = min(low, range_low), max(high, range_high)
    merged.append((low, high))
    return tuple(merged)
