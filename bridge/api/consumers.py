"""The door for systems, and for the command line: alerts out, the inbox in, areas, code lists, and who asks."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge import alerts, answers, routing, vocabulary
from bridge.alerts import Alert
from bridge.answers import Entry, Sent
from bridge.api.answers import checked, handed, received_alert, sent_alert
from bridge.api.door import (
    PAGE,
    TOKEN,
    Cursor,
    Cursors,
    Limit,
    Says,
    Since,
    answered,
    asked,
    body_of,
    if_match,
    route,
    told,
)
from bridge.api.problems import document, help_page
from bridge.areas import day_of
from bridge.clock import Clock
from bridge.errors import Rejected
from bridge.events import KINDS
from bridge.mapping import inward
from bridge.mapping.shelf import Shelf
from bridge.nodes.acknowledge import Acknowledge, Received
from bridge.nodes.address import ALERT_LIMIT, Address, Places, candidate_facts
from bridge.nodes.admit import SCOPES, Actor
from bridge.nodes.ask import Ask
from bridge.nodes.bell import Bell
from bridge.nodes.follow import Follow
from bridge.nodes.lease import LONGEST, SECONDS, Lease
from bridge.nodes.match import Match
from bridge.nodes.meter import Meter
from bridge.nodes.review import Review
from bridge.nodes.submit import Submit
from bridge.nodes.withdraw import Withdraw
from bridge.receipts import STATUSES, Status
from bridge.remarks import TEXT_LIMIT, Remark
from bridge.withdrawals import reason_of

WAIT_MAX = 30
LEASE_MAX = 100

Query = Annotated[str, Meta(min_length=1, max_length=200)]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
Ref = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_LIMIT)]
Wait = Annotated[int, Meta(ge=0, le=WAIT_MAX)]
LeaseSeconds = Annotated[int, Meta(ge=1, le=LONGEST)]

State = Literal[
    "received", "collected", "opened", "taken", "closed", "not_ours", "expired_unread", "purged"
]  # fmt: skip

ANY_SCOPE = tuple(SCOPES)


class SendQuery(msgspec.Struct, frozen=True):
    """In whose words the alert is."""

    profile: Annotated[
        str,
        Meta(min_length=2, max_length=40, pattern=r"^[a-z0-9-]+\Z", description="An inward mapping profile: the body is a record of your own system."),
    ] | None = None


class SentQuery(msgspec.Struct, frozen=True):
    """Which page of the alerts sent from here."""

    cursor: Annotated[Cursor, Meta(description="`next_cursor` of the page before.")] | None = None
    limit: Annotated[Limit, Meta(description="Most items on the page.")] = PAGE
    since: Annotated[Since, Meta(description="Only alerts sent from this time on.")] | None = None


class InboxQuery(msgspec.Struct, frozen=True):
    """Which alerts received, from where on, and how long to wait when there is none."""

    cursor: Annotated[Cursor, Meta(description="`next_cursor` of the page before: what follows it comes.")] | None = None
    limit: Annotated[Limit, Meta(description="Most items on the page.")] = PAGE
    since: Annotated[Since, Meta(description="Only alerts received from this time on.")] | None = None
    state: Annotated[tuple[State, ...], Meta(max_length=8, description="Only alerts in one of these states.")] = ()
    wait: Annotated[
        Wait, Meta(description="Seconds to wait for an alert when the page would be empty.")
    ] = 0


class AreaQuery(msgspec.Struct, frozen=True):
    """What was typed as an area: a postcode, a council, a county, a police force, a town."""

    q: Annotated[Query, Meta(description="What was typed: a postcode, a council, a county, a police force, a town.")]


class RouteQuery(msgspec.Struct, frozen=True):
    """A home area as it was typed, and the functions that shall have the alert."""

    q: Annotated[Query, Meta(description="What was typed as the home area.")]
    function: Annotated[
        tuple[Code, ...], Meta(max_length=16, description="Functions that shall have it.")
    ] = ("MASH", "POLICE")


class CallsQuery(msgspec.Struct, frozen=True):
    """Which page of the log of calls."""

    cursor: Annotated[Cursor, Meta(description="`next_cursor` of the page before.")] | None = None
    limit: Annotated[Limit, Meta(description="Most items on the page.")] = PAGE


class Reroute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send it on: the GSS code of an area that a person chose, or nothing for the registry's answer."""

    area: Code | None = None


