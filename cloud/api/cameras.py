"""Cameras, zones and the ledger: what is there, and what has become of its events."""

from cloud.api.schemas import (
    AccountBody,
    CamerasBody,
    CountersBody,
    GapBody,
    GatesBody,
    LedgerBody,
    UnattributedBody,
    ZonesBody,
)
from cloud.hub import Hub
from cloud.process import LedgerChange


def cameras(hub: Hub) -> CamerasBody:
    """Return all cameras."""
    return CamerasBody(hub.cameras())


def zones(hub: Hub) -> ZonesBody:
    """Return all zones."""
    return ZonesBody(hub.zones())


def gates(hub: Hub) -> GatesBody:
    """Return all gates, and pairs of lines."""
    return GatesBody(hub.gates())


def counters(hub: Hub) -> CountersBody:
    """Return all counters."""
    return CountersBody(hub.counters())


def ledger(accounts: list[LedgerChange], unattributed: dict[str, int]) -> LedgerBody:
    """Return what has become of each device's events, and of messages that are nobody's."""
    return LedgerBody(
        [
            AccountBody(
                account.site,
                account.device,
                account.epoch,
                account.counted,
                account.duplicates,
                account.refused,
                account.reasons,
                account.dead_lettered,
                account.crossings,
                account.contiguous,
                [GapBody(*gap) for gap in account.missing],
            )
            for account in accounts
        ],
        UnattributedBody(sum(unattributed.values()), unattributed),
    )
