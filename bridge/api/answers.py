"""What the interface for systems answers, as structs: the contract is made from these, and nothing else is sent."""

from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bridge import alerts, routing
from bridge.alerts import CarriedHome, CarriedRetention, CarriedStep, Sender
from bridge.events import Kind
from bridge.nodes.acknowledge import Entry, Received, Step
from bridge.nodes.address import Leg, Plan
from bridge.nodes.export import CopyEntry, Offered
from bridge.nodes.follow import Document, Followed, Moment, Row
from bridge.nodes.meter import Called
from bridge.nodes.subscribe import Endpoint, Told
from bridge.remarks import Remark

AsSubmitted = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Alert"})]
"""An alert's own bytes, as its sender submitted them."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457. `code` is stable and has a page at `type`; other members may follow, never anything about a person."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    exit: int
    hint: str | None = None
    errors: tuple["Fault", ...] = ()


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong in what was sent: a JSON pointer, and a sentence."""

    pointer: str
    message: str


class Meaning(msgspec.Struct, frozen=True):
    """What a problem's code means, and the HTTP status that it has."""

    code: str
    meaning: str
    status: int


class Holder(msgspec.Struct, frozen=True):
    """A recipient of a withdrawn alert: whether it was reached, whether its copy is deleted, and whom to ring if not."""

    node: str
    name: str
    asked: datetime
    reached: bool
    deleted: bool
    deleted_at: datetime | None = None
    kept_on_hold: bool = False
    telephone: str | None = None
    desk: str | None = None
    hours: str | None = None


class Withdrawal(msgspec.Struct, frozen=True):
    """How a withdrawal stands: who has deleted the alert and who has not said so yet, and what took its place."""

    at: datetime
    reason: str | None
    holders: tuple[Holder, ...]
    unanswered: int
    corrected_by: tuple[str, ...] = ()
    own_copy_until: datetime | None = None


class Withdrawn(Withdrawal, frozen=True, kw_only=True):
    """An alert that was taken back, and how that stands."""

    id: str
    reference: str


class SentPage(msgspec.Struct, frozen=True):
    """Alerts sent from here, newest first. `next_cursor` is null on the last page."""

    items: tuple[Row, ...]
    next_cursor: str | None


class SentAlert(Row, frozen=True, omit_defaults=False, kw_only=True):
    """One alert sent from here: with its content while that is kept, and what was said of it for longer."""

    route: tuple[Leg, ...]
    timeline: tuple[Moment, ...]
    retention: str | None = None
    home: CarriedHome | None = None  # type: ignore[assignment]  # a list gives its name, this all of it
    alert: AsSubmitted | None = None
    corrected_by: tuple[str, ...] = ()
    withdrawal: Withdrawal | None = None
    remarks: tuple[Remark, ...] = ()


class Receipts(msgspec.Struct, frozen=True):
    """What was said of an alert, and every receipts document in the exact bytes that were signed."""

    timeline: tuple[Moment, ...]
    items: tuple[Document, ...]


class Checked(msgspec.Struct, frozen=True):
    """What would happen to an alert if it were sent now. Nothing was stored."""

    home: CarriedHome
    route: tuple[routing.Leg, ...]
    kept_until: date
    urgent: bool
    notices: tuple[alerts.Notice, ...]


class InboxPage(msgspec.Struct, frozen=True):
    """Alerts received, in the order of arrival. Ask with `next_cursor` again to get what came since."""

    items: tuple[Entry, ...]
    next_cursor: str | None


class ReceivedAlert(Entry, frozen=True, omit_defaults=False, kw_only=True):
    """One alert received, as it was sent, with its route and what we have said of it."""

    origin: Sender | None = msgspec.field(name="from", default=None)
    home: CarriedHome | None = None  # type: ignore[assignment]  # a list gives its name, this all of it
    route: tuple[CarriedStep, ...] = ()
    retention: CarriedRetention | None = None
    withheld: tuple[str, ...] = ()
    created: datetime | None = None
    alert: AsSubmitted | None = None
    timeline: tuple[Step, ...] = ()
    remarks: tuple[Remark, ...] = ()


class Gone(Problem, frozen=True, omit_defaults=True, kw_only=True):
    """The content was deleted when its time was over. What we have said of the alert can still be read."""

    entry: Entry
    timeline: tuple[Step, ...]


class Said(msgspec.Struct, frozen=True):
    """What we have said, signed, of an alert received; also after its content is deleted."""

    id: str
    reference: str
    timeline: tuple[Step, ...]


class Handed(ReceivedAlert, frozen=True, omit_defaults=False, kw_only=True):
    """A received alert under a lease. `times`: how often it was handed out; above 1, somebody may have seen it before."""

    times: int


class Lease(msgspec.Struct, frozen=True):
    """What was handed to you until a time. `lease` is null when nothing waits."""

    lease: str | None
    until: datetime
    items: tuple[Handed, ...]


