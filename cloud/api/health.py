"""`GET /v1/health`: whether all is well, and if not, why; for people and for probes."""

from cloud.api.live import LiveFeed
from cloud.api.schemas import HealthBody, WorkerBody
from cloud.store.rows import WorkerNote
from cloud.windows import Liveness
from countline import __version__

# The worker says every two seconds that it is alive.
WORKER_SILENT_MS = 10_000
# Entries of backlog that are no trouble: a second of a busy site.
BEHIND_OK = 5_000


def health(feed: LiveFeed, note: WorkerNote, now_ms: int, timezone: str) -> HealthBody:
    """Return the state of this box as this process sees it."""
    reasons: list[str] = []
    if feed.trouble:
        reasons.append(feed.trouble)
    if not note.alive_ms:
        reasons.append("the worker has not started yet")
    elif now_ms - note.alive_ms > WORKER_SILENT_MS:
        reasons.append(f"the worker has been silent for {(now_ms - note.alive_ms) // 1000} s")
    if note.behind > BEHIND_OK:
        reasons.append(f"the worker is {note.behind} events behind")
    for camera in feed.hub.cameras():
        if camera.state in {Liveness.OFFLINE, Liveness.BLIND}:
            because = f": {camera.reason}" if camera.reason else ""
            reasons.append(f"camera {camera.id} is {camera.state.value}{because}")
    return HealthBody(
        "degraded" if reasons else "ok",
        __version__,
        "box",
        now_ms,
        timezone,
        WorkerBody(note.behind, note.last_commit_ms),
        feed.clients,
        reasons,
    )
