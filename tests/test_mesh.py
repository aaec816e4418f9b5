"""The mailbox in the form of MESH, with the NHS's own public client and a real node behind a real socket."""

import asyncio
import gzip
import hashlib
import hmac
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import mesh_client
import msgspec
import pytest
import requests
from aiohttp.test_utils import TestServer
from api_desk import CANARY, Desk, Hands, desk, template
from hypothesis import given
from hypothesis import strategies as st
from mesh_client import MeshClient, MeshError

from bridge.clock import SystemClock
from bridge.config import MeshSection
from bridge.errors import Rejected
from bridge.nodes.mailbox import on_time, parse, proof

T = TypeVar("T")

ALERT = {
    "v": 1,
    "subjects": [{"names": [{"text": CANARY}]}],
    "home": {"district": "E06000032"},
    "event": {"kinds": ["criminal_exploitation"], "narrative": f"{CANARY} was seen."},
}
# The public client leaves streams open that it was not asked to read to their end.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

BOX, TO = "LUTONMASH1", "BRIDGE01"


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108  # only a directory made inside it is used
    with tempfile.TemporaryDirectory(prefix="mesh-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


class Post:
    """A node with its mailbox server, and the client as a trust has it."""

    def __init__(self, at: Desk, server: TestServer) -> None:
        self.at = at
        self.server = server
        self.secrets: dict[str, dict[str, Any]] = {}

    async def box(self, name: str = BOX, team: str | None = None, sends: bool = True) -> None:
        self.secrets[name] = await self.at.node.mailboxes.create(name, "trust", team, sends, "admin")

    def client(self, name: str = BOX, **more: Any) -> MeshClient:
        made = self.secrets[name]
        given = {
            "password": made["password"],
            "shared_key": made["shared_key"].encode(),
            "max_retries": 0,
            **more,
        }
        return MeshClient(str(self.server.make_url("/")), name, **given)

    async def do(self, work: Callable[[MeshClient], T], name: str = BOX, **more: Any) -> T:
        def run() -> T:
            with self.client(name, **more) as client:
                return work(client)

        return await asyncio.to_thread(run)


@pytest.fixture
async def post(ground: Path) -> AsyncIterator[Post]:
    made = await template(ground / "template")
    place = Path(tempfile.mkdtemp(dir=ground)) / "node"
    async with desk(made, place, Hands(), mesh=MeshSection(chunk_bytes=1024)) as at:
        server = TestServer(at.node.mesh_application())
        await server.start_server()
        opened = Post(at, server)
        await opened.box()
        yield opened
        await server.close()


# --- Receiving -------------------------------------------------------------------------------------------------


async def test_a_trust_collects_alerts_as_it_collects_messages(post: Post) -> None:
    ids = await post.at.arrive(3)

    def collect(client: MeshClient) -> list[tuple[str, dict[str, Any]]]:
        client.handshake()
        client.ping()
        found = []
        for message in client.iterate_all_messages():
            with message:
                assert (message.recipient, message.message_type, message.workflow_id) == (
                    BOX,
                    "DATA",
                    "BRIDGE_ALERT",
                )
                found.append((message.message_id, json.loads(message.read())))
        return found

    found = await post.do(collect)
    assert [each for each, _ in found] == ids
    assert [body["alert"]["subjects"][0]["names"][0]["text"] for _, body in found] == [CANARY] * 3
    assert await post.do(lambda client: client.list_messages()) == []
    states = [each.state for each in (await post.at.node.acknowledge.page(0, 10)).items]
    assert states == ["collected"] * 3


async def test_what_is_not_acknowledged_is_still_there(post: Post) -> None:
    ids = await post.at.arrive(2)

    def fail(client: MeshClient) -> None:
        with client.retrieve_message(ids[0]):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await post.do(fail)
    assert await post.do(lambda client: client.list_messages()) == ids
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert await post.do(lambda client: client.count_messages()) == 2
    await post.do(lambda client: client.acknowledge_message(ids[0]))
    await post.do(lambda client: client.acknowledge_message(ids[0]))
    assert await post.do(lambda client: client.list_messages()) == ids[1:]


async def test_a_message_comes_in_pieces_packed_and_whole(post: Post) -> None:
    (ref,) = await post.at.arrive(1)

    def read(client: MeshClient) -> tuple[int, str, bytes]:
        first = client.retrieve_message_chunk(ref, 1)
        message = client.retrieve_message(ref)
        return first.status_code, first.headers["Mex-Chunk-Range"], message.read()

    status, range_, whole = await post.do(read)
    assert (status, range_) == (206, "1:2")
    assert json.loads(whole)["id"] == ref


async def test_what_a_trust_works_on_is_given_to_nobody_else_of_its_team(post: Post) -> None:
    await post.box("OTHER0001")
    ids = await post.at.arrive(2)
    await post.do(lambda client: client.retrieve_message(ids[0]).read())
    assert await post.do(lambda client: client.list_messages(), "OTHER0001") == ids[1:]
    token = await post.at.token()
    _, leased, _ = await post.at.ask("POST", "/v1/inbox/lease", token, json={})
    assert [each["id"] for each in leased["items"]] == ids[1:]
    with pytest.raises(requests.HTTPError) as raised:
        await post.do(lambda client: client.retrieve_message(ids[1]))
    assert raised.value.response.status_code == 409
    assert await post.do(lambda client: client.list_messages()) == ids[:1]
    post.at.clock.move(seconds=601)
    assert await post.do(lambda client: client.list_messages(), "OTHER0001") == ids


async def test_a_mailbox_of_a_team_sees_what_came_for_it(post: Post) -> None:
    await post.box("ADULTS001", team="LA_ASC")
    await post.at.arrive(2)
    (ours,) = await post.at.arrive(1, function="LA_ASC")
    assert await post.do(lambda client: client.list_messages(), "ADULTS001") == [ours]
    with pytest.raises(requests.HTTPError) as raised:
        await post.do(lambda client: client.retrieve_message(post.at.node.settings.node.id), "ADULTS001")
    assert raised.value.response.status_code == 404


async def test_many_messages_are_listed_page_by_page_each_once(post: Post) -> None:
    ids = await post.at.arrive(35)
    assert await post.do(lambda client: list(client.iterate_message_ids(batch_size=10))) == ids
    assert (
        await post.do(
            lambda client: list(client.iterate_message_ids(workflow_filter="BRIDGE*", batch_size=20))
        )
        == ids
    )
    assert await post.do(lambda client: client.list_messages(workflow_filter="OTHER")) == []
    assert len(await post.do(lambda client: client.list_messages(workflow_filter="!OTHER"))) == 35


async def test_a_deleted_message_is_gone_and_says_so(post: Post) -> None:
    (ref,) = await post.at.arrive(1)
    async with post.at.node.database.transaction() as tx:
        await tx.execute(
            "update inbox set content = null, wrapped_key = null, purged_at = 1, state = 'purged'"
        )
    with pytest.raises(requests.HTTPError) as raised:
        await post.do(lambda client: client.retrieve_message(ref))
    assert raised.value.response.status_code == 410


# --- Sending ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [{}, {"compress": True}, {"max_chunk_size": 60}, {"max_chunk_size": 60, "compress": True}]
)
async def test_a_trust_sends_an_alert_and_follows_it(post: Post, more: dict[str, Any]) -> None:
    body = msgspec.json.encode(ALERT)

    def send(client: MeshClient) -> tuple[str, str, Any]:
        first = client.send_message(TO, body, workflow_id="BRIDGE_ALERT", local_id="case 1", **more)
        again = client.send_message(TO, body, workflow_id="BRIDGE_ALERT", local_id="case 1", **more)
        return first, again, client.track_message(first)

    first, again, tracked = await post.do(send)
    assert first == again
    assert (tracked["status"], tracked["status_success"], tracked["recipient"]) == ("accepted", None, TO)
    sent = (await post.at.node.follow.page(None, 10)).items
    assert len(sent) == 1
    with pytest.raises(requests.HTTPError):
        await post.do(lambda client: client.track_message("0" * 32))


