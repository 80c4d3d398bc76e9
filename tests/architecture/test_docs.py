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


def test_each_bench_that_the_readme_names_exists() -> None:
    """Who follows the README can run what it says."""
    named = re.findall(r"python -m bench\.(\w+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / "bench" / f"{name}.py").exists()] == []
