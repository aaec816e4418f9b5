"""A sender takes an alert back; every holder marks it at once, deletes it, and answers with a signed receipt.

A withdrawal holds ids and a reason's code and nothing personal, so it needs no key of the alert and outlives it.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
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
from bridge.storage import audit, early, outbox, retention, seen, sent, settlement
from bridge.storage.database import Database, Transaction
from bridge.storage.events import New, tell
from bridge.storage.partners import Book
from bridge.storage.retention import Due
from bridge.withdrawals import REASONS, Withdrawal

Purge = Callable[[Transaction, Sequence[Due], str, str, int], Awaitable[set[str]]]
"""Deletes received alerts inside a unit; see `Retain.purge_within`."""

ON_ITS_WAY_MS = 30 * 86_400_000
"""As long as an alert may be on its way: what arrives after its withdrawal was forgotten is too late by itself."""

OURS = frozenset({Status.WITHDRAWN, Status.UNDELIVERED})
"""What we say ourselves of what we sent."""

GONE = frozenset({Status.PURGED, Status.REFUSED})
"""What a holder says when it has no copy, or not any more."""


class Withdraw:
    """Takes alerts back, and takes in that a sender did. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        book: Book,
        identity: Callable[[], Identity],
        purge: Purge,
        own_copy: Callable[[Transaction, sent.Alert, str | None], Awaitable[None]],
        wake: Callable[[str], None],
        clock: Clock,
        metrics: Metrics,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._book = book
        self._identity = identity
        self._purge = purge
        self._own_copy = own_copy
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
            raise Rejected(
                "not-found", "There is no sent alert with this reference.", "`bridge alert list` shows those that are known."
            )
        await self.take_back(row.id, reason, actor)
        return {"id": row.id, "reference": row.reference, **(await self.state(row.id) or {})}

    async def state(self, alert_id: str) -> dict[str, Any] | None:
        """How a withdrawal stands: when, why, who has it deleted and who has not said so; None if there is none."""
        row = await sent.alert(self._db, alert_id)
        if row is None or row.withdrawn_at is None:
            return None
        messages = await sent.messages_of(self._db, [alert_id])
        statements = await sent.statements_of(self._db, [message.id for message in messages])
        holders = await self._holders(row.id, messages, statements)
        corrections = await sent.corrections_of(self._db, row.id)
        return {
            "at": moment(row.withdrawn_at),
            "reason": next((each.code for each in statements if each.status == Status.WITHDRAWN), None),
            "holders": holders,
            "unanswered": sum(not each["deleted"] for each in holders),
            "corrected_by": [reference for reference, withdrawn in corrections if not withdrawn],
            "own_copy_until": None if row.purged_at is not None else moment(row.retain_until),
        }

    async def take_back(self, alert_id: str, reason: str, actor: str) -> None:
        """Take back an alert that is known to be ours, for a reason that is known to be one."""
        now = self._clock.now()
        at = millis(now)
        woken: set[str] = set()
        # If we stop here, nothing is withdrawn and the sender asks again.
        async with self._db.transaction() as tx:
            row = await sent.alert(tx, alert_id)
            if row is None or row.withdrawn_at is not None:
                return  # somebody else was faster
            messages = await sent.messages_of(tx, [row.id])
            envelopes = await outbox.envelopes(tx, [m.envelope_id for m in messages if m.envelope_id])
            said: list[tuple[sent.Message, Statement]] = []
            made: list[sent.Message] = []
            ended: list[bytes] = []
            flying: list[bytes] = []
            for message in messages:
                # What is held there stays, but its holder is told as well, and marks it.
                if Status.WITHDRAWN not in LATER[Status(message.status)] and message.status != Status.HELD:
                    continue
                said.append((message, settlement.about_sent(message, envelopes, Status.WITHDRAWN, at, reason)))
                if message.settled_at is None:
                    ended.append(message.id)
                if message.partner is None:
                    continue
                if message.envelope_id is None and not await outbox.abandoned_since(
                    tx, message.partner, message.created_at
                ):
                    continue  # it never left: there is nobody to tell
                if message.envelope_id is not None and message.settled_at is None:
                    flying.append(message.envelope_id)
                woken.add(message.partner)
                payload = Withdrawal(1, row.id, message.id.hex(), reason)
                made.append(
                    message._replace(
                        id=self._random(16),
                        type=MessageType.WITHDRAW,
                        leg="{}",
                        payload=wire.encode_json(payload),
                        urgent=1,
                        created_at=at,
                        deliver_by=at + ON_ITS_WAY_MS,
                        envelope_id=None,
                        status=Status.QUEUED,
                        status_at=at,
                        code=reason,
                        warned_at=None,
                        settled_at=None,
                    )
                )
            await settlement.own_word(tx, self._identity(), said, at)
            await sent.end(tx, ended, at)
            await outbox.abandon(tx, flying, at)
            await sent.add_messages(tx, made)
            await sent.mark_withdrawn(tx, row.id, at)
            await self._own_copy(tx, row, reason)
            events = [Event("alert:withdrawn", actor, row.id, outcome=reason)]
            events += [Event("message:queued", m.partner or "held", m.id.hex(), alert=row.id) for m in made]
            await audit.append(tx, events, at)
        # If we stop here, the withdrawals wait in the outbox and leave when the node starts again.
        for partner in woken:
            self._wake(partner)

    async def _holders(
        self, alert_id: str, messages: Sequence[sent.Message], statements: Sequence[sent.Statement]
    ) -> list[dict[str, Any]]:
        """For a withdrawn alert: each recipient, whether it has said that its copy is deleted, and whom to ring."""
        asked = {each.position: each for each in await sent.withdrawals_of(self._db, alert_id)}
        came = {each.message_id for each in statements if each.status not in OURS}
        found = []
        for message in messages:
            request = asked.get(message.position)
            if request is None or message.partner is None:
                continue
            partner = self._book.get(message.partner)
            contact = partner.descriptor.contact if partner else None
            reached = request.settled_at is not None and request.status == Status.RECEIVED
            # What nobody ever signed for has no copy to delete once the withdrawal is there: it will not be let in.
            done = message.status in GONE or (reached and message.id not in came)
            held = message.status == Status.HELD
            found.append(
                {
                    "node": message.partner,
                    "name": partner.descriptor.name if partner else message.partner,
                    "asked": moment(request.created_at),
                    "reached": reached,
                    "deleted": done,
                    "deleted_at": moment(message.status_at if message.status in GONE else request.status_at)
                    if done
                    else None,
                    "kept_on_hold": held,
                    "telephone": None if done or contact is None else contact.number,
                    "desk": None if done or contact is None else contact.desk,
                    "hours": None if done or contact is None else contact.times,
                }
            )
        return found

    # The receiving end

    async def taken_back(
        self,
        tx: Transaction,
        partner: str,
        payload: Withdrawal,
        at: int,
        until: int,
        before: dict[bytes, seen.Seen],
    ) -> tuple[Rejected | None, set[str]]:
        """A sender's withdrawal, inside the unit that stores its receipt; the partners to wake after it.

        What is held stays, marked. What has not come yet will be refused when it does: `before` is what the unit knows
        of ids that came, and learns of it.
        """
        rows = await retention.inbox_of(tx, payload.alert, partner)
        message_id = bytes.fromhex(payload.message)
        known = before.get(message_id) or (await seen.find(tx, [message_id])).get(message_id)
        if known is None:
            before[message_id] = seen.Seen(message_id, partner, b"", "withdrawn", None, until)
            await seen.add(tx, [before[message_id]])
            last = moment(until).date().isoformat()
            await early.add(tx, [early.Early(early.RECEIVED, message_id.hex(), at, "withdrawn", last)])
            return None, set()
        if known.partner != partner:
            return Rejected("policy", "The alert is another sender's."), set()
        mine = [row for row in rows if row.message_id == message_id]
        await retention.mark_withdrawn(tx, [row.seq for row in mine], at, payload.reason)
        if mine:
            await tell(tx, [New("alert.updated", about(payload.alert, partner=partner, code="withdrawn"))], at)
        free = [row for row in mine if not retention.is_held(row.bucket_day)]
        return None, await self._purge(tx, free, "withdrawn", partner, at)

