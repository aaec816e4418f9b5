"""An alert as a worker's form or system submits it, and as it travels; the rules for entry, ages, audience and notices.

The bytes submitted are kept as they are; these structs are one reading of them. Unknown fields and unknown codes are
tolerated, since a sender may be newer than we are; every string and list is bounded. Decode with
`bridge.wire.decode_json`, never by calling a constructor, which checks nothing.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, NewType

import msgspec
from msgspec import Meta, Struct, field

from bridge import vocabulary
from bridge.errors import Rejected
from bridge.vocabulary import RetentionClass, Table

AlertId = NewType("AlertId", str)
"""UUIDv7 as text; given by the node that takes the alert."""

MAX_NARRATIVE = 4000
MAX_DESCRIPTION = 2000

Code = Annotated[str, Meta(min_length=1, max_length=64)]
Short = Annotated[str, Meta(max_length=200)]
Line = Annotated[str, Meta(max_length=500)]
Description = Annotated[str, Meta(max_length=MAX_DESCRIPTION)]
Narrative = Annotated[str, Meta(max_length=MAX_NARRATIVE)]
Ref = Annotated[str, Meta(min_length=1, max_length=32)]
Instant = Annotated[datetime, Meta(tz=True)]
Codes = Annotated[tuple[Code, ...], Meta(max_length=32)]


class Personal(Struct, frozen=True, omit_defaults=True):
    """Base of every struct that may describe a person: shows its type and nothing else."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


# --- What is submitted -----------------------------------------------------------------------------------------


class Reporter(Personal, frozen=True):
    """Who reports, as a role and a desk; a worker's name has no field."""

    agency_code: Code | None = None
    role_title: Short | None = None
    site: Short | None = None
    contact_channel: Short | None = None
    identity_protected: bool = True
    told_person: Code | None = None


class Name(Personal, frozen=True):
    """One name of a person, as written, its kind and its script (ISO 15924)."""

    text: Annotated[str, Meta(min_length=1, max_length=200)]
    kind: Code = "known"
    script: Code | None = None


class Identifier(Personal, frozen=True):
    """A person's number in another system."""

    scheme: Code
    value: Annotated[str, Meta(min_length=1, max_length=64)]


class Subject(Personal, frozen=True):
    """A person the alert is about; may have several roles, e.g. exploited and suspected of exploiting."""

    local_ref: Ref | None = None
    names: Annotated[tuple[Name, ...], Meta(max_length=10)] = ()
    dob: date | None = None
    birth_year: Annotated[int, Meta(ge=1880, le=2200)] | None = None
    age_band: Code | None = None
    sex: Code | None = None
    roles: Codes = ()
    cohorts: Codes = ()
    identifiers: Annotated[tuple[Identifier, ...], Meta(max_length=10)] = ()
    description: Description | None = None


class Home(Personal, frozen=True):
    """Where the persons are from: what was typed, and the district (GSS code) if the sender knows it."""

    raw_text: Short | None = None
    district: Code | None = None
    method: Code | None = None
    basis: Code | None = None
    not_known: bool = False
    valid_on: date | None = None


class Place(Personal, frozen=True):
    """Where it was seen: sort of place, district and force (GSS codes), and words."""

    type: Code | None = None
    district: Code | None = None
    pfa: Code | None = None
    text: Line | None = None
    postcode: Annotated[str, Meta(max_length=16)] | None = None


class Event(Personal, frozen=True):
    """What was seen or heard, when and where."""

    kinds: Codes = ()
    harms: Codes = ()
    indicators: Codes = ()
    narrative: Narrative | None = None
    observed_from: Instant | None = None
    observed_to: Instant | None = None
    precision: Code | None = None
    place: Place | None = None


class Object(Personal, frozen=True):
    """A phone, vehicle, account, address or line. Not empty `only_for` names the functions that alone may see it."""

    local_ref: Ref | None = None
    kind: Code = "other"
    value: Line | None = None
    description: Description | None = None
    handling: Code | None = None
    only_for: Codes = ()


class Relation(Personal, frozen=True):
    """How two of the persons or things hang together; `origin` is `from` in JSON. Both name a `local_ref`."""

    origin: Ref = field(name="from")
    to: Ref
    verb: Code
    certainty: Code | None = None


class Grading(Personal, frozen=True):
    """How it is known, how it may be passed on, and the security marking."""

    how_known: Code | None = None
    source_eval: Code | None = None
    info_assess: Code | None = None
    handling: Code = "P"
    conditions: Codes = ()
    marking: Code = "OFFICIAL-SENSITIVE"
    caveat_text: Line | None = None


class Legal(Personal, frozen=True):
    """On what ground it is shared, and why, in words."""

    gateways: Codes = ()
    art9: Codes = ()
    part3: bool = False
    reasons_text: Description | None = None
    consent_state: Code | None = None
    agreement_id: Code | None = None
    dpo_review: bool | None = None


