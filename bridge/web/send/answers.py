"""The one-page form: its questions, what was answered, and the alert that comes of it. Plain functions of values.

Each question belongs to a part of the alert. A correction changes the parts whose answer changed and leaves every other
byte of meaning as it was, also what the form does not know.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec

from bridge import alerts, vocabulary
from bridge.alerts import Alert
from bridge.partners import Descriptor
from bridge.web.forms import Form
from bridge.web.texts import _
from bridge.web.words import LONDON, day, label

SHORTEST: Final = 20
LONGEST: Final = 2000

SEEN: Final = (
    ("recruitment_out_of_area", "Someone recruiting or using others",
     "For example, offers money, gifts or work to young people, or gives orders"),
    ("sighting_out_of_area", "A child or adult at risk who is away from home",
     "Someone who has no reason to be here, or does not want to say why"),
    ("carrying_or_running", "Someone who may be carrying drugs, money or weapons",
     "For example, several phones, a bag that is never put down, train tickets, cash"),
    ("cuckooing_concern", "A home that may have been taken over",
     "For example, new people come and go, and the person who lives there is not seen"),
    ("other", "Something else that worries you", ""),
)  # fmt: skip
"""What may have been seen: code of the vocabulary, text, hint."""

AGES: Final = ("u10", "10_13", "14_15", "16_17", "18_24", "25p", "unknown")
WHEN: Final = ("today", "yesterday", "other")
HOW: Final = ("self", "person", "other", "record", "rumour")
PARTS: Final = ("at_risk", "exploited", "suspected_exploiter", "gang_member")
TOLD: Final = ("yes", "not_safe", "not_practical")
ASKS: Final = ("for_information", "check_and_tell_me", "contact_me", "act")

FIELDS: Final = (
    "danger", "seen", "area", "area_code", "area_name", "unknown", "name", "age", "description", "when", "on-day",
    "on-month", "on-year", "happened", "how", "place", "part", "told", "protect", "ask", "team",
)  # fmt: skip
SEVERAL: Final = ("part",)
DEFAULTS: Final = {"danger": "no", "when": "today", "how": "self", "protect": "yes", "ask": "for_information"}
"""What is answered before anybody has: the usual case, so that it costs no key."""


class Answers(msgspec.Struct, frozen=True):
    """What was answered, read and checked. `on` is the day it was seen; `area` a code that was chosen, if one was."""

    danger: bool
    seen: str
    text: str
    area: str
    unknown: bool
    name: str
    age: str
    description: str
    on: date
    happened: str
    how: str
    place: str
    part: tuple[str, ...]
    told: str
    protect: bool
    ask: str
    team: str

    def __repr__(self) -> str:
        return "Answers(...)"


class Written(msgspec.Struct, frozen=True, omit_defaults=True):
    """A draft: every field as it was typed, which area was chosen, and whether 999 was rung. `at` is when it was."""

    fields: dict[str, tuple[str, ...]]
    at: datetime
    area: str = ""
    rang: bool = False
    ready: bool = False

    def __repr__(self) -> str:
        return "Written(...)"


def read(
    form: Form, now: datetime, teams: Sequence[str] = (), wrong_area: Callable[[str], str] = lambda _text: ""
) -> Answers | None:
    """The answers of a form, in the order of the page; None when something is missing, which the form then says.

    `wrong_area` says what is wrong with an area as it was typed; nothing where it may be one.
    """
    today = now.astimezone(LONDON).date()
    danger = form.choice("danger", ("yes", "no"), _("Select whether anyone is in danger now")) == "yes"
    seen = form.choice("seen", [code for code, _text, _hint in SEEN], _("Select what you have seen"))
    unknown = form.ticked("unknown")
    missing = "" if unknown else _('Enter the area the person is from, or select "I do not know"')
    text = form.text("area", missing, longest=100, label=_("Where the person is from"))
    chosen = form.value("area_code") if form.value("area_name") == text else ""
    if text and not unknown and not chosen and (wrong := wrong_area(text)):
        form.error("area", wrong)
    name = form.text("name", longest=200, label=_("Name"))
    age = form.choice("age", AGES)
    description = form.text("description", longest=1000, label=_("What they look like"))
    if not name and not description:
        form.error("name", _("Enter a name, a nickname or a description"))
    on = _seen_on(form, today)
    happened = form.text(
        "happened",
        _("Enter what happened, in 20 characters or more"),
        longest=LONGEST,
        label=_("What happened"),
        shortest=SHORTEST,
        too_short=_("Enter what happened, in 20 characters or more"),
    )
    how = form.choice("how", HOW, _("Select how you know"))
    place = form.text("place", longest=200, label=_("Where you saw it"))
    part = form.choices("part", PARTS)
    team = form.choice("team", teams, _("Select your team")) if len(teams) > 1 else next(iter(teams), "")
    if form.errors or on is None:
        return None
    return Answers(
        danger, seen, text, "" if unknown or not alerts.is_gss(chosen) else chosen, unknown, name, age, description, on,
        happened, how, place, part, form.choice("told", TOLD), form.ticked("protect"), form.choice("ask", ASKS), team,
    )  # fmt: skip


def _seen_on(form: Form, today: date) -> date | None:
    when = form.choice("when", WHEN, _("Select when you saw this"))
    typed = any(form.value(f"on-{part}").strip() for part in ("day", "month", "year"))
    if when == "other":
        return form.day("on", _("Date you saw this"), missing=_("Enter the date you saw this"), latest=today)
    if typed and when:
        # Which of the two is meant is not ours to guess.
        form.error("when", _('Select "Another day", or clear the date'))
    return today if when == "today" else today - timedelta(days=1)


def empty(teams: Sequence[str] = ()) -> Form:
    """The form before anything was answered."""
    filled = {**DEFAULTS, "team": teams[0]} if teams else DEFAULTS
    return Form({name: (value,) for name, value in filled.items()})


# The alert


class Ground(msgspec.Struct, frozen=True):
    """The legal part of an alert, as codes."""

    gateways: tuple[str, ...]
    art9: tuple[str, ...]
    part3: bool


def alert_of(answers: Answers, written: Written, own: Descriptor, legal: Ground | None = None) -> bytes:
    """The alert's JSON. The same answers, written at the same time, always give the same bytes."""
    alert: dict[str, Any] = {
        "v": 1,
        "status": "exercise" if own.exercise else "actual",
        "retention": {"class": "EXERCISE" if own.exercise else "UNADOPTED"},
        "provenance": {"form_version": "pages-1", "vocab_versions": [f"bridge:{vocabulary.VERSION}"]},
        "reporter": {"agency_code": own.agency, "site": own.name},
    }
    for _names, part in _PARTS:
        part(alert, answers, written, own)
    if legal is not None:
        alert["legal"] = {
            "gateways": list(legal.gateways),
            "art9": list(legal.art9),
            "part3": legal.part3,
            "consent_state": "not_needed",
        }
    return msgspec.json.encode(alert)


