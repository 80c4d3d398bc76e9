"""Settings of the cloud tier: the worker that makes windows, and the API that serves them."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from countline.config import is_loopback


class WorkerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a worker of a single box needs.

    Attributes:
        log_path: The gateway's journal.
        store_path: Where results go.
        pane_s: Length of the smallest window, seconds. A day is a whole number of them.
        silent_after_s: A camera that has not been heard of for so long is shown as offline, and its open panes as
            incomplete. What it sends later still counts.
    """

    log_path: str
    store_path: str
    pane_s: int = 10
    silent_after_s: float = 15.0

    def __post_init__(self) -> None:
        """Refuse panes that don't fit into a day."""
        if self.pane_s < 1 or 86_400 % self.pane_s:
            raise ValueError(f"pane_s {self.pane_s} does not divide a day")


class ApiSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """All that the API needs.

    Attributes:
        store_path: Where the worker's results are.
        host: What to listen on. Anything but this machine's own loopback needs a token.
        port: TCP port.
        token: Whoever shows it may read. Better given as `COUNTLINE__API__TOKEN`.
        timezone: Where "today" begins and ends, such as "Europe/Berlin".
        preview_url: Where the agent serves pictures; empty if it does not.
        page_dir: The built page.
        max_clients: Live connections at most.
    """

    store_path: str
    host: str = "127.0.0.1"
    port: int = 8088
    token: str = ""
    timezone: str = "UTC"
    preview_url: str = ""
    page_dir: str = ""
    max_clients: int = 1_000

    def __post_init__(self) -> None:
        """Refuse to be open to a network without a token, and unknown time zones."""
        if not self.token and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is open to the network: set a token of 16 characters or more"
            )
        if self.token and len(self.token) < 16:
            raise ValueError("the token is too short to be safe: use 16 characters or more")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"timezone {self.timezone!r} is unknown: use a name such as 'Europe/Berlin'"
            ) from error
