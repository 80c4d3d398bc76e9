"""What numbers may be, where nothing can work with others."""

# Pictures per second; no camera sends more.
MAX_FPS = 1_000
# A camera that is not heard of for a quarter of a minute is shown as offline.
MAX_HEARTBEAT_S = 10.0
MAX_OUTBOX_MB = 1_000_000


def check_fps(says: str, fps: float) -> None:
    """Raise ValueError if nothing can have this rate, NaN included; `says` is what the sentence begins with."""
    if not 0 <= fps <= MAX_FPS:
        raise ValueError(f"{says} {fps:g}, 0 to {MAX_FPS} pictures per second are allowed")


def check_bounds(heartbeat_s: float, outbox_max_mb: int) -> None:
    """Refuse heartbeats that flood the broker or come too late, and an outbox that keeps nothing.

    Raises:
        ValueError: One sentence.
    """
    if not 0.05 <= heartbeat_s <= MAX_HEARTBEAT_S:
        raise ValueError(
            f"heartbeat_s is {heartbeat_s:g}, 0.05 to {MAX_HEARTBEAT_S:g} seconds are allowed, and 1 is usual"
        )
    if not 1 <= outbox_max_mb <= MAX_OUTBOX_MB:
        raise ValueError(f"outbox_max_mb is {outbox_max_mb}, 1 to {MAX_OUTBOX_MB} are allowed")


def check_port_number(port: int) -> None:
    """Raise ValueError if no TCP port has this number; 0 is a free one."""
    if not 0 <= port <= 65_535:
        raise ValueError(f"port {port} is not a TCP port, 1 to 65535 are allowed, or 0 for a free one")
