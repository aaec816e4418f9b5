"""Descriptors: which may enter the registry, and which may follow the one held (PROTOCOL section 3)."""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

from bridge.crypto.keys import ED25519, MLDSA65, XWING, SigningKey, kid
from bridge.crypto.signed import DESCRIPTOR, HELLO, ROTATION
from vectors.book import Book
from vectors.cast import (
    CAST,
    DAY,
    DROP,
    ISSUED,
    NOW,
    RECIPIENT,
    SENDER,
    THIRD,
    Document,
    compact,
    moment,
    shown_signatures,
    signed,
    signed_descriptor,
)
from vectors.kept import b64

NEW: Final = "new-partner"
NEWER: Final = "newer"
ROTATED: Final = "identity-rotated"

NEUTRAL: Final = b"\x01" + bytes(31)
"""The neutral point: anybody can make a signature that verifies for it in careless libraries."""


def descriptors(book: Book) -> None:
    """All vectors of descriptors. The node that judges is Croydon; it may hold one of the node in question."""
    _taken(book)
    _forms(book)
    _whose(book)
    _keys(book)
    _signatures(book)
    _numbers(book)
    _times(book)


def _fields(made: Document, **given: Any) -> Document:
    return {"node": RECIPIENT, **({"given": given} if given else {}), **made}


def _taken(book: Book) -> None:
    kept = book.kept
    first = signed_descriptor(kept, SENDER)
    book.ok(NEW, "A node that is not known yet.", **_fields(first))
    book.ok(
        NEWER,
        "The next number of a node that is known.",
        base=NEW,
        **_fields(signed_descriptor(kept, SENDER, seq=5), held=SENDER),
    )
    book.ok("same-again", "The very bytes that are held.", base=NEWER, **_fields(first, held=SENDER))
    book.ok(
        "same-again-expired",
        "The very bytes that are held, after they have expired: nothing changes.",
        base=NEWER,
        **_fields(first, held=SENDER),
        now=moment(NOW + 100 * DAY),
    )
    book.ok(
        "numbers-left-out",
        "A number far higher: numbers may be left out.",
        base=NEWER,
        **_fields(signed_descriptor(kept, SENDER, seq=400), held=SENDER),
    )
    book.ok(
        ROTATED,
        "Another identity, signed by the new one and by the one before it.",
        base=NEWER,
        **_fields(signed_descriptor(kept, SENDER, seq=5, identity="2", was="1"), held=SENDER),
    )
    book.ok(
        "rotation-shown-again",
        "After a change of identity the signatures of the one before may stand there for a while.",
        base=ROTATED,
        **_fields(
            signed_descriptor(kept, SENDER, seq=6, identity="2", was="1"),
            held=signed_descriptor(kept, SENDER, seq=5, identity="2", was="1"),
        ),
    )
    book.ok(
        "endpoint-http-on-loopback",
        "Plain http is allowed on the same machine, for trials.",
        base=NEW,
        **_fields(signed_descriptor(kept, SENDER, endpoints=["http://127.0.0.1:8443"])),
    )
    book.ok(
        "issued-nine-minutes-ahead",
        "Issued nine minutes from now: clocks may differ by ten.",
        base=NEW,
        **_fields(signed_descriptor(kept, SENDER, issued=moment(NOW + DAY / 160))),
    )


