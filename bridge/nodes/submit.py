"""A worker's or a system's alert into the outbox, addressed to the person's home area.

The way: decode, entry rules, home area, route, agreement, one copy for each recipient, and then one unit that holds
the alert, its messages and the audit record. Only after that unit is durable does the caller hear a reference.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Protocol

import msgspec
import structlog

from bridge import alerts, routing, wire
from bridge.alerts import Carried, CarriedRetention
from bridge.answers import Sent
from bridge.audit import Event
from bridge.clock import Clock, end_of, millis
from bridge.envelopes import MessageType
from bridge.errors import Rejected
from bridge.metrics import Metrics
from bridge.nodes.address import Address, Plan, carried_step
from bridge.receipts import Status
from bridge.storage import audit, outbox, sent
from bridge.storage.contents import CONTENT, Contents, payload_label
from bridge.storage.database import Conflict, Database
from bridge.storage.retention import is_held
from bridge.storage.sent import REROUTED

log = structlog.get_logger()

IDEMPOTENCY_HOURS = 24
_ELSEWHERE = frozenset({Status.REFUSED, Status.NOT_OURS, Status.UNDELIVERED})
"""Statuses with which a recipient has the alert no longer, so that it may go to another."""

_OVER = _ELSEWHERE | {Status.PURGED, Status.WITHDRAWN, Status.EXPIRED_UNREAD}
"""Statuses with which there is nothing left to correct."""


class AtOnce(Protocol):
    """A message sealed before it is stored, for a partner to whom nothing is under way."""

    envelope: outbox.Envelope

    def send(self) -> None:
        """The unit that stored both is durable."""
        ...

    def drop(self) -> None:
        """That unit may have failed."""
        ...


class Submit:
    """Takes alerts in. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        address: Address,
        wake: Callable[[str], None],
        at_once: Callable[[str, outbox.ToSeal], AtOnce | None],
        clock: Clock,
        metrics: Metrics,
        deliver_by_days: int = 14,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._contents = contents
        self._address = address
        self._wake = wake
        self._at_once = at_once
        self._clock = clock
        self._metrics = metrics
        self._deliver_by = timedelta(days=deliver_by_days)
        self._random = random
        self._in_flight: set[tuple[str, str]] = set()

    async def send(
        self, body: bytes, actor: str, idempotency_key: str | None = None, team: str | None = None
    ) -> Sent:
        """Take an alert in. Returns after the durable commit; the lanes are woken, not waited for.

        `body` is the alert's JSON, at most 96 KiB; `actor` the pseudonym of the account or token, `team` the function
        that it acts for, which alone sees the alert later (None: whoever may see all). The same key with
        the same body gives the first result again; with another body Rejected `idempotency-conflict`; while the
        first is under way `in-flight`. Raises also what `Address.plan` raises.
        """
        return await self._once(actor, idempotency_key, body, lambda: self._send(body, actor, idempotency_key, team))

    async def first(self, actor: str, idempotency_key: str) -> Sent | None:
        """What was sent under a key, whatever was in it; None when nothing was. Raises Rejected `in-flight` and `gone`."""
        if (actor, idempotency_key) in self._in_flight:
            raise _in_flight()
        before = await sent.idempotent(self._db, _owner(actor, idempotency_key), idempotency_key)
        if before is None:
            return None
        row = await sent.alert(self._db, before.alert_id)
        if row is None:
            raise _gone()
        return await self._found(row, repeated=True)

    async def _once(self, actor: str, key: str | None, body: bytes, send: Callable[[], Awaitable[Sent]]) -> Sent:
        """Send, or give what was sent under this key before. Raises what :meth:`send` says of keys."""
        if key is None:
            return await send()
        held = (actor, key)
        if held in self._in_flight:
            raise _in_flight()
        self._in_flight.add(held)
        try:
            before = await sent.idempotent(self._db, _owner(actor, key), key)
            return await send() if before is None else await self._again(before, body)
        finally:
            self._in_flight.discard(held)

    async def correct(self, ref: str, body: bytes, actor: str, idempotency_key: str | None = None) -> Sent:
        """Send a corrected alert to everyone who has the one before, and to nobody else; each marks the old one.

        It is kept no longer than that one. Raises what :meth:`send` raises, `not-found`, and `wrong-state` when nobody has it any longer.
        """

        async def send() -> Sent:
            row, plan = await self._correcting(ref, body)
            return await self._put(plan, body, actor, idempotency_key, corrects=row.id, team=row.team)

        return await self._once(actor, idempotency_key, body, send)

    async def correcting(self, ref: str, body: bytes) -> Plan:
        """What :meth:`correct` would do, changing nothing. Raises what it raises."""
        return (await self._correcting(ref, body))[1]

    async def _correcting(self, ref: str, body: bytes) -> tuple[sent.Alert, Plan]:
        row = await sent.alert(self._db, ref)
        if row is None:
            raise Rejected("not-found", "There is no sent alert with this reference.")
        if row.withdrawn_at is not None:
            raise Rejected("wrong-state", "This alert was withdrawn.", "Send a new one.")
        before = self.opened(row)
        legs = []
        for message in await sent.messages_of(self._db, [row.id]):
            if message.partner is None or message.status in _OVER:
                continue
            step = self._address.step_of(before, message, row)
            legs.append(
                routing.Leg(
                    message.partner, step.name, step.function, step.function, step.area, "district", step.why or "",
                    step.because or "",
                )
            )  # fmt: skip
        if not legs:
            raise Rejected("wrong-state", "Nobody has this alert any longer.", "Send a new one.")
        plan = self._address.plan(body)
        until = min(plan.kept_until, before.retention.until)
        if not is_held(row.bucket_day):
            until = min(until, date.fromisoformat(row.bucket_day))
        return row, msgspec.structs.replace(plan, legs=tuple(legs), kept_until=until)

    async def _send(self, body: bytes, actor: str, key: str | None, team: str | None) -> Sent:
        return await self._put(self._address.plan(body), body, actor, key, team=team)

    async def _put(
        self,
        plan: Plan,
        body: bytes,
        actor: str,
        key: str | None,
        corrects: str | None = None,
        team: str | None = None,
    ) -> Sent:
        now = self._clock.now()
        at = millis(now)
        alert_id = uuid7(at, self._random)
        retain_until = end_of(plan.kept_until)
        data_key, wrapped = await self._contents.new(alert_id, plan.kept_until)
        carried = Carried(
            v=1,
            id=alert_id,
            reference=alerts.reference(alert_id),
            created=now.replace(microsecond=0),
            status=plan.alert.status,
            urgent=alerts.urgent(plan.alert),
            sender=self._address.sender(),
            home=plan.home,
            route=tuple(carried_step(leg) for leg in plan.legs),
            retention=CarriedRetention(plan.alert.retention.class_, plan.kept_until),
            body=msgspec.Raw(body),
            in_reply_to=corrects,
        )
        content = wire.encode_json(carried)
        deliver_by = millis(min(now + self._deliver_by, retain_until))
        messages: list[sent.Message] = []
        for position, leg in enumerate(plan.legs):
            message_id = self._random(16)
            shown, withheld = alerts.redact(body, leg.function or leg.wanted)
            last_day = self._address.kept_by(leg, plan.kept_until)
            payload = None
            if withheld or last_day < plan.kept_until:
                copy = msgspec.structs.replace(
                    carried,
                    body=msgspec.Raw(shown if withheld else body),
                    withheld=tuple(withheld),
                    retention=CarriedRetention(carried.retention.class_, last_day),
                )
                payload = data_key.seal(payload_label(message_id), wire.encode_json(copy))
            messages.append(
                sent.Message(
                    id=message_id,
                    type=MessageType.UPDATE if corrects else MessageType.ALERT,
                    alert_id=alert_id,
                    partner=leg.node,
                    position=position,
                    leg=wire.encode_json({"function": leg.function or leg.wanted, "step": leg.step}).decode(),
                    payload=payload,
                    urgent=int(carried.urgent),
                    created_at=at,
                    deliver_by=min(deliver_by, millis(end_of(last_day))),
                    envelope_id=None,
                    status=Status.QUEUED,
                    status_at=at,
                    code=None if leg.node else "held",
                )
            )
        row = sent.Alert(
            seq=0,
            id=alert_id,
            reference=carried.reference,
            created_at=at,
            actor=actor,
            exercise=int(plan.alert.status == "exercise"),
            urgent=int(carried.urgent),
            retention=plan.alert.retention.class_,
            retain_until=millis(retain_until),
            bucket_day=plan.kept_until.isoformat(),
            wrapped_key=wrapped,
            content=data_key.seal(CONTENT, content),
            corrects=corrects,
            team=team,
        )
        sealed = {
            message.id: made
            for message in messages
            if message.partner and (made := self._at_once(message.partner, _to_seal(message, row))) is not None
        }
        # If we stop here, nothing is stored and the caller has heard nothing: it asks again.
        try:
            async with self._db.transaction() as tx:
                action = "alert:corrected" if corrects else "alert:sent"
                events = [Event(action, actor, alert_id, outcome=corrects or "ok"), *_queued(messages)]
                await sent.add_alerts(tx, [row])
                await sent.add_messages(tx, messages)
                await outbox.add_envelopes(tx, [(made.envelope, [message]) for message, made in sealed.items()])
                if key is not None:
                    hours = sent.LEDGER_DAYS * 24 if key.startswith(sent.LEDGER) else IDEMPOTENCY_HOURS
                    until = at + hours * 3600 * 1000
                    digest = hashlib.sha256(body).digest()
                    await sent.add_idempotent(tx, [sent.Idempotent(_owner(actor, key), key, digest, alert_id, until)])
                await audit.append(tx, events, at)
        except BaseException as error:
            for made in sealed.values():
                made.drop()
            if not isinstance(error, Conflict):
                raise
            # Another alert has the same reference (one in 34 thousand million), or the key was used meanwhile.
            if key is not None and (before := await sent.idempotent(self._db, _owner(actor, key), key)) is not None:
                return await self._again(before, body)
            return await self._put(plan, body, actor, key, corrects, team)
        # If we stop here, the messages wait in the outbox and leave when the node starts again.
        for made in sealed.values():
            made.send()
        for partner in {message.partner for message in messages if message.partner and message.id not in sealed}:
            self._wake(partner)
        self._metrics.inc("bridge_alerts_sent_total")
        if any(leg.node is None for leg in plan.legs):
            log.warning("alert-held", alert=alert_id, code="held")
        return Sent(
            id=alert_id,
            reference=carried.reference,
            created=carried.created,
            kept_until=plan.kept_until,
            home=plan.home,
            route=self._address.shown(carried, messages, row),
            notices=plan.notices,
            timeline=f"/v1/alerts/{alert_id}",
        )

    async def _again(self, before: sent.Idempotent, body: bytes) -> Sent:
        if before.body_digest != hashlib.sha256(body).digest():
            raise Rejected(
                "idempotency-conflict",
                "This Idempotency-Key was used before, for another alert.",
                "Use a new key for a new alert.",
            )
        row = await sent.alert(self._db, before.alert_id)
        if row is None:
            raise _gone()
        return await self._found(row, repeated=True)

    async def _found(self, row: sent.Alert, *, repeated: bool) -> Sent:
        messages = await sent.messages_of(self._db, [row.id])
        carried = self.opened(row)
        return Sent(
            id=row.id,
            reference=row.reference,
            created=carried.created,
            kept_until=carried.retention.until,
            home=carried.home,
            route=self._address.shown(carried, messages, row),
            notices=(),
            timeline=f"/v1/alerts/{row.id}",
            repeated=repeated,
        )

    async def reroute(self, ref: str, actor: str, area: str | None = None) -> Sent:
        """Send again what was held, refused for its area, or not theirs: by today's registry, or to an `area` chosen.

        What other recipients have stays untouched. Raises Rejected `not-found`, `gone`, `unknown-area` and, when
        nothing of the alert waits for another recipient or there still is none, `wrong-state`.
        """
        row = await sent.alert(self._db, ref)
        if row is None:
            raise Rejected("not-found", "There is no sent alert with this reference.")
        if row.withdrawn_at is not None:
            raise Rejected("wrong-state", "This alert was withdrawn.", "Send a new one.")
        messages = await sent.messages_of(self._db, [row.id])
        carried = self.opened(row)
        now = self._clock.now()
        at = millis(now)
        position = max(message.position for message in messages) + 1
        holders = {message.partner for message in messages if message.status not in _ELSEWHERE}
        made: list[sent.Message] = []
        over: list[sent.Message] = []
        for message in messages:
            held = message.partner is None and message.settled_at is None
            if not held and not (message.status in _ELSEWHERE and message.code != REROUTED):
                continue
            step = self._address.step_of(carried, message, row)
            legs = self._address.again(step, carried, area)
            if any(leg.node is None or leg.node == message.partner for leg in legs):
                continue  # not all of it has another recipient yet: the operator still sees it
            over.append(message)
            for leg in legs:
                if leg.node is None or leg.node in holders:
                    continue
                holders.add(leg.node)
                made.append(self._copy(row, carried, message, leg, position, now))
                position += 1
        if not over:
            raise Rejected(
                "wrong-state",
                "No part of this alert has another recipient to go to.",
                "Add the partner first, or choose another area with --area.",
            )
        # If we stop here, nothing has changed and the operator asks again.
        async with self._db.transaction() as tx:
            if await sent.is_withdrawn(tx, row.id):
                raise Rejected("wrong-state", "This alert was withdrawn a moment ago.", "Send a new one.")
            await sent.add_messages(tx, made)
            await sent.set_status(
                tx, [(m.status, m.status_at, REROUTED, m.settled_at or at, m.id) for m in over]
            )
            events = [Event("message:rerouted", actor, m.id.hex(), alert=row.id) for m in over]
            await audit.append(tx, [*events, *_queued(made)], at)
        for message in made:
            if message.partner:
                self._wake(message.partner)
        return await self._found(row, repeated=False)

    def _copy(
        self, row: sent.Alert, carried: Carried, before: sent.Message, leg: routing.Leg, position: int, now: datetime
    ) -> sent.Message:
        """A message for another recipient, with its own route inside its own copy."""
        data_key = self._contents.key(row.id, row.bucket_day, row.wrapped_key)
        message_id = self._random(16)
        shown, withheld = alerts.redact(bytes(carried.body), leg.function or leg.wanted)
        until = self._address.kept_by(leg, carried.retention.until)
        copy = msgspec.structs.replace(
            carried,
            route=(*carried.route, carried_step(leg)),
            body=msgspec.Raw(shown),
            withheld=tuple(withheld),
            retention=CarriedRetention(carried.retention.class_, until),
        )
        at = millis(now)
        return before._replace(
            id=message_id,
            partner=leg.node,
            position=position,
            leg=wire.encode_json({"function": leg.function or leg.wanted, "step": leg.step}).decode(),
            payload=data_key.seal(payload_label(message_id), wire.encode_json(copy)),
            created_at=at,
            deliver_by=min(millis(now + self._deliver_by), row.retain_until, millis(end_of(until))),
            envelope_id=None,
            status=Status.QUEUED,
            status_at=at,
            code=None,
            warned_at=None,
            settled_at=None,
        )

    def opened(self, row: sent.Alert) -> Carried:
        """The content of a sent alert. Raises Rejected `gone` once its key is destroyed."""
        payload = self._contents.open(row.id, row.bucket_day, row.wrapped_key, row.content)
        return msgspec.json.decode(payload, type=Carried)


