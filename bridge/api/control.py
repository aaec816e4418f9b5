"""The operator's door: registry, tokens, keys and checks, over the socket in the node's own directory."""

import re
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge.alerts import parse_reference
from bridge.api.door import answered, body_of, route
from bridge.clock import Clock
from bridge.errors import Malformed, Rejected
from bridge.nodes.admit import Actor, Admit
from bridge.nodes.brake import TimeBrake
from bridge.nodes.enrol import Enrol
from bridge.nodes.retain import Retain
from bridge.partners import Partner
from bridge.storage.partners import Book

Text = Annotated[str, Meta(max_length=400)]


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One administrator's word about a partner."""

    admin: Text
    fingerprint: Text
    areas: list[Text] | None = None
    functions: list[Text] | None = None
    valid_from: date | None = msgspec.field(name="from", default=None)
    until: date | None = None
    agreement: Text | None = None


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who suspends, resumes or revokes."""

    admin: Text = "operator"


class Shorter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A class of content and the days it is to be kept from now on."""

    class_: Text = msgspec.field(name="class")
    days: int


class Holding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content to be kept longer."""

    ref: Text
    authority: Text
    review: date
    admin: Text


class Releasing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hold to be ended; without `ref`, the brake on deleting."""

    admin: Text
    ref: Text | None = None


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made."""

    label: Text
    scopes: list[Text]
    days: int | None = None
    team: Text | None = None
    rate: int | None = None


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which keys are made anew: those for messages and sealing, or the identity."""

    identity: bool = False


class Operations(msgspec.Struct, frozen=True):
    """What the node can tell and do about itself; wired in `bridge.nodes.app`."""

    status: Callable[[], Awaitable[dict[str, Any]]]
    check: Callable[[], Awaitable[dict[str, Any]]]
    keys: Callable[[], Awaitable[dict[str, Any]]]
    rotate: Callable[[str, bool], Awaitable[dict[str, Any]]]
    reload_areas: Callable[[], Awaitable[dict[str, Any]]]
    partner_state: Callable[[str], Awaitable[dict[str, Any]]]
    folder: Callable[[], dict[str, Any]]


