"""Envelopes: what arrives in one POST, and what the recipient answers (PROTOCOL sections 4 and 5)."""

import json
from collections.abc import Callable
from typing import Any, Final

from bridge.alerts import reference
from bridge.crypto import envelope as seals
from bridge.crypto.signed import ENVELOPE, RECEIPTS
from vectors.book import Book
from vectors.cast import (
    CAST,
    DAY,
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
    shown_signatures,
    signed_descriptor,
)
from vectors.kept import b64
from vectors.posting import (
    MINUTE,
    Message,
    Post,
    alert_id,
    carried,
    header_changed,
    made_up,
    message,
    minute,
    outside,
    pack,
    raw_carrier,
    raw_of,
    received,
    refused,
    submitted,
    written,
)

ALERT: Final = "one-alert"
SUITE_2: Final = "one-alert-suite-2"


def envelopes(book: Book) -> None:
    """All vectors of envelopes."""
    post = Post(book)
    _taken(book, post)
    _carriers(book, post)
    _header_forms(book, post)
    _header_altered(book, post)
    _addressed(book, post)
    _sender(book, post)
    _signatures(book, post)
    _seen(book, post)
    _opening(book, post)
    _insides(book, post)
    _payloads(book, post)
    _policy(book, post)
    _later(book, post)


def _taken(book: Book, post: Post) -> None:
    one = post.envelope()
    answers = {"answers": [received(1)]}
    book.ok(
        ALERT,
        "An alert for a person of Croydon, from a jobcentre in Maidstone.",
        carrier=[one],
        expect=answers,
    )
    book.ok(
        SUITE_2,
        "The same in suite 2: signed with Ed25519 and with ML-DSA-65.",
        base=ALERT,
        carrier=[post.envelope(suite=2)],
        expect=answers,
    )
    three = [message(carried(number), number) for number in (1, 2, 3)]
    book.ok(
        "three-messages",
        "Three alerts in one seal; the commitment is the root of a tree of three leaves.",
        base=ALERT,
        carrier=[post.envelope(*three)],
        expect={"answers": [received(1, 2, 3)]},
    )
    book.ok(
        "two-envelopes",
        "Two envelopes in one carrier, each with its own answer, in their order.",
        base=ALERT,
        carrier=[one, post.envelope(three[1], number=2)],
        expect={"answers": [received(1), received(2)]},
    )
    book.ok(
        "larger-bucket",
        "Padded to 16 KiB though 4 would do: the sender may hide more of the length.",
        base=ALERT,
        carrier=[post.envelope(bucket=16)],
        expect=answers,
    )
    content = compact(carried())
    missing = 4096 - 4 - len(written([message(content)]))
    book.ok(
        "full-bucket",
        "The content fills its bucket to the last byte: there are no zeros after it.",
        base=ALERT,
        carrier=[post.envelope(message(content[:-1] + b" " * missing + b"}"))],
        expect=answers,
    )
    book.ok(
        "header-with-spaces",
        "The header's JSON is written with spaces and in another order: the bytes are what counts.",
        base=ALERT,
        carrier=[post.envelope(write=lambda fields: json.dumps(fields, indent=1, sort_keys=True).encode())],
        expect=answers,
    )
    book.ok(
        "duplicate",
        "The same bytes again: the same answer, byte for byte, and no second alert.",
        base=ALERT,
        before=[[one]],
        carrier=[one],
        expect={**answers, "same_as_before": True, "inbox": 1},
    )
    book.ok(
        "sealed-anew",
        "The same message in another envelope, as after key-retired: the first verdict again, and no second alert.",
        base=ALERT,
        before=[[one]],
        carrier=[post.envelope(number=2)],
        expect={**answers, "inbox": 1},
    )
    book.ok(
        "created-nine-minutes-ahead",
        "The sender's clock is nine minutes ahead: within the ten allowed.",
        base=ALERT,
        carrier=[post.envelope(header={"created": minute(NOW + 9 * MINUTE)})],
        expect=answers,
    )
    book.ok(
        "deliver-by-nine-minutes-ago",
        "The time for delivery ended nine minutes ago: within the ten allowed.",
        base=ALERT,
        carrier=[
            post.envelope(header={"created": minute(NOW - DAY), "deliver_by": minute(NOW - 9 * MINUTE)})
        ],
        expect=answers,
    )
    book.ok(
        "deliver-by-thirty-days",
        "The longest time for delivery that there is: 30 days to the minute.",
        base=ALERT,
        carrier=[post.envelope(header={"deliver_by": minute(NOW + 30 * DAY)})],
        expect=answers,
    )
    book.ok(
        "signed-by-older-key",
        "Signed with an older message key of the sender that is still in force.",
        base=ALERT,
        carrier=[post.envelope(signers=CAST[SENDER].signing("message", "older"))],
        expect=answers,
    )
    book.ok(
        "newer-descriptor-fetched",
        "`from_seq` is newer than the descriptor held: the recipient fetches that one and takes the envelope.",
        base=ALERT,
        given={"fetch": signed_descriptor(book.kept, SENDER, seq=5)},
        carrier=[post.envelope(header={"from_seq": 5})],
        expect=answers,
    )
    book.ok(
        "older-from-seq",
        "`from_seq` is older than the descriptor held, as after a rotation while it was under way.",
        base=ALERT,
        carrier=[post.envelope(header={"from_seq": 3})],
        expect=answers,
    )
    book.ok(
        "stale-descriptor",
        "The sender's descriptor expired five days ago: stale, which is allowed for 14.",
        base=ALERT,
        given={"held": {SENDER: _aged(book, 5)}},
        carrier=[one],
        expect=answers,
    )
    book.ok(
        "one-of-two-authentic",
        "The first of two envelopes has no valid signature: its entry is nil, and the second is taken.",
        base="two-envelopes",
        carrier=[_forged(one), post.envelope(three[1], number=2)],
        expect={"answers": [None, received(2)]},
    )
    book.ok(
        "quota-smaller-than-envelope",
        "Three messages at once where one an hour is agreed, and none came before: they are taken, and owed.",
        base="three-messages",
        given={"messages_per_hour": 1},
        carrier=[post.envelope(*three)],
        expect={"answers": [received(1, 2, 3)]},
    )
    book.ok(
        "quota-refused-uncounted",
        "Two envelopes were too much at once; the first of them alone is not, because nothing of them was counted.",
        base=ALERT,
        given={"messages_per_hour": 2},
        before=[[post.envelope(message(carried(4), 4), number=4)], [one, post.envelope(three[1], number=2)]],
        carrier=[one],
        expect={"answers": answers["answers"], "inbox": 2},
    )
    book.ok(
        "area-unknown-to-sender",
        "The home area is not known: valid, and the recipient's function decides.",
        base=ALERT,
        carrier=[
            post.envelope(
                message(
                    carried(
                        home={
                            "method": "unknown",
                            "vintage": "test",
                            "because": "the home area is not known",
                        },
                        route=[changed(carried()["route"][0], area="unknown")],
                    )
                )
            )
        ],
        expect=answers,
    )
    bodies: tuple[tuple[str, str, Document], ...] = (
        (
            "unknown-code",
            "A code that no table has, in the alert: kept as it is.",
            {"ask": "a_code_of_tomorrow"},
        ),
        (
            "empty-narrative",
            "Text may hold tabs and line breaks.",
            {"event": {"kinds": [], "narrative": "a\tb\r\nc"}},
        ),
    )
    for name, says, changes in bodies:
        carrier = [post.envelope(message(carried(body=submitted(**changes))))]
        book.ok(name, says, base=ALERT, carrier=carrier, expect=answers)