def corrected(original: bytes, answers: Answers, written: Written, own: Descriptor) -> bytes:
    """The original with the parts whose answer is another than it was; everything else stays, known to the form or not."""
    alert = msgspec.json.decode(original)
    before = _answers_of(msgspec.convert(alert, Alert), written.at)
    for names, part in _PARTS:
        if any(getattr(before, name) != getattr(answers, name) for name in names):
            part(alert, answers, written, own)
    return msgspec.json.encode(alert)


def _danger(alert: dict[str, Any], answers: Answers, written: Written, _own: Descriptor) -> None:
    if answers.danger:
        alert["priority"] = "HIGH"
        if written.rang:
            alert.setdefault("local_action", {})["also_reported_to"] = ["999"]
    else:
        alert["priority"] = "LOW"


def _seen(alert: dict[str, Any], answers: Answers, _written: Written, _own: Descriptor) -> None:
    _event(alert)["kinds"] = [answers.seen]


def _home(alert: dict[str, Any], answers: Answers, written: Written, _own: Descriptor) -> None:
    home: dict[str, Any] = {}
    if answers.text:
        home["raw_text"] = answers.text
    if answers.unknown:
        home["not_known"] = True
    elif written.area or answers.area:
        home["district"] = written.area or answers.area
    alert["home"] = home


