"""The client library against a real node behind a real socket: `bridge.client` in both forms, and what it promises."""

import ast
import asyncio
import contextlib
import inspect
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from api_desk import CANARY, Desk, Posted, desk, template
from hypothesis import given
from hypothesis import strategies as st
from test_api_contract import routes

from bridge import client
from bridge.answers import Wanted
from bridge.client import AsyncBridge, Bridge, asked
from bridge.client.asked import Ask, Failure, Patience, Pause, Reply, conversation
from bridge.client.stream import Reader
from bridge.crypto.tls import make_certificate
from bridge.crypto.webhooks import Secret, headers

T = TypeVar("T")

ALERT = {
    "v": 1,
    "subjects": [{"names": [{"text": CANARY}]}],
    "home": {"district": "E06000032"},
    "event": {"kinds": ["criminal_exploitation"], "narrative": f"{CANARY} was seen at the station."},
}
QUICK = Patience(tries=3, first=0.01, longest=0.02)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("client")


@pytest.fixture
async def made(ground: Path) -> Path:
    return await template(ground / "template")


@pytest.fixture
async def at(made: Path, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(made, tmp_path / "node") as opened:
        yield opened


async def connected(at: Desk, *scopes: str, **more: Any) -> dict[str, Any]:
    token = (await at.token(*scopes))["Authorization"].removeprefix("Bearer ")
    return {"url": str(at.server.make_url("/")), "token": token, "patience": QUICK, **more}


async def blocked(work: Callable[..., T], *arguments: Any) -> T:
    """What a program without a loop would do: the node serves it from this loop meanwhile."""
    return await asyncio.to_thread(work, *arguments)


# --- It is light -----------------------------------------------------------------------------------------------


def test_the_client_pulls_in_nothing_of_the_node_and_what_it_needs_only_when_it_is_used() -> None:
    said = (
        "import sys, bridge.client as c\n"
        "first = set(sys.modules)\n"
        "assert not {'msgspec', 'ssl', 'http.client', 'asyncio'} & first, first\n"
        "c.Bridge\n"
        "heavy = {'asyncio', 'aiohttp', 'cryptography', 'sqlite3', 'aiosqlite', 'structlog', 'jinja2', 'click', 'bridge.nodes',\n"
        "         'bridge.storage', 'bridge.api', 'bridge.web', 'bridge.config'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert set(c.__all__) <= set(dir(c)) and all(getattr(c, name) for name in c.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", said], check=True, timeout=30)  # noqa: S603  our own text


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if not name.startswith("_") and callable(member)
        }

    assert offered(Bridge) == offered(AsyncBridge)