def _aged(book: Book, days: int) -> Document:
    """The sender's descriptor, expired this many days ago."""
    expires = NOW - days * DAY
    return signed_descriptor(book.kept, SENDER, issued=moment(expires - 60 * DAY), expires=moment(expires))


def _forged(envelope: Document) -> Document:
    """The envelope with the first byte of its first signature changed."""
    first, *others = envelope["signatures"]
    raw = bytearray(raw_of(first["signature"]))
    raw[0] ^= 1
    return outside(envelope, signatures=[{**first, "signature": b64(bytes(raw))}, *others])


def _carriers(book: Book, post: Post) -> None:
    """Step 2: the carrier."""
    one = post.envelope()

    def broken(name: str, says: str, change: Callable[[list[Any]], Any]) -> None:
        carrier = raw_carrier(one, change=change)
        book.fails(name, says, 2, "malformed", base=ALERT, **carrier, expect={"bare": 400})

    def at(place: int, value: Any) -> Callable[[list[Any]], Any]:
        return lambda parts: [[*parts[0][:place], value, *parts[0][place + 1 :]]]

    broken("carrier-empty", "A carrier without any envelope.", lambda _: [])
    broken(
        "carrier-of-json",
        "The carrier is JSON text instead of msgpack.",
        lambda _: b'[["header","sealed",[]]]',
    )
    broken("carrier-truncated", "The last byte of the carrier is missing.", lambda parts: pack(parts)[:-1])
    broken("carrier-trailing-byte", "A byte follows the carrier.", lambda parts: pack(parts) + b"\xc0")
    broken("carrier-is-envelope", "An envelope without the list around it.", lambda parts: parts[0])
    broken("carrier-is-map", "The envelope is a map with names instead of a list.", lambda parts: [dict(zip("hsx", parts[0], strict=True))])  # fmt: skip
    broken("envelope-of-two-parts", "The list of signatures is missing.", lambda parts: [parts[0][:2]])
    broken("envelope-of-four-parts", "An envelope has a fourth part.", lambda parts: [[*parts[0], b""]])
    broken("header-as-text", "The header is a msgpack text instead of bytes.", lambda parts: [[parts[0][0].decode(), *parts[0][1:]]])  # fmt: skip
    broken("header-empty", "The header has no bytes.", at(0, b""))
    broken("sealed-truncated", "The last byte of the sealed part is missing.", lambda parts: [[parts[0][0], parts[0][1][:-1], parts[0][2]]])  # fmt: skip
    broken("sealed-longer", "The sealed part has a byte more.", lambda parts: [[parts[0][0], parts[0][1] + b"\0", parts[0][2]]])  # fmt: skip
    broken("signatures-none", "The list of signatures is empty.", at(2, []))
    broken(
        "signatures-three", "There are three signatures.", lambda parts: [[*parts[0][:2], parts[0][2] * 3]]
    )
    broken("signature-kid-short", "A key hint has seven bytes.", lambda parts: [[*parts[0][:2], [[parts[0][2][0][0][:7], *parts[0][2][0][1:]]]]])  # fmt: skip
    broken("signature-empty", "A signature has no bytes.", lambda parts: [[*parts[0][:2], [[*parts[0][2][0][:2], b""]]]])  # fmt: skip
    book.fails(
        "same-envelope-twice",
        "One carrier brings the same envelope twice.",
        2,
        "malformed",
        base=ALERT,
        carrier=[one, one],
        expect={"bare": 400},
    )
    book.fails(
        "same-id-twice",
        "Two envelopes of one carrier have the same id.",
        2,
        "malformed",
        base="two-envelopes",
        carrier=[one, post.envelope(message(carried(2), 2))],
        expect={"bare": 400},
    )