class LocalAction(Personal, frozen=True):
    """Who else was told, and their references."""

    also_reported_to: Codes = ()
    refs: Annotated[tuple[Short, ...], Meta(max_length=16)] = ()


class Retention(Personal, frozen=True):
    """The retention class, and the last day (UTC) on which the content may be kept. `class_` is `class` in JSON."""

    class_: Code = field(name="class", default="UNADOPTED")
    until: date | None = None


class Provenance(Personal, frozen=True):
    """What made the alert; `device_time_skew` is in seconds, positive when the device is ahead."""

    form_version: Short | None = None
    vocab_versions: Annotated[tuple[Short, ...], Meta(max_length=16)] = ()
    device_time_skew: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None


class Recipient(Personal, frozen=True):
    """Who shall have it: a function, for the home area, for the place, or for an area given by its GSS code."""

    function: Code
    area: Code = "home"
    why: Line | None = None


class Alert(Personal, frozen=True):
    """An alert as submitted. `recipients` None: the default audience decides (see :func:`audience`)."""

    v: Annotated[int, Meta(ge=1, le=1000)] = 1
    type: Code = "alert"
    status: Code = "actual"
    priority: Code = "LOW"
    reporter: Reporter = Reporter()
    subjects: Annotated[tuple[Subject, ...], Meta(max_length=5)] = ()
    home: Home = Home()
    event: Event = Event()
    objects: Annotated[tuple[Object, ...], Meta(max_length=20)] = ()
    relations: Annotated[tuple[Relation, ...], Meta(max_length=40)] = ()
    grading: Grading = Grading()
    legal: Legal = Legal()
    local_action: LocalAction = LocalAction()
    ask: Code | None = None
    by_when: date | None = None
    retention: Retention = Retention()
    provenance: Provenance = Provenance()
    recipients: Annotated[tuple[Recipient, ...], Meta(min_length=1, max_length=16)] | None = None


# --- What travels ----------------------------------------------------------------------------------------------


class Desk(Struct, frozen=True, omit_defaults=True):
    """Whom to call about an alert, as the sender's descriptor says."""

    name: Short
    telephone: Short | None = None
    hours: Short | None = None


class Sender(Struct, frozen=True, omit_defaults=True):
    """The node that sends, and its duty desk."""

    node_id: Code
    name: Short
    agency: Code | None = None
    desk: Desk | None = None


class CarriedHome(Personal, frozen=True):
    """The home area as the sender resolved it, for the date, with the reason in words. All areas are GSS codes."""

    code: Code | None = None
    level: Code | None = None  # district, upper, force, region or country
    name: Short | None = None
    district: Code | None = None
    upper: Code | None = None
    force: Code | None = None
    region: Code | None = None
    method: Code | None = None
    share: Annotated[float, Meta(ge=0, le=1)] | None = None  # of the postcodes that the text fits, 1.0 = all
    vintage: Short | None = None
    because: Line | None = None


class CarriedStep(Struct, frozen=True, omit_defaults=True):
    """One recipient of the alert: which node, for what function and area, and why; `step` is where routing found it."""

    node: Code
    name: Short
    function: Code
    area: Code
    why: Line | None = None
    step: Code | None = None
    because: Line | None = None


class CarriedRetention(Struct, frozen=True):
    """The retention class and the last day (UTC) on which any holder may keep the content."""

    class_: Code = field(name="class")
    until: date


class Carried(Struct, frozen=True, omit_defaults=True):
    """The payload of a message of type `alert`: what the sender's node decided, and the submitted bytes in `body`."""

    v: Annotated[int, Meta(ge=1, le=1000)]
    id: Annotated[
        str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
    ]
    reference: Annotated[str, Meta(pattern=r"^BR-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}\Z")]
    created: Instant
    status: Code
    urgent: bool
    sender: Sender
    home: CarriedHome
    route: Annotated[tuple[CarriedStep, ...], Meta(max_length=32)]
    retention: CarriedRetention
    body: msgspec.Raw
    withheld: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=64)] = ()
    in_reply_to: Annotated[str, Meta(max_length=36)] | None = None

    def __repr__(self) -> str:
        return f"Carried({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


# --- Reference -------------------------------------------------------------------------------------------------

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HEARD = str.maketrans(
    {"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\u2013": None, "\u2010": None, "\u2011": None}
)


def _check_character(seven: str) -> str:
    """Luhn modulo 32: finds every single wrong character and nearly every swap of neighbours."""
    total = 0
    for place, character in enumerate(reversed(seven)):
        value = _CROCKFORD.index(character) * (2 if place % 2 == 0 else 1)
        total += value // 32 + value % 32
    return _CROCKFORD[-total % 32]


