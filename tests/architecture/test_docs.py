"""What the README and the docs point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*.md"), ROOT / "dashboard/README.md"]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    """A link or picture without a scheme names a file of this repository."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_a_place_left_to_fill(page: Path) -> None:
    """A figure that is yet to be measured is not published."""
    assert re.findall(r"@[A-Z]+@", page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("room", ["countline", "edge", "gateway", "cloud"])
def test_the_architecture_names_what_is_in_each_room(room: str) -> None:
    """The table of rooms has every module and folder of today, and none that has gone; all tiers have `main` and `config`."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{room}/` \|([^|]*)\|", text, re.MULTILINE)
    files = {path.stem for path in (ROOT / room).glob("*.py") if path.stem != "__init__"}
    folders = {f"{path.parent.name}/" for path in (ROOT / room).glob("*/__init__.py")}
    always = {"main", "config", "config/"}
    assert set(re.findall(r"`([^`]+)`", row)) - always == (files | folders) - always


def test_each_bench_that_the_readme_names_exists() -> None:
    """Who follows the README can run what it says."""
    named = re.findall(r"python -m bench\.(\w+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / "bench" / f"{name}.py").exists()] == []
