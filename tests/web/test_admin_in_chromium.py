"""The administrator's pages and the way in, in a real browser: no fault of axe at both widths, nothing from outside."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from chromium import faults_on, window
from house import ESSEX, KENT, House, Quarry, opened, settings_of, words_of

from bridge.answers import Wanted
from bridge.clock import millis
from bridge.config import Settings
from bridge.events import about
from bridge.nodes.app import Node
from bridge.storage.events import New, tell

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGES = (
    "/areas", "", "/partners", "/partners/add", "/partners/essex-police", "/partners/essex-police/approve",
    "/partners/essex-police/revoke", "/words", "/areas?show=all&team=POLICE&q=kent", "/team", "/team/invite",
    "/keeping", "/keeping/UNADOPTED", "/holds", "/audit", "/tokens", "/tokens/new", "/keys", "/settings",
    "/webhooks", "/webhooks/new", "/calls",
)  # fmt: skip
COOKIE = "bridge-kent-mash"
SUSSEX = settings_of("sussex-police", "Sussex Police", "E23000033", ("POLICE",))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> AsyncIterator[House]:
    """One node for all of these tests, at an address that passkeys are bound to."""
    folder = tmp_path_factory.mktemp("chromium") / "kent"
    await quarry.copy(KENT, folder)
    async with opened(folder, KENT, host="localhost") as made:
        yield made


async def invitation(quarry: Quarry, to: Path, settings: Settings) -> tuple[bytes, str]:
    """A partner's invitation, and the words that they would read out."""
    await quarry.copy(settings, to)
    node = await Node.open(to, settings)
    try:
        return node.enrol.invite(), words_of(node)
    finally:
        await node.close()


async def test_every_page_of_an_administrator_is_without_fault(
    browser: Any, house: House, quarry: Quarry, tmp_path: Path
) -> None:
    ada = await house.someone("administrator", name="Ada Admin")
    invite, _words = await invitation(quarry, tmp_path / "essex", ESSEX)
    await house.node.enrol.add(invite, f"person:{ada.id}")
    await house.node.admit.create("Case system", ["alerts:send"], 30, f"person:{ada.id}")
    hook = await house.node.subscribe.add(Wanted("https://case.example/events", "Case system"), f"person:{ada.id}", may_read=False)
    async with house.node.database.transaction() as tx:
        await tell(tx, [New("alert.received", about("0192f5a0-0000-7000-8000-000000000001"))] * 2, millis(house.node.clock.now()))
    await house.node.publish.queue()
    house.node.meter.note(hook.endpoint.id, "GET", "/v1/inbox", 403, "forbidden", 0.004)
    cookies = {COOKIE: ada.cookie(COOKIE) or ""}
    paths = [*PAGES, f"/webhooks/{hook.endpoint.id}", f"/webhooks/{hook.endpoint.id}/remove"]
    assert await faults_on(browser, house.base, cookies, [f"/admin{path}" for path in paths]) == []


async def test_every_form_of_an_administrator_tells_its_mistakes_without_fault(browser: Any, house: House) -> None:
    ada = await house.someone("administrator", name="Ada Admin")
    seen = await window(browser, house.base, {COOKIE: ada.cookie(COOKIE) or ""})
    faults = []
    for path, button in (
        ("/admin/team/invite", "Make a link for this person"),
        ("/admin/partners/add", "Continue"),
        ("/admin/partners/essex-police/approve", "Approve"),
        ("/admin/tokens/new", "Make the token"),
        ("/admin/webhooks/new", "Add the system"),
    ):
        await seen.go(path)
        await seen.click(button)
        assert (await seen.page.title()).startswith("Error: ")
        assert "govuk-error-summary" in await seen.page.evaluate("document.activeElement.className")
        faults += await seen.faults()
    assert faults == []


async def test_the_way_in_and_the_pages_for_everybody_are_without_fault(browser: Any, house: House) -> None:
    link = await house.node.sign_in._link(None, "operator")
    paths = ("/sign-in", f"/set-up/{link}", "/help", "/help/accessibility", "/help/information")
    faults = await faults_on(browser, house.base, {}, paths)
    seen = await window(browser, house.base)
    await seen.go("/nowhere")
    faults += await seen.faults()
    await seen.go("/sign-in")
    await seen.click("Sign in")
    faults += await seen.faults()
    assert faults == []


async def test_two_administrators_approve_a_partner_without_scripts_and_by_keyboard(
    browser: Any, house: House, quarry: Quarry, tmp_path: Path
) -> None:
    invite, words = await invitation(quarry, tmp_path / "sussex", SUSSEX)
    people = [await house.someone("administrator", name=name) for name in ("Ada Admin", "Bo Boss")]
    for number, person in enumerate(people):
        seen = await window(browser, house.base, {COOKIE: person.cookie(COOKIE) or ""}, java_script_enabled=False)
        page = seen.page
        if number == 0:
            await seen.go("/admin/partners/add")
            await page.locator("#invitation").fill(invite.decode())
            await page.keyboard.press("Tab")
            await page.keyboard.press("Tab")
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/sussex-police")
        await seen.go("/admin/partners/sussex-police/approve")
        await page.locator("#heard").fill(words.upper())
        await page.locator("#rang").press("Space")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/sussex-police")
        word = await page.locator("h1 .govuk-tag").inner_text()
        assert word == ("Approved by one" if number == 0 else "Active")
        assert seen.complaints == []


async def test_no_page_is_shown_inside_a_page_of_others(browser: Any, house: House) -> None:
    page = await browser.new_page()
    frame = f'<iframe src="{house.base}/sign-in"></iframe>'
    await page.route("http://elsewhere.example/", lambda route: route.fulfill(body=frame, content_type="text/html"))
    await page.goto("http://elsewhere.example/")
    assert [each.url for each in page.frames] == ["http://elsewhere.example/", "chrome-error://chromewebdata/"]
    await page.close()


async def test_the_shield_covers_the_page_at_three_presses_of_shift(browser: Any, house: House) -> None:
    ada = await house.someone("administrator")
    seen = await window(browser, house.base, {COOKIE: ada.cookie(COOKIE) or ""})
    await seen.go("/admin/team")
    for _press in range(3):
        await seen.page.keyboard.press("Shift")
    await seen.page.wait_for_url("**/away")
    assert "Ada" not in await seen.page.content()
    await seen.page.go_back()
    await seen.page.wait_for_load_state()
    assert seen.page.url == f"{house.base}/away"
    assert await seen.page.evaluate("localStorage.length + sessionStorage.length") == 0


async def test_a_passkey_made_here_opens_the_door_again(browser: Any, house: House) -> None:
    ada = await house.someone("administrator", name="Ada Admin")
    seen = await window(browser, house.base, {COOKIE: ada.cookie(COOKIE) or ""})
    devices = await seen.page.context.new_cdp_session(seen.page)
    await devices.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    await devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    await seen.go("/set-up/second-step")
    faults = await seen.faults()
    await seen.page.get_by_role("button", name="Make a passkey").click()
    await seen.page.wait_for_url("**/account")
    await seen.page.get_by_role("button", name="Sign out", exact=True).click()
    await seen.page.wait_for_url("**/sign-in")
    faults += await seen.faults()
    await seen.page.get_by_role("button", name="Sign in with a passkey").click()
    await seen.page.wait_for_url("**/admin")
    assert faults == []
