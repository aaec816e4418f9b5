"""Hellos: what two nodes say to each other when they come up (PROTOCOL section 7)."""

import base64
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from bridge.crypto.keys import SigningKey
from bridge.crypto.signed import DESCRIPTOR, ENVELOPE, HELLO
from vectors.book import Book
from vectors.cast import (
    CAST,
    DROP,
    NOW,
    RECIPIENT,
    SENDER,
    STRANGER,
    THIRD,
    Document,
    changed,
    compact,
    moment,
    signed,
    signed_descriptor,
)
from vectors.kept import Kept, b64
from vectors.posting import made_up

HELLO_1: Final = "hello"
MINUTE: Final = timedelta(minutes=1)


def hello(**changes: Any) -> Document:
    """Maidstone greets Croydon."""
    made: Document = {
        "v": 1,
        "sender": SENDER,
        "recipient": RECIPIENT,
        "at": moment(NOW),
        "nonce": made_up("nonce").hex(),
        "seq": 4,
        "version": "1.0.0",
    }
    return changed(made, **changes)


def packed(made: Document) -> str:
    """A signed descriptor as a hello brings it."""
    raw = made["document"].encode()
    signatures = [
        [bytes.fromhex(s["kid"]), s["alg"], base64.b64decode(s["signature"])] for s in made["signatures"]
    ]
    return b64(msgspec.msgpack.encode([raw, signatures]))


def hellos(book: Book) -> None:
    """All vectors of hellos."""
    kept = book.kept

    def make(
        made: Document | bytes | None = None,
        *,
        brings: Document | None = None,
        signers: Sequence[SigningKey] | None = None,
        purpose: str = HELLO,
        **given: Any,
    ) -> Document:
        if brings is not None:
            made = hello(seq=5, descriptor=packed(brings))
        raw = made if isinstance(made, bytes) else compact(hello() if made is None else made)
        keys = CAST[SENDER].signing("message")[:1] if signers is None else signers
        return {
            "node": RECIPIENT,
            **({"given": given} if given else {}),
            **signed(raw, kept.sign(purpose, [raw], keys)),
            **({} if brings is None else {"brings": brings}),
        }

    def refuse(name: str, says: str, step: int, code: str, fields: Document, base: str = HELLO_1) -> None:
        book.fails(name, says, step, code, base=base, **fields)

    book.ok(HELLO_1, "Maidstone says that it is there.", **make())
    book.ok("hello-suite-2", "Signed with Ed25519 and ML-DSA-65.", base=HELLO_1, **make(signers=CAST[SENDER].signing("message")))  # fmt: skip
    _with_descriptor(book, make)
    book.ok(
        "hello-nine-minutes-behind",
        "Said nine minutes ago.",
        base=HELLO_1,
        **make(hello(at=moment(NOW - 9 * MINUTE))),
    )
    for state in ("pending", "suspended"):
        book.ok(
            f"hello-from-{state}",
            f"From a partner that is {state}: answered, as its descriptor is known.",
            base=HELLO_1,
            **make(states={SENDER: state}),
        )
    # 1 well formed
    for each in ("v", "sender", "recipient", "at", "nonce", "seq", "version"):
        refuse(
            f"hello-without-{each}", f"The hello lacks `{each}`.", 1, "malformed", make(hello(**{each: DROP}))
        )
    refuse("hello-extra-field", "A field that is not in the text.", 1, "malformed", make(hello(mood="good")))
    refuse("hello-field-twice", "`seq` stands twice.", 1, "malformed", make(compact(hello()).replace(b'"seq":4', b'"seq":4,"seq":4')))  # fmt: skip
    refuse(
        "hello-half-second",
        "`at` has a part of a second.",
        1,
        "malformed",
        make(hello(at="2026-11-22T10:15:30.5Z")),
    )
    refuse(
        "hello-nonce-short",
        "The nonce has 15 bytes.",
        1,
        "malformed",
        make(hello(nonce=made_up("nonce", 15).hex())),
    )
    # 2 sender known
    stranger = make(hello(sender=STRANGER), signers=CAST[STRANGER].signing("message")[:1])
    refuse("hello-from-stranger", "From a node that is nobody's partner.", 2, "unknown-sender", stranger)
    refuse(
        "hello-from-revoked",
        "From a partner that was revoked.",
        2,
        "unknown-sender",
        make(states={SENDER: "revoked"}),
    )
    # 3 for me
    refuse("hello-to-another", "The hello is for Kent.", 3, "not-for-me", make(hello(recipient=THIRD)))
    # 4 now
    refuse("hello-eleven-minutes-ahead", "Said eleven minutes from now.", 4, "expired", make(hello(at=moment(NOW + 11 * MINUTE))))  # fmt: skip
    refuse("hello-eleven-minutes-behind", "Said eleven minutes ago.", 4, "expired", make(hello(at=moment(NOW - 11 * MINUTE))))  # fmt: skip
    # 6 signatures
    one = make()
    refuse("hello-altered", "The nonce was altered after it was signed.", 6, "bad-signature", {**one, "document": one["document"].replace(made_up("nonce").hex(), made_up("other nonce").hex())})  # fmt: skip
    refuse("hello-signed-by-another", "Signed with another partner's key.", 6, "bad-signature", make(signers=CAST[THIRD].signing("message")[:1]))  # fmt: skip
    refuse("hello-signed-by-lapsed-key", "Signed with a key whose time is over.", 6, "bad-signature", make(signers=CAST[SENDER].signing("message", "lapsed")))  # fmt: skip
    refuse("hello-signed-by-identity-key", "Signed with the identity key.", 6, "bad-signature", make(signers=CAST[SENDER].signing("identity")[:1]))  # fmt: skip
    refuse("hello-post-quantum-alone", "Signed with ML-DSA-65 alone.", 6, "bad-signature", make(signers=CAST[SENDER].signing("message")[1:]))  # fmt: skip
    for name, purpose in (("envelope", ENVELOPE), ("descriptor", DESCRIPTOR)):
        refuse(
            f"hello-signed-as-{name}",
            f"Signed by the sender, but as {name}.",
            6,
            "bad-signature",
            make(purpose=purpose),
        )


