"""Real nodes with the keys of the test vectors: real keystore, real database, a clock that stands at the vector's time."""

import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bridge import areas, registry, wire
from bridge.config import Limits, Settings
from bridge.config import Node as NodeSection
from bridge.crypto.keys import XWING, SealingKey, SigningKey
from bridge.envelopes import Signature, Signed
from bridge.errors import Unavailable
from bridge.nodes.app import AGREEMENTS, KEYSTORE, Node
from bridge.nodes.transport import Answer, Endpoint
from bridge.storage.keystore import KeyRow, KeySource, Keystore, make_key_file

FOLDER = Path(__file__).parent / "vectors"
CAST: dict[str, Any] = json.loads((FOLDER / "nodes.json").read_bytes())
NODES: dict[str, dict[str, Any]] = CAST["nodes"]
STRANGER = "essex-mash"

Vector = dict[str, Any]


def load(kind: str) -> list[Vector]:
    return [json.loads(path.read_bytes()) for path in sorted((FOLDER / kind).glob("*.json"))]


def raw(of: Vector, name: str) -> bytes:
    """The bytes that a vector shows as text, or in base64 where they are none."""
    return of[name].encode() if name in of else base64.b64decode(of[f"{name}_base64"], validate=True)


def signatures(of: Vector) -> tuple[Signature, ...]:
    return tuple(
        Signature(
            bytes.fromhex(s["kid"]), s["alg"], wire.decode_b64(s["signature"], limit=4096, what="vector")
        )
        for s in of["signatures"]
    )


def signed(of: Vector) -> Signed:
    return Signed(raw(of, "document"), signatures(of))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def key(node: str, use: str, generation: str = "1", alg: str = "ed25519") -> SigningKey | SealingKey:
    """A key of the cast, from its seed."""
    (found,) = (
        each
        for each in NODES[node]["keys"]
        if (each["use"], each["generation"], each["alg"])
        == (use, generation, XWING if use == "sealing" else alg)
    )
    kind = SealingKey if use == "sealing" else SigningKey
    return kind.from_seed(found["alg"], node, bytes.fromhex(found["seed"]))