def _in_flight() -> Rejected:
    return Rejected("in-flight", "The same request is being worked on.", "Ask again in a moment.")


def _gone() -> Rejected:
    return Rejected("gone", "The alert sent with this key was deleted.")


def _owner(actor: str, key: str) -> str:
    """Whose key it is: its caller's own, but that of a case system's record is the node's, for tokens come and go."""
    return "records" if key.startswith(sent.LEDGER) else actor


def _queued(messages: Iterable[sent.Message]) -> list[Event]:
    """What ties each message to its alert in the log, for the time when the content no longer does."""
    return [
        Event("message:queued", m.partner or "held", m.id.hex(), alert=m.alert_id or "") for m in messages
    ]


def _to_seal(message: sent.Message, alert: sent.Alert) -> outbox.ToSeal:
    """A new message as the outbox will give it."""
    return outbox.ToSeal(
        message.id, message.type, alert.id, message.payload, message.urgent, message.created_at, message.deliver_by,
        alert.bucket_day, alert.wrapped_key, None if message.payload is not None else alert.content,
    )  # fmt: skip


def uuid7(at: int, random: Callable[[int], bytes]) -> str:
    """A UUID of version 7 for a time in ms (RFC 9562 section 5.7)."""
    raw = bytearray(at.to_bytes(6, "big") + random(10))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