@functools.lru_cache(maxsize=4096)
def reference(alert_id: str) -> str:
    """The reference to read aloud, e.g. `BR-X5AZ-B1ET`: 35 bits of SHA-256 of the id, and a check character.

    Both ends compute it from the id. It is short, so two alerts of one node may share it by rare chance.
    """
    bits = int.from_bytes(hashlib.sha256(alert_id.encode("ascii")).digest()[:5], "big") >> 5
    seven = "".join(_CROCKFORD[bits >> shift & 31] for shift in range(30, -1, -5))
    whole = seven + _check_character(seven)
    return f"BR-{whole[:4]}-{whole[4:]}"


def parse_reference(text: str) -> str | None:
    """The reference in its one form, from how a person may type it, or None; O is 0, I and L are 1."""
    if len(text) > 40:
        return None
    plain = text.strip().upper().translate(_HEARD)
    if len(plain) == 10 and plain.startswith("BR"):
        plain = plain[2:]
    if len(plain) != 8 or any(character not in _CROCKFORD for character in plain):
        return None
    if _check_character(plain[:7]) != plain[7]:
        return None
    return f"BR-{plain[:4]}-{plain[4:]}"


# --- Age -------------------------------------------------------------------------------------------------------


def age(dob: date, on: date) -> int:
    """Whole years on a day; someone born on 29 February is a year older on 1 March of a common year."""
    return on.year - dob.year - ((on.month, on.day) < (dob.month, dob.day))


def _ages(subject: Subject, on: date) -> tuple[int, int] | None:
    """Least and greatest age that a subject's date or year of birth allows, or None when neither is known."""
    if subject.dob is not None:
        exact = age(subject.dob, on)
        return exact, exact
    if subject.birth_year is not None:
        return on.year - subject.birth_year - 1, on.year - subject.birth_year
    return None


_BAND_ENDS = ((10, "u10"), (14, "10_13"), (16, "14_15"), (18, "16_17"), (25, "18_24"))


def age_band(subject: Subject, on: date) -> str:
    """The age band on a day; from a year of birth alone, the younger of the two that it allows."""
    ages = _ages(subject, on)
    if ages is None:
        return subject.age_band or "unknown"
    return next((band for end, band in _BAND_ENDS if ages[0] < end), "25p")


def is_child(subject: Subject, on: date) -> bool | None:
    """Whether a subject is under 18 on a day, or may be by the year of birth; None when nothing says so."""
    band = age_band(subject, on)
    if band in vocabulary.CHILD_BANDS:
        return True
    if band in ("18_24", "25p"):
        return False
    return True if "child_runner" in subject.cohorts else None


def observed_on(alert: Alert, now: datetime) -> date:
    """The day on which ages are counted: that of the observation, or today when none is given."""
    try:
        return (alert.event.observed_from or now).astimezone(UTC).date()
    except OverflowError:  # the first or last hours that a date can hold, in another zone
        return now.astimezone(UTC).date()


def urgent(alert: Alert) -> bool:
    """Whether delivery uses the urgent timetable."""
    return alert.priority == "HIGH"


# --- Rules for entry -------------------------------------------------------------------------------------------

_GSS = re.compile(r"[EKLMNSW]\d{8}")
_ABOVE_OFFICIAL = re.compile(r"\b(TOP|UK|NATO)[ -]+SECRET\b|^\W*SECRET\W*$", re.MULTILINE)
CLOCK_TOLERANCE = timedelta(minutes=10)
OLDEST_OBSERVATION = timedelta(days=20 * 366)
LATEST_REPLY = timedelta(days=2 * 366)
LONGEST_LIFE_YEARS = 120


def is_gss(text: str) -> bool:
    """Whether this has the form of a GSS area code; not whether there is such an area."""
    return _GSS.fullmatch(text) is not None


def check_marking(alert: Alert) -> None:
    """Raise `Rejected("marking")` unless the marking is OFFICIAL or OFFICIAL-SENSITIVE, however it is written.

    What is marked in any other way, known or not, is above what bridge may carry; so is text that begins with or
    names a higher marking in capitals. Sender and receiver both apply it.
    """
    plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", alert.grading.marking)).upper()
    if not plain.startswith("OFFICIAL") or "SECRET" in plain:
        raise _above("/grading/marking")
    for pointer, text in (
        ("/grading/caveat_text", alert.grading.caveat_text),
        ("/event/narrative", alert.event.narrative),
    ):
        plain = unicodedata.normalize("NFKC", text or "")
        if "SECRET" in plain and _ABOVE_OFFICIAL.search(plain):
            raise _above(pointer)


def _above(pointer: str) -> Rejected:
    return Rejected(
        "marking",
        "This is marked above OFFICIAL-SENSITIVE, which bridge may not carry.",
        "Use the channel that your security officer names for it.",
        pointer=pointer,
    )