class Clock:
    """Stands where it is put; wall and steady time move together, so that no node takes it for a jump."""

    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class Network:
    """Nobody can be reached, but where a vector says what a node answers. Keeps what it was asked."""

    def __init__(self, given: Vector) -> None:
        self.descriptor = signed(given["fetch"]) if "fetch" in given else None
        self.receipts: Signed | None = None
        self.posts: list[bytes] = []

    async def __call__(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        if path == "/node/v1/descriptor" and self.descriptor is not None:
            return Answer(200, wire.encode_signed(self.descriptor))
        if path == "/node/v1/envelopes" and self.receipts is not None:
            self.posts.append(body)
            return Answer(200, wire.encode_answer([self.receipts]))
        raise Unavailable("unreachable", "The partner cannot be reached.")


class House:
    """Makes nodes, each from a copy of one that was set up once with the same partners."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies = 0
        self._shared: dict[str, tuple[Node, Network]] = {}

    async def close(self) -> None:
        for node, _ in self._shared.values():
            await node.close()

    @asynccontextmanager
    async def open(self, vector: Vector) -> AsyncIterator[tuple[Node, Network]]:
        """The vector's node at the vector's time, knowing what the vector gives it.

        Vectors that leave nothing behind, because they are answered barely, share a node.
        """
        if "bare" not in vector["expect"]:
            async with self._opened(vector) as made:
                yield made
            return
        alike = json.dumps([vector["node"], vector["now"], vector.get("given")])
        if alike not in self._shared:
            self._shared[alike] = await self._made(vector)
        yield self._shared[alike]

    @asynccontextmanager
    async def _opened(self, vector: Vector) -> AsyncIterator[tuple[Node, Network]]:
        node, network = await self._made(vector)
        try:
            yield node, network
        finally:
            await node.close()
            shutil.rmtree(node.directory)

    async def _made(self, vector: Vector) -> tuple[Node, Network]:
        given = vector.get("given", {})
        template = await self._template(vector["node"], given.get("states", {}), given.get("held", {}))
        self._copies += 1
        directory = self._folder / f"copy-{self._copies}"
        shutil.copytree(template, directory)
        if "agreements" in given:
            (directory / AGREEMENTS).write_text(given["agreements"])
        network = Network(given)
        settings = _settings(vector["node"], given.get("messages_per_hour"))
        return await _open(directory, settings, Clock(at(vector["now"])), network), network

    async def _template(self, node_id: str, states: dict[str, str], held: dict[str, Vector]) -> Path:
        directory = self._folder / str(abs(hash((node_id, json.dumps([states, held])))))
        if directory.exists():
            return directory
        directory.mkdir()
        invites = {
            partner: signed(held.get(partner) or shown["descriptor"])
            for partner, shown in NODES.items()
            if partner not in {node_id, STRANGER}
        }
        # Each partner is introduced on the day on which its descriptor was issued; time only goes on.
        days = {
            partner: wire.decode_descriptor(invite.document).issued for partner, invite in invites.items()
        }
        clock = Clock(min(days.values()))
        await _keys(directory, node_id, clock)
        node = await _open(directory, _settings(node_id), clock, Network({}))
        try:
            for partner in sorted(invites, key=lambda each: days[each]):
                clock.time = days[partner]
                await _introduce(node, invites[partner], states.get(partner, "active"))
        finally:
            await node.close()
        return directory


def _settings(node_id: str, messages_per_hour: int | None = None) -> Settings:
    shown = NODES[node_id]
    section = NodeSection(
        id=node_id,
        name=shown["name"],
        agency=shown["agency"],
        areas=tuple(shown["areas"]),
        functions=tuple(shown["functions"]),
        url="http://127.0.0.1:8443",
    )
    settings = Settings.first(section, port=8443)
    if messages_per_hour is None:
        return settings
    return msgspec.structs.replace(settings, limits=Limits(partner_messages_per_hour=messages_per_hour))


async def _open(directory: Path, settings: Settings, clock: Clock, network: Network) -> Node:
    # These keys are refused by every node that is not told otherwise.
    return await Node.open(
        directory, settings, clock=clock, call=network, gazetteer=areas.shipped(), test_keys=frozenset()
    )


async def _keys(directory: Path, node_id: str, clock: Clock) -> None:
    make_key_file(directory / "node.key")
    source = KeySource(key_file=directory / "node.key")
    keystore = await Keystore.create(directory / KEYSTORE, node_id, source, clock=clock, version="1")
    await keystore.add_keys(KeyRow("cursor", "hmac", "sha-256", bytes(32), b"", clock.now()))
    for each in NODES[node_id]["keys"]:
        if each["held"] and each["generation"] == "1":
            made = key(node_id, each["use"], alg=each["alg"])
            await keystore.add_keys(
                KeyRow(
                    kid=made.kid.hex(),
                    purpose=each["use"],
                    alg=made.alg,
                    seed=made.seed,
                    public=made.public,
                    not_before=at(each["not_before"]),
                    not_after=at(each["not_after"]),
                )
            )
    await keystore.close()


async def _introduce(node: Node, invite: Signed, state: str) -> None:
    """As administrators do it."""
    partner = await node.enrol.add(wire.encode_invite(invite), "a-first")
    words = " ".join(registry.fingerprint_of(partner.descriptor).words)
    for admin in {"discovered": (), "pending": ("a-first",)}.get(state, ("a-first", "b-second")):
        await node.enrol.approve(partner.node_id, admin, words)
    if state == "suspended":
        await node.enrol.suspend(partner.node_id, "a-first")
    if state == "revoked":
        await node.enrol.revoke(partner.node_id, "a-first")
    known = node.book.get(partner.node_id)
    assert known is not None
    assert known.state == state