def _header_forms(book: Book, post: Post) -> None:
    """Step 2: the header. Every envelope is sealed and signed over its header as it is."""

    def broken(name: str, says: str, **arguments: Any) -> None:
        envelope = post.envelope(**arguments)
        book.fails(name, says, 2, "malformed", base=ALERT, carrier=[envelope], expect={"bare": 400})

    def field(name: str, says: str, /, **changes: Any) -> None:
        broken(name, says, header=changes)

    def text(name: str, says: str, change: Callable[[bytes], bytes]) -> None:
        broken(name, says, write=lambda fields: change(compact(fields)))

    for each in (
        "v",
        "suite",
        "id",
        "from",
        "to",
        "to_kid",
        "from_seq",
        "created",
        "deliver_by",
        "bucket",
        "commitment",
    ):
        field(f"header-without-{each.replace('_', '-')}", f"The header lacks `{each}`.", **{each: DROP})
    field("header-extra-field", "The header has a field that is not in the text.", urgent=True)
    text("header-field-twice", "`to` stands twice in the header, with the same value.", lambda raw: raw[:-1] + b',"to":"croydon-mash"}')  # fmt: skip
    text("header-field-twice-escaped", "`to` stands twice, the second time written with an escape.", lambda raw: raw[:-1] + b',"t\\u006f":"croydon-mash"}')  # fmt: skip
    text(
        "header-byte-order-mark",
        "A byte order mark stands before the header.",
        lambda raw: b"\xef\xbb\xbf" + raw,
    )
    text("header-trailing", "Something follows the header's JSON.", lambda raw: raw + b"{}")
    text("header-is-list", "The header is a JSON list.", lambda raw: b"[" + raw + b"]")
    text(
        "header-not-utf8",
        "The header is not UTF-8.",
        lambda raw: raw.replace(b"maidstone-jcp", b"maidst\xf6ne-jcp"),
    )
    text("header-control-character", "A name in the header holds U+0000, escaped.", lambda raw: raw.replace(b"maidstone-jcp", b"maidstone-jcp\\u0000"))  # fmt: skip
    text("header-too-long", "The header is longer than 2,048 bytes, by spaces.", lambda raw: raw + b" " * (2049 - len(raw)))  # fmt: skip
    field("header-v-2", "The version is 2.", v=2)
    field("header-v-text", "The version is a text.", v="1")
    field("header-suite-zero", "The suite is 0.", suite=0)
    field("header-id-upper-case", "The id is written in upper case.", id=made_up("envelope 1").hex().upper())
    field("header-id-short", "The id has 15 bytes.", id=made_up("envelope 1").hex()[:-2])
    field(
        "header-from-upper-case", "The sender's name is written in upper case.", **{"from": "Maidstone-JCP"}
    )
    field("header-to-line-end", "A line end follows the recipient's name.", to=RECIPIENT + "\n")
    field(
        "header-to-kid-short",
        "The key hint has seven bytes.",
        to_kid=CAST[RECIPIENT].sealing().kid.hex()[:-2],
    )
    field("header-from-seq-zero", "Descriptors are counted from 1, not 0.", from_seq=0)
    field("header-from-seq-huge", "`from_seq` is beyond 2^53.", from_seq=2**53 + 1)
    field("header-from-seq-real", "`from_seq` is written with a fraction.", from_seq=4.5)
    field("header-created-seconds", "`created` has seconds.", created="2026-11-22T10:15:00Z")
    field("header-created-offset", "`created` has an offset instead of Z.", created="2026-11-22T10:15+00:00")
    field("header-created-no-zone", "`created` has no zone.", created="2026-11-22T10:15")
    field("header-created-no-day", "`created` is no day of any year.", created="2026-02-30T10:15Z")
    field("header-deliver-by-before-created", "The time for delivery ends before it begins.", deliver_by=minute(NOW - MINUTE))  # fmt: skip
    field("header-deliver-by-too-late", "The time for delivery is a minute longer than 30 days.", deliver_by=minute(NOW + 30 * DAY + MINUTE))  # fmt: skip
    field("header-bucket-five", "There is no bucket of 5 KiB.", bucket=5)
    field("header-commitment-short", "The commitment has 31 bytes.", commitment="00" * 31)


def _header_altered(book: Book, post: Post) -> None:
    """Every field of the header, altered to another valid value after it was signed."""
    one = post.envelope()
    other: Document = {
        "suite": 2,
        "id": made_up("envelope 2").hex(),
        "from": THIRD,
        "to": THIRD,
        "to_kid": CAST[THIRD].sealing().kid.hex(),
        "from_seq": 3,
        "created": minute(NOW - MINUTE),
        "deliver_by": minute(NOW + 15 * DAY),
        "bucket": 16,
        "commitment": made_up("commitment", 32).hex(),
    }
    for name, value in other.items():
        book.fails(
            f"altered-{name.replace('_', '-')}",
            f"`{name}` was altered after the envelope was signed; nothing is signed in answer to it.",
            5,
            "bad-signature",
            base=ALERT,
            carrier=[header_changed(one, **{name: value})],
            expect={"bare": 400},
        )
    book.fails(
        "altered-spaces",
        "A space was added to the header after the envelope was signed.",
        5,
        "bad-signature",
        base=ALERT,
        carrier=[outside(one, header=one["header"] + " ")],
        expect={"bare": 400},
    )


def _addressed(book: Book, post: Post) -> None:
    """Step 3: to me, suite known, as large as it says, in time. All are properly signed, so the answer is too."""

    def refuse(name: str, says: str, code: str, envelope: Document, **more: Any) -> None:
        expect = {"answers": [refused(code)]}
        book.fails(name, says, 3, code, base=ALERT, carrier=[envelope], expect=expect, **more)

    sealing = CAST[RECIPIENT].sealing()
    refuse(
        "to-another",
        "Signed for Kent and sent to Croydon, whose key it is sealed with.",
        "not-for-me",
        post.envelope(recipient=THIRD, seal_to=sealing),
    )
    refuse(
        "forwarded-whole",
        "Croydon passes the envelope on, as it is, to Kent.",
        "not-for-me",
        post.envelope(),
        node=THIRD,
    )
    refuse(
        "suite-unknown", "A suite that nobody has yet.", "unknown-suite", post.envelope(header={"suite": 3})
    )
    refuse(
        "bucket-other-than-size",
        "The header says 16 KiB, and the sealed part is one of 4.",
        "malformed",
        post.envelope(header={"bucket": 16}),
    )
    refuse(
        "created-eleven-minutes-ahead",
        "Created eleven minutes from now.",
        "expired",
        post.envelope(header={"created": minute(NOW + 11 * MINUTE)}),
    )
    refuse(
        "deliver-by-eleven-minutes-ago",
        "The time for delivery ended eleven minutes ago.",
        "expired",
        post.envelope(header={"created": minute(NOW - DAY), "deliver_by": minute(NOW - 11 * MINUTE)}),
    )


