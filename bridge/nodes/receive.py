"""A partner's envelopes into the inbox, each answered by a signed receipts document (PROTOCOL section 5).

The checks, in this order; the numbers are those of the protocol and of the tests:

 1 size; 2 carrier and header well formed; 3 to me, suite known, time window; 4 sender known, active, descriptor not
 blocked; 5 signatures; 6 seen before; 7 opens; 8 padding and commitment; 9 schema; 10 policy; 11 one unit: content,
 seen rows, receipt, audit; 12 the signed answer.

Nothing is answered before it is stored. What cannot be authenticated gets no signature of ours and no verdict.
"""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import structlog

from bridge import agreements, alerts, targets, wire
from bridge.alerts import Alert, Carried
from bridge.areas import Gazetteer, day_of
from bridge.audit import Event
from bridge.clock import Clock, end_of, millis, moment
from bridge.crypto import envelope as seals
from bridge.crypto import merkle
from bridge.crypto.identity import Identity
from bridge.crypto.signed import ENVELOPE, RECEIPTS, digest, verify
from bridge.crypto.vault import DataKey
from bridge.envelopes import Envelope, Header, Message, MessageType, Signature, Signed
from bridge.errors import BridgeError, Malformed, Rejected, Unavailable
from bridge.events import about
from bridge.metrics import Metrics
from bridge.partners import Freshness, Partner, State, freshness
from bridge.receipts import ReceiptsDocument, Statement, Status
from bridge.remarks import LIMIT as REMARK_LIMIT
from bridge.remarks import Answer, Question
from bridge.retention import Classes, kept_here, told_before
from bridge.storage import audit, early, inbox, retention, seen, settlement
from bridge.storage.contents import CONTENT, Contents
from bridge.storage.database import Database, Transaction
from bridge.storage.early import RECEIVED, Early
from bridge.storage.events import New, tell
from bridge.storage.partners import Book, verification_keys
from bridge.withdrawals import LIMIT as WITHDRAWAL_LIMIT
from bridge.withdrawals import Withdrawal

log = structlog.get_logger()

SKEW = timedelta(minutes=10)
DAY_MS = 24 * 3600 * 1000


@dataclass
class _Arriving:
    """One envelope on its way through the checks."""

    envelope: Envelope
    header: Header
    digest: bytes
    refusal: Rejected | None = None
    partner: Partner | None = None
    messages: list[Message] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    answer: Signed | None = None

    @property
    def id(self) -> bytes:
        return bytes.fromhex(self.header.id)


@dataclass
class _Accepted:
    """A message that passed checks 9 and 10."""

    message: Message
    position: int
    carried: Carried | None = None
    until: date = date.max  # the last day on which we keep it
    receipts: tuple[Signed, ReceiptsDocument] | None = None
    withdrawal: Withdrawal | None = None
    remark: Question | Answer | None = None
    priority: str = ""


@dataclass
class _Verdict:
    """What is said of one message: stored, or refused with a code."""

    message: Message
    leaf: bytes
    refusal: Rejected | None = None
    accepted: _Accepted | None = None


@dataclass
class _Effects:
    """What happens after the unit is durable."""

    changes: list[settlement.Change] = field(default_factory=list)
    arrived: int = 0
    wake: set[str] = field(default_factory=set)
    security: list[tuple[str, str, str]] = field(default_factory=list)
    heads: list[tuple[str, str]] = field(default_factory=list)


TakenBack = Callable[
    [Transaction, str, Withdrawal, int, int, dict[bytes, seen.Seen]], Awaitable[tuple[Rejected | None, set[str]]]
]


Heard = Callable[[Transaction, str, bytes, Question | Answer, int], Awaitable[tuple[Rejected | None, int]]]


def _none(_partner: str) -> str | None:
    """No audit log of ours is shown to partners."""
    return None


def _nobody(_partner: str, _head: str) -> None:
    """Nobody looks at partners' audit logs."""