class LeaseCount(msgspec.Struct, frozen=True):
    """How many alerts of a lease it was done to; `until` when what is still held is handed out again."""

    count: int
    until: datetime | None = None


class AreaCandidate(msgspec.Struct, frozen=True):
    """An area that a text may mean, the share of it that lies there, and why."""

    code: str
    name: str
    level: str
    share: float
    because: str
    upper: str | None = None
    force: str | None = None


class Resolved(msgspec.Struct, frozen=True):
    """What a text was read as. `certain` is a code only where one may be taken without asking."""

    method: str
    certain: str | None
    candidates: tuple[AreaCandidate, ...]
    question: str | None
    note: str | None
    vintage: str


class Option(msgspec.Struct, frozen=True):
    """One area that a text may mean, and who would get an alert for it."""

    area: AreaCandidate
    route: tuple[routing.Leg, ...]


class Routed(msgspec.Struct, frozen=True):
    """Who would get an alert for a home area, and why."""

    certain: bool
    question: str | None
    options: tuple[Option, ...]
    vintage: str


class TermOf(msgspec.Struct, frozen=True):
    """One code of a list: what a person reads for it, and what it means."""

    code: str
    label: str
    meaning: str
    since: str
    source: str


class TableOf(msgspec.Struct, frozen=True):
    """One code list, in the order in which a form shows it."""

    name: str
    title: str
    terms: tuple[TermOf, ...]


class StatusOf(msgspec.Struct, frozen=True):
    """One status of an alert with a recipient: what a person reads, who says it, and which it may follow."""

    code: str
    label: str
    meaning: str
    said_by: str
    after: tuple[str, ...]
    final: bool


class Vocabulary(msgspec.Struct, frozen=True):
    """Every code list, the statuses of alerts, the names of events, and the scopes of tokens."""

    version: str
    tables: tuple[TableOf, ...]
    statuses: tuple[StatusOf, ...]
    events: tuple[Kind, ...]
    scopes: dict[str, str]


class Caller(msgspec.Struct, frozen=True):
    """Who you are to this node: your token's pseudonym, what it may do, and for which team."""

    name: str
    node: str
    scopes: tuple[str, ...]
    team: str | None
    requests_a_minute: int | None


class Calls(msgspec.Struct, frozen=True):
    """Calls of the last week, newest first: which route and how it ended, never what was asked."""

    items: tuple[Called, ...]
    next_cursor: str | None


class Endpoints(msgspec.Struct, frozen=True):
    """The endpoints that are told of events, oldest first."""

    items: tuple[Endpoint, ...]


class Log(msgspec.Struct, frozen=True):
    """What was sent to an endpoint or waits for it, newest event first."""

    items: tuple[Told, ...]
    next_cursor: str | None


class Formats(msgspec.Struct, frozen=True):
    """The forms in which alerts can be exported."""

    items: tuple[Offered, ...]


class CopiesPage(msgspec.Struct, frozen=True):
    """Copies of alerts that left the node, newest first. `next_cursor` is null on the last page."""

    items: tuple[CopyEntry, ...]
    next_cursor: str | None


class Count(msgspec.Struct, frozen=True):
    """How many it was done to."""

    count: int


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class ReadyStep(msgspec.Struct, frozen=True):
    """One thing that must hold for the node to take work."""

    step: str
    ok: bool
    detail: str


class Ready(msgspec.Struct, frozen=True):
    """Whether the node can take work, and if not, which step fails."""

    status: str
    steps: tuple[ReadyStep, ...]


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def sent_alert(followed: Followed, withdrawal: dict[str, Any] | None) -> SentAlert:
    """A sent alert as it is answered, with how its withdrawal stands if there is one."""
    rest = {
        "route": followed.route,
        "timeline": followed.timeline,
        "retention": followed.retention,
        "home": followed.home,
        "alert": followed.alert,
        "corrected_by": followed.corrected_by,
        "remarks": followed.remarks,
        "withdrawal": None if withdrawal is None else msgspec.convert(withdrawal, Withdrawal),
    }
    return SentAlert(**{**_fields(followed.row), **rest})


def _received(received: Received) -> dict[str, Any]:
    return {
        **_fields(received.entry),
        "origin": received.sender,
        "home": received.home,
        "route": received.route,
        "retention": received.retention,
        "withheld": received.withheld,
        "created": received.created,
        "alert": received.alert,
        "timeline": received.timeline,
        "remarks": received.remarks,
    }


def received_alert(received: Received) -> ReceivedAlert:
    """A received alert as it is answered, and as webhooks carry it where they carry it whole."""
    return ReceivedAlert(**_received(received))


def handed(received: Received, times: int) -> Handed:
    """A received alert under a lease."""
    return Handed(**_received(received), times=times)


def checked(plan: Plan) -> Checked:
    """A plan as it is answered."""
    return Checked(plan.home, plan.legs, plan.kept_until, alerts.urgent(plan.alert), plan.notices)
