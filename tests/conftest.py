"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import brokers


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
