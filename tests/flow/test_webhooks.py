"""Webhooks and the live stream: what is told, to whom, in which order, how often, and what never leaves."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_desk import CANARY, Desk, Hands, desk, template
from standardwebhooks.webhooks import Webhook as Public
from standardwebhooks.webhooks import WebhookVerificationError

from bridge.answers import Again, Changed, Wanted
from bridge.clock import SystemClock, millis
from bridge.crypto.webhooks import Secret, verify
from bridge.crypto.webhooks import headers as signed
from bridge.errors import Rejected, Unavailable
from bridge.events import KINDS
from bridge.nodes.publish import STEPS, TRIES, choose, delay
from bridge.nodes.transport import Answer, Poster, url_refusal
from bridge.storage.webhooks import Delivery

URL = "https://case.example/bridge"


@pytest.fixture(scope="module")
def fields() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108  only a directory made inside it is used
    with tempfile.TemporaryDirectory(prefix="hooks-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture
async def at(fields: Path) -> AsyncIterator[Desk]:
    made = await template(fields / "template")
    async with desk(made, Path(tempfile.mkdtemp(dir=fields)) / "node") as opened:
        yield opened


async def endpoint(at: Desk, **wanted: Any) -> Any:
    return await at.node.subscribe.add(Wanted(**{"url": URL, "label": "case system", **wanted}), "admin", may_read=True)


async def go(at: Desk, hook: str, turns: int = 50) -> None:
    """Queue what happened, and send whatever may be sent at this moment."""
    await at.node.publish.queue()
    for _ in range(turns):
        if await at.node.publish._turn(hook) != 0:
            return


async def log(at: Desk, hook: str) -> list[tuple[str, int, str | None]]:
    return [(each.state, each.attempts, each.code) for each in await at.node.subscribe.log(hook, None, 100)]


# --- What is sent ----------------------------------------------------------------------------------------------


async def test_an_arrival_is_told_by_ids_alone(at: Desk) -> None:
    made = await endpoint(at)
    (ref,) = await at.arrive()
    await go(at, made.endpoint.id)
    ((url, raw, _),) = at.posted.got
    (body,) = at.posted.bodies
    assert (url, body["type"], body["data"]["id"]) == (URL, "alert.received", ref)
    assert body["data"]["link"] == f"http://127.0.0.1:18443/v1/inbox/{ref}"
    assert set(body["data"]) == {"id", "reference", "partner", "status", "link"}
    assert CANARY.encode() not in raw


async def test_the_public_package_takes_what_we_sign(at: Desk) -> None:
    at.clock._now = datetime.now(UTC)  # the package reads the machine's own clock
    made = await endpoint(at)
    await at.arrive()
    await go(at, made.endpoint.id)
    ((_, body, headers),) = at.posted.got
    assert Public(made.secret).verify(body, headers)["type"] == "alert.received"
    with pytest.raises(WebhookVerificationError):
        Public(made.secret).verify(body + b" ", headers)


async def test_either_key_verifies_and_nothing_altered_does(at: Desk) -> None:
    made = await endpoint(at)
    await at.arrive()
    await go(at, made.endpoint.id)
    ((_, body, headers),) = at.posted.got
    said = (headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"])
    now = at.clock.now().timestamp()
    for key in (made.secret, made.public_key):
        assert verify(*said, body, [key], now)
        assert not verify(*said, body + b" ", [key], now)
        assert not verify(said[0] + "x", said[1], said[2], body, [key], now)
        assert not verify(*said, body, [key], now + 301)
    other = await endpoint(at)
    assert not verify(*said, body, [other.secret, other.public_key], now)


async def test_a_whole_alert_is_sent_only_where_it_was_chosen_and_waits_nowhere_in_clear(at: Desk) -> None:
    whole, thin = await endpoint(at, content="full"), await endpoint(at)
    (ref,) = await at.arrive()
    await at.node.publish.queue()
    queued = await at.node.database.fetch("select * from deliveries")
    queued += await at.node.database.fetch("select * from events")
    assert CANARY not in str(queued)
    await go(at, whole.endpoint.id)
    await go(at, thin.endpoint.id)
    first, second = at.posted.bodies
    assert first["data"]["alert"]["alert"]["subjects"][0]["names"][0]["text"] == CANARY
    assert (first["data"]["id"], "alert" in second["data"]) == (ref, False)


async def test_what_was_deleted_before_it_was_sent_is_told_by_ids_alone(at: Desk) -> None:
    made = await endpoint(at, content="full")
    await at.arrive()
    async with at.node.database.transaction() as tx:
        await tx.execute("update inbox set content = null, wrapped_key = null, purged_at = 1")
    await go(at, made.endpoint.id)
    (body,) = at.posted.bodies
    assert (body["data"]["omitted"], "alert" in body["data"]) == ("gone", False)


async def test_an_endpoint_is_told_of_what_it_chose_and_of_what_happens_after_it_was_added(at: Desk) -> None:
    (early,) = await at.arrive()
    chosen = await endpoint(at, events=("alert.updated",))
    every = await endpoint(at)
    (later,) = await at.arrive(start=5)
    await at.node.acknowledge.take(later, "role:duty")
    for each in (chosen, every):
        await go(at, each.endpoint.id)
    assert [(each["type"], each["data"]["id"]) for each in at.posted.bodies] == [
        ("alert.updated", later), ("alert.received", later), ("alert.updated", later),
    ]  # fmt: skip
    assert early != later


async def test_an_endpoint_of_a_team_is_told_of_that_teams_alerts(at: Desk) -> None:
    made = await endpoint(at, team="LA_ASC")
    await at.arrive(function="MASH")
    (adults,) = await at.arrive(function="LA_ASC")
    await go(at, made.endpoint.id)
    assert [each["data"]["id"] for each in at.posted.bodies] == [adults]


# --- When it fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", range(1, TRIES + 3))
def test_waits_are_those_of_the_specification_with_jitter(failures: int) -> None:
    step = STEPS[min(failures, len(STEPS)) - 1]
    waits = [delay(failures, jitter) for jitter in (0.0, 0.5, 0.999)]
    assert waits == sorted(waits)
    assert 0.9 * step <= waits[0] < waits[-1] <= 1.1 * step


def test_the_waits_add_up_to_the_specifications_three_days() -> None:
    assert STEPS == (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    assert timedelta(seconds=sum(STEPS)) == timedelta(hours=75, minutes=35, seconds=5)


async def test_a_system_that_was_away_gets_everything_once_in_order_under_the_same_ids(at: Desk) -> None:
    made = await endpoint(at)
    hook = made.endpoint.id
    at.posted.answers = [Unavailable("unreachable", "x"), 503, Unavailable("timeout", "x")]
    ids = await at.arrive(3)
    for _ in range(6):
        await go(at, hook)
        at.clock.move(hours=1)
    assert [each["data"]["id"] for each in at.posted.bodies] == [ids[0]] * 4 + ids[1:]
    assert len(set(at.posted.ids[:4])) == 1
    assert [each[0] for each in await log(at, hook)] == ["done"] * 3
    assert (await at.node.subscribe.show(hook)).failures == 0


async def test_an_event_that_is_refused_is_stepped_over_but_for_its_own_alert(at: Desk) -> None:
    made = await endpoint(at)
    hook = made.endpoint.id
    at.posted.answers = [400, 400, 400]
    poison, fine = await at.arrive(2)
    await at.node.acknowledge.take(poison, "role:duty")
    await go(at, hook)
    for seconds in (6, 400):
        at.clock.move(seconds=seconds)
        await go(at, hook)
    assert [each["data"]["id"] for each in at.posted.bodies] == [poison] * 3 + [fine]
    at.clock.move(hours=1)
    await go(at, hook)
    assert [(each["type"], each["data"]["id"]) for each in at.posted.bodies[4:]] == [
        ("alert.received", poison), ("alert.updated", poison),
    ]  # fmt: skip


async def test_an_endpoint_that_refuses_everything_is_not_stormed(at: Desk) -> None:
    made = await endpoint(at)
    at.posted.always = 401
    await at.arrive(50)
    for _ in range(240):
        await go(at, made.endpoint.id)
        at.clock.move(seconds=30)
    assert len(at.posted.got) < 12


async def test_a_redirect_is_a_failure_and_is_not_followed(at: Desk) -> None:
    made = await endpoint(at)
    at.posted.always = 302
    await at.arrive()
    await go(at, made.endpoint.id)
    assert await log(at, made.endpoint.id) == [("waiting", 1, "refused")]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_whoever_asks_for_patience_gets_it(at: Desk, status: int) -> None:
    made = await endpoint(at)
    at.posted.answers = [Answer(status, b"", 3600)]
    await at.arrive(2)
    await go(at, made.endpoint.id)
    at.clock.move(seconds=3590)
    await go(at, made.endpoint.id)
    assert len(at.posted.got) == 1
    at.clock.move(seconds=20)
    await go(at, made.endpoint.id)
    assert len(at.posted.got) == 3


async def test_after_three_days_it_is_given_up_and_can_be_sent_again(at: Desk) -> None:
    made = await endpoint(at)
    hook = made.endpoint.id
    at.posted.always = Unavailable("unreachable", "x")
    ids = await at.arrive(3)
    for _ in range(90):
        await go(at, hook)
        at.clock.move(hours=1)
    shown = await at.node.subscribe.show(hook)
    assert (shown.state, shown.dead, shown.waiting) == ("failing", 3, 0)
    assert len(at.posted.got) == TRIES
    at.posted.always, at.posted.got = 200, []
    assert await at.node.subscribe.resend(hook, Again(dead=True), "admin") == 3
    at.clock.move(days=2)
    await go(at, hook)
    assert [each["data"]["id"] for each in at.posted.bodies] == ids
    shown = await at.node.subscribe.show(hook)
    assert (shown.state, shown.dead) == ("on", 0)


async def test_410_switches_off_until_a_person_switches_on(at: Desk) -> None:
    made = await endpoint(at)
    hook = made.endpoint.id
    at.posted.answers = [410]
    await at.arrive(2)
    await go(at, hook)
    shown = await at.node.subscribe.show(hook)
    assert (shown.state, shown.reason, shown.dead) == ("off", "gone", 2)
    await at.arrive(1, start=50)
    await go(at, hook)
    assert len(at.posted.got) == 1
    with pytest.raises(Rejected):
        await at.node.subscribe.resend(hook, Again(dead=True), "admin")
    await at.node.subscribe.change(hook, Changed(state="on"), "admin", may_read=False)
    (new,) = await at.arrive(1, start=60)
    await go(at, hook)
    assert [each["data"]["id"] for each in at.posted.bodies[1:]] == [new]


async def test_what_was_on_its_way_when_the_node_was_killed_is_sent_again_under_its_id(fields: Path) -> None:
    made_at = await template(fields / "template")
    place, clock = Path(tempfile.mkdtemp(dir=fields)) / "node", Hands()
    async with desk(made_at, place, clock) as at:
        hook = (await endpoint(at)).endpoint.id
        await at.arrive(2)
        await at.node.publish.queue()
        row = (await at.node.database.fetch("select event_id from deliveries order by seq"))[0][0]

        async def dies(*_: Any) -> Answer:
            raise asyncio.CancelledError

        at.node.publish._post = dies
        with pytest.raises(asyncio.CancelledError):
            await at.node.publish._turn(hook)
    async with desk(made_at, place, clock) as at:
        await go(at, hook)
        assert len(at.posted.got) == 2
        assert at.posted.ids[0] == row


def waiting(seq: int, alert: str, attempts: int = 0, next_attempt: int = 0, status: int | None = None) -> Delivery:
    return Delivery("h", seq, f"e{seq}", "t", alert, "waiting", attempts, next_attempt, 0, None, status)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (None, None)),
        ([waiting(1, "a"), waiting(2, "b")], (1, None)),
        ([waiting(1, "a", 1, 500, 400), waiting(2, "b")], (None, 500)),
        ([waiting(1, "a", 3, 500, 400), waiting(2, "b")], (2, None)),
        ([waiting(1, "a", 3, 500, 400), waiting(2, "a"), waiting(3, "b")], (3, None)),
        ([waiting(1, "a", 3, 500, 400), waiting(2, "a")], (None, 500)),
        ([waiting(1, "a", 3, 500, 503), waiting(2, "b")], (None, 500)),
        ([waiting(1, "a", 1, 10**15, 400)], (1, None)),
    ],
    ids=["nothing", "the oldest", "order before patience", "stepped over", "its own alert waits", "only its own",
         "busy is no refusal", "a clock set back"],
)  # fmt: skip
def test_which_event_is_next(rows: list[Delivery], expected: tuple[int | None, int | None]) -> None:
    row, later = choose(rows, 100)
    assert (None if row is None else row.seq, later) == expected


# --- Keys ------------------------------------------------------------------------------------------------------


async def test_while_keys_change_both_sign_and_then_the_new_one_alone(at: Desk) -> None:
    old = await endpoint(at)
    hook = old.endpoint.id
    new = await at.node.subscribe.rotate(hook, "admin", 24)
    assert new.secret != old.secret

    async def holds(key: str) -> bool:
        at.posted.got.clear()
        await at.arrive(1, start=int(at.clock.now().timestamp()) % 1_000_000)
        await go(at, hook)
        ((_, body, said),) = at.posted.got
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        return verify(*(said[name] for name in names), body, [key], at.clock.now().timestamp())

    assert len(at.node.publish._keys.of(hook, at.clock.now())) == 2
    assert await holds(old.secret)
    at.clock.move(seconds=1)
    assert await holds(new.public_key)
    at.clock.move(hours=24)
    assert not await holds(old.secret)
    at.clock.move(seconds=1)
    assert await holds(new.secret)


async def test_secrets_lie_in_the_keystore_alone_and_are_never_shown_again(at: Desk) -> None:
    made = await endpoint(at)
    token = await at.token()
    for path in ("/v1/webhooks", f"/v1/webhooks/{made.endpoint.id}"):
        _, shown, _ = await at.ask("GET", path, token)
        assert made.secret not in str(shown)
        assert made.public_key in str(shown)
    at.node.keystore._keys.clear()
    at.clock.move(seconds=1)
    await at.arrive()
    await go(at, made.endpoint.id)
    assert at.posted.got == []
    assert await log(at, made.endpoint.id) == [("waiting", 1, "no-key")]


async def test_what_is_removed_is_gone_with_its_keys(at: Desk) -> None:
    made = await endpoint(at)
    token = await at.token()
    assert (await at.ask("DELETE", f"/v1/webhooks/{made.endpoint.id}", token))[0] == 204
    assert (await at.ask("GET", f"/v1/webhooks/{made.endpoint.id}", token))[0] == 404
    assert at.node.publish._keys.of(made.endpoint.id, at.clock.now()) == []


def test_an_id_with_a_full_stop_is_neither_signed_nor_believed() -> None:
    with pytest.raises(ValueError, match="full stop"):
        signed("a.1", 5, b"", [Secret(bytes(32), bytes(range(32)))])
    assert not verify("a.1", "5", "v1,AA==", b"", ["whsec_AAAA"], 5)


# --- Where it may be sent --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://case.example/in?key=1", True), ("http://case.example/in", False), ("http://127.0.0.1:9/in", False),
        ("https://u:p@case.example/", False), ("https://case.example/#x", False), ("ftp://case.example/", False),
        ("https:///in", False), ("https://case.example:0/", False), ("https://case.example:99999/", False),
        ("https://cäse.example/", False), ("https://case.example/a b", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_may_be_written_down(url: str, allowed: bool) -> None:
    assert (url_refusal(url, allow_loopback=False) is None) == allowed


def test_plain_http_is_for_this_machine_where_that_is_allowed() -> None:
    assert url_refusal("http://127.0.0.1:9/in", allow_loopback=True) is None
    assert url_refusal("http://[::1]:9/in", allow_loopback=True) is None
    assert url_refusal("http://10.0.0.1/in", allow_loopback=True) is not None


@pytest.mark.parametrize(
    ("host", "networks", "code"),
    [
        ("127.0.0.1", (), "address-refused"), ("[::1]", (), "address-refused"), ("[::ffff:127.0.0.1]", (), "address-refused"),
        ("10.1.2.3", (), "address-refused"), ("192.168.0.9", ("10.0.0.0/8",), "address-refused"),
        ("169.254.169.254", ("169.254.0.0/16",), "address-refused"),
        ("0.0.0.0", (), "address-refused"),  # noqa: S104  it is refused, not bound
        ("100.64.0.1", (), "address-refused"), ("[fd00::1]", (), "address-refused"),
        ("[64:ff9b::7f00:1]", (), "address-refused"), ("127.0.0.1", ("127.0.0.0/8",), "address-refused"),
        ("localhost", (), "address-refused"),
    ],
)  # fmt: skip
def test_the_socket_itself_refuses_addresses_that_are_not_allowed(host: str, networks: tuple[str, ...], code: str) -> None:
    async def post() -> None:
        poster = Poster(total_seconds=3, networks=networks)
        try:
            await poster(f"https://{host}:1/in", b"", {})
        finally:
            await poster.close()

    with pytest.raises(Unavailable) as refused:
        asyncio.run(post())  # a loop with real sockets, whatever loop the flows run in
    assert refused.value.code == code


async def test_whole_alerts_are_for_whoever_may_read_them(at: Desk) -> None:
    token = await at.token("webhooks:admin")
    wanted = {"url": URL, "label": "x", "content": "full"}
    status, problem, _ = await at.ask("POST", "/v1/webhooks", token, json=wanted)
    assert (status, problem["code"]) == (403, "forbidden")
    made = await endpoint(at, content="full")
    path = f"/v1/webhooks/{made.endpoint.id}"
    for change in ({"url": "https://other.example/"}, {"content": "full"}):
        assert (await at.ask("PATCH", path, token, json=change))[0] == 403
    assert (await at.ask("PATCH", path, token, json={"label": "y"}))[0] == 200


async def test_what_a_url_asks_with_is_not_shown(at: Desk) -> None:
    made = await endpoint(at, url="https://case.example/in?sig=geheim")
    assert "geheim" not in str(made)
    _, shown, _ = await at.ask("GET", "/v1/webhooks", await at.token())
    assert "geheim" not in str(shown)


# --- The live stream -------------------------------------------------------------------------------------------


async def frames(content: Any, count: int) -> list[dict[str, str]]:
    """The next events of a stream, comments left out."""
    found: list[dict[str, str]] = []
    frame: dict[str, str] = {}
    async with asyncio.timeout(10):
        while len(found) < count:
            line = (await content.readline()).decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                frame[name] = value
            else:
                found += [frame] if "event" in frame else []
                frame = {}
    return found


async def stream(at: Desk, token: dict[str, str], **headers: str) -> Any:
    return await at.http.get(at.server.make_url("/v1/events"), headers={**token, **headers})


async def test_a_stream_goes_on_where_its_reader_broke_off(at: Desk) -> None:
    token = await at.token("alerts:read")
    answer = await stream(at, token)
    assert answer.headers["Content-Type"] == "text/event-stream"
    ids = await at.arrive(3)
    got = await frames(answer.content, 2)
    answer.close()
    ids += await at.arrive(2, start=40)
    answer = await stream(at, token, **{"Last-Event-ID": got[-1]["id"]})
    got += await frames(answer.content, 3)
    answer.close()
    bodies = [msgspec.json.decode(each["data"]) for each in got]
    assert [each["data"]["id"] for each in bodies] == ids
    assert {each["event"] for each in got} == {"alert.received"} <= KINDS.keys()
    assert CANARY not in str(got)


async def test_a_reader_that_was_away_too_long_is_told_so(at: Desk) -> None:
    token = await at.token("alerts:read")
    answer = await stream(at, token)
    await at.arrive(3)
    got = await frames(answer.content, 1)
    answer.close()
    async with at.node.database.transaction() as tx:
        await tx.execute("delete from events where seq <= 2")
    answer = await stream(at, token, **{"Last-Event-ID": got[0]["id"]})
    assert [each["event"] for each in await frames(answer.content, 2)] == ["stream.gap", "alert.received"]
    answer.close()


async def test_a_stream_tells_what_its_token_may_read(at: Desk) -> None:
    answer = await stream(at, await at.token("receipts:read"))
    await at.arrive(1)
    async with at.node.database.transaction() as tx:
        from bridge.storage.events import of_status, tell

        told = of_status("00000000-0000-7000-8000-000000000000", "p", "taken", None, bytes(16))
        await tell(tx, told, millis(at.clock.now()))
    at.node.bell.ring()
    assert [each["event"] for each in await frames(answer.content, 1)] == ["receipt.taken"]
    answer.close()


async def test_a_stream_ends_when_its_token_does(at: Desk) -> None:
    made = await at.node.admit.create("x", ["alerts:read"], None, "admin")
    answer = await stream(at, {"Authorization": f"Bearer {made['token']}"})
    await at.node.admit.revoke(made["id"], "admin")
    at.clock.move(seconds=16)
    at.node.bell.ring()
    async with asyncio.timeout(10):
        rest = await answer.content.read()
    assert b"event:" not in rest


async def test_a_token_may_not_open_streams_without_end(at: Desk) -> None:
    token = await at.token("alerts:read")
    answers = [await stream(at, token) for _ in range(5)]
    assert [each.status for each in answers] == [200] * 4 + [429]
    for each in answers:
        each.close()


async def test_a_silent_stream_says_that_it_is_still_there(at: Desk) -> None:
    answer = await stream(at, await at.token("alerts:read"))
    await asyncio.sleep(0)
    at.clock.move(seconds=16)
    at.node.bell.ring()
    async with asyncio.timeout(10):
        while (line := await answer.content.readline()) != b": still here\n":
            assert line
    answer.close()


# --- Nothing leaks ---------------------------------------------------------------------------------------------


async def test_no_name_is_in_any_queue_log_url_or_file(fields: Path, caplog: pytest.LogCaptureFixture) -> None:
    made_at = await template(fields / "template")
    place = Path(tempfile.mkdtemp(dir=fields)) / "node"
    name = CANARY.split()[0]
    async with desk(made_at, place, SystemClock(), start=True) as at:
        thin = await endpoint(at)
        await endpoint(at, content="full", url="https://full.example/in")
        token = await at.token()
        at.posted.always = 500  # all of it stays queued
        ids = await at.arrive(3)
        await at.ask("POST", "/v1/inbox/lease", token, json={})
        await at.ask("GET", f"/v1/inbox/{ids[0]}", token)
        await at.ask("POST", f"/v1/inbox/{ids[0]}/take", token)
        await at.ask("GET", f"/v1/inbox/{CANARY}", token)
        async with asyncio.timeout(10):
            while len(at.posted.got) < 2:  # noqa: ASYNC110  the node at work is what is waited for
                await asyncio.sleep(0.02)
        _, calls, _ = await at.ask("GET", "/v1/calls", token)
        _, shown, _ = await at.ask("GET", f"/v1/webhooks/{thin.endpoint.id}/deliveries", token)
        assert name not in f"{calls}{shown}{[url for url, _, _ in at.posted.got]}{[h for _, _, h in at.posted.got]}"
        bodies = {url: body for url, body, _ in at.posted.got}
        assert (name.encode() in bodies[URL], name.encode() in bodies["https://full.example/in"]) == (False, True)
    files = b"".join(each.read_bytes() for each in place.rglob("*") if each.is_file())
    assert name.encode() not in files
    assert name not in caplog.text
    shutil.rmtree(place)
