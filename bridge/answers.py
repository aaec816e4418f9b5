"""What the interface for systems answers, as structs: the contract is made from these, and nothing else is sent.

The node fills them in and `bridge.client` reads them, so that neither can drift from the other; whoever only reads needs
nothing of the node for it.
"""

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bridge import alerts, routing
from bridge.alerts import CarriedHome, CarriedRetention, CarriedStep, Sender
from bridge.events import Kind
from bridge.receipts import Statement
from bridge.remarks import Remark

Label = Annotated[str, Meta(min_length=1, max_length=100)]
Url = Annotated[str, Meta(min_length=1, max_length=400)]
EventName = Annotated[str, Meta(max_length=40)]
Content = Literal["thin", "full"]

AsSubmitted = Annotated[
    msgspec.Raw, Meta(extra_json_schema={"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Alert"}]})
]
"""An alert's own bytes, as its sender submitted them; `GONE` once they are deleted."""

GONE = msgspec.Raw(b"null")


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


class Recipient(msgspec.Struct, frozen=True):
    """How an alert stands with one recipient; `node` is None while it is held for the operator."""

    node: str | None
    name: str | None
    status: str
    label: str
    code: str | None
    at: datetime


class _Row(msgspec.Struct, frozen=True, omit_defaults=True):

    seq: int
    id: str
    reference: str
    created: datetime
    status: str
    label: str
    recipients: tuple[Recipient, ...]
    kept_until: datetime
    kinds: tuple[str, ...] = ()
    urgent: bool = False
    deleted: bool = False
    withdrawn: bool = False
    held: bool = False
    corrects: str | None = None
    unanswered: int = 0  # questions of recipients that wait for an answer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"


class Row(_Row, frozen=True, omit_defaults=True):
    """One sent alert as a list shows it: no narrative, no name; `home` is the name of the home area."""

    home: str | None = None


class SignatureOf(msgspec.Struct, frozen=True):
    """A signature: hint of the key, algorithm, and the signature in base64."""

    kid: str
    alg: str
    signature: str


class Document(msgspec.Struct, frozen=True):
    """A receipts document from `issuer`: its exact bytes in base64, and what of it is about the alert asked for."""

    issuer: str
    at: datetime
    received_at: datetime
    statements: tuple[Statement, ...]
    document: str
    signatures: tuple[SignatureOf, ...]


class Moment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a timeline, newest first in lists: who said what, when, and whether the signature was checked."""

    status: str
    label: str
    at: datetime
    who: str
    node: str | None
    message: str
    sentence: str
    code: str | None = None
    outcome: str | None = None
    referral: str | None = None
    signed: bool = True


class _Entry(msgspec.Struct, frozen=True, omit_defaults=True):

    seq: int
    id: str
    reference: str
    partner: str
    sender: str
    received: datetime
    state: str
    state_at: datetime
    version: int
    kept_until: datetime
    priority: str | None = None
    urgent: bool = False
    kinds: tuple[str, ...] = ()
    status: str = "actual"
    outcome: str | None = None
    taken_by: str | None = None
    withdrawn: bool = False
    withdrawn_because: str | None = None  # a code of `bridge.withdrawals.REASONS`
    superseded_by: str | None = None
    corrects: str | None = None
    deleted_because: str | None = None  # expired or withdrawn
    held: bool = False
    days_left: int | None = None  # whole days; null once it is deleted, and while it is held
    unread_ending: bool = False  # it is deleted within two weeks and nobody has opened it
    unanswered: int = 0  # questions of ours that the sender has not answered
    due: datetime | None = None  # by when somebody should have taken it
    review: bool = False  # half of its time is over: somebody has to look whether it is still needed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"


class Entry(_Entry, frozen=True, omit_defaults=True):
    """One received alert as a list shows it: what is needed to choose, and no narrative; `home` is an area's name."""

    home: str | None = None


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing we said of a received alert."""

    status: str
    at: datetime
    code: str | None = None


class Called(msgspec.Struct, frozen=True):
    """One call: the route as it is declared, never the path that was asked."""

    seq: int
    token: str
    at: datetime
    method: str
    route: str
    status: int
    code: str | None
    took_ms: int


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint as it is shown: never its secret, and of its URL's query only that there is one."""

    id: str
    label: str
    url: str
    events: tuple[str, ...]
    content: Content
    team: str | None
    state: Literal["on", "failing", "off"]
    reason: str | None
    failures: int
    failing_since: datetime | None
    next_try: datetime | None
    waiting: int
    dead: int
    public_keys: tuple[str, ...]
    created: datetime
    version: int


