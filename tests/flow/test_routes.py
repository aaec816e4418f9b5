"""Every route with its permission, and what bad requests get: a problem document with a code, and nothing of theirs."""

import io
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from county import SCENARIOS, StandingClock, Templates

from bridge import logs
from bridge.api.door import Route
from bridge.errors import CODES, Rejected
from bridge.nodes.admit import OPERATOR, SCOPES, Actor
from bridge.nodes.app import Node
from bridge.nodes.transport import Answer, Endpoint

NODE = "luton-mash"
CANARY = "zqcanary7"

ROUTES = {
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): None,
    ("GET", "/problems/{code}"): None,
    ("GET", "/node/v1/checkpoint"): None,
    ("GET", "/node/v1/descriptor"): None,
    ("POST", "/node/v1/envelopes"): None,
    ("POST", "/node/v1/hello"): None,
    ("GET", "/v1/alerts"): "alerts:read",
    ("GET", "/v1/alerts/{ref}"): "alerts:read",
    ("GET", "/v1/alerts/{ref}/receipts"): "receipts:read",
    ("GET", "/v1/areas/resolve"): "areas:read",
    ("GET", "/v1/areas/route"): "areas:read",
    ("GET", "/v1/audit"): "audit:read",
    ("GET", "/v1/evidence/{ref}"): "alerts:read",
    ("GET", "/v1/inbox"): "alerts:read",
    ("GET", "/v1/inbox/{ref}"): "alerts:read",
    ("POST", "/v1/alerts"): "alerts:send",
    ("POST", "/v1/alerts/{ref}/correct"): "alerts:send",
    ("POST", "/v1/alerts/{ref}/answers"): "alerts:send",
    ("POST", "/v1/alerts/{ref}/reroute"): "alerts:send",
    ("POST", "/v1/alerts/{ref}/withdraw"): "alerts:send",
    ("POST", "/v1/inbox/{ref}/ack"): "alerts:act",
    ("POST", "/v1/inbox/{ref}/questions"): "alerts:act",
    ("POST", "/v1/inbox/{ref}/close"): "alerts:act",
    ("POST", "/v1/inbox/{ref}/not-ours"): "alerts:act",
    ("POST", "/v1/inbox/{ref}/open"): "alerts:act",
    ("POST", "/v1/inbox/{ref}/take"): "alerts:act",
    ("POST", "/v1/inbox/{ref}/review"): "alerts:act",
    ("GET", "/openapi.json"): None,
    ("GET", "/docs"): None,
    ("GET", "/docs/assets/{name}"): None,
    ("GET", "/docs/reference"): None,
    ("GET", "/v1/vocabulary"): None,
    ("GET", "/v1/calls"): tuple(SCOPES),
    ("GET", "/v1/copies"): "alerts:read",
    ("GET", "/v1/copies/{copy}"): "alerts:read",
    ("POST", "/v1/copies/{copy}/ended"): "alerts:act",
    ("GET", "/v1/export"): "alerts:read",
    ("GET", "/v1/inbox/{ref}/export/preview"): "alerts:read",
    ("GET", "/v1/profiles"): tuple(SCOPES),
    ("POST", "/v1/alerts/bulk"): "alerts:send",
    ("GET", "/v1/formats"): tuple(SCOPES),
    ("GET", "/v1/inbox/{ref}/export"): "alerts:read",
    ("GET", "/v1/events"): ("alerts:read", "receipts:read"),
    ("GET", "/v1/inbox/{ref}/receipts"): ("alerts:read", "receipts:read"),
    ("GET", "/v1/token"): tuple(SCOPES),
    ("POST", "/v1/alerts/check"): "alerts:send",
    ("POST", "/v1/inbox/lease"): "alerts:act",
    ("POST", "/v1/inbox/lease/{lease}/ack"): "alerts:act",
    ("POST", "/v1/inbox/lease/{lease}/nack"): "alerts:act",
    ("POST", "/v1/inbox/lease/{lease}/renew"): "alerts:act",
    ("GET", "/v1/webhooks"): "webhooks:admin",
    ("GET", "/v1/webhooks/{id}"): "webhooks:admin",
    ("GET", "/v1/webhooks/{id}/deliveries"): "webhooks:admin",
    ("DELETE", "/v1/webhooks/{id}"): "webhooks:admin",
    ("PATCH", "/v1/webhooks/{id}"): "webhooks:admin",
    ("POST", "/v1/webhooks"): "webhooks:admin",
    ("POST", "/v1/webhooks/{id}/resend"): "webhooks:admin",
    ("POST", "/v1/webhooks/{id}/rotate"): "webhooks:admin",
    ("POST", "/v1/webhooks/{id}/test"): "webhooks:admin",
    ("DELETE", "/control/tokens/{id}"): "control",
    ("GET", "/control/check"): "control",
    ("GET", "/control/fingerprint"): "control",
    ("GET", "/control/invite"): "control",
    ("GET", "/control/keys"): "control",
    ("GET", "/control/folder"): "control",
    ("GET", "/control/mailboxes"): "control",
    ("POST", "/control/mailboxes"): "control",
    ("DELETE", "/control/mailboxes/{id}"): "control",
    ("GET", "/control/partners"): "control",
    ("GET", "/control/partners/{id}"): "control",
    ("GET", "/control/people"): "control",
    ("GET", "/control/retention"): "control",
    ("GET", "/control/retention/statement"): "control",
    ("GET", "/control/status"): "control",
    ("GET", "/control/tokens"): "control",
    ("POST", "/control/areas/reload"): "control",
    ("POST", "/control/audit/verify"): "control",
    ("POST", "/control/backup"): "control",
    ("POST", "/control/keys/rotate"): "control",
    ("POST", "/control/partners"): "control",
    ("POST", "/control/partners/{id}/approve"): "control",
    ("POST", "/control/partners/{id}/resume"): "control",
    ("POST", "/control/partners/{id}/revoke"): "control",
    ("POST", "/control/partners/{id}/suspend"): "control",
    ("POST", "/control/partners/{id}/test"): "control",
    ("POST", "/control/people"): "control",
    ("POST", "/control/people/disable"): "control",
    ("POST", "/control/people/enable"): "control",
    ("POST", "/control/people/reset"): "control",
    ("POST", "/control/retention/apply"): "control",
    ("POST", "/control/retention/hold"): "control",
    ("POST", "/control/retention/release"): "control",
    ("POST", "/control/retention/run"): "control",
    ("POST", "/control/tokens"): "control",
}
"""Every route of a node by method and path, with the scope it needs; None: its documents carry their own signature,
or it shows nothing to protect. A new route is not served by accident: it fails here until somebody has thought."""

