"""What passes between a node and other systems, for whoever looks after it: endpoints, their log, resending, calls."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from house import KENT, House, Quarry, Someone, opened

from bridge.clock import millis
from bridge.events import about
from bridge.storage.events import New, tell

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALERT = "0192f5a0-0000-7000-8000-000000000001"


@dataclass
class System:
    """A case system that takes events, or answers as it is told to."""

    address: str = ""
    status: int = 204
    came: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.came.append(msgspec.json.decode(await request.read()))
        return web.Response(status=self.status)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system() -> AsyncIterator[System]:
    made = System()
    app = web.Application()
    app.router.add_post("/hook", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.address = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?key=Zq9Secret"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("connections") / "kent"
    await quarry.copy(KENT, folder)
    async with opened(folder, KENT, host="localhost") as made:
        yield made


async def added(con: Someone, system: System, **changes: Any) -> tuple[str, str]:
    """An endpoint added on its page: where its own page is, and the secret that was shown."""
    await con.get("/admin/webhooks/new")
    seen = await con.post("/admin/webhooks/new", {"label": "Case system", "url": system.address, "events": "alert.received", **changes})
    page = seen.text.split('href="/admin/webhooks/')[1].split('"', maxsplit=1)[0]
    return f"/admin/webhooks/{page}", next(word for word in seen.words.split() if word.startswith("whsec_"))


async def happened(house: House, hook: str) -> None:
    """An alert has come, and is told of."""
    node = house.node
    async with node.database.transaction() as tx:
        await tell(tx, [New("alert.received", about(ALERT))], millis(node.clock.now()))
    await node.publish.queue()
    await node.publish._turn(hook)


async def test_a_system_is_added_told_tested_and_its_secret_shown_once(house: House, system: System) -> None:
    con = await house.someone("integration", name="Ines Integration")
    assert "No system is told of events yet." in (await con.get("/admin/webhooks")).words
    await con.get("/admin/webhooks/new")
    assert [name for name, _ in (await con.post("/admin/webhooks/new", {})).errors] == ["label", "url"]
    wrong = await con.post("/admin/webhooks/new", {"label": "x", "url": "ftp://case.example"})
    assert [name for name, _ in wrong.errors] == ["url"]
    page, secret = await added(con, system)
    system.status, system.came = 204, []
    await happened(house, page.rpartition("/")[2])
    assert [each["type"] for each in system.came] == ["alert.received"]
    seen = await con.get(page)
    assert "Delivered" in seen.words
    assert "BR-" in seen.words
    assert secret not in seen.text
    assert "Zq9Secret" not in seen.text + (await con.get("/admin/webhooks.csv")).text
    assert "The test was accepted. It answered 204." in (await con.post(f"{page}/test")).words
    assert system.came[-1]["type"] == "webhook.test"
    system.status = 500
    assert "The test was not accepted. It answered 500." in (await con.post(f"{page}/test")).words


async def test_what_was_given_up_is_listed_with_why_and_sent_again(house: House, system: System) -> None:
    con = await house.someone("integration")
    page, _secret = await added(con, system)
    hook = page.rpartition("/")[2]
    system.status, system.came = 410, []
    await happened(house, hook)
    seen = await con.get(page)
    assert "Switched off" in seen.words
    assert "It said that it is gone for good (410)" in seen.words
    twin = msgspec.json.decode((await con.get(f"{page}.json?state=dead")).text)["items"]
    assert [(each["type"], each["state"], each["status"]) for each in twin] == [("alert.received", "Given up", 410)]
    assert (await con.get(f"{page}.csv?state=done")).text.count("\n") == 1
    await con.get(page)
    refused = await con.post(f"{page}/resend", {})
    assert (refused.status, "Switch it on first." in refused.words) == (409, True)
    await con.get(page)
    system.status = 204
    assert "It is switched on." in (await con.post(f"{page}/switch", {"to": "on"})).words
    assert "1 event is sent again." in (await con.post(f"{page}/resend", {})).words
    await house.node.publish._turn(hook)
    assert system.came[-1]["data"]["id"] == ALERT
    event = twin[0]["event"]
    await con.get(page)
    assert "1 event is sent again." in (await con.post(f"{page}/resend", {"event": event})).words
    await house.node.publish._turn(hook)
    assert len(system.came) == 3
    assert "0 events are sent again." in (await con.post(f"{page}/resend", {"event": "evt_of-nobody"})).words


async def test_a_system_gets_new_keys_and_is_removed_after_a_tick(house: House, system: System) -> None:
    con = await house.someone("integration")
    page, secret = await added(con, system, label="=cmd|calc <b>", events=[])
    await con.get(page)
    seen = await con.post(f"{page}/keys")
    assert "Until 23 November 2026 at midday events are signed with the keys before as well." in seen.words
    assert secret not in seen.text
    assert "'=cmd|calc <b>" in (await con.get("/admin/webhooks.csv")).text
    assert "<b>" not in (await con.get("/admin/webhooks")).text
    await con.get(f"{page}/remove")
    assert (await con.post(f"{page}/remove", {})).errors[0][0] == "sure"
    assert (await con.post(f"{page}/remove", {"sure": "yes"})).url == "/admin/webhooks"
    assert (await con.get(page)).status == 404


async def test_a_system_that_does_not_take_it_is_not_said_to_work(house: House, system: System) -> None:
    con = await house.someone("integration")
    page, _secret = await added(con, system)
    system.status = 503
    await happened(house, page.rpartition("/")[2])
    seen = await con.get(page)
    assert "Not accepted at present" in seen.words
    assert "It answered 503." in seen.words


async def test_whole_alerts_cannot_be_asked_for_by_who_may_not_read_them(house: House, system: System) -> None:
    con = await house.someone("integration")
    await con.get("/admin/webhooks/new")
    seen = await con.post("/admin/webhooks/new", {"label": "x", "url": system.address, "content": "full"})
    assert seen.status == 400


async def test_calls_are_listed_by_route_and_end_without_what_was_asked(house: House) -> None:
    con = await house.someone("integration")
    assert "Calls made with your tokens appear here for 7 days." in (await con.get("/admin/calls")).words
    token = (await house.node.admit.create("Case system", ["alerts:read"], 30, "operator"))["token"]
    async with con.session.get(f"{house.base}/v1/inbox?limit=7", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 200
    seen = await con.get("/admin/calls")
    assert "Case system GET /v1/inbox 200" in seen.words
    assert "limit" not in seen.words
    rows = msgspec.json.decode((await con.get("/admin/calls.json")).text)["items"]
    assert [(row["call"], row["status"]) for row in rows] == [("GET /v1/inbox", 200)]
    assert '<a class="govuk-link" href="/admin/calls" aria-current="page">' in seen.text
