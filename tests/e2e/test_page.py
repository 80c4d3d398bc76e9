"""The page in a real browser, before the real worker and API."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page, WebSocketRoute, expect

from countline.events import (
    CounterNow,
    CounterValues,
    GatePassed,
    GateShape,
    Heat,
    LineDoubt,
    LineTotals,
)
from tests.e2e.conftest import Visit
from tests.page_server import PAGE, Camera, PageBox, drawn, now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What stands where there is no number.
NONE = "\N{EN DASH}"

OpenBox = Callable[..., PageBox]


@pytest.fixture
def open_box(tmp_path: Path) -> Iterator[OpenBox]:
    """Set up boxes that are gone after the test."""
    with ExitStack() as stack:

        def make(*cameras: Camera, page: Path = PAGE, token: str = "") -> PageBox:
            return stack.enter_context(
                PageBox(tmp_path, cameras or [Camera("plaza")], page=page, token=token)
            )

        yield make


async def is_live(page: Page) -> None:
    """Wait for the first numbers."""
    await expect(page.locator("#connection-text")).to_have_text("Live")
    await expect(page.locator("#total-in")).not_to_have_text(NONE)


async def test_numbers_change_when_somebody_crosses(open_box: OpenBox, visit: Visit) -> None:
    """A crossing changes the line's and the site's numbers and lights up its line, without a reload."""
    box = open_box()
    page = (await visit(box.url)).page
    await is_live(page)
    kerb = page.locator('[data-line="kerb"]')
    await expect(kerb.locator('[data-part="in"]')).to_have_text("0")
    box.cross("plaza", "kerb", "in")
    box.cross("plaza", "kerb", "in")
    box.cross("plaza", "kerb", "out")
    await expect(kerb.locator('[data-part="in"]')).to_have_text("2")
    await expect(kerb.locator('[data-part="out"]')).to_have_text("1")
    await expect(kerb.locator('[data-part="last-in"]')).to_have_text("2 last min")
    await expect(page.locator('[data-line="crossing"] [data-part="in"]')).to_have_text("0")
    await expect(page.locator("#total-in")).to_have_text("2")
    await expect(page.locator("#total-net")).to_have_text("+1")
    await expect(page.locator("#trend-in")).to_have_text("2")
    await expect(page.locator("canvas[data-last-flash]").first).to_have_attribute(
        "data-last-flash", re.compile("kerb")
    )
    assert await page.evaluate("document.body.dataset.transport") == "websocket"


async def test_net_of_all_lines_has_its_sign(open_box: OpenBox, visit: Visit) -> None:
    """In minus out is a difference, not a number of people: it says its sign, and may be below zero."""
    box = open_box()
    page = (await visit(box.url)).page
    await is_live(page)
    net = page.locator("#total-net")
    await expect(net).to_have_text("0")
    box.cross("plaza", "kerb", "out")
    await expect(net).to_have_text("-1")
    await expect(page.locator(".total", has=net)).to_contain_text("Net")


async def test_picture_is_drawn_with_its_lines(open_box: OpenBox, visit: Visit) -> None:
    """The camera's pictures arrive one after the other and are drawn, and words say which way is in."""
    box = open_box()
    page = (await visit(box.url)).page
    await is_live(page)
    canvas = page.locator(".camera canvas")
    for index in range(1, 60):
        box.show("plaza", *drawn(index))
        await page.wait_for_timeout(100)
        if int(await canvas.get_attribute("data-frames") or 0) >= 3:
            break
    assert int(await canvas.get_attribute("data-frames") or 0) >= 3
    await expect(canvas).to_have_attribute("aria-label", re.compile("kerb: in is from lawn to pavement"))
    colours = await canvas.evaluate(
        "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
    )
    assert colours > 100


async def test_names_are_drawn_above_the_numbers_of_tracks(open_box: OpenBox, visit: Visit) -> None:
    """Where somebody stands in a zone or on a line, its name is still read."""
    box = open_box()

    async def listen(page: Page) -> None:
        # A picture begins each painting, so these are the words of the last one, in their order.
        await page.add_init_script(
            "window.words = []; const pen = CanvasRenderingContext2D.prototype; const { drawImage, fillText } = pen;"
            "pen.drawImage = function (...all) { window.words = []; drawImage.apply(this, all); };"
            "pen.fillText = function (...all) { window.words.push(all[0]); fillText.apply(this, all); };"
        )

    page = (await visit(box.url, listen)).page
    await is_live(page)
    words: list[str] = []
    for index in range(1, 60):
        frame, _ = drawn(index)
        box.show("plaza", frame, [{"id": 4711, "cls": "person", "conf": 0.9, "box": [250, 440, 290, 520]}])
        await page.wait_for_timeout(100)
        words = await page.evaluate("window.words")
        if "4711" in words:
            break
    assert {"plaza", "kerb", "crossing"} <= set(words[words.index("4711") :])


