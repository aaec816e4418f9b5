"""STIX 2.1: a bundle of what an alert says, for intelligence systems, in structs of our own (OASIS standard, June 2021).

An alert is a `grouping` (context suspicious-activity) of the persons (`identity`), places (`location`), things
(`infrastructure`, `user-account`), the narrative (`note`) and what ties them (`relationship`). A statement marking with the
handling, the reference and the last day of keeping is on every object. Ids follow from the alert's id, so that the same
alert imported twice is one.
"""

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, TypedDict

import msgspec
from msgspec import Meta, Struct

from bridge import vocabulary
from bridge.alerts import Object, Subject
from bridge.formats.form import PRODUCER, Copy, Format, binding
from bridge.formats.people import names

IDS: Final = uuid.UUID("8c0f4c0e-54b7-5a0b-9c73-1f8f9e0a7d11")
"""Namespace of our ids (UUIDv5): they are names of parts of an alert, never random."""

_CONFIDENCE: Final = {"A": 70, "B": 70, "C": 50, "E": 10}
"""Of our assessment, by STIX's own table for the Admiralty credibility (appendix A); D cannot be judged and has none."""

_LEAST_CERTAIN: Final = {"certain": 90, "likely": 70, "possible": 50}


class Common(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What every object but a cyber-observable one has."""

    type: str
    spec_version: Annotated[str, Meta(pattern=r"^2\.1\Z")]
    id: str
    created: str
    modified: str
    created_by_ref: str | None = None
    labels: tuple[str, ...] | None = None
    confidence: int | None = None
    lang: str | None = None
    object_marking_refs: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"


class Identity(Common, frozen=True, kw_only=True):
    """A person, or the organisation that sends."""

    name: str
    identity_class: str
    description: str | None = None
    roles: tuple[str, ...] | None = None
    contact_information: str | None = None


class Location(Common, frozen=True, kw_only=True):
    """An area or a place."""

    name: str | None = None
    description: str | None = None
    country: str | None = None
    administrative_area: str | None = None
    street_address: str | None = None
    postal_code: str | None = None


class Infrastructure(Common, frozen=True, kw_only=True):
    """A telephone, vehicle or line: what a group works with."""

    name: str
    description: str | None = None
    infrastructure_types: tuple[str, ...] | None = None


class UserAccount(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An account in a social network."""

    type: str
    spec_version: str
    id: str
    account_login: str
    display_name: str | None = None
    object_marking_refs: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"UserAccount({self.id})"


class Note(Common, frozen=True, kw_only=True):
    """Words about other objects."""

    abstract: str | None = None
    content: str
    object_refs: tuple[str, ...]


class Relationship(Common, frozen=True, kw_only=True):
    """What ties two objects."""

    relationship_type: str
    source_ref: str
    target_ref: str
    description: str | None = None


class Grouping(Common, frozen=True, kw_only=True):
    """The alert itself."""

    name: str
    description: str | None = None
    context: str
    object_refs: tuple[str, ...]


class Statement(Struct, frozen=True):
    """The words of a marking."""

    statement: str


class Marking(Struct, frozen=True, kw_only=True):
    """What binds whoever has the objects."""

    type: str
    spec_version: str
    id: str
    created: str
    created_by_ref: str
    definition_type: str
    definition: Statement

    def __repr__(self) -> str:
        return f"Marking({self.id})"


class Bundle(Struct, frozen=True):
    """The file."""

    type: str
    id: str
    objects: tuple[Struct, ...]

    def __repr__(self) -> str:
        return f"Bundle({self.id})"


def render(copies: Sequence[Copy]) -> bytes:
    """A bundle of all copies; the sender of several is in it once."""
    once: dict[str, Struct] = {}
    for copy in copies:
        for each in _objects(copy):
            once.setdefault(str(getattr(each, "id", "")), each)
    name = " ".join(sorted(f"{copy.id} {copy.retain_until}" for copy in copies))
    bundle = Bundle("bundle", _id("bundle", name), tuple(once.values()))
    return msgspec.json.format(msgspec.json.encode(bundle), indent=1) + b"\n"


class _Members(TypedDict):
    """The members that every object of a copy has, but for the organisation that it is from and its marking."""

    type: str
    spec_version: str
    id: str
    created: str
    modified: str
    created_by_ref: str
    object_marking_refs: tuple[str, ...]
    lang: str


class _Makers(Struct, frozen=True):
    """Ids and common members of the objects of one copy."""

    copy: Copy
    by: str
    marking: str

    def id(self, kind: str, part: str) -> str:
        return _id(kind, f"{self.copy.id}{part}")

    def common(self, kind: str, part: str) -> _Members:
        at = _moment(self.copy.created or self.copy.received)
        return {
            "type": kind, "spec_version": "2.1", "id": self.id(kind, part), "created": at, "modified": at,
            "created_by_ref": self.by, "object_marking_refs": (self.marking,), "lang": "en",
        }  # fmt: skip


def _objects(copy: Copy) -> Iterator[Struct]:
    said, at = copy.said, _moment(copy.created or copy.received)
    # The organisation is the same object in every bundle, so nothing of one alert may stand in it.
    by = _id("identity", f"node {copy.partner}")
    yield Identity(
        type="identity", spec_version="2.1", id=by, created=_FIRST, modified=_FIRST, name=copy.origin.name,
        identity_class="organization",
    )  # fmt: skip
    marking = _id("marking-definition", copy.id)
    yield Marking(
        type="marking-definition", spec_version="2.1", id=marking, created=at, created_by_ref=by,
        definition_type="statement", definition=Statement(" ".join(binding(copy))),
    )  # fmt: skip
    make = _Makers(copy, by, marking)
    confidence = _CONFIDENCE.get(said.grading.info_assess or "")
    refs: dict[str, str] = {}
    held: list[Struct] = []
    for index, person in enumerate(said.subjects):
        made = _person(make, index, person)
        held.append(made)
        refs[person.local_ref or f"/subjects/{index}"] = made.id
    people = list(refs.values())
    for index, each in enumerate(said.objects):
        thing = _thing(make, index, each)
        held.append(thing)
        refs[each.local_ref or f"/objects/{index}"] = str(getattr(thing, "id", ""))
    home = _home(make)
    if home is not None:
        held.append(home)
        for index, person_id in enumerate(people):
            held.append(
                _tie(
                    make,
                    f"/home/{index}",
                    "located-at",
                    person_id,
                    home.id,
                    "The home area, as the sender resolved it.",
                )
            )
    place = _place(make)
    if place is not None:
        held.append(place)
    for index, relation in enumerate(said.relations):
        if relation.origin in refs and relation.to in refs:
            words = vocabulary.RELATION_VERB.label(relation.verb)
            tie = _tie(
                make, f"/relations/{index}", "related-to", refs[relation.origin], refs[relation.to], words
            )
            held.append(msgspec.structs.replace(tie, confidence=_LEAST_CERTAIN.get(relation.certainty or "")))
    about = tuple(str(getattr(each, "id", "")) for each in held)
    if said.event.narrative:
        held.append(
            Note(
                **make.common("note", "/event/narrative"), abstract="What happened", content=said.event.narrative,
                object_refs=about or (by,), confidence=confidence,
            )
        )  # fmt: skip
    yield from held
    kinds = "; ".join(vocabulary.KIND.label(code) for code in said.event.kinds) or "Alert"
    yield Grouping(
        **make.common("grouping", ""), name=f"{copy.reference}: {kinds}", context="suspicious-activity",
        description=_facts(copy), labels=_labels(copy), confidence=confidence,
        object_refs=tuple(str(getattr(each, "id", "")) for each in held) or (by,),
    )  # fmt: skip


_FIRST: Final = "2026-01-01T00:00:00.000Z"
"""Since when an organisation is known: the same in every bundle, since it is the same object."""


def _person(make: _Makers, index: int, person: Subject) -> Identity:
    known = names(person)
    told = [
        f"Other names: {'; '.join(known[1:])}." if len(known) > 1 else "",
        f"Born {person.dob or person.birth_year}." if person.dob or person.birth_year else "",
        f"Age: {vocabulary.AGE_BAND.label(person.age_band)}." if person.age_band else "",
        f"Sex: {vocabulary.SEX.label(person.sex)}." if person.sex else "",
        *(f"{vocabulary.IDENTIFIER_SCHEME.label(each.scheme)}: {each.value}." for each in person.identifiers),
        person.description or "",
    ]
    return Identity(
        **make.common("identity", f"/subjects/{index}"), name=known[0] if known else "Not known",
        identity_class="individual", roles=person.roles or None, labels=person.cohorts or None,
        description=" ".join(each for each in told if each) or None,
    )  # fmt: skip


def _thing(make: _Makers, index: int, thing: Object) -> Infrastructure | UserAccount | Location:
    part = f"/objects/{index}"
    only = f" Only for {', '.join(thing.only_for)}." if thing.only_for else ""
    handled = f" Handling {thing.handling}." if thing.handling else ""
    words = f"{thing.description or ''}{handled}{only}".strip() or None
    name = thing.value or vocabulary.OBJECT_KIND.label(thing.kind)
    if thing.kind == "social" and thing.value:
        return UserAccount(
            type="user-account", spec_version="2.1", id=make.id("user-account", part), account_login=thing.value,
            display_name=words, object_marking_refs=(make.marking,),
        )  # fmt: skip
    if thing.kind == "address":
        return Location(
            **make.common("location", part), name="Address", street_address=name, description=words, country="GB",
        )  # fmt: skip
    return Infrastructure(
        **make.common("infrastructure", part), name=name, description=words, infrastructure_types=("unknown",),
        labels=(thing.kind,),
    )  # fmt: skip


def _home(make: _Makers) -> Location | None:
    home = make.copy.home
    if home is None or home.code is None:
        return None
    return Location(
        **make.common("location", "/home"), name=home.name or home.code, administrative_area=home.code, country="GB",
        description="Home area (GSS code in administrative_area).",
    )  # fmt: skip


def _place(make: _Makers) -> Location | None:
    place = make.copy.said.event.place
    if place is None or not (place.text or place.postcode or place.district):
        return None
    return Location(
        **make.common("location", "/event/place"), name=place.text or place.postcode or place.district,
        administrative_area=place.district, postal_code=place.postcode, country="GB",
        description=f"Where it was seen: {vocabulary.LOCATION_TYPE.label(place.type)}." if place.type else "Where it was seen.",
    )  # fmt: skip


def _tie(make: _Makers, part: str, kind: str, source: str, target: str, words: str) -> Relationship:
    return Relationship(
        **make.common("relationship", part), relationship_type=kind, source_ref=source, target_ref=target, description=words,
    )  # fmt: skip


def _facts(copy: Copy) -> str:
    said = copy.said
    told = [
        f"Priority {said.priority}.",
        f"Grading {vocabulary.admiralty(said.grading.source_eval, said.grading.info_assess)}.",
        f"Seen {_moment(said.event.observed_from)}." if said.event.observed_from else "",
        f"Legal ground: {', '.join(said.legal.gateways)}." if said.legal.gateways else "",
        said.legal.reasons_text or "",
        f"State here: {copy.state}.",
        f"Destroy by the end of {copy.retain_until.isoformat()}.",
    ]
    return " ".join(each for each in told if each)


def _labels(copy: Copy) -> tuple[str, ...]:
    event = copy.said.event
    return tuple(
        dict.fromkeys(
            [
                f"{PRODUCER}:reference={copy.reference}", f"{PRODUCER}:retain-until={copy.retain_until.isoformat()}",
                f"{PRODUCER}:status={copy.status}",
                *(f"{PRODUCER}:kind={code}" for code in event.kinds), *(f"{PRODUCER}:harm={code}" for code in event.harms),
                *(f"{PRODUCER}:indicator={code}" for code in event.indicators), *(f"niem-sar:{code}" for code in copy.sar_codes),
            ]
        )
    )  # fmt: skip


def _id(kind: str, name: str) -> str:
    return f"{kind}--{uuid.uuid5(IDS, f'{kind} {name}')}"


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"


FORMAT = Format("stix", "STIX 2.1 bundle", "application/stix+json;version=2.1", "stix.json", render)
