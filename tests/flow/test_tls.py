"""Two nodes over real TLS on loopback: the same flow through the real doors and the real client."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from county import StandingClock, Templates, alert, own

from bridge import registry
from bridge.config import DatabaseSection, Delivery, Listen, Settings
from bridge.errors import Misconfigured, Unavailable
from bridge.nodes.app import Node
from bridge.nodes.serve import HANDSHAKE_SECONDS, Site, tls_of, working
from bridge.nodes.transport import Endpoint, Poster, Transport

JCP, MASH = "luton-jcp", "luton-mash"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Street:
    """Node directories with a port for each; a node is open and at its doors for as long as a block lasts."""

    def __init__(self, ground: Path, templates: Templates) -> None:
        self.ground = Path(tempfile.mkdtemp(dir=ground))
        self.templates = templates
        self.settings: dict[str, Settings] = {}

    async def build(self, name: str) -> None:
        await self.templates.copy(name, self.ground / name)
        port = free_port()
        plain = self.templates.settings(name)
        self.settings[name] = msgspec.structs.replace(
            plain,
            node=msgspec.structs.replace(plain.node, url=f"https://127.0.0.1:{port}"),
            listen=Listen(port=port),
            database=DatabaseSection(),
            delivery=Delivery(allow_loopback=True, probe_seconds=0.1),
        )

    @contextlib.asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[Node]:
        node = await Node.open(self.ground / name, self.settings[name], clock=StandingClock())
        try:
            async with working(node):
                yield node
        finally:
            await node.close()


@pytest.fixture
async def street(ground: Path, templates: Templates) -> AsyncIterator[Street]:
    made = Street(ground, templates)
    for name in (JCP, MASH):
        await made.build(name)
    async with made.open(JCP) as one, made.open(MASH) as other:
        for node, partner in ((one, other), (other, one)):
            await node.enrol.add(partner.enrol.invite(), "a-first")
            heard = " ".join(registry.fingerprint_of(own(partner)).words)
            for admin in ("a-first", "b-second"):
                await node.enrol.approve(own(partner).node_id, admin, heard)
    yield made


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await what():  # noqa: ASYNC110  # what is looked at is a database, which tells nobody
            await asyncio.sleep(0.01)


def stands(node: Node, alert_id: str, status: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await node.follow.show(alert_id)).row.status == status

    return look


async def test_an_alert_its_receipt_and_what_follows_go_over_tls(street: Street) -> None:
    async with street.open(JCP) as sender, street.open(MASH) as recipient:
        sent = await sender.submit.send(alert(), "token:test")
        await until(stands(sender, sent.id, "received"))
        await recipient.acknowledge.take(sent.id, "role:duty")
        await until(stands(sender, sent.id, "taken"))


async def test_an_alert_waits_for_a_node_that_is_away_and_arrives_when_it_opens(street: Street) -> None:
    async with street.open(JCP) as sender:
        sent = await sender.submit.send(alert(), "token:test")
        await asyncio.sleep(0.3)
        assert (await sender.partner_state(MASH))["reason"] == "unreachable"
        async with street.open(MASH):
            await until(stands(sender, sent.id, "received"), 5)


async def test_the_connection_test_of_administrators_goes_well_step_by_step(street: Street) -> None:
    async with street.open(JCP) as sender, street.open(MASH):
        steps = await sender.enrol.test(MASH)
        assert [each.step for each in steps if not each.ok] == []
        assert steps[-1].step == "approval"


async def test_a_node_that_proves_another_key_than_its_descriptor_says_gets_nothing(street: Street) -> None:
    async with street.open(JCP) as sender, street.open(MASH) as recipient:
        partner = sender.book.get(MASH)
        assert partner is not None
        wrong = msgspec.structs.replace(partner.descriptor, tls_pins=("ab" * 32,))
        sender.book.put(msgspec.structs.replace(partner, descriptor=wrong))
        sent = await sender.submit.send(alert(), "token:test")
        await asyncio.sleep(0.3)
        assert (await sender.partner_state(MASH))["reason"] == "tls"
        assert recipient.metrics.value("bridge_requests_total", route="/node/v1/envelopes", outcome="200") == 0
        sender.book.put(partner)
        await until(stands(sender, sent.id, "received"), 5)


@pytest.mark.parametrize("pins", [(), ("ab" * 32,)], ids=["by authority", "by another pin"])
async def test_the_client_trusts_no_certificate_that_it_has_no_reason_to(street: Street, pins: tuple[str, ...]) -> None:
    client = Transport(allow_loopback=True)
    try:
        async with street.open(MASH):
            with pytest.raises(Unavailable) as refused:
                await client(Endpoint(street.settings[MASH].node.url, pins), "GET", "/healthz")
        assert refused.value.code == "tls"
    finally:
        await client.close()


async def test_the_client_goes_to_no_address_that_is_not_allowed(street: Street) -> None:
    client = Transport(allow_loopback=False)
    try:
        async with street.open(MASH) as node:
            with pytest.raises(Unavailable) as refused:
                await client(Endpoint(street.settings[MASH].node.url, own(node).tls_pins), "GET", "/healthz")
        assert refused.value.code == "address-refused"
    finally:
        await client.close()


async def test_nothing_older_than_tls_1_3_is_spoken(street: Street) -> None:
    async with street.open(MASH):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname = False
        old.verify_mode = ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(street.settings[MASH].node.url + "/healthz", ssl=old)


async def test_whoever_begins_no_handshake_is_let_go(street: Street) -> None:
    async with street.open(MASH) as node:
        runner = web.AppRunner(web.Application())
        await runner.setup()
        await Site(runner, "127.0.0.1", port := free_port(), tls_of(node), handshake=0.2).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(5):
                assert await reader.read() == b""
        finally:
            writer.close()
            await runner.cleanup()
    assert HANDSHAKE_SECONDS <= 10


@pytest.mark.parametrize("client", [Transport, Poster])
@pytest.mark.parametrize("content", [None, b"not a certificate"], ids=["missing", "no certificate"])
async def test_a_file_of_authorities_that_cannot_be_read_is_said_at_the_start(
    client: type[Transport | Poster], content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Misconfigured, match="certificate authorities"):
        client(ca_file=str(file), total_seconds=1)
