"""OASIS Common Alerting Protocol 1.2 (XML): one alert a document, restricted, with NIEM's activity codes where they map.

Written by hand in the order of the schema; every text is escaped, and what XML may not hold is replaced. Nothing here
reads XML.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final
from xml.sax.saxutils import escape

from bridge import vocabulary
from bridge.formats import sar
from bridge.formats.form import Copy, Format, binding, day
from bridge.formats.people import names, thing

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
GSS: Final = "ONS-GSS"
"""Name of the code list of the areas, in `geocode`."""

_STATUS: Final = {"actual": "Actual", "exercise": "Exercise", "test": "Test"}
_URGENCY: Final = {"HIGH": "Immediate", "MEDIUM": "Expected", "LOW": "Future"}
_SEVERITY: Final = {"HIGH": "Severe", "MEDIUM": "Moderate", "LOW": "Minor"}
_CERTAINTY: Final = {"A": "Observed", "B": "Likely", "C": "Possible", "E": "Unlikely"}
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_NAMES: Final = re.compile(r"[\s,<&]")

Element = tuple[str, "str | Iterable[Element]"]


def render(copies: Sequence[Copy]) -> bytes:
    """The one alert as a document. The table of formats says that there is but one."""
    (copy,) = copies
    body = "".join(_written(("alert", _alert(copy)), f' xmlns="{NAMESPACE}"'))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'.encode()


def _alert(copy: Copy) -> Iterator[Element]:
    said = copy.said
    yield "identifier", copy.id
    yield "sender", _NOT_IN_NAMES.sub("_", copy.partner)
    yield "sent", _moment(copy.created or copy.received)
    yield "status", _STATUS.get(copy.status, "Actual")
    yield "msgType", "Cancel" if copy.withdrawn else "Update" if copy.corrects else "Alert"
    yield "source", f"bridge {copy.reference}"
    yield "scope", "Restricted"
    yield "restriction", " ".join(binding(copy))
    yield "code", f"bridge:{said.v}"
    if copy.corrects:
        yield "note", f"Corrects {copy.corrects}."
    yield "info", _info(copy)


def _info(copy: Copy) -> Iterator[Element]:
    said, event = copy.said, copy.said.event
    about = "; ".join(vocabulary.KIND.label(code) for code in event.kinds) or vocabulary.KIND.label("other")
    yield "language", "en-GB"
    yield "category", "Safety"
    yield "category", "Security"
    yield "event", about
    yield "responseType", "Assess"
    yield "urgency", _URGENCY.get(said.priority, "Unknown")
    yield "severity", _SEVERITY.get(said.priority, "Unknown")
    yield "certainty", _CERTAINTY.get(said.grading.info_assess or "", "Unknown")
    yield "audience", f"{copy.handling.marking}: the team that it was sent to."
    for code in copy.sar_codes:
        yield "eventCode", _pair(f"{sar.NAMESPACE}{sar.ELEMENT}", code)
    for table, codes in (("kind", event.kinds), ("harm", event.harms), ("indicator", event.indicators)):
        for code in codes:
            yield "eventCode", _pair(f"bridge:{table}", code)
    yield "effective", _moment(copy.received)
    if event.observed_from:
        yield "onset", _moment(event.observed_from)
    yield "expires", _moment(datetime.combine(copy.retain_until + timedelta(days=1), time(), UTC))
    yield "senderName", copy.origin.name
    yield "headline", f"Alert {copy.reference}"
    if event.narrative:
        yield "description", event.narrative
    yield (
        "instruction",
        f"Destroy every copy by the end of {day(copy.retain_until)}. {vocabulary.ASK.label(said.ask) if said.ask else ''}".strip(),
    )
    if copy.origin.desk and copy.origin.desk.telephone:
        yield (
            "contact",
            ", ".join(
                each
                for each in (copy.origin.desk.telephone, copy.origin.desk.name, copy.origin.desk.hours)
                if each
            ),
        )
    for name, value in _parameters(copy):
        yield "parameter", _pair(f"bridge:{name}", value)
    home = copy.home
    if home and (home.name or home.code):
        yield "area", _area(f"Home area: {home.name or home.code}", home.code)
    place = event.place
    if place and (place.text or place.postcode or place.district):
        where = ", ".join(each for each in (place.text, place.postcode) if each) or place.district
        yield "area", _area(f"Where it was seen: {where}", place.district)


def _parameters(copy: Copy) -> Iterator[tuple[str, str]]:
    said = copy.said
    yield "reference", copy.reference
    yield "retain_until", copy.retain_until.isoformat()
    yield "marking", copy.handling.marking
    yield "handling", copy.handling.code
    for condition in copy.handling.conditions:
        yield "condition", condition.code
    yield "grading", vocabulary.admiralty(said.grading.source_eval, said.grading.info_assess)
    for person in said.subjects:
        told = [
            "; ".join(names(person)), f"born {person.dob or person.birth_year}" if person.dob or person.birth_year else "",
            f"age {person.age_band}" if person.age_band else "", person.sex or "", ", ".join(person.roles),
            ", ".join(person.cohorts), ", ".join(f"{each.scheme} {each.value}" for each in person.identifiers),
            person.description or "",
        ]  # fmt: skip
        yield "person", " | ".join(each for each in told if each)
    for each in said.objects:
        yield "object", thing(each)
    for relation in said.relations:
        yield (
            "relation",
            f"{relation.origin} {relation.verb} {relation.to} {relation.certainty or ''}".strip(),
        )
    for code in (*said.legal.gateways, *said.legal.art9):
        yield "legal_ground", code
    if said.legal.reasons_text:
        yield "legal_reasons", said.legal.reasons_text
    if said.reporter.role_title or said.reporter.site:
        yield (
            "reported_by",
            ", ".join(each for each in (said.reporter.role_title, said.reporter.site) if each),
        )


def _area(words: str, code: str | None) -> Iterator[Element]:
    yield "areaDesc", words
    if code:
        yield "geocode", _pair(GSS, code)


def _pair(name: str, value: str) -> tuple[Element, Element]:
    return ("valueName", name), ("value", value)


def _moment(value: datetime) -> str:
    """A time as CAP has it: UTC is written as an offset, which must not be `Z` (section 3.3.2)."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}-00:00"


def _written(element: Element, attributes: str = "", indent: str = "") -> Iterator[str]:
    name, inside = element
    if isinstance(inside, str):
        yield f"{indent}<{name}{attributes}>{_text(inside)}</{name}>"
        return
    yield f"{indent}<{name}{attributes}>"
    for each in inside:
        yield "\n"
        yield from _written(each, indent=f"{indent}  ")
    yield f"\n{indent}</{name}>"


def _text(value: str) -> str:
    # A carriage return in the text would be read back as a line feed unless it is written as a reference.
    return escape(_NOT_XML.sub("\ufffd", value), {"\r": "&#13;"})


FORMAT = Format("cap", "Common Alerting Protocol 1.2 (XML)", "application/cap+xml", "xml", render, many=False)