async def test_page_recovers_when_the_server_restarts(open_box: OpenBox, visit: Visit) -> None:
    """While the server is away the page says since when its numbers are stale; when it is back, the page has what it missed."""
    box = open_box()
    visitor = await visit(box.url)
    visitor.forgiven = (
        "ERR_CONNECTION_REFUSED",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
        "503",
        "WebSocket connection",
    )
    page = visitor.page
    await is_live(page)
    await page.evaluate("window.sameDocument = true")
    box.stop_api()
    await expect(page.locator("#connection-text")).to_have_text(re.compile(r"Stale since \d"))
    assert float(await page.locator("#total-in").evaluate("e => getComputedStyle(e).opacity")) < 1
    box.cross("plaza", "crossing", "in")
    box.start_api()
    await is_live(page)
    await expect(page.locator("#total-in")).to_have_text("1")
    assert await page.evaluate("window.sameDocument")


async def test_new_version_of_the_server_loads_its_page_once(open_box: OpenBox, visit: Visit) -> None:
    """A server that comes back with another version makes the page load anew, once."""
    box = open_box()
    visitor = await visit(box.url)
    visitor.forgiven = ("ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "503", "WebSocket connection")
    page = visitor.page
    await is_live(page)
    loads: list[str] = []
    page.on("load", lambda _: loads.append("load"))
    await page.route("**/v1/health", lambda route: route.fulfill(json={"status": "ok", "version": "999"}))
    box.stop_api()
    async with page.expect_event("load"):
        box.start_api()
    await is_live(page)
    await page.wait_for_timeout(500)
    assert loads == ["load"]


async def test_events_carry_the_numbers_where_websockets_are_blocked(open_box: OpenBox, visit: Visit) -> None:
    """Where WebSockets are blocked the page goes on with server-sent events."""
    box = open_box()

    async def block(page: Page) -> None:
        async def refuse(socket: WebSocketRoute) -> None:
            await socket.close()

        await page.route_web_socket("**/v1/live", refuse)

    page = (await visit(box.url, block)).page
    await is_live(page)
    box.cross("plaza", "crossing", "out")
    await expect(page.locator("#total-out")).to_have_text("1")
    assert await page.evaluate("document.body.dataset.transport") == "sse"


async def test_trend_is_drawn_by_the_library_if_it_was_built_in(open_box: OpenBox, visit: Visit) -> None:
    """The chart is uPlot's when the page was built with npm, and then nothing is said about it."""
    is_built = (PAGE / "vendor" / "uPlot.esm.js").exists()
    assert is_built or not os.environ.get("CI"), "build the page first: make page"
    box = open_box()
    visitor = await visit(box.url)
    visitor.forgiven = () if is_built else ("uPlot",)
    await is_live(visitor.page)
    await expect(visitor.page.locator("#chart")).to_have_attribute(
        "data-drawn-by", "uplot" if is_built else "svg"
    )
    await expect(visitor.page.locator("#chart-note")).to_be_hidden() if is_built else None


async def test_trend_is_drawn_plainly_without_the_library(
    open_box: OpenBox, visit: Visit, tmp_path: Path
) -> None:
    """Without npm's part the page draws its own chart and says so in one line."""
    page_dir = tmp_path / "page"
    shutil.copytree(PAGE, page_dir, ignore=shutil.ignore_patterns("vendor", "node_modules"))
    box = open_box(Camera("plaza", past_blind_min=(29, 22)), page=page_dir)
    visitor = await visit(box.url)
    visitor.forgiven = ("uPlot",)
    page = visitor.page
    await is_live(page)
    await expect(page.locator("#chart")).to_have_attribute("data-drawn-by", "svg")
    await expect(page.locator("#chart-note")).to_contain_text("put up without npm")
    await expect(page.locator("#chart rect.in").nth(10)).to_be_attached()
    await expect(page.locator("#chart rect.gap").nth(5)).to_be_attached()


async def test_blind_minutes_are_hatched_and_never_zero(open_box: OpenBox, visit: Visit) -> None:
    """A camera that saw nothing is shown as blind with its reason, and its minutes are hatched, not zero."""
    box = open_box(Camera("plaza", past_blind_min=(29, 22), blind="the lens is covered"))
    page = (await visit(box.url)).page
    await is_live(page)
    await expect(page.locator(".camera .state")).to_have_text("Blind: the lens is covered")
    await expect(page.locator(".picture-note")).to_have_text("Blind: the lens is covered")
    await expect(page.locator("#chart")).to_have_attribute("data-hatched", re.compile(r"^([6-9]|1\d)$"))
    await page.locator("#trend-details summary").click()
    rows = await page.locator("#trend-rows tr").all_inner_texts()
    unwatched = [row.split("\t") for row in rows if row.endswith("\t0%")]
    assert len(rows) == 60
    assert len(unwatched) >= 5
    assert all(row[1:3] == [NONE, NONE] for row in unwatched)


async def test_what_speaks_against_a_line_stands_at_the_line_until_it_is_cleared(
    open_box: OpenBox, visit: Visit
) -> None:
    """A line that cannot count well says so and what to do, the others say nothing."""
    box = open_box()
    page = (await visit(box.url)).page
    await is_live(page)
    doubts = page.locator('[data-line="kerb"] .doubts')
    await expect(doubts).to_be_hidden()
    plaza = box.cameras["plaza"]
    doubt = LineDoubt("kerb", "ends", "People vanish there: move it.", {"share": 0.7}, now_ms())
    box.send(plaza, now_ms(), doubt)
    await expect(doubts.locator("li")).to_have_text(["People vanish there: move it."])
    await expect(page.locator('[data-line="crossing"] .doubts')).to_be_hidden()
    box.send(plaza, now_ms(), LineDoubt("kerb", "ends", cleared=True))
    await expect(doubts).to_be_hidden()


async def test_counters_say_how_many_are_inside(open_box: OpenBox, visit: Visit) -> None:
    """One number with its name; it follows the newest word of the device, is told by the API too, and goes with its counter."""
    box = open_box()
    page = (await visit(box.url)).page
    await is_live(page)
    panel, plaza = page.locator("#counters"), box.cameras["plaza"]
    await expect(panel).to_be_hidden()
    shop = CounterNow("shop", 12, LineTotals(in_=120, out=108), now_ms() - 3_600_000)
    box.send(plaza, now_ms(), CounterValues([shop]))
    row = panel.locator('[data-counter="shop"]')
    await expect(row.locator("h3")).to_have_text("shop")
    await expect(row.locator('[data-part="value"]')).to_have_text("12")
    await expect(row.locator('[data-part="about"]')).to_have_text(re.compile(r"^120 in, 108 out since \d"))
    told = await (await page.request.get(f"{box.url}v1/counters")).json()
    assert [(one["device"], one["counter"], one["value"]) for one in told["counters"]] == [
        ("box", "shop", 12)
    ]
    box.send(plaza, now_ms(), CounterValues([CounterNow("yard", 3, LineTotals(in_=3, out=0), now_ms())]))
    await expect(panel.locator('[data-counter="yard"] [data-part="value"]')).to_have_text("3")
    await expect(row).to_have_count(0)


async def test_gates_tell_how_many_went_from_line_to_line(open_box: OpenBox, visit: Visit) -> None:
    """Under the lines of a camera that has gates, from zero on; a camera without any shows no list."""
    through = GateShape("through", "crossing", "kerb")
    box = open_box(Camera("plaza", gates=[through], od=True), Camera("yard"))
    page = (await visit(box.url)).page
    await is_live(page)
    gates = page.locator('[data-camera="demo/box/plaza"] .gates')
    gate = gates.locator('[data-gate="through"]')
    await expect(gate.locator('[data-part="way"]')).to_have_text("crossing → kerb")
    await expect(gate.locator('[data-part="n"]')).to_have_text("0")
    await expect(gate.locator('[data-part="travel"]')).to_have_text("")
    await expect(page.locator('[data-camera="demo/box/yard"] .gates')).to_be_hidden()
    plaza = box.cameras["plaza"]
    for track, travel_ms in enumerate((4_000, 6_000)):
        box.send(plaza, now_ms(), GatePassed("through", "crossing", "kerb", "person", track, travel_ms))
    box.send(plaza, now_ms(), GatePassed("", "kerb", "crossing", "person", 9, 60_000))
    await expect(gate.locator('[data-part="n"]')).to_have_text("2")
    await expect(gate.locator('[data-part="travel"]')).to_have_text(re.compile(r"^5[.,]0 s on average$"))
    await expect(gates.locator('[data-gate="kerb/crossing"] [data-part="n"]')).to_have_text("1")
    await page.reload()
    await expect(gate.locator('[data-part="n"]')).to_have_text("2")


async def test_heat_map_lies_over_the_picture_while_it_is_wanted(open_box: OpenBox, visit: Visit) -> None:
    """The cell where somebody was takes colour, its neighbours do not; pressed again, it is gone."""
    box = open_box(Camera("plaza", lines=[], zones=[], preview=False))
    visitor = await visit(box.url)
    visitor.forgiven = ("willReadFrequently",)  # this test reads pixels, the page does not
    page = visitor.page
    await is_live(page)
    button, note = page.get_by_role("button", name="Heat-map"), page.locator('[data-part="heat-note"]')
    await button.click()
    await expect(note).to_have_text("No heat-map of the last 24 h yet")
    await button.click()
    await expect(note).to_have_text("")
    sent_ms = now_ms()
    heat = Heat("person", sent_ms - 1_000, 4, 4, [5], [1_000])
    box.send(box.cameras["plaza"], sent_ms, heat)
    colour = (
        "(c, [x, y]) => { const [r, g, b] = c.getContext('2d')"
        ".getImageData(c.width * x, c.height * y, 1, 1).data; return r - b; }"
    )
    canvas = page.locator(".camera canvas")
    assert abs(await canvas.evaluate(colour, [0.36, 0.36])) < 40
    for _ in range(50):  # until the worker has taken it
        answer = await (await page.request.get(f"{box.url}v1/heat?last=24h&camera=demo/box/plaza")).json()
        if answer["classes"]:
            break
        await page.wait_for_timeout(100)
    await button.click()
    await expect(note).to_have_text("Where anybody was, last 24 h")
    await expect(button).to_have_attribute("aria-pressed", "true")
    await page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    assert await canvas.evaluate(colour, [0.36, 0.36]) > 80
    assert abs(await canvas.evaluate(colour, [0.64, 0.36])) < 40
    await button.click()
    await page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    assert abs(await canvas.evaluate(colour, [0.36, 0.36])) < 40


async def test_made_up_scenes_and_absent_pictures_are_said(open_box: OpenBox, visit: Visit) -> None:
    """A synthetic scene carries its badge, and without a preview the page says where the pictures stay."""
    box = open_box(Camera("hall", synthetic=True, preview=False))
    page = (await visit(box.url)).page
    await is_live(page)
    await expect(page.get_by_text("Synthetic scene: made-up people, not a camera")).to_be_visible()
    await expect(page.get_by_text("Pictures stay on the device")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_phone_needs_no_sideways_scrolling(open_box: OpenBox, visit: Visit, scheme: str) -> None:
    """On a phone 360 pixels wide everything fits."""
    box = open_box(
        Camera("plaza"), Camera("a-camera-with-quite-a-long-name-that-nobody-expected", preview=False)
    )
    page = (
        await visit(box.url, viewport={"width": 360, "height": 740}, is_mobile=True, color_scheme=scheme)
    ).page
    await is_live(page)
    await expect(page.locator(".camera")).to_have_count(2)
    assert await page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]") == [
        360,
        360,
    ]


async def test_token_opens_the_page(open_box: OpenBox, visit: Visit) -> None:
    """With a token the page asks for it, says so if it is wrong, and goes live with the right one."""
    box = open_box(token="a-token-for-the-lobby")
    visitor = await visit(box.url)
    visitor.forgiven = ("401",)
    page = visitor.page
    field = page.get_by_label("Token")
    await field.fill("not-the-token-at-all")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("That is not the token of this box.")
    await field.fill("a-token-for-the-lobby")
    await page.get_by_role("button", name="Sign in").click()
    await is_live(page)
    await expect(page.locator("#sign-in")).to_be_hidden()
