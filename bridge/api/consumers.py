"""The door for systems, and for the command line: alerts out, the inbox in, areas."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from bridge import alerts, routing, vocabulary
from bridge.api.door import Cursors, answered, body_of, number, route
from bridge.api.problems import help_page
from bridge.clock import Clock
from bridge.errors import Malformed, Rejected
from bridge.nodes.acknowledge import Acknowledge, Entry
from bridge.nodes.address import ALERT_LIMIT, Address, Places, candidate_facts
from bridge.nodes.admit import Actor
from bridge.nodes.follow import Follow
from bridge.nodes.submit import Submit
from bridge.nodes.withdraw import Withdraw
from bridge.receipts import STATUSES
from bridge.withdrawals import reason_of

PAGE = 50
PAGE_MAX = 200


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller says when it closes an alert or refers it on."""

    outcome: str | None = None
    area: str | None = None
    reason: str | None = None


class Consumers:
    """Handlers for `/v1`."""

    def __init__(
        self,
        *,
        submit: Submit,
        withdraw: Withdraw,
        address: Address,
        follow: Follow,
        acknowledge: Acknowledge,
        places: Callable[[], Places],
        cursors: Cursors,
        clock: Clock,
    ) -> None:
        self._submit = submit
        self._withdraw = withdraw
        self._address = address
        self._follow = follow
        self._acknowledge = acknowledge
        self._places = places
        self._cursors = cursors
        self._clock = clock

    # Sending side

    @route("POST", "/v1/alerts", needs="alerts:send", summary="Send an alert")
    async def send(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """202 after the durable commit, with who gets it and why."""
        key = request.headers.get("Idempotency-Key")
        if key is not None and not (1 <= len(key) <= 64 and key.isascii() and key.isprintable() and " " not in key):
            raise Rejected("usage", "An Idempotency-Key has 1 to 64 visible characters.", parameter="Idempotency-Key")
        if request.content_type not in {"application/json", "application/octet-stream"}:
            raise Rejected("not-supported", "An alert is sent as application/json.")
        sent = await self._submit.send(await body_of(request, ALERT_LIMIT), actor.name, key)
        return answered(sent, 202, Location=f"/v1/alerts/{sent.id}")

    @route("GET", "/v1/alerts", needs="alerts:read", summary="Alerts sent from here, newest first")
    async def list_sent(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """One page; `next_cursor` is null on the last one."""
        limit = number(request, "limit", PAGE, 1, PAGE_MAX)
        page = await self._follow.page(self._cursors.read("alerts", request.query.get("cursor")), limit)
        last = page.last if len(page.items) == limit else None
        return answered({"items": page.items, "next_cursor": self._cursors.give("alerts", last)})

    @route("GET", "/v1/alerts/{ref}", needs="alerts:read", summary="One alert sent from here, with its timeline")
    async def show_sent(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Content while it is kept, then the stub and the receipts alone."""
        followed = await self._follow.show(_ref(request), actor.name)
        row: dict[str, Any] = msgspec.to_builtins(followed.row)
        rest: dict[str, Any] = {
            name: getattr(followed, name)
            for name in ("route", "timeline", "home", "retention", "alert", "corrected_by")
        }
        withdrawal = await self._withdraw.state(followed.row.id) if followed.row.withdrawn else None
        return answered({**row, **rest, "withdrawal": withdrawal})

    @route("GET", "/v1/alerts/{ref}/receipts", needs="receipts:read", summary="Receipts, as they were signed")
    async def receipts(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """The timeline, and every document about the alert in its exact bytes."""
        ref = _ref(request)
        followed = await self._follow.show(ref)
        return answered({"timeline": followed.timeline, "items": await self._follow.receipts(ref)})

    @route("POST", "/v1/alerts/{ref}/reroute", needs="alerts:send", summary="Send on what has no recipient")
    async def reroute(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """What was held, refused for its area, not theirs or not delivered goes where it belongs today."""
        step = await _step(request)
        return answered(await self._submit.reroute(_ref(request), actor.name, step.area), 202)

    @route("POST", "/v1/alerts/{ref}/withdraw", needs="alerts:send", summary="Take an alert back")
    async def withdraw(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Everyone who has it marks it at once, deletes it and says so, signed; the answer lists who has not yet."""
        step = await _step(request)
        reason = reason_of(step.reason or "other")
        return answered(await self._withdraw.withdraw(_ref(request), reason, actor.name), 202)

    @route("POST", "/v1/alerts/{ref}/correct", needs="alerts:send", summary="Send a corrected alert")
    async def correct(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """To everyone who has the one before; each marks that one as replaced."""
        body = await body_of(request, ALERT_LIMIT)
        sent = await self._submit.correct(_ref(request), body, actor.name)
        return answered(sent, 202, Location=f"/v1/alerts/{sent.id}")

    # Receiving side

    @route("GET", "/v1/inbox", needs="alerts:read", summary="Alerts received, in the order of arrival")
    async def list_received(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """One page. `next_cursor` stands behind the last item: ask with it again to get what came since."""
        limit = number(request, "limit", PAGE, 1, PAGE_MAX)
        given = request.query.get("cursor")
        states = tuple(state for state in request.query.get("state", "").split(",") if state)
        if any(state not in STATUSES for state in states):
            raise Rejected("usage", "state must be one of the statuses, or several with commas.", parameter="state")
        page = await self._acknowledge.page(self._cursors.read("inbox", given) or 0, limit, states)
        return answered({"items": page.items, "next_cursor": self._cursors.give("inbox", page.last) or given})

    @route("GET", "/v1/inbox/{ref}", needs="alerts:read", summary="One alert received")
    async def show_received(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """The alert as it was sent, with its route and what we have said of it; 410 once it is deleted."""
        received = await self._acknowledge.show(_ref(request), actor.name)
        entry: dict[str, Any] = msgspec.to_builtins(received.entry)
        rest = {
            name: getattr(received, name)
            for name in ("home", "route", "retention", "withheld", "created", "alert", "timeline")
        }
        body = {**entry, "from": received.sender, **rest}
        deleted = received.alert is None
        if deleted:
            taken_back = received.entry.deleted_because == "withdrawn"
            why = "when its sender withdrew it" if taken_back else "when its time was over"
            body |= {"code": "gone", "detail": f"The content was deleted {why}."}
        return answered(body, 410 if deleted else 200, ETag=f'"{received.entry.version}"')

    @route("POST", "/v1/inbox/{ref}/ack", needs="alerts:act", summary="Your system has taken the alert over")
    async def ack(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `collected` to the sender. Safe to repeat."""
        return _entry(await self._acknowledge.collect(_ref(request), actor.name))

    @route("POST", "/v1/inbox/{ref}/open", needs="alerts:act", summary="Someone has been shown the alert")
    async def open(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `opened` to the sender. Safe to repeat."""
        return _entry(await self._acknowledge.open(_ref(request), actor.name))

    @route("POST", "/v1/inbox/{ref}/take", needs="alerts:act", summary="Someone works on the alert")
    async def take(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `taken` to the sender. Safe to repeat."""
        return _entry(await self._acknowledge.take(_ref(request), actor.name))

    @route("POST", "/v1/inbox/{ref}/close", needs="alerts:act", summary="Work on the alert has ended")
    async def close(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `closed` with an outcome code to the sender."""
        step = await _step(request)
        if step.outcome is None:
            raise Rejected("usage", "Closing needs an outcome.", _OUTCOMES, pointer="/outcome")
        return _entry(await self._acknowledge.close(_ref(request), step.outcome, actor.name))

    @route("POST", "/v1/inbox/{ref}/not-ours", needs="alerts:act", summary="The home area is another")
    async def not_ours(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `not_ours` to the sender, with the area suggested."""
        step = await _step(request)
        area = None
        if step.area is not None:
            found = self._places().gazetteer.area(step.area)
            if found is None:
                raise Rejected("unknown-area", "The area suggested is not a current area.", pointer="/area")
            area = found.code
        return _entry(await self._acknowledge.not_ours(_ref(request), area, actor.name))

    # Areas

    @route("GET", "/v1/areas/resolve", needs="areas:read", summary="Which areas a text may mean")
    async def resolve(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Candidates with shares and reasons; `certain` is a code only where one may be taken without asking."""
        places = self._places()
        resolution = places.resolve(_query(request), self._clock.now().date())
        certain = resolution.certain
        return answered(
            {
                "method": resolution.method,
                "certain": certain.area.code if certain else None,
                "candidates": [candidate_facts(each, places.gazetteer) for each in resolution.candidates],
                "question": None if certain else resolution.question(),
                "note": resolution.note or None,
                "vintage": resolution.vintage,
            }
        )

    @route("GET", "/v1/areas/route", needs="areas:read", summary="Who would get an alert for a home area, and why")
    async def who_gets_it(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """One leg for each function asked for (children's services and police when none is)."""
        on = self._clock.now().date()
        functions = []
        for text in request.query.getall("function", ["MASH", "POLICE"]):
            function = vocabulary.function(text)
            if function is None:
                raise Rejected("usage", "This function is not known.", parameter="function")
            functions.append(function)
        text = _query(request)
        places = self._places()
        resolution = places.resolve(text, on)
        certain = resolution.certain
        areas = [certain] if certain else list(resolution.candidates)
        options = []
        for candidate in areas:
            needs = [routing.Need(each, candidate.area.code, "", candidate.because) for each in functions]
            legs = self._address.routed(needs, on)
            options.append({"area": candidate_facts(candidate, places.gazetteer), "route": legs})
        return answered(
            {
                "certain": certain is not None,
                "question": None if certain else resolution.question(),
                "options": options,
                "vintage": resolution.vintage,
            }
        )

    @route("GET", "/problems/{code}", needs=None, summary="What a problem's code means")
    async def problem(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """The page that a problem document's `type` points to."""
        page = help_page(request.match_info["code"])
        if page is None:
            raise Rejected("not-found", "There is no such code.")
        return answered(page)


_OUTCOMES = f"Use one of {', '.join(term.code for term in vocabulary.TABLES['outcome'].terms)}."


def _ref(request: web.Request) -> str:
    """An alert's id, or its reference in its one form, from the path."""
    text: str = request.match_info["ref"]
    return alerts.parse_reference(text) or text.lower()


def _query(request: web.Request) -> str:
    text = request.query.get("q", "").strip()
    if not 0 < len(text) <= 200:
        raise Rejected("usage", "q must hold 1 to 200 characters.", parameter="q")
    return text


async def _step(request: web.Request) -> Step:
    raw = await body_of(request, 16 * 1024)
    try:
        return msgspec.json.decode(raw or b"{}", type=Step)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("request") from None


def _entry(entry: Entry) -> web.Response:
    return answered(entry, 200, ETag=f'"{entry.version}"')
