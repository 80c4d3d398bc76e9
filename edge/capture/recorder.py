"""Keeps a detection log of one camera in a folder, never more and never longer than allowed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from countline.telemetry import Log
from edge.arrays import Detections
from edge.capture.detlog import SUFFIX, Header, Seen, beginning, block, rounded

# What a process that dies loses at most, and what is compressed together: twice as much is 3 % smaller.
BLOCK_MS = 5_000
# A crowd of hundreds does not wait for five seconds, so that a block stays small in memory.
BLOCK_BOXES = 20_000
# A file is an hour at most: old ones are deleted one by one.
FILE_MS = 3_600_000
_DAY_MS = 86_400_000
_MB = 1_000_000
# A file is a share of the whole at most, so that deleting the oldest one does not delete nearly all.
_FILES_AT_LEAST = 10

_log = Log("capture.recorder")


class Recorder:
    """Writes what the detector finds. A disk that is full or gone costs the recording, never a count."""

    def __init__(self, folder: Path, header: Header, *, max_mb: int, max_days: int) -> None:
        """Name where and what. Nothing is written before the first frame.

        Args:
            folder: Of this camera alone; it is made if it is not there.
            header: What each file begins with.
            max_mb: The oldest files are deleted beyond this.
            max_days: And those that began before this.
        """
        self._folder = folder
        self._header = header
        self._max_bytes = max_mb * _MB
        self._max_age_ms = max_days * _DAY_MS
        self._file: BinaryIO | None = None
        self._file_bytes = 0
        self._file_since_ms = 0
        self._waiting: list[Seen] = []
        self._boxes = 0
        self._is_failing = False

    def keep(self, captured_at_ms: int, found: Detections) -> Detections:
        """Keep what was seen in a frame; it is written with others, some seconds later at most.

        Returns:
            What was seen, rounded as it is kept: who counts that counts what a recount will count.
        """
        found = rounded(found)
        # A clock that steps, either way, ends a block like time that passes.
        if self._waiting and abs(captured_at_ms - self._waiting[0].captured_at_ms) >= BLOCK_MS:
            self._write()
        self._waiting.append(Seen(captured_at_ms, found))
        self._boxes += len(found)
        if self._boxes >= BLOCK_BOXES:
            self._write()
        return found

    def close(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._write()
        self._end_file()

    def _write(self) -> None:
        seen, self._waiting, self._boxes = self._waiting, [], 0
        begins_ms = seen[0].captured_at_ms
        try:
            data = block(seen)
            file = self._file_for(begins_ms, len(data))
            file.write(data)
            file.flush()
        except OSError as error:
            self._end_file()
            if not self._is_failing:
                _log.warning(
                    "detections can't be recorded; counting goes on without",
                    folder=self._folder,
                    reason=error.strerror,
                )
            self._is_failing = True
            return
        self._file_bytes += len(data)
        self._is_failing = False

    def _file_for(self, begins_ms: int, more_bytes: int) -> BinaryIO:
        """Return the file that a block belongs into: the open one, or a new one."""
        is_full = (self._file_bytes + more_bytes) * _FILES_AT_LEAST > self._max_bytes
        is_old = not 0 <= begins_ms - self._file_since_ms < FILE_MS
        if self._file is not None and not is_full and not is_old:
            return self._file
        self._end_file()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room(begins_ms)
        begins = datetime.fromtimestamp(begins_ms / 1000, UTC)
        name = begins.strftime("%Y-%m-%dT%H-%M-%S.") + f"{begins_ms % 1000:03d}Z"
        path = self._folder / f"{name}{SUFFIX}"
        attempt = 1
        while path.exists():
            attempt += 1
            path = self._folder / f"{name}-{attempt:03d}{SUFFIX}"
        self._file = path.open("xb")
        head = beginning(self._header)
        self._file.write(head)
        self._file_bytes, self._file_since_ms = len(head), begins_ms
        return self._file

    def _make_room(self, now_ms: int) -> None:
        """Delete the oldest files until one more of the largest size fits, and those that are too old."""
        files = sorted(self._folder.glob(f"*{SUFFIX}"))
        total = sum(path.stat().st_size for path in files)
        oldest = datetime.fromtimestamp(max(0, now_ms - self._max_age_ms) / 1000, UTC)
        oldest_name = oldest.strftime("%Y-%m-%dT%H-%M-%S")
        for path in files:
            if total + self._max_bytes // _FILES_AT_LEAST <= self._max_bytes and path.name >= oldest_name:
                return
            total -= path.stat().st_size
            path.unlink()

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                _log.debug("a recording did not end well", folder=self._folder)
