"""Every test vector through the project's own functions: real nodes, real keys, real databases, each rule broken once."""

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import vector_nodes as house
from descriptors import descriptor
from vector_nodes import CAST, FOLDER, NODES, House, Vector, at, key, load, raw, signatures, signed

from bridge import areas, registry, wire
from bridge.api.peers import _bare
from bridge.clock import millis
from bridge.crypto import envelope as seals
from bridge.crypto.keys import SealingKey, SigningKey
from bridge.crypto.signed import DESCRIPTOR, ENVELOPE, HELLO, RECEIPTS, sign, verify
from bridge.envelopes import Envelope, Header, Message, MessageType, Signature
from bridge.errors import CODES, BridgeError, Rejected
from bridge.nodes.app import Node, published_test_keys
from bridge.nodes.receive import decode_carried
from bridge.partners import State, discovered
from bridge.receipts import REFUSALS
from bridge.storage import inbox, outbox, sent

ROOT = Path(__file__).parents[1]
KINDS = ("descriptor", "envelope", "hello", "receipts")
VECTORS = {kind: load(kind) for kind in KINDS}
ENVELOPES = VECTORS["envelope"]
BARE_CODES = {"descriptor-wanted", "descriptor-expired"}  # reasons of a plain 503, which says nothing


def each(kind: str, vectors: list[Vector] | None = None) -> pytest.MarkDecorator:
    chosen = VECTORS[kind] if vectors is None else vectors
    return pytest.mark.parametrize("vector", chosen, ids=[vector["name"] for vector in chosen])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    made = House(tmp_path_factory.mktemp("nodes"))
    yield made
    await made.close()


in_one_loop = pytest.mark.asyncio(
    loop_scope="module"
)  # nodes are shared, and belong to the loop that opened them


# ── the vectors as such ──


