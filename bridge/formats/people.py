"""An alert as rows, one a person: what the flat formats are made of.

What stands beside the persons (what happened, handling, the last day of keeping) is repeated in each row, since rows are
what people sort, cut and paste.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bridge.alerts import Alert, Object, Subject
from bridge.formats.form import Copy, moment


class Row(NamedTuple):
    """One person of one alert; an alert without persons is one row with `person` None. `number` counts from 1."""

    copy: Copy
    alert: Alert
    person: Subject | None
    number: int


def rows(copies: Sequence[Copy]) -> list[Row]:
    """A row for each person of each alert, in order."""
    found: list[Row] = []
    for copy in copies:
        said = copy.said
        if not said.subjects:
            found.append(Row(copy, said, None, 0))
        found += [Row(copy, said, person, number) for number, person in enumerate(said.subjects, 1)]
    return found


def listed(values: Sequence[object]) -> str:
    """Several values in one cell."""
    return "; ".join(str(each) for each in values)


def thing(each: Object) -> str:
    """A thing in one line: what it is, its value, and who alone may see it."""
    only = f" [only for {', '.join(each.only_for)}]" if each.only_for else ""
    handled = f" [handling {each.handling}]" if each.handling else ""
    words = ": ".join(part for part in (each.value, each.description) if part)
    return f"{each.kind}{handled}{only} {words}"


def names(person: Subject) -> list[str]:
    """Names as written, known ones first, each once."""
    order = sorted(
        person.names,
        key=lambda name: ("known", "birth").index(name.kind) if name.kind in ("known", "birth") else 2,
    )
    return list(dict.fromkeys(name.text for name in order))


def _person(take: Callable[[Subject], Any]) -> Callable[[Row], Any]:
    return lambda row: "" if row.person is None else take(row.person)


COLUMNS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "reference": lambda row: row.copy.reference,
    "id": lambda row: row.copy.id,
    "from": lambda row: row.copy.sender,
    "received": lambda row: moment(row.copy.received),
    "state": lambda row: row.copy.state,
    "outcome": lambda row: row.copy.outcome,
    "priority": lambda row: row.alert.priority,
    "status": lambda row: row.copy.status,
    "marking": lambda row: row.copy.handling.marking,
    "handling": lambda row: row.copy.handling.code,
    "conditions": lambda row: listed([f"{each.code} {each.label}" for each in row.copy.handling.conditions]),
    "caveat": lambda row: row.copy.handling.caveat,
    "retain_until": lambda row: row.copy.retain_until.isoformat(),
    "home_code": lambda row: row.copy.home.code if row.copy.home else None,
    "home_name": lambda row: row.copy.home.name if row.copy.home else None,
    "person": lambda row: row.number or "",
    "persons": lambda row: len(row.alert.subjects),
    "name": _person(lambda person: next(iter(names(person)), "")),
    "other_names": _person(lambda person: listed(names(person)[1:])),
    "name_kinds": _person(lambda person: listed([f"{name.text} ({name.kind})" for name in person.names])),
    "date_of_birth": _person(lambda person: person.dob),
    "birth_year": _person(lambda person: person.birth_year),
    "age_band": _person(lambda person: person.age_band),
    "sex": _person(lambda person: person.sex),
    "roles": _person(lambda person: listed(person.roles)),
    "cohorts": _person(lambda person: listed(person.cohorts)),
    "identifiers": _person(
        lambda person: listed([f"{each.scheme} {each.value}" for each in person.identifiers])
    ),
    "description": _person(lambda person: person.description),
    "kinds": lambda row: listed(row.alert.event.kinds),
    "harms": lambda row: listed(row.alert.event.harms),
    "indicators": lambda row: listed(row.alert.event.indicators),
    "sar_codes": lambda row: listed(row.copy.sar_codes),
    "observed": lambda row: moment(row.alert.event.observed_from),
    "observed_to": lambda row: moment(row.alert.event.observed_to),
    "precision": lambda row: row.alert.event.precision,
    "place_type": lambda row: row.alert.event.place.type if row.alert.event.place else None,
    "place": lambda row: row.alert.event.place.text if row.alert.event.place else None,
    "place_postcode": lambda row: row.alert.event.place.postcode if row.alert.event.place else None,
    "place_district": lambda row: row.alert.event.place.district if row.alert.event.place else None,
    "narrative": lambda row: row.alert.event.narrative,
    "objects": lambda row: listed([thing(each) for each in row.alert.objects]),
    "relations": lambda row: listed(
        [
            f"{each.origin} {each.verb} {each.to} ({each.certainty or 'not said'})"
            for each in row.alert.relations
        ]
    ),
    "how_known": lambda row: row.alert.grading.how_known,
    "source_eval": lambda row: row.alert.grading.source_eval,
    "info_assess": lambda row: row.alert.grading.info_assess,
    "gateways": lambda row: listed((*row.alert.legal.gateways, *row.alert.legal.art9)),
    "reasons": lambda row: row.alert.legal.reasons_text,
    "consent": lambda row: row.alert.legal.consent_state,
    "also_reported_to": lambda row: listed(row.alert.local_action.also_reported_to),
    "reported_by": lambda row: listed(
        [
            each
            for each in (
                row.alert.reporter.role_title,
                row.alert.reporter.site,
                row.alert.reporter.contact_channel,
            )
            if each
        ]
    ),
    "told_person": lambda row: row.alert.reporter.told_person,
    "ask": lambda row: row.alert.ask,
    "by_when": lambda row: row.alert.by_when,
    "withdrawn": lambda row: "yes" if row.copy.withdrawn else "",
    "corrects": lambda row: row.copy.corrects,
    "superseded_by": lambda row: row.copy.superseded_by,
    "withheld": lambda row: listed(row.copy.withheld),
    "not_in_this_form": lambda row: listed(row.copy.unknown),
}
"""The columns of the flat formats, in order, and where each comes from."""


def cells(row: Row) -> list[str]:
    """The values of a row as text."""
    return ["" if (value := take(row)) is None else str(value) for take in COLUMNS.values()]