def _refuse(pointer: str, sentence: str, hint: str = "") -> Rejected:
    return Rejected("usage", sentence, hint, pointer=pointer)


def check(alert: Alert, now: datetime) -> None:
    """Raise `Rejected` at the first rule for entry that is not met; `facts["pointer"]` is the JSON pointer of the field.

    Code `marking` for 4, `usage` for all others. Codes that need not be understood to send safely (kinds, harms,
    gateways...) are not refused here: see :func:`warnings`.
    """
    # 1 version, type, status, priority
    if alert.v != 1:
        raise _refuse("/v", "This node knows version 1 of an alert.")
    if alert.type != "alert":
        raise _refuse("/type", "Only a message of type alert can be sent in this way.")
    if alert.status not in vocabulary.SUBMITTED_STATUSES:
        raise _refuse("/status", "The status must be actual, exercise or test.")
    if alert.priority not in vocabulary.PRIORITY:
        raise _refuse("/priority", "The priority must be HIGH, MEDIUM or LOW.")
    # 2 someone or something
    if not alert.subjects and not alert.objects:
        raise _refuse(
            "/subjects", "An alert needs at least one person or one thing.", "Add a subject or an object."
        )
    _check_said(alert)
    # 3 relations
    _check_relations(alert)
    # 4 marking
    check_marking(alert)
    # 5 dates
    _check_dates(alert, now)
    # 6 home, place and recipients
    _check_areas(alert)
    # 7 retention
    if alert.retention.class_ not in vocabulary.SUBMITTED_RETENTION:
        raise _refuse(
            "/retention/class",
            "The retention class is not one that a sender may choose.",
            f"Use one of {', '.join(vocabulary.SUBMITTED_RETENTION)}.",
        )
    if alert.retention.until is not None and alert.retention.until < now.astimezone(UTC).date():
        raise _refuse("/retention/until", "The last day of keeping lies in the past.")


def _check_said(alert: Alert) -> None:
    """Each person and each thing must say something, by which another could know it."""
    for index, subject in enumerate(alert.subjects):
        said: tuple[object, ...] = (
            *(name.text.strip() for name in subject.names),
            subject.description and subject.description.strip(),
            subject.dob, subject.birth_year, subject.age_band, subject.sex,
            subject.identifiers, subject.roles, subject.cohorts,
        )  # fmt: skip
        if not any(said):
            raise _refuse(f"/subjects/{index}", "This person has neither a name nor a description.")
    for index, thing in enumerate(alert.objects):
        if not (thing.value or "").strip() and not (thing.description or "").strip():
            raise _refuse(f"/objects/{index}", "This thing has neither a value nor a description.")
        for place, code in enumerate(thing.only_for):
            if vocabulary.function(code) is None:
                # Kept as it is, it would silently withhold the thing from everybody.
                raise _refuse(f"/objects/{index}/only_for/{place}", "This function is not known.")


def _check_relations(alert: Alert) -> None:
    seen: set[str] = set()
    for pointer, ref in (
        *((f"/subjects/{index}", subject.local_ref) for index, subject in enumerate(alert.subjects)),
        *((f"/objects/{index}", thing.local_ref) for index, thing in enumerate(alert.objects)),
    ):
        if ref is not None and ref in seen:
            raise _refuse(f"{pointer}/local_ref", "The same local_ref stands twice.")
        if ref is not None:
            seen.add(ref)
    for index, relation in enumerate(alert.relations):
        for end, ref in (("from", relation.origin), ("to", relation.to)):
            if ref not in seen:
                raise _refuse(f"/relations/{index}/{end}", "No person or thing has this local_ref.")


def _check_dates(alert: Alert, now: datetime) -> None:
    today = now.astimezone(UTC).date()
    for index, subject in enumerate(alert.subjects):
        born = subject.dob
        if born is not None and not (today.year - LONGEST_LIFE_YEARS <= born.year and born <= today):
            raise _refuse(f"/subjects/{index}/dob", "The date of birth cannot be right.")
        year = subject.birth_year
        if year is not None and not today.year - LONGEST_LIFE_YEARS <= year <= today.year:
            raise _refuse(f"/subjects/{index}/birth_year", "The year of birth cannot be right.")
        if born is not None and year is not None and born.year != year:
            raise _refuse(f"/subjects/{index}/birth_year", "Year and date of birth do not agree.")
    event = alert.event
    for name, moment in (("observed_from", event.observed_from), ("observed_to", event.observed_to)):
        if moment is None:
            continue
        if moment > now + CLOCK_TOLERANCE:
            raise _refuse(f"/event/{name}", "The time of the observation lies in the future.")
        if moment < now - OLDEST_OBSERVATION:
            raise _refuse(f"/event/{name}", "The time of the observation lies more than 20 years back.")
    if event.observed_to is not None:
        if event.observed_from is None:
            raise _refuse("/event/observed_from", "An observation with an end needs a beginning.")
        if event.observed_to < event.observed_from:
            raise _refuse("/event/observed_to", "The observation ends before it begins.")
    # A date already past is let through: the alert may have waited for the network, and must still get out.
    if alert.by_when is not None and alert.by_when > today + LATEST_REPLY:
        raise _refuse("/by_when", "The date by which an answer is wanted lies more than two years ahead.")


