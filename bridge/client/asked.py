"""What can be asked of a node: each request as a value, and what its answer is read as. Nothing here talks to anybody.

`conversation` is the one place that decides about trying again. Every request is safe to repeat by its nature or by its
idempotency key, but for those marked `once`, which are repeated only where the node has certainly not done them.
"""

import random
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from bridge import answers
from bridge.alerts import Alert
from bridge.client.problems import ClientError, NotUnderstood, Unreachable, problem
from bridge.remarks import Remark

T = TypeVar("T")

Submission = Mapping[str, Any] | bytes | str | Alert
"""An alert to be sent: JSON as bytes or text, what `json.loads` makes of it, or the struct."""

LATER: Final = frozenset({408, 425, 429, 502, 503, 504})
UNDONE: Final = frozenset({429, 503})
LONGEST_PATIENCE: Final = 300.0


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One request. `route` is its method and path as the contract writes them, `slow` the seconds it may be held open."""

    route: str
    answer: Any
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    slow: float = 0.0
    once: bool = False

    @property
    def method(self) -> str:
        """GET, POST, PATCH or DELETE."""
        return self.route.partition(" ")[0]

    def __repr__(self) -> str:
        return f"Ask({self.route})"


@dataclass(frozen=True)
class Reply:
    """What the node answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Reply({self.status})"


@dataclass(frozen=True)
class Failure:
    """There was no answer. `sent`: some of the request may have reached the node. `stale`: on a connection kept from before."""

    sent: bool
    stale: bool = False