def _with_descriptor(book: Book, make: Callable[..., Document]) -> None:
    """Step 5: a descriptor that the hello brings is admitted first."""
    kept: Kept = book.kept
    newer = signed_descriptor(kept, SENDER, seq=5)
    brings = "hello-with-newer-descriptor"
    book.ok(
        brings,
        "Brings a newer descriptor, which is taken in.",
        base=HELLO_1,
        **make(brings=newer),
        expect={"seq": 5},
    )
    unlisted = CAST[SENDER].signing("message", "unlisted")
    published = next(each.published() for each in CAST[SENDER].keys if each.generation == "unlisted")
    rotated = signed_descriptor(
        kept, SENDER, seq=5, message_keys=[*CAST[SENDER].descriptor()["message_keys"], published]
    )
    book.ok(
        "hello-signed-by-key-it-brings",
        "Signed with a message key that only the descriptor in it lists.",
        base=brings,
        **make(brings=rotated, signers=unlisted),
        expect={"seq": 5},
    )
    forged = {**newer, "document": newer["document"].replace("Maidstone Job", "Maidstone job")}
    fork = signed_descriptor(kept, SENDER, name="Maidstone")

    def refuse(name: str, says: str, code: str, fields: Document) -> None:
        book.fails(name, says, 5, code, base=brings, **fields)

    refuse("hello-with-forged-descriptor", "The descriptor in it was altered.", "bad-signature", make(brings=forged))  # fmt: skip
    refuse("hello-with-fork", "Says 5 and brings another descriptor of number 4.", "forked-descriptor", make(brings=fork))  # fmt: skip
    refuse("hello-with-descriptor-of-another", "Brings Kent's descriptor.", "wrong-node", make(brings=signed_descriptor(kept, THIRD, seq=5)))  # fmt: skip
    refuse("hello-with-garbled-descriptor", "What it brings is no signed document.", "malformed", make(hello(seq=5, descriptor="AAAA")))  # fmt: skip
