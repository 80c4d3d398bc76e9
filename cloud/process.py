"""A batch of the log in, everything that has to be committed for it out.

The log delivers at least once: what was committed but not reported, or read again after a crash, comes twice. Each
event is told from its repetitions by `(site, device, epoch, seq)` before it reaches the windows.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from cloud.windows import CameraSnapshot, CameraView, CameraWindows, PaneChange, Refusal, WindowConfig
from countline.dedupe import DeviceDedupe, DeviceState, EpochState, Verdict
from countline.events import CountDelta, Envelope, Heat, LineCrossed

# Cameras of one device, ever: an agent has 64 at most. Events of more are refused.
MAX_CAMERAS_PER_DEVICE = 128
# A reason may quote what a stranger sent; so much of it is told.
MAX_REASON_CHARS = 200

_NUMBER = re.compile(r"\d+")


class LogEntry(Struct, frozen=True):
    """One event of the log.

    Attributes:
        id: Its place in the log.
        received_at_ms: When the gateway committed it.
        envelope: The event.
    """

    id: int
    received_at_ms: int
    envelope: Envelope


class DeadEntry(Struct, frozen=True):
    """An event that the gateway refused for good: it will never be in the log.

    Attributes:
        id: Its place among the log's dead letters.
        site: Where the device is.
        device: Its name.
        epoch: The outbox generation.
        seq: Its place therein.
    """

    id: int
    site: str
    device: str
    epoch: int
    seq: int


class DeadMessage(Struct, frozen=True):
    """A message that the gateway refused for good, and that does not say which event it was.

    Attributes:
        id: Its place among the log's dead letters.
        reason: Why.
    """

    id: int
    reason: str


class Place(Struct, frozen=True):
    """How far a log has been processed.

    Attributes:
        log: Which log, by its identity; empty if none has been read yet.
        entry: Entries up to and including this id.
        dead_letter: Dead letters up to and including this id.
    """

    log: str = ""
    entry: int = 0
    dead_letter: int = 0


class CameraChange(Struct, frozen=True):
    """A camera's facts for readers, and the state that its windows go on from."""

    view: CameraView
    state: CameraSnapshot


class HeatChange(Struct, frozen=True):
    """A camera's map of one class, to be added to what is known of its hour."""

    camera: str
    at_ms: int
    heat: Heat


class LedgerChange(Struct, frozen=True):
    """What to add to the account of one device's epoch, and how complete it is now.

    Attributes:
        site: Where the device is.
        device: Its name.
        epoch: The outbox generation.
        counted: New events.
        duplicates: Events that had been counted before.
        refused: Events that were not counted though they arrived, or were given up; `reasons` says why.
        crossings: Crossings among the new events, rolled-up ones with their number.
        contiguous: Every `seq` up to this one has been counted.
        missing: Gaps above it, inclusive.
        reasons: How many were refused, by reason.
        dead_lettered: Events that the gateway refused; they are no gaps, for they did arrive.

    For an epoch without gaps, `contiguous` is the sum of `counted`, `refused` and `dead_lettered`.
    """

    site: str
    device: str
    epoch: int
    counted: int
    duplicates: int
    refused: int
    crossings: int
    contiguous: int
    missing: list[tuple[int, int]]
    reasons: dict[str, int] = {}
    dead_lettered: int = 0


class DeviceChange(Struct, frozen=True):
    """A device's memory of seen events."""

    site: str
    device: str
    state: DeviceState


class Effects(Struct, frozen=True):
    """All that one batch changes; it is committed as a whole or not at all.

    Attributes:
        place: So far the log is processed with this batch.
        panes: In the order in which they are to be applied.
        cameras: Those that changed.
        devices: Those that sent something.
        ledger: One per device and epoch that sent something.
        unattributed: How many refused messages belong to nobody's account, by the kind of reason.
        heats: Maps of cameras that are among `cameras`.
    """

    place: Place
    panes: list[PaneChange] = []
    cameras: list[CameraChange] = []
    devices: list[DeviceChange] = []
    ledger: list[LedgerChange] = []
    unattributed: dict[str, int] = {}
    heats: list[HeatChange] = []

    def is_empty(self) -> bool:
        """Say whether there is nothing but a place."""
        return not (self.panes or self.cameras or self.devices or self.ledger or self.unattributed)


class ProcessState(Struct, frozen=True):
    """What a store gives back after a restart."""

    place: Place = Place()
    cameras: tuple[CameraSnapshot, ...] = ()
    devices: tuple[DeviceChange, ...] = ()


