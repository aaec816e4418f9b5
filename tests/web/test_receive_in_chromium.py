"""The receiving team's pages in a real browser: no fault of axe at both widths, keyboard, no scripts, live news, paper."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from chromium import Watched, faults_on, window
from desk import HOSTILE, alert, arrived
from house import Quarry, Someone
from street import Street, built

pytestmark = pytest.mark.asyncio(loop_scope="session")
COOKIE = "bridge-croydon-mash"
HARD = alert(
    priority="HIGH",
    reporter={"role_title": HOSTILE[:90], "site": HOSTILE[:90]},
    subjects=[{"local_ref": "s1", "names": [{"text": HOSTILE}], "description": HOSTILE + " long" * 60}],
    relations=[],
    objects=[{"kind": "phone", "value": "x" * 300}],
    event={"narrative": HOSTILE + "\n" + "word" * 200, "kinds": [HOSTILE[:60]]},
    grading={"handling": "C", "conditions": ["A1", "S2", HOSTILE[:60]], "caveat_text": HOSTILE},
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def street(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> AsyncIterator[Street]:
    async with built(tmp_path_factory.mktemp("street"), quarry) as made:
        yield made


async def of(street: Street, browser: Any, someone: Someone, **how: Any) -> Watched:
    return await window(browser, street.hub.base, {COOKIE: someone.cookie(COOKIE) or ""}, **how)


async def test_every_page_of_the_desk_is_without_fault_empty_and_full_with_and_without_errors(
    street: Street, browser: Any
) -> None:
    lead = await street.hub.someone("receiver-lead", name="Lee Lead")
    cookies = {COOKIE: lead.cookie(COOKIE) or ""}
    faults = await faults_on(browser, street.hub.base, cookies, ["/inbox", "/inbox?tab=closed", "/reports", "/reports/areas"])
    ref, hard = await arrived(street), await arrived(street, HARD)
    await street.hub.node.ask.ask(ref, "Which school?", f"person:{lead.id}")
    full = ["/inbox", f"/inbox/{ref}", f"/inbox/{hard}", f"/inbox/{ref}/pass-on", f"/inbox/{hard}/print", f"/inbox/{ref}/download", "/reports", "/reports/areas"]
    faults += await faults_on(browser, street.hub.base, cookies, full)
    seen = await of(street, browser, lead)
    for path, button in (
        (f"/inbox/{ref}/ask", "Ask the sender"), (f"/inbox/{ref}/close", "Close this alert"), (f"/inbox/{ref}/keep", "Ask to keep it longer"),
        (f"/inbox/{hard}/print", "Print"), (f"/inbox/{hard}/download", "Download"), ("/search", "Search"),
    ):  # fmt: skip
        await seen.go(path)
        await seen.click(button)
        assert (await seen.page.title()).startswith("Error: "), path
        assert "govuk-error-summary" in await seen.page.evaluate("document.activeElement.className")
        faults += await seen.faults()
    assert faults == []
    assert await seen.page.evaluate("localStorage.length + sessionStorage.length") == 0


async def test_an_alert_is_taken_in_two_steps_and_closed_without_scripts_and_by_keyboard(
    street: Street, browser: Any
) -> None:
    bo = await street.hub.someone("receiver", name="Bo Busy")
    ref = await arrived(street)
    seen = await of(street, browser, bo, java_script_enabled=False)
    page = seen.page
    await seen.go("/inbox")
    await page.locator(f'a[href="/inbox/{ref}"]').focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/inbox/{ref}")
    await page.get_by_role("button", name="Take this alert").focus()
    await page.keyboard.press("Enter")
    await page.get_by_text("It is yours now.").wait_for()
    await page.get_by_role("button", name="Close with an outcome").focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/close")
    await page.locator("#outcome").press("Space")
    await page.get_by_role("button", name="Close this alert").press("Enter")
    await page.wait_for_url("**/inbox?tab=working")
    assert (await street.hub.node.acknowledge.show(ref)).entry.outcome == "intelligence_logged"
    assert seen.complaints == []


async def test_news_are_announced_and_the_list_does_not_move_until_it_is_asked_to(street: Street, browser: Any) -> None:
    bo = await street.hub.someone("receiver", name="Nina News")
    await arrived(street)
    seen = await of(street, browser, bo)
    page = seen.page
    await seen.go("/inbox")
    await asyncio.sleep(0.3)
    before = await page.locator("tbody").inner_text()
    badge = page.locator(".govuk-service-navigation .bridge-count")
    counted = int((await badge.inner_text()).split()[0])
    urgent = await arrived(street, alert(priority="HIGH"))
    news = page.get_by_role("link", name="Show 1 new alert", exact=True)
    await news.wait_for(timeout=8000)
    assert await page.locator("#bridge-said").inner_text() == "Show 1 new alert"
    await badge.get_by_text(str(counted + 1)).wait_for()
    assert await page.locator("tbody").inner_text() == before
    faults = await seen.faults()
    await news.click()
    await page.wait_for_url("**/inbox?tab=new")
    assert urgent in await page.locator("tbody").inner_text()
    await seen.go(f"/inbox/{urgent}")
    await asyncio.sleep(0.3)
    await street.hub.node.acknowledge.take(urgent, "person:another")
    await page.get_by_role("link", name="Something has changed. Show it", exact=True).wait_for(timeout=8000)
    await badge.get_by_text(str(counted)).wait_for()
    assert faults + seen.complaints == []


async def test_paper_has_its_marking_and_no_buttons_and_the_shield_covers_an_alert(street: Street, browser: Any) -> None:
    bo = await street.hub.someone("receiver", name="Pia Paper")
    ref = await arrived(street)
    seen = await of(street, browser, bo)
    page = seen.page
    await page.add_init_script("window.print = () => { document.body.dataset.printed = 'yes' }")
    await seen.go(f"/inbox/{ref}/print")
    await seen.click("Print")
    await page.locator("body[data-printed=yes]").wait_for(timeout=5000)
    faults = await seen.faults()
    await page.emulate_media(media="print")
    visible = await page.evaluate("[...document.querySelectorAll('button, .govuk-back-link, .govuk-service-navigation, footer')].filter((e) => e.offsetParent).length")
    assert visible == 0
    assert await page.get_by_text("Destroy this paper by").is_visible()
    assert await page.locator("svg.bridge-qr").is_visible()
    faults += await seen.faults()
    await page.emulate_media(media="screen")
    await seen.go(f"/inbox/{ref}")
    for _press in range(3):
        await page.keyboard.press("Shift")
    await page.wait_for_url("**/away")
    assert "Kez" not in await page.content()
    assert faults + seen.complaints == []