BODILESS = {
    ("POST", "/control/areas/reload"),
    ("POST", "/control/retention/run"),
}
"""What needs no body and does not read one."""

PEERS = {key for key in ROUTES if key[1].startswith("/node/")}
GUARDED = sorted(key for key, needs in ROUTES.items() if needs)
POSTS = sorted(key for key in ROUTES if key[0] == "POST")
route_id = "{0[0]} {0[1]}".format


def any_of(needs: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The scopes of which one is needed."""
    return (needs,) if isinstance(needs, str) else needs or ()


async def nobody(
    endpoint: Endpoint, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """A network in which nobody is."""
    return Answer(404, b"")


class Open:
    """A node behind a real socket, with the operator's routes beside the others, and what it logs."""

    def __init__(self, node: Node, output: io.StringIO) -> None:
        self.node = node
        self.output = output
        self.actor: Actor | None = None  # who everybody is, instead of what the token says

    async def who(self, request: Any) -> Actor:
        return self.actor if self.actor is not None else await self.node.bearer(request)

    def routes(self) -> list[Route]:
        return [marked for marked, _ in self.node.routes(control=True)]

    async def token(self, *scopes: str) -> dict[str, str]:
        made = await self.node.admit.create("test", scopes, None, "operator")
        return {"Authorization": f"Bearer {made['token']}"}


@pytest.fixture
async def door(ground: Path, templates: Templates) -> AsyncIterator[tuple[Open, "TestClient[Any, Any]"]]:
    place = Path(tempfile.mkdtemp(dir=ground)) / NODE
    await templates.copy(NODE, place)
    clock = StandingClock()
    output = io.StringIO()
    logs.set_up("debug", clock, output)
    node = await Node.open(place, templates.settings(NODE), clock=clock, call=nobody)
    opened = Open(node, output)
    try:
        async with TestClient(TestServer(node.application(opened.who, control=True))) as client:
            yield opened, client
    finally:
        await node.close()
        structlog.reset_defaults()


def at(path: str) -> str:
    for name, value in (("ref", "BR-7KQ2-M9XT"), ("id", "kent-mash"), ("code", "policy"), ("lease", "0" * 32), ("copy", "0" * 32)):
        path = path.replace(f"{{{name}}}", value)
    return path


async def problem(answer: ClientResponse) -> str:
    """The code of a problem document, which says nothing of what came in."""
    body = await answer.read()
    assert answer.content_type == "application/problem+json", (answer.status, body)
    told = json.loads(body)
    assert told["status"] == answer.status
    assert told["code"] in CODES
    assert told["type"] == f"/problems/{told['code']}"
    assert told["detail"]
    for word in (b"Traceback", b"File \"", b"msgspec", CANARY.encode()):
        assert word not in body
    return str(told["code"])


async def test_every_route_is_listed_with_its_permission(door: tuple[Open, Any]) -> None:
    opened, _ = door
    found = {(each.method, each.path): each.needs for each in opened.routes()}
    assert found == ROUTES
    assert len(opened.routes()) == len(ROUTES)
    assert {scope for needs in ROUTES.values() for scope in any_of(needs)} <= SCOPES.keys() | {"control"}
    assert all(each.summary for each in opened.routes())


async def test_what_the_operator_does_is_not_served_to_anybody_else(door: tuple[Open, Any]) -> None:
    opened, _ = door
    assert not [each.path for each, _ in opened.node.routes(control=False) if each.path.startswith("/control")]


async def test_no_token_can_have_the_operators_scope(door: tuple[Open, Any]) -> None:
    opened, _ = door
    with pytest.raises(Rejected) as refused:
        await opened.token("control")
    assert refused.value.code == "usage"


async def test_every_guarded_route_refuses_whoever_has_no_token_or_not_its_scope(door: tuple[Open, Any]) -> None:
    opened, client = door
    every = await opened.token(*SCOPES)
    for method, path in GUARDED:
        needs = ROUTES[method, path]
        for headers in ({}, {"Authorization": "Bearer brg_live_0_0"}, {"Authorization": "Basic eDp4"}):
            async with client.request(method, at(path), headers=headers) as answer:
                assert (answer.status, await problem(answer)) == (401, "unauthenticated"), path
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        rest = set(SCOPES) - set(any_of(needs))
        if not rest:
            continue  # whatever a token is for, it is enough here
        others = await opened.token(*rest) if needs != "control" else every
        async with client.request(method, at(path), headers=others) as answer:
            assert (answer.status, await problem(answer)) == (403, "forbidden"), path


async def test_every_route_for_systems_lets_its_own_scope_in(door: tuple[Open, Any]) -> None:
    opened, client = door
    for method, path in GUARDED:
        for needs in any_of(ROUTES[method, path]):
            if needs == "control":
                continue
            # Leasing gives alerts whole, so it needs the scope for reading them as well.
            more = ("alerts:read",) if path == "/v1/inbox/lease" else ()
            async with client.request(method, at(path), headers=await opened.token(needs, *more)) as answer:
                assert answer.status not in {401, 403, 500}, path


async def test_a_token_that_was_ended_or_is_over_lets_nobody_in(door: tuple[Open, Any]) -> None:
    opened, client = door
    made = await opened.node.admit.create("test", ["alerts:read"], None, "operator")
    headers = {"Authorization": f"Bearer {made['token']}"}
    async with client.get("/v1/inbox", headers=headers) as answer:
        assert answer.status == 200
    await opened.node.admit.revoke(made["id"], "operator")
    async with client.get("/v1/inbox", headers=headers) as answer:
        assert (answer.status, await problem(answer)) == (401, "unauthenticated")


BODIES: dict[str, bytes] = {
    "cut short": f'{{"{CANARY}": "'.encode(),
    "a list": f'["{CANARY}"]'.encode(),
    "a text": f'"{CANARY}"'.encode(),
    "an unknown field": f'{{"{CANARY}": "{CANARY}"}}'.encode(),
    "not UTF-8": b"\xff\xfe" + CANARY.encode(),
    "nested without end": b"[" * 60_000,
    "a field twice": f'{{"admin": "{CANARY}", "admin": "{CANARY}"}}'.encode(),
    "values of wrong kinds": json.dumps(
        {name: {CANARY: CANARY} for name in ("admin", "fingerprint", "label", "scopes", "outcome", "area", "v", "home")}
    ).encode(),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_is_not_well_formed_gets_a_problem_and_is_nowhere_repeated(
    door: tuple[Open, Any], case: str
) -> None:
    opened, client = door
    opened.actor = OPERATOR
    headers = {"Content-Type": "application/json", "Idempotency-Key": "key-1"}
    for method, path in POSTS:
        async with client.request(method, at(path), data=BODIES[case], headers=headers) as answer:
            if (method, path) in PEERS:
                assert (answer.status, await answer.read()) == (400, b""), path
            elif (method, path) in BODILESS:
                assert answer.status < 300, path
            elif answer.status == 200:
                # A connection test takes no body either, and tells of a partner that is not there.
                assert CANARY.encode() not in await answer.read()
            else:
                assert 400 <= answer.status < 500, (path, answer.status)
                await problem(answer)
    written = opened.output.getvalue()
    assert CANARY not in written
    assert "Traceback" not in written
    assert "request-failed" not in written, "no refusal is a fault of ours"


@pytest.mark.parametrize("path", ["/", "/v1", f"/v1/{CANARY}", f"/{CANARY}?q={CANARY}", "/v1/alerts/../../etc/passwd"])
async def test_an_address_where_nothing_is_gets_a_problem(door: tuple[Open, Any], path: str) -> None:
    opened, client = door
    opened.actor = OPERATOR
    async with client.get(path) as answer:
        assert (answer.status, await problem(answer)) == (404, "not-found")
    assert CANARY not in opened.output.getvalue()


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/alerts/{CANARY}",
        f"/v1/inbox/{CANARY}",
        f"/v1/areas/resolve?q={CANARY}&q=x",
        f"/v1/areas/route?q={CANARY}",
        f"/v1/areas/route?q=Luton&function={CANARY}",
        f"/v1/alerts?cursor={CANARY}",
        f"/v1/inbox?cursor={CANARY}",
        f"/v1/inbox?state={CANARY}",
        f"/v1/inbox?limit={CANARY}",
        "/v1/inbox?limit=0",
        "/v1/inbox?limit=999999999",
        "/v1/areas/resolve",
        "/v1/areas/resolve?q=" + "x" * 300,
        f"/problems/{CANARY}",
        f"/control/partners/{CANARY}",
    ],
)
async def test_what_is_asked_wrongly_is_refused_and_not_repeated(door: tuple[Open, Any], path: str) -> None:
    opened, client = door
    opened.actor = OPERATOR
    async with client.get(path) as answer:
        if answer.status == 200:  # "no area is known by this" is an answer, and it does not repeat the question
            assert CANARY.encode() not in await answer.read()
        else:
            assert 400 <= answer.status < 500
            await problem(answer)
    assert CANARY not in opened.output.getvalue()


