"""Receipts documents: what a recipient says of what was sent to it, and what the sender takes of that (PROTOCOL section 6)."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from bridge.crypto.keys import SigningKey
from bridge.crypto.signed import ENVELOPE, HELLO, RECEIPTS
from vectors.book import Book
from vectors.cast import CAST, DROP, RECIPIENT, SENDER, THIRD, Document, changed, compact, signed
from vectors.posting import made_up

ENVELOPE_ID: Final = made_up("envelope 1").hex()
DIGEST: Final = made_up("digest 1", 32).hex()
AT: Final = "2026-11-22T10:15:30Z"
RECEIVED: Final = "received"
QUEUED: Final = "queued"


def mid(number: int) -> str:
    """The id of a message that was sent."""
    return made_up(f"message {number}").hex()


def statement(number: int | None = 1, status: str = RECEIVED, **changes: Any) -> Document:
    """What is said of one message; with None of the whole envelope."""
    said: Document = {
        "message": None if number is None else mid(number),
        "envelope": ENVELOPE_ID,
        "digest": DIGEST,
        "status": status,
        "at": AT,
    }
    return changed(said, **changes)


def document(*statements: Document, **changes: Any) -> Document:
    """A receipts document of the recipient for the sender."""
    made: Document = {
        "v": 1,
        "issuer": RECIPIENT,
        "to": SENDER,
        "at": AT,
        "statements": list(statements or [statement()]),
    }
    return changed(made, **changes)


def sent(status: str = QUEUED, *, messages: int = 1, to: str = RECIPIENT, number: int = 1) -> list[Document]:
    """What the sender has in its outbox: one envelope, its messages all in one status."""
    numbers = range(1, messages + 1) if number == 1 else [number]
    return [
        {
            "envelope": made_up(f"envelope {number}").hex(),
            "digest": made_up(f"digest {number}", 32).hex(),
            "to": to,
            "messages": [{"id": mid(each), "status": status} for each in numbers],
        }
    ]


def receipts(book: Book) -> None:
    """All vectors of receipts documents."""
    make = _Maker(book)
    _moves(book, make)
    _stays(book, make)
    _signatures(book, make)
    _forms(book, make)
    _forged(book, make)


class _Maker:
    """Signs documents as the recipient, each argument changing one thing."""

    def __init__(self, book: Book) -> None:
        self._kept = book.kept

    def __call__(
        self,
        made: Document | bytes | None = None,
        *,
        suite: int = 1,
        purpose: str = RECEIPTS,
        signers: Sequence[SigningKey] | None = None,
        issuer: str = RECIPIENT,
        given: list[Document] | None = None,
    ) -> Document:
        raw = compact(document() if made is None else made) if not isinstance(made, bytes) else made
        keys = CAST[RECIPIENT].signing("message")[:suite] if signers is None else signers
        return {
            "node": SENDER,
            "issuer": issuer,
            "suite": suite,
            "given": {"sent": sent() if given is None else given},
            **signed(raw, self._kept.sign(purpose, [raw], keys)),
        }


BASE: Final = "received"


def _moves(book: Book, make: _Maker) -> None:
    """Documents that move a message on."""

    def ok(name: str, says: str, status: str, fields: Document, base: str | None = BASE, **more: Any) -> None:
        book.ok(name, says, base=base, **fields, expect={"statuses": {mid(1): status}, **more})

    ok(BASE, "Croydon says that it has stored the message.", RECEIVED, make(), base=None)
    ok(
        "received-suite-2",
        "The same, signed in suite 2, for an envelope of suite 2.",
        RECEIVED,
        make(suite=2),
    )
    ok(
        "signed-by-older-key",
        "Signed with an older message key of the issuer that is still in force.",
        RECEIVED,
        make(signers=CAST[RECIPIENT].signing("message", "older")),
    )
    ok(
        "refused-with-code",
        "Croydon refuses the message, with a code.",
        "refused",
        make(document(statement(status="refused", code="unknown-area", detail="The area is not ours."))),
    )
    ok(
        "refused-code-of-tomorrow",
        "A refusal with a code that is not in the table is a refusal like the others.",
        "refused",
        make(document(statement(status="refused", code="full-moon"))),
    )
    ok(
        "envelope-refused",
        "The envelope is refused unopened: the statement speaks of no message and settles all.",
        "refused",
        make(document(statement(None, status="refused", code="expired"))),
    )
    ok(
        "key-retired",
        "The key is retired: the envelope is over, its message is to be sealed anew.",
        QUEUED,
        make(document(statement(None, status="refused", code="key-retired"))),
        reseal=[ENVELOPE_ID],
    )
    ok(
        "taken-before-received",
        "`taken` arrives before `received`: what may still come moves the state on.",
        "taken",
        make(document(statement(status="taken"))),
    )
    ok(
        "closed-with-outcome",
        "Closed, with its outcome.",
        "closed",
        make(document(statement(status="closed", outcome="children_services_engaged")), given=sent("taken")),
    )
    ok(
        "not-ours-with-referral",
        "Not ours, with the area where it belongs.",
        "not_ours",
        make(document(statement(status="not_ours", referral="E10000016")), given=sent(RECEIVED)),
    )
    ok(
        "held-with-authority",
        "Kept longer, with authority and day of review.",
        "held",
        make(
            document(statement(status="held", authority="Order 1/26", until="2027-05-01")),
            given=sent(RECEIVED),
        ),
    )
    ok("late-received", "A late receipt wins over `undelivered`.", RECEIVED, make(given=sent("undelivered")))
    book.ok(
        "two-of-three",
        "One document speaks of two of three messages; the third stays as it was.",
        base=BASE,
        **make(
            document(statement(1), statement(2, status="refused", code="marking")),
            given=sent(messages=3),
        ),
        expect={"statuses": {mid(1): RECEIVED, mid(2): "refused", mid(3): QUEUED}},
    )
    ok(
        "with-checkpoint",
        "A document may carry a checkpoint of the issuer's log.",
        RECEIVED,
        make(document(checkpoint="bridge.example/croydon-mash\n1\nAAAA\n")),
    )


def _stays(book: Book, make: _Maker) -> None:
    """Valid documents that move nothing."""

    def ok(name: str, says: str, status: str, fields: Document, **more: Any) -> None:
        book.ok(name, says, base=BASE, **fields, expect={"statuses": {mid(1): status}, **more})

    ok("received-again", "The same once more moves nothing.", RECEIVED, make(given=sent(RECEIVED)))
    ok("received-after-opened", "`received` after `opened` is history.", "opened", make(given=sent("opened")))
    ok(
        "received-after-refused",
        "`refused` is final: `received` after it moves nothing and raises a security event.",
        "refused",
        make(given=sent("refused")),
        contradictions=1,
    )
    ok(
        "refused-after-received",
        "`refused` never follows `received`: it moves nothing and raises a security event.",
        RECEIVED,
        make(document(statement(status="refused", code="policy")), given=sent(RECEIVED)),
        contradictions=1,
    )


def _signatures(book: Book, make: _Maker) -> None:
    """Step 1: signed by the issuer's message keys, with all that the suite asks for."""
    issuer = CAST[RECIPIENT]
    one, two = make(), make(suite=2)

    def bad(name: str, says: str, fields: Document, base: str = BASE) -> None:
        book.fails(name, says, 1, "bad-signature", base=base, **fields, expect={"statuses": {mid(1): QUEUED}})

    text = one["document"]
    bad("byte-altered", "One letter was altered after it was signed.", {**one, "document": text.replace("received", "receiveD")})  # fmt: skip
    bad("digest-altered", "The digest was altered after it was signed.", {**one, "document": text.replace(DIGEST, made_up("digest 2", 32).hex())})  # fmt: skip
    bad("space-added", "A space was added after it was signed.", {**one, "document": text + " "})
    bad(
        "signed-by-another",
        "Signed with another partner's key.",
        make(signers=CAST[THIRD].signing("message")[:1]),
    )
    bad(
        "signed-by-us", "Signed with the sender's own key.", make(signers=CAST[SENDER].signing("message")[:1])
    )
    bad(
        "signed-by-identity-key",
        "Signed with the issuer's identity key.",
        make(signers=issuer.signing("identity")[:1]),
    )
    bad("signed-by-lapsed-key", "Signed with a message key whose time is over.", make(signers=issuer.signing("message", "lapsed")))  # fmt: skip
    bad(
        "signature-extra",
        "Suite 1 with an ML-DSA-65 signature beside it.",
        make(signers=issuer.signing("message")),
    )
    bad("signature-twice", "The signature stands twice.", {**one, "signatures": one["signatures"] * 2})
    bad(
        "suite-2-classical-alone",
        "The envelope was of suite 2, the answer is signed with Ed25519 alone.",
        {**two, "signatures": two["signatures"][:1]},
        "received-suite-2",
    )
    bad(
        "suite-2-post-quantum-alone",
        "The envelope was of suite 2, the answer is signed with ML-DSA-65 alone.",
        {**two, "signatures": two["signatures"][1:]},
        "received-suite-2",
    )
    bad(
        "signed-as-envelope",
        "Signed by the issuer, but as an envelope: another purpose.",
        make(purpose=ENVELOPE),
    )
    bad("signed-as-hello", "Signed by the issuer, but as a hello: another purpose.", make(purpose=HELLO))