def test_there_are_enough_of_each_kind_and_two_of_three_must_fail() -> None:
    counts = {kind: [vector["expect"]["ok"] for vector in vectors] for kind, vectors in VECTORS.items()}
    assert all(len(expected) >= 20 for expected in counts.values())
    assert all(expected.count(False) * 3 >= len(expected) * 2 for expected in counts.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_names_its_code_its_step_and_the_valid_one_that_it_differs_from(kind: str) -> None:
    known = CODES.keys() | REFUSALS.keys() | BARE_CODES
    by_name = {vector["name"]: vector for vector in VECTORS[kind]}
    assert len(by_name) == len(VECTORS[kind])
    for name, vector in by_name.items():
        assert (FOLDER / kind / f"{name}.json").exists()
        assert re.fullmatch(r"[A-Z`].{8,160}\.", vector["says"])
        if not vector["expect"]["ok"]:
            assert vector["expect"]["code"] in known
            assert by_name[vector["base"]]["expect"]["ok"]


def test_every_check_of_the_text_that_bytes_can_break_is_broken_by_a_vector() -> None:
    def steps(kind: str) -> set[int]:
        return {vector["expect"]["step"] for vector in VECTORS[kind] if not vector["expect"]["ok"]}

    assert steps("envelope") == set(
        range(2, 11)
    )  # 1 is the size of the whole, 11 and 12 are the recipient's own
    assert steps("descriptor") == set(range(1, 10))
    assert steps("receipts") == {1, 2, 3, 4}
    assert steps("hello") == set(range(1, 7))


def test_the_script_makes_the_same_bytes_again(tmp_path: Path) -> None:
    """If this fails, run scripts/make_vectors, look at what changed, and commit it or mend it."""
    path = os.pathsep.join(str(ROOT / each) for each in ("scripts", "tests", "."))
    made = subprocess.run(  # noqa: S603  # our own script
        [sys.executable, "-m", "vectors", "--into", str(tmp_path)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    written = {file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file()}
    kept = {file.relative_to(ROOT) for kind in KINDS for file in (FOLDER / kind).iterdir()}
    assert written == kept | {Path("tests/vectors/nodes.json"), Path("bridge/data/test_keys.txt")}
    assert [
        each for each in sorted(written) if (tmp_path / each).read_bytes() != (ROOT / each).read_bytes()
    ] == []


# ── test keys ──


def test_every_key_of_the_vectors_and_of_the_tests_is_published_as_one() -> None:
    refused = published_test_keys()
    for node, shown in NODES.items():
        for each in shown["keys"]:
            assert key(node, each["use"], each["generation"], each["alg"]).public in refused
    for made in (
        descriptor(),
        descriptor("croydon-mash"),
        descriptor("essex-mash"),
        descriptor("kent-police"),
    ):
        assert all(public in refused for public in registry.published_keys(made))


def test_other_keys_are_not() -> None:
    refused = published_test_keys()
    assert len(refused) > 200
    assert SigningKey.generate("ed25519", "kent-mash", os.urandom).public not in refused
    assert "kent-mash" not in refused
    with pytest.raises(ValueError, match="hex"):
        registry.DigestedKeys("# a comment\nno digest\n")


@in_one_loop
async def test_a_node_that_is_not_told_otherwise_refuses_to_register_them(
    nodes: House, tmp_path: Path
) -> None:
    vector = next(vector for vector in ENVELOPES if vector["expect"]["ok"])
    async with nodes.open(vector) as (node, network):
        directory, settings, clock = node.directory, node.settings, node.clock
        await node.close()
        again = await Node.open(directory, settings, clock=clock, call=network, gazetteer=areas.shipped())
        try:
            with pytest.raises(Rejected) as refused:
                await again.enrol.add(
                    wire.encode_invite(signed(NODES[house.STRANGER]["descriptor"])), "a-first"
                )
        finally:
            await again.close()
    assert refused.value.code == "known-key"


# ── envelopes ──


class Outcome:
    """What came of a POST: a bare status, or signed statements for each envelope."""

    def __init__(self, body: bytes | None, error: BridgeError | None) -> None:
        self.body = body
        self.error = error
        self.bare = None if error is None else _bare(error).status


async def posted(node: Node, body: bytes) -> Outcome:
    try:
        return Outcome(await node.receive.envelopes(body), None)
    except BridgeError as error:
        return Outcome(None, error)


def carrier(vector: Vector, envelopes: list[Vector] | None = None) -> bytes:
    if envelopes is None and "carrier_base64" in vector:
        return base64.b64decode(vector["carrier_base64"], validate=True)
    shown = vector["carrier"] if envelopes is None else envelopes
    return wire.encode_carrier(
        [Envelope(raw(each, "header"), base64.b64decode(each["sealed"]), signatures(each)) for each in shown]
    )


def statements(node: Node, vector: Vector, body: bytes) -> list[list[Vector] | None]:
    """What an answer says, once its signatures have verified with the node's own published keys."""
    own = node.book.get(node.book.own_id)
    assert own is not None
    said: list[list[Vector] | None] = []
    for shown, answer in zip(vector["carrier"], wire.decode_answer(body), strict=True):
        if answer is None:
            said.append(None)
            continue
        header = wire.decode_header(raw(shown, "header"))
        suite = header.suite if header.suite in seals.SUITES else 1
        keys = registry.public_keys(own.descriptor.message_keys)
        verify(RECEIPTS, [answer.document], answer.signatures, keys=keys, algs=seals.SUITES[suite])
        document = wire.decode_receipts(answer.document)
        assert (document.issuer, document.to) == (vector["node"], header.sender)
        digest = seals.envelope_digest(raw(shown, "header"), base64.b64decode(shown["sealed"]))
        assert {(each.envelope, each.digest) for each in document.statements} == {(header.id, digest.hex())}
        said.append(
            [
                {
                    "message": each.message,
                    "status": str(each.status),
                    **({"code": each.code} if each.code else {}),
                }
                for each in document.statements
            ]
        )
    return said


STEP_OF_BARE = {
    "malformed": 2,
    "unknown-sender": 4,
    "descriptor-wanted": 4,
    "descriptor-expired": 4,
    "bad-signature": 5,
    "quota": 10,
}
STEP_OF_REFUSED_ENVELOPE = {
    "not-for-me": 3,
    "unknown-suite": 3,
    "expired": 3,
    "no-agreement": 5,
    "id-conflict": 6,
    "key-retired": 7,
}


def step_of(vector: Vector, outcome: Outcome, said: list[list[Vector] | None], before: set[str]) -> int:
    """The check that stopped it, as far as it shows from outside; the project's functions say the rest."""
    if outcome.error is not None:
        return STEP_OF_BARE[outcome.error.code]
    (refusal,) = (each for each in (said[0] or []) if each["status"] == "refused")
    if refusal["message"] is not None:
        if refusal["message"] in before or refusal["code"] == "id-conflict":
            return 6
        return 9 if refusal["code"] == "malformed" else 10
    if refusal["code"] != "malformed":
        return STEP_OF_REFUSED_ENVELOPE[refusal["code"]]
    shown = vector["carrier"][0]
    header, sealed = raw(shown, "header"), base64.b64decode(shown["sealed"])
    if len(sealed) != wire.sealed_size(wire.decode_header(header).bucket):
        return 3
    sealing = key(vector["node"], "sealing")
    assert isinstance(sealing, SealingKey)
    try:
        seals.open_sealed(header, sealed, sealing)
    except Rejected:
        return 7
    return 8


def alarms(node: Node) -> int:
    lines = re.findall(r"^bridge_security_events_total\{.*\} (\d+)$", node.metrics.render(), re.MULTILINE)
    return sum(map(int, lines))


def silent(expect: Vector) -> bool:
    """No security event: nothing was authenticated that could be blamed, or the partner is only late, or it came before."""
    if expect.get("silent"):
        return True
    late = expect["ok"] or expect["code"] in {"key-retired", "quota", *BARE_CODES}
    unformed = not expect["ok"] and expect["step"] == 2
    return late or unformed or "same_as_before" in expect


KEPT = {"alert", "update"}
"""Types of messages that are stored as alerts."""


async def stored(node: Node) -> int:
    return sum((await inbox.counts(node.database)).values())


@in_one_loop
@each("envelope")
async def test_an_envelope_is_taken_or_refused_at_its_step_with_its_code(
    vector: Vector, nodes: House
) -> None:
    expect = vector["expect"]
    async with nodes.open(vector) as (node, _):
        earlier = [await posted(node, carrier(vector, envelopes)) for envelopes in vector.get("before", [])]
        known = {
            statement["message"]
            for envelopes, outcome in zip(vector.get("before", []), earlier, strict=True)
            if outcome.body is not None
            for said in statements(node, {**vector, "carrier": envelopes}, outcome.body)
            for statement in said or []
        }
        events, held = alarms(node), await stored(node)
        outcome = await posted(node, carrier(vector))

        assert outcome.bare == expect.get("bare")
        said = [] if outcome.body is None else statements(node, vector, outcome.body)
        assert said == expect.get("answers", [])
        if not expect["ok"]:
            code = (
                outcome.error.code if outcome.error else next(s["code"] for s in said[0] or [] if "code" in s)
            )
            assert (code, step_of(vector, outcome, said, known)) == (expect["code"], expect["step"])
        if "same_as_before" in expect:
            assert outcome.body == earlier[0].body
        blamed = not silent(expect) or None in said
        assert alarms(node) - events == int(blamed)
        kept = {each["id"] for shown in vector.get("carrier", []) for each in shown.get("inside", []) if each["type"] in KEPT}
        taken = ({s["message"] for each in said for s in each or [] if s["status"] == "received"} & kept) - known
        assert await stored(node) == held + len(taken)
        if "inbox" in expect:
            assert await stored(node) == expect["inbox"]

        # Once more: what was answered is answered with the same bytes, what was not is still not.
        again = await posted(node, carrier(vector))
        assert (again.bare, again.error and again.error.code) == (
            outcome.bare,
            outcome.error and outcome.error.code,
        )
        if not any(s["message"] is None and s["code"] == "id-conflict" for each in said for s in each or []):
            assert again.body == outcome.body  # a conflict has no answer of its own that could be kept
        assert await stored(node) == held + len(taken)


@each("envelope", [vector for vector in ENVELOPES if vector["expect"]["ok"]])
@in_one_loop
async def test_what_was_taken_is_kept_byte_for_byte(vector: Vector, nodes: House) -> None:
    async with nodes.open(vector) as (node, _):
        await posted(node, carrier(vector))
        refused = vector["expect"]["answers"].count(None)
        for shown in vector["carrier"][refused:]:
            for message in shown["inside"]:
                if message["type"] not in KEPT:
                    continue
                payload = raw(message, "payload")
                carried, _ = decode_carried(payload)
                kept = (await node.acknowledge.show(carried.id)).alert
                assert kept is not None
                assert bytes(kept) == bytes(carried.body)
                assert bytes(kept) in payload


@in_one_loop
async def test_a_carrier_larger_than_four_mebibytes_is_refused_at_the_first_step(nodes: House) -> None:
    vector = next(vector for vector in ENVELOPES if vector["name"] == "one-alert")
    async with nodes.open(vector) as (node, _):
        outcome = await posted(node, carrier(vector) + bytes(wire.CARRIER_LIMIT))
        assert (outcome.bare, outcome.error and outcome.error.code) == (400, "malformed")


# ── receipts ──


def statuses_of(vector: Vector) -> dict[str, str]:
    return {
        message["id"]: message["status"] for each in vector["given"]["sent"] for message in each["messages"]
    }


async def put_in_outbox(node: Node, vector: Vector) -> None:
    """The envelopes that were sent, as delivery leaves them behind."""
    at_ms = millis(at(vector["now"]))
    async with node.database.transaction() as tx:
        for each in vector["given"]["sent"]:
            messages = [bytes.fromhex(message["id"]) for message in each["messages"]]
            await sent.add_messages(
                tx,
                [
                    sent.Message(
                        id=bytes.fromhex(message["id"]), type="alert", alert_id=None, partner=each["to"], position=0,
                        leg="{}", payload=b"", urgent=0, created_at=at_ms, deliver_by=at_ms + 86_400_000,
                        envelope_id=None, status=message["status"], status_at=at_ms,
                        settled_at=None if message["status"] == "queued" else at_ms,
                    )
                    for message in each["messages"]
                ],
            )  # fmt: skip
            header = wire.encode_json(
                Header(
                    v=1, suite=vector["suite"], id=each["envelope"], sender=vector["node"], recipient=each["to"],
                    to_kid="0" * 16, from_seq=4, created="2026-11-22T10:15Z", deliver_by="2026-11-23T10:15Z",
                    bucket=4, commitment="0" * 64,
                )
            )  # fmt: skip
            row = outbox.Envelope(
                id=bytes.fromhex(each["envelope"]), partner=each["to"], header=header,
                sealed=bytes(wire.sealed_size(4)), sealed_digest=bytes(32),
                signatures=msgspec.msgpack.encode([(bytes(8), "ed25519", bytes(64))]),
                digest=bytes.fromhex(each["digest"]), leaves=bytes(32), urgent=0, created_at=at_ms,
                deliver_by=at_ms + 86_400_000, attempts=0, next_attempt=0,
            )  # fmt: skip
            await outbox.add_envelopes(tx, [(row, messages)])


async def statuses(node: Node, vector: Vector) -> dict[str, str]:
    rows = await sent.messages(node.database, [bytes.fromhex(each) for each in statuses_of(vector)])
    return {row.id.hex(): row.status for row in rows.values()}


def sealed_receipts(vector: Vector) -> bytes:
    """The document as it travels later: a message of type `receipts` in an envelope of its issuer's."""
    message = Message(b"r" * 16, MessageType.RECEIPTS, b"s" * 32, wire.encode_signed(signed(vector)))
    inner = wire.encode_inner([message])
    bucket = seals.bucket_for(len(inner))
    sealing = key(vector["node"], "sealing")
    leaf = seals.leaf(message.id, message.type, message.salt, message.payload)
    header = wire.encode_json(
        Header(
            v=1, suite=vector["suite"], id="5e" * 16, sender=vector["issuer"], recipient=vector["node"],
            to_kid=sealing.kid.hex(), from_seq=4, created="2026-11-22T10:15Z", deliver_by="2026-11-23T10:15Z",
            bucket=bucket, commitment=seals.commitment([leaf]).hex(),
        )
    )  # fmt: skip
    sealed = seals.seal(header, seals.pad(inner, bucket), sealing.public)
    signers = [key(vector["issuer"], "message", alg=alg) for alg in seals.SUITES[vector["suite"]]]
    made = sign(
        ENVELOPE,
        seals.signed_parts(header, sealed),
        [each for each in signers if isinstance(each, SigningKey)],
    )
    return wire.encode_carrier([Envelope(header, sealed, tuple(Signature(*each) for each in made))])


def step_of_receipts(vector: Vector, code: str) -> int:
    if code != "forged-receipt":
        return {"bad-signature": 1, "malformed": 2}[code]
    document = wire.decode_receipts(raw(vector, "document"))
    return 3 if (document.issuer, document.to) != (vector["issuer"], vector["node"]) else 4


@each("receipts")
@in_one_loop
async def test_receipts_that_come_sealed_move_exactly_what_they_say_or_nothing(
    vector: Vector, nodes: House
) -> None:
    expect = vector["expect"]
    async with nodes.open(vector) as (node, _):
        await put_in_outbox(node, vector)
        body = await node.receive.envelopes(sealed_receipts(vector))
        (answer,) = wire.decode_answer(body)
        assert answer is not None
        (said,) = wire.decode_receipts(answer.document).statements
        if expect["ok"]:
            assert (said.status, said.code) == ("received", None)
        else:
            assert (said.status, said.code) == ("refused", expect["code"])
            assert step_of_receipts(vector, expect["code"]) == expect["step"]
        assert await statuses(node, vector) == expect["statuses"]
        assert alarms(node) == (expect.get("contradictions", 0) if expect["ok"] else 1)
        for envelope in expect.get("reseal", []):
            rows = await node.database.fetch(
                "select id from messages where envelope_id = ?", (bytes.fromhex(envelope),)
            )
            assert rows == []


AS_ANSWER = [
    vector
    for vector in VECTORS["receipts"]
    if set(statuses_of(vector).values()) == {"queued"}
    and {each["to"] for each in vector["given"]["sent"]} == {vector["issuer"]}
    and "reseal" not in vector["expect"]
    and (
        vector["expect"].get("step") != 2 or vector["name"] in {"extra-field", "naive-time", "no-statements"}
    )
]


@each("receipts", AS_ANSWER)
@in_one_loop
async def test_receipts_that_come_as_an_answer_settle_the_delivery_or_it_goes_on(
    vector: Vector, nodes: House
) -> None:
    expect = vector["expect"]
    async with nodes.open(vector) as (node, network):
        await put_in_outbox(node, vector)
        network.receipts = signed(vector)
        await node.deliver.start()
        settled = await _after_one_post(node, network)
        assert await statuses(node, vector) == expect["statuses"]
        assert settled == (expect["ok"] and "queued" not in expect["statuses"].values())


async def _after_one_post(node: Node, network: house.Network) -> bool:
    """Whether anything is still to be sent once the answer to the first POST has been worked through."""
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.005)
            flying = any(lane.flights for lane in node.deliver._lanes.values())
            if network.posts and not flying:
                break
    await node.deliver.stop()
    return await outbox.waiting(node.database, "croydon-mash", 1) == []


# ── descriptors ──


def step_of_descriptor(vector: Vector, code: str) -> int:
    """The check that stopped it; where two give the same code, the project's functions say which."""
    made = signed(vector)
    if code == "malformed":
        try:
            registry._check_keys(wire.decode_descriptor(made.document))
        except Rejected:
            try:
                wire.decode_descriptor(made.document)
            except Rejected:
                return 1
            return 3
        return 1
    if code == "bad-signature":
        own = registry.public_keys(wire.decode_descriptor(made.document).identity_keys)
        try:
            verify(DESCRIPTOR, [made.document], made.signatures[:2], keys=own, algs=registry.IDENTITY_ALGS)
        except Rejected:
            return 5
        return 7
    return {
        "wrong-node": 2, "wrong-state": 2, "weak-key": 3, "known-key": 4, "stale-descriptor": 6,
        "forked-descriptor": 6, "exercise": 8, "expired-descriptor": 9,
    }[code]  # fmt: skip


@each("descriptor")
def test_a_descriptor_is_admitted_or_refused_at_its_step_with_its_code(vector: Vector) -> None:
    expect, given, now = vector["expect"], vector.get("given", {}), at(vector["now"])
    held = None
    if "held" in given:
        known = signed(
            NODES[given["held"]]["descriptor"] if isinstance(given["held"], str) else given["held"]
        )
        described = wire.decode_descriptor(known.document)
        kept = tuple((s.kid, s.alg, s.signature) for s in known.signatures)
        held = msgspec.structs.replace(
            discovered(described, known.document, kept, now), state=State(given.get("state", "active"))
        )
    published = {
        node: registry.published_keys(wire.decode_descriptor(raw(shown["descriptor"], "document")))
        for node, shown in NODES.items()
    }

    def admitted() -> Any:
        carried = wire.decode_signed(wire.encode_signed(signed(vector)))  # as it travels
        return registry.admit(
            carried,
            decode=wire.decode_descriptor,
            held=held,
            others=published["kent-mash"],
            own_id=vector["node"],
            own_keys=published[vector["node"]],
            now=now,
            test_keys=published_test_keys() if given.get("test_keys") else frozenset(),
        )

    if expect["ok"]:
        assert admitted() == wire.decode_descriptor(raw(vector, "document"))
        return
    with pytest.raises(Rejected) as refused:
        admitted()
    assert refused.value.code == expect["code"]
    assert step_of_descriptor(vector, refused.value.code) == expect["step"]


# ── hellos ──


def step_of_hello(vector: Vector, code: str) -> int:
    if code in {"unknown-sender", "not-for-me", "expired"}:
        return {"unknown-sender": 2, "not-for-me": 3, "expired": 4}[code]
    try:
        hello = wire.decode_hello(raw(vector, "document"))
    except Rejected:
        return 1
    if "brings" not in vector and hello.descriptor is None:
        return 6
    return 5


@each("hello")
@in_one_loop
async def test_a_hello_is_answered_or_refused_at_its_step_with_its_code(vector: Vector, nodes: House) -> None:
    expect = vector["expect"]
    async with nodes.open(vector) as (node, _):
        if not expect["ok"]:
            with pytest.raises(Rejected) as refused:
                await node.enrol.greet(wire.encode_signed(signed(vector)))
            assert (refused.value.code, _bare(refused.value).status) == (expect["code"], 400)
            assert step_of_hello(vector, expect["code"]) == expect["step"]
            assert node.book.last_contact("maidstone-jcp") is None
            return
        answer = wire.decode_signed(await node.enrol.greet(wire.encode_signed(signed(vector))))
        own, partner = node.book.get(vector["node"]), node.book.get("maidstone-jcp")
        assert own is not None
        assert partner is not None
        keys = registry.public_keys(own.descriptor.message_keys)
        verify(HELLO, [answer.document], answer.signatures, keys=keys, algs=seals.SUITES[1])
        asked, said = wire.decode_hello(raw(vector, "document")), wire.decode_hello(answer.document)
        assert (said.sender, said.recipient, said.nonce) == (asked.recipient, asked.sender, asked.nonce)
        assert partner.descriptor.seq == expect.get("seq", 4)
        assert (node.book.last_contact("maidstone-jcp") is not None) == (partner.state is State.ACTIVE)


def test_the_time_of_the_vectors_is_that_of_the_cast() -> None:
    assert {vector["now"] for vectors in VECTORS.values() for vector in vectors} >= {CAST["now"]}