def _check_areas(alert: Alert) -> None:
    home, place = alert.home, alert.event.place
    for pointer, code in (
        ("/home/district", home.district),
        ("/event/place/district", place.district if place else None),
        ("/event/place/pfa", place.pfa if place else None),
    ):
        if code is not None and not is_gss(code):
            raise _refuse(pointer, "This is not a GSS area code.", "It is one letter and eight digits.")
    for index, recipient in enumerate(alert.recipients or ()):
        if vocabulary.function(recipient.function) is None:
            raise _refuse(f"/recipients/{index}/function", "This function is not known.")
        if recipient.area == "place" and (place is None or place.district is None):
            raise _refuse(
                f"/recipients/{index}/area", "The place has no district.", "Give /event/place/district."
            )
        if recipient.area not in ("home", "place") and not is_gss(recipient.area):
            raise _refuse(f"/recipients/{index}/area", "The area must be home, place or a GSS area code.")
    if home.not_known and home.district:
        raise _refuse("/home/not_known", "The home area is said to be not known, and is given.")
    needed = alert.recipients is None or any(recipient.area == "home" for recipient in alert.recipients)
    if needed and not home.not_known and not home.district and not (home.raw_text or "").strip():
        raise _refuse(
            "/home",
            "The home area is missing.",
            'Give a postcode, town, council or force in raw_text, or say "not_known": true.',
        )


# --- Codes that we do not know ---------------------------------------------------------------------------------


class Caution(Struct, frozen=True):
    """Something a person should look at; nothing is refused for it. Never quotes the alert."""

    pointer: str
    sentence: str


def warnings(alert: Alert) -> list[Caution]:
    """Codes that our tables do not know, and gradings that do not fit together, each with its JSON pointer."""
    found = [
        Caution(pointer, f"This code is not in our list {table.name!r}; it is kept as it is.")
        for pointer, code, tables in _coded(alert)
        for table in tables[:1]
        if code is not None and not any(code in each for each in tables)
    ]
    agency = alert.reporter.agency_code
    if agency is not None and vocabulary.function(agency) is None:
        found.append(Caution("/reporter/agency_code", "This agency is not in our list; it is kept as it is."))
    if alert.grading.handling == "C" and not alert.grading.conditions and not alert.grading.caveat_text:
        found.append(Caution("/grading/conditions", "Handling C needs conditions, or words that say them."))
    if alert.grading.handling == "P" and alert.grading.conditions:
        found.append(Caution("/grading/handling", "Conditions stand beside handling P, which has none."))
    if not alert.legal.gateways:
        found.append(
            Caution("/legal/gateways", "No legal ground is given; the decision must be recorded elsewhere.")
        )
    return found


_Coded = tuple[str, str | None, tuple[Table, ...]]


def _coded(alert: Alert) -> Iterator[_Coded]:
    v = vocabulary

    def each(pointer: str, codes: Iterable[str], *tables: Table) -> Iterator[_Coded]:
        for index, code in enumerate(codes):
            yield f"{pointer}/{index}", code, tables

    yield "/reporter/told_person", alert.reporter.told_person, (v.TOLD_PERSON,)
    for at, subject in enumerate(alert.subjects):
        base = f"/subjects/{at}"
        yield f"{base}/age_band", subject.age_band, (v.AGE_BAND,)
        yield f"{base}/sex", subject.sex, (v.SEX,)
        yield from each(f"{base}/roles", subject.roles, v.ROLE)
        yield from each(f"{base}/cohorts", subject.cohorts, v.COHORT)
        for index, name in enumerate(subject.names):
            yield f"{base}/names/{index}/kind", name.kind, (v.NAME_KIND,)
        for index, identifier in enumerate(subject.identifiers):
            yield f"{base}/identifiers/{index}/scheme", identifier.scheme, (v.IDENTIFIER_SCHEME,)
    yield "/home/method", alert.home.method, (v.HOME_METHOD,)
    yield "/home/basis", alert.home.basis, (v.HOME_BASIS,)
    yield from each("/event/kinds", alert.event.kinds, v.KIND)
    yield from each("/event/harms", alert.event.harms, v.HARM)
    yield from each("/event/indicators", alert.event.indicators, v.INDICATOR)
    yield "/event/precision", alert.event.precision, (v.PRECISION,)
    if alert.event.place is not None:
        yield "/event/place/type", alert.event.place.type, (v.LOCATION_TYPE,)
    for at, thing in enumerate(alert.objects):
        yield f"/objects/{at}/kind", thing.kind, (v.OBJECT_KIND,)
        yield f"/objects/{at}/handling", thing.handling, (v.HANDLING,)
    for at, relation in enumerate(alert.relations):
        yield f"/relations/{at}/verb", relation.verb, (v.RELATION_VERB,)
        yield f"/relations/{at}/certainty", relation.certainty, (v.CERTAINTY,)
    yield "/grading/how_known", alert.grading.how_known, (v.HOW_KNOWN,)
    yield "/grading/source_eval", alert.grading.source_eval, (v.SOURCE_EVAL,)
    yield "/grading/info_assess", alert.grading.info_assess, (v.INFO_ASSESS,)
    yield "/grading/handling", alert.grading.handling, (v.HANDLING,)
    yield from each("/grading/conditions", alert.grading.conditions, v.CONDITION)
    yield from each("/legal/gateways", alert.legal.gateways, v.GATEWAY, v.SPECIAL_CATEGORY)
    yield from each("/legal/art9", alert.legal.art9, v.SPECIAL_CATEGORY)
    yield "/legal/consent_state", alert.legal.consent_state, (v.CONSENT_STATE,)
    yield from each("/local_action/also_reported_to", alert.local_action.also_reported_to, v.ALSO_REPORTED_TO)
    yield "/ask", alert.ask, (v.ASK,)