def _forms(book: Book, make: _Maker) -> None:
    """Step 2: well formed. All of them are properly signed."""

    def broken(name: str, says: str, made: Document | bytes, **more: Any) -> None:
        expect = {"statuses": {mid(1): QUEUED}}
        book.fails(name, says, 2, "malformed", base=BASE, **make(made, **more), expect=expect)

    def text(name: str, says: str, change: Callable[[bytes], bytes]) -> None:
        broken(name, says, change(compact(document())))

    for each in ("v", "issuer", "to", "at", "statements"):
        broken(f"without-{each}", f"The document lacks `{each}`.", document(**{each: DROP}))
    for each in ("message", "envelope", "digest", "status", "at"):
        broken(
            f"statement-without-{each}",
            f"A statement lacks `{each}`.",
            document(changed(statement(), **{each: DROP})),
        )
    broken("extra-field", "The document has a field that is not in the text.", document(note="x"))
    broken(
        "statement-extra-field",
        "A statement has a field that is not in the text.",
        document(statement(name="x")),
    )
    text("field-twice", "A field stands twice in a statement.", lambda raw: raw.replace(b'"status":', b'"status":"taken","status":'))  # fmt: skip
    text("trailing", "Something follows the JSON.", lambda raw: raw + b"{}")
    broken("no-statements", "There is no statement.", document(statements=[]))
    broken("naive-time", "The time of a statement has no zone.", document(statement(at=AT[:-1])))
    broken(
        "other-zone",
        "The time of the document is in another zone than UTC.",
        document(at="2026-11-22T11:15:30+01:00"),
    )
    broken("status-unknown", "A status that is not in the table.", document(statement(status="read")))
    broken("status-queued", "`queued` is never stated.", document(statement(status=QUEUED)))
    broken(
        "digest-upper-case",
        "The digest is written in upper case.",
        document(statement(digest=DIGEST.upper())),
    )
    broken("refused-without-code", "A refusal without a code.", document(statement(status="refused")))
    broken(
        "closed-without-outcome",
        "Closed without an outcome.",
        document(statement(status="closed")),
        given=sent(),
    )
    broken(
        "outcome-without-closed",
        "An outcome beside `received`.",
        document(statement(outcome="no_further_action")),
    )
    broken(
        "referral-without-not-ours",
        "A referral beside `received`.",
        document(statement(referral="E10000016")),
    )
    broken("held-without-authority", "Kept longer without an authority.", document(statement(status="held")))
    broken(
        "until-without-held", "A day of review beside `received`.", document(statement(until="2027-05-01"))
    )
    broken("envelope-received", "`received` said of a whole envelope.", document(statement(None)))
    broken("detail-bidi", "The detail holds U+202E.", document(statement(status="refused", code="policy", detail="a\u202eb")))  # fmt: skip
    broken("version-2", "The version is 2.", document(v=2))


