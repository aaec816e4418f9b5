"""What every format is given and what it gives back: a copy of a received alert, and bytes of one media type.

A copy is made by the node for one reader: what that reader may not see is out of it already, and what binds the reader
(handling, marking, the last day of keeping, the reference) is in it, so that no format can leave it out by accident.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from bridge import vocabulary
from bridge.alerts import Alert, CarriedHome, CarriedRetention, CarriedStep, Personal, Sender
from bridge.errors import Rejected

PRODUCER = "bridge"


class Condition(Struct, frozen=True):
    """One condition of handling, in its code and in words."""

    code: str
    label: str
    meaning: str


class Handling(Personal, frozen=True, omit_defaults=False):
    """How the copy may be used and passed on: `marking`, handling code, its conditions, and the sender's own words."""

    marking: str
    code: str
    label: str
    conditions: tuple[Condition, ...] = ()
    caveat: str | None = None


class Copy(Personal, frozen=True, omit_defaults=False, kw_only=True, dict=True):
    """One received alert as it leaves the node. `retain_until` is the last day (UTC) on which any copy may be kept.

    `withheld` are JSON pointers, in the alert as it was written, of what this reader may not see and therefore is not
    in `alert`. `only_for` and `handling` of what remains stand in `alert` itself.
    """

    reference: str
    id: str
    retain_until: date
    handling: Handling
    origin: Sender = field(name="from")
    sender: str
    partner: str
    received: datetime
    created: datetime | None = None
    state: str
    state_at: datetime | None = None
    outcome: str | None = None
    status: str = "actual"
    priority: str | None = None
    urgent: bool = False
    kinds: tuple[str, ...] = ()
    sar_codes: tuple[str, ...] = ()
    home: CarriedHome | None = None
    route: tuple[CarriedStep, ...] = ()
    retention: CarriedRetention | None = None
    kept_until: datetime | None = None
    withheld: tuple[str, ...] = ()
    withdrawn: bool = False
    corrects: str | None = None
    superseded_by: str | None = None
    alert: msgspec.Raw

    @functools.cached_property
    def said(self) -> Alert:
        """The alert as its sender wrote it, as far as this version knows its fields."""
        return msgspec.json.decode(self.alert, type=Alert)

    @functools.cached_property
    def unknown(self) -> tuple[str, ...]:
        """JSON pointers of what a newer sender wrote and this version has no field for: only `alert` itself holds it."""
        return tuple(_unknown(msgspec.json.decode(self.alert), Alert, ""))


class Records(Personal, frozen=True):
    """A table as a mapping profile makes it: names of columns in order, and rows of the same length, text alone."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Format(Struct, frozen=True):
    """One row of the table of formats.

    `render` makes a file of copies; `table`, where there is one, of what a mapping profile made. `many` says whether a
    file may hold several alerts. `extra` names the optional packages it needs, `apart` that it is slow and is made in a
    process of its own, by `python -m` that module, from what `render` gives.
    """

    name: str
    label: str
    media: str
    suffix: str
    render: Callable[[Sequence[Copy]], bytes]
    table: Callable[[Records], bytes] | None = None
    many: bool = True
    extra: str = ""
    apart: str = ""
    ready: Callable[[], bool] = lambda: True


def missing(extra: str, what: str) -> Rejected:
    """What is said when the optional packages of a format are not installed."""
    return Rejected(
        "not-supported",
        f"{what} needs packages that are not installed on this node.",
        f"Its administrator can add them: pip install 'bridge-alerts[{extra}]'",
    )


def handling_of(alert: Alert) -> Handling:
    """The handling of an alert, with its codes in words; unknown codes stay as they are."""
    grading = alert.grading
    return Handling(
        marking=grading.marking,
        code=grading.handling,
        label=vocabulary.HANDLING.label(grading.handling),
        conditions=tuple(
            Condition(
                code, term.label if term else code, term.meaning if term else "Ask the sender what it means."
            )
            for code in grading.conditions
            for term in (vocabulary.CONDITION.get(code),)
        ),
        caveat=grading.caveat_text,
    )


def binding(copy: Copy) -> list[str]:
    """What binds whoever has the copy, in sentences, for formats that people read."""
    handling = copy.handling
    told = [
        f"{handling.marking}. Reference {copy.reference}.",
        f"Handling {handling.code}: {handling.label}.",
    ]
    told += [f"Condition {each.code}: {each.label}. {each.meaning}" for each in handling.conditions]
    if handling.caveat:
        told.append(f"The sender says: {handling.caveat}")
    told.append(
        f"Destroy every copy by the end of {day(copy.retain_until)}, and say so in the copy register."
    )
    if copy.withheld:
        told.append(f"Not for you and not in this copy: {', '.join(copy.withheld)}.")
    if copy.withdrawn:
        told.append("The sender has withdrawn this alert: do not act on it.")
    if copy.superseded_by:
        told.append("A corrected alert has replaced this one.")
    if copy.unknown:
        told.append(f"Written by a newer version and shown only in the JSON form: {', '.join(copy.unknown)}.")
    return told


def day(value: date) -> str:
    """A date as people write it."""
    return f"{value.day} {value:%B %Y}"


def moment(value: datetime | None) -> str:
    """A time in UTC as RFC 3339, to the second; empty for None."""
    return "" if value is None else f"{value:%Y-%m-%dT%H:%M:%S}Z"


def _unknown(value: Any, kind: Any, pointer: str) -> Iterator[str]:
    """Members of decoded JSON that its struct has no field for."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, _inner(kind, tuple), f"{pointer}/{index}")
        return
    struct = _inner(kind, Struct)
    if not isinstance(value, dict) or struct is None:
        return
    fields = {each.encode_name: each.type for each in msgspec.structs.fields(struct)}
    for name, item in value.items():
        here = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in fields:
            yield here
        else:
            yield from _unknown(item, fields[name], here)


def _inner(kind: Any, wanted: type) -> Any:
    """The struct, or for `tuple` the type of its items, inside an annotated or optional type; None if there is none."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind if wanted is Struct else None
    if hasattr(kind, "__metadata__"):
        return _inner(kind.__origin__, wanted)
    arguments: tuple[Any, ...] = getattr(kind, "__args__", ())
    if getattr(kind, "__origin__", None) is tuple:
        return next(iter(arguments)) if wanted is tuple else None
    return next((found for each in arguments if (found := _inner(each, wanted)) is not None), None)