# --- What a recipient may see ----------------------------------------------------------------------------------


class _ObjectKey(Struct, frozen=True):
    local_ref: str | None = None
    only_for: tuple[str, ...] = ()


class _RelationEnds(Struct, frozen=True):
    origin: str = field(name="from", default="")
    to: str = ""


_RAWS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT_KEY = msgspec.json.Decoder(_ObjectKey)
_RELATION_ENDS = msgspec.json.Decoder(_RelationEnds)


def _may_see(only_for: tuple[str, ...], functions: frozenset[str]) -> bool:
    return not only_for or any((vocabulary.function(code) or code) in functions for code in only_for)


def redact(body: bytes, function: str) -> tuple[bytes, list[str]]:
    """The body for a recipient of this function, and the JSON pointers (in the original) of what is withheld from it.

    `function` may list several, as a leg of routing does ("LA_CSP, YJS"): the recipient sees what any of them may.
    Things whose `only_for` does not name the function go, and with them the relations that lead to them. When nothing
    is withheld the same bytes come back; otherwise every other part keeps its exact bytes, unknown fields included.
    `body` must have been decoded as an `Alert` before. Narratives are not searched: what a recipient may not see has
    no place in them.
    """
    functions = frozenset(vocabulary.function(each) or each.strip() for each in function.split(","))
    whole = _RAWS.decode(body)
    if "objects" not in whole:
        return body, []
    withheld: list[str] = []
    gone: set[str] = set()
    kept: list[msgspec.Raw] = []
    for index, raw in enumerate(_RAW_LIST.decode(whole["objects"])):
        key = _OBJECT_KEY.decode(raw)
        if _may_see(key.only_for, functions):
            kept.append(raw)
            continue
        withheld.append(f"/objects/{index}")
        if key.local_ref is not None:
            gone.add(key.local_ref)
    if not withheld:
        return body, []
    whole["objects"] = msgspec.Raw(msgspec.json.encode(kept))
    if gone and "relations" in whole:
        left: list[msgspec.Raw] = []
        for index, raw in enumerate(_RAW_LIST.decode(whole["relations"])):
            ends = _RELATION_ENDS.decode(raw)
            if ends.origin in gone or ends.to in gone:
                withheld.append(f"/relations/{index}")
            else:
                left.append(raw)
        whole["relations"] = msgspec.Raw(msgspec.json.encode(left))
    return msgspec.json.encode(whole), withheld


# --- Who should have it, when the sender does not say ------------------------------------------------------------


class Want(Struct, frozen=True):
    """A wanted recipient: a function code for an area ("home", "place" or a GSS code), and why, in words."""

    function: str
    area: str
    why: str


class Rule(Struct, frozen=True):
    """One row of the audience table: when the alert has one of `kinds` (empty: any) and a person is as `person` says."""

    person: str  # "child", "adult", "adult_at_risk", "offender", "nobody" or "any"
    kinds: tuple[str, ...]
    function: str
    area: str
    why: str


_HANDOVERS = (
    Rule("any", ("placement_in",), "MASH", "place", "the child is placed there, and the host council's children's services must know"),
    Rule("any", ("placement_in",), "POLICE", "place", "the child is placed there, and the host force should know"),
    Rule("any", ("release_in",), "LA_CSP", "place", "the person is released there"),
    Rule("any", ("release_in",), "POLICE", "place", "the person is released there, and the force should know"),
    Rule("any", ("release_in",), "POLICE", "home", "the person's home force should know of the release"),
    Rule("any", ("transition_18",), "LA_ASC", "home", "the person turns 18, and adult services take over"),
    Rule("any", ("transition_18",), "MH_TRUST", "home", "the person turns 18, and adult mental health takes over"),
)  # fmt: skip
"""Kinds in which a known case passes from one service to the next: these recipients and no others, whatever other
kinds stand beside. What was sent too widely cannot be taken back; the sender may always name more."""