def _forms(book: Book) -> None:
    """Step 1: well formed. All of them are properly signed."""

    def broken(name: str, says: str, /, **changes: Any) -> None:
        made = signed_descriptor(book.kept, SENDER, **changes)
        book.fails(name, says, 1, "malformed", base=NEW, **_fields(made))

    def text(name: str, says: str, change: Callable[[bytes], bytes]) -> None:
        raw = change(compact(CAST[SENDER].descriptor()))
        book.fails(
            name,
            says,
            1,
            "malformed",
            base=NEW,
            **_fields(signed_descriptor(book.kept, SENDER, document=raw)),
        )

    sender = CAST[SENDER].descriptor()
    broken("extra-field", "A field that is not in the text.", trust_me=True)
    broken("without-contact", "Nobody to ring.", contact=DROP)
    broken("without-sealing-keys", "No key to seal with.", sealing_keys=[])
    text("field-twice", "`seq` stands twice.", lambda raw: raw.replace(b'"seq":4', b'"seq":4,"seq":5'))
    broken("areas-twice", "An area is listed twice.", areas=["E07000110", "E07000110"])
    broken("areas-none", "The list of areas is empty.", areas=[])
    broken("area-other-form", "An area that is no GSS code.", areas=["Maidstone"])
    broken("key-listed-twice", "A key is listed both to sign messages and as identity.", message_keys=[sender["identity_keys"][0]])  # fmt: skip
    broken(
        "post-quantum-identity-missing",
        "The identity is Ed25519 alone.",
        identity_keys=sender["identity_keys"][:1],
    )
    broken("identity-of-one-algorithm", "Both identity keys are Ed25519.", identity_keys=[sender["identity_keys"][0], sender["message_keys"][0]], message_keys=sender["message_keys"][1:])  # fmt: skip
    broken("lives-91-days", "It expires 91 days after it was issued.", expires=moment(ISSUED + 91 * DAY))
    broken("expires-before-issued", "It expires before it was issued.", expires=moment(ISSUED - DAY))
    broken("endpoint-http", "An endpoint is plain http.", endpoints=["http://maidstone-jcp.example"])
    broken(
        "endpoint-with-user",
        "An endpoint has a user name.",
        endpoints=["https://bridge@maidstone-jcp.example"],
    )
    broken(
        "endpoint-with-query", "An endpoint has a query.", endpoints=["https://maidstone-jcp.example/?to=all"]
    )
    broken("naive-time", "`issued` has no zone.", issued="2026-11-01T09:00:00")
    broken("other-zone", "`issued` is in another zone than UTC.", issued="2026-11-01T10:00:00+01:00")
    broken("name-bidi", "The name holds U+202E.", name="Maid\u202enots")
    broken("node-id-upper-case", "The name of the node is written in upper case.", node_id="Maidstone-JCP")
    broken("seq-zero", "Numbers begin at 1.", seq=0)
    first, *rest = sender["message_keys"]
    broken("key-base64-not-canonical", "A key's base64 has other unused bits.", message_keys=[{**first, "public": _other_bits(first["public"])}, *rest])  # fmt: skip
    broken("key-ends-before-it-begins", "A key ends before it begins.", message_keys=[{**first, "not_after": moment(ISSUED - DAY)}, *rest])  # fmt: skip
    made = signed_descriptor(book.kept, SENDER)
    book.fails(
        "signatures-none",
        "There is no signature at all.",
        1,
        "malformed",
        base=NEW,
        **_fields({**made, "signatures": []}),
    )


