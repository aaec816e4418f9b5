"""A worker's pages in a real browser: by keyboard, without scripts, live, and without a fault of axe at both widths."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from chromium import Watched, faults_on, window
from house import Quarry, Someone
from street import ALERT, Street, built

pytestmark = pytest.mark.asyncio(loop_scope="session")
COOKIE = "bridge-kent-jcp"
FIRST_LOAD = 60_000
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>\u202egnp"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def street(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> AsyncIterator[Street]:
    async with built(tmp_path_factory.mktemp("street"), quarry) as made:
        yield made


async def seen_by(browser: Any, street: Street, worker: Someone, **how: Any) -> Watched:
    return await window(browser, street.jobcentre.base, {COOKIE: worker.cookie(COOKIE) or ""}, **how)


class Keys:
    """A keyboard that counts: every key that is not part of a text."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self.pressed = 0

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.pressed += 1
            await self._page.keyboard.press(key)

    async def type(self, text: str) -> None:
        await self._page.keyboard.type(text)


async def until(street: Street, ref: str, label: str) -> None:
    """Wait until every recipient of an alert stands so."""
    for _turn in range(200):
        row = (await street.jobcentre.node.follow.show(ref)).row
        if any(each.label == label for each in row.recipients):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"nobody says {label}")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_the_whole_journey_takes_at_most_twenty_keys_that_are_no_text(
    browser: Any, street: Street, scripts: bool
) -> None:
    worker = await street.jobcentre.someone("sender")
    seen = await seen_by(browser, street, worker, java_script_enabled=scripts)
    await seen.go("/send")
    keys, page = Keys(seen.page), seen.page
    await keys.press("Tab", "Enter")  # skip to the form
    await keys.press("Tab")  # nobody is in danger
    await keys.press("Tab", "Space")  # what was seen
    await keys.press("Tab")
    await keys.type("Croydon")
    await keys.press("Tab", "Tab")  # the area is known
    await keys.type("Kez")
    await keys.press("Tab", "Space", "Tab")  # how old; what they look like
    await keys.press("Tab", "Tab")  # today
    await keys.type("Offered three claimants cash to carry parcels to the coast.")
    await keys.press("Tab", "Enter")  # seen by oneself: on
    await page.wait_for_url("**/send/check")
    await keys.press("Tab", "Enter", "Tab", "Tab", "Enter")
    await page.wait_for_url("**/sent/BR-*")
    assert keys.pressed <= 20
    assert "Alert sent" in await page.inner_text("h1")
    assert seen.complaints == []
    assert "Kez" not in await page.title()
    if scripts:
        assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
        places = [each["url"] for each in (await _history(page))]
        assert not any("Kez" in each or "Croydon" in each for each in places)


async def _history(page: Any) -> list[dict[str, Any]]:
    devices = await page.context.new_cdp_session(page)
    found = await devices.send("Page.getNavigationHistory")
    return list(found["entries"])