_GENERAL = (
    Rule("child", (), "MASH", "home", "a child or young person is involved, and the home children's services act first"),
    Rule("child", (), "POLICE", "home", "a child or young person is involved, and the home force should know"),
    Rule("adult_at_risk", (), "LA_ASC", "home", "an adult may be at risk, and the home adult services should know"),
    Rule("adult_at_risk", (), "POLICE", "home", "an adult may be at risk, and the home force should know"),
    Rule("offender", (), "POLICE", "home", "a person is thought to harm or exploit others, and is the home force's to know"),
    Rule("offender", (), "LA_CSP", "home", "a person is thought to harm or exploit others, and the home partnership should know"),
    Rule("adult", (), "POLICE", "home", "the home force should know"),
    Rule("nobody", (), "POLICE", "home", "only a thing is known, and the force of its home area should know"),
    Rule("any", ("cuckooing_concern",), "LA_ASC", "place", "someone's home may be taken over there, and adult services act where the home is"),
    Rule("any", ("cuckooing_concern", "recruitment_out_of_area", "sighting_out_of_area", "carrying_or_running",
                 "travel_pattern", "missing_or_found", "network_pattern", "line_phone_vehicle_address"),
         "POLICE", "place", "it was seen there, and the local force should know"),
    Rule("child", ("missing_or_found",), "MASH", "place", "a child was seen or found there, and the local children's services should know"),
)  # fmt: skip
"""Everything else: by the persons, then by the kind for the place where it was seen."""

AUDIENCE: tuple[Rule, ...] = (*_HANDOVERS, *_GENERAL)
"""The default recipients of an alert, in order, each pair of function and area once (proposed, not law)."""

_OFFENDER_ROLES = frozenset({"suspected_exploiter", "gang_member", "gang_associate"})
_AT_RISK_ROLES = frozenset({"at_risk", "exploited", "householder_cuckooed"})


def _persons(alert: Alert, on: date) -> set[str]:
    """Which rows of the audience table the persons of an alert meet."""
    if not alert.subjects:
        return {"nobody"}
    met: set[str] = set()
    for subject in alert.subjects:
        if is_child(subject, on) is not False:  # may be a child: treated as one until known
            met.add("child")
        else:
            met.add("adult")
            if _AT_RISK_ROLES & set(subject.roles) or set(vocabulary.ADULT_AT_RISK_COHORTS) & set(
                subject.cohorts
            ):
                met.add("adult_at_risk")
        if _OFFENDER_ROLES & set(subject.roles) and is_child(subject, on) is False:
            met.add("offender")
    return met


def audience(alert: Alert, now: datetime) -> list[Want]:
    """Who should have the alert: as its `recipients` say or, when absent, by the table `AUDIENCE`.

    Each (function, area) once, in order. Wants for the place are left out when the place has no district; two wants
    may yet lead to one node, which is routing's to see. Function codes are normalised; unknown ones stay.
    """
    if alert.recipients is not None:
        wants = [
            Want(
                vocabulary.function(each.function) or each.function,
                each.area,
                each.why or "the sender named it",
            )
            for each in alert.recipients
        ]
    else:
        met = _persons(alert, observed_on(alert, now)) | {"any"}
        # A hand-over without a district to hand over to falls back on the general rows, so that someone has it.
        wants = _wanted(_HANDOVERS, alert, met) or _wanted(_GENERAL, alert, met)
    once: dict[tuple[str, str], Want] = {}
    for want in wants:
        once.setdefault((want.function, want.area), want)
    return list(once.values())


def _wanted(rules: tuple[Rule, ...], alert: Alert, met: set[str]) -> list[Want]:
    kinds = set(alert.event.kinds)
    placed = alert.event.place is not None and alert.event.place.district is not None
    return [
        Want(rule.function, rule.area, rule.why)
        for rule in rules
        if rule.person in met
        and (not rule.kinds or kinds & set(rule.kinds))
        and (placed or rule.area != "place")
    ]


# --- Law: what the sender should know before sending -------------------------------------------------------------

_COUNTRY = {"E": "England", "W": "Wales", "S": "Scotland", "N": "Northern Ireland"}


class Notice(Struct, frozen=True):
    """A plain sentence on the law of this alert, with a code; recorded with it, and never a refusal."""

    code: str
    sentence: str
    gateway: str | None = None


