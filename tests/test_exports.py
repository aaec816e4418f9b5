"""Copies of received alerts over a real socket: who may have them, that each is in the register, and that it must go."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import msgspec
import pytest
from api_desk import CANARY, Desk, desk, template
from test_formats import alert_of

from bridge.clock import millis
from bridge.formats import FORMATS
from bridge.storage import retention
from bridge.storage.contents import CONTENT
from bridge.storage.copies import Copied, add


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108  # only a directory made inside it is used
    with TemporaryDirectory(prefix="exports-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture
async def at(ground: Path) -> AsyncIterator[Desk]:
    made = await template(ground / "template")
    async with desk(made, Path(mkdtemp(dir=ground)) / "node") as opened:
        yield opened


async def arrived(at: Desk, alert: dict[str, Any], **more: Any) -> str:
    """An alert that says this, received; its id."""
    (ref,) = await at.arrive(**more)
    async with at.node.database.transaction() as tx:
        row = await tx.fetch_one(
            "select bucket_day, wrapped_key, content from inbox where alert_id = ?", (ref,)
        )
        assert row is not None
        key = at.node.acknowledge._contents.key(ref, row[0], row[1])
        whole = key.open(CONTENT, row[2])
        carried = msgspec.json.decode(whole[32:])
        carried["body"] = alert
        sealed = key.seal(CONTENT, whole[:32] + msgspec.json.encode(carried))
        await tx.execute("update inbox set content = ? where alert_id = ?", (sealed, ref))
    return ref


async def register(at: Desk, token: dict[str, str], query: str = "") -> list[dict[str, Any]]:
    status, page, _ = await at.ask("GET", f"/v1/copies{query}", token)
    assert status == 200
    return list(page["items"])


async def actions(at: Desk, prefix: str) -> list[tuple[str, str, str]]:
    rows = await at.node.database.fetch("select record from audit order by seq")
    found = [msgspec.json.decode(row[0]) for row in rows]
    return [
        (each["action"], each["subject"], each.get("alert", ""))
        for each in found
        if each["action"].startswith(prefix)
    ]


# --- Making a copy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [each.name for each in FORMATS.values() if not each.apart])
async def test_a_received_alert_comes_as_a_file_and_is_in_the_register(form: str, at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    status, body, headers = await at.ask("GET", f"/v1/inbox/{ref}/export?format={form}", token)
    assert status == 200
    assert headers["Content-Type"].partition(";")[0] == FORMATS[form].media.partition(";")[0]
    assert headers["Bridge-Retain-Until"] == "2027-06-01"
    (copy,) = await register(at, token)
    assert headers["Bridge-Copies"] == copy["id"]
    assert (
        headers["Content-Disposition"] == f'attachment; filename="{copy["reference"]}.{FORMATS[form].suffix}"'
    )
    assert (copy["alert"], copy["format"], copy["state"], copy["retain_until"]) == (
        ref,
        form,
        "kept",
        "2027-06-01",
    )
    assert body
    assert CANARY not in json.dumps(copy)


async def test_only_whoever_may_read_alerts_gets_a_copy(at: Desk) -> None:
    (ref,) = await at.arrive()
    other = await at.token("alerts:act")
    assert (await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", other))[0] == 403
    theirs = await at.token("alerts:read", team="LA_ASC")
    assert (await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", theirs))[0] == 404
    assert await register(at, await at.token()) == []


@pytest.mark.parametrize(
    "query", ["", "?format=docx", "?format=csv&colour=red", "?format=csv&consulted=maybe"]
)
async def test_a_form_that_is_none_is_refused(query: str, at: Desk) -> None:
    (ref,) = await at.arrive()
    status, problem, _ = await at.ask("GET", f"/v1/inbox/{ref}/export{query}", await at.token())
    assert (status, problem["code"]) == (422, "usage")


async def test_a_copy_is_seen_and_made_in_the_audit_log_without_what_it_says(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    _, _, headers = await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", token)
    assert await actions(at, "copy:") == [("copy:made", headers["Bridge-Copies"], ref)]
    assert [each[2] for each in await actions(at, "inbox:seen")] == [ref]


async def test_what_is_only_for_others_is_in_no_form_of_a_teams_copy(at: Desk) -> None:
    alert = {**alert_of("03"), "grading": {"handling": "P"}}
    ref = await arrived(at, alert)
    address = "Fernbank"
    for form in ("json", "csv", "cap", "html", "stix", "ndjson", "xlsx"):
        _, body, _ = await at.ask(
            "GET", f"/v1/inbox/{ref}/export?format={form}", await at.token("alerts:read", team="MASH")
        )
        text = json.dumps(body) if not isinstance(body, bytes) else body.decode(errors="replace")
        assert address not in text
        if form != "xlsx":
            assert "/objects/0" in text
    everybody = await arrived(at, alert, function="LA_ASC", start=50)
    _, body, _ = await at.ask("GET", f"/v1/inbox/{everybody}/export?format=csv", await at.token())
    assert address in body.decode()


async def test_an_alert_whose_sender_wants_to_be_asked_leaves_only_when_that_was_done(at: Desk) -> None:
    token = await at.token()
    ref = await arrived(at, alert_of("03"))
    status, problem, _ = await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", token)
    assert (status, problem["code"]) == (422, "policy")
    assert "S2" in problem["detail"]
    assert await register(at, token) == []
    status, _, _ = await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv&consulted=true", token)
    assert (status, [each["consulted"] for each in await register(at, token)]) == (200, [True])


async def test_a_condition_that_nobody_knows_holds_a_copy_back(at: Desk) -> None:
    ref = await arrived(at, {**alert_of("01"), "grading": {"handling": "C", "conditions": ["A1", "Z9"]}})
    status, problem, _ = await at.ask("GET", f"/v1/inbox/{ref}/export?format=json", await at.token())
    assert (status, problem["code"]) == (422, "policy")
    assert "Z9" not in json.dumps(problem)


# --- Many ------------------------------------------------------------------------------------------------------


async def test_all_alerts_are_exported_once_each_in_pages(at: Desk) -> None:
    token = await at.token()
    expected = await at.arrive(23)
    found: list[str] = []
    cursor, files = "", 0
    while True:
        _, body, headers = await at.ask("GET", f"/v1/export?format=json&limit=10{cursor}", token)
        files += 1
        found += [each["id"] for each in body["items"]]
        if not headers["Bridge-Next-Cursor"]:
            break
        cursor = f"&cursor={headers['Bridge-Next-Cursor']}"
    assert (found, files) == (expected, 3)
    assert len(await register(at, token, "?limit=200")) == 23


async def test_what_may_not_leave_is_left_out_of_many_and_named(at: Desk) -> None:
    token = await at.token()
    (free,) = await at.arrive()
    bound = await arrived(at, alert_of("03"), start=7)
    _, body, headers = await at.ask("GET", "/v1/export?format=json", token)
    assert [each["id"] for each in body["items"]] == [free]
    left = headers["Bridge-Left-Out"]
    assert left.endswith(";policy")
    assert left.startswith("BR-")
    _, body, headers = await at.ask("GET", "/v1/export?format=json&consulted=true", token)
    assert ([each["id"] for each in body["items"]], headers["Bridge-Left-Out"]) == ([free, bound], "")


async def test_a_form_that_holds_one_alert_is_not_given_many(at: Desk) -> None:
    token = await at.token()
    await at.arrive(2)
    assert (await at.ask("GET", "/v1/export?format=cap", token))[1]["code"] == "usage"
    assert (await at.ask("GET", "/v1/export?format=cap&limit=1", token))[0] == 200


async def test_an_empty_inbox_gives_an_empty_file(at: Desk) -> None:
    status, body, headers = await at.ask("GET", "/v1/export?format=csv", await at.token())
    assert (status, headers["Bridge-Copies"], headers["Bridge-Retain-Until"]) == (200, "", "")
    assert body.count(b"\r\n") == 1


# --- The end of a copy -----------------------------------------------------------------------------------------


async def ended(at: Desk, ref: str, code: str) -> None:
    """Delete an alert as the sweep and a withdrawal do."""
    now = millis(at.clock.now())
    async with at.node.database.transaction() as tx:
        rows = await retention.inbox_of(tx, ref, "luton-jcp")
        await at.node.retain.purge_within(tx, rows, code, "node", now)


@pytest.mark.parametrize("code", ["expired", "withdrawn"])
async def test_when_an_alert_is_deleted_its_copies_are_told_to_go_and_stay_listed_until_they_are(
    code: str, at: Desk
) -> None:
    token = await at.token()
    ref, other = await at.arrive(2)
    await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", token)
    await at.ask("GET", f"/v1/inbox/{ref}/export?format=html", token)
    await at.ask("GET", f"/v1/inbox/{other}/export?format=csv", token)
    await ended(at, ref, code)
    due = await register(at, token, "?state=due")
    assert [(each["alert"], each["format"], each["notice"]) for each in due] == [
        (ref, "html", code),
        (ref, "csv", code),
    ]
    assert [each[2] for each in await actions(at, "copy:due")] == [ref, ref]
    rows = await at.node.database.fetch("select data from events where type = 'copy.due' order by seq")
    facts = [msgspec.json.decode(row[0]) for row in rows]
    assert [each["copy"] for each in facts] == [each["id"] for each in reversed(due)]
    assert {each["code"] for each in facts} == {code}
    copy = due[0]["id"]
    for how, again in (("destroyed", "destroyed"), ("adopted", "destroyed")):
        status, said, _ = await at.ask("POST", f"/v1/copies/{copy}/ended", token, json={"as": how})
        assert (status, said["state"], said["ended_as"]) == (200, "ended", again)
    assert [each["format"] for each in await register(at, token, "?state=due")] == ["csv"]
    assert [each["id"] for each in await register(at, token, "?state=ended")] == [copy]
    assert [each[:2] for each in await actions(at, "copy:destroyed")] == [("copy:destroyed", copy)]


async def test_a_webhook_is_told_of_a_copy_that_must_go_by_ids_alone(ground: Path) -> None:
    made = await template(ground / "template")
    async with desk(made, Path(mkdtemp(dir=ground)) / "node", start=True) as at:
        token = await at.token()
        hook = {"url": "https://case.example/hook", "label": "case system", "events": ["copy.due"]}
        status, _, _ = await at.ask("POST", "/v1/webhooks", token, json=hook)
        assert status == 201
        (ref,) = await at.arrive()
        _, _, headers = await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", token)
        await ended(at, ref, "expired")
        at.node.bell.ring()
        async with asyncio.timeout(5):
            while not at.posted.got:  # noqa: ASYNC110  the receiver is a plain function
                await asyncio.sleep(0.02)
        (told,) = at.posted.bodies
        assert told["type"] == "copy.due"
        assert told["data"]["copy"] == headers["Bridge-Copies"]
        assert told["data"]["link"].endswith(f"/v1/copies/{headers['Bridge-Copies']}")
        assert CANARY not in json.dumps(told)


async def test_no_copy_is_made_of_what_is_deleted_meanwhile(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    await ended(at, ref, "expired")
    assert (await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", token))[0] == 410
    row = Copied("c", 0, ref, "BR-X", 1, "a", None, "csv", None, 0, 2)
    async with at.node.database.transaction() as tx:
        assert await add(tx, [row]) is False
    assert await register(at, token) == []


async def test_copies_of_one_alert_are_found_by_its_reference_after_it_is_gone(at: Desk) -> None:
    token = await at.token()
    ref, _ = await at.arrive(2)
    await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", token)
    reference = (await register(at, token))[0]["reference"]
    await ended(at, ref, "expired")
    found = await register(at, token, f"?ref={reference.lower().replace('-', '')}")
    assert [each["state"] for each in found] == ["due"]
    assert await register(at, token, f"?ref={reference}&state=kept") == []


async def test_a_team_sees_the_copies_that_its_own_systems_made(at: Desk) -> None:
    (ref,) = await at.arrive()
    mash, adults = await at.token(team="MASH"), await at.token(team="LA_ASC")
    await at.ask("GET", f"/v1/inbox/{ref}/export?format=csv", mash)
    (copy,) = await register(at, mash)
    assert await register(at, adults) == []
    assert (await at.ask("GET", f"/v1/copies/{copy['id']}", adults))[0] == 404
    assert (await at.ask("POST", f"/v1/copies/{copy['id']}/ended", adults))[0] == 404


async def test_the_register_pages_newest_first(at: Desk) -> None:
    token = await at.token()
    refs = await at.arrive(5)
    for ref in refs:
        await at.ask("GET", f"/v1/inbox/{ref}/export?format=json", token)
    found: list[str] = []
    cursor = ""
    while True:
        _, page, _ = await at.ask("GET", f"/v1/copies?limit=2{cursor}", token)
        found += [each["alert"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == refs[::-1]


async def test_copies_that_are_gone_are_forgotten_with_the_evidence(at: Desk) -> None:
    token = await at.token()
    first, second = await at.arrive(2)
    for ref in (first, second):
        await at.ask("GET", f"/v1/inbox/{ref}/export?format=json", token)
    await at.ask("POST", f"/v1/copies/{(await register(at, token))[0]['id']}/ended", token)
    at.clock.move(days=2193)
    at.node.clock.trust()
    await at.node.retain.forget()
    rows = await at.node.database.fetch("select alert_id from copies")
    assert rows in ([(first,)], [(first,), (second,)])


async def test_formats_say_whether_they_are_ready(at: Desk) -> None:
    _, answer, _ = await at.ask("GET", "/v1/formats", await at.token())
    assert [each["name"] for each in answer["items"]] == list(FORMATS)
    assert {each["name"]: each["extra"] for each in answer["items"] if each["extra"]} == {
        "xlsx": "xlsx",
        "pdf": "pdf",
    }


async def test_an_evidence_file_of_a_sent_alert_is_a_copy_until_the_alert_is_deleted(at: Desk) -> None:
    token = await at.token()
    alert = {**alert_of("01"), "recipients": [{"function": "MASH", "area": "E09000008"}]}
    status, sent, _ = await at.ask("POST", "/v1/alerts", token, json=alert)
    assert status == 202
    for ref in (sent["id"], sent["reference"]):
        status, _, _ = await at.ask("GET", f"/v1/evidence/{ref}?side=sent", token)
        assert status == 200
    made = await register(at, token, f"?ref={sent['reference']}")
    assert [(each["alert"], each["format"], each["state"]) for each in made] == [(sent["id"], "evidence", "kept")] * 2
    at.clock.move(seconds=1)
    async with at.node.database.transaction() as tx:
        await at.node.retain._let_go(tx, [sent["id"]], millis(at.clock.now()))
    due = await register(at, token, "?state=due")
    assert sorted(each["id"] for each in due) == sorted(each["id"] for each in made)
    assert {each["notice"] for each in due} == {"expired"}
    told = await at.node.database.fetch("select data from events where type = 'copy.due'")
    assert {msgspec.json.decode(row[0])["copy"] for row in told} == {each["id"] for each in made}
    assert [each[0] for each in await actions(at, "copy:")] == ["copy:made"] * 2 + ["copy:due"] * 2
    status, _, _ = await at.ask("GET", f"/v1/evidence/{sent['id']}?side=sent", token)  # it proves, without the content
    assert (status, len(await register(at, token))) == (200, 2)


async def test_an_evidence_file_of_a_received_alert_is_a_copy_too(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    await at.node.export.noted(ref, "somebody")
    assert {each["format"] for each in await register(at, token)} == {"evidence"}
    await ended(at, ref, "expired")
    before = len(await register(at, token))
    await at.node.export.noted(ref, "somebody")
    assert len(await register(at, token)) == before
