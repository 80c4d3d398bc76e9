"""A real browser for the tests of the page, and whole boxes for those of the command."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from tests.e2e import boxes

CHROMIUMS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 10_000


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Start one Chromium for all tests."""
    expect.set_options(timeout=TIMEOUT_MS)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=_chromium(), args=QUIET)
        yield started
        await started.close()


@dataclass
class Visitor:
    """Somebody who looks at the page, and all that the browser complained about.

    Attributes:
        forgiven: Parts of complaints that a test expects.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    forgiven: tuple[str, ...] = ()

    def heard(self, message: ConsoleMessage) -> None:
        """Remember what the console says."""
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def unforgiven(self) -> list[str]:
        """Return the complaints that nobody expected."""
        return [text for text in self.complaints if not any(part in text for part in self.forgiven)]


Visit = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """Open addresses like visitors do; at the end none of them may have had a reason to complain."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    async def open_page(
        url: str, prepare: Callable[[Page], Awaitable[None]] | None = None, **options: Any
    ) -> Visitor:
        context = await browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        visitor = Visitor(await context.new_page())
        visitors.append(visitor)
        visitor.page.on("console", visitor.heard)
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(f"uncaught: {error}"))
        if prepare is not None:
            await prepare(visitor.page)
        await visitor.page.goto(url)
        return visitor

    yield open_page
    for context in contexts:
        await context.close()
    assert [visitor.unforgiven() for visitor in visitors] == [[] for _ in visitors]


def _chromium() -> str:
    found = next((path for path in CHROMIUMS if Path(path).exists()), None)
    assert found, "these tests need Chromium: apt-get install chromium"
    return found


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return the environment of a person's box."""
    return boxes.environment(tmp_path_factory.mktemp("compiled"), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def start(tmp_path: Path, environ: Mapping[str, str]) -> Iterator[boxes.Start]:
    """Start boxes, by default all on one data folder; whatever still runs at the end is ended."""
    started: list[boxes.Box] = []

    def up(folder: Path | None = None, **settings: Any) -> boxes.Box:
        started.append(boxes.Box(tmp_path, folder or tmp_path / "data", settings, environ))
        return started[-1]

    yield up
    for box in started:
        if box.process.poll() is None:
            box.kill()
    for folder in {box.folder for box in started if (box.folder / "parts.lock").exists()}:
        boxes.until_all_parts_ended(folder)
