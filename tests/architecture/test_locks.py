"""What the locks pin, and what they must not say."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements/*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_python_lock_pins_by_hash_and_names_no_address(lock: Path) -> None:
    """Where packages come from is the machine's affair; what they are is ours."""
    text = lock.read_text(encoding="utf-8")
    pinned = re.findall(r"^[A-Za-z0-9._-]+(?:\[[^]]*\])?==\S+", text, flags=re.MULTILINE)
    assert pinned
    assert text.count("--hash=sha256:") >= len(pinned)
    assert re.findall(r"^\s*--(?!hash=).*|\w+://\S+", text, flags=re.MULTILINE) == []


def test_the_pages_lock_pins_by_hash_and_names_no_address() -> None:
    """The same for npm."""
    packages = json.loads((ROOT / "dashboard/package-lock.json").read_text(encoding="utf-8"))["packages"]
    fetched = [package for name, package in packages.items() if name]
    assert fetched
    assert all("integrity" in package and "resolved" not in package for package in fetched)
