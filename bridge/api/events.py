"""The live stream: server-sent events, resumed where a reader broke off.

Every event has the place that it has in the database, so a reader that gives the last id it saw misses nothing that is
still kept. A reader that was away for longer is told so, and reads the inbox instead.
"""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge.api.door import Cursor, Cursors, Says, Since, asked, route, still_admitted
from bridge.clock import Clock
from bridge.errors import Rejected
from bridge.events import KINDS
from bridge.nodes.admit import Actor
from bridge.nodes.bell import Bell
from bridge.nodes.watch import Watch

HEARTBEAT = 15.0
BATCH = 100
SLOWEST = 30.0
STREAMS = 4
STREAMS_IN_ALL = 200
GAP = "stream.gap"
KIND = "events"

EventType = Annotated[str, Meta(pattern=r"^[a-z]+\.[a-z]+\Z", max_length=40)]


class EventsQuery(msgspec.Struct, frozen=True):
    """Where to begin, and what to be told of."""

    cursor: Annotated[Cursor, Meta(description="An event's id: what follows it comes. `Last-Event-ID` counts before it.")] | None = None
    since: Annotated[Since, Meta(description="Begin with what happened from this time on.")] | None = None
    types: Annotated[tuple[EventType, ...], Meta(max_length=20, description="Only these events.")] = ()


class Events:
    """The handler of `/v1/events`."""

    def __init__(self, *, watch: Watch, cursors: Cursors, bell: Bell, clock: Clock) -> None:
        self._watch = watch
        self._cursors = cursors
        self._bell = bell
        self._clock = clock
        self._open: dict[str, int] = {}

    @route(
        "GET", "/v1/events", needs=("alerts:read", "receipts:read"), summary="What happens, live", query=EventsQuery,
        headers=("Last-Event-ID",),
        answers={200: Says(None, "A stream of server-sent events, until either side ends it.", "text/event-stream")},
    )  # fmt: skip
    async def stream(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Server-sent events with the names and facts of webhooks: ids and codes, never anything about a person.

        Give the last `id` you saw as `Last-Event-ID` to go on from there; without it the stream begins now. A comment
        comes every 15 seconds. An event `stream.gap` says that what you ask for is no longer kept: read the inbox.
        """
        query = asked(request, EventsQuery)
        if any(each not in KINDS for each in query.types):
            raise Rejected("usage", "This is not one of the events.", f"Use some of {', '.join(KINDS)}.", parameter="types")
        place = self._cursors.read(KIND, request.headers.get("Last-Event-ID") or query.cursor)
        if place is None:
            place = await (self._watch.newest() if query.since is None else self._watch.since(query.since))
        if self._open.get(actor.name, 0) >= STREAMS or sum(self._open.values()) >= STREAMS_IN_ALL:
            raise Rejected("too-many", "There are too many streams already.", "End one, or use a webhook.")
        self._open[actor.name] = self._open.get(actor.name, 0) + 1
        try:
            return await self._answer(request, actor, place, frozenset(query.types))
        finally:
            self._open[actor.name] -= 1
            if not self._open[actor.name]:
                del self._open[actor.name]

    async def _answer(
        self, request: web.Request, actor: Actor, place: int, types: frozenset[str]
    ) -> web.StreamResponse:
        beat = self._clock.monotonic() + HEARTBEAT
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await answer.prepare(request)
        try:
            await _write(answer, b"retry: 3000\n\n")
            begins = await self._watch.begins(place)
            if begins is not None:
                place = begins
                gone = {"type": GAP, "timestamp": self._watch.now(), "data": {}}
                await _write(answer, self._frame(place, GAP, gone))
            await self._go_on(request, answer, actor, place, types, beat)
        except (ConnectionResetError, TimeoutError):
            pass  # the reader left, or reads nothing: it comes back with its last id
        return answer

    async def _go_on(
        self,
        request: web.Request,
        answer: web.StreamResponse,
        actor: Actor,
        place: int,
        types: frozenset[str],
        beat: float,
    ) -> None:
        while not self._bell.closed:
            rung = self._bell.rung
            events, upto = await self._watch.after(place, BATCH, actor.scopes, types, actor.team)
            for event in events:
                told = msgspec.json.encode({"id": event.id, **msgspec.structs.asdict(self._watch.told(event))})
                await _write(answer, self._frame(event.seq, event.type, msgspec.Raw(told)))
            more = upto > place
            place = upto
            left = beat - self._clock.monotonic()
            if left <= 0:
                if not await still_admitted(request):
                    return
                await _write(answer, b": still here\n\n")
                beat = self._clock.monotonic() + HEARTBEAT
            elif not more:
                await self._bell.after(rung, left)

    def _frame(self, place: int, name: str, data: object) -> bytes:
        head = f"id: {self._cursors.give(KIND, place)}\nevent: {name}\ndata: "
        return head.encode() + msgspec.json.encode(data) + b"\n\n"


async def _write(answer: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(SLOWEST):
        await answer.write(data)