def _person(alert: dict[str, Any], answers: Answers, _written: Written, _own: Descriptor) -> None:
    subjects = alert.setdefault("subjects", [])
    if not subjects:
        subjects.append({"local_ref": "s1"})
    subject = subjects[0]
    names = subject.get("names") or []
    if answers.name:
        subject["names"] = [{"text": answers.name, "kind": "known"}, *names[1:]]
    else:
        subject.pop("names", None)
    _put(subject, "description", answers.description)
    _put(subject, "roles", list(answers.part))
    if answers.age:
        subject["age_band"] = answers.age
        for exact in ("dob", "birth_year"):
            subject.pop(exact, None)
    else:
        subject.pop("age_band", None)


def _time(alert: dict[str, Any], answers: Answers, written: Written, _own: Descriptor) -> None:
    event = _event(alert)
    noon = datetime.combine(answers.on, time(12), LONDON).astimezone(UTC)
    event["observed_from"] = min(noon, written.at).isoformat().replace("+00:00", "Z")
    event["precision"] = "day"
    event.pop("observed_to", None)


def _happened(alert: dict[str, Any], answers: Answers, _written: Written, _own: Descriptor) -> None:
    _event(alert)["narrative"] = answers.happened


def _how(alert: dict[str, Any], answers: Answers, _written: Written, _own: Descriptor) -> None:
    grading = alert.setdefault("grading", {})
    grading["how_known"] = answers.how
    grading["info_assess"] = vocabulary.HOW_KNOWN_ASSESSMENT[answers.how]


def _place(alert: dict[str, Any], answers: Answers, _written: Written, own: Descriptor) -> None:
    place = _event(alert).setdefault("place", {})
    _put(place, "text", answers.place or (own.name if not place.get("text") else ""))
    if len(own.areas) == 1:
        place.setdefault("district", own.areas[0])


def _reporter(alert: dict[str, Any], answers: Answers, _written: Written, _own: Descriptor) -> None:
    reporter = alert.setdefault("reporter", {})
    reporter["identity_protected"] = answers.protect
    _put(reporter, "told_person", answers.told)


def _ask(alert: dict[str, Any], answers: Answers, _written: Written, _own: Descriptor) -> None:
    _put(alert, "ask", answers.ask)