class Receive:
    """Takes envelopes in. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        identity: Callable[[], Identity],
        book: Book,
        gazetteer: Callable[[], Gazetteer],
        agreed: Callable[[], Sequence[agreements.Agreement]],
        classes: Callable[[str | None], Classes],
        refresh: Callable[[str], Awaitable[bool]],
        contact: Callable[[str], None],
        changed: Callable[[Sequence[settlement.Change]], Awaitable[None]],
        arrived: Callable[[], None],
        checkpoint: Callable[[str], str | None] = _none,
        saw: Callable[[str, str], None] = _nobody,
        taken_back: TakenBack,
        heard: Heard,
        answered: Callable[[Transaction, Sequence[settlement.Change]], Awaitable[None]],
        sure: Callable[[], bool],
        ended: Callable[[bytes], Early | None],
        forgotten: Callable[[], int],
        wake: Callable[[str], None],
        clock: Clock,
        metrics: Metrics,
        messages_an_hour: int = 3600,
        ceiling_days: int = 3653,
    ) -> None:
        self._db = database
        self._contents = contents
        self._identity = identity
        self._book = book
        self._gazetteer = gazetteer
        self._agreed = agreed
        self._classes = classes
        self._refresh = refresh
        self._contact = contact
        self._changed = changed
        self._arrived = arrived
        self._checkpoint = checkpoint
        self._saw = saw
        self._taken_back = taken_back
        self._heard = heard
        self._answered = answered
        self._sure = sure
        self._ended = ended
        self._forgotten = forgotten
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._quota = Quota(messages_an_hour)
        self._ceiling = ceiling_days

    async def envelopes(self, body: bytes) -> bytes:
        """Take a carrier; the msgpack answer, one signed receipts document or nil for each envelope.

        Raises Malformed or Rejected (`bad-signature`, `unknown-sender`) when nothing in it could be authenticated,
        and Unavailable when it should be sent again later: nothing is stored then.
        """
        carrier = wire.decode_carrier(body)  # 1, 2
        if len({each.header for each in carrier}) != len(carrier):
            raise Malformed("carrier")
        now = self._clock.now()
        arriving: list[_Arriving] = []
        trouble: BridgeError | None = None
        for envelope in carrier:
            try:
                arriving.append(await self._authenticated(envelope, now))
            except BridgeError as error:
                trouble = trouble or error
                arriving.append(_Arriving(envelope, _NOBODY, b""))
        known = [each for each in arriving if each.partner is not None]
        if not known:
            raise trouble or Malformed("carrier")
        if len({each.id for each in known}) != len(known):
            raise Malformed("carrier", "Two envelopes in it have the same id.")
        for partner in {each.header.sender for each in known}:
            self._contact(partner)
        effects = _Effects()
        await self._store(known, now, effects)
        self._after(effects)
        if effects.changes:
            await self._changed(effects.changes)
        return wire.encode_answer([each.answer for each in arriving])  # 12

    # Checks 2 to 5: nothing below is believed before they pass

    async def _authenticated(self, envelope: Envelope, now: datetime) -> _Arriving:
        """Checks 2 to 5. Raises when the envelope cannot be authenticated; else carries the first refusal on."""
        header = wire.decode_header(envelope.header)
        parts = seals.signed_parts(envelope.header, envelope.sealed)
        arriving = _Arriving(envelope, header, digest(ENVELOPE, *parts))
        arriving.refusal = self._addressed(header, len(envelope.sealed), now)  # 3
        self._only_if_sure(arriving.refusal)
        partner = self._book.get(header.sender)  # 4
        if partner is None or partner.state in {State.DISCOVERED, State.PENDING}:
            self._suspect(header.sender if partner else "unknown", "unknown-sender", header.id)
            raise Rejected("unknown-sender", "The sender is not a known partner.")
        if header.from_seq > partner.descriptor.seq:
            await self._refresh(header.sender)
            partner = self._book.get(header.sender) or partner
            if header.from_seq > partner.descriptor.seq:
                raise Unavailable("descriptor-wanted", "The sender's newest descriptor could not be fetched.")
        if freshness(partner.descriptor, now) is Freshness.BLOCKED:
            raise Unavailable("descriptor-expired", "The sender's descriptor has expired.")
        algs = seals.SUITES.get(header.suite)
        try:
            verify(  # 5
                ENVELOPE,
                parts,
                envelope.signatures,
                keys=verification_keys(partner.descriptor, now),
                algs=algs or seals.SUITES.get(len(envelope.signatures), ()),
            )
        except Rejected:
            self._suspect(header.sender, "bad-signature", header.id)
            raise
        if arriving.refusal is None and partner.state is not State.ACTIVE:
            arriving.refusal = Rejected("no-agreement", "The partner is suspended or revoked.")
        arriving.partner = partner
        return arriving

    def _addressed(self, header: Header, sealed: int, now: datetime) -> Rejected | None:
        """Check 3, without believing anything yet."""
        if header.recipient != self._book.own_id:
            return Rejected("not-for-me", "The envelope names another node.")
        if header.suite not in seals.SUITES:
            return Rejected("unknown-suite", "The suite is not known here.")
        if sealed != wire.sealed_size(header.bucket):
            return Rejected("malformed", "The sealed part has another size than its header says.")
        created = wire.decode_minute(header.created)
        deliver_by = wire.decode_minute(header.deliver_by)
        if created > now + SKEW or now > deliver_by + SKEW:
            return Rejected("expired", "The time for delivery has passed or has not begun.")
        if millis(deliver_by) + DAY_MS < self._forgotten():
            # Whatever the clock says now: what came with this envelope before would no longer be known.
            return Rejected("expired", "The time for delivery has passed.")
        return None

    def _only_if_sure(self, refusal: Rejected | None) -> None:
        """A refusal for its time is for ever, so it needs a clock that is believed: else it is to be sent again later."""
        if refusal is not None and refusal.code == "expired" and not self._sure():
            raise Unavailable("clock-in-doubt", "The node's clock is in doubt; send it again later.")

    # Checks 6 to 11: one unit

    async def _store(self, known: list[_Arriving], now: datetime, effects: _Effects) -> None:
        before = await seen.find(self._db, [each.id for each in known])  # 6
        for each in known:
            row = before.get(each.id)
            if row is not None:
                self._repeat(each, row, effects)
            elif each.refusal is None:
                self._open(each)
        fresh = [each for each in known if each.answer is None]
        if not fresh:
            return
        self._count(fresh)
        keys: dict[bytes, Any] = {}
        verdicts: dict[bytes, list[_Verdict]] = {}
        for each in fresh:
            verdicts[each.id] = self._judge(each, now)
            for verdict in verdicts[each.id]:
                self._only_if_sure(verdict.refusal)
                carried = verdict.accepted.carried if verdict.accepted else None
                if verdict.accepted is None or carried is None:
                    continue
                try:
                    keys[verdict.message.id] = await self._contents.new(carried.id, verdict.accepted.until)
                except Rejected:  # the key of its last day is destroyed already
                    verdict.accepted = None
                    verdict.refusal = _over()
        # If we stop here, nothing is stored and nothing was answered: the sender sends the same bytes again.
        async with self._db.transaction() as tx:
            ids = [each.id for each in fresh]
            ids += [verdict.message.id for rows in verdicts.values() for verdict in rows]
            named = [v.accepted.carried for rows in verdicts.values() for v in rows if v.accepted and v.accepted.carried]
            # 6, again, where no other unit can come between
            known_here = await inbox.known(tx, ids, [each.id for each in named], [each.reference for each in named])
            for each in fresh:
                row = known_here.before.get(each.id)
                if row is not None:
                    # The same envelope came twice at once. Its answer may not be durable yet: it is when this unit is.
                    self._repeat(each, row, effects)
                else:
                    await self._keep(tx, each, verdicts[each.id], known_here, keys, now, effects)
        # If we stop here, all is stored; the sender asks again and gets the stored answer.

    def _repeat(self, each: _Arriving, row: seen.Seen, effects: _Effects) -> None:
        """Check 6: the stored answer for what came before; a refusal for the same id with other content."""
        if row.digest == each.digest and row.answer is not None:
            each.answer = wire.decode_signed(row.answer)
            return
        each.refusal = Rejected("id-conflict", "The same id came before with other content.")
        effects.security.append((each.header.sender, "id-conflict", each.header.id))
        each.answer = self._signed(each, [_whole(each, "id-conflict", self._clock.now())])

    def _open(self, each: _Arriving) -> None:
        """Checks 7 and 8."""
        key = self._identity().sealing_keys.get(bytes.fromhex(each.header.to_kid))
        if key is None:
            each.refusal = Rejected("key-retired", "The sealing key is no longer held.")
            return
        try:
            inner = seals.unpad(seals.open_sealed(each.envelope.header, each.envelope.sealed, key))  # 7, 8
            messages = wire.decode_inner(inner)
            leaves = [seals.leaf(m.id, m.type, m.salt, m.payload) for m in messages]
            if seals.commitment(leaves).hex() != each.header.commitment:
                raise Malformed("commitment")
        except Rejected as error:
            each.refusal = error
            return
        each.messages = messages
        each.leaves = [merkle.leaf_hash(leaf) for leaf in leaves]

    def _count(self, fresh: Sequence[_Arriving]) -> None:
        """The quota, for the whole carrier or not at all: what was refused must not have been counted."""
        wanted = Counter[str]()
        for each in fresh:
            wanted[each.header.sender] += len(each.messages)
        for sender, count in wanted.items():
            if count and not self._quota.take(sender, count, self._clock.monotonic()):
                raise Rejected("quota", "The partner has sent more than its quota.", "Send it again later.")

    def _judge(self, each: _Arriving, now: datetime) -> list[_Verdict]:
        """Checks 9 and 10 for every message of an envelope that opened."""
        if each.refusal is not None or each.partner is None:
            return []
        verdicts = []
        for position, (message, leaf) in enumerate(zip(each.messages, each.leaves, strict=True)):
            verdict = _Verdict(message, leaf)
            try:
                verdict.accepted = self._accept(each.partner, message, position, each.header, now)
            except Rejected as error:
                verdict.refusal = error
            verdicts.append(verdict)
        return verdicts

    def _accept(
        self, partner: Partner, message: Message, position: int, header: Header, now: datetime
    ) -> _Accepted:
        if message.type in {MessageType.ALERT, MessageType.UPDATE}:
            carried, alert = decode_carried(message.payload)  # 9
            if (message.type is MessageType.UPDATE) != (carried.in_reply_to is not None):
                raise Malformed("alert")
            until = self._not_ended(message, self._policy(partner, carried, alert, now), now)  # 10
            return _Accepted(message, position, carried=carried, until=until, priority=alert.priority)
        if message.type is MessageType.RECEIPTS:
            signed = wire.decode_signed(message.payload)
            keys = verification_keys(partner.descriptor, now)
            verify(RECEIPTS, [signed.document], signed.signatures, keys=keys, algs=seals.SUITES[header.suite])
            document = wire.decode_receipts(signed.document)
            if document.issuer != partner.node_id or document.to != self._book.own_id:
                raise Rejected("forged-receipt", "The receipts are another node's.")
            return _Accepted(message, position, receipts=(signed, document))
        if message.type is MessageType.WITHDRAW:
            payload = wire.decode_json(message.payload, Withdrawal, limit=WITHDRAWAL_LIMIT, what="withdrawal")
            return _Accepted(message, position, withdrawal=payload)
        if message.type is MessageType.QUESTION:
            asked = wire.decode_json(message.payload, Question, limit=REMARK_LIMIT, what="question")
            return _Accepted(message, position, remark=asked)
        if message.type is MessageType.ANSWER:
            answer = wire.decode_json(message.payload, Answer, limit=REMARK_LIMIT, what="answer")
            return _Accepted(message, position, remark=answer)
        raise Rejected("policy", "This node does not take messages of this type.")

    def _policy(self, partner: Partner, carried: Carried, alert: Alert, now: datetime) -> date:
        """Check 10: agreement, the area is mine, marking, exercise; the last day on which we keep it."""
        own = self._book.get(self._book.own_id)
        if own is None:
            raise Unavailable("starting", "The node is starting.")
        if carried.sender.node_id != partner.node_id:
            raise Rejected("policy", "The alert names another sender than its envelope.")
        if carried.reference != alerts.reference(carried.id):
            raise Rejected("malformed", "The reference is not that of the alert.")
        if (carried.status == "exercise") != own.descriptor.exercise or carried.status != alert.status:
            raise Rejected("exercise", "Exercise and live traffic may not mix.")
        alerts.check_marking(alert)
        leg = next((step for step in carried.route if step.node == self._book.own_id), None)
        if leg is None:
            raise Rejected("not-for-me", "The alert's own route does not name this node.")
        self._my_area(leg, carried, own, now)
        if carried.retention.until < now.astimezone(UTC).date():
            raise _over()
        until = self._until(leg, carried, alert, now)
        if partner.node_id == self._book.own_id:
            return until
        for function in leg.function.split(", "):
            agreement = agreements.between(
                self._agreed(), sender=partner.node_id, recipient=self._book.own_id, function=function, now=now
            )
            if agreement is not None:
                break
        terms: dict[str, Any] = {
            "sender": partner.node_id,
            "recipient": self._book.own_id,
            "function": function,
            "kinds": alert.event.kinds,
            "urgent": carried.urgent,
            "now": now,
        }
        refused = agreements.refusal(agreement, marking=alert.grading.marking, keep_until=until, **terms)
        if refused is not None:
            raise Rejected(*refused)
        if agreements.emergency_share(agreement, **terms):
            log.warning("emergency-share", partner=partner.node_id, alert=carried.id)
        return agreements.longest_keeping(agreement, until, now)

    def _not_ended(self, message: Message, until: date, now: datetime) -> date:
        """The last day for what came before and was to end early, though restored data knows nothing of it."""
        ended = self._ended(message.id)
        if ended is None:
            return until
        if ended.code == "withdrawn":
            raise _over()
        if ended.code is not None:
            raise Rejected(ended.code, "It was refused before, and stays refused.")
        last = (moment(ended.until) - timedelta(milliseconds=1)).date()
        if last < now.astimezone(UTC).date():
            raise _over()
        return min(until, last)

    def _my_area(self, leg: alerts.CarriedStep, carried: Carried, own: Partner, now: datetime) -> None:
        """The area that this node was chosen for is one it serves, and the home area lies where the route says."""
        gazetteer = self._gazetteer()
        today = day_of(now)
        grants = [
            grant
            for grant in own.grants
            if (grant.valid_from is None or grant.valid_from <= today)
            and (grant.valid_to is None or today < grant.valid_to)
        ]
        functions = set(leg.function.split(", "))
        serving = [grant for grant in grants if grant.function in functions]
        if not serving:
            raise Rejected("unknown-area", "This node does not do what the alert asks for.")
        if leg.area == "unknown":
            return
        if not any(gazetteer.within(leg.area, grant.area) for grant in serving):
            raise Rejected("unknown-area", "The alert's area is not one that this node serves.")
        home = carried.home
        if home.district is not None and home.code == home.district:
            area = gazetteer.district(home.district)
            if area is not None and any(
                claimed is not None and claimed != ours
                for claimed, ours in ((home.upper, area.upper), (home.force, area.force), (home.region, area.region))
            ):
                raise Rejected("unknown-area", "The home area does not lie where the alert says.")

    def _until(self, leg: alerts.CarriedStep, carried: Carried, alert: Alert, now: datetime) -> date:
        """The last day on which we keep the content: the sender's, or our own shorter one for the area it came for."""
        today = now.astimezone(UTC).date()
        area = None if leg.area == "unknown" else leg.area
        return kept_here(
            alert, carried.retention, now, today, classes=self._classes(area), ceiling_days=self._ceiling
        )

    async def _keep(
        self,
        tx: Transaction,
        each: _Arriving,
        verdicts: list[_Verdict],
        known: inbox.Known,
        keys: Mapping[bytes, Any],
        now: datetime,
        effects: _Effects,
    ) -> None:
        """Check 11 for one envelope: content, seen rows, receipt and audit records."""
        at = millis(now)
        deliver_by = millis(wire.decode_minute(each.header.deliver_by)) + DAY_MS
        if each.refusal is not None:
            code = each.refusal.code
            each.answer = self._signed(each, [_whole(each, code, now)])
            await seen.add(tx, [self._seen(each, code, deliver_by)])
            await audit.append(
                tx, [Event("envelope:refused", each.header.sender, each.header.id, each.digest.hex(), code)], at
            )
            if code != "key-retired":  # that is a late partner, not a hostile one
                effects.security.append((each.header.sender, code, each.header.id))
            return
        statements: list[Statement] = []
        rows: list[seen.Seen] = []
        refused: list[Early] = []
        items: list[inbox.Item] = []
        events: list[Event] = []
        told: list[New] = []
        last = deliver_by
        for verdict in verdicts:
            message, until, code = verdict.message, deliver_by, "received"
            earlier = known.before.get(message.id)
            if earlier is not None:
                refusal = _repeated(earlier, each.header.sender, verdict.leaf)
                if refusal is not None and earlier.verdict != "withdrawn":  # that was overtaken, in all honesty
                    effects.security.append((each.header.sender, refusal.code, message.id.hex()))
            else:
                refusal = verdict.refusal
                if refusal is None and verdict.accepted and verdict.accepted.receipts:
                    refusal = await self._settle(tx, verdict.accepted.receipts, at, effects)
                if refusal is None and verdict.accepted and verdict.accepted.withdrawal:
                    taken_back = bytes.fromhex(verdict.accepted.withdrawal.message)
                    if any(row.id == taken_back for row in rows):
                        refusal = Rejected("policy", "It takes back what lies beside it.")
                    else:
                        refusal, woken = await self._taken_back(
                            tx, each.header.sender, verdict.accepted.withdrawal, at, until, known.before
                        )
                        effects.wake |= woken
                if refusal is None and verdict.accepted and verdict.accepted.remark:
                    remark = verdict.accepted.remark
                    refusal, kept = await self._heard(tx, each.header.sender, message.id, remark, at)
                    until = max(until, kept)
                if refusal is None and verdict.accepted and verdict.accepted.carried:
                    refusal = _taken(known, verdict.accepted.carried, each.header.sender)
                if refusal is None and verdict.accepted and verdict.accepted.carried:
                    refusal = await self._corrects(tx, each.header.sender, verdict.accepted, told)
                if refusal is None and verdict.accepted and verdict.accepted.carried:
                    item = await self._item(each, verdict.accepted, verdict.accepted.carried, keys[message.id], now)
                    overtaken = known.corrections.get(item.alert_id)
                    if overtaken is not None and overtaken.partner == item.partner:
                        item = item._replace(superseded_by=overtaken.alert_id)
                    items.append(item)
                    until = max(until, item.retain_until + DAY_MS)
                if refusal is not None:
                    effects.security.append((each.header.sender, refusal.code, message.id.hex()))
                code = refusal.code if refusal else "received"
                row = seen.Seen(message.id, each.header.sender, verdict.leaf, code, None, until)
                rows.append(row)
                known.before[message.id] = row
                if refusal is not None and message.type in {MessageType.ALERT, MessageType.UPDATE}:
                    day = moment(until).date().isoformat()
                    refused.append(Early(RECEIVED, message.id.hex(), at, code, day))
            last = max(last, until)
            code = refusal.code if refusal else "received"
            statements.append(
                Statement(
                    message=message.id.hex(),
                    envelope=each.header.id,
                    digest=each.digest.hex(),
                    status=Status.REFUSED if refusal else Status.RECEIVED,
                    at=now.replace(microsecond=now.microsecond // 1000 * 1000),
                    code=code if refusal else None,
                )
            )
            events.append(
                Event(f"message:{'refused' if refusal else 'received'}", each.header.sender, message.id.hex(),
                      each.digest.hex(), code if refusal else "ok", _alert_of(verdict))
            )  # fmt: skip
        each.answer = self._signed(each, statements)
        await seen.add(tx, [self._seen(each, "received", last), *rows])
        if refused:
            await early.add(tx, refused)
        told += [_arrived(item) for item in items]
        if items:
            await inbox.add(tx, items)
            await inbox.add_arrivals(tx, [self._arrival(each, at)])
            effects.arrived += len(items)
        await tell(tx, told, at)
        await audit.append(tx, events, at)

    async def _corrects(
        self, tx: Transaction, sender: str, accepted: _Accepted, told: list[New]
    ) -> Rejected | None:
        """Mark what a correction replaces, and keep it no longer than that; one that overtook it waits for it.

        Refuses one of an alert that did not come from this sender, or that is deleted.
        """
        carried = accepted.carried
        if carried is None or carried.in_reply_to is None:
            return None
        rows = await retention.before(tx, carried.in_reply_to)
        if any(row.partner != sender for row in rows):
            return Rejected("policy", "The alert that this one corrects is another sender's.")
        if not rows:
            return None
        live = [row for row in rows if row.state != Status.PURGED]
        if not live:
            return _over()
        if not any(retention.is_held(row.bucket_day) for row in live):
            accepted.until = min(accepted.until, max(date.fromisoformat(row.bucket_day) for row in live))
        await retention.supersede(tx, carried.in_reply_to, sender, carried.id)
        told.append(New("alert.updated", about(carried.in_reply_to, partner=sender, code="corrected")))
        return None

    async def _settle(
        self, tx: Transaction, receipts: tuple[Signed, ReceiptsDocument], at: int, effects: _Effects
    ) -> Rejected | None:
        try:
            outcome = await settlement.apply(tx, *receipts, at)
        except Rejected as error:
            return error
        effects.changes += outcome.changes
        await self._answered(tx, outcome.changes)
        if receipts[1].checkpoint is not None:
            effects.heads.append((receipts[1].issuer, receipts[1].checkpoint))
        if outcome.contradictions:
            effects.security.append((receipts[1].issuer, "contradiction", ""))
        return None

    async def _item(
        self, each: _Arriving, accepted: _Accepted, carried: Carried, key: tuple[DataKey, bytes], now: datetime
    ) -> inbox.Item:
        day = accepted.until
        data_key, wrapped = key
        if data_key.day != day:  # the alert that it corrects is kept for less time
            wrapped = self._contents.over(data_key.day.isoformat()).rewrap(
                carried.id, wrapped, await self._contents.until(day)
            )
        return inbox.Item(
            seq=0,
            message_id=accepted.message.id,
            alert_id=carried.id,
            reference=carried.reference,
            partner=each.header.sender,
            type=accepted.message.type,
            envelope_id=each.id,
            position=accepted.position,
            exercise=int(carried.status == "exercise"),
            received_at=millis(now),
            state=Status.RECEIVED,
            state_at=millis(now),
            version=1,
            code=None,
            actor=None,
            retention=carried.retention.class_,
            retain_until=millis(end_of(day)),
            bucket_day=day.isoformat(),
            wrapped_key=wrapped,
            content=data_key.seal(CONTENT, pack_received(accepted.message)),
            functions=self._functions(carried),
            warned_days=told_before(end_of(day) - now),
            corrects=carried.in_reply_to,
            urgent=int(carried.urgent),
            due_at=millis(targets.due(now, accepted.priority, self._area_of(carried))),
        )

    def _area_of(self, carried: Carried) -> str:
        """The area for which the alert came here."""
        return next((step.area for step in carried.route if step.node == self._book.own_id), "")

    def _functions(self, carried: Carried) -> str | None:
        """For which of our functions the alert came, as the column holds it."""
        leg = next((step for step in carried.route if step.node == self._book.own_id), None)
        return None if leg is None else f",{','.join(leg.function.split(', '))},"

    def _arrival(self, each: _Arriving, at: int) -> inbox.Arrival:
        return inbox.Arrival(
            envelope_id=each.id,
            partner=each.header.sender,
            header=each.envelope.header,
            sealed_digest=hashlib.sha256(each.envelope.sealed).digest(),
            signatures=settlement.pack(each.envelope.signatures),
            leaves=b"".join(each.leaves),
            seq=each.header.from_seq,
            at=at,
        )

    def _seen(self, each: _Arriving, verdict: str, until: int) -> seen.Seen:
        answer = None if each.answer is None else wire.encode_signed(each.answer)
        return seen.Seen(each.id, each.header.sender, each.digest, verdict, answer, until)

    def _signed(self, each: _Arriving, statements: Sequence[Statement]) -> Signed:
        identity = self._identity()
        document = wire.encode_json(
            ReceiptsDocument(
                v=1,
                issuer=identity.node_id,
                to=each.header.sender,
                at=statements[0].at,
                statements=tuple(statements),
                checkpoint=self._checkpoint(each.header.sender),
            )
        )
        suite = each.header.suite if each.header.suite in seals.SUITES else identity.suite
        signatures = identity.sign_message(RECEIPTS, [document], suite)
        return Signed(document, tuple(Signature(*signature) for signature in signatures))

    # Afterwards

    def _after(self, effects: _Effects) -> None:
        for partner, code, subject in effects.security:
            self._suspect(partner, code, subject)
        for partner in effects.wake:
            self._wake(partner)
        for partner, head in effects.heads:
            self._saw(partner, head)
        if effects.arrived:
            self._metrics.inc("bridge_alerts_received_total", effects.arrived)
            self._arrived()

    def _suspect(self, partner: str, code: str, subject: str) -> None:
        """One security event, for operators: ids and codes only."""
        self._metrics.inc("bridge_security_events_total", partner=partner, code=code)
        log.warning("security-event", partner=partner, code=code, subject=subject)


_NOBODY = Header(
    v=1, suite=0, id="0" * 32, sender="", recipient="", to_kid="0" * 16, from_seq=0, created="", deliver_by="",
    bucket=4, commitment="0" * 64,
)  # fmt: skip


def _alert_of(verdict: _Verdict) -> str:
    """The alert that a message is about, as far as it could be read."""
    accepted = verdict.accepted
    if accepted is None:
        return ""
    if accepted.withdrawal is not None:
        return accepted.withdrawal.alert
    if accepted.remark is not None:
        return accepted.remark.alert
    return accepted.carried.id if accepted.carried is not None else ""


def _whole(each: _Arriving, code: str, now: datetime) -> Statement:
    """A refusal of an envelope that was not opened."""
    return Statement(
        message=None,
        envelope=each.header.id,
        digest=each.digest.hex(),
        status=Status.REFUSED,
        at=now.replace(microsecond=now.microsecond // 1000 * 1000),
        code=code,
    )


def _arrived(item: inbox.Item) -> New:
    return New(
        "alert.received", about(item.alert_id, partner=item.partner, status=item.state, message=item.message_id.hex())
    )


def _repeated(earlier: seen.Seen, sender: str, leaf: bytes) -> Rejected | None:
    """A message id that came before: the first verdict again, or a conflict when the content or sender differs."""
    if earlier.verdict == "withdrawn" and earlier.partner == sender:
        return Rejected("policy", "Its sender withdrew it before it came.")
    if earlier.digest != leaf or earlier.partner != sender:
        return Rejected("id-conflict", "The same id came before with other content.")
    if earlier.verdict != "received":
        return Rejected(earlier.verdict, "It was refused before, and stays refused.")
    return None


def _over() -> Rejected:
    return Rejected("expired", "The time for which the content may be kept is over.")


def _taken(known: inbox.Known, carried: Carried, sender: str) -> Rejected | None:
    """The rule of ids for the alert itself: what people ask for by id or reference is one alert, of one sender.

    One that was here and is deleted does not come back, under whatever message id.
    """
    owner = inbox.Owner(carried.id, sender)
    if any(known.held.setdefault(name, owner) != owner for name in (carried.id, carried.reference)):
        return Rejected("id-conflict", "Another alert has this id or reference.")
    return _over() if carried.id in known.deleted else None


def decode_carried(payload: bytes) -> tuple[Carried, Alert]:
    """Check 9 for an alert: the payload in the strict profile, and the alert in its body. Raises Malformed."""
    carried = wire.decode_json(payload, Carried, limit=seals.BUCKETS[-1] * 1024, what="alert")
    try:
        # The strict profile was checked over the whole payload, of which the body is a part.
        return carried, msgspec.json.decode(carried.body, type=Alert)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("alert") from None


def pack_received(message: Message) -> bytes:
    """What is kept, encrypted, of a received message: salt and payload, from which its commitment can be shown."""
    return message.salt + message.payload


def unpack_received(content: bytes) -> tuple[bytes, bytes]:
    """Salt and payload, as :func:`pack_received` put them together."""
    return content[:32], content[32:]


class Quota:
    """How many messages a partner may send: a bucket that fills evenly over the hour.

    A carrier of more messages than an hour's comes in when the bucket is full, and what it takes too much is owed:
    refused for ever it would never be delivered.
    """

    def __init__(self, an_hour: int) -> None:
        self._most = float(an_hour)
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, partner: str, count: int, at: float) -> bool:
        """Whether `count` more may come at `at` (monotonic seconds); if so they are counted."""
        left, since = self._left.get(partner, (self._most, at))
        left = min(self._most, left + (at - since) * self._most / 3600)
        if left < min(count, self._most):
            self._left[partner] = (left, at)
            return False
        self._left[partner] = (left - count, at)
        return True