async def test_every_page_of_a_worker_is_without_fault(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender", name="Wendy Worker")
    cookies = {COOKIE: worker.cookie(COOKIE) or ""}
    empty = ["/send", "/sent", "/send/decisions", "/send/not", "/send/stop"]
    assert await faults_on(browser, street.jobcentre.base, cookies, empty) == []
    ref = await street.sent(worker, description="Tall, grey tracksuit", place="By the lifts")
    await until(street, ref, "Delivered")
    await street.hub.node.ask.ask(ref, "Which school is on the blazer?", "person:desk")
    other = await street.sent(worker)
    await until(street, other, "Delivered")
    await street.hub.node.acknowledge.not_ours(other, "E08000021", "person:desk")
    await until(street, other, "Not for us")
    taken = await street.sent(worker)
    await until(street, taken, "Delivered")
    await street.jobcentre.node.withdraw.withdraw(taken, "not_needed", f"person:{worker.id}")
    await worker.get("/send/not")
    await worker.post("/send/not", {"reason": "no_agreement_in_place", "note": "Asked", "review": "1"})
    decided = worker.seen.url if worker.seen else ""
    await worker.get("/send")
    await worker.post("/send", {**ALERT, "area": "Newcastle"})
    full = ["/send/area", "/send", f"/sent/{ref}", f"/sent/{other}", f"/sent/{taken}", f"/sent/{ref}/withdraw",
            f"/sent/{other}/send-on", f"/sent/{ref}/correct", "/sent", "/send/decisions", decided]  # fmt: skip
    faults = await faults_on(browser, street.jobcentre.base, cookies, full)
    await worker.get("/send/area")
    await worker.post("/send/area", {"area": "E08000021"})
    faults += await faults_on(browser, street.jobcentre.base, cookies, ["/send/check"])
    assert faults == []


async def test_every_form_of_a_worker_tells_its_mistakes_without_fault(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    ref = await street.sent(worker)
    seen = await seen_by(browser, street, worker)
    await worker.get("/send")
    await worker.post("/send", {**ALERT, "area": "Newcastle"})
    faults = []
    for path, button in (
        ("/send/area", "Continue"), ("/send/not", "Record my decision"), (f"/sent/{ref}/withdraw", "Take it back"),
    ):  # fmt: skip
        await seen.go(path)
        await seen.click(button)
        assert (await seen.page.title()).startswith("Error: ")
        faults += await seen.faults()
    await worker.get("/send")
    await worker.post("/send/again", {})
    await seen.go("/send")
    await seen.click("Continue")
    assert "govuk-error-summary" in await seen.page.evaluate("document.activeElement.className")
    links = await seen.page.eval_on_selector_all(".govuk-error-summary a", "all => all.map((each) => each.hash.slice(1))")
    order = await seen.page.evaluate("(ids) => ids.map((id) => document.getElementById(id).getBoundingClientRect().top)", links)
    assert links == ["seen", "area", "name", "happened"]
    assert order == sorted(order)
    faults += await seen.faults()
    assert faults == []


async def test_an_area_is_chosen_from_the_list_by_keyboard_and_only_that_one_is_meant(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    seen = await seen_by(browser, street, worker)
    await seen.go("/send")
    page = seen.page
    await page.focus("#area")
    await page.keyboard.type("newcastle-u")
    await page.get_by_role("option").first.wait_for()
    faults = await seen.faults()
    await page.focus("#area")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    assert await page.input_value("#area") == "Newcastle-under-Lyme"
    assert await page.input_value("#area_code") == "E07000195"
    await page.keyboard.type(" x")
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Backspace")
    assert await page.input_value("#area") == "Newcastle-under-Lyme"
    assert faults == []


async def test_a_double_click_sends_once_and_so_do_back_and_reload(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    await worker.post("/send", ALERT)
    seen = await seen_by(browser, street, worker, java_script_enabled=False)  # the browser itself holds nothing back
    await seen.go("/send/check")
    await seen.page.get_by_role("button", name="Send alert").dblclick()
    await seen.page.wait_for_url("**/sent/BR-*")
    await seen.page.reload()
    await seen.page.go_back()
    button = seen.page.get_by_role("button", name="Send alert")
    if await button.count():
        await button.click()
        await seen.page.wait_for_url("**/sent/BR-*")
    rows = await street.jobcentre.node.database.fetch("select id from alerts where actor = ?", (f"person:{worker.id}",))
    assert len(rows) == 1


async def test_what_is_typed_is_kept_while_it_is_typed(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    seen = await seen_by(browser, street, worker)
    await seen.go("/send")
    async with seen.page.expect_response("**/send/draft"):
        await seen.page.locator("#name").fill("Quartzfinch")
    again = await seen_by(browser, street, worker)
    await again.go("/send")
    assert await again.page.input_value("#name") == "Quartzfinch"
    assert seen.complaints + again.complaints == []


async def test_a_receipt_appears_by_itself_and_is_said_once(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    ref = await street.sent(worker)
    await until(street, ref, "Delivered")
    seen = await seen_by(browser, street, worker)
    await seen.go(f"/sent/{ref}")
    await street.hub.node.acknowledge.take(ref, "person:desk")
    await seen.page.get_by_text("Croydon safeguarding hub: Being worked on").first.wait_for()
    await seen.page.wait_for_function("document.getElementById('bridge-said').textContent.includes('Being worked on')")
    assert seen.complaints == []


async def test_hostile_text_runs_nothing_in_a_browser(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    ref = await street.sent(worker, name=HOSTILE, description=HOSTILE, happened=HOSTILE, place=HOSTILE)
    await until(street, ref, "Delivered")
    await street.hub.node.ask.ask(ref, HOSTILE.replace("\u202e", ""), "person:desk")
    seen = await seen_by(browser, street, worker)
    for path in (f"/sent/{ref}", f"/sent/{ref}/correct", "/sent"):
        await seen.go(path)
        await seen.page.evaluate("new Promise((done) => setTimeout(done, 30))")
        assert "taken" not in await seen.page.title()
        assert await seen.page.locator("main img").count() == 0
    assert seen.complaints == []


async def test_the_first_page_comes_in_less_than_sixty_kilobytes(browser: Any, street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    seen = await seen_by(browser, street, worker)
    size: dict[str, int] = {}

    async def came(answer: Any) -> None:
        plain = await answer.body()
        packed = answer.headers.get("content-encoding") == "gzip"
        # Chromium gives what was packed unpacked again: packed as the node does, it is as long as it came.
        size[answer.url] = len(gzip.compress(plain, 9)) if packed else len(plain)

    waiting: list[asyncio.Task[None]] = []
    seen.page.on("response", lambda answer: waiting.append(asyncio.ensure_future(came(answer))))
    await seen.go("/send")
    await seen.page.wait_for_load_state("networkidle")
    await asyncio.gather(*waiting)
    assert sum(size.values()) <= FIRST_LOAD, size