def _sender(book: Book, post: Post) -> None:
    """Step 4: the sender is known and its descriptor serves."""
    one = post.envelope()
    book.fails(
        "sender-unknown",
        "The sender is nobody's partner.",
        4,
        "unknown-sender",
        base=ALERT,
        carrier=[
            post.envelope(message(carried(sender={"node_id": STRANGER, "name": "Essex"})), sender=STRANGER)
        ],
        expect={"bare": 400},
    )
    for state in ("discovered", "pending"):
        book.fails(
            f"sender-{state}",
            f"The sender is {state}: two administrators have not confirmed it.",
            4,
            "unknown-sender",
            base=ALERT,
            given={"states": {SENDER: state}},
            carrier=[one],
            expect={"bare": 400},
        )
    book.fails(
        "newer-descriptor-out-of-reach",
        "`from_seq` is newer than the descriptor held, and the sender cannot be reached: to be sent again later.",
        4,
        "descriptor-wanted",
        base=ALERT,
        carrier=[post.envelope(header={"from_seq": 5})],
        expect={"bare": 503},
    )
    book.fails(
        "newer-descriptor-not-there",
        "`from_seq` is newer than the descriptor held, and the sender answers with one that is not.",
        4,
        "descriptor-wanted",
        base="newer-descriptor-fetched",
        given={"fetch": signed_descriptor(book.kept, SENDER, seq=5)},
        carrier=[post.envelope(header={"from_seq": 6})],
        expect={"bare": 503},
    )
    book.fails(
        "newer-descriptor-forged",
        "`from_seq` is newer than the descriptor held, and the one fetched has an altered name.",
        4,
        "descriptor-wanted",
        base="newer-descriptor-fetched",
        given={"fetch": _renamed(signed_descriptor(book.kept, SENDER, seq=5))},
        carrier=[post.envelope(header={"from_seq": 5})],
        expect={"bare": 503},
    )
    book.fails(
        "descriptor-blocked",
        "The sender's descriptor expired 15 days ago: nothing is taken until it is renewed.",
        4,
        "descriptor-expired",
        base=ALERT,
        given={"held": {SENDER: _aged(book, 15)}},
        carrier=[one],
        expect={"bare": 503},
    )


def _renamed(signed: Document) -> Document:
    return {**signed, "document": signed["document"].replace("Maidstone Jobcentre", "Maidstone jobcentre")}


def _signatures(book: Book, post: Post) -> None:
    """Step 5: signed by whom it says, with all that the suite asks for."""
    one, two = post.envelope(), post.envelope(suite=2)
    sender = CAST[SENDER]
    classical, post_quantum = two["signatures"]
    third = CAST[THIRD].signing("message")[:1]

    def bad(name: str, says: str, envelope: Document, base: str = ALERT, **more: Any) -> None:
        expect = {"bare": 400}
        book.fails(name, says, 5, "bad-signature", base=base, carrier=[envelope], expect=expect, **more)

    bad("signature-altered", "The first byte of the signature is altered.", _forged(one))
    bad("signed-by-another", "Signed with another partner's key.", post.envelope(signers=third))
    bad(
        "signed-by-another-under-hint",
        "Signed with another partner's key, under the hint of the sender's.",
        outside(
            one,
            signatures=[
                {**post.envelope(signers=third)["signatures"][0], "kid": one["signatures"][0]["kid"]},
            ],
        ),
    )
    bad(
        "signed-by-identity-key",
        "Signed with the sender's identity key, which signs descriptors alone.",
        post.envelope(signers=sender.signing("identity")[:1]),
    )
    bad(
        "signed-by-lapsed-key",
        "Signed with a message key whose time is over, though the descriptor lists it.",
        post.envelope(signers=sender.signing("message", "lapsed")),
    )
    bad(
        "signed-by-coming-key",
        "Signed with a message key whose time has not begun.",
        post.envelope(signers=sender.signing("message", "coming")),
    )
    bad(
        "signed-by-unlisted-key",
        "Signed with a key of the sender that its descriptor does not list.",
        post.envelope(signers=sender.signing("message", "unlisted")),
    )
    bad(
        "signature-other-hint",
        "A right signature under the hint of another key of the sender.",
        outside(
            one, signatures=[{**one["signatures"][0], "kid": sender.signing("message", "older")[0].kid.hex()}]
        ),
    )
    bad(
        "signature-other-algorithm",
        "The signature names another algorithm.",
        outside(one, signatures=[{**one["signatures"][0], "alg": "ml-dsa-65"}]),
    )
    bad(
        "signature-unknown-algorithm",
        "The signature names an algorithm that nobody has.",
        outside(one, signatures=[{**one["signatures"][0], "alg": "ed448"}]),
    )
    bad(
        "signature-extra",
        "Suite 1 with an ML-DSA-65 signature beside it: nothing may be there besides.",
        post.envelope(signers=sender.signing("message")),
    )
    bad(
        "signature-twice", "Suite 1 with its signature twice.", outside(one, signatures=one["signatures"] * 2)
    )
    bad(
        "suite-2-classical-alone",
        "Suite 2 with the Ed25519 signature alone.",
        outside(two, signatures=[classical]),
        SUITE_2,
    )
    bad(
        "suite-2-post-quantum-alone",
        "Suite 2 with the ML-DSA-65 signature alone.",
        outside(two, signatures=[post_quantum]),
        SUITE_2,
    )
    bad(
        "suite-2-classical-twice",
        "Suite 2 with the Ed25519 signature twice.",
        outside(two, signatures=[classical, classical]),
        SUITE_2,
    )
    bad(
        "suite-2-post-quantum-altered",
        "Suite 2: the Ed25519 signature is right, the ML-DSA-65 signature altered.",
        outside(
            two, signatures=[classical, _forged(outside(two, signatures=[post_quantum]))["signatures"][0]]
        ),
        SUITE_2,
    )
    bad(
        "suite-downgraded",
        "Somebody between makes suite 2 into suite 1 and takes the ML-DSA-65 signature away.",
        {**header_changed(two, suite=1), "signatures": [classical]},
        SUITE_2,
    )
    bad(
        "signature-for-receipts",
        "Signed by the sender, but as receipts: a signature made for one purpose is none for another.",
        post.envelope(purpose=RECEIPTS),
    )
    bad(
        "sealed-altered",
        "One bit of the sealed part is altered on the way.",
        outside(one, sealed=b64(_flipped(raw_of(one["sealed"])))),
    )
    bad(
        "stripped-and-re-signed",
        "Another partner takes the signature away and signs the same header and sealed part itself.",
        post.envelope(signers=third),
    )
    bad(
        "resealed-to-third",
        "Croydon opens the alert and seals it to Kent under the author's header and signature, with `to` changed.",
        {
            **outside(post.envelope(recipient=THIRD)),
            "signatures": one["signatures"],
        },
        node=THIRD,
    )
    bad(
        "resealed-under-old-header",
        "Croydon opens the alert and seals it anew, to Kent's key, under the author's own header and signature.",
        {
            **outside(
                post.envelope(
                    seal_to=CAST[THIRD].sealing(), header={"to_kid": CAST[RECIPIENT].sealing().kid.hex()}
                )
            ),
            "signatures": one["signatures"],
        },
        node=THIRD,
    )
    for state in ("suspended", "revoked"):
        book.fails(
            f"sender-{state}",
            f"Our administrators have {state} the sender; the envelope is in order.",
            5,
            "no-agreement",
            base=ALERT,
            given={"states": {SENDER: state}},
            carrier=[one],
            expect={"answers": [refused("no-agreement")]},
        )