def _forged(book: Book, make: _Maker) -> None:
    """Steps 3 and 4: whose word it is, and of what. All of them are properly signed and well formed."""

    def forged(name: str, says: str, step: int, *statements: Document, **more: Any) -> None:
        given = more.pop("given", None)
        fields = make(document(*statements, **more), given=given)
        statuses = {each["id"]: each["status"] for e in fields["given"]["sent"] for each in e["messages"]}
        book.fails(name, says, step, "forged-receipt", base=BASE, **fields, expect={"statuses": statuses})

    forged("issuer-another", "Croydon signs a document that names Kent as its issuer.", 3, issuer=THIRD)
    forged("to-another", "The document is for Kent.", 3, to=THIRD)
    forged(
        "for-another-recipients-envelope",
        "Croydon answers for an envelope that was sent to Kent.",
        4,
        given=sent(to=THIRD),
    )
    forged("digest-of-another", "The digest is that of another envelope.", 4, statement(digest=made_up("digest 2", 32).hex()))  # fmt: skip
    forged(
        "envelope-never-sent",
        "The envelope was never sent.",
        4,
        statement(envelope=made_up("envelope 2").hex()),
    )
    forged("message-not-in-envelope", "The message was not in that envelope.", 4, statement(message=mid(2)))
    forged("says-undelivered", "The recipient says `undelivered`, which only the sender may.", 4, statement(status="undelivered"))  # fmt: skip
    forged("says-withdrawn", "The recipient says `withdrawn`, which only the sender may.", 4, statement(status="withdrawn"))  # fmt: skip
    forged(
        "one-of-two-forged",
        "The first statement is in order, the second is of a message that was not sent: the whole document is forged.",
        4,
        statement(1),
        statement(2),
    )