def _event(alert: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = alert.setdefault("event", {})
    return event


def _put(to: dict[str, Any], name: str, value: Any) -> None:
    if value:
        to[name] = value
    else:
        to.pop(name, None)


_PARTS: Final = (
    (("danger",), _danger),
    (("seen",), _seen),
    (("text", "area", "unknown"), _home),
    (("name", "age", "description", "part"), _person),
    (("on",), _time),
    (("happened",), _happened),
    (("how",), _how),
    (("place",), _place),
    (("protect", "told"), _reporter),
    (("ask",), _ask),
)
"""Which answers make which part of an alert."""

# An alert as it would have been answered


def fields_of(alert: Alert, now: datetime) -> dict[str, tuple[str, ...]]:
    """An alert as the form would have been filled in; what the form has no field for is left out."""
    answers = _answers_of(alert, now)
    fields = {
        "danger": "yes" if answers.danger else "no",
        "seen": answers.seen,
        "area": answers.text,
        "unknown": "yes" if answers.unknown else "",
        "name": answers.name,
        "age": answers.age,
        "description": answers.description,
        "when": "other",
        "on-day": str(answers.on.day),
        "on-month": str(answers.on.month),
        "on-year": str(answers.on.year),
        "happened": answers.happened,
        "how": answers.how,
        "place": answers.place,
        "told": answers.told,
        "protect": "yes" if answers.protect else "",
        "ask": answers.ask,
        "area_code": answers.area,
        "area_name": answers.text if answers.area else "",
    }
    found: dict[str, tuple[str, ...]] = {name: (value,) for name, value in fields.items() if value}
    return {**found, "part": answers.part} if answers.part else found


def _answers_of(alert: Alert, now: datetime) -> Answers:
    subject = alert.subjects[0] if alert.subjects else alerts.Subject()
    event, home = alert.event, alert.home
    kind = event.kinds[0] if event.kinds else ""
    return Answers(
        danger=alert.priority == "HIGH",
        seen=kind if kind in {code for code, _text, _hint in SEEN} else "other",
        text=(home.raw_text or home.district or "").strip(),
        area=home.district or "",
        unknown=home.not_known,
        name=subject.names[0].text if subject.names else "",
        age=subject.age_band or "",
        description=subject.description or "",
        on=(event.observed_from or now).astimezone(LONDON).date(),
        happened=(event.narrative or "").strip(),
        how=alert.grading.how_known or "self",
        place=event.place.text or "" if event.place else "",
        part=tuple(code for code in PARTS if code in subject.roles),
        told=alert.reporter.told_person or "",
        protect=alert.reporter.identity_protected,
        ask=alert.ask or "",
        team="",
    )


def shown(alert: Alert, home: str) -> list[tuple[str, str]]:
    """An alert for its sender to read: heading and text, in the order of the form; what is empty is left out.

    `home` is what its home area is called.
    """
    seen_at = alert.event.observed_from
    answers = _answers_of(alert, seen_at or datetime.fromtimestamp(0, UTC))
    kinds = ", ".join(label("kind", code) for code in alert.event.kinds)
    rows = [
        (_("What you saw"), seen_text(answers.seen) if alert.event.kinds == (answers.seen,) else kinds),
        (_("Danger now"), _("Yes") if answers.danger else ""),
        (_("From"), home or _("Not known")),
        *(row for subject in alert.subjects for row in _subject_rows(subject)),
        (_("When"), day(answers.on) if seen_at is not None else ""),
        (_("Where you saw it"), answers.place),
        (_("What happened"), answers.happened),
        (_("How you know"), label("how_known", alert.grading.how_known) if alert.grading.how_known else ""),
        (_("Was the person told?"), label("told_person", answers.told) if answers.told else ""),
        (_("Your name"), _("Not to be passed on") if answers.protect else ""),
        (_("What you ask for"), label("ask", answers.ask) if answers.ask else ""),
        *(
            (label("object_kind", thing.kind), thing.value or thing.description or "")
            for thing in alert.objects
        ),
    ]
    return [(heading, text) for heading, text in rows if text]


def _subject_rows(subject: alerts.Subject) -> list[tuple[str, str]]:
    return [
        (_("Name or nickname"), ", ".join(name.text for name in subject.names)),
        (_("Age"), label("age_band", subject.age_band) if subject.age_band else ""),
        (_("What they look like"), subject.description or ""),
        (_("Their part in it"), ", ".join(label("role", role) for role in subject.roles)),
    ]


def seen_text(code: str) -> str:
    """What was seen, in the words of the form."""
    return next((_(text) for each, text, _hint in SEEN if each == code), label("kind", code))


def choices(table: str, codes: Sequence[str]) -> list[tuple[str, str]]:
    """Codes of the vocabulary as a question offers them."""
    return [(code, label(table, code)) for code in codes]


FIELD_OF: Final = {
    "/event/narrative": "happened",
    "/event/observed": "when",
    "/subjects": "name",
    "/home": "area",
    "/event/place": "place",
}
"""Which field of the form a JSON pointer of an alert belongs to, by how the pointer begins."""