async def test_a_wrong_method_is_told_the_right_ones(door: tuple[Open, Any]) -> None:
    _, client = door
    async with client.delete("/v1/alerts") as answer:
        assert (answer.status, await problem(answer)) == (405, "not-supported")
        assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/v1/alerts", "/control/partners", "/control/tokens", "/v1/inbox/BR-7KQ2-M9XT/close"])
async def test_a_body_that_is_too_large_is_refused_before_it_is_read(door: tuple[Open, Any], path: str) -> None:
    opened, client = door
    opened.actor = OPERATOR
    async with client.post(path, data=b"x" * 1_000_000, headers={"Content-Type": "application/json"}) as answer:
        assert (answer.status, await problem(answer)) == (413, "too-large")


async def test_an_alert_over_http_is_accepted_followed_and_repeated(door: tuple[Open, Any]) -> None:
    opened, client = door
    headers = {
        **await opened.token("alerts:send", "alerts:read", "receipts:read"),
        "Content-Type": "application/json",
        "Idempotency-Key": "key-1",
    }
    (path,) = SCENARIOS.glob("16-two-reports-jobcentre.json")
    body = json.dumps(json.loads(path.read_bytes())["alert"])
    async with client.post("/v1/alerts", data=body, headers=headers) as answer:
        assert answer.status == 202, await answer.read()
        sent = await answer.json()
        assert answer.headers["Location"] == f"/v1/alerts/{sent['id']}"
    async with client.post("/v1/alerts", data=body, headers=headers) as answer:
        assert ((await answer.json())["id"], answer.status) == (sent["id"], 202)
    async with client.post("/v1/alerts", data=body.replace("LOW", "HIGH"), headers=headers) as answer:
        assert (answer.status, await problem(answer)) == (422, "idempotency-conflict")
    for ref in (sent["id"], sent["reference"], sent["reference"].lower().replace("-", "")):
        async with client.get(f"/v1/alerts/{ref}", headers=headers) as answer:
            assert (answer.status, (await answer.json())["id"]) == (200, sent["id"])
    async with client.post("/v1/alerts", data=body, headers={**headers, "Content-Type": "text/xml"}) as answer:
        assert (answer.status, await problem(answer)) == (415, "not-supported")
    for word in ("Kieran", "Mulhearn", "ginger", "slap"):
        assert word.lower() not in opened.output.getvalue().lower()


async def test_every_answer_says_that_it_is_not_to_be_kept_or_guessed_at(door: tuple[Open, Any]) -> None:
    _, client = door
    for path in ("/healthz", "/v1/inbox", "/nothing", "/node/v1/descriptor"):
        async with client.get(path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "aiohttp" not in answer.headers["Server"].lower()