class WithdrawReason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an alert is taken back, by code."""

    reason: Code = "other"


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The lease under which your system has the alert, if it has it under one."""

    lease: Ref | None = None


class Close(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How work on an alert has ended, by code (`outcome` in `/v1/vocabulary`); `note` is your team's own, never sent."""

    outcome: Code
    note: Annotated[str, Meta(max_length=TEXT_LIMIT)] = ""


class Reviewed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether an alert is still needed, half of whose time is over; what is not is deleted at the end of the day."""

    needed: bool


class QuestionAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to ask the sender of an alert."""

    text: Text

    def __repr__(self) -> str:
        return "QuestionAsked()"


class AnswerGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to answer; `question` is the id of what was asked, and may be left out when one question alone is open."""

    text: Text
    question: Ref | None = None

    def __repr__(self) -> str:
        return "AnswerGiven()"


class NotOurs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The area (GSS code) that the person is from instead, if it is known."""

    area: Code | None = None


class LeaseWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many alerts to take at most, for how long, and how long to wait when none is there."""

    limit: Annotated[int, Meta(ge=1, le=LEASE_MAX)] = 10
    seconds: LeaseSeconds = SECONDS
    wait: Wait = 0


class LeaseRefs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which alerts of the lease, by id or reference; all of them when none are named."""

    refs: Annotated[tuple[Ref, ...], Meta(min_length=1, max_length=LEASE_MAX)] | None = None


class LeaseBack(LeaseRefs, frozen=True, forbid_unknown_fields=True):
    """What of a lease to give back, and after how many seconds it may be handed out again."""

    seconds: Annotated[int, Meta(ge=0, le=LONGEST)] = 0


class LeaseLonger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many seconds from now the lease shall last."""

    seconds: LeaseSeconds = SECONDS


_ENTRY = {200: Says(Entry, "The alert as it stands now.", headers=("ETag",))}
_SENT = {202: Says(Sent, "Durable: who gets it and why.", headers=("Location",))}
_PLAN = ("marking", "ambiguous-area", "area-not-found", "exercise", "policy", "no-agreement")
_STEP = ("not-found", "gone", "wrong-state", "changed-meanwhile")


class Consumers:
    """Handlers for `/v1`."""

    def __init__(
        self,
        *,
        node_id: str,
        submit: Submit,
        withdraw: Withdraw,
        review: Review,
        ask: Ask,
        address: Address,
        follow: Follow,
        acknowledge: Acknowledge,
        match: Match,
        lease: Lease[Received],
        meter: Meter,
        places: Callable[[], Places],
        cursors: Cursors,
        bell: Bell,
        shelf: Shelf,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._submit = submit
        self._withdraw = withdraw
        self._review = review
        self._ask = ask
        self._address = address
        self._follow = follow
        self._acknowledge = acknowledge
        self._match = match
        self._lease = lease
        self._meter = meter
        self._places = places
        self._cursors = cursors
        self._bell = bell
        self._shelf = shelf
        self._clock = clock
        self._vocabulary = msgspec.json.encode(_vocabulary())

    # Sending side

    @route(
        "POST", "/v1/alerts", needs="alerts:send", summary="Send an alert", query=SendQuery, body=Alert,
        headers=("Idempotency-Key",), answers=_SENT,
        problems=(*_PLAN, "not-found", "unmapped", "idempotency-conflict", "in-flight", "gone"),
    )  # fmt: skip
    async def send(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """202 after the durable commit, with who gets it and why.

        With an `Idempotency-Key`, the same request again within 24 hours is answered with the same alert. With a
        `profile`, the body is a record in your own system's words, as that mapping profile reads it.
        """
        query = asked(request, SendQuery)
        key = _idempotency_key(request)
        body = await _alert(request)
        if query.profile is not None:
            body = inward.made(self._shelf.get(query.profile, "in"), inward.from_json(body)).alert
        sent = await self._submit.send(body, actor.name, key, actor.team)
        return answered(sent, 202, Location=f"/v1/alerts/{sent.id}")

    @route(
        "POST", "/v1/alerts/check", needs="alerts:send", summary="Check an alert without sending it", body=Alert,
        answers={200: Says(answers.Checked, "Who would get it, why, and until when it would be kept.")}, problems=_PLAN,
    )  # fmt: skip
    async def check(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Everything that sending would check and decide, and nothing is stored or sent."""
        return answered(checked(self._address.plan(await _alert(request))))

    @route(
        "GET", "/v1/alerts", needs="alerts:read", summary="Alerts sent from here, newest first", query=SentQuery,
        answers={200: Says(answers.SentPage, "One page; `next_cursor` is null on the last one.")},
    )  # fmt: skip
    async def list_sent(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """A token that is bound to a team sees what that team's tokens sent."""
        query = asked(request, SentQuery)
        before = self._cursors.read("alerts", query.cursor)
        page = await self._follow.page(before, query.limit, team=actor.team, since=query.since)
        last = page.last if len(page.items) == query.limit else None
        return answered(answers.SentPage(page.items, self._cursors.give("alerts", last)))

    @route(
        "GET", "/v1/alerts/{ref}", needs="alerts:read", summary="One alert sent from here, with its timeline",
        answers={200: Says(answers.SentAlert, "The alert; once its content is deleted, its stub and receipts alone.")},
        problems=("not-found",),
    )  # fmt: skip
    async def show_sent(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """By id or reference."""
        ref = await self._sent_ref(request, actor)
        followed = await self._follow.show(ref, actor.name)
        withdrawal = await self._withdraw.state(followed.row.id) if followed.row.withdrawn else None
        return answered(sent_alert(followed, withdrawal))

    @route(
        "GET", "/v1/alerts/{ref}/receipts", needs="receipts:read", summary="Receipts, as they were signed",
        answers={200: Says(answers.Receipts, "The timeline, and every document about the alert in its exact bytes.")},
        problems=("not-found",),
    )  # fmt: skip
    async def receipts(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Evidence: the documents verify offline, years later, with `bridge verify`."""
        ref = await self._sent_ref(request, actor)
        followed = await self._follow.show(ref)
        return answered(answers.Receipts(followed.timeline, tuple(await self._follow.receipts(ref))))

    @route(
        "POST", "/v1/alerts/{ref}/reroute", needs="alerts:send", summary="Send on what has no recipient", body=Reroute,
        body_optional=True, answers={202: Says(Sent, "How it stands with every recipient now.")},
        problems=("not-found", "gone", "wrong-state", "unknown-area", "marking", "policy"),
    )  # fmt: skip
    async def reroute(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """What was held, refused for its area, not theirs or not delivered goes where it belongs today."""
        step = await told(request, Reroute, optional=True)
        ref = await self._sent_ref(request, actor)
        return answered(await self._submit.reroute(ref, actor.name, step.area), 202)

    @route(
        "POST", "/v1/alerts/{ref}/withdraw", needs="alerts:send", summary="Take an alert back", body=WithdrawReason,
        body_optional=True, answers={202: Says(answers.Withdrawn, "Who had it, and who has not yet deleted it.")},
        problems=("not-found",),
    )  # fmt: skip
    async def withdraw(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Everyone who has it marks it at once, deletes it and says so, signed; the answer lists who has not yet."""
        step = await told(request, WithdrawReason, optional=True)
        ref = await self._sent_ref(request, actor)
        withdrawn = await self._withdraw.withdraw(ref, reason_of(step.reason), actor.name)
        return answered(msgspec.convert(withdrawn, answers.Withdrawn), 202)

    @route(
        "POST", "/v1/alerts/{ref}/correct", needs="alerts:send", summary="Send a corrected alert", body=Alert,
        headers=("Idempotency-Key",), answers=_SENT,
        problems=(*_PLAN, "not-found", "gone", "wrong-state", "idempotency-conflict", "in-flight"),
    )  # fmt: skip
    async def correct(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """To everyone who has the one before; each marks that one as replaced. The key is as for sending."""
        key = _idempotency_key(request)
        body = await _alert(request)
        ref = await self._sent_ref(request, actor)
        sent = await self._submit.correct(ref, body, actor.name, key)
        return answered(sent, 202, Location=f"/v1/alerts/{sent.id}")

    @route(
        "POST", "/v1/alerts/{ref}/answers", needs="alerts:send", summary="Answer a question about an alert",
        body=AnswerGiven, answers={202: Says(Remark, "The answer, durable.")},
        problems=("not-found", "gone", "wrong-state", "usage"),
    )  # fmt: skip
    async def answer(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """To the recipient who asked, and nobody else. The same answer again is the same as once."""
        step = await told(request, AnswerGiven)
        ref = await self._sent_ref(request, actor)
        return answered(await self._ask.answer(ref, step.text, actor.name, step.question), 202)

    # Receiving side

    @route(
        "GET", "/v1/inbox", needs="alerts:read", summary="Alerts received, in the order of arrival", query=InboxQuery,
        answers={200: Says(answers.InboxPage, "One page; ask with `next_cursor` again to get what came since.")},
    )  # fmt: skip
    async def list_received(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Peeking: nothing is taken or acknowledged by it. With `wait`, an empty page is answered as soon as an alert comes.

        The cursor is exclusive and increasing: whoever asks on with it is given every alert exactly once, in order,
        whatever arrives meanwhile.
        """
        query = asked(request, InboxQuery)
        after = self._cursors.read("inbox", query.cursor) or 0

        async def page() -> Any:
            return await self._acknowledge.page(
                after, query.limit, query.state, team=actor.team, since=query.since
            )

        found = await self._waited(page, lambda each: bool(each.items), query.wait)
        next_cursor = self._cursors.give("inbox", found.last) or query.cursor
        return answered(answers.InboxPage(found.items, next_cursor))

    @route(
        "GET", "/v1/inbox/{ref}", needs="alerts:read", summary="One alert received",
        answers={
            200: Says(answers.ReceivedAlert, "The alert as it was sent.", headers=("ETag",)),
            410: Says(answers.Gone, "Its content is deleted; what we have said of it remains.",
                      "application/problem+json", headers=("ETag",)),
        },
        problems=("not-found",),
    )  # fmt: skip
    async def show_received(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """By id or reference, with its route, what we have said of it, and what came earlier about perhaps the same person."""
        received = await self._acknowledge.show(await self._inbox_ref(request, actor), actor.name)
        tag = f'"{received.entry.version}"'
        if received.alert is None:
            taken_back = received.entry.deleted_because == "withdrawn"
            why = "when its sender withdrew it" if taken_back else "when its time was over"
            gone = document(Rejected("gone", f"The content of this alert was deleted {why}."))
            body = answers.Gone(**gone, entry=received.entry, timeline=received.timeline)
            answer = answered(body, 410, ETag=tag)
            answer.content_type = "application/problem+json"
            return answer
        earlier = await self._match.earlier(received.entry.id, actor.name, (actor.team,) if actor.team else ())
        note = await self._acknowledge.note(received.entry.id) if received.entry.state == Status.CLOSED else None
        return answered(received_alert(received, earlier, note), ETag=tag)

    @route(
        "GET", "/v1/inbox/{ref}/receipts", needs=("alerts:read", "receipts:read"),
        summary="What we have said of an alert received",
        answers={200: Says(answers.Said, "Every status that we have told the sender, signed, oldest first.")},
        problems=("not-found",),
    )  # fmt: skip
    async def said(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Readable after the content is deleted, too."""
        received = await self._acknowledge.show(await self._inbox_ref(request, actor))
        return answered(answers.Said(received.entry.id, received.entry.reference, received.timeline))

    @route(
        "POST", "/v1/inbox/{ref}/ack", needs="alerts:act", summary="Your system has taken the alert over", body=Ack,
        body_optional=True, answers=_ENTRY, problems=(*_STEP, "lease-over"),
    )  # fmt: skip
    async def ack(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `collected` to the sender. Safe to repeat. It is not handed out by a lease again."""
        step = await told(request, Ack, optional=True)
        if step.lease is None:
            item = await self._acknowledge.collect(_ref(request), actor.name, actor.team)
            return _entry(await self._acknowledge.entry(item))
        ref = await self._inbox_ref(request, actor)
        await self._lease.acknowledge(step.lease, actor.name, [ref])
        return _entry((await self._acknowledge.show(ref)).entry)

    @route(
        "POST", "/v1/inbox/{ref}/open", needs="alerts:act", summary="Someone has been shown the alert", answers=_ENTRY,
        problems=_STEP,
    )  # fmt: skip
    async def open(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `opened` to the sender. Safe to repeat."""
        return _entry(await self._acknowledge.open(await self._inbox_ref(request, actor), actor.name))

    @route(
        "POST", "/v1/inbox/{ref}/take", needs="alerts:act", summary="Someone works on the alert", headers=("If-Match",),
        answers=_ENTRY, problems=_STEP,
    )  # fmt: skip
    async def take(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `taken` to the sender. Safe to repeat. With `If-Match`, only if nobody has changed it since."""
        version = if_match(request)
        ref = await self._inbox_ref(request, actor)
        return _entry(await self._acknowledge.take(ref, actor.name, version))

    @route(
        "POST", "/v1/inbox/{ref}/close", needs="alerts:act", summary="Work on the alert has ended", body=Close,
        headers=("If-Match",), answers=_ENTRY, problems=_STEP,
    )  # fmt: skip
    async def close(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `closed` with an outcome code to the sender. With `If-Match`, only if nobody has changed it since."""
        step = await told(request, Close)
        version = if_match(request)
        ref = await self._inbox_ref(request, actor)
        return _entry(await self._acknowledge.close(ref, step.outcome, actor.name, version, step.note.strip()))

    @route(
        "POST", "/v1/inbox/{ref}/not-ours", needs="alerts:act", summary="The home area is another", body=NotOurs,
        body_optional=True, headers=("If-Match",), answers=_ENTRY, problems=(*_STEP, "unknown-area"),
    )  # fmt: skip
    async def not_ours(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `not_ours` to the sender, with the area suggested. With `If-Match`, only if nobody has changed it since."""
        step = await told(request, NotOurs, optional=True)
        version = if_match(request)
        area = None
        if step.area is not None:
            found = self._places().gazetteer.area(step.area)
            if found is None:
                raise Rejected("unknown-area", "The area suggested is not a current area.", pointer="/area")
            area = found.code
        ref = await self._inbox_ref(request, actor)
        return _entry(await self._acknowledge.not_ours(ref, area, actor.name, version))

    @route(
        "POST", "/v1/inbox/{ref}/review", needs="alerts:act", summary="Say whether an alert is still needed", body=Reviewed,
        headers=("If-Match",), answers=_ENTRY, problems=_STEP,
    )  # fmt: skip
    async def review(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Asked for once, when half of the time of soft information is over: `review` of the entry, event `alert.review`.

        What is still needed is kept until its day; what is not is deleted at the end of today. Safe to repeat.
        """
        step = await told(request, Reviewed)
        version = if_match(request)
        ref = await self._inbox_ref(request, actor)
        return _entry(await self._review.say(ref, actor.name, version, needed=step.needed))

    @route(
        "POST", "/v1/inbox/{ref}/questions", needs="alerts:act", summary="Ask the sender of an alert",
        body=QuestionAsked, answers={202: Says(Remark, "The question, durable.")},
        problems=("not-found", "gone", "wrong-state", "usage"),
    )  # fmt: skip
    async def ask(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """The answer comes to the same alert, with the event `alert.answer`.

        The same question again, while it has no answer, is the same as once. Question and answer are deleted with the
        alert.
        """
        step = await told(request, QuestionAsked)
        return answered(await self._ask.ask(await self._inbox_ref(request, actor), step.text, actor.name), 202)

    # Leases

    @route(
        "POST", "/v1/inbox/lease", needs="alerts:act", summary="Take alerts to work on, for a time", body=LeaseWanted,
        body_optional=True,
        answers={200: Says(answers.Lease, "The alerts, whole and in order of arrival, yours until the time given.")},
    )  # fmt: skip
    async def take_lease(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """The safe way to empty the inbox: store what you get, then acknowledge.

        What is not acknowledged when the lease ends is handed out again, so a system that is killed anywhere loses
        nothing; `times` says how often an alert was handed out. Systems of one team never hold the same alert at once.
        """
        wanted = await told(request, LeaseWanted, optional=True)
        _may_read(actor)

        async def lease() -> Any:
            return await self._lease.take(actor.name, actor.team, wanted.limit, wanted.seconds)

        leased = await self._waited(lease, lambda each: bool(each.items), wanted.wait)
        items = tuple(handed(received, times) for received, times in leased.items)
        return answered(answers.Lease(leased.id, leased.until, items))

    @route(
        "POST", "/v1/inbox/lease/{lease}/ack", needs="alerts:act", summary="Your system has stored what it leased",
        body=LeaseRefs, body_optional=True, answers={200: Says(answers.LeaseCount, "How many were acknowledged.")},
        problems=("lease-over", "not-found"),
    )  # fmt: skip
    async def ack_lease(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """All of the lease, or the alerts named. Says `collected` to their senders. Safe to repeat."""
        wanted = await told(request, LeaseRefs, optional=True)
        count = await self._lease.acknowledge(_lease(request), actor.name, _canonical(wanted.refs))
        return answered(answers.LeaseCount(count))

    @route(
        "POST", "/v1/inbox/lease/{lease}/nack", needs="alerts:act", summary="Give back what you leased", body=LeaseBack,
        body_optional=True, answers={200: Says(answers.LeaseCount, "How many were given back.")},
        problems=("lease-over", "not-found"),
    )  # fmt: skip
    async def nack_lease(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """All of the lease, or the alerts named: they are handed out again, at once or after `seconds`."""
        wanted = await told(request, LeaseBack, optional=True)
        refs = _canonical(wanted.refs)
        count = await self._lease.give_back(_lease(request), actor.name, refs, wanted.seconds)
        self._bell.ring()
        return answered(answers.LeaseCount(count))

    @route(
        "POST", "/v1/inbox/lease/{lease}/renew", needs="alerts:act", summary="Keep what you leased for longer",
        body=LeaseLonger, body_optional=True,
        answers={200: Says(answers.LeaseCount, "How many you hold, and until when.")}, problems=("lease-over",),
    )  # fmt: skip
    async def renew_lease(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Counted from now."""
        wanted = await told(request, LeaseLonger, optional=True)
        until, count = await self._lease.renew(_lease(request), actor.name, wanted.seconds)
        return answered(answers.LeaseCount(count, until))

    # Areas

    @route(
        "GET", "/v1/areas/resolve", needs="areas:read", summary="Which areas a text may mean", query=AreaQuery,
        answers={200: Says(answers.Resolved, "Candidates with shares and reasons.")},
    )  # fmt: skip
    async def resolve(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """`certain` is a code only where one may be taken without asking."""
        query = asked(request, AreaQuery)
        places = self._places()
        resolution = places.resolve(_typed(query.q), day_of(self._clock.now()))
        certain = resolution.certain
        return answered(
            answers.Resolved(
                method=resolution.method,
                certain=certain.area.code if certain else None,
                candidates=tuple(_candidate(each, places) for each in resolution.candidates),
                question=None if certain else resolution.question(),
                note=resolution.note or None,
                vintage=resolution.vintage,
            )
        )

    @route(
        "GET", "/v1/areas/route", needs="areas:read", summary="Who would get an alert for a home area, and why",
        query=RouteQuery, answers={200: Says(answers.Routed, "For each area that the text may mean, who gets it.")},
    )  # fmt: skip
    async def who_gets_it(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """One leg for each function asked for (children's services and police when none is)."""
        query = asked(request, RouteQuery)
        on = day_of(self._clock.now())
        functions = []
        for text in query.function or ("MASH", "POLICE"):
            function = vocabulary.function(text)
            if function is None:
                raise Rejected("usage", "This function is not known.", parameter="function")
            functions.append(function)
        places = self._places()
        resolution = places.resolve(_typed(query.q), on)
        certain = resolution.certain
        areas = [certain] if certain else list(resolution.candidates)
        options = []
        for candidate in areas:
            needs = [routing.Need(each, candidate.area.code, "", candidate.because) for each in functions]
            options.append(answers.Option(_candidate(candidate, places), self._address.routed(needs, on)))
        return answered(
            answers.Routed(
                certain=certain is not None,
                question=None if certain else resolution.question(),
                options=tuple(options),
                vintage=resolution.vintage,
            )
        )

    # About the interface itself

    @route(
        "GET", "/v1/vocabulary", needs=None, summary="Code lists, statuses, events, scopes",
        answers={200: Says(answers.Vocabulary, "Every list, in the order in which a form shows it.")},
    )  # fmt: skip
    async def vocabulary(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """The same for everybody. Lists only grow: keep codes that you do not know."""
        return web.Response(
            body=self._vocabulary, content_type="application/json", headers={"Cache-Control": "public, max-age=3600"}
        )

    @route(
        "GET", "/v1/token", needs=ANY_SCOPE, summary="Who you are to this node",
        answers={200: Says(answers.Caller, "What your token may do.")},
    )  # fmt: skip
    async def whoami(self, _request: web.Request, actor: Actor) -> web.StreamResponse:
        """To try a token without touching anything."""
        scopes = tuple(sorted(actor.scopes & SCOPES.keys()))
        return answered(answers.Caller(actor.name, self._node_id, scopes, actor.team, actor.rate))

    @route(
        "GET", "/v1/calls", needs=ANY_SCOPE, summary="What your token asked lately", query=CallsQuery,
        answers={200: Says(answers.Calls, "Route, status, code and time of each call of the last seven days.")},
    )  # fmt: skip
    async def calls(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Never a path, a query or a body. The operator sees the calls of every token."""
        query = asked(request, CallsQuery)
        token = actor.name.removeprefix(TOKEN) if actor.name.startswith(TOKEN) else None
        before = self._cursors.read("calls", query.cursor)
        items = await self._meter.log(token, before, query.limit)
        last = items[-1].seq if len(items) == query.limit else None
        return answered(answers.Calls(items, self._cursors.give("calls", last)))

    @route(
        "GET", "/problems/{code}", needs=None, summary="What a problem's code means",
        answers={200: Says(answers.Meaning, "In words.")}, problems=("not-found",),
    )  # fmt: skip
    async def problem(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """The page that a problem document's `type` points to."""
        page = help_page(request.match_info["code"])
        if page is None:
            raise Rejected("not-found", "There is no such code.")
        return answered(page)

    async def _sent_ref(self, request: web.Request, actor: Actor) -> str:
        ref = _ref(request)
        await self._follow.of_team(ref, actor.team)
        return ref

    async def _inbox_ref(self, request: web.Request, actor: Actor) -> str:
        ref = _ref(request)
        await self._acknowledge.of_team(ref, actor.team)
        return ref

    async def _waited(self, look: Callable[[], Any], enough: Callable[[Any], bool], seconds: int) -> Any:
        """What `look` finds, at once if it is enough, or looked for again whenever something happens until then."""
        ends = self._clock.monotonic() + seconds
        while True:
            rung = self._bell.rung
            found = await look()
            left = ends - self._clock.monotonic()
            if enough(found) or left <= 0 or self._bell.closed:
                return found
            await self._bell.after(rung, left)


def _vocabulary() -> answers.Vocabulary:
    return answers.Vocabulary(
        version=vocabulary.VERSION,
        tables=tuple(
            answers.TableOf(
                table.name,
                table.title,
                tuple(
                    answers.TermOf(term.code, term.label, term.meaning, term.since, term.source)
                    for term in table.terms
                ),
            )
            for table in vocabulary.TABLES.values()
        ),
        statuses=tuple(
            answers.StatusOf(row.code, row.label, row.meaning, row.said_by, tuple(sorted(row.after)), row.final)
            for row in STATUSES.values()
        ),
        events=tuple(KINDS.values()),
        scopes=SCOPES,
    )


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= 64 and key.isascii() and key.isprintable() and " " not in key):
        raise Rejected("usage", "An Idempotency-Key has 1 to 64 visible characters.", parameter="Idempotency-Key")
    return key


async def _alert(request: web.Request) -> bytes:
    """An alert's bytes, which are kept as they are and decoded by whoever decides about them."""
    if request.content_type not in {"application/json", "application/octet-stream"}:
        raise Rejected("not-supported", "An alert is sent as application/json.")
    return await body_of(request, ALERT_LIMIT, "alert")


def _may_read(actor: Actor) -> None:
    if "alerts:read" not in actor.scopes:
        raise Rejected("forbidden", "The token does not allow this.", "It needs the scope alerts:read as well.")


def _ref(request: web.Request) -> str:
    """An alert's id, or its reference in its one form, from the path."""
    text: str = request.match_info["ref"]
    return alerts.parse_reference(text) or text.lower()


def _canonical(refs: tuple[str, ...] | None) -> list[str] | None:
    return None if refs is None else [alerts.parse_reference(each) or each.lower() for each in refs]


def _lease(request: web.Request) -> str:
    return str(request.match_info["lease"])


def _typed(text: str) -> str:
    text = text.strip()
    if not text:
        raise Rejected("usage", "q must hold 1 to 200 characters.", parameter="q")
    return text


def _candidate(candidate: Any, places: Places) -> answers.AreaCandidate:
    return msgspec.convert(candidate_facts(candidate, places.gazetteer), answers.AreaCandidate)


def _entry(entry: Entry) -> web.Response:
    return answered(entry, 200, ETag=f'"{entry.version}"')
