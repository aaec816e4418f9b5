"""The interface for systems, asked over a real socket: what it takes, what it refuses, and what a system can rely on."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_desk import CANARY, Desk, Hands, desk, template

from bridge.clock import SystemClock
from bridge.config import Limits
from bridge.storage import inbox

ALERT = {
    "v": 1,
    "subjects": [{"names": [{"text": CANARY}], "roles": ["exploited"], "dob": "2010-03-04"}],
    "home": {"district": "E06000032"},
    "event": {"kinds": ["criminal_exploitation"], "narrative": f"{CANARY} came with two older men."},
    "recipients": [{"function": "MASH", "area": "home"}],
}


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108  # only a directory made inside it is used
    with tempfile.TemporaryDirectory(prefix="desk-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture
def place(ground: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=ground)) / "node"


@pytest.fixture
async def made(ground: Path) -> Path:
    return await template(ground / "template")


@pytest.fixture
async def at(made: Path, place: Path) -> AsyncIterator[Desk]:
    async with desk(made, place) as opened:
        yield opened


# --- Who may ask -----------------------------------------------------------------------------------------------


async def test_without_a_token_nothing_is_told(at: Desk) -> None:
    status, problem, headers = await at.ask("GET", "/v1/inbox")
    assert (status, problem["code"], headers["WWW-Authenticate"]) == (401, "unauthenticated", "Bearer")
    assert headers["Content-Type"] == "application/problem+json"


async def test_a_token_may_do_what_it_is_for_and_nothing_else(at: Desk) -> None:
    reader = await at.token("alerts:read")
    assert (await at.ask("GET", "/v1/inbox", reader))[0] == 200
    status, problem, _ = await at.ask("POST", "/v1/alerts", reader, json=ALERT)
    assert (status, problem["code"]) == (403, "forbidden")


async def test_a_token_that_is_ended_is_refused_at_once(at: Desk) -> None:
    made = await at.node.admit.create("x", ["alerts:read"], None, "admin")
    token = {"Authorization": f"Bearer {made['token']}"}
    assert (await at.ask("GET", "/v1/inbox", token))[0] == 200
    await at.node.admit.revoke(made["id"], "admin")
    assert (await at.ask("GET", "/v1/inbox", token))[0] == 401


async def test_a_token_ends_when_its_time_is_over(at: Desk) -> None:
    made = await at.node.admit.create("x", ["alerts:read"], 1, "admin")
    token = {"Authorization": f"Bearer {made['token']}"}
    assert (await at.ask("GET", "/v1/inbox", token))[0] == 200
    at.clock.move(days=1, seconds=1)
    assert (await at.ask("GET", "/v1/inbox", token))[0] == 401


async def test_who_am_i_says_what_a_token_may_do(at: Desk) -> None:
    token = await at.token("alerts:read", "alerts:act", team="MASH", rate=90)
    _, said, _ = await at.ask("GET", "/v1/token", token)
    assert said["scopes"] == ["alerts:act", "alerts:read"]
    assert (said["team"], said["requests_a_minute"], said["node"]) == ("MASH", 90, "luton-mash")


async def test_a_tokens_team_must_be_one_of_the_nodes_functions(at: Desk) -> None:
    from bridge.errors import Rejected

    with pytest.raises(Rejected) as refused:
        await at.token("alerts:read", team="POLICE")
    assert refused.value.code == "usage"


# --- How often -------------------------------------------------------------------------------------------------


async def test_a_token_that_asks_too_often_is_told_how_long_to_wait(made: Path, place: Path) -> None:
    async with desk(made, place, limits=Limits(token_requests_per_minute=3)) as at:
        token, other = await at.token("alerts:read"), await at.token("alerts:read")
        left = []
        for _ in range(3):
            status, _, headers = await at.ask("GET", "/v1/inbox", token)
            assert (status, headers["RateLimit-Policy"]) == (200, '"token";q=3;w=60')
            left.append(headers["RateLimit"])
        assert left == ['"token";r=2;t=0', '"token";r=1;t=0', '"token";r=0;t=0']
        status, problem, headers = await at.ask("GET", "/v1/inbox", token)
        assert (status, problem["code"], headers["Retry-After"]) == (429, "too-many", "20")
        assert (await at.ask("GET", "/v1/inbox", other))[0] == 200
        at.clock.move(seconds=20)
        assert (await at.ask("GET", "/v1/inbox", token))[0] == 200


async def test_a_token_may_have_a_limit_of_its_own(at: Desk) -> None:
    token = await at.token("alerts:read", rate=1)
    assert [(await at.ask("GET", "/v1/inbox", token))[0] for _ in range(2)] == [200, 429]


# --- What is asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/inbox?limit=0", "limit"), ("/v1/inbox?limit=201", "limit"), ("/v1/inbox?limit=1.0", "limit"),
        ("/v1/inbox?limit=1&limit=2", "limit"), ("/v1/inbox?wait=31", "wait"), ("/v1/inbox?state=lost", "state"),
        ("/v1/inbox?since=yesterday", "since"), ("/v1/inbox?since=2026-01-01T00:00:00", "since"),
        ("/v1/inbox?cursor=1-0000000000000000", "cursor"), ("/v1/inbox?limitt=2", None), ("/v1/token?x=1", None),
        ("/v1/areas/resolve", None), ("/v1/areas/resolve?q=%20", "q"),
    ],
)  # fmt: skip
async def test_a_parameter_that_is_wrong_is_refused_by_its_name(at: Desk, path: str, parameter: str | None) -> None:
    status, problem, _ = await at.ask("GET", path, await at.token())
    assert (status, problem["code"], problem.get("parameter")) == (422, "usage", parameter)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"outcome": 1}', "application/json", 400),
        (b'{"outcome": "x", "more": 1}', "application/json", 400),
        (b'{"outcome": "x", "outcome": "y"}', "application/json", 400),
        (b"{}", "application/json", 400),
        (b"", "application/json", 400),
        (b"outcome=x", "application/x-www-form-urlencoded", 415),
        (b'{"outcome": "no_such_outcome"}', "application/json", 422),
    ],
    ids=["type", "unknown field", "field twice", "field missing", "no body", "form", "unknown code"],
)
async def test_a_body_that_is_wrong_changes_nothing(at: Desk, body: bytes, kind: str, status: int) -> None:
    (ref,) = await at.arrive()
    path = f"/v1/inbox/{ref}/close"
    answer = await at.ask("POST", path, await at.token(), data=body, headers={"Content-Type": kind})
    assert answer[0] == status
    _, after, _ = await at.ask("GET", f"/v1/inbox/{ref}", await at.token())
    assert (after["state"], after["version"]) == ("received", 1)


async def test_a_method_that_is_not_for_an_address_is_refused_with_those_that_are(at: Desk) -> None:
    status, _, headers = await at.ask("GET", "/v1/inbox/lease", await at.token())
    assert (status, headers["Allow"]) == (405, "POST")


async def test_the_same_answer_can_be_had_as_msgpack(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    _, plain, _ = await at.ask("GET", f"/v1/inbox/{ref}", token)
    _, packed, headers = await at.ask("GET", f"/v1/inbox/{ref}", token, headers={"Accept": "application/msgpack"})
    assert headers["Content-Type"] == "application/msgpack"
    assert msgspec.msgpack.decode(packed) == plain


# --- Sending ---------------------------------------------------------------------------------------------------


async def test_a_check_says_who_would_get_it_and_stores_nothing(at: Desk) -> None:
    status, plan, _ = await at.ask("POST", "/v1/alerts/check", await at.token(), json=ALERT)
    assert status == 200
    assert [(leg["node"], leg["function"]) for leg in plan["route"]] == [("luton-mash", "MASH")]
    assert plan["home"]["name"] == "Luton"
    _, page, _ = await at.ask("GET", "/v1/alerts", await at.token())
    assert page["items"] == []


async def test_a_check_refuses_what_sending_would_refuse(at: Desk) -> None:
    marked = {**ALERT, "grading": {"marking": "SECRET"}}
    for path in ("/v1/alerts", "/v1/alerts/check"):
        status, problem, _ = await at.ask("POST", path, await at.token(), json=marked)
        assert (status, problem["code"]) == (422, "marking")


async def test_the_same_key_gives_the_same_alert_again(at: Desk) -> None:
    token, key = await at.token(), {"Idempotency-Key": "case-17"}
    status, first, headers = await at.ask("POST", "/v1/alerts", token, json=ALERT, headers=key)
    assert (status, headers["Location"]) == (202, f"/v1/alerts/{first['id']}")
    _, again, _ = await at.ask("POST", "/v1/alerts", token, json=ALERT, headers=key)
    assert (again["id"], again["repeated"]) == (first["id"], True)
    other = {**ALERT, "priority": "HIGH"}
    status, problem, _ = await at.ask("POST", "/v1/alerts", token, json=other, headers=key)
    assert (status, problem["code"]) == (422, "idempotency-conflict")


async def test_a_correction_under_a_key_is_made_once(at: Desk) -> None:
    token = await at.token()
    first = (await at.ask("POST", "/v1/alerts", token, json=ALERT))[1]
    async with at.node.database.transaction() as tx:
        await tx.execute("update messages set partner = 'luton-mash' where partner is null")
    path, key = f"/v1/alerts/{first['id']}/correct", {"Idempotency-Key": "correct-1"}
    made = [await at.ask("POST", path, token, json={**ALERT, "priority": "HIGH"}, headers=key) for _ in range(2)]
    assert [status for status, _, _ in made] == [202, 202]
    assert (made[1][1]["id"], made[1][1]["repeated"]) == (made[0][1]["id"], True)
    status, problem, _ = await at.ask("POST", path, token, json=ALERT, headers=key)
    assert (status, problem["code"]) == (422, "idempotency-conflict")


async def test_a_query_holds_no_control_character(at: Desk) -> None:
    status, problem, _ = await at.ask("GET", "/v1/areas/resolve?q=Lut%C2%9Bon", await at.token())
    assert (status, problem["parameter"]) == (422, "q")


async def test_an_alert_sent_can_be_followed_by_id_and_by_reference(at: Desk) -> None:
    token = await at.token()
    _, sent, _ = await at.ask("POST", "/v1/alerts", token, json=ALERT)
    for ref in (sent["id"], sent["reference"], sent["reference"].lower().replace("-", "")):
        status, shown, _ = await at.ask("GET", f"/v1/alerts/{ref}", token)
        assert (status, shown["id"], shown["alert"]) == (200, sent["id"], ALERT)


# --- Teams -----------------------------------------------------------------------------------------------------


async def test_a_token_of_a_team_sees_what_came_for_that_team_alone(at: Desk) -> None:
    (mash,) = await at.arrive(function="MASH")
    (adults,) = await at.arrive(function="LA_ASC")
    token = await at.token(team="MASH")
    _, page, _ = await at.ask("GET", "/v1/inbox", token)
    assert [each["id"] for each in page["items"]] == [mash]
    for method, path, body in (
        ("GET", "", None), ("GET", "/receipts", None), ("POST", "/ack", {}), ("POST", "/open", None),
        ("POST", "/take", None), ("POST", "/close", {"outcome": "intelligence_logged"}), ("POST", "/not-ours", {}),
    ):  # fmt: skip
        status, problem, _ = await at.ask(method, f"/v1/inbox/{adults}{path}", token, json=body)
        assert (status, problem["code"]) == (404, "not-found"), path
    for side in ("", "?side=received", "?side=sent"):
        assert (await at.ask("GET", f"/v1/evidence/{adults}{side}", token))[0] == 404


async def test_an_earlier_alert_about_perhaps_the_same_person_is_named_to_its_team_alone(at: Desk) -> None:
    ids = await at.arrive(2, name="Tariq Osei") + await at.arrive(function="LA_ASC", name="Tariq Osei")
    await at.node.match.work()
    _, second, _ = await at.ask("GET", f"/v1/inbox/{ids[1]}", await at.token(team="MASH"))
    (earlier,) = second["earlier"]
    assert (earlier["id"], earlier["strength"]) == (ids[0], "possible")
    assert set(earlier) == {"id", "reference", "received", "state", "strength", "reasons", "kinds"}
    _, third, _ = await at.ask("GET", f"/v1/inbox/{ids[2]}", await at.token(team="LA_ASC"))
    assert third["earlier"] == []


async def test_a_token_of_a_team_follows_what_its_team_sent_alone(at: Desk) -> None:
    mine, theirs = await at.token(team="MASH"), await at.token(team="LA_ASC")
    _, sent, _ = await at.ask("POST", "/v1/alerts", mine, json=ALERT)
    assert [(await at.ask("GET", f"/v1/alerts/{sent['id']}", each))[0] for each in (mine, theirs)] == [200, 404]
    assert [len((await at.ask("GET", "/v1/alerts", each))[1]["items"]) for each in (mine, theirs)] == [1, 0]
    assert (await at.ask("POST", f"/v1/alerts/{sent['id']}/withdraw", theirs))[0] == 404


# --- Paging ----------------------------------------------------------------------------------------------------


async def test_a_thousand_alerts_of_one_moment_are_each_paged_exactly_once(at: Desk) -> None:
    token = await at.token(rate=100_000)
    moment = at.clock.now()
    expected = await at.arrive(700, at=moment)
    found: list[str] = []
    cursor, pages = "", 0
    while True:
        _, page, _ = await at.ask("GET", f"/v1/inbox?limit=37{cursor}", token)
        pages += 1
        if pages == 5:  # more of the same moment arrive while somebody is reading
            expected += await at.arrive(300, at=moment, start=5000)
        if not page["items"]:
            break
        found += [each["id"] for each in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert found == expected
    assert len(set(found)) == 1000


async def test_a_cursor_behind_the_last_item_gives_what_comes_later(at: Desk) -> None:
    token = await at.token()
    await at.arrive(2)
    _, page, _ = await at.ask("GET", "/v1/inbox", token)
    _, empty, _ = await at.ask("GET", f"/v1/inbox?cursor={page['next_cursor']}", token)
    assert (empty["items"], empty["next_cursor"]) == ([], page["next_cursor"])
    (later,) = await at.arrive(start=9)
    _, after, _ = await at.ask("GET", f"/v1/inbox?cursor={empty['next_cursor']}", token)
    assert [each["id"] for each in after["items"]] == [later]


async def test_since_begins_with_what_came_from_then_on(at: Desk) -> None:
    token = await at.token()
    await at.arrive(2)
    at.clock.move(hours=1)
    later = await at.arrive(2, start=50)
    since = at.clock.now().isoformat().replace("+00:00", "Z")
    _, page, _ = await at.ask("GET", f"/v1/inbox?since={since}", token)
    assert [each["id"] for each in page["items"]] == later
    at.clock.move(hours=1)
    since = at.clock.now().isoformat().replace("+00:00", "Z")
    _, page, _ = await at.ask("GET", f"/v1/inbox?since={since}", token)
    assert page["items"] == []


async def test_whoever_waits_is_answered_as_soon_as_an_alert_comes(made: Path, place: Path) -> None:
    async with desk(made, place, SystemClock()) as at:
        token = await at.token()
        asked = asyncio.create_task(at.ask("GET", "/v1/inbox?wait=20", token))
        await asyncio.sleep(0.1)
        assert not asked.done()
        ids = await at.arrive(1)
        status, page, _ = await asyncio.wait_for(asked, 2)
        assert (status, [each["id"] for each in page["items"]]) == (200, ids)


async def test_whoever_waits_is_answered_when_the_node_stops(made: Path, place: Path) -> None:
    async with desk(made, place, SystemClock()) as at:
        asked = asyncio.create_task(at.ask("GET", "/v1/inbox?wait=20", await at.token()))
        await asyncio.sleep(0.1)
        at.node.bell.close()
        assert (await asyncio.wait_for(asked, 2))[1]["items"] == []


# --- Acting ----------------------------------------------------------------------------------------------------


async def test_a_step_is_taken_only_if_nobody_was_faster(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    _, _, headers = await at.ask("GET", f"/v1/inbox/{ref}", token)
    seen = headers["ETag"]
    status, _, headers = await at.ask("POST", f"/v1/inbox/{ref}/take", token, headers={"If-Match": seen})
    assert (status, headers["ETag"]) == (200, '"2"')
    status, problem, _ = await at.ask(
        "POST", f"/v1/inbox/{ref}/close", token, json={"outcome": "intelligence_logged"}, headers={"If-Match": seen}
    )
    assert (status, problem["code"]) == (412, "changed-meanwhile")


async def test_a_step_asked_again_because_its_answer_was_lost_is_no_conflict(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    for _ in range(2):
        status, entry, _ = await at.ask("POST", f"/v1/inbox/{ref}/take", token, headers={"If-Match": '"1"'})
        assert (status, entry["state"], entry["version"]) == (200, "taken", 2)


async def test_a_teams_own_note_is_kept_with_the_alert_and_goes_nowhere(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    note = f"{CANARY} is known here as case 1187."
    status, entry, _ = await at.ask("POST", f"/v1/inbox/{ref}/close", token, json={"outcome": "no_further_action", "note": note})
    assert (status, entry["state"], "note" in entry) == (200, "closed", False)
    _, whole, _ = await at.ask("GET", f"/v1/inbox/{ref}", token)
    assert whole["note"]["text"] == note
    for row in await at.node.database.fetch("select payload from messages union all select note from inbox"):
        assert row[0] is None or b"1187" not in row[0]
    status, problem, _ = await at.ask("POST", f"/v1/inbox/{ref}/close", token, json={"outcome": "no_further_action", "note": 7})
    assert (status, problem["code"]) == (400, "malformed")


@pytest.mark.parametrize("tag", ["3", "W/\"3\"", '"x"', '"1", "2"', ""], ids=str)
async def test_an_etag_in_another_form_is_refused(at: Desk, tag: str) -> None:
    (ref,) = await at.arrive()
    status, problem, _ = await at.ask("POST", f"/v1/inbox/{ref}/take", await at.token(), headers={"If-Match": tag})
    assert (status, problem["code"]) == (422, "usage")


async def test_after_deletion_what_was_said_can_still_be_read(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    await at.ask("POST", f"/v1/inbox/{ref}/take", token)
    async with at.node.database.transaction() as tx:
        await tx.execute("update inbox set content = null, wrapped_key = null, purged_at = 1, state = 'purged'")
    status, gone, headers = await at.ask("GET", f"/v1/inbox/{ref}", token)
    assert (status, gone["code"], headers["Content-Type"]) == (410, "gone", "application/problem+json")
    assert [each["status"] for each in gone["timeline"]] == ["taken"]
    status, said, _ = await at.ask("GET", f"/v1/inbox/{ref}/receipts", token)
    assert (status, [each["status"] for each in said["timeline"]]) == (200, ["taken"])


# --- Leases ----------------------------------------------------------------------------------------------------


async def lease(at: Desk, token: dict[str, str], **wanted: Any) -> Any:
    status, leased, _ = await at.ask("POST", "/v1/inbox/lease", token, json=wanted)
    assert status == 200
    return leased


async def test_a_lease_gives_alerts_whole_in_order_and_to_nobody_else(at: Desk) -> None:
    one, other = await at.token(), await at.token()
    ids = await at.arrive(5)
    first, second = await lease(at, one, limit=3), await lease(at, other, limit=9)
    assert [each["id"] for each in (*first["items"], *second["items"])] == ids
    assert first["items"][0]["alert"]["subjects"][0]["names"][0]["text"] == CANARY
    assert {each["times"] for each in first["items"]} == {1}
    assert (await lease(at, one))["lease"] is None


async def test_what_is_not_acknowledged_is_handed_out_again_when_the_lease_ends(at: Desk) -> None:
    token = await at.token()
    ids = await at.arrive(3)
    held = await lease(at, token, seconds=60)
    status, done, _ = await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/ack", token, json={"refs": [ids[1]]})
    assert (status, done["count"]) == (200, 1)
    at.clock.move(seconds=61)
    again = await lease(at, token)
    assert [(each["id"], each["times"]) for each in again["items"]] == [(ids[0], 2), (ids[2], 2)]
    status, problem, _ = await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/ack", token, json={"refs": [ids[0]]})
    assert (status, problem["code"]) in {(409, "lease-over"), (404, "not-found")}


async def test_acknowledging_says_collected_once_in_one_document(at: Desk) -> None:
    token = await at.token()
    ids = await at.arrive(4)
    held = await lease(at, token)
    for _ in range(2):  # the second time because the first answer was lost
        status, done, _ = await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/ack", token)
        assert (status, done["count"]) == (200, 4)
    (documents,) = await at.node.database.fetch("select count(*) from messages where type = 'receipts'")
    assert documents[0] == 1
    for ref in ids:
        _, said, _ = await at.ask("GET", f"/v1/inbox/{ref}/receipts", token)
        assert [each["status"] for each in said["timeline"]] == ["collected"]
    at.clock.move(days=1)
    assert (await lease(at, token))["items"] == []


async def test_what_is_given_back_is_handed_out_at_once_or_when_it_is_wished(at: Desk) -> None:
    token = await at.token()
    ids = await at.arrive(2)
    held = await lease(at, token)
    path = f"/v1/inbox/lease/{held['lease']}/nack"
    await at.ask("POST", path, token, json={"refs": [ids[0]]})
    await at.ask("POST", path, token, json={"refs": [ids[1]], "seconds": 100})
    assert [each["id"] for each in (await lease(at, token))["items"]] == ids[:1]
    at.clock.move(seconds=101)
    assert [each["id"] for each in (await lease(at, token))["items"]] == ids[1:]


async def test_a_lease_that_is_renewed_lasts(at: Desk) -> None:
    one, other = await at.token(), await at.token()
    await at.arrive(1)
    held = await lease(at, one, seconds=60)
    at.clock.move(seconds=50)
    status, said, _ = await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/renew", one, json={"seconds": 60})
    assert (status, said["count"]) == (200, 1)
    at.clock.move(seconds=50)
    assert (await lease(at, other))["items"] == []
    at.clock.move(seconds=11)
    assert len((await lease(at, other))["items"]) == 1
    assert (await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/renew", one))[0] == 409


async def test_a_lease_is_of_use_to_whoever_has_it_alone(at: Desk) -> None:
    one, other = await at.token(), await at.token()
    await at.arrive(1)
    held = await lease(at, one)
    for verb in ("ack", "nack", "renew"):
        status, problem, _ = await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/{verb}", other)
        assert (status, problem["code"]) == (409, "lease-over")


async def test_every_team_has_its_own_hand_out(at: Desk) -> None:
    mash, everybody = await at.token(team="MASH"), await at.token()
    ids = await at.arrive(1, function="MASH")
    await at.arrive(1, function="LA_ASC")
    held = await lease(at, mash)
    assert [each["id"] for each in held["items"]] == ids
    await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/ack", mash)
    assert len((await lease(at, everybody))["items"]) == 2


async def test_what_is_acknowledged_by_itself_is_not_handed_out(at: Desk) -> None:
    token = await at.token()
    ids = await at.arrive(2)
    status, entry, _ = await at.ask("POST", f"/v1/inbox/{ids[0]}/ack", token)
    assert (status, entry["state"]) == (200, "collected")
    assert [each["id"] for each in (await lease(at, token))["items"]] == ids[1:]


async def test_those_who_acknowledge_at_once_share_a_unit_and_each_has_its_own_answer(at: Desk) -> None:
    ours = await at.arrive(12)
    (theirs,) = await at.arrive(1, function="LA_ASC", start=20)
    (stranger,) = await at.arrive(1, start=30, partner="kent-jcp")
    team, other = await at.token(team="MASH"), await at.token(team="MASH")
    refs = [*ours, theirs, "01234567-0000-7000-8000-000000000000", ours[0], stranger]

    def acks(refs: list[str]) -> list[Any]:
        tokens = (team, other)
        return [at.ask("POST", f"/v1/inbox/{ref}/ack", tokens[place % 2]) for place, ref in enumerate(refs)]

    told = await asyncio.gather(*acks(refs))
    assert [status for status, _, _ in told] == [200] * 12 + [404, 404, 200, 200]
    good = [(body["id"], body["state"], headers["ETag"]) for status, body, headers in told if status == 200]
    assert good == [(ref, "collected", '"2"') for ref in (*ours, ours[0], stranger)]
    rows = await at.node.database.fetch("select partner, count(*) from messages where type = 'receipts' group by partner")
    documents = {row[0]: row[1] for row in rows}
    assert documents["kent-jcp"] == 1
    assert documents["luton-jcp"] < 6
    for ref in ours:
        _, said, _ = await at.ask("GET", f"/v1/inbox/{ref}/receipts", team)
        assert [each["status"] for each in said["timeline"]] == ["collected"]
    entry = (await at.node.acknowledge.show(theirs)).entry
    assert entry.state == "received"
    records = [msgspec.json.decode(row[0]) for row in await at.node.database.fetch("select record from audit")]
    who = [each["actor"] for each in records if each["action"] == "inbox:collected"]
    assert (len(who), len(set(who))) == (13, 2)


async def test_an_alert_that_came_again_for_another_team_is_still_acknowledged_by_the_first(at: Desk) -> None:
    (ref,) = await at.arrive(1)
    row = await at.node.database.fetch_one("select message_id from inbox")
    assert row is not None
    (item,) = await inbox.find(at.node.database, ref)
    again = item._replace(seq=0, message_id=bytes(16), functions=",LA_ASC,")
    async with at.node.database.transaction() as tx:
        await inbox.add(tx, [again])
    for team in ("MASH", "LA_ASC"):
        status, _, _ = await at.ask("POST", f"/v1/inbox/{ref}/ack", await at.token(team=team))
        assert status == 200
    states = await at.node.database.fetch("select state from inbox")
    assert states == [("collected",), ("collected",)]


async def test_a_lease_of_a_clock_that_was_set_back_still_ends(at: Desk) -> None:
    token = await at.token()
    await at.arrive(1)
    await lease(at, token, seconds=60)
    async with at.node.database.transaction() as tx:
        await tx.execute("update leases set until = until + 864000000")
    assert len((await lease(at, token))["items"]) == 1


@pytest.mark.parametrize("stop", range(12))
async def test_a_system_killed_at_any_point_loses_nothing(made: Path, place: Path, stop: int) -> None:
    """Lease, store, acknowledge, six alerts in twos; killed after any step, and then begun again from what it stored."""
    clock = Hands()
    stored: set[str] = set()
    async with desk(made, place, clock) as at:
        expected = await at.arrive(6)
        token = await at.token()
        steps = 0

        async def work() -> None:
            nonlocal steps
            while True:
                held = await lease(at, token, limit=2, seconds=30)
                if not held["items"]:
                    return
                for each in held["items"]:
                    steps += 1
                    if steps == stop:
                        raise asyncio.CancelledError
                    stored.add(each["id"])  # durable in the system's own store
                steps += 1
                if steps == stop:
                    raise asyncio.CancelledError
                await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/ack", token)

        try:
            await work()
        except asyncio.CancelledError:
            stop = -1
        clock.move(seconds=31)
        await work()
        assert stored == set(expected)
        assert (await lease(at, token))["items"] == []


async def test_a_node_that_is_killed_forgets_no_lease(made: Path, place: Path) -> None:
    clock = Hands()
    async with desk(made, place, clock) as at:
        await at.arrive(2)
        made_token = await at.node.admit.create("x", ["alerts:act", "alerts:read"], None, "admin")
        token = {"Authorization": f"Bearer {made_token['token']}"}
        held = await lease(at, token, limit=1)
    async with desk(made, place, clock) as at:
        assert len((await lease(at, token))["items"]) == 1
        assert (await at.ask("POST", f"/v1/inbox/lease/{held['lease']}/ack", token))[0] == 200


# --- Calls -----------------------------------------------------------------------------------------------------


async def test_the_log_of_calls_says_how_each_ended_and_nothing_of_what_was_asked(at: Desk) -> None:
    token, other = await at.token(), await at.token()
    await at.ask("GET", f"/v1/inbox/{CANARY}", token)
    await at.ask("GET", f"/v1/areas/resolve?q={CANARY}", token)
    await at.ask("POST", "/v1/alerts", token, json=ALERT)
    await at.ask("GET", "/v1/token", other)
    _, log, _ = await at.ask("GET", "/v1/calls", token)
    said = [(each["method"], each["route"], each["status"], each["code"]) for each in log["items"]]
    assert said == [
        ("POST", "/v1/alerts", 202, None),
        ("GET", "/v1/areas/resolve", 200, None),
        ("GET", "/v1/inbox/{ref}", 404, "not-found"),
    ]
    assert CANARY.split()[0] not in str(log)


async def test_calls_are_kept_for_a_week(at: Desk) -> None:
    token = await at.token()
    await at.ask("GET", "/v1/token", token)
    await at.node.meter.flush()
    at.clock.move(days=7, seconds=1)
    await at.node.meter.forget()
    _, log, _ = await at.ask("GET", "/v1/calls", token)
    assert log["items"] == []


# --- The pages of the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/reference", "/v1/vocabulary", "/problems/gone"])
async def test_the_contract_can_be_read_by_anybody(at: Desk, path: str) -> None:
    status, body, _ = await at.ask("GET", path)
    assert status == 200
    assert body


async def test_the_viewer_may_do_nothing_but_read_from_here(at: Desk) -> None:
    _, _, headers = await at.ask("GET", "/docs")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "http" not in policy
    assert "unsafe" not in policy


async def test_an_asset_that_is_not_ours_is_not_given(at: Desk) -> None:
    for name in ("manifest.json", "..%2Freference.py", "x.js"):
        assert (await at.ask("GET", f"/docs/assets/{name}"))[0] == 404


# --- Who saw what ----------------------------------------------------------------------------------------------


async def test_who_was_shown_which_alert_stands_in_the_log_and_who_saw_a_list_does_not(at: Desk) -> None:
    (received,) = await at.arrive()
    token = await at.token("alerts:read", "alerts:send")
    sent = (await at.ask("POST", "/v1/alerts", token, json=ALERT))[1]

    async def looks() -> list[tuple[str, str]]:
        rows = await at.node.database.fetch("select record from audit order by seq")
        records = [msgspec.json.decode(row[0]) for row in rows]
        return [(each["action"], each["actor"]) for each in records if each["action"].endswith(":seen")]

    for path in ("/v1/inbox", "/v1/alerts"):
        assert (await at.ask("GET", path, token))[0] == 200
    assert await looks() == []
    assert (await at.ask("GET", f"/v1/inbox/{received}", token))[0] == 200
    assert (await at.ask("GET", f"/v1/alerts/{sent['id']}", token))[0] == 200
    seen = await looks()
    assert [action for action, _ in seen] == ["inbox:seen", "alert:seen"]
    assert len({actor for _, actor in seen}) == 1
    assert seen[0][1].startswith("token:")
