"""A sender takes an alert back; every holder marks it at once, deletes it, and answers with a signed receipt.

A withdrawal holds ids and a reason's code and nothing personal, so it needs no key of the alert and outlives it.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from bridge import wire
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto.identity import Identity
from bridge.envelopes import MessageType
from bridge.errors import Rejected
from bridge.events import about
from bridge.metrics import Metrics
from bridge.receipts import LATER, Statement, Status
from bridge.storage import audit, outbox, retention, seen, sent, settlement
from bridge.storage.database import Database, Transaction
from bridge.storage.events import New, tell
from bridge.storage.partners import Book
from bridge.storage.retention import Due
from bridge.withdrawals import REASONS, Withdrawal

Purge = Callable[[Transaction, Sequence[Due], str, str, int], Awaitable[set[str]]]
"""Deletes received alerts inside a unit; see `Retain.purge_within`."""


class Withdraw:
    """Takes alerts back, and takes in that a sender did. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        book: Book,
        identity: Callable[[], Identity],
        purge: Purge,
        wake: Callable[[str], None],
        clock: Clock,
        metrics: Metrics,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._book = book
        self._identity = identity
        self._purge = purge
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._random = random

    async def withdraw(self, ref: str, reason: str, actor: str) -> dict[str, Any]:
        """Take an alert back from everyone who has it, or may have it. Twice is the same as once.

        `reason` is one of `REASONS`. Raises Rejected `not-found` and `usage`.
        """
        if reason not in REASONS:
            raise Rejected("usage", "This is not one of the reasons.", f"Use one of {', '.join(REASONS)}.")
        row = await sent.alert(self._db, ref)
        if row is None:
            raise Rejected("not-found", "There is no sent alert with this reference.")
        if row.withdrawn_at is None:
            await self._take_back(row, reason, actor)
        return {"id": row.id, "reference": row.reference, "reason": reason, "holders": await self.holders(row.id)}

    async def _take_back(self, row: sent.Alert, reason: str, actor: str) -> None:
        now = self._clock.now()
        at = millis(now)
        woken: set[str] = set()
        # If we stop here, nothing is withdrawn and the sender asks again.
        async with self._db.transaction() as tx:
            messages = await sent.messages_of(tx, [row.id])
            envelopes = await outbox.envelopes(tx, [m.envelope_id for m in messages if m.envelope_id])
            said: list[tuple[sent.Message, Statement]] = []
            made: list[sent.Message] = []
            unsent: list[bytes] = []
            for message in messages:
                if Status.WITHDRAWN not in LATER[Status(message.status)]:
                    continue
                envelope = envelopes.get(message.envelope_id or b"")
                said.append((message, _word(message, envelope, reason, at)))
                if message.partner is None or message.envelope_id is None:
                    unsent.append(message.id)  # it never left: there is nobody to tell
                    continue
                woken.add(message.partner)
                payload = Withdrawal(1, row.id, message.id.hex(), reason)
                made.append(
                    message._replace(
                        id=self._random(16),
                        type=MessageType.WITHDRAW,
                        position=message.position,
                        leg="{}",
                        payload=wire.encode_json(payload),
                        urgent=1,
                        created_at=at,
                        deliver_by=millis(now + timedelta(days=29)),
                        envelope_id=None,
                        status=Status.QUEUED,
                        status_at=at,
                        code=reason,
                        warned_at=None,
                        settled_at=None,
                    )
                )
            await settlement.own_word(tx, self._identity(), said, at)
            await sent.end(tx, unsent, at)
            await sent.add_messages(tx, made)
            await sent.mark_withdrawn(tx, row.id, at)
            events = [Event("alert:withdrawn", actor, row.id, outcome=reason)]
            events += [Event("message:queued", m.partner or "held", m.id.hex(), alert=row.id) for m in made]
            await audit.append(tx, events, at)
        # If we stop here, the withdrawals wait in the outbox and leave when the node starts again.
        for partner in woken:
            self._wake(partner)

    async def holders(self, alert_id: str) -> list[dict[str, Any]]:
        """For a withdrawn alert: each recipient, whether it has said that its copy is deleted, and whom to ring."""
        messages = await sent.messages_of(self._db, [alert_id], withdrawals=True)
        asked = {m.position: m for m in messages if m.type == MessageType.WITHDRAW}
        found = []
        for message in messages:
            request = asked.get(message.position)
            if message.type == MessageType.WITHDRAW or request is None or message.partner is None:
                continue
            partner = self._book.get(message.partner)
            contact = partner.descriptor.contact if partner else None
            done = message.status == Status.PURGED
            held = message.status == Status.HELD
            found.append(
                {
                    "node": message.partner,
                    "name": partner.descriptor.name if partner else message.partner,
                    "asked": moment(request.created_at),
                    "reached": request.settled_at is not None and request.status == Status.RECEIVED,
                    "deleted": done,
                    "deleted_at": moment(message.status_at) if done else None,
                    "kept_on_hold": held,
                    "telephone": None if done or contact is None else contact.telephone,
                    "desk": None if done or contact is None else contact.desk,
                }
            )
        return found

    # The receiving end

    async def taken_back(
        self, tx: Transaction, partner: str, payload: Withdrawal, at: int, until: int
    ) -> tuple[Rejected | None, set[str]]:
        """A sender's withdrawal, inside the unit that stores its receipt; the partners to wake after it.

        What is held stays, marked. What has not come yet will be refused when it does.
        """
        rows = await retention.inbox_of(tx, payload.alert, partner)
        message_id = bytes.fromhex(payload.message)
        known = (await seen.find(tx, [message_id])).get(message_id)
        if known is None:
            await seen.add(tx, [seen.Seen(message_id, partner, b"", "withdrawn", None, until)])
            return None, set()
        if known.partner != partner:
            return Rejected("policy", "The alert is another sender's."), set()
        mine = [row for row in rows if row.message_id == message_id]
        await retention.mark_withdrawn(tx, [row.seq for row in mine], at)
        if mine:
            await tell(tx, [New("alert.updated", about(payload.alert, partner=partner, code="withdrawn"))], at)
        free = [row for row in mine if not row.bucket_day.startswith("hold-")]
        return None, await self._purge(tx, free, "withdrawn", partner, at)


def _word(message: sent.Message, envelope: outbox.Envelope | None, reason: str, at: int) -> Statement:
    return Statement(
        message=message.id.hex(),
        envelope=envelope.id.hex() if envelope else "0" * 32,
        digest=envelope.digest.hex() if envelope else "0" * 64,
        status=Status.WITHDRAWN,
        at=moment(at),
        code=reason,
    )