@pytest.mark.parametrize(
    ("to", "workflow", "body", "said"),
    [
        pytest.param("NOBODY01", "BRIDGE_ALERT", ALERT, "Unregistered to address", id="another recipient"),
        pytest.param(TO, "OTHER", ALERT, "Workflow not registered", id="another workflow"),
        pytest.param(TO, "BRIDGE_ALERT", {"v": 1}, "", id="no alert"),
        pytest.param(
            TO, "BRIDGE_ALERT", {**ALERT, "grading": {"marking": "SECRET"}}, "", id="above the marking"
        ),
        pytest.param(TO, "BRIDGE_ALERT", {**ALERT, "home": {"raw_text": CANARY}}, "", id="no such area"),
    ],
)
async def test_what_cannot_be_sent_is_refused_as_mesh_refuses(
    post: Post, to: str, workflow: str, body: dict[str, Any], said: str
) -> None:
    with pytest.raises(MeshError) as raised:
        await post.do(lambda client: client.send_message(to, msgspec.json.encode(body), workflow_id=workflow))
    assert said in str(raised.value)
    assert CANARY not in str(raised.value)
    assert (await post.at.node.follow.page(None, 10)).items == ()


async def test_who_only_collects_cannot_send(post: Post) -> None:
    await post.box("READER001", sends=False)
    with pytest.raises(MeshError):
        await post.do(lambda client: client.send_message(TO, b"{}", workflow_id="BRIDGE_ALERT"), "READER001")


