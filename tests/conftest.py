"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import brokers

# A busy machine is no reason to fail: what is proved here does not depend on time.
hypothesis.settings.register_profile(
    "countline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("countline")


@pytest.fixture(params=brokers.names())
def broker_port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Run each broker that this machine has, on a free port."""
    with brokers.running(request.param, tmp_path / "broker") as port:
        yield port


@pytest.fixture
def embedded_broker_port(tmp_path: Path) -> Iterator[int]:
    """Run the embedded broker, on a free port."""
    with brokers.running("embedded", tmp_path / "broker") as port:
        yield port