def country(jurisdiction: str | None) -> str | None:
    """The country of a GSS code, its first letter or the country's name; None when it is none or spans several."""
    if not jurisdiction:
        return None
    if jurisdiction in vocabulary.UK:
        return jurisdiction
    return _COUNTRY.get(jurisdiction[0]) if len(jurisdiction) == 1 or is_gss(jurisdiction) else None


def notices(alert: Alert, sender_jurisdiction: str | None, home_jurisdiction: str | None) -> list[Notice]:
    """What the law asks the sender to look at, given the countries (GSS code, letter or name) of sender and home.

    An unknown country raises no notice of its own.
    """
    here, there = country(sender_jurisdiction), country(home_jurisdiction)
    agency = vocabulary.function(alert.reporter.agency_code or "")
    known = [gateway for code in alert.legal.gateways if (gateway := vocabulary.gateway(code)) is not None]
    found: list[Notice] = []
    if here and there and here != there:
        found.append(
            Notice(
                "cross-border",
                f"The sender is in {here} and the home area in {there}: two laws apply, and each side needs its own ground.",
            )
        )
    for gateway in known:
        if here and here not in gateway.jurisdictions and not gateway.receiving:
            found.append(
                Notice(
                    "not-law-here",
                    f"{gateway.label} ({gateway.code}) is law in {_listed(gateway.jurisdictions)}, not in {here}: the sender cannot rely on it.",
                    gateway.code,
                )
            )
        if there and there != here and there not in gateway.jurisdictions:
            found.append(
                Notice(
                    "not-binding-there",
                    f"{gateway.label} ({gateway.code}) is law in {_listed(gateway.jurisdictions)} and does not bind {there}: choose a ground that holds there as well.",
                    gateway.code,
                )
            )
        if agency and agency in gateway.not_for:
            found.append(
                Notice(
                    "information-not-covered",
                    f"{gateway.label} ({gateway.code}) does not cover patient information, nor personal information of a health or social care authority: choose another ground.",
                    gateway.code,
                )
            )
        if agency and gateway.senders and agency not in gateway.senders:
            found.append(
                Notice(
                    "not-for-this-agency",
                    f"{gateway.label} ({gateway.code}) is for others: {gateway.who}",
                    gateway.code,
                )
            )
    if agency == "JCP" and not any(gateway.code == "SSAA_AUTHORITY" for gateway in known):
        found.append(
            Notice(
                "authority-needed",
                "Staff of the Department for Work and Pensions commit an offence if they disclose without lawful authority (Social Security Administration Act 1992 section 123): record the authority as SSAA_AUTHORITY.",
                "SSAA_123",
            )
        )
    if (
        agency in vocabulary.HEALTH
        and not any(gateway.code == "CLDC_PUBLIC_INTEREST" for gateway in known)
        and alert.legal.consent_state != "given"
    ):
        found.append(
            Notice(
                "confidentiality",
                "Health information is held in confidence: record consent, or that the public interest outweighs it (CLDC_PUBLIC_INTEREST).",
                "CLDC",
            )
        )
    if alert.legal.part3 and agency and agency not in (*vocabulary.POLICING, "PRISON", "PROBATION", "YJS"):
        found.append(
            Notice(
                "not-competent-authority",
                "Law-enforcement processing (Data Protection Act 2018 part 3) is for competent authorities only.",
            )
        )
    if not alert.legal.gateways:
        found.append(
            Notice(
                "no-ground",
                "No legal ground is given: the decision to share and its reasons must be recorded all the same.",
            )
        )
    return found


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# --- How long it is kept ---------------------------------------------------------------------------------------

LEAST_DAYS = 30
"""Never less than the longest delivery window, else an old observation would be deleted before it is read."""


def keep_until(
    alert: Alert,
    now: datetime,
    classes: Mapping[str, RetentionClass] | None = None,
) -> date:
    """The last day (UTC) on which the content of an alert sent `now` may be kept, before anyone acknowledges it.

    By its class (`classes` overrides the defaults of the vocabulary), never beyond the class's ceiling; the alert's
    own `until` may shorten it. Raises `Rejected("usage")` for a class that has no time of its own.
    """
    code = alert.retention.class_
    kept = (classes or {}).get(code) or vocabulary.retention_class(code)
    if kept is None or kept.days is None or kept.ceiling_days is None:
        raise _refuse("/retention/class", "The retention class is not one that a sender may choose.")
    today = now.astimezone(UTC).date()
    ceiling = today + timedelta(days=kept.ceiling_days)
    if kept.measured_from == "acknowledged":
        by_class = ceiling
    elif kept.measured_from == "observed":
        by_class = max(
            observed_on(alert, now) + timedelta(days=kept.days), today + timedelta(days=LEAST_DAYS)
        )
    else:
        by_class = today + timedelta(days=kept.days)
    return min(day for day in (by_class, ceiling, alert.retention.until) if day is not None)