async def test_what_swells_when_it_is_unpacked_is_refused(post: Post) -> None:
    bomb = gzip.compress(bytes(10_000_000))

    def send(client: MeshClient) -> int:
        made = client._session.post(
            f"{client.mailbox_url}/outbox",
            data=bomb,
            headers={"Mex-To": TO, "Mex-WorkflowID": "BRIDGE_ALERT", "Content-Encoding": "gzip"},
        )
        return made.status_code

    assert await post.do(send) == 417


async def test_a_mailbox_that_begins_and_never_ends_takes_no_room_from_others(post: Post) -> None:
    await post.box("OTHER0001")
    body = msgspec.json.encode(ALERT)

    def begin(client: MeshClient) -> int:
        headers = {"Mex-To": TO, "Mex-WorkflowID": "BRIDGE_ALERT", "Mex-Chunk-Range": "1:2"}
        return client._session.post(f"{client.mailbox_url}/outbox", data=b"{", headers=headers).status_code

    def begin_many(client: MeshClient) -> list[int]:
        return [begin(client) for _ in range(11)]

    assert await post.do(begin_many) == [202] * 10 + [429]
    assert await post.do(begin, "OTHER0001") == 202
    whole = await post.do(lambda client: client.send_message(TO, body, workflow_id="BRIDGE_ALERT"))
    assert [each.id for each in (await post.at.node.follow.page(None, 10)).items] == [whole]


async def test_where_an_alert_can_be_sent_can_be_looked_up(post: Post) -> None:
    found = await post.do(lambda client: client.lookup_endpoint("RXX", "BRIDGE_ALERT"))
    assert [each["mailbox_id"] for each in found["results"]] == [TO]


# --- Who asks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"shared_key": b"wrong"}])
async def test_whoever_does_not_know_the_secrets_learns_nothing(post: Post, wrong: dict[str, Any]) -> None:
    for name in (BOX, "NOBODY001"):
        post.secrets.setdefault(name, post.secrets[BOX])
        with pytest.raises(requests.HTTPError) as raised:
            await post.do(lambda client: client.handshake(), name, **wrong)
        assert raised.value.response.status_code == 403


async def test_one_mailbox_cannot_open_another(post: Post) -> None:
    await post.box("OTHER0001")

    def peep(client: MeshClient) -> int:
        return client._session.get(client.mailbox_url.replace(BOX, "OTHER0001") + "/inbox").status_code

    assert await post.do(peep) == 403


async def test_a_removed_mailbox_is_refused_at_once_and_its_secrets_are_destroyed(post: Post) -> None:
    await post.do(lambda client: client.handshake())
    await post.at.node.mailboxes.remove(BOX, "admin")
    with pytest.raises(requests.HTTPError):
        await post.do(lambda client: client.handshake())
    assert not post.at.node.keystore.keys("mailbox")
    assert post.at.node.mailboxes.every() == []