class Made(msgspec.Struct, frozen=True):
    """An endpoint with a new secret: the answer alone holds it. `old_until`: so long the one before signs too."""

    endpoint: Endpoint
    secret: str
    public_key: str
    old_until: datetime | None = None

    def __repr__(self) -> str:
        return f"Made({self.endpoint.id})"


class Told(msgspec.Struct, frozen=True):
    """One event and what became of it at an endpoint. `status` is that of the last HTTP answer, `code` why it failed."""

    seq: int
    event: str
    type: str
    alert: str | None
    state: Literal["waiting", "done", "dead"]
    attempts: int
    queued: datetime
    tried: datetime | None
    next_try: datetime | None
    status: int | None
    code: str | None


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint to be added. `events` empty: all of them. `content` full: with the whole alert."""

    url: Url
    label: Label
    events: Annotated[tuple[EventName, ...], Meta(max_length=20)] = ()
    content: Content = "thin"
    team: Annotated[str, Meta(max_length=32)] | None = None


class Changed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different about an endpoint; what is not named stays."""

    url: Url | None = None
    label: Label | None = None
    events: Annotated[tuple[EventName, ...], Meta(max_length=20)] | None = None
    content: Content | None = None
    state: Literal["on", "off"] | None = None


class Again(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be sent once more: these events, all that was given up, or all since a time. Exactly one of them."""

    events: (
        Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(min_length=1, max_length=500)] | None
    ) = None
    dead: bool = False
    since: Annotated[datetime, Meta(tz=True)] | None = None


class Tried(msgspec.Struct, frozen=True):
    """How one try ended: `status` of the HTTP answer, or the `code` of why there was none."""

    ok: bool
    status: int | None = None
    code: str | None = None
    retry_after: int | None = None


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


class SentAlert(_Row, frozen=True, omit_defaults=False, kw_only=True):
    """One alert sent from here: with its content while that is kept, and what was said of it for longer."""

    route: tuple[Leg, ...]
    timeline: tuple[Moment, ...]
    retention: str | None = None
    home: CarriedHome | None = None
    alert: AsSubmitted
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


class Earlier(msgspec.Struct, frozen=True):
    """An alert that came before and may be about the same person: a suggestion for people, never more.

    `strength` is `likely` or `possible`; `reasons` are codes, and name nobody.
    """

    id: str
    reference: str
    received: datetime
    state: str
    strength: Literal["likely", "possible"]
    reasons: tuple[str, ...]
    kinds: tuple[str, ...] = ()


class OwnNote(msgspec.Struct, frozen=True):
    """What a team wrote for itself when it closed an alert; `by` is a pseudonym."""

    text: str
    by: str
    at: datetime

    def __repr__(self) -> str:
        return f"OwnNote({self.by})"


class ReceivedAlert(_Entry, frozen=True, omit_defaults=False, kw_only=True):
    """One alert received, as it was sent, with its route and what we have said of it."""

    origin: Sender | None = msgspec.field(name="from", default=None)
    home: CarriedHome | None = None
    route: tuple[CarriedStep, ...] = ()
    retention: CarriedRetention | None = None
    withheld: tuple[str, ...] = ()
    created: datetime | None = None
    alert: AsSubmitted
    timeline: tuple[Step, ...] = ()
    remarks: tuple[Remark, ...] = ()
    earlier: tuple[Earlier, ...] = ()  # where one alert is asked for by its reference, and nowhere else
    note: OwnNote | None = None  # likewise: the receiving team's own, never sent


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


class Offered(msgspec.Struct, frozen=True):
    """A format as it is offered: `ready` is false while the packages it needs are not installed."""

    name: str
    label: str
    media: str
    suffix: str
    many: bool
    ready: bool
    extra: str | None


class Formats(msgspec.Struct, frozen=True):
    """The forms in which alerts can be exported."""

    items: tuple[Offered, ...]


class Shown(msgspec.Struct, frozen=True):
    """One profile as a list shows it; with `fault` it cannot be used until that is put right."""

    name: str
    title: str | None
    direction: str | None
    format: str | None
    fault: str | None = None


class Profiles(msgspec.Struct, frozen=True):
    """The mapping profiles of this node."""

    items: tuple[Shown, ...]


class CopyEntry(msgspec.Struct, frozen=True):
    """One copy in the register. `state`: kept (it may be), due (it must be destroyed), ended (said to be gone)."""

    id: str
    alert: str
    reference: str
    made: datetime
    by: str
    team: str | None
    format: str
    profile: str | None
    consulted: bool
    retain_until: date
    state: str
    noticed: datetime | None
    notice: str | None
    ended: datetime | None
    ended_by: str | None
    ended_as: str | None


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