class Control:
    """Handlers for `/control`: only the operating system's own user reaches them."""

    def __init__(
        self, *, enrol: Enrol, book: Book, admit: Admit, retain: Retain, brake: TimeBrake, operations: Operations, clock: Clock
    ) -> None:
        self._enrol = enrol
        self._book = book
        self._admit = admit
        self._retain = retain
        self._brake = brake
        self._operations = operations
        self._clock = clock

    @route("GET", "/control/status", needs="control", summary="How the node is")
    async def status(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Version, queues, partners and ages at a glance."""
        return answered(await self._operations.status())

    @route("GET", "/control/check", needs="control", summary="Check everything step by step")
    async def check(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Settings, keys, database, clock, disk and every partner."""
        return answered(await self._operations.check())

    @route("GET", "/control/invite", needs="control", summary="The invite file for partners")
    async def invite(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Our signed descriptor as a file."""
        return web.Response(body=self._enrol.invite(), content_type="application/json")

    @route("GET", "/control/partners", needs="control", summary="All partners")
    async def partners(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Every partner that is known, with its state."""
        return answered({"items": [await self._shown(partner) for partner in self._book.partners()]})

    @route("POST", "/control/partners", needs="control", summary="Add a partner from its invite file")
    async def add(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Known from now on, trusted with nothing until two administrators approve."""
        partner = await self._enrol.add(await body_of(request, 128 * 1024), actor.name)
        return answered(await self._shown(partner), 201)

    @route("GET", "/control/partners/{id}", needs="control", summary="One partner")
    async def partner(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Everything known and decided about one partner, with its fingerprint."""
        return answered(await self._shown(self._found(request)))

    @route("GET", "/control/fingerprint", needs="control", summary="Our own fingerprint")
    async def fingerprint(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """What a partner's administrators will ask to hear on the telephone."""
        own = self._book.get(self._book.own_id)
        if own is None:
            raise Rejected("not-found", "The node is not set up.")
        facts = self._enrol.shown(own)
        return answered({name: facts[name] for name in ("node_id", "name", "fingerprint")})

    @route("POST", "/control/partners/{id}/approve", needs="control", summary="Confirm a fingerprint")
    async def approve(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """One of two administrators confirms what was heard by telephone."""
        word = await _read(request, Approval)
        partner = await self._enrol.approve(
            request.match_info["id"],
            _named(word.admin),
            word.fingerprint,
            areas=word.areas,
            functions=word.functions,
            valid_from=word.valid_from,
            valid_to=word.until,
            agreement=word.agreement,
        )
        return answered(await self._shown(partner))

    @route("POST", "/control/partners/{id}/test", needs="control", summary="Test a connection")
    async def test(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Step by step: name, address, connection, TLS, identity, signature, clock, version, approval."""
        steps = await self._enrol.test(request.match_info["id"])
        return answered({"ok": all(step.ok for step in steps), "steps": steps})

    @route("POST", "/control/partners/{id}/suspend", needs="control", summary="Suspend a partner")
    async def suspend(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Stop all traffic for now."""
        move = await _read(request, Move)
        return answered(await self._shown(await self._enrol.suspend(request.match_info["id"], _named(move.admin))))

    @route("POST", "/control/partners/{id}/resume", needs="control", summary="Resume a partner")
    async def resume(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Take up traffic again."""
        move = await _read(request, Move)
        return answered(await self._shown(await self._enrol.resume(request.match_info["id"], _named(move.admin))))

    @route("POST", "/control/partners/{id}/revoke", needs="control", summary="Revoke a partner")
    async def revoke(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """End it for good."""
        move = await _read(request, Move)
        return answered(await self._shown(await self._enrol.revoke(request.match_info["id"], _named(move.admin))))

    @route("GET", "/control/retention", needs="control", summary="What is kept, and when it goes")
    async def retention(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Counts by class; with `class` and `days`, how many alerts such a change would touch."""
        days = request.query.get("days")
        if days is not None and not (days.isascii() and days.isdigit() and len(days) < 6):
            raise Rejected("usage", "days must be a whole number.", parameter="days")
        found = await self._retain.preview(request.query.get("class"), int(days) if days else None)
        return answered(found)

    @route("POST", "/control/retention/run", needs="control", summary="Delete what is due now")
    async def sweep(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """What was deleted; nothing while the clock is in doubt."""
        return answered(await self._retain.run())

    @route("POST", "/control/retention/apply", needs="control", summary="Shorten what is kept already")
    async def apply(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """To a number of days from the start; nothing is kept longer by this."""
        wanted = await _read(request, Shorter)
        return answered(await self._retain.apply(wanted.class_, wanted.days, actor.name))

    @route("POST", "/control/retention/hold", needs="control", summary="Keep an alert longer")
    async def hold(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """One of two people asks, or the second confirms."""
        wanted = await _read(request, Holding)
        ref = parse_reference(wanted.ref) or wanted.ref.lower()
        return answered(await self._retain.hold(ref, wanted.authority, wanted.review, _named(wanted.admin)))

    @route("POST", "/control/retention/release", needs="control", summary="End a hold, or the brake")
    async def release(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """With a reference, one of two people ends a hold; without, an administrator confirms the clock."""
        wanted = await _read(request, Releasing)
        if wanted.ref is None:
            return answered({"brake_released": await self._brake.release(_named(wanted.admin))})
        ref = parse_reference(wanted.ref) or wanted.ref.lower()
        return answered(await self._retain.release(ref, _named(wanted.admin)))

    @route("GET", "/control/retention/statement", needs="control", summary="A month in counts")
    async def statement(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """For each partner: what passed and what became of it. Counts only."""
        match = re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", request.query.get("month", ""))
        if match is None:
            raise Rejected("usage", "month must be a year and a month, such as 2026-11.", parameter="month")
        own = self._book.get(self._book.own_id)
        kept = await self._retain.preview()
        partners = []
        for node_id, counts in (await self._retain.month(int(match[1]), int(match[2]))).items():
            found = self._book.get(node_id)
            partners.append({"node": node_id, "name": found.descriptor.name if found else node_id, **counts})
        return answered(
            {
                "month": match[0],
                "made": kept["now"],
                "node": self._book.own_id,
                "name": own.descriptor.name if own else self._book.own_id,
                "partners": partners,
                "now": {
                    "received": sum(row["kept"] for row in kept["classes"] if row["side"] == "received"),
                    "sent": sum(row["kept"] for row in kept["classes"] if row["side"] == "sent"),
                    "held": sum(row["held"] for row in kept["classes"]),
                    "overdue": kept["overdue"],
                    "braked": kept["braked"] is not None,
                },
                "kept_by_class": kept["kept_by_class"],
            }
        )

    @route("GET", "/control/tokens", needs="control", summary="API tokens")
    async def tokens(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """All tokens, without their secrets."""
        return answered({"items": await self._admit.every()})

    @route("POST", "/control/tokens", needs="control", summary="Make an API token")
    async def new_token(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """The answer alone holds the secret."""
        wanted = await _read(request, NewToken)
        made = await self._admit.create(
            wanted.label, wanted.scopes, wanted.days, actor.name, team=wanted.team, rate=wanted.rate
        )
        return answered(made, 201)

    @route("DELETE", "/control/tokens/{id}", needs="control", summary="End an API token")
    async def end_token(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """At once, for every request from now on."""
        await self._admit.revoke(request.match_info["id"], actor.name)
        return answered({"id": request.match_info["id"], "revoked": True})

    @route("GET", "/control/folder", needs="control", summary="The shared folder")
    async def folder(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """The key to which a system seals what it puts there, and how the folder fares."""
        return answered(self._operations.folder())

    @route("GET", "/control/keys", needs="control", summary="Keys and their dates")
    async def keys(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Kinds, hints and dates; never a private part."""
        return answered(await self._operations.keys())

    @route("POST", "/control/keys/rotate", needs="control", summary="Make new sealing and message keys")
    async def rotate(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Old keys stay until the last mail under them must have come. With `identity`, another identity instead."""
        wanted = await _read(request, Renewal)
        return answered(await self._operations.rotate(actor.name, wanted.identity))

    @route("POST", "/control/areas/reload", needs="control", summary="Read the imported directory again")
    async def reload_areas(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """After `bridge area import`."""
        return answered(await self._operations.reload_areas())

    def _found(self, request: web.Request) -> Partner:
        partner = self._book.get(request.match_info["id"])
        if partner is None:
            raise Rejected(
                "not-found", "There is no partner of this name.", "`bridge partner list` shows those that are known."
            )
        return partner

    async def _shown(self, partner: Partner) -> dict[str, Any]:
        return {**self._enrol.shown(partner), **await self._operations.partner_state(partner.node_id)}


def _named(name: str) -> str:
    """A name that somebody typed: never one that the log knows as a signed-in person's or the node's own."""
    if ":" in name or name.strip() in {"node", "partners"}:
        raise Rejected("usage", "Say who you are by your name.", 'For example: --admin "A. Osei".')
    return name


async def _read(request: web.Request, kind: type[Any]) -> Any:
    raw = await body_of(request, 64 * 1024)
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("request") from None
