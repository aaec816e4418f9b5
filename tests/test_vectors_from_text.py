"""A second reader of the vectors, written from docs/protocol.md and nothing of ours: the text is enough to build on.

It checks descriptors, envelopes, receipts and hellos as far as bytes and keys go (sections 1 to 4, 6 and 7); what a node
knows of its partners, agreements and areas is not its business.
"""

import ast
import base64
import hashlib
import json
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

FOLDER = Path(__file__).parent / "vectors"
CAST = json.loads((FOLDER / "nodes.json").read_bytes())["nodes"]
SUITES = {1: ["ed25519"], 2: ["ed25519", "ml-dsa-65"]}


def of(kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((FOLDER / kind).glob("*.json"))]


class RefusedError(Exception):
    pass


def demand(held: bool) -> None:
    if not held:
        raise RefusedError


# ── section 1 ──


def pae(purpose: str, *parts: bytes) -> bytes:
    return b"BRIDGEv1" + b"".join(struct.pack(">I", len(each)) + each for each in (purpose.encode(), *parts))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def unpacked(data: bytes) -> Any:
    """Msgpack, as far as the protocol uses it: arrays, byte strings, text."""
    value, rest = _unpacked(data)
    demand(rest == b"")
    return value


def _unpacked(data: bytes) -> tuple[Any, bytes]:
    demand(bool(data))
    first = data[0]
    if 0x90 <= first <= 0x9F or first == 0xDC:
        count, rest = (
            (first & 15, data[1:]) if first < 0xDC else (struct.unpack(">H", data[1:3])[0], data[3:])
        )
        items = []
        for _ in range(count):
            item, rest = _unpacked(rest)
            items.append(item)
        return items, rest
    widths = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H"}
    if 0xA0 <= first <= 0xBF:
        start, length = 1, first & 31
    else:
        demand(first in widths)
        start = 1 + struct.calcsize(widths[first])
        length = struct.unpack(widths[first], data[1:start])[0]
    raw, rest = data[start : start + length], data[start + length :]
    demand(len(raw) == length)
    return (raw if 0xC4 <= first <= 0xC6 else raw.decode()), rest


# ── section 2 ──


def checked_key(node: str, key: dict[str, str]) -> Any:
    public = base64.b64decode(key["public"], validate=True)
    demand(sha256(pae("bridge/v1/kid", key["alg"].encode(), node.encode(), public))[:8].hex() == key["kid"])
    if key["alg"] == "ed25519":
        return Ed25519PublicKey.from_public_bytes(public)
    return MLDSA65PublicKey.from_public_bytes(public) if key["alg"] == "ml-dsa-65" else None


def in_force(key: dict[str, str], now: str) -> bool:
    return (
        datetime.fromisoformat(key["not_before"])
        <= datetime.fromisoformat(now)
        < datetime.fromisoformat(key["not_after"])
    )


def verified(
    data: bytes, signatures: list[dict[str, str]], node: str, keys: list[dict[str, str]], algs: list[str]
) -> None:
    demand(sorted(each["alg"] for each in signatures) == algs)
    for each in signatures:
        found = [key for key in keys if (key["kid"], key["alg"]) == (each["kid"], each["alg"])]
        demand(bool(found))
        try:
            checked_key(node, found[0]).verify(base64.b64decode(each["signature"], validate=True), data)
        except InvalidSignature:
            raise RefusedError from None


# ── section 3 ──


def read_descriptor(signed: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(signed["document"])
    keys = document["identity_keys"]
    data = pae("bridge/v1/descriptor", signed["document"].encode())
    verified(data, signed["signatures"][:2], document["node_id"], keys, SUITES[2])
    return document


def message_keys(node: str, now: str) -> list[dict[str, str]]:
    return [key for key in read_descriptor(CAST[node]["descriptor"])["message_keys"] if in_force(key, now)]


# ── section 4 ──


def sealing_key(node: str, kid: str) -> Any:
    (held,) = (key for key in CAST[node]["keys"] if (key["kid"], key["held"]) == (kid, True))
    expanded = hashlib.shake_256(bytes.fromhex(held["seed"])).digest(96)
    return hpke.MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
    )


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root(leaves[:half]) + root(leaves[half:]))


