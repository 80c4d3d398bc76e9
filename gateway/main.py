"""A gateway process: journal, admission and MQTT put together."""

import asyncio
from pathlib import Path

from countline.clock import Clock, SystemClock
from countline.config import is_loopback
from countline.service import Stop
from countline.telemetry import Counters, Log
from gateway.config import GatewaySettings
from gateway.ingest import Ingest
from gateway.journal import Journal, JournalInUseError

# A gateway that was left without its supervisor drains and goes by itself: longer than that takes.
LOCK_WAIT_S = 5.0
LOCK_RETRY_S = 0.1

_log = Log("gateway.main")


def run(settings: GatewaySettings, stop: Stop) -> None:
    """Run a gateway until it is asked to stop; drain within two seconds.

    Raises:
        UsageError: The data folder cannot be written, another gateway uses it, or a certificate cannot be used.
    """
    clock = SystemClock()
    journal = _open_journal(settings, clock, stop)
    if journal is None:
        return
    try:
        asyncio.run(_serve(settings, journal, clock, stop))
    finally:
        journal.close()


async def _serve(settings: GatewaySettings, journal: Journal, clock: Clock, stop: Stop) -> None:
    counters = Counters()
    ingest = Ingest(settings, journal, clock, counters)
    encryption = "TLS" if settings.mqtt.tls else "none, this machine only"
    assert settings.mqtt.tls or is_loopback(settings.mqtt.host)
    _log.info("gateway is up", name=settings.name, data_dir=settings.data_dir, encryption=encryption)
    await ingest.run(stop)
    _log.info("gateway has drained", **counters.snapshot())


def _open_journal(settings: GatewaySettings, clock: Clock, stop: Stop) -> Journal | None:
    """Open the journal, waiting a little for a gateway that is just going; None if asked to stop meanwhile."""
    give_up_s = clock.monotonic_s() + LOCK_WAIT_S
    while True:
        try:
            journal = Journal(Path(settings.data_dir), settings.journal, clock.now_ms())
        except JournalInUseError:
            if clock.monotonic_s() >= give_up_s:
                raise
            if stop.wait(LOCK_RETRY_S):
                return None
            continue
        if journal.set_aside is not None:
            _log.error(
                "journal was damaged, it is set aside and what could be read is kept", file=journal.set_aside
            )
        return journal
