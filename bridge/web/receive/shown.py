"""A received alert in the words of the screen: groups of (heading, text), from codes, dates and what was written.

What a partner wrote is data all the way: it is only ever put into a template's text, never into an address or a title.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from bridge import alerts
from bridge.alerts import Alert, Object, Subject
from bridge.areas import Gazetteer
from bridge.vocabulary import CHILD_BANDS
from bridge.vocabulary import gateway as known_gateway
from bridge.web.texts import _
from bridge.web.words import day, label, listed, moment

Rows = list[tuple[str, str]]


def _labels(table: str, codes: Iterable[str]) -> str:
    return "; ".join(label(table, code) for code in codes)


def person(subject: Subject, on: date) -> dict[str, Any]:
    """One person: what they are called, and everything that is known of them."""
    names = [each.text if each.kind in {"known", "birth"} else f"{each.text} ({label('name_kind', each.kind).lower()})" for each in subject.names]
    band = alerts.age_band(subject, on)
    age = ""
    if subject.dob is not None:
        age = _("born %(day)s, %(age)s years old then", day=day(subject.dob), age=alerts.age(subject.dob, on))
    elif subject.birth_year is not None:
        age = _("born in %(year)s", year=subject.birth_year)
    elif band != "unknown":
        age = label("age_band", band)
    return {
        "name": listed(names) or _("Name not known"),
        "child": band in CHILD_BANDS,
        "rows": [
            (_("Age"), age),
            (_("Sex"), label("sex", subject.sex) if subject.sex else ""),
            (_("Part in it"), _labels("role", subject.roles)),
            (_("Group"), _labels("cohort", subject.cohorts)),
            (_("Description"), subject.description or ""),
            *((label("identifier_scheme", each.scheme), each.value) for each in subject.identifiers),
        ],
    }


def event(alert: Alert, gazetteer: Gazetteer) -> Rows:
    """What was seen, when and where."""
    seen = alert.event
    place = seen.place
    where = []
    if place is not None:
        district = gazetteer.area(place.district) if place.district else None
        where = [part for part in (label("location_type", place.type) if place.type else "", place.text, place.postcode, district.label if district else place.district) if part]
    return [
        (_("Concern"), _labels("kind", seen.kinds)),
        (_("Harm feared"), _labels("harm", seen.harms)),
        (_("Signs"), _labels("indicator", seen.indicators)),
        (_("Seen"), _span(seen.observed_from, seen.observed_to, seen.precision)),
        (_("Where"), ", ".join(where)),
        (_("How it is known"), label("how_known", alert.grading.how_known) if alert.grading.how_known else ""),
        (_("Asked of you"), label("ask", alert.ask) if alert.ask else ""),
        (_("By"), day(alert.by_when)),
        (_("Also told"), _labels("also_reported_to", alert.local_action.also_reported_to)),
        (_("Their references"), listed(alert.local_action.refs)),
    ]


def _span(begins: datetime | None, ends: datetime | None, precision: str | None) -> str:
    if begins is None:
        return ""
    exact = precision in {None, "minute", "hour"}
    told = moment(begins) if exact else day(begins)
    if ends is not None and ends != begins:
        told = _("%(first)s to %(last)s", first=told, last=moment(ends) if exact else day(ends))
    return told if precision in {None, "minute", "day"} else f"{told} ({label('precision', precision).lower()})"


def thing(each: Object) -> dict[str, Any]:
    """A phone, a car, an address: what it is, and how it is handled if not like the rest."""
    return {
        "kind": label("object_kind", each.kind),
        "value": each.value or "",
        "description": each.description or "",
        "handling": label("handling", each.handling) if each.handling not in {None, "P"} else "",
    }


def relations(alert: Alert) -> list[str]:
    """How persons and things hang together, as sentences."""
    names: Mapping[str, str] = {
        **{each.local_ref: _short(each, number) for number, each in enumerate(alert.subjects, 1) if each.local_ref},
        **{each.local_ref: each.value or label("object_kind", each.kind) for each in alert.objects if each.local_ref},
    }
    found = []
    for each in alert.relations:
        sure = f" ({label('certainty', each.certainty).lower()})" if each.certainty else ""
        found.append(f"{names.get(each.origin, each.origin)}: {label('relation_verb', each.verb).lower()} {names.get(each.to, each.to)}{sure}")
    return found


def _short(subject: Subject, number: int) -> str:
    return subject.names[0].text if subject.names else _("person %(number)s", number=number)


def reporter(alert: Alert) -> Rows:
    """Who reported it, as a role and a place: a worker's name has no field."""
    told = alert.reporter
    return [
        (_("Reported by"), ", ".join(part for part in (told.role_title, told.site) if part)),
        (_("Agency"), label("function", told.agency_code) if told.agency_code else ""),
        (_("How to reach them"), told.contact_channel or ""),
        (_("Told the person?"), label("told_person", told.told_person) if told.told_person else ""),
    ]


def ground(alert: Alert) -> Rows:
    """On what ground it was shared."""
    legal = alert.legal
    terms = [known_gateway(code) for code in (*legal.gateways, *legal.art9)]
    told = [term.label if term else code for term, code in zip(terms, (*legal.gateways, *legal.art9), strict=True)]
    return [
        (_("Shared on the ground of"), listed(told)),
        (_("Why"), legal.reasons_text or ""),
        (_("Consent"), label("consent_state", legal.consent_state) if legal.consent_state else ""),
        (_("How good it is"), ", ".join(part for part in (
            label("source_eval", alert.grading.source_eval) if alert.grading.source_eval else "",
            label("info_assess", alert.grading.info_assess) if alert.grading.info_assess else "",
        ) if part)),
    ]  # fmt: skip


def of(alert: Alert, gazetteer: Gazetteer, now: datetime) -> dict[str, Any]:
    """Everything of an alert that the screen and the paper show."""
    on = alerts.observed_on(alert, now)
    return {
        "people": [person(each, on) for each in alert.subjects],
        "event": event(alert, gazetteer),
        "narrative": alert.event.narrative or "",
        "things": [thing(each) for each in alert.objects],
        "relations": relations(alert),
        "reporter": reporter(alert),
        "ground": ground(alert),
        "today": now.astimezone(UTC).date(),
    }