def _other_bits(text: str) -> str:
    """The same bytes in base64 with the unused bits of the last character set."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = text.rstrip("=")
    made = body[:-1] + letters[letters.index(body[-1]) + 1] + text[len(body) :]
    if base64.b64decode(made) != base64.b64decode(text):
        raise ValueError("these are other bytes")
    return made


def _whose(book: Book) -> None:
    """Step 2: whose it is."""
    book.fails(
        "own-name",
        "A descriptor under the judging node's own name.",
        2,
        "wrong-node",
        base=NEW,
        **_fields(signed_descriptor(book.kept, SENDER, node_id=RECIPIENT)),
    )
    book.fails(
        "of-another-node",
        "Asked for Maidstone's, there came Kent's.",
        2,
        "wrong-node",
        base=NEWER,
        **_fields(signed_descriptor(book.kept, THIRD, seq=5), held=SENDER),
    )
    book.fails(
        "of-a-revoked-node",
        "The node was revoked: its name never comes back.",
        2,
        "wrong-state",
        base=NEWER,
        **_fields(signed_descriptor(book.kept, SENDER, seq=5), held=SENDER, state="revoked"),
    )


def _published(alg: str, public: bytes, node: str = SENDER) -> Document:
    """Any bytes as a published key, under their true hint."""
    return {
        "kid": kid(alg, node, public).hex(),
        "alg": alg,
        "public": b64(public),
        "not_before": moment(ISSUED),
        "not_after": moment(ISSUED + 30 * DAY),
    }


def _keys(book: Book) -> None:
    """Steps 3 and 4: keys that may not be used."""
    kept, sender = book.kept, CAST[SENDER]
    plain = sender.descriptor()
    first, *rest = plain["message_keys"]
    sealing = sender.sealing().public

    def refuse(name: str, says: str, code: str, step: int = 3, /, **changes: Any) -> None:
        made = signed_descriptor(kept, SENDER, **changes)
        book.fails(name, says, step, code, base=NEW, **_fields(made))

    weak = compact(sender.descriptor(identity_keys=[_published(ED25519, NEUTRAL), plain["identity_keys"][1]]))
    forged = (kid(ED25519, SENDER, NEUTRAL), ED25519, NEUTRAL + bytes(32))
    post_quantum = kept.sign(DESCRIPTOR, [weak], sender.signing("identity")[1:])
    book.fails(
        "identity-key-of-small-order",
        "The Ed25519 identity key is the neutral point, and the signature one that anybody can make.",
        3,
        "weak-key",
        base=NEW,
        **_fields(signed(weak, [forged, *post_quantum])),
    )
    for name, says, message_keys in (
        ("message-key-of-small-order", "A message key is a point of order eight.", [_published(ED25519, bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"))]),
        ("message-key-not-canonical", "A message key encodes a number beyond the field.", [_published(ED25519, b"\xef" + b"\xff" * 30 + b"\x7f")]),
        ("message-key-no-point", "A message key is no point of the curve.", [_published(ED25519, b"\x02" + bytes(31))]),
        ("message-key-short", "A message key has 31 bytes.", [_published(ED25519, b"k" * 31)]),
        ("message-key-unknown-algorithm", "A message key of an algorithm that is not in the table.", [first, _published("rsa-2048", b"k" * 256)]),
        ("message-key-seals", "A sealing key is listed to sign messages.", [first, _published(XWING, CAST[SENDER].sealing("destroyed").public)]),
        ("message-keys-post-quantum-alone", "There is no Ed25519 key to sign messages.", rest[:1]),
        ("message-key-degenerate", "An ML-DSA-65 key for which anybody can sign.", [first, _published(MLDSA65, b"k" * 32 + bytes(1920))]),
    ):  # fmt: skip
        refuse(name, says, "weak-key", message_keys=message_keys)
    for name, says, key in (
        ("sealing-key-low-order", "The X25519 part of the sealing key is of low order: anybody can compute the secret.", _published(XWING, sealing[:1184] + bytes(32))),
        ("sealing-key-zeros", "The sealing key is all zeros.", _published(XWING, bytes(1216))),
        ("sealing-key-outside-ring", "The ML-KEM part of the sealing key is outside its ring.", _published(XWING, b"\xff" * 1152 + sealing[1152:])),
        ("sealing-key-classical", "The sealing key is Ed25519.", _published(ED25519, sender.signing("message", "unlisted")[0].public)),
    ):  # fmt: skip
        refuse(name, says, "weak-key", sealing_keys=[key])
    refuse(
        "key-hint-of-another",
        "The hint of a message key is that of another key.",
        "malformed",
        message_keys=[{**first, "kid": rest[0]["kid"]}, *rest],
    )
    refuse(
        "key-hint-for-another-node",
        "The hint of a message key is made for another node's name.",
        "malformed",
        message_keys=[
            {**first, "kid": kid(ED25519, THIRD, sender.signing("message")[0].public).hex()},
            *rest,
        ],
    )
    taken = CAST[THIRD].signing("message")[0].public
    for name, says, copied in (
        ("key-of-another-node", "Maidstone lists Kent's message key as its own.", taken),
        ("key-of-ours", "Maidstone lists Croydon's message key as its own.", CAST[RECIPIENT].signing("message")[0].public),
    ):  # fmt: skip
        refuse(name, says, "known-key", 4, message_keys=[first, _published(ED25519, copied)])
    refuse(
        "sealing-key-of-another-node",
        "Maidstone lists Kent's sealing key as its own.",
        "known-key",
        4,
        sealing_keys=[_published(XWING, CAST[THIRD].sealing().public)],
    )
    book.fails(
        "test-key",
        "All keys are those of these vectors: a node that is not a test refuses them.",
        4,
        "known-key",
        base=NEW,
        **_fields(signed_descriptor(kept, SENDER), test_keys=True),
    )


def _signatures(book: Book) -> None:
    """Steps 5 and 7: signed by its own identity, and by the one before it."""
    kept, sender = book.kept, CAST[SENDER]
    one = signed_descriptor(kept, SENDER)
    classical, post_quantum = one["signatures"]

    def bad(name: str, says: str, made: Document, **given: Any) -> None:
        base = NEWER if given else NEW
        book.fails(name, says, 5, "bad-signature", base=base, **_fields(made, **given))

    def by(*keys: SigningKey, purpose: str = DESCRIPTOR) -> Document:
        raw = compact(sender.descriptor())
        return signed(raw, kept.sign(purpose, [raw], keys))

    bad("altered", "The name was altered after it was signed.", {**one, "document": one["document"].replace("Maidstone Job", "Maidstone job")})  # fmt: skip
    bad("altered-fork", "Forged bytes under the number held: not signed, so no fork in its victim's name.", {**one, "document": one["document"].replace("Maidstone Job", "Maidstone job")}, held=SENDER)  # fmt: skip
    bad("signed-classical-alone", "Signed with Ed25519 alone.", {**one, "signatures": [classical]})
    bad("signed-post-quantum-alone", "Signed with ML-DSA-65 alone.", {**one, "signatures": [post_quantum]})
    bad(
        "signed-classical-twice",
        "The Ed25519 signature stands twice.",
        {**one, "signatures": [classical, classical]},
    )
    bad("signed-by-message-keys", "Signed with the node's message keys.", by(*sender.signing("message")))
    bad("signed-by-another", "Signed with another node's identity.", by(*CAST[THIRD].signing("identity")))
    bad("signed-for-another-purpose", "Signed by its identity, but as a hello.", by(*sender.signing("identity"), purpose=HELLO))  # fmt: skip
    bad("signed-by-mixed-identities", "One signature is by another generation of the identity.", by(sender.signing("identity")[0], sender.signing("identity", "2")[1]))  # fmt: skip

    def rotation(name: str, says: str, extra: Sequence[SigningKey], purpose: str = ROTATION) -> None:
        raw = compact(sender.descriptor(seq=5, identity="2"))
        made = kept.sign(DESCRIPTOR, [raw], sender.signing("identity", "2"))
        made += kept.sign(purpose, [raw], extra)
        book.fails(name, says, 7, "bad-signature", base=ROTATED, **_fields(signed(raw, made), held=SENDER))

    rotation("rotation-by-new-alone", "Another identity with its own signatures alone.", [])
    rotation("rotation-by-half-of-old", "Another identity, of the one before only the Ed25519 signature.", sender.signing("identity")[:1])  # fmt: skip
    rotation("rotation-by-stranger", "Another identity, with another node's word for the one before.", CAST[THIRD].signing("identity"))  # fmt: skip
    rotation("rotation-purpose", "The identity before has signed, but as a descriptor of its own.", sender.signing("identity"), DESCRIPTOR)  # fmt: skip
    raw = compact(sender.descriptor(seq=5, identity="2"))
    old = kept.sign(ROTATION, [raw], sender.signing("identity"))
    book.fails(
        "rotation-by-old-alone",
        "Another identity with the word of the one before alone.",
        5,
        "bad-signature",
        base=ROTATED,
        **_fields({"document": raw.decode(), "signatures": shown_signatures(old)}, held=SENDER),
    )


def _numbers(book: Book) -> None:
    """Steps 6 and 8: what may follow what."""
    kept = book.kept

    def refuse(name: str, says: str, step: int, code: str, /, **changes: Any) -> None:
        made = signed_descriptor(kept, SENDER, **changes)
        book.fails(name, says, step, code, base=NEWER, **_fields(made, held=SENDER))

    refuse(
        "fork",
        "The number held, with another name, properly signed.",
        6,
        "forked-descriptor",
        name="Maidstone",
    )
    spaced = compact(CAST[SENDER].descriptor()).replace(b'"seq":4', b'"seq": 4')
    book.fails(
        "fork-by-a-space",
        "The number held, with a space more, properly signed: other bytes are another document.",
        6,
        "forked-descriptor",
        base=NEWER,
        **_fields(signed_descriptor(kept, SENDER, document=spaced), held=SENDER),
    )
    refuse("rollback", "An older number, properly signed.", 6, "stale-descriptor", seq=3)
    refuse(
        "live-becomes-exercise", "A live node turns into an exercise.", 8, "exercise", seq=5, exercise=True
    )


def _times(book: Book) -> None:
    """Step 9: in force now."""

    def refuse(name: str, says: str, /, **changes: Any) -> None:
        made = signed_descriptor(book.kept, SENDER, **changes)
        book.fails(name, says, 9, "expired-descriptor", base=NEW, **_fields(made))

    refuse("expired", "It expired a second ago.", expires=moment(NOW - DAY / 86400))
    refuse("expires-now", "It expires this very second.", expires=moment(NOW))
    refuse(
        "issued-eleven-minutes-ahead", "Issued eleven minutes from now.", issued=moment(NOW + DAY * 11 / 1440)
    )
