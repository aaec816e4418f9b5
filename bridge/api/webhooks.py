"""The door for whoever connects systems that are told of events: endpoints, their keys, what was sent, sending again."""

from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge import answers
from bridge.answers import Again, Changed, Endpoint, Made, Tried, Wanted
from bridge.api.door import PAGE, Cursor, Cursors, Limit, Says, answered, asked, if_match, route, told
from bridge.errors import Rejected
from bridge.nodes.admit import Actor
from bridge.nodes.publish import Publish
from bridge.nodes.subscribe import OVERLAP_HOURS, Subscribe

SCOPE = "webhooks:admin"


class LogQuery(msgspec.Struct, frozen=True):
    """Which page of an endpoint's log, and of which state."""

    cursor: Annotated[Cursor, Meta(description="`next_cursor` of the page before.")] | None = None
    limit: Annotated[Limit, Meta(description="Most items on the page.")] = PAGE
    state: Annotated[
        Literal["waiting", "done", "dead"], Meta(description="Only what waits, was taken, or was given up.")
    ] | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many hours the keys before sign as well."""

    hours: Annotated[int, Meta(ge=0, le=720)] = OVERLAP_HOURS


class Webhooks:
    """Handlers for `/v1/webhooks`."""

    def __init__(self, *, subscribe: Subscribe, publish: Publish, cursors: Cursors) -> None:
        self._subscribe = subscribe
        self._publish = publish
        self._cursors = cursors

    @route(
        "GET", "/v1/webhooks", needs=SCOPE, summary="Endpoints that are told of events",
        answers={200: Says(answers.Endpoints, "Each with how it fares.")},
    )  # fmt: skip
    async def list_endpoints(self, _request: web.Request, actor: Actor) -> web.StreamResponse:
        """Never their secrets."""
        return answered(answers.Endpoints(await self._subscribe.every(actor.team)))

    @route(
        "POST", "/v1/webhooks", needs=SCOPE, summary="Add an endpoint", body=Wanted,
        answers={201: Says(Made, "With its secret, which is never shown again.", headers=("Location",))},
        problems=("too-many",),
    )  # fmt: skip
    async def add_endpoint(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """It is told of what happens from now on. Whole alerts (`content` full) need the scope alerts:read as well."""
        wanted = await told(request, Wanted)
        made = await self._subscribe.add(
            wanted, actor.name, may_read="alerts:read" in actor.scopes, team=actor.team
        )
        return answered(made, 201, Location=f"/v1/webhooks/{made.endpoint.id}")

    @route(
        "GET", "/v1/webhooks/{id}", needs=SCOPE, summary="One endpoint",
        answers={200: Says(Endpoint, "How it is set up and how it fares.", headers=("ETag",))}, problems=("not-found",),
    )  # fmt: skip
    async def show_endpoint(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """`state` failing: it has refused or not answered for three days and is tried once a day."""
        return _endpoint(await self._subscribe.show(_id(request), actor.team))

    @route(
        "PATCH", "/v1/webhooks/{id}", needs=SCOPE, summary="Change an endpoint, or switch it on or off", body=Changed,
        headers=("If-Match",), answers={200: Says(Endpoint, "As it is now.", headers=("ETag",))},
        problems=("not-found", "changed-meanwhile"),
    )  # fmt: skip
    async def change_endpoint(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """What is not named stays. Switched on, it is told of what happens from then on."""
        to = await told(request, Changed)
        changed = await self._subscribe.change(
            _id(request),
            to,
            actor.name,
            may_read="alerts:read" in actor.scopes,
            team=actor.team,
            version=if_match(request),
        )
        return _endpoint(changed)

    @route(
        "DELETE", "/v1/webhooks/{id}", needs=SCOPE, summary="Remove an endpoint",
        answers={204: Says(None, "It is gone, with what waited for it, its log and its keys.")}, problems=("not-found",),
    )  # fmt: skip
    async def remove_endpoint(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """For good."""
        await self._subscribe.remove(_id(request), actor.name, actor.team)
        return web.Response(status=204)

    @route(
        "POST", "/v1/webhooks/{id}/test", needs=SCOPE, summary="Send a harmless event now",
        answers={200: Says(Tried, "How it ended.")}, problems=("not-found",),
    )  # fmt: skip
    async def test_endpoint(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Of the type `webhook.test`, whatever waits, and also to an endpoint that is off."""
        return answered(await self._publish.test(_id(request), actor.team))

    @route(
        "POST", "/v1/webhooks/{id}/rotate", needs=SCOPE, summary="Give an endpoint new keys", body=Rotation,
        body_optional=True, answers={200: Says(Made, "With its new secret, which is never shown again.")},
        problems=("not-found",),
    )  # fmt: skip
    async def rotate_endpoint(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """For a time the old keys sign as well, so that nothing is lost while the receiver changes over."""
        rotation = await told(request, Rotation, optional=True)
        return answered(await self._subscribe.rotate(_id(request), actor.name, rotation.hours, actor.team))

    @route(
        "GET", "/v1/webhooks/{id}/deliveries", needs=SCOPE, summary="What was sent to an endpoint, or waits",
        query=LogQuery, answers={200: Says(answers.Log, "Newest event first; kept for two weeks.")},
        problems=("not-found",),
    )  # fmt: skip
    async def deliveries(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """`state=dead` lists what was given up."""
        query = asked(request, LogQuery)
        before = self._cursors.read("deliveries", query.cursor)
        items = await self._subscribe.log(_id(request), before, query.limit, query.state, actor.team)
        last = items[-1].seq if len(items) == query.limit else None
        return answered(answers.Log(items, self._cursors.give("deliveries", last)))

    @route(
        "POST", "/v1/webhooks/{id}/resend", needs=SCOPE, summary="Send events once more", body=Again,
        answers={202: Says(answers.Count, "How many were queued.")}, problems=("not-found", "wrong-state"),
    )  # fmt: skip
    async def resend(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Some by their ids, all that were given up (`dead`), or all `since` a time; under the same ids as before."""
        again = await told(request, Again)
        return answered(answers.Count(await self._subscribe.resend(_id(request), again, actor.name, actor.team)), 202)


def _id(request: web.Request) -> str:
    text: str = request.match_info["id"]
    if len(text) > 64:
        raise Rejected("not-found", "There is no such endpoint.")
    return text


def _endpoint(endpoint: Endpoint) -> web.Response:
    return answered(endpoint, ETag=f'"{endpoint.version}"')
