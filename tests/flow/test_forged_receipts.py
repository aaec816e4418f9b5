"""Receipts that are not the recipient's own word about what it was sent settle nothing (PROTOCOL section 6)."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from county import County, Exchange, Fault, Forge, Hand, Wire, alert

from bridge import wire
from bridge.envelopes import Envelope, MessageType, Signed
from bridge.nodes.transport import Answer
from bridge.receipts import Status

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"

Make = Callable[[Forge, Envelope, str], Signed]
"""(a forger with the recipient's keys, the envelope it was sent, the id of the message in it) to a document."""


def saying(status: Status = Status.RECEIVED, **changes: Any) -> Make:
    """The honest statement with some fields changed."""

    def make(forge: Forge, envelope: Envelope, message: str) -> Signed:
        honest = forge.statement(envelope, message, status)
        return forge.receipts(msgspec.structs.replace(honest, **changes))

    return make


def written(**changes: str) -> Make:
    """The honest document with its issuer or addressee changed."""
    return lambda forge, envelope, message: forge.receipts(
        forge.statement(envelope, message, Status.RECEIVED), **changes
    )


def by_another(forge: Forge, envelope: Envelope, message: str) -> Signed:
    other = Forge(forge.county, HOUSING, JCP)
    return forge.receipts(forge.statement(envelope, message, Status.RECEIVED), by=other.identity)


def altered(forge: Forge, envelope: Envelope, message: str) -> Signed:
    honest = forge.receipts(forge.statement(envelope, message, Status.RECEIVED))
    return Signed(honest.document.replace(b"received", b"opened"), honest.signatures)


FORGED: dict[str, tuple[str, Make]] = {
    "its issuer is another node": ("forged-receipt", written(issuer=HOUSING)),
    "it is for another node": ("forged-receipt", written(to=HOUSING)),
    "its digest is another envelope's": ("forged-receipt", saying(digest="ab" * 32)),
    "its envelope was never sent": ("forged-receipt", saying(envelope="ab" * 16)),
    "its message was not in the envelope": ("forged-receipt", saying(message="ab" * 16)),
    "it says undelivered, which only the sender may": ("forged-receipt", saying(status=Status.UNDELIVERED)),
    "it says withdrawn, which only the sender may": ("forged-receipt", saying(status=Status.WITHDRAWN)),
    "one of its statements is forged": (
        "forged-receipt",
        lambda forge, envelope, message: forge.receipts(
            forge.statement(envelope, message, Status.RECEIVED), forge.statement(envelope, "ab" * 16, Status.RECEIVED)
        ),
    ),
    "its signature is another partner's": ("bad-signature", by_another),
    "it was altered after it was signed": ("bad-signature", altered),
}
each_forgery = pytest.mark.parametrize("case", FORGED)


def answering(make: Make, forge: Forge) -> Fault:
    """The recipient takes the envelopes in, and says something else."""

    async def fault(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        await hand(exchange.body)
        messages = await forge.county.messages(JCP)
        made: list[Signed | None] = [make(forge, each, messages[0].id.hex()) for each in exchange.envelopes]
        return Answer(200, wire.encode_answer(made))

    return fault


@each_forgery
async def test_a_forged_answer_settles_nothing_and_the_honest_one_that_follows_does(county: County, case: str) -> None:
    await county.add(JCP, MASH, HOUSING)
    code, make = FORGED[case]
    county.wire.next(answering(make, Forge(county, MASH, JCP)))
    sent = await county.send(JCP, alert())
    await county.settle(limit=60)
    assert await county.statuses(JCP, sent.id) == {MASH: "received"}
    held = await county.stored(JCP)
    assert (held["receipts"], held["statements"]) == (1, 1), "nothing of the forgery is kept"
    # What the partner did not sign is a failed try like any garbled answer; what it signed falsely is an event.
    assert county.events(JCP) == ({(MASH, code): 1} if code == "forged-receipt" else {})
    assert await county.inbox(MASH) == [sent.id]


@each_forgery
async def test_a_forged_later_receipt_is_refused_by_name_and_moves_nothing(county: County, case: str) -> None:
    await county.add(JCP, MASH, HOUSING)
    sent = await county.send(JCP, alert())
    await county.settle()
    code, make = FORGED[case]
    forge = Forge(county, MASH, JCP)
    envelope = county.wire.posts(to=MASH)[-1].envelopes[0]
    signed = make(forge, envelope, sent.route[0].message)
    carrying = forge.envelope(forge.message(wire.encode_signed(signed), MessageType.RECEIPTS))
    before = await county.stored(JCP)
    assert await county.verdict(JCP, carrying) == [("refused", code)]
    assert county.events(JCP) == {(MASH, code): 1}
    after = await county.stored(JCP)
    assert {name for name in after if after[name] != before[name]} == {"seen"}
    assert await county.statuses(JCP, sent.id) == {MASH: "received"}


async def test_one_partner_cannot_answer_for_another(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    sent = await county.send(JCP, alert())
    await county.settle()
    forge = Forge(county, HOUSING, JCP)
    envelope = county.wire.posts(to=MASH)[-1].envelopes[0]
    signed = forge.receipts(forge.statement(envelope, sent.route[0].message, Status.CLOSED, outcome="safeguarding_referral"))
    carrying = forge.envelope(forge.message(wire.encode_signed(signed), MessageType.RECEIPTS))
    assert await county.verdict(JCP, carrying) == [("refused", "forged-receipt")]
    assert county.events(JCP) == {(HOUSING, "forged-receipt"): 1}
    assert await county.statuses(JCP, sent.id) == {MASH: "received"}


async def test_receipts_that_are_not_well_formed_are_refused(county: County) -> None:
    await county.add(JCP, MASH)
    forge = Forge(county, MASH, JCP)
    for payload in (b"", b"\x92\xa1x\x90", b"{}"):
        assert await county.verdict(JCP, forge.envelope(forge.message(payload, MessageType.RECEIPTS))) == [
            ("refused", "malformed")
        ]
    assert county.events(JCP) == {(MASH, "malformed"): 3}


async def test_an_answer_that_is_silent_about_a_message_leaves_the_envelope_to_be_sent_again(county: County) -> None:
    await county.add(JCP, MASH)
    forge = Forge(county, MASH, JCP)
    county.wire.cut(MASH)
    sent = [await county.send(JCP, alert()) for _ in range(3)]

    def half(forge: Forge, envelope: Envelope, message: str) -> Signed:
        return forge.receipts(forge.statement(envelope, message, Status.RECEIVED))

    await county.quiet()
    county.wire.next(answering(half, forge), times=1)
    county.wire.join(MASH)
    await county.settle(limit=60)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)
    assert {row.status for row in await county.messages(JCP)} == {Status.RECEIVED}


async def test_a_verdict_that_contradicts_the_first_is_kept_as_evidence_and_moves_nothing(county: County) -> None:
    await county.add(JCP, MASH)
    sent = await county.send(JCP, alert())
    await county.settle()
    forge = Forge(county, MASH, JCP)
    envelope = county.wire.posts(to=MASH)[-1].envelopes[0]
    signed = forge.receipts(forge.statement(envelope, sent.route[0].message, Status.REFUSED, code="policy"))
    carrying = forge.envelope(forge.message(wire.encode_signed(signed), MessageType.RECEIPTS))
    assert await county.verdict(JCP, carrying) == [("received", None)]
    assert county.events(JCP) == {(MASH, "contradiction"): 1}
    assert await county.statuses(JCP, sent.id) == {MASH: "received"}
    assert (await county.stored(JCP))["statements"] == 2


async def test_receipts_in_any_order_end_in_the_same_state(county: County) -> None:
    await county.add(JCP, MASH)
    sent = await county.send(JCP, alert())
    await county.settle()
    forge = Forge(county, MASH, JCP)
    envelope = county.wire.posts(to=MASH)[-1].envelopes[0]
    message = sent.route[0].message
    steps: list[tuple[Status, dict[str, str]]] = [
        (Status.CLOSED, {"outcome": "safeguarding_referral"}),
        (Status.OPENED, {}),
        (Status.TAKEN, {}),
        (Status.COLLECTED, {}),
    ]
    for status, more in steps:
        signed = forge.receipts(forge.statement(envelope, message, status, **more))
        carrying = forge.envelope(forge.message(wire.encode_signed(signed), MessageType.RECEIPTS))
        assert await county.verdict(JCP, carrying) == [("received", None)]
        assert await county.statuses(JCP, sent.id) == {MASH: "closed/safeguarding_referral"}
    assert county.events(JCP) == {}
