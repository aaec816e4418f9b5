"""What a partner's signed receipts change in our own records, inside one unit.

The caller has verified the signature; here each statement is held against what was really sent. A document is
taken whole or not at all: one statement that is not the recipient's own about what it was sent makes it forged.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from bridge import wire
from bridge.clock import millis, moment
from bridge.crypto.identity import Identity
from bridge.crypto.signed import RECEIPTS
from bridge.envelopes import MessageType, Signature, Signed
from bridge.errors import Rejected
from bridge.receipts import (
    ReceiptsDocument,
    Statement,
    Status,
    advance,
    check_statement,
    contradicts,
    refusal,
)
from bridge.storage import outbox, receipts, sent
from bridge.storage.database import Transaction
from bridge.storage.events import New, of_status, tell

RECEIPTS_DAYS = 29
"""How long a later receipt may be on its way."""


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """The codes of a statement beyond its status, as kept in the `detail` column."""

    outcome: str | None = None
    referral: str | None = None
    until: str | None = None
    authority: str | None = None
    detail: str | None = None


class Change(NamedTuple):
    """A message whose status moved."""

    message_id: bytes
    alert_id: str | None
    partner: str
    old: str
    new: str
    statement: Statement


class Settled(NamedTuple):
    """What a document did: moved statuses, envelopes to seal anew, and statements no honest order could hold."""

    changes: list[Change]
    reseal: list[bytes]
    contradictions: int


async def apply(tx: Transaction, signed: Signed, document: ReceiptsDocument, now: int) -> Settled:
    """Take a verified document (`now` in ms). Doing it twice is the same as once.

    Raises Rejected `forged-receipt` before anything is written.
    """
    ids = list(dict.fromkeys(bytes.fromhex(each.envelope) for each in document.statements))
    posted, inside = await tx.fetch_each([outbox.posted(ids), sent.standing_in(ids)])
    envelopes = {row[0]: outbox.Posted(*row) for row in posted}
    carried: dict[bytes, dict[str, sent.Standing]] = defaultdict(dict)
    for row in inside:
        message = sent.Standing(*row)
        carried[message.envelope_id or b""][message.id.hex()] = message
    for envelope in envelopes.values():
        if envelope.abandoned_at is not None:
            # It was given up, and what was left of it went in another; but it may have arrived all the same.
            named = [each.message for each in document.statements if each.envelope == envelope.id.hex()]
            wanted = [bytes.fromhex(each) for each in named if each and each not in carried[envelope.id]]
            for message in await sent.standing(tx, envelope.partner, wanted) if wanted else ():
                carried[envelope.id][message.id.hex()] = message
    said = []
    for statement in document.statements:
        about = envelopes.get(bytes.fromhex(statement.envelope))
        if about is None:
            raise Rejected("forged-receipt", "A receipt is for an envelope that was not sent.")
        check_statement(
            statement,
            issuer=document.issuer,
            recipient=about.partner,
            envelope=about.id.hex(),
            digest=about.digest.hex(),
            messages=carried[about.id].keys(),
        )
        said.append((about, statement))

    digest = hashlib.sha256(signed.document).digest()
    outcome = Settled([], [], 0)
    moved: dict[bytes, tuple[str, int, str | None, int | None, bytes]] = {}
    kept: list[sent.Statement] = []
    contradictions = 0
    over: set[bytes] = set()
    for envelope, statement in said:
        if statement.status is Status.REFUSED and not refusal(statement.code or "").settles_message:
            outcome.reseal.append(envelope.id)
            over.add(envelope.id)
            continue
        messages = carried[envelope.id]
        for message in messages.values() if statement.message is None else [messages[statement.message]]:
            current = moved[message.id][0] if message.id in moved else message.status
            new = advance(current, statement.status)
            contradictions += contradicts(current, statement.status)
            kept.append(_row(message.id, statement, digest, now))
            if new != current:
                code = statement.code or statement.outcome
                moved[message.id] = (new, millis(statement.at), code, now, message.id)
                outcome.changes.append(
                    Change(message.id, message.alert_id, envelope.partner, current, new, statement)
                )
            elif message.settled_at is None and message.id not in moved:
                moved[message.id] = (current, message.status_at, message.code, now, message.id)
    for envelope in {envelope.id: envelope for envelope, _ in said}.values():
        if all(m.settled_at is not None or m.id in moved for m in carried[envelope.id].values()):
            over.add(envelope.id)
    await receipts.add(
        tx, [receipts.Receipt(digest, document.issuer, signed.document, pack(signed.signatures), now)]
    )
    await sent.add_statements(tx, kept)
    await sent.set_status(tx, moved.values())
    await outbox.settle(tx, over, now)
    for envelope_id in outcome.reseal:
        await outbox.release(tx, envelope_id)
    await _tell(tx, outcome.changes, now)
    return outcome._replace(contradictions=contradictions)


async def _tell(tx: Transaction, changes: Sequence[Change], at: int) -> None:
    """Tell the area's own systems, in the unit in which it became true."""
    told: list[New] = []
    for change in changes:
        said = change.statement
        code = said.code or said.outcome or said.referral
        told += of_status(change.alert_id, change.partner, change.new, code, change.message_id)
    await tell(tx, told, at)