@dataclass(frozen=True)
class Pause:
    """Wait for so many seconds before going on."""

    seconds: float


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long is waited between: doubling, with jitter, never less than is asked for."""

    tries: int = 5
    first: float = 0.5
    longest: float = 30.0
    jitter: Callable[[], float] = random.random

    def wait(self, failures: int, asked_for: float | None) -> float | None:
        """Seconds to wait after so many failures in a row; None when it is enough."""
        if failures >= self.tries or (asked_for or 0) > LONGEST_PATIENCE:
            return None
        step = min(self.longest, self.first * 2.0 ** (failures - 1))
        return max(step * (0.5 + self.jitter() / 2), asked_for or 0.0)

    def again(self, failures: int) -> float:
        """Seconds to wait before a stream is opened again: a moment after one that ended well, longer each time else."""
        step = min(self.longest, self.first * 2.0 ** min(failures, 10))
        return step * (0.5 + self.jitter() / 2)


Heard = Reply | Failure | None


def conversation(ask: Ask[T], patience: Patience) -> Generator[Ask[T] | Pause, Heard, T]:
    """The request, waits, and the request again, until there is an answer to give or an error to raise.

    Whoever drives it sends a `Reply` or a `Failure` for each `Ask`, and nothing after a `Pause`.
    """
    failures = 0
    while True:
        heard = yield ask
        if isinstance(heard, Failure) and heard.stale and not (ask.once and heard.sent):
            continue  # the node closed a connection that nothing was asked on: no reason to wait
        failures += 1
        error, asked_for, undone = _trouble(heard)
        if error is None and isinstance(heard, Reply):
            try:
                return _read(ask, heard)
            except msgspec.MsgspecError:
                error, undone = NotUnderstood(heard.status), False
        if error is None or asked_for == _NEVER or (ask.once and not undone):
            raise error or Unreachable("The node did not answer.")
        wait = patience.wait(failures, asked_for)
        if wait is None:
            raise error
        yield Pause(wait)


_NEVER: Final = -1.0


def _trouble(heard: Heard) -> tuple[ClientError | None, float | None, bool]:
    """What is wrong with an answer, how long to wait (`_NEVER`: not to be tried again), and whether nothing was done."""
    if not isinstance(heard, Reply):
        failure = heard or Failure(sent=True)
        said = (
            "The node cannot be reached." if not failure.sent else "The node did not answer, or not in time."
        )
        return Unreachable(said), None, not failure.sent
    if 200 <= heard.status < 300:
        return None, None, False
    asked_for = _seconds(heard.headers.get("retry-after"))
    if "json" not in heard.headers.get("content-type", ""):
        return NotUnderstood(heard.status), asked_for if heard.status >= 429 else _NEVER, False
    try:
        said_no = problem(msgspec.json.decode(heard.body, type=dict[str, Any]), heard.status, asked_for)
    except msgspec.MsgspecError:
        return NotUnderstood(heard.status), asked_for, False
    if heard.status in LATER or said_no.code == "in-flight":
        return said_no, asked_for, heard.status in UNDONE
    return said_no, _NEVER, True


def _read(ask: Ask[T], reply: Reply) -> T:
    # What has no answer is None to whoever asked, whatever stands in the body.
    made: T = msgspec.json.decode(b"null" if ask.answer is None else reply.body, type=ask.answer)
    return made


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else None


# What there is to ask


def _path(template: str, **names: str) -> str:
    for name, value in names.items():
        if not value or value in {".", ".."}:
            raise ValueError("an id, a reference or a lease cannot be empty")
        template = template.replace("{" + name + "}", quote(value, safe=""))
    return template


def _get(
    path: str, answer: Any, query: Mapping[str, Any] | None = None, slow: float = 0.0, **names: str
) -> Ask[Any]:
    chosen = {name: _text(value) for name, value in (query or {}).items() if value not in (None, (), "")}
    at = _path(path, **names)
    return Ask(f"GET {path}", answer, f"{at}?{urlencode(chosen)}" if chosen else at, slow=slow)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its time zone")
        return value.isoformat()
    return ",".join(value) if isinstance(value, (tuple, list)) else str(value)


def _post(path: str, answer: Any, body: Any = None, *, method: str = "POST", headers: Mapping[str, str] | None = None,
          slow: float = 0.0, once: bool = False, **names: str) -> Ask[Any]:  # fmt: skip
    said = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Ask(f"{method} {path}", answer, _path(path, **names), said, headers or {}, slow, once)


def _alert(alert: Submission) -> bytes:
    if isinstance(alert, bytes):
        return alert
    return alert.encode() if isinstance(alert, str) else msgspec.json.encode(alert)


def _key(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or secrets.token_hex(16)}


def _match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


def whoami() -> Ask[answers.Caller]:
    """Who the token is."""
    return _get("/v1/token", answers.Caller)


def vocabulary() -> Ask[answers.Vocabulary]:
    """Code lists."""
    return _get("/v1/vocabulary", answers.Vocabulary)


def calls(limit: int, cursor: str | None) -> Ask[answers.Calls]:
    """What the token asked lately."""
    return _get("/v1/calls", answers.Calls, {"limit": limit, "cursor": cursor})


def send(alert: Submission, key: str | None) -> Ask[answers.Sent]:
    """An alert out, under an idempotency key."""
    return _post("/v1/alerts", answers.Sent, _alert(alert), headers=_key(key))


def check(alert: Submission) -> Ask[answers.Checked]:
    """What would happen to it."""
    return _post("/v1/alerts/check", answers.Checked, _alert(alert))


def sent_page(limit: int, cursor: str | None, since: datetime | None) -> Ask[answers.SentPage]:
    """A page of what was sent, newest first."""
    return _get("/v1/alerts", answers.SentPage, {"limit": limit, "cursor": cursor, "since": since})


def sent(ref: str) -> Ask[answers.SentAlert]:
    """One sent alert."""
    return _get("/v1/alerts/{ref}", answers.SentAlert, ref=ref)


def receipts(ref: str) -> Ask[answers.Receipts]:
    """Its receipts."""
    return _get("/v1/alerts/{ref}/receipts", answers.Receipts, ref=ref)


def reroute(ref: str, area: str | None) -> Ask[answers.Sent]:
    """Send on what has no recipient."""
    return _post("/v1/alerts/{ref}/reroute", answers.Sent, {} if area is None else {"area": area}, ref=ref)


def withdraw(ref: str, reason: str) -> Ask[answers.Withdrawn]:
    """Take it back."""
    return _post("/v1/alerts/{ref}/withdraw", answers.Withdrawn, {"reason": reason}, ref=ref)


def correct(ref: str, alert: Submission, key: str | None) -> Ask[answers.Sent]:
    """Send a corrected one, under an idempotency key."""
    return _post("/v1/alerts/{ref}/correct", answers.Sent, _alert(alert), headers=_key(key), ref=ref)


def inbox_page(
    limit: int, cursor: str | None, since: datetime | None, states: Sequence[str], wait: int
) -> Ask[answers.InboxPage]:
    """A page of what was received, in the order of arrival."""
    query = {"limit": limit, "cursor": cursor, "since": since, "state": tuple(states), "wait": wait or None}
    return _get("/v1/inbox", answers.InboxPage, query, slow=wait)


def received(ref: str) -> Ask[answers.ReceivedAlert]:
    """One received alert."""
    return _get("/v1/inbox/{ref}", answers.ReceivedAlert, ref=ref)


def said(ref: str) -> Ask[answers.Said]:
    """What we have said of it."""
    return _get("/v1/inbox/{ref}/receipts", answers.Said, ref=ref)


def ack(ref: str) -> Ask[answers.Entry]:
    """Taken over, without a lease."""
    return _post("/v1/inbox/{ref}/ack", answers.Entry, ref=ref)


def opened(ref: str) -> Ask[answers.Entry]:
    """Shown to somebody."""
    return _post("/v1/inbox/{ref}/open", answers.Entry, ref=ref)


def take(ref: str, version: int | None) -> Ask[answers.Entry]:
    """Worked on."""
    return _post("/v1/inbox/{ref}/take", answers.Entry, headers=_match(version), ref=ref)


def close(ref: str, outcome: str, version: int | None, note: str = "") -> Ask[answers.Entry]:
    """Work has ended."""
    said = {"outcome": outcome, **({"note": note} if note else {})}
    return _post("/v1/inbox/{ref}/close", answers.Entry, said, headers=_match(version), ref=ref)


def not_ours(ref: str, area: str | None, version: int | None) -> Ask[answers.Entry]:
    """The home area is another."""
    body = {} if area is None else {"area": area}
    return _post("/v1/inbox/{ref}/not-ours", answers.Entry, body, headers=_match(version), ref=ref)


def review(ref: str, needed: bool, version: int | None) -> Ask[answers.Entry]:
    """Looked at again."""
    return _post("/v1/inbox/{ref}/review", answers.Entry, {"needed": needed}, headers=_match(version), ref=ref)


def question(ref: str, text: str) -> Ask[Remark]:
    """Ask the sender."""
    return _post("/v1/inbox/{ref}/questions", Remark, {"text": text}, ref=ref)


def answer(ref: str, text: str, asked_in: str | None) -> Ask[Remark]:
    """Answer a recipient who asked."""
    body = {"text": text, **({} if asked_in is None else {"question": asked_in})}
    return _post("/v1/alerts/{ref}/answers", Remark, body, ref=ref)


def lease(limit: int, seconds: int, wait: int) -> Ask[answers.Lease]:
    """Alerts to work on, for a time."""
    return _post(
        "/v1/inbox/lease", answers.Lease, {"limit": limit, "seconds": seconds, "wait": wait}, slow=wait
    )


def ack_lease(lease_id: str, refs: Sequence[str] | None) -> Ask[answers.LeaseCount]:
    """Stored: never handed out again."""
    body = {} if refs is None else {"refs": list(refs)}
    return _post("/v1/inbox/lease/{lease}/ack", answers.LeaseCount, body, lease=lease_id)


def nack_lease(lease_id: str, refs: Sequence[str] | None, seconds: int) -> Ask[answers.LeaseCount]:
    """Given back: handed out again after so many seconds."""
    body = {"seconds": seconds, **({} if refs is None else {"refs": list(refs)})}
    return _post("/v1/inbox/lease/{lease}/nack", answers.LeaseCount, body, lease=lease_id)


def renew_lease(lease_id: str, seconds: int) -> Ask[answers.LeaseCount]:
    """Kept for longer."""
    return _post("/v1/inbox/lease/{lease}/renew", answers.LeaseCount, {"seconds": seconds}, lease=lease_id)


def resolve(q: str) -> Ask[answers.Resolved]:
    """Which areas a text may mean."""
    return _get("/v1/areas/resolve", answers.Resolved, {"q": q})


def route(q: str, functions: Sequence[str]) -> Ask[answers.Routed]:
    """Who would get an alert, and why."""
    return _get("/v1/areas/route", answers.Routed, {"q": q, "function": tuple(functions)})


def webhooks() -> Ask[answers.Endpoints]:
    """The endpoints."""
    return _get("/v1/webhooks", answers.Endpoints)


def add_webhook(wanted: answers.Wanted) -> Ask[answers.Made]:
    """One more endpoint; its secret is shown once, so the request is not repeated blindly."""
    return _post("/v1/webhooks", answers.Made, wanted, once=True)


def webhook(hook: str) -> Ask[answers.Endpoint]:
    """One endpoint."""
    return _get("/v1/webhooks/{id}", answers.Endpoint, id=hook)


def change_webhook(hook: str, to: Mapping[str, Any], version: int | None) -> Ask[answers.Endpoint]:
    """An endpoint changed."""
    return _post(
        "/v1/webhooks/{id}", answers.Endpoint, dict(to), method="PATCH", headers=_match(version), id=hook
    )


def remove_webhook(hook: str) -> Ask[None]:
    """An endpoint removed."""
    return _post("/v1/webhooks/{id}", None, method="DELETE", id=hook)


def test_webhook(hook: str) -> Ask[answers.Tried]:
    """A harmless event sent."""
    return _post("/v1/webhooks/{id}/test", answers.Tried, slow=15, id=hook)


def rotate_webhook(hook: str, hours: int) -> Ask[answers.Made]:
    """New keys; the secret is shown once, as above."""
    return _post("/v1/webhooks/{id}/rotate", answers.Made, {"hours": hours}, once=True, id=hook)


def deliveries(hook: str, limit: int, cursor: str | None, state: str | None) -> Ask[answers.Log]:
    """What was sent to an endpoint, or waits."""
    query = {"limit": limit, "cursor": cursor, "state": state}
    return _get("/v1/webhooks/{id}/deliveries", answers.Log, query, id=hook)


def resend(hook: str, events: Sequence[str] | None, dead: bool, since: datetime | None) -> Ask[answers.Count]:
    """Sent once more."""
    return _post("/v1/webhooks/{id}/resend", answers.Count,
                 answers.Again(None if events is None else tuple(events), dead, since), id=hook)  # fmt: skip


def events(cursor: str | None, types: Sequence[str], since: datetime | None) -> Ask[None]:
    """The live stream."""
    made = _get("/v1/events", None, {"types": tuple(types), "since": None if cursor else since})
    return made if cursor is None else Ask(made.route, None, made.path, headers={"Last-Event-ID": cursor})