def test_what_it_asks_is_in_the_contract() -> None:
    known = {f"{each.method} {each.path}" for each in routes() if each.public}
    verbs = {"_get": "GET", "_post": "POST"}
    made = set()
    for call in ast.walk(ast.parse(inspect.getsource(asked))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in verbs:
            method = next(
                (each.value.value for each in call.keywords if each.arg == "method"), verbs[call.func.id]
            )  # type: ignore[attr-defined]
            made.add(f"{method} {call.args[0].value}")  # type: ignore[attr-defined]
    assert made <= known
    assert len(made) > 30


# --- Sending and following -------------------------------------------------------------------------------------


async def test_an_alert_is_sent_once_under_its_key_and_can_be_followed(at: Desk) -> None:
    with Bridge(**await connected(at)) as bridge:
        sent = await blocked(lambda: bridge.send(ALERT, key="case-1"))
        again = await blocked(lambda: bridge.send(ALERT, key="case-1"))
        assert (again.id, again.repeated) == (sent.id, True)
        assert (await blocked(bridge.sent, sent.reference)).id == sent.id
        assert [each.id for each in await blocked(lambda: list(bridge.sent_alerts()))] == [sent.id]
        assert [each.status for each in await blocked(lambda: list(bridge.follow(sent.id, seconds=0)))]
        assert (await blocked(bridge.receipts, sent.id)).timeline
        assert (await blocked(bridge.check, ALERT)).home.code == "E06000032"
        assert (await blocked(bridge.withdraw, sent.id)).reference == sent.reference


async def test_the_other_form_does_the_same(at: Desk) -> None:
    async with AsyncBridge(**await connected(at)) as bridge:
        sent = await bridge.send(msgspec.json.encode(ALERT))
        assert [each.id async for each in bridge.sent_alerts()] == [sent.id]
        assert [each.status async for each in bridge.follow(sent.id, seconds=0)]
        assert (await bridge.resolve("Luton")).certain == "E06000032"
        assert (await bridge.route("Luton", ["MASH"])).options
        ids = await at.arrive(3)
        async for alert in bridge.inbox(batch=2):
            async with alert:
                assert (
                    alert.json["subjects"][0]["names"][0]["text"]
                    == CANARY
                    == alert.alert.subjects[0].names[0].text
                )
        assert [each.state for each in (await bridge.peek()).items] == ["collected"] * 3
        with pytest.raises(RuntimeError):
            async for alert in bridge.inbox():
                raise AssertionError(alert)
            raise RuntimeError("nothing waits any more")
        assert (await bridge.received(ids[0])).id == ids[0]


# --- The inbox -------------------------------------------------------------------------------------------------


async def test_what_ends_well_is_acknowledged_and_what_raises_is_given_back(at: Desk) -> None:
    ids = await at.arrive(5)
    stored: list[str] = []

    def empty(bridge: Bridge) -> None:
        for alert in bridge.inbox(batch=3):
            with contextlib.suppress(KeyError), alert:
                if alert.id == ids[1] and alert.times == 1:
                    raise KeyError("the case system says no")
                stored.append(alert.id)

    with Bridge(**await connected(at)) as bridge:
        await blocked(empty, bridge)
        assert stored == [ids[0], *ids[2:]]
        at.clock.move(seconds=16)
        await blocked(empty, bridge)
        assert stored == [ids[0], *ids[2:], ids[1]]


async def test_what_was_not_looked_at_is_given_back_at_once_when_the_loop_is_left(at: Desk) -> None:
    ids = await at.arrive(4)

    def first(bridge: Bridge) -> str:
        for alert in bridge.inbox(batch=4):
            with alert:
                return alert.id
        raise AssertionError

    with Bridge(**await connected(at)) as bridge:
        assert [await blocked(first, bridge) for _ in range(4)] == ids


async def test_an_alert_that_always_fails_is_handed_out_later_each_time(at: Desk) -> None:
    await at.arrive(1)

    def fail(bridge: Bridge) -> int:
        for alert in bridge.inbox():
            with contextlib.suppress(ZeroDivisionError), alert:
                raise ZeroDivisionError
            return alert.back_after(ZeroDivisionError())
        return 0

    with Bridge(**await connected(at)) as bridge:
        waits = []
        for _ in range(5):
            waits.append(await blocked(fail, bridge))
            at.clock.move(seconds=waits[-1] + 1)
    assert waits == [15, 30, 60, 120, 240]


async def test_an_acknowledgement_that_comes_too_late_is_an_error_and_loses_nothing(at: Desk) -> None:
    await at.arrive(1)

    def slow(bridge: Bridge) -> None:
        for alert in bridge.inbox(seconds=10):
            with alert:
                at.clock.move(seconds=11)

    with Bridge(**await connected(at)) as bridge:
        with pytest.raises(client.LeaseOver):
            await blocked(slow, bridge)
        assert [each.times for each in await blocked(lambda: list(bridge.inbox()))] == [2]


async def test_several_threads_share_one_client_and_no_alert(at: Desk) -> None:
    ids = await at.arrive(30)
    stored: list[str] = []
    failed: list[Exception] = []
    bridge = Bridge(**await connected(at))

    def work() -> None:
        try:
            for alert in bridge.inbox(batch=3):
                with alert:
                    stored.append(alert.id)
        except Exception as error:  # noqa: BLE001  the test says which
            failed.append(error)

    def all_of_them() -> None:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(20)

    await blocked(all_of_them)
    bridge.close()
    assert (sorted(stored), failed) == (sorted(ids), [])


# --- Errors by their code --------------------------------------------------------------------------------------


async def test_errors_come_by_their_code_and_quote_nothing(at: Desk) -> None:
    ids = await at.arrive(2)
    bridge = Bridge(**await connected(at))
    reader = Bridge(**await connected(at, "alerts:read"))
    nobody = Bridge(**{**await connected(at), "token": "brg_live_000000000000_" + "x" * 43})
    cases: list[tuple[type[client.Problem], str, Callable[[], Any]]] = [
        (client.NotFound, "not-found", lambda: bridge.received(CANARY)),
        (client.Forbidden, "forbidden", lambda: reader.take(ids[0])),
        (client.Unauthenticated, "unauthenticated", nobody.whoami),
        (client.Invalid, "usage", lambda: bridge.close_alert(ids[0], CANARY)),
        (client.Invalid, "malformed", lambda: bridge.send({"subjects": CANARY})),
        (client.ChangedMeanwhile, "changed-meanwhile", lambda: bridge.take(ids[0], version=7)),
        (
            client.IdempotencyConflict,
            "idempotency-conflict",
            lambda: bridge.send({**ALERT, "priority": "HIGH"}, key="one"),
        ),
    ]
    await blocked(lambda: bridge.send(ALERT, key="one"))
    for kind, code, call in cases:
        with pytest.raises(kind) as raised:
            await blocked(call)
        assert type(raised.value) is kind
        assert (raised.value.code, CANARY in f"{raised.value}{raised.value!r}") == (code, False)
    await blocked(lambda: bridge.take(ids[0], version=1))
    await blocked(lambda: bridge.close_alert(ids[0], "crime_recorded"))
    with pytest.raises(client.WrongState):
        await blocked(lambda: bridge.not_ours(ids[0]))
    for each in (bridge, reader, nobody):
        each.close()


async def test_after_deletion_what_was_done_can_be_read_from_the_error(at: Desk) -> None:
    ids = await at.arrive(1)
    at.clock.move(days=400)
    await at.node.retain.sweep()
    at.clock.move(days=1)
    with Bridge(**await connected(at)) as bridge, pytest.raises(client.Gone) as raised:
        await blocked(bridge.received, ids[0])
    assert raised.value.entry is not None
    assert (raised.value.entry.id, [each.status for each in raised.value.timeline][-1]) == (ids[0], "purged")


@pytest.mark.parametrize(
    "url", ["http://bridge.example", "ftp://bridge.example", "bridge.example", "https://u:p@b.example", ""]
)
def test_a_token_goes_nowhere_in_clear(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Bridge(url, "brg_live_x")


def test_nothing_that_is_printed_shows_the_token() -> None:
    bridge = Bridge("https://bridge.example", "brg_live_secret")
    assert (
        "secret"
        not in f"{bridge!r}{bridge._place!r}{AsyncBridge('https://bridge.example', 'brg_live_secret')!r}"
    )


# --- Trying again ----------------------------------------------------------------------------------------------


def talk(
    ask: Ask[Any], heard: list[Reply | Failure], patience: Patience | None = None
) -> tuple[list[float], Any]:
    """The pauses of a conversation, and how it ended."""
    waits, left = [], list(heard)
    going = conversation(ask, patience or Patience(jitter=lambda: 1.0))
    step: Any = next(going)
    try:
        while True:
            if isinstance(step, Pause):
                waits.append(step.seconds)
                step = going.send(None)
            else:
                step = going.send(left.pop(0))
    except StopIteration as end:
        return waits, end.value
    except client.ClientError as error:
        return waits, type(error)


def refusal(status: int, code: str, **more: str) -> Reply:
    return Reply(
        status, {"content-type": "application/problem+json", **more}, msgspec.json.encode({"code": code})
    )


GOOD = Reply(
    200,
    {"content-type": "application/json"},
    b'{"name":"n","node":"k","scopes":[],"team":null,"requests_a_minute":null}',
)
PAGE = Reply(502, {"content-type": "text/html"}, b"<h1>Bad gateway")
LOST, AWAY = Failure(sent=True), Failure(sent=False)
WHO, ADD = asked.whoami(), asked.add_webhook(Wanted("https://x.example", "x"))


@pytest.mark.parametrize(
    ("ask", "heard", "waits", "end"),
    [
        pytest.param(
            WHO, [LOST, LOST, GOOD], [0.5, 1.0], "n", id="no answer is tried again, later each time"
        ),
        pytest.param(WHO, [LOST] * 5, [0.5, 1.0, 2.0, 4.0], client.Unreachable, id="but not for ever"),
        pytest.param(
            WHO,
            [refusal(429, "too-many", **{"retry-after": "7"}), GOOD],
            [7.0],
            "n",
            id="Retry-After is honoured",
        ),
        pytest.param(
            WHO,
            [refusal(503, "storage", **{"retry-after": "9000"})],
            [],
            client.Problem,
            id="hours are not waited",
        ),
        pytest.param(WHO, [PAGE, GOOD], [0.5], "n", id="a proxy's page is no answer"),
        pytest.param(WHO, [Reply(200, {}, b"<html>"), GOOD], [0.5], "n", id="nor is one that says 200"),
        pytest.param(
            WHO,
            [Reply(302, {"location": "http://x"}, b"")],
            [],
            client.NotUnderstood,
            id="a redirect is not followed",
        ),
        pytest.param(
            WHO,
            [refusal(409, "in-flight"), GOOD],
            [0.5],
            "n",
            id="another try that is under way is waited for",
        ),
        pytest.param(WHO, [refusal(409, "wrong-state")], [], client.WrongState, id="a refusal is final"),
        pytest.param(WHO, [refusal(500, "internal")], [], client.Problem, id="a fault of the node as well"),
        pytest.param(
            WHO,
            [refusal(404, "from-the-future")],
            [],
            client.Problem,
            id="a code that is not known is a problem",
        ),
        pytest.param(
            WHO, [Failure(sent=True, stale=True), GOOD], [], "n", id="an old connection is no failure"
        ),
        pytest.param(ADD, [LOST], [], client.Unreachable, id="what is not safe to repeat is not repeated"),
        pytest.param(
            ADD,
            [AWAY, refusal(403, "forbidden")],
            [0.5],
            client.Forbidden,
            id="but where nothing was done it is",
        ),
    ],
)
def test_when_a_request_is_made_again(
    ask: Ask[Any], heard: list[Reply | Failure], waits: list[float], end: Any
) -> None:
    waited, ended = talk(ask, heard)
    assert waited == waits
    assert (ended if isinstance(end, type) else ended.name) == end


@given(st.floats(0, 1), st.integers(1, 4), st.one_of(st.none(), st.floats(0, 300)))
def test_a_wait_is_never_shorter_than_asked_for_and_has_an_end(
    jitter: float, failures: int, asked_for: float | None
) -> None:
    wait = Patience(jitter=lambda: jitter).wait(failures, asked_for)
    assert wait is not None
    assert max(0.25, asked_for or 0) <= wait <= max(30.0, asked_for or 0)


class Rough:
    """A real server that behaves badly as often as it is told to, then answers."""

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        self.keys: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Idempotency-Key"))
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "drop" and request.transport is not None:
            request.transport.abort()
        if fault == "cut":
            answer = web.StreamResponse(
                headers={"Content-Length": "1000", "Content-Type": "application/json"}
            )
            await answer.prepare(request)
            await answer.write(b'{"name"')
            assert request.transport is not None
            request.transport.abort()
            return answer
        if fault == "busy":
            return web.json_response({"code": "too-many"}, status=429, headers={"Retry-After": "0"})
        return web.Response(body=GOOD.body, content_type="application/json")


@pytest.mark.parametrize("form", [Bridge, AsyncBridge])
async def test_a_rough_line_does_no_harm_and_every_try_has_the_same_key(
    form: Any, aiohttp_rough: Any
) -> None:
    rough = Rough("drop", "cut", "busy")
    url = await aiohttp_rough(rough.answer)
    patience = Patience(tries=5, first=0.01, longest=0.02)
    ask: Ask[Any] = msgspec_ask()
    if form is Bridge:
        with Bridge(url, "brg_live_x", patience=patience) as bridge:
            who = await blocked(bridge.ask, ask)
    else:
        async with AsyncBridge(url, "brg_live_x", patience=patience) as other:
            who = await other.ask(ask)
    assert who.name == "n"
    assert len(rough.keys) == 4
    assert len(set(rough.keys)) == 1 and rough.keys[0]


def msgspec_ask() -> Ask[Any]:
    made = asked.send(b"{}", None)
    return Ask(made.route, asked.whoami().answer, made.path, made.body, made.headers)


@pytest.fixture
async def aiohttp_rough() -> AsyncIterator[Any]:
    runners = []

    async def serve(handler: Any) -> str:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield serve
    for runner in runners:
        await runner.cleanup()


async def test_a_node_that_is_away_is_said_to_be_and_nothing_hangs() -> None:
    with (
        Bridge("http://127.0.0.1:9", "brg_live_x", patience=QUICK) as bridge,
        pytest.raises(client.Unreachable),
    ):
        await blocked(bridge.whoami)
    async with AsyncBridge("http://127.0.0.1:9", "brg_live_x", patience=QUICK) as other:
        with pytest.raises(client.Unreachable):
            await other.whoami()


async def test_a_node_with_its_own_certificate_is_trusted_by_its_file_alone(at: Desk, tmp_path: Path) -> None:
    password = b"x" * 64
    issued = make_certificate(["127.0.0.1"], datetime.now(UTC), 10, password=password)
    (tmp_path / "node.pem").write_bytes(issued.certificate)
    (tmp_path / "key.pem").write_bytes(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "node.pem", tmp_path / "key.pem", password)
    server = TestServer(at.node.application(at.node.bearer), host="127.0.0.1")
    await server.start_server(ssl=context)
    given = {**await connected(at), "url": str(server.make_url("/")), "patience": Patience(tries=1)}
    assert given["url"].startswith("https://")
    with Bridge(**given, ca_file=tmp_path / "node.pem") as bridge:
        assert (await blocked(bridge.whoami)).node == at.node.settings.node.id
    async with AsyncBridge(**given, ca_file=tmp_path / "node.pem") as other:
        assert (await other.whoami()).node == at.node.settings.node.id
    with Bridge(**given) as bridge, pytest.raises(client.Unreachable):
        await blocked(bridge.whoami)
    async with AsyncBridge(**given) as other:
        with pytest.raises(client.Unreachable):
            await other.whoami()
    await server.close()


# --- Live ------------------------------------------------------------------------------------------------------


async def test_a_stream_that_breaks_is_taken_up_where_it_broke_off(at: Desk) -> None:
    ids = await at.arrive(2)
    with Bridge(**await connected(at)) as bridge:
        since = at.clock.now()
        stream = bridge.events(since=since, types=["alert.received"])
        first = await blocked(next, stream)
        stream.close()
        again = bridge.events(cursor=first.cursor)
        second = await blocked(next, again)
        again.close()
    assert [first.data["id"], second.data["id"]] == ids
    async with AsyncBridge(**await connected(at)) as other:
        found = []
        async for event in other.events(since=since):
            found.append(event.data["id"])
            if len(found) == 2:
                break
        assert found == ids


async def test_a_stream_that_is_refused_says_why(at: Desk) -> None:
    with Bridge(**await connected(at, "areas:read")) as bridge, pytest.raises(client.Forbidden):
        await blocked(lambda: next(bridge.events()))


@given(st.lists(st.integers(1, 40), max_size=12))
def test_events_are_the_same_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    text = (
        b'retry: 3000\n\n: hello\n\nid: a-1\nevent: alert.received\ndata: {"type":"alert.received","timestamp":"2026-11-22T10:00:00Z",'
        b'"data":{"id":"x"},"id":"evt_1"}\n\n: still here\n\nid: a-2\r\ndata: nonsense\r\n\r\nid: a-3\ndata: {"type":"stream.gap",'
        b'"timestamp":"2026-11-22T10:00:00Z","data":{}}\n\n'
    )
    reader, found, place = Reader(), [], 0
    for cut in [*cuts, len(text)]:
        piece, place = text[place : place + cut], place + cut
        if piece.endswith(b"\r"):  # a line end is two bytes that a socket may part
            piece += text[place : place + 1]
            place += 1
        found += list(reader.feed(piece))
    assert [(each.cursor, each.type) for each in found] == [("a-1", "alert.received"), ("a-3", "stream.gap")]


# --- Webhooks --------------------------------------------------------------------------------------------------


def test_a_webhook_is_believed_only_as_it_was_signed() -> None:
    secret = Secret(bytes(range(32)), bytes(range(1, 33)))
    body = b'{"type":"alert.received","timestamp":"2026-11-22T10:00:00Z","data":{"id":"x"}}'
    signed = headers("evt_1", 1_000_000, body, [secret])
    for key in (secret.secret, secret.public, [secret.public, "whsec_" + "A" * 44]):
        event = client.verify_webhook(
            {name.title(): value for name, value in signed.items()}, body, key, now=1_000_010
        )
        assert (event.id, event.type, event.data) == ("evt_1", "alert.received", {"id": "x"})
    for wrong, sent, now in (
        (signed, body + b" ", 1_000_010),
        (signed, body, 1_000_301),
        ({**signed, "webhook-id": "evt_2"}, body, 1_000_010),
        ({}, body, 1_000_010),
        (headers("evt_1", 1_000_000, b"[]", [secret]), b"[]", 1_000_010),
    ):
        with pytest.raises(client.BadSignature):
            client.verify_webhook(wrong, sent, secret.secret, now=now)
    with pytest.raises(ValueError, match="whsec_"):
        client.verify_webhook(signed, body, "not a key")


async def test_a_webhook_of_the_node_is_verified_by_the_client(at: Desk) -> None:
    with Bridge(**await connected(at)) as bridge:
        added = await blocked(
            lambda: bridge.add_webhook("https://case.example/in", "case system", content="full")
        )
        assert (await blocked(bridge.test_webhook, added.endpoint.id)).ok
        hook = added.endpoint.id
        assert [each.id for each in await blocked(bridge.webhooks)] == [hook]
        changed = await blocked(
            lambda: bridge.change_webhook(hook, label="other", version=added.endpoint.version)
        )
        assert (changed.label, (await blocked(bridge.webhook, hook)).label) == ("other", "other")
        assert (await blocked(bridge.rotate_webhook, hook)).secret != added.secret
        assert (await blocked(bridge.deliveries, hook)).items == ()
        assert await blocked(lambda: bridge.resend(hook, dead=True)) == 0
        await blocked(bridge.remove_webhook, hook)
    posted: Posted = at.posted
    (_, body, sent) = posted.got[0]
    now = float(sent["webhook-timestamp"])
    assert client.verify_webhook(sent, body, added.secret, now=now).type == "webhook.test"
    assert client.verify_webhook(sent, body, added.public_key, now=now).id == sent["webhook-id"]
