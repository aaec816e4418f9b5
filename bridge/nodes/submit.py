"""A worker's or a system's alert into the outbox, addressed to the person's home area.

The way: decode, entry rules, home area, route, agreement, one copy for each recipient, and then one unit that holds
the alert, its messages and the audit record. Only after that unit is durable does the caller hear a reference.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import structlog

from bridge import agreements, alerts, routing, vocabulary, wire
from bridge.alerts import Alert, Carried, CarriedHome, CarriedRetention, CarriedStep, Desk, Sender
from bridge.areas import Area, Candidate, Gazetteer, PostcodeLookup, Resolution
from bridge.audit import Event
from bridge.clock import Clock, end_of, millis
from bridge.envelopes import MessageType
from bridge.errors import Rejected
from bridge.metrics import Metrics
from bridge.partners import Partner, State
from bridge.receipts import Status
from bridge.storage import audit, counters, sent
from bridge.storage.contents import CONTENT, Contents, payload_label
from bridge.storage.database import Conflict, Database
from bridge.storage.partners import Book

log = structlog.get_logger()

ALERT_LIMIT = 96 * 1024
IDEMPOTENCY_HOURS = 24


@dataclass(frozen=True)
class Places:
    """What is known about areas now: replaced whole when an administrator imports a newer directory."""

    gazetteer: Gazetteer
    postcodes: PostcodeLookup | None = None

    def resolve(self, text: str, on: date) -> Resolution:
        """The areas that `text` may mean on that day."""
        return self.gazetteer.resolve(text, on, self.postcodes)


class Leg(msgspec.Struct, frozen=True):
    """One recipient of a submitted alert, as the sender sees it."""

    node: str | None
    name: str
    function: str
    area: str
    why: str
    step: str
    because: str
    status: str
    message: str
    telephone: str | None = None
    hours: str | None = None
    code: str | None = None


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


class Plan(msgspec.Struct, frozen=True):
    """What would happen to an alert if it were sent now: who gets it, why, and until when it is kept."""

    alert: Alert
    home: CarriedHome
    legs: tuple[routing.Leg, ...]
    kept_until: date
    notices: tuple[alerts.Notice, ...]


class Submit:
    """Takes alerts in. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        book: Book,
        places: Callable[[], Places],
        agreed: Callable[[], Sequence[agreements.Agreement]],
        classes: Mapping[str, vocabulary.RetentionClass],
        wake: Callable[[str], None],
        clock: Clock,
        metrics: Metrics,
        deliver_by_days: int = 14,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._contents = contents
        self._book = book
        self._places = places
        self._agreed = agreed
        self._classes = classes
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._deliver_by = timedelta(days=deliver_by_days)
        self._random = random
        self._in_flight: set[tuple[str, str]] = set()

    def plan(self, body: bytes) -> Plan:
        """Check an alert and decide where it would go, changing nothing.

        Raises Malformed and Rejected: `marking`, `usage`, `ambiguous-area` (with the candidates in its facts),
        `area-not-found`, `exercise`, and what the agreement refuses.
        """
        now = self._clock.now()
        alert = wire.decode_json(body, Alert, limit=ALERT_LIMIT, what="alert")
        alerts.check(alert, now)
        own = self._own()
        if (alert.status == "exercise") != own.descriptor.exercise:
            raise Rejected(
                "exercise",
                "This node is in exercise mode and sends exercises alone."
                if own.descriptor.exercise
                else "This node is live and does not send exercises.",
                "Use a node that is set up for it, or change /status.",
                pointer="/status",
            )
        on = now.astimezone(UTC).date()
        places = self._places()
        home = resolve_home(alert, places, on)
        needs = [_need(want, alert, home, places.gazetteer, on) for want in alerts.audience(alert, now)]
        until = alerts.keep_until(alert, now, self._classes)
        return Plan(
            alert=alert,
            home=home,
            legs=tuple(self._agreed_leg(leg, alert, until, now) for leg in self.routed(needs, on)),
            kept_until=until,
            notices=tuple(alerts.notices(alert, own.descriptor.areas[0], home.code)),
        )

    async def send(self, body: bytes, actor: str, idempotency_key: str | None = None) -> Sent:
        """Take an alert in. Returns after the durable commit; the lanes are woken, not waited for.

        `body` is the alert's JSON, at most 96 KiB; `actor` the pseudonym of the account or token. The same key with
        the same body gives the first result again; with another body Rejected `idempotency-conflict`; while the
        first is under way `in-flight`. Raises also what :meth:`plan` raises.
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
        plan = self.plan(body)
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
            sender=self._sender(),
            home=plan.home,
            route=tuple(_step(leg) for leg in plan.legs),
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
            route=self.shown(carried, messages),
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
            route=self.shown(carried, messages),
            notices=(),
            timeline=f"/v1/alerts/{row.id}",
            repeated=True,
        )

    def opened(self, row: sent.Alert) -> Carried:
        """The content of a sent alert. Raises Rejected `gone` once its key is destroyed."""
        payload = self._contents.open(row.id, row.bucket_day, row.wrapped_key, row.content)
        return msgspec.json.decode(payload, type=Carried)

    def routed(self, needs: Sequence[routing.Need], on: date) -> tuple[routing.Leg, ...]:
        """Where alerts with these needs would go on a day, changing nothing."""
        own = self._own().descriptor
        gazetteer = self._places().gazetteer
        return routing.route(needs, gazetteer, self.coverages(), on, own.areas[0], exercise=own.exercise)

    def coverages(self) -> list[routing.Coverage]:
        """What every active partner, and we ourselves, may receive for."""
        return [
            routing.Coverage(
                node=partner.node_id,
                name=partner.descriptor.name,
                area=grant.area,
                function=grant.function,
                valid_from=grant.valid_from,
                valid_to=grant.valid_to,
                active=partner.state is State.ACTIVE,
                exercise=partner.descriptor.exercise,
            )
            for partner in self._book.everyone()
            for grant in partner.grants
        ]

    def _own(self) -> Partner:
        own = self._book.get(self._book.own_id)
        if own is None:
            raise RuntimeError("the book holds our own node from the start")
        return own

    def _sender(self) -> Sender:
        own = self._own().descriptor
        contact = own.contact
        return Sender(own.node_id, own.name, own.agency, Desk(contact.desk, contact.telephone, contact.hours))

    def _agreed_leg(self, leg: routing.Leg, alert: Alert, until: date, now: datetime) -> routing.Leg:
        """The leg, or a refusal when no agreement lets the alert pass to it."""
        if leg.node is None or leg.node == self._book.own_id:
            return leg
        function = leg.function.split(", ")[0]
        agreement = agreements.between(
            self._agreed(), sender=self._book.own_id, recipient=leg.node, function=function, now=now
        )
        terms: dict[str, Any] = {
            "sender": self._book.own_id,
            "recipient": leg.node,
            "function": function,
            "kinds": alert.event.kinds,
            "urgent": alerts.urgent(alert),
            "now": now,
        }
        refused = agreements.refusal(agreement, marking=alert.grading.marking, keep_until=until, **terms)
        if refused is not None:
            code, sentence = refused
            raise Rejected(code, sentence, "Ask your administrator about the agreement.", node=leg.node)
        if agreements.emergency_share(agreement, **terms):
            log.warning("emergency-share", partner=leg.node)
            return msgspec.structs.replace(leg, because=f"{leg.because}; an emergency share without agreement")
        return leg

    def shown(self, carried: Carried, messages: Sequence[sent.Message]) -> tuple[Leg, ...]:
        """The recipients of an alert as its sender sees them: the route inside it, and how each message stands."""
        return tuple(
            self._shown(step, message)
            for step, message in zip(carried.route, messages[: len(carried.route)], strict=True)
        )

    def _shown(self, step: CarriedStep, message: sent.Message) -> Leg:
        partner = self._book.get(message.partner) if message.partner else None
        contact = partner.descriptor.contact if partner else None
        return Leg(
            node=message.partner,
            name=step.name,
            function=step.function,
            area=step.area,
            why=step.why or "",
            step=step.step or "",
            because=step.because or "",
            status=message.status,
            message=message.id.hex(),
            telephone=contact.telephone if contact else None,
            hours=contact.hours if contact else None,
            code=message.code,
        )


def resolve_home(alert: Alert, places: Places, on: date) -> CarriedHome:
    """The home area of an alert, as its sender means it, on a day.

    A district that the sender chose stands; else what was typed decides when it is certain. Nothing typed, or "not
    known" said, is a valid unknown home. Raises Rejected `ambiguous-area`, with the candidates, or `area-not-found`.
    """
    home = alert.home
    typed = (home.raw_text or "").strip()
    resolution = places.resolve(typed, on) if typed else None
    if home.district is not None:
        area = places.gazetteer.successor(home.district, on)
        if area is None:
            raise _not_found("/home/district")
        found = resolution.candidates if resolution else ()
        share = next((each.permille / 1000 for each in found if each.area.code == area.code), None)
        by_text = resolution.method if resolution and share is not None else "asserted"
        return _carried(area, places, home.method or by_text, share, "the sender chose it")
    if resolution is None or home.not_known:
        return CarriedHome(
            method="unknown",
            vintage=places.gazetteer.vintage,
            because="the home area is not known",
        )
    certain = resolution.certain
    if certain is not None:
        return _carried(certain.area, places, resolution.method, certain.permille / 1000, certain.because)
    if not resolution.candidates:
        raise _not_found("/home/raw_text")
    raise Rejected(
        "ambiguous-area",
        resolution.question(),
        "Choose one and give its code as /home/district, or say that it is not known.",
        pointer="/home/raw_text",
        candidates=[candidate_facts(each, places.gazetteer) for each in resolution.candidates],
    )


def candidate_facts(candidate: Candidate, gazetteer: Gazetteer) -> dict[str, Any]:
    """A candidate as machines and pages read it: codes, names, share and reason."""
    area = candidate.area
    force = gazetteer.area(area.force) if area.force else None
    upper = gazetteer.area(area.upper) if area.upper else None
    return {
        "code": area.code,
        "name": area.name,
        "level": area.level,
        "share": candidate.permille / 1000,
        "because": candidate.because,
        "upper": upper.label if upper else None,
        "force": force.label if force else None,
    }


def _carried(area: Area, places: Places, method: str, share: float | None, because: str) -> CarriedHome:
    return CarriedHome(
        code=area.code,
        level=area.level,
        name=area.name,
        district=area.code if area.level == "district" else None,
        upper=(area.code if area.level == "upper" else area.upper) or None,
        force=(area.code if area.level == "force" else area.force) or None,
        region=(area.code if area.level == "region" else area.region) or None,
        method=method,
        share=share,
        vintage=places.gazetteer.vintage,
        because=because,
    )


def _not_found(pointer: str) -> Rejected:
    return Rejected(
        "area-not-found",
        "No area is known by what was given as the home area.",
        'Check the spelling, give a postcode or a council, or say that it is not known ("not_known": true).',
        pointer=pointer,
    )


def _need(want: alerts.Want, alert: Alert, home: CarriedHome, gazetteer: Gazetteer, on: date) -> routing.Need:
    """A wanted recipient, with its area as a code."""
    if want.area == "home":
        return routing.Need(want.function, home.code, want.why, home.because or "")
    code = (alert.event.place.district if alert.event.place else None) if want.area == "place" else want.area
    if code is None or gazetteer.successor(code, on) is None:
        raise _not_found("/event/place/district" if want.area == "place" else "/recipients")
    return routing.Need(want.function, code, want.why)


def _step(leg: routing.Leg) -> CarriedStep:
    return CarriedStep(
        node=leg.node or "held",
        name=leg.name,
        function=(leg.function or leg.wanted)[:64],
        area=leg.area or "unknown",
        why=leg.why[:500],
        step=leg.step,
        because=leg.because[:500],
    )


def uuid7(at: int, random: Callable[[int], bytes]) -> str:
    """A UUID of version 7 for a time in ms (RFC 9562 section 5.7)."""
    raw = bytearray(at.to_bytes(6, "big") + random(10))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
