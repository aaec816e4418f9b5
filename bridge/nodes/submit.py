"""A worker's or a system's alert into the outbox, addressed to the person's home area.

The way: decode, entry rules, home area, route, agreement, one copy for each recipient, and then one unit that holds
the alert, its messages and the audit record. Only after that unit is durable does the caller hear a reference.
"""

import hashlib
import secrets
from collections.abc import Callable
from datetime import date, datetime, timedelta

import msgspec
import structlog

from bridge import alerts, wire
from bridge.alerts import Carried, CarriedHome, CarriedRetention
from bridge.audit import Event
from bridge.clock import Clock, end_of, millis
from bridge.envelopes import MessageType
from bridge.errors import Rejected
from bridge.metrics import Metrics
from bridge.nodes.address import Address, Leg, carried_step
from bridge.receipts import Status
from bridge.storage import audit, counters, sent
from bridge.storage.contents import CONTENT, Contents, payload_label
from bridge.storage.database import Conflict, Database

log = structlog.get_logger()

IDEMPOTENCY_HOURS = 24


class Sent(msgspec.Struct, frozen=True):
    """The answer to a submission: durable when it is given."""

    id: str
    reference: str
    created: datetime
    kept_until: date
    home: CarriedHome
    route: tuple[Leg, ...]
    notices: tuple[alerts.Notice, ...]
    timeline: str
    repeated: bool = False


class Submit:
    """Takes alerts in. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        address: Address,
        wake: Callable[[str], None],
        clock: Clock,
        metrics: Metrics,
        deliver_by_days: int = 14,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._contents = contents
        self._address = address
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._deliver_by = timedelta(days=deliver_by_days)
        self._random = random
        self._in_flight: set[tuple[str, str]] = set()

    async def send(self, body: bytes, actor: str, idempotency_key: str | None = None) -> Sent:
        """Take an alert in. Returns after the durable commit; the lanes are woken, not waited for.

        `body` is the alert's JSON, at most 96 KiB; `actor` the pseudonym of the account or token. The same key with
        the same body gives the first result again; with another body Rejected `idempotency-conflict`; while the
        first is under way `in-flight`. Raises also what `Address.plan` raises.
        """
        if idempotency_key is None:
            return await self._send(body, actor, None)
        held = (actor, idempotency_key)
        if held in self._in_flight:
            raise Rejected("in-flight", "The same request is being worked on.", "Ask again in a moment.")
        self._in_flight.add(held)
        try:
            before = await sent.idempotent(self._db, actor, idempotency_key)
            if before is not None:
                return await self._again(before, body)
            return await self._send(body, actor, idempotency_key)
        finally:
            self._in_flight.discard(held)

    async def _send(self, body: bytes, actor: str, key: str | None) -> Sent:
        plan = self._address.plan(body)
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
        )
        content = wire.encode_json(carried)
        deliver_by = millis(min(now + self._deliver_by, retain_until))
        messages: list[sent.Message] = []
        for position, leg in enumerate(plan.legs):
            message_id = self._random(16)
            shown, withheld = alerts.redact(body, leg.function or leg.wanted)
            payload = None
            if withheld:
                copy = msgspec.structs.replace(carried, body=msgspec.Raw(shown), withheld=tuple(withheld))
                payload = data_key.seal(payload_label(message_id), wire.encode_json(copy))
            messages.append(
                sent.Message(
                    id=message_id,
                    type=MessageType.ALERT,
                    alert_id=alert_id,
                    partner=leg.node,
                    position=position,
                    leg=wire.encode_json({"function": leg.function or leg.wanted, "step": leg.step}).decode(),
                    payload=payload,
                    urgent=int(carried.urgent),
                    created_at=at,
                    deliver_by=deliver_by,
                    envelope_id=None,
                    status=Status.QUEUED,
                    status_at=at,
                    code=None if leg.node else "held",
                )
            )
        sealed = data_key.seal(CONTENT, content)
        # If we stop here, nothing is stored and the caller has heard nothing: it asks again.
        try:
            async with self._db.transaction() as tx:
                seq = await counters.take(tx, "alerts")
                await sent.add_alerts(
                    tx,
                    [
                        sent.Alert(
                            seq=seq,
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
                            content=sealed,
                        )
                    ],
                )
                await sent.add_messages(tx, messages)
                if key is not None:
                    until = at + IDEMPOTENCY_HOURS * 3600 * 1000
                    digest = hashlib.sha256(body).digest()
                    await sent.add_idempotent(tx, [sent.Idempotent(actor, key, digest, alert_id, until)])
                await audit.append(tx, [Event("alert:sent", actor, alert_id)], at)
        except Conflict:
            # Another alert has the same reference (one in 34 thousand million), or the key was used meanwhile.
            if key is not None and (before := await sent.idempotent(self._db, actor, key)) is not None:
                return await self._again(before, body)
            return await self._send(body, actor, key)
        # If we stop here, the messages wait in the outbox and leave when the node starts again.
        for partner in {leg.node for leg in plan.legs if leg.node}:
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
            route=self._address.shown(carried, messages),
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
            raise Rejected("gone", "The alert sent with this key was deleted.")
        messages = await sent.messages_of(self._db, [row.id])
        carried = self.opened(row)
        return Sent(
            id=row.id,
            reference=row.reference,
            created=carried.created,
            kept_until=carried.retention.until,
            home=carried.home,
            route=self._address.shown(carried, messages),
            notices=(),
            timeline=f"/v1/alerts/{row.id}",
            repeated=True,
        )

    def opened(self, row: sent.Alert) -> Carried:
        """The content of a sent alert. Raises Rejected `gone` once its key is destroyed."""
        payload = self._contents.open(row.id, row.bucket_day, row.wrapped_key, row.content)
        return msgspec.json.decode(payload, type=Carried)


def uuid7(at: int, random: Callable[[int], bytes]) -> str:
    """A UUID of version 7 for a time in ms (RFC 9562 section 5.7)."""
    raw = bytearray(at.to_bytes(6, "big") + random(10))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