class _Account:
    """Counts one epoch's events within a batch."""

    __slots__ = ("counted", "crossings", "dead_lettered", "duplicates", "reasons")

    def __init__(self) -> None:
        self.counted = self.duplicates = self.crossings = self.dead_lettered = 0
        self.reasons: dict[str, int] = {}

    def count(self, envelope: Envelope) -> None:
        self.counted += 1
        self.crossings += _crossings(envelope)

    def refuse(self, reason: Refusal, events: int = 1) -> None:
        self.reasons[reason.value] = self.reasons.get(reason.value, 0) + events


def _crossings(envelope: Envelope) -> int:
    event = envelope.event
    if isinstance(event, LineCrossed):
        return 1
    return event.n if isinstance(event, CountDelta) else 0


class Process:
    """The windows of all cameras and the memory of all devices."""

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self._place = Place()
        self._cameras: dict[str, CameraWindows] = {}
        self._cameras_of: Counter[tuple[str, str]] = Counter()
        self._devices: dict[tuple[str, str], DeviceDedupe] = {}

    @classmethod
    def restore(cls, config: WindowConfig, state: ProcessState) -> "Process":
        """Build one that goes on from what was committed."""
        process = cls(config)
        process._place = state.place
        process._cameras = {saved.view.id: CameraWindows.restore(config, saved) for saved in state.cameras}
        process._cameras_of = Counter((saved.view.site, saved.view.device) for saved in state.cameras)
        process._devices = {
            (saved.site, saved.device): DeviceDedupe.restore(saved.state) for saved in state.devices
        }
        return process

    def snapshot(self) -> ProcessState:
        """Return all that is remembered."""
        return ProcessState(
            self._place,
            tuple(windows.snapshot() for windows in self._cameras.values()),
            tuple(DeviceChange(*key, dedupe.snapshot()) for key, dedupe in self._devices.items()),
        )

    @property
    def place(self) -> Place:
        """So far the log is processed."""
        return self._place

    @property
    def position(self) -> int:
        """The log is processed up to and including this id."""
        return self._place.entry

    def follow(self, log: str) -> bool:
        """Read this log from now on; say whether it is another one than before, and so is read from its start.

        Events that were counted from the log before are known by their identity, and not counted again.
        """
        if log == self._place.log:
            return False
        self._place = Place(log)
        return True

    def rewind(self) -> None:
        """Read the log from its start again."""
        self._place = Place(self._place.log)

    def feed(self, batch: Sequence[LogEntry], position: int) -> Effects:
        """Take the next entries of the log.

        Args:
            batch: In the order of the log. Entries at or before the position are left out.
            position: The id of the last entry read, which may be one that was unreadable.
        """
        fresh: dict[str, list[tuple[int, Envelope]]] = {}
        accounts: dict[tuple[str, str, int], _Account] = {}
        for entry in batch:
            if entry.id <= self._place.entry:
                continue
            envelope = entry.envelope
            key = (envelope.site, envelope.device, envelope.epoch)
            account = accounts.setdefault(key, _Account())
            if not self._is_new(envelope, account):
                account.duplicates += 1
            elif reason := self._refusal(entry):
                account.refuse(reason)
            else:
                account.count(envelope)
                fresh.setdefault(_camera(envelope), []).append((entry.received_at_ms, envelope))
        self._place = structs.replace(self._place, entry=max(self._place.entry, position))
        panes = [pane for camera, events in fresh.items() for pane in self._cameras[camera].feed(events)]
        heats = [
            HeatChange(camera, envelope.at_ms, envelope.event)
            for camera, events in fresh.items()
            for _, envelope in events
            if isinstance(envelope.event, Heat)
        ]
        devices, ledger = self._account_changes(accounts)
        return Effects(self._place, panes, self._camera_changes(fresh), devices, ledger, heats=heats)

    def bury(self, letters: Sequence[DeadEntry | DeadMessage]) -> Effects:
        """Take note of what will never come; do so before feeding what was committed after it.

        A gap in the log would be remembered for ever otherwise, and gaps are few.

        Args:
            letters: The next of the log's dead letters, in their order.
        """
        accounts: dict[tuple[str, str, int], _Account] = {}
        unattributed: Counter[str] = Counter()
        for letter in letters:
            if isinstance(letter, DeadMessage):
                unattributed[_kind(letter.reason)] += 1
                continue
            account = accounts.setdefault((letter.site, letter.device, letter.epoch), _Account())
            if self._is_new(letter, account):
                account.dead_lettered += 1
        self._place = structs.replace(self._place, dead_letter=letters[-1].id)
        return Effects(self._place, [], [], *self._account_changes(accounts), dict(unattributed))

    def tick(self, now_ms: int) -> Effects:
        """Mark silent cameras. Call it only when the log is read to its end: a backlog is no silence."""
        panes: list[PaneChange] = []
        silent: list[str] = []
        for camera, windows in self._cameras.items():
            due_ms = windows.next_tick_ms()
            if due_ms is not None and now_ms >= due_ms:
                panes += windows.tick(now_ms)
                silent.append(camera)
        return Effects(self._place, panes, self._camera_changes(silent))

    def next_tick_ms(self) -> int | None:
        """Return when `tick` has something to do; None if no camera is there to fall silent."""
        due = [due_ms for windows in self._cameras.values() if (due_ms := windows.next_tick_ms()) is not None]
        return min(due, default=None)

    def _is_new(self, event: Envelope | DeadEntry, account: _Account) -> bool:
        device = (event.site, event.device)
        dedupe = self._devices.setdefault(device, DeviceDedupe())
        verdict = dedupe.feed(event.epoch, event.seq)
        if verdict is Verdict.NOT_YET:
            # More gaps than are remembered. The gateway waits in this case, for its devices send again; what it has
            # let into its log is there once. So the oldest gap is given up, rather than all that follows.
            state, given_up = _without_oldest_gap(dedupe.snapshot(), event.epoch)
            account.refuse(Refusal.NEVER_CAME, given_up)
            self._devices[device] = dedupe = DeviceDedupe.restore(state)
            verdict = dedupe.feed(event.epoch, event.seq)
        return verdict is Verdict.NEW

    def _refusal(self, entry: LogEntry) -> Refusal | None:
        """Make room for an event's camera and its names, or say why there is none."""
        envelope = entry.envelope
        camera = _camera(envelope)
        windows = self._cameras.get(camera)
        if windows is None:
            device = (envelope.site, envelope.device)
            if self._cameras_of[device] >= MAX_CAMERAS_PER_DEVICE:
                return Refusal.CAMERAS
            self._cameras_of[device] += 1
            windows = CameraWindows(self._config, envelope.site, envelope.device, envelope.camera)
            self._cameras[camera] = windows
        return windows.refusal(entry.received_at_ms, envelope)

    def _camera_changes(self, cameras: Iterable[str]) -> list[CameraChange]:
        changed = [self._cameras[camera] for camera in cameras]
        return [CameraChange(windows.view(), windows.snapshot()) for windows in changed]

    def _account_changes(
        self, accounts: dict[tuple[str, str, int], _Account]
    ) -> tuple[list[DeviceChange], list[LedgerChange]]:
        devices = {key[:2]: None for key in accounts}
        return (
            [DeviceChange(*key, self._devices[key].snapshot()) for key in devices],
            [self._ledger_change(key, account) for key, account in accounts.items()],
        )

    def _ledger_change(self, key: tuple[str, str, int], account: _Account) -> LedgerChange:
        site, device, epoch = key
        dedupe = self._devices[site, device]
        return LedgerChange(
            site,
            device,
            epoch,
            account.counted,
            account.duplicates,
            sum(account.reasons.values()),
            account.crossings,
            dedupe.mark(epoch),
            dedupe.missing(epoch),
            account.reasons,
            account.dead_lettered,
        )


def _kind(reason: str) -> str:
    """Return a reason without its numbers (sizes, places in a text), so that equal faults are counted together."""
    return _NUMBER.sub("N", reason[:MAX_REASON_CHARS])


def _camera(envelope: Envelope) -> str:
    return f"{envelope.site}/{envelope.device}/{envelope.camera}"


def _without_oldest_gap(state: DeviceState, epoch: int) -> tuple[DeviceState, int]:
    """Return the state as if the oldest gap of an epoch had arrived, and how many events that are."""
    epochs: list[EpochState] = []
    given_up = 0
    for known in state.epochs:
        if known.epoch == epoch:
            (low, high), *above = known.ranges
            given_up = low - known.contiguous - 1
            known = EpochState(epoch, high, tuple(above))  # noqa: PLW2901 - the one of many that changes
        epochs.append(known)
    return DeviceState(tuple(epochs)), given_up
