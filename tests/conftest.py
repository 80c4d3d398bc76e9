"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from edge.capture.opencv import hush
from tests import brokers

# FFmpeg asks how loud it may be once in a process, when the first video is opened, and a test may be the one that opens it.
hush()

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