def read_envelope(envelope: dict[str, Any], now: str) -> tuple[list[list[Any]], bytes]:
    """The messages inside, and the digest of the envelope."""
    header_bytes, sealed = envelope["header"].encode(), base64.b64decode(envelope["sealed"], validate=True)
    header = json.loads(header_bytes)
    demand(len(sealed) == header["bucket"] * 1024 + 1136)
    signed = pae("bridge/v1/envelope", header_bytes, sha256(sealed))
    keys = message_keys(header["from"], now)
    verified(signed, envelope["signatures"], header["from"], keys, SUITES[header["suite"]])
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    try:
        key = sealing_key(header["to"], header["to_kid"])
        padded = suite.decrypt(sealed, key, info=pae("bridge/v1/hpke", header_bytes))
    except InvalidTag:
        raise RefusedError from None
    length = struct.unpack(">I", padded[:4])[0]
    demand(4 + length <= len(padded) and not any(padded[4 + length :]))
    messages = unpacked(padded[4 : 4 + length])
    demand(isinstance(messages, list) and 1 <= len(messages) <= 64)
    types = {"alert", "update", "withdraw", "question", "answer", "receipts", "notice"}
    for each in messages:
        demand(isinstance(each, list) and [*map(type, each)] == [bytes, str, bytes, bytes])
        demand((len(each[0]), each[1] in types, len(each[2])) == (16, True, 32))
    demand(len({each[0] for each in messages}) == len(messages))
    leaves = [
        pae("bridge/v1/content", i, kind.encode(), salt, payload) for i, kind, salt, payload in messages
    ]
    demand(root(leaves).hex() == header["commitment"])
    return messages, sha256(signed)


def fetched(vector: dict[str, Any]) -> bool:
    given: dict[str, Any] = vector.get("given", {})
    return bool({"fetch", "held"} & given.keys())


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


GOOD = [vector for vector in of("envelope") if vector["expect"]["ok"] and not fetched(vector)]
BAD = [
    vector
    for vector in of("envelope")
    if not vector["expect"]["ok"]
    and vector["expect"]["step"] in {5, 7, 8}
    and vector["expect"]["code"] in {"bad-signature", "malformed"}
]


@named(GOOD)
def test_an_envelope_opens_from_the_text_alone(vector: dict[str, Any]) -> None:
    entries = zip(vector["carrier"], vector["expect"]["answers"], strict=True)
    for envelope in [shown for shown, answer in entries if answer is not None]:
        messages, digest = read_envelope(envelope, vector["now"])
        shown = [[each["id"], each["type"], each["salt"], each["payload"]] for each in envelope["inside"]]
        assert [[i.hex(), kind, salt.hex(), payload.decode()] for i, kind, salt, payload in messages] == shown
        assert len(digest) == 32


@named(BAD)
def test_an_envelope_that_is_forged_or_wrongly_made_does_not(vector: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        read_envelope(vector["carrier"][0], vector["now"])


@named([vector for vector in of("receipts") if vector["expect"]["ok"]])
def test_receipts_verify_from_the_text_alone(vector: dict[str, Any]) -> None:
    data = pae("bridge/v1/receipts", vector["document"].encode())
    keys = message_keys(vector["issuer"], vector["now"])
    verified(data, vector["signatures"], vector["issuer"], keys, SUITES[vector["suite"]])
    document = json.loads(vector["document"])
    sent = {each["envelope"]: each for each in vector["given"]["sent"]}
    for statement in document["statements"]:
        envelope = sent[statement["envelope"]]
        assert (envelope["to"], envelope["digest"]) == (document["issuer"], statement["digest"])


@named([vector for vector in of("descriptor") if vector["expect"]["ok"]])
def test_descriptors_verify_from_the_text_alone(vector: dict[str, Any]) -> None:
    document = read_descriptor(vector)
    for use in ("identity_keys", "message_keys", "sealing_keys"):
        for key in document[use]:
            checked_key(document["node_id"], key)
    if len(vector["signatures"]) == 4:
        before = json.loads(CAST[document["node_id"]]["descriptor"]["document"])["identity_keys"]
        data = pae("bridge/v1/rotation", vector["document"].encode())
        verified(data, vector["signatures"][2:], document["node_id"], before, SUITES[2])


@named([vector for vector in of("hello") if vector["expect"]["ok"] and "brings" not in vector])
def test_hellos_verify_from_the_text_alone(vector: dict[str, Any]) -> None:
    sender = json.loads(vector["document"])["sender"]
    data = pae("bridge/v1/hello", vector["document"].encode())
    keys = message_keys(sender, vector["now"])
    verified(data, vector["signatures"], sender, keys, SUITES[len(vector["signatures"])])


def test_this_reader_uses_nothing_of_ours() -> None:
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [
        each for each in modules if each.split(".")[0] in {"bridge", "msgspec", "vector_nodes", "descriptors"}
    ]