def _row(message_id: bytes, statement: Statement, receipt: bytes, now: int) -> sent.Statement:
    detail = Detail(
        outcome=statement.outcome,
        referral=statement.referral,
        until=statement.until.isoformat() if statement.until else None,
        authority=statement.authority,
        detail=statement.detail,
    )
    return sent.Statement(
        message_id,
        statement.status,
        millis(statement.at),
        statement.code,
        None if detail == Detail() else msgspec.json.encode(detail).decode(),
        receipt,
        now,
    )


def pack(signatures: Iterable[object]) -> bytes:
    """Signatures as a database column keeps them."""
    return msgspec.msgpack.encode(list(signatures))


def say(
    identity: Identity,
    to: str,
    statements: Sequence[Statement],
    at: int,
    suite: int | None = None,
    checkpoint: str | None = None,
) -> Signed:
    """Statements of ours for another node (or, about what we sent, for ourselves), signed. `at` in ms.

    `checkpoint` is the newest head of our audit log, where the other node should see it.
    """
    document = wire.encode_json(
        ReceiptsDocument(
            v=1,
            issuer=identity.node_id,
            to=to,
            at=moment(at),
            statements=tuple(statements),
            checkpoint=checkpoint,
        )
    )
    signatures = identity.sign_message(RECEIPTS, [document], suite)
    return Signed(document, tuple(Signature(*each) for each in signatures))


def telling(message_id: bytes, partner: str, signed: Signed, at: int) -> sent.Message:
    """The outbox row that carries receipts of ours to the partner they are for."""
    return sent.Message(
        id=message_id,
        type=MessageType.RECEIPTS,
        alert_id=None,
        partner=partner,
        position=0,
        leg="{}",
        payload=wire.encode_signed(signed),
        urgent=0,
        created_at=at,
        deliver_by=at + RECEIPTS_DAYS * 24 * 3600 * 1000,
        envelope_id=None,
        status=Status.QUEUED,
        status_at=at,
    )


def about_sent(
    message: sent.Message, envelopes: Mapping[bytes, outbox.Envelope], status: Status, at: int, code: str
) -> Statement:
    """A statement of ours about a message that we sent; one that no envelope carried yet names none."""
    envelope = envelopes.get(message.envelope_id or b"")
    return Statement(
        message=message.id.hex(),
        envelope=envelope.id.hex() if envelope else "0" * 32,
        digest=envelope.digest.hex() if envelope else "0" * 64,
        status=status,
        at=moment(at),
        code=code,
    )


async def own_word(
    tx: Transaction, identity: Identity, rows: Sequence[tuple[sent.Message, Statement]], at: int
) -> list[Change]:
    """Keep our own signed word on messages we sent (`undelivered`, `withdrawn`), and move their status."""
    if not rows:
        return []
    signed = say(identity, identity.node_id, [statement for _, statement in rows], at)
    digest = hashlib.sha256(signed.document).digest()
    packed = pack(signed.signatures)
    await receipts.add(tx, [receipts.Receipt(digest, identity.node_id, signed.document, packed, at)])
    await sent.add_statements(tx, [_row(message.id, statement, digest, at) for message, statement in rows])
    changes = []
    for message, statement in rows:
        new = advance(message.status, statement.status)
        if new != message.status:
            changes.append(
                Change(message.id, message.alert_id, message.partner or "", message.status, new, statement)
            )
    await sent.set_status(
        tx, [(c.new, at, c.statement.code, None, c.message_id) for c in changes]
    )
    await _tell(tx, changes, at)
    return changes