async def test_a_proof_serves_one_request_and_its_repetition(post: Post) -> None:
    made = post.secrets[BOX]
    now = post.at.clock.now().astimezone(UTC).strftime("%Y%m%d%H%M")
    said = f"{BOX}:nonce:1:{made['password']}:{now}"
    token = hmac.new(made["shared_key"].encode(), said.encode(), hashlib.sha256).hexdigest()
    headers = {"Authorization": f"NHSMESH {BOX}:nonce:1:{now}:{token}"}
    url = post.server.make_url(f"/messageexchange/{BOX}/inbox")
    statuses = []
    for path in (url, url, post.server.make_url(f"/messageexchange/{BOX}/count")):
        async with post.at.http.get(path, headers=headers) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 200, 403]


async def test_a_proof_is_good_for_two_hours_of_either_clock(post: Post) -> None:
    for hours, good in ((-1.9, True), (1.9, True), (-2.1, False), (2.1, False)):
        at = post.at.clock.now() + timedelta(hours=hours)
        assert on_time(at.strftime("%Y%m%d%H%M"), post.at.clock.now()) is good
    assert not on_time("202613990000", post.at.clock.now())


@given(st.text(max_size=80))
def test_a_header_in_another_form_is_no_proof(text: str) -> None:
    found = parse("NHSMESH " + text)
    assert found is None or text.strip().count(":") == 4


def test_the_proof_is_that_of_the_public_client() -> None:
    made = mesh_client.AuthTokenGenerator(b"key", "BOX", "secret").generate_token()
    presented = parse(made)
    assert presented is not None
    assert proof("key", "secret", presented) == presented.proof
    assert on_time(presented.at, datetime.now(UTC))


@pytest.mark.parametrize("name", ["", "a", "with space", "X" * 21, "../../etc"])
async def test_a_mailbox_id_is_letters_and_digits(post: Post, name: str) -> None:
    with pytest.raises(Rejected, match="4 to 20"):
        await post.at.node.mailboxes.create(name, "x", None, False, "admin")


# --- Nothing leaks, nothing is lost ----------------------------------------------------------------------------


async def test_no_name_and_no_secret_is_in_a_header_log_or_file(
    ground: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = await template(ground / "template")
    place = Path(tempfile.mkdtemp(dir=ground)) / "node"
    async with desk(made, place, SystemClock()) as at:
        server = TestServer(at.node.mesh_application())
        await server.start_server()
        post = Post(at, server)
        await post.box()
        (ref,) = await at.arrive(1)

        def collect(client: MeshClient) -> str:
            response = client.retrieve_message_chunk(ref, 1)
            return f"{response.headers}{response.url}"

        heads = await post.do(collect)
        await post.do(
            lambda client: client.send_message(
                TO, msgspec.json.encode(ALERT), workflow_id="BRIDGE_ALERT", local_id=CANARY
            )
        )
        calls = [each async for each in _calls(at)]
        await server.close()
        secret, shared = post.secrets[BOX]["password"], post.secrets[BOX]["shared_key"]
    files = b"".join(each.read_bytes() for each in place.rglob("*") if each.is_file())
    for word in (CANARY, CANARY.split()[0], secret, shared):
        assert word not in heads + str(calls) + caplog.text
        assert word.encode() not in files
    assert any(each.token == f"mailbox:{BOX}" and "{mailbox}" in each.route for each in calls)


async def _calls(at: Desk) -> AsyncIterator[Any]:
    for each in await at.node.meter.log(None, None, 100):
        yield each


async def test_what_was_listed_survives_a_node_that_is_killed(ground: Path) -> None:
    made = await template(ground / "template")
    place = Path(tempfile.mkdtemp(dir=ground)) / "node"
    async with desk(made, place) as at:
        secrets = await at.node.mailboxes.create(BOX, "trust", None, True, "admin")
        ids = await at.arrive(3)
        await at.node.lease.hold(ids[0], f"mailbox:{BOX}", None, 600)
    async with desk(made, place) as at:
        server = TestServer(at.node.mesh_application())
        await server.start_server()
        post = Post(at, server)
        post.secrets[BOX] = secrets
        assert await post.do(lambda client: client.list_messages()) == ids
        await server.close()