def _flipped(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


def _seen(book: Book, post: Post) -> None:
    """Step 6: what came before."""
    one = post.envelope()
    book.fails(
        "id-conflict",
        "The same envelope id came before with other content.",
        6,
        "id-conflict",
        base=ALERT,
        before=[[one]],
        carrier=[post.envelope(message(carried(2), 2))],
        expect={"answers": [refused("id-conflict")], "inbox": 1},
    )
    book.fails(
        "id-conflict-resealed",
        "The same message and id in another seal: two seals of one message are two envelopes under one id.",
        6,
        "id-conflict",
        base=ALERT,
        before=[[one]],
        carrier=[post.envelope(header={"deliver_by": minute(NOW + 13 * DAY)})],
        expect={"answers": [refused("id-conflict")], "inbox": 1},
    )
    book.fails(
        "message-id-conflict",
        "A new envelope holds a message whose id came before with other content.",
        6,
        "id-conflict",
        base="sealed-anew",
        before=[[one]],
        carrier=[post.envelope(message(carried(2)), number=2)],
        expect={"answers": [refused("id-conflict", 1)], "inbox": 1},
    )
    book.fails(
        "message-id-of-another-sender",
        "Another partner sends, under its own name, the very message that Croydon had from Maidstone.",
        6,
        "id-conflict",
        base="sealed-anew",
        before=[[one]],
        carrier=[post.envelope(number=2, sender=THIRD)],
        expect={"answers": [refused("id-conflict", 1)], "inbox": 1},
    )
    theirs = carried(sender={"node_id": THIRD, "name": "Kent front door"})
    book.fails(
        "alert-id-of-another-sender",
        "Another partner sends an alert of its own under the id of one that is there.",
        6,
        "id-conflict",
        base="two-envelopes",
        before=[[one]],
        carrier=[post.envelope(message(theirs, 2), number=2, sender=THIRD)],
        expect={"answers": [refused("id-conflict", 2)], "inbox": 1},
    )
    secret = post.envelope(_marked("SECRET"))
    book.fails(
        "refused-again",
        "The same bytes that were refused before: the same refusal, byte for byte.",
        6,
        "marking",
        base="duplicate",
        before=[[secret]],
        carrier=[secret],
        expect={"answers": [refused("marking", 1)], "same_as_before": True, "inbox": 0},
    )
    book.fails(
        "refused-sealed-anew",
        "A message that was refused before, in another envelope: a refused id stays refused.",
        6,
        "marking",
        base="sealed-anew",
        before=[[secret]],
        carrier=[post.envelope(_marked("SECRET"), number=2)],
        expect={"answers": [refused("marking", 1)], "inbox": 0},
    )
    book.fails(
        "refused-then-corrected",
        "Under the id of a message that was refused comes another with a lower marking.",
        6,
        "id-conflict",
        base="sealed-anew",
        before=[[secret]],
        carrier=[post.envelope(number=2)],
        expect={"answers": [refused("id-conflict", 1)], "inbox": 0},
    )


def _marked(marking: str) -> Message:
    return message(carried(body=submitted(grading={"handling": "P", "marking": marking})))


def _opening(book: Book, post: Post) -> None:
    """Step 7: the key is held and opens it."""

    def refuse(name: str, says: str, code: str, envelope: Document, base: str = ALERT) -> None:
        expect = {"answers": [refused(code)], "inbox": 0}
        book.fails(name, says, 7, code, base=base, carrier=[outside(envelope)], expect=expect)

    recipient = CAST[RECIPIENT]
    refuse(
        "key-retired",
        "Sealed with a key that the recipient has destroyed.",
        "key-retired",
        post.envelope(seal_to=recipient.sealing("destroyed")),
    )
    refuse(
        "sealed-to-another-key",
        "Sealed with Kent's key under the hint of Croydon's.",
        "malformed",
        post.envelope(seal_to=CAST[THIRD].sealing(), header={"to_kid": recipient.sealing().kid.hex()}),
    )
    refuse(
        "sealed-altered-and-signed",
        "One bit of the sealed part is altered, and the sender's own signature is over that.",
        "malformed",
        _resigned(book, post.envelope(), SENDER, sealed=_flipped(raw_of(post.envelope()["sealed"]))),
    )
    refuse(
        "sealed-without-header",
        "The header is not bound into the seal.",
        "malformed",
        post.envelope(info=b""),
    )
    one = post.envelope()
    refuse(
        "taken-over",
        "Another partner takes the sealed part and puts its own name and signature on it.",
        "malformed",
        _resigned(
            book,
            one,
            THIRD,
            header=compact(changed(json.loads(one["header"]), **{"from": THIRD})),
        ),
    )
    refuse(
        "sealed-under-older-header",
        "The sender moved deliver_by after sealing and signed the new header: the seal is bound to the old one.",
        "malformed",
        _resigned(
            book,
            one,
            SENDER,
            header=compact(changed(json.loads(one["header"]), deliver_by=minute(NOW + 15 * DAY))),
        ),
    )


def _resigned(
    book: Book, envelope: Document, by: str, *, header: bytes | None = None, sealed: bytes | None = None
) -> Document:
    """The envelope with another header or sealed part, under a right signature over just that."""
    raw = envelope["header"].encode() if header is None else header
    cipher = raw_of(envelope["sealed"]) if sealed is None else sealed
    made = book.kept.sign(ENVELOPE, seals.signed_parts(raw, cipher), CAST[by].signing("message")[:1])
    return outside(envelope, header=raw.decode(), sealed=b64(cipher), signatures=shown_signatures(made))


def _insides(book: Book, post: Post) -> None:
    """Step 8: padding, commitment, and the form of the messages."""

    def refuse(name: str, says: str, *messages: Message, base: str = ALERT, **arguments: Any) -> None:
        expect = {"answers": [refused("malformed")], "inbox": 0}
        envelope = outside(post.envelope(*messages, **arguments))
        book.fails(name, says, 8, "malformed", base=base, carrier=[envelope], expect=expect)

    def padded(name: str, says: str, change: Callable[[bytes, bytes], bytes]) -> None:
        refuse(name, says, pad=lambda content, size: change(content, seals.pad(content, size)))

    def packed(name: str, says: str, change: Callable[[bytes], bytes]) -> None:
        refuse(name, says, inner=lambda messages: change(written(messages)))

    padded(
        "padding-last-byte",
        "The last byte of the padding is not zero.",
        lambda _, whole: whole[:-1] + b"\x01",
    )
    padded(
        "padding-first-byte",
        "The first byte after the content is not zero.",
        lambda content, whole: whole[: 4 + len(content)] + b"\x01" + whole[5 + len(content) :],
    )
    padded("padding-length-beyond", "The length points beyond the bucket.", lambda _, whole: (4093).to_bytes(4, "big") + whole[4:])  # fmt: skip
    padded(
        "padding-length-huge", "The length is the largest there is.", lambda _, whole: b"\xff" * 4 + whole[4:]
    )
    padded(
        "padding-length-short",
        "The length ends a byte before the content does.",
        lambda content, whole: (len(content) - 1).to_bytes(4, "big") + whole[4:],
    )
    packed(
        "inner-trailing",
        "A byte follows the list of messages, within its length.",
        lambda content: content + b"\xc0",
    )
    packed("inner-empty", "There is no message inside.", lambda _: b"\x90")
    packed("inner-is-message", "A message without the list around it.", lambda content: content[1:])
    refuse(
        "commitment-of-another",
        "The commitment is that of another message.",
        message(),
        committed=[message(carried(2), 2)],
    )
    refuse(
        "commitment-other-salt",
        "The commitment is made with another salt.",
        message(),
        committed=[message(salt=made_up("salt 2", 32))],
    )
    two = [message(), message(carried(2), 2)]
    refuse(
        "commitment-other-order",
        "The commitment is over the messages in another order.",
        *two,
        base="three-messages",
        committed=two[::-1],
    )
    refuse(
        "commitment-leaves-one-out",
        "The commitment is over the first of two messages.",
        *two,
        base="three-messages",
        committed=two[:1],
    )
    refuse(
        "two-messages-one-id",
        "Two messages of one envelope have the same id.",
        message(),
        message(carried(2), 2, id=made_up("message 1")),
        base="three-messages",
    )
    refuse("message-id-short", "A message id has 15 bytes.", message(id=made_up("message 1", 15)))
    refuse("message-salt-short", "A salt has 31 bytes.", message(salt=made_up("salt 1", 31)))
    refuse("message-type-unknown", "A type of message that is not in the text.", message(type="gossip"))
    refuse(
        "message-of-five-parts",
        "A message has a fifth part.",
        inner=lambda messages: pack([[*messages[0].packed(), b""]]),
    )
    refuse(
        "message-payload-text",
        "The payload is a msgpack text instead of bytes.",
        inner=lambda messages: pack([[*messages[0].packed()[:3], messages[0].payload.decode()]]),
    )


def _payloads(book: Book, post: Post) -> None:
    """Step 9: each payload in its type and in the strict profile. The refusal is of the message."""

    def refuse(name: str, says: str, payload: Document | bytes) -> None:
        expect = {"answers": [refused("malformed", 1)], "inbox": 0}
        book.fails(
            name, says, 9, "malformed", base=ALERT, carrier=[post.envelope(message(payload))], expect=expect
        )

    def text(name: str, says: str, old: bytes, new: bytes) -> None:
        raw = compact(carried())
        if raw.count(old) != 1:
            raise ValueError(f"{name} would change more or less than one place")
        refuse(name, says, raw.replace(old, new))

    refuse("payload-empty", "The payload has no bytes.", b"")
    refuse("payload-not-json", "The payload is not JSON.", b"\x81\xa1v\x01")
    refuse("payload-is-list", "The payload is a JSON list.", b"[" + compact(carried()) + b"]")
    refuse("payload-trailing", "Something follows the payload's JSON.", compact(carried()) + b"{}")
    for each in ("id", "reference", "sender", "route", "retention", "body"):
        refuse(f"payload-without-{each}", f"The payload lacks `{each}`.", changed(carried(), **{each: DROP}))
    refuse("payload-id-other-form", "The alert's id is a UUID of version 4.", carried(id=alert_id(1).replace("-7000-", "-4000-")))  # fmt: skip
    refuse("payload-reference-of-another", "The reference is that of another alert.", carried(reference=reference(alert_id(2))))  # fmt: skip
    refuse("payload-naive-time", "A time has no zone.", carried(created="2026-11-22T10:15:00"))
    refuse("payload-body-is-text", "The body is a text instead of an object.", carried(body="an alert"))  # type: ignore[arg-type]
    refuse(
        "payload-narrative-too-long",
        "The narrative has 4,001 characters.",
        carried(body=submitted(event={"kinds": [], "narrative": "n" * 4001})),
    )
    refuse("payload-six-persons", "The alert is about six persons.", carried(body=submitted(subjects=[{"age_band": "u10"}] * 6)))  # fmt: skip
    narrative = b"Words of a test vector"
    text("payload-field-twice", "A field of the payload stands twice.", b'"urgent":false', b'"urgent":false,"urgent":false')  # fmt: skip
    text("payload-field-twice-deep", "A field stands twice in a part of the body that nobody knows.", b'"any":', b'"any":0,"any":')  # fmt: skip
    text("payload-nul", "The narrative holds U+0000, escaped.", narrative, b"Words\\u0000")
    text("payload-raw-control", "The narrative holds U+001B, as a byte.", narrative, b"Words\x1b[2J")
    text("payload-c1-control", "The narrative holds U+0085.", narrative, "Words\x85".encode())
    text("payload-bidi-override", "The narrative holds U+202E, which turns the line round.", narrative, "Words\u202e".encode())  # fmt: skip
    text("payload-bidi-escaped", "The narrative holds U+2066, escaped.", narrative, b"Words\\u2066")
    text(
        "payload-bidi-in-unknown",
        "U+202E in a name that nobody knows.",
        b'"x_newer"',
        '"x_\u202enewer"'.encode(),
    )
    text(
        "payload-half-surrogate",
        "The narrative holds half of a surrogate pair, escaped.",
        narrative,
        b"Words\\ud800",
    )
    text("payload-not-utf8", "The narrative is not UTF-8.", narrative, b"W\xf6rter")
    text("payload-nan", "A number is NaN.", b'"share":1.0', b'"share":NaN')
    text("payload-infinite", "A number reads as infinite.", b'"share":1.0', b'"share":1e999')
    text("payload-huge-integer", "A whole number beyond 2^53, in a part that nobody knows.", b'"thing",1', b'"thing",9007199254740993')  # fmt: skip
    text(
        "payload-too-deep",
        "There are 33 levels, in a part that nobody knows.",
        b'["thing",1]',
        b"[" * 30 + b"]" * 30,
    )


def _policy(book: Book, post: Post) -> None:
    """Step 10: what our rules say of a message that is in order."""

    def refuse(
        name: str, says: str, code: str, *messages: Message, made: Document | None = None, **more: Any
    ) -> None:
        expect = {"answers": [refused(code, 1)], "inbox": 0}
        carrier = [made or post.envelope(*messages)]
        book.fails(name, says, 10, code, base=ALERT, carrier=carrier, expect=expect, **more)

    def payload(name: str, says: str, code: str, /, **changes: Any) -> None:
        refuse(name, says, code, message(carried(**changes)))

    step = carried()["route"][0]
    refuse("marking-secret", "The alert is marked SECRET.", "marking", _marked("SECRET"))
    refuse(
        "marking-top-secret",
        "The marking is written in another case, with spaces.",
        "marking",
        _marked(" Top  Secret "),
    )
    refuse(
        "marking-unknown",
        "A marking that nobody knows is above what may travel.",
        "marking",
        _marked("COSMIC"),
    )
    refuse(
        "marking-in-narrative",
        "The narrative is marked above what may travel.",
        "marking",
        message(
            carried(body=submitted(event={"kinds": [], "narrative": "UK SECRET\nWords of a test vector."}))
        ),
    )
    payload("area-not-mine", "The route says that Croydon serves Maidstone, which nobody granted.", "unknown-area", route=[{**step, "area": "E07000110"}])  # fmt: skip
    payload("function-not-mine", "The route asks Croydon MASH for what the police do.", "unknown-area", route=[{**step, "function": "POLICE"}])  # fmt: skip
    payload(
        "home-area-wrong-force",
        "The home area is said to lie in Kent Police's area: Croydon does not.",
        "unknown-area",
        home={**carried()["home"], "force": "E23000032"},
    )
    payload("route-without-me", "The alert's own route does not name the recipient.", "not-for-me", route=[{**step, "node": THIRD}])  # fmt: skip
    payload("sender-inside-other", "The alert names another sender than its envelope.", "policy", sender={"node_id": THIRD, "name": "Kent front door"})  # fmt: skip
    refuse(
        "passed-on-as-own",
        "Croydon opens the alert and sends it to Kent in an envelope of its own: the payload names its author.",
        "policy",
        made=post.envelope(sender=RECIPIENT, recipient=THIRD),
        node=THIRD,
    )
    payload("exercise-to-live", "An exercise for a live node.", "exercise", status="exercise", body=submitted(status="exercise"))  # fmt: skip
    payload("exercise-inside-other", "The alert says exercise, what carries it says actual.", "exercise", body=submitted(status="exercise"))  # fmt: skip
    payload("kept-until-yesterday", "The time for which it may be kept is over.", "expired", retention={"class": "UNADOPTED", "until": "2026-11-21"})  # fmt: skip
    refuse(
        "type-not-taken",
        "A notice: this version of a node does not take it.",
        "policy",
        message(type="notice"),
    )
    agreed = (
        '[[agreement]]\nid = "a"\ntitle = "T"\npurpose = "P"\nvalid_from = 2026-01-01\nreview_by = 2027-01-01\n'
        'max_retention_days = {days}\nparties = [{{ node = "{one}", name = "One" }}, '
        '{{ node = "croydon-mash", name = "Two" }}]\n'
    )
    refuse(
        "no-agreement",
        "Only an agreement with another partner is in force.",
        "no-agreement",
        message(),
        given={"agreements": agreed.format(one=THIRD, days=365)},
    )
    refuse(
        "kept-longer-than-agreed",
        "The agreement lets content be kept for 10 days, the alert asks for 30.",
        "policy",
        message(),
        given={"agreements": agreed.format(one=SENDER, days=10)},
    )
    book.fails(
        "one-of-two-messages",
        "Two messages, the first marked SECRET: it is refused by its own statement, and the second stands.",
        10,
        "marking",
        base="three-messages",
        carrier=[post.envelope(_marked("SECRET"), message(carried(2), 2))],
        expect={"answers": [[*refused("marking", 1), *received(2)]], "inbox": 1},
    )
    book.fails(
        "quota",
        "A second message where one an hour is agreed: nothing is signed, to be sent again later.",
        10,
        "quota",
        base="two-envelopes",
        given={"messages_per_hour": 1},
        before=[[post.envelope()]],
        carrier=[post.envelope(message(carried(2), 2), number=2)],
        expect={"bare": 429, "inbox": 1},
    )


def _later(book: Book, post: Post) -> None:
    """What is said of an alert that was sent before: that it is taken back, or that another takes its place."""
    one = post.envelope()

    def taking_back(number: int = 2, **changes: Any) -> Message:
        """A withdrawal of the first message, itself the second."""
        payload = {"v": 1, "alert": alert_id(1), "message": made_up("message 1").hex(), "reason": "wrong_area"}
        return message(changed(payload, **changes), number, type="withdraw")

    def correcting(number: int = 2, **changes: Any) -> Message:
        """The second alert, in the place of the first."""
        return message(carried(number, in_reply_to=alert_id(1), **changes), number, type="update")

    book.ok(
        "withdrawal",
        "The sender takes the alert back: it is marked and deleted, its stub stays.",
        before=[[one]],
        carrier=[post.envelope(taking_back(), number=2)],
        expect={"answers": [received(2)], "inbox": 1},
    )
    book.ok(
        "withdrawal-first",
        "The withdrawal overtakes its alert, which is not known yet: taken, and the alert will be refused.",
        base="withdrawal",
        carrier=[post.envelope(taking_back(), number=2)],
        expect={"answers": [received(2)], "inbox": 0},
    )
    book.fails(
        "alert-after-its-withdrawal",
        "The alert comes after its withdrawal: it is not let in, and nobody is blamed for the line's order.",
        10,
        "policy",
        base=ALERT,
        before=[[post.envelope(taking_back(), number=2)]],
        carrier=[one],
        expect={"answers": [refused("policy", 1)], "inbox": 0, "silent": True},
    )
    book.ok(
        "correction",
        "Another alert takes the place of the first: both are there, the first marked.",
        before=[[one]],
        carrier=[post.envelope(correcting(), number=2)],
        expect={"answers": [received(2)], "inbox": 2},
    )
    book.ok(
        "correction-first",
        "The correction overtakes what it corrects: taken, and the first is marked when it comes.",
        base="correction",
        carrier=[post.envelope(correcting(), number=2)],
        expect={"answers": [received(2)], "inbox": 1},
    )

    def refuse(name: str, says: str, step: int, code: str, wrong: Message, base: str, **more: Any) -> None:
        book.fails(
            name, says, step, code, base=base, before=[[one]], carrier=[post.envelope(wrong, number=2)],
            expect={"answers": [refused(code, 2)], "inbox": 1}, **more,
        )  # fmt: skip

    malformed: tuple[tuple[str, str, Document], ...] = (
        ("withdrawal-with-words", "A withdrawal holds codes: a field for words is not among its fields.", {"detail": "Wrong child"}),
        ("withdrawal-reason-in-words", "The reason is a sentence instead of a code.", {"reason": "Wrong child!"}),
        ("withdrawal-without-message", "It does not say which message it takes back.", {"message": DROP}),
        ("withdrawal-of-no-alert", "The alert's id is not one.", {"alert": "BR-7KQ2-M9XT"}),
    )  # fmt: skip
    for name, says, changes in malformed:
        refuse(name, says, 9, "malformed", taking_back(**changes), "withdrawal")
    refuse("update-of-nothing", "An update that does not say which alert it corrects.", 9, "malformed", message(carried(2), 2, type="update"), "correction")  # fmt: skip
    refuse("alert-that-corrects", "A correction that is sent as an alert.", 9, "malformed", message(carried(2, in_reply_to=alert_id(1)), 2), "correction")  # fmt: skip
    third = {"node_id": THIRD, "name": "Kent front door"}
    for name, says, wrong, base in (
        ("withdrawal-by-another", "Kent takes back what Maidstone sent.", taking_back(), "withdrawal"),
        ("correction-by-another", "Kent corrects what Maidstone sent.", correcting(sender=third), "correction"),
    ):
        book.fails(
            name, says, 10, "policy", base=base, before=[[one]],
            carrier=[post.envelope(wrong, number=2, sender=THIRD)],
            expect={"answers": [refused("policy", 2)], "inbox": 1},
        )  # fmt: skip
    book.fails(
        "withdrawal-beside-its-alert",
        "A withdrawal in the envelope of what it takes back: refused, and the alert stands.",
        10,
        "policy",
        base="withdrawal",
        carrier=[post.envelope(message(), taking_back())],
        expect={"answers": [[*received(1), *refused("policy", 2)]], "inbox": 1},
    )
    book.fails(
        "correction-of-withdrawn",
        "What it corrects was withdrawn and is deleted.",
        10,
        "expired",
        base="correction",
        before=[[one], [post.envelope(taking_back(3), number=3)]],
        carrier=[post.envelope(correcting(), number=2)],
        expect={"answers": [refused("expired", 2)], "inbox": 1},
    )
