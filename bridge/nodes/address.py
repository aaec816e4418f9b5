"""Who an alert goes to, and why: the home area, the route, the agreement. Decides and changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec
import structlog

from bridge import agreements, alerts, routing, vocabulary, wire
from bridge.alerts import Alert, Carried, CarriedHome, CarriedStep, Desk, Sender
from bridge.answers import Leg
from bridge.areas import Area, Candidate, Gazetteer, PostcodeLookup, Resolution, day_of
from bridge.clock import Clock
from bridge.errors import Rejected
from bridge.partners import Partner, State
from bridge.storage import sent
from bridge.storage.contents import Contents, payload_label
from bridge.storage.partners import Book

log = structlog.get_logger()

ALERT_LIMIT = 96 * 1024


@dataclass(frozen=True)
class Places:
    """What is known about areas now: replaced whole when an administrator imports a newer directory."""

    gazetteer: Gazetteer
    postcodes: PostcodeLookup | None = None

    def resolve(self, text: str, on: date) -> Resolution:
        """The areas that `text` may mean on that day."""
        return self.gazetteer.resolve(text, on, self.postcodes)


class Plan(msgspec.Struct, frozen=True):
    """What would happen to an alert if it were sent now: who gets it, why, and until when it is kept."""

    alert: Alert
    home: CarriedHome
    legs: tuple[routing.Leg, ...]
    kept_until: date
    notices: tuple[alerts.Notice, ...]


class Address:
    """Answers where alerts go. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        contents: Contents,
        book: Book,
        places: Callable[[], Places],
        agreed: Callable[[], Sequence[agreements.Agreement]],
        classes: Mapping[str, vocabulary.RetentionClass],
        clock: Clock,
    ) -> None:
        self._contents = contents
        self._book = book
        self._places = places
        self._agreed = agreed
        self._classes = classes
        self._clock = clock

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
        on = day_of(now)
        places = self._places()
        home = resolve_home(alert, places, on)
        needs = [_need(want, alert, home, places.gazetteer, on) for want in alerts.audience(alert, now)]
        until = alerts.keep_until(alert, now, self._classes)
        legs = tuple(self._agreed_leg(leg, alert, until, now) for leg in self.routed(needs, on))
        return Plan(
            alert=alert,
            home=home,
            legs=legs,
            # We keep it for as long as anybody may, and no longer.
            kept_until=max((self.kept_by(leg, until) for leg in legs), default=until),
            notices=tuple(alerts.notices(alert, own.descriptor.areas[0], home.code)),
        )

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

    def sender(self) -> Sender:
        """Who we are, as an alert carries it."""
        own = self._own().descriptor
        contact = own.contact
        return Sender(own.node_id, own.name, own.agency, Desk(contact.desk, contact.number, contact.times))

    def _agreed_leg(self, leg: routing.Leg, alert: Alert, until: date, now: datetime) -> routing.Leg:
        """The leg, held when no agreement lets the alert pass to it; the other recipients get theirs all the same.

        Raises Rejected `marking` or `policy` when an agreement is in force and forbids it.
        """
        if leg.node is None or leg.node == self._book.own_id:
            return leg
        agreement, function = self._agreement(leg, leg.node, now)
        terms: dict[str, Any] = {
            "sender": self._book.own_id,
            "recipient": leg.node,
            "function": function,
            "kinds": alert.event.kinds,
            "urgent": alerts.urgent(alert),
            "now": now,
        }
        day = agreements.longest_keeping(agreement, until, now)
        refused = agreements.refusal(agreement, marking=alert.grading.marking, keep_until=day, **terms)
        if refused is not None and refused[0] == "no-agreement":
            because = f"is held because no agreement in force lets it pass to {leg.name}"
            return msgspec.structs.replace(leg, node=None, name="", step="held", because=because)
        if refused is not None:
            raise Rejected(*refused, "Ask your administrator about the agreement.", node=leg.node)
        if agreements.emergency_share(agreement, **terms):
            log.warning("emergency-share", partner=leg.node)
            return msgspec.structs.replace(leg, because=f"{leg.because}; an emergency share without agreement")
        return leg

    def _agreement(
        self, leg: routing.Leg, node: str, now: datetime
    ) -> tuple[agreements.Agreement | None, str]:
        """The agreement by which a leg passes, and for which of its functions; None and the last of them without one."""
        function = ""
        for function in leg.function.split(", "):
            found = agreements.between(
                self._agreed(), sender=self._book.own_id, recipient=node, function=function, now=now
            )
            if found is not None:
                return found, function
        return None, function

    def kept_by(self, leg: routing.Leg, until: date) -> date:
        """The last day on which the recipient of a leg may keep what we keep until `until`: no later, by the agreement."""
        if leg.node is None or leg.node == self._book.own_id:
            return until
        now = self._clock.now()
        return agreements.longest_keeping(self._agreement(leg, leg.node, now)[0], until, now)

    def again(self, step: CarriedStep, carried: Carried, area: str | None) -> tuple[routing.Leg, ...]:
        """Where a recipient that was held, refused or not the right one would go now, by our own registry alone.

        `area` (GSS) is one that a person chose; without it, the one that the recipient was wanted for. Several legs
        where what one node did there is now for several. Raises Rejected `unknown-area` and what the agreement refuses.
        """
        now = self._clock.now()
        on = day_of(now)
        alert = msgspec.json.decode(carried.body, type=Alert)
        code = area or self._wanted(step, carried, alert)
        if area is not None and self._places().gazetteer.successor(area, on) is None:
            raise Rejected("unknown-area", "This is not a current area.", pointer="/area")
        needs = [
            routing.Need(function, code, step.why or "", "a person chose it" if area else "")
            for function in step.function.split(", ")
        ]
        until = carried.retention.until
        return tuple(self._agreed_leg(leg, alert, until, now) for leg in self.routed(needs, on))

    def _wanted(self, step: CarriedStep, carried: Carried, alert: Alert) -> str | None:
        """The area that a step's recipient was wanted for.

        The route holds only where it was found, which may be wider: a county whose node has handed over to nodes of
        parts of it covers nothing any longer. Where several areas fit, the one in the route stands.
        """
        if step.area == "unknown":
            return None
        gazetteer = self._places().gazetteer
        place = alert.event.place.district if alert.event.place else None
        fitting = {
            code
            for want in alerts.audience(alert, carried.created)
            if want.why in (step.why or "") and want.function in step.function.split(", ")
            for code in [{"home": carried.home.code, "place": place}.get(want.area, want.area)]
            if code is not None and gazetteer.within(code, step.area)
        }
        return fitting.pop() if len(fitting) == 1 else step.area

    def shown(self, carried: Carried, messages: Sequence[sent.Message], row: sent.Alert) -> tuple[Leg, ...]:
        """The recipients of an alert as its sender sees them: the route inside it, and how each message stands.

        A message that was addressed later carries its own route, in its own copy.
        """
        return tuple(self._shown(self.step_of(carried, message, row), message) for message in messages)

    def step_of(self, carried: Carried, message: sent.Message, row: sent.Alert) -> CarriedStep:
        """The step of the route that a message stands for. Raises Rejected `gone`."""
        if message.payload is not None:
            key = self._contents.key(row.id, row.bucket_day, row.wrapped_key)
            copy = msgspec.json.decode(key.open(payload_label(message.id), message.payload), type=Carried)
            for step in copy.route:
                if step.node == message.partner:
                    return step
        return carried.route[min(message.position, len(carried.route) - 1)]

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
            telephone=contact.number if contact else None,
            hours=contact.times if contact else None,
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
        raise Rejected(
            "area-not-found",
            "No area is known by what was given for a recipient.",
            "Give a recipient's area as home, as place with the district of the event, or as the code of a current area.",
            pointer="/event/place/district" if want.area == "place" else "/recipients",
        )
    return routing.Need(want.function, code, want.why)


def carried_step(leg: routing.Leg) -> CarriedStep:
    """A leg as it travels inside the alert."""
    return CarriedStep(
        node=leg.node or "held",
        name=leg.name,
        function=(leg.function or leg.wanted)[:64],
        area=leg.area or "unknown",
        why=leg.why[:500],
        step=leg.step,
        because=leg.because[:500],
    )


