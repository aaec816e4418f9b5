"""Routes with their permission, and what every request goes through on its way in.

A handler is a method marked by `@route`; what it needs stands beside it, and a test lists every route with it. A
route without a permission must say `needs=None` in so many words. What a route of the public interface takes and answers
stands there too, as the very structs that the handler decodes and encodes: `bridge.api.openapi` makes the contract of it.
"""

import asyncio
import functools
import hashlib
import hmac
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
from aiohttp import web
from msgspec import Meta

from bridge import wire
from bridge.api import problems
from bridge.errors import BridgeError, Malformed, Rejected
from bridge.metrics import Metrics
from bridge.nodes.admit import Actor
from bridge.nodes.meter import Allowance, Meter

log = structlog.get_logger()

Handler = Callable[[web.Request, Actor], Awaitable[web.StreamResponse]]
Who = Callable[[web.Request], Awaitable[Actor]]
M = TypeVar("M", bound=Callable[..., Awaitable[web.StreamResponse]])
T = TypeVar("T", bound=msgspec.Struct)
Needs = str | tuple[str, ...] | None

PAGE = 50
PAGE_MAX = 200
Cursor = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-f]{1,16}-[0-9a-f]{16}\Z")]
Limit = Annotated[int, Meta(ge=1, le=PAGE_MAX)]
Since = Annotated[datetime, Meta(tz=True)]

NOBODY = Actor("nobody", frozenset())
MARK = "_bridge_route"


@dataclass(frozen=True)
class Says:
    """One answer of a route: the type of its body (None: it has none), its media types, its headers, and when it comes."""

    kind: Any = None
    about: str = ""
    media: str | tuple[str, ...] = "application/json"
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """One method and path, with the scope that a caller needs (None: anybody who reaches the door; several: any of them).

    `query` and `body` are the structs that are decoded, `headers` those of `bridge.api.openapi.HEADERS` that count,
    `answers` what is answered by status, `problems` the codes beyond those that every route may answer. A route that
    names no answers is not part of the public contract.
    """

    method: str
    path: str
    needs: Needs
    summary: str
    detail: str = ""
    name: str = ""
    query: type[msgspec.Struct] | None = None
    body: Any = None
    body_optional: bool = False
    media: str = "application/json"
    headers: tuple[str, ...] = ()
    answers: Mapping[int, Says] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def public(self) -> bool:
        """Whether it is part of the contract."""
        return bool(self.answers)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of which one is needed."""
        return (self.needs,) if isinstance(self.needs, str) else self.needs or ()


def route(
    method: str,
    path: str,
    *,
    needs: Needs,
    summary: str,
    query: type[msgspec.Struct] | None = None,
    body: Any = None,
    body_optional: bool = False,
    media: str = "application/json",
    headers: tuple[str, ...] = (),
    answers: Mapping[int, Says] | None = None,
    problems: tuple[str, ...] = (),
) -> Callable[[M], M]:
    """Mark a method as the handler of a route; its docstring says the rest in words."""

    def mark(handler: M) -> M:
        made = Route(
            method, path, needs, summary, inspect.getdoc(handler) or "", handler.__name__, query, body, body_optional,
            media, headers, answers or {}, problems,
        )  # fmt: skip
        setattr(handler, MARK, made)
        return handler

    return mark


def routes_of(*rooms: object) -> list[tuple[Route, Handler]]:
    """Every marked handler of these objects, in the order in which they are written."""
    found: list[tuple[Route, Handler]] = []
    for room in rooms:
        for name, member in vars(type(room)).items():
            marked = getattr(member, MARK, None)
            if marked is not None:
                found.append((marked, getattr(room, name)))
    return found


@dataclass(frozen=True)
class Deadlines:
    """How large and how slow a request may be. Sizes in bytes, times in seconds."""

    request_bytes: int = 262_144
    body_seconds: float = 30


def application(
    routes: Iterable[tuple[Route, Handler]],
    who: Who,
    metrics: Metrics,
    deadlines: Deadlines,
    meter: Meter | None = None,
) -> web.Application:
    """An aiohttp application that serves these routes to whoever `who` recognises.

    With a `meter`, every token is counted and its calls are noted; never what it asked or was answered.
    """
    app = web.Application(client_max_size=deadlines.request_bytes, middlewares=[_refuse_politely])
    app[_DEADLINES] = deadlines
    listed = list(routes)
    for marked, handler in listed:
        app.router.add_route(marked.method, marked.path, _guarded(marked, handler, who, metrics, meter))
    for path in dict.fromkeys(marked.path for marked, _ in listed if marked.public and "{" not in marked.path):
        # A method that is not for /v1/inbox/lease must not be read as one for /v1/inbox/{ref}.
        app.router.add_route("*", path, _no_such_method({marked.method for marked, _ in listed if marked.path == path}))
    app.on_response_prepare.append(_headers)
    return app


class Runner(web.AppRunner):
    """Serves an application as aiohttp does, but for what is no HTTP request: see :class:`_Connection`."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options = made._kwargs  # noqa: SLF001  the library has no other door to them
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **options,
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """Answers in our form what no route has seen: the library would quote what came, and say its own version."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  it may hold what came
        message: str | None = None,  # noqa: ARG002  likewise
    ) -> web.StreamResponse:
        """The answer to bytes that are no request, or to a fault outside every handler; the connection ends with it."""
        if request.writer.output_size > 0:
            raise ConnectionError
        error = Malformed("HTTP request") if status < 500 else _fault()
        answer = problems.response(error, status)
        answer.headers["Server"] = "bridge"
        answer.force_close()
        return answer


def _fault() -> BridgeError:
    return BridgeError(
        "internal", "Something is wrong on this node.", "Nothing was lost. Ask its administrator to look."
    )


def _no_such_method(allowed: set[str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))

    return refuse


_DEADLINES: web.AppKey[Deadlines] = web.AppKey("deadlines", Deadlines)
_ALLOWANCE: web.RequestKey[Allowance] = web.RequestKey("allowance", Allowance)
_AGAIN: web.RequestKey[Any] = web.RequestKey("again", object)
TOKEN = "token:"  # noqa: S105  what the pseudonym of a token begins with
METERED = (TOKEN, "mailbox:")
"""Whose calls are counted and noted."""


def _guarded(
    marked: Route, handler: Handler, who: Who, metrics: Metrics, meter: Meter | None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def admitted(request: web.Request) -> Actor:
        """Who asks, if that may be asked. Raises Rejected `unauthenticated`, `forbidden`."""
        if not marked.scopes:
            return NOBODY
        actor = await who(request)
        if actor.scopes.isdisjoint(marked.scopes):
            raise Rejected(
                "forbidden", "The token does not allow this.", f"It needs the scope {' or '.join(marked.scopes)}."
            )
        return actor

    async def guarded(request: web.Request) -> web.StreamResponse:
        outcome, status, code = "500", 500, None
        actor = NOBODY
        began = meter.seconds() if meter else 0.0
        try:
            actor = await admitted(request)
            request[_AGAIN] = admitted
            if meter is not None and actor.name.startswith(METERED):
                request[_ALLOWANCE] = meter.take(actor.name, actor.rate)
            if marked.public and marked.query is None and request.query_string:
                raise _unknown_parameter()  # noqa: TRY301  answered like every refusal below
            answer = await handler(request, actor)
            status, outcome = answer.status, str(answer.status)
        except BridgeError as error:
            outcome = code = error.code
            if error.http_status >= 500:
                log.error("request-failed", route=marked.path, code=error.code)
            answer = problems.response(error)
            status = answer.status
        except web.HTTPException:
            raise
        except (asyncio.CancelledError, ConnectionResetError):
            outcome = "gone"
            raise
        except Exception:
            log.exception("request-failed", route=marked.path)
            code = "internal"
            answer = problems.response(_fault())
        finally:
            metrics.inc("bridge_requests_total", route=marked.path, outcome=outcome)
            if meter is not None and actor.name.startswith(METERED):
                took = meter.seconds() - began
                meter.note(actor.name.removeprefix(TOKEN), marked.method, marked.path, status, code, took)
        return _in_the_form_asked(request, answer)

    return guarded


async def still_admitted(request: web.Request) -> bool:
    """Whether whoever made this long-lived request may still make it: its token is neither ended nor expired."""
    try:
        await request[_AGAIN](request)
    except Rejected:
        return False
    return True


def _in_the_form_asked(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """JSON as msgpack for whoever asks for exactly that."""
    if (
        request.headers.get("Accept") == MSGPACK
        and isinstance(answer, web.Response)
        and answer.content_type == "application/json"
        and isinstance(answer.body, bytes)
    ):
        answer.body = msgspec.msgpack.encode(msgspec.json.decode(answer.body))
        answer.content_type = MSGPACK
    return answer


MSGPACK = "application/msgpack"


@web.middleware
async def _refuse_politely(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """aiohttp's own refusals (no such route, wrong method, too large) in our form."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return problems.response(Rejected("not-found", "There is nothing at this address."))
    except web.HTTPMethodNotAllowed as error:
        answer = problems.response(
            Rejected("not-supported", "This method is not for this address."), status=405
        )
        answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return answer
    except web.HTTPRequestEntityTooLarge:
        return problems.response(Rejected("too-large", "The request is larger than the limit."))
    except web.HTTPException as error:
        return problems.response(BridgeError("usage", "The request cannot be answered."), status=error.status)


async def _headers(request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers["Server"] = "bridge"
    allowance: Allowance | None = request.get(_ALLOWANCE)
    if allowance is not None:
        # draft-ietf-httpapi-ratelimit-headers-11: sent as a help, nothing is promised.
        answer.headers["RateLimit-Policy"] = f'"token";q={allowance.limit};w=60'
        answer.headers["RateLimit"] = f'"token";r={allowance.left};t={allowance.wait}'
    answer.headers.setdefault("Cache-Control", "no-store")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers.setdefault("Referrer-Policy", "no-referrer")


async def body_of(request: web.Request, limit: int | None = None, what: str = "request") -> bytes:
    """The request's body, whole, within the size and the time allowed; `what` it is, in errors.

    Raises Rejected `too-large` or `too-slow`.
    """
    deadlines = request.config_dict[_DEADLINES]
    most = deadlines.request_bytes if limit is None else limit
    if request.content_length is not None and request.content_length > most:
        raise _too_large(most, what)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(deadlines.body_seconds):
            async for chunk in request.content.iter_chunked(64 * 1024):
                size += len(chunk)
                if size > most:
                    raise _too_large(most, what)
                parts.append(chunk)
    except TimeoutError:
        raise Rejected("too-slow", "The request did not arrive in time.", "Send it again.") from None
    except web.RequestPayloadError:
        raise Malformed("request body") from None
    return b"".join(parts)


def asked(request: web.Request, kind: type[T]) -> T:
    """The query, as the struct that the route names: each parameter once, a list with commas, none that is not known.

    Raises Rejected `usage`, with the parameter's name when it is one of ours.
    """
    forms = _parameters(kind)
    found: dict[str, Any] = {}
    for name in request.query:
        if name not in forms:
            raise _unknown_parameter()
        texts = request.query.getall(name)
        if forms[name] is tuple:
            found[name] = [part for text in texts for part in text.split(",") if part]
        elif len(texts) > 1:
            raise Rejected("usage", "A parameter stands twice.", parameter=name)
        else:
            found[name] = _value(texts[0], forms[name], name)
        if any(not wire.clean(text) for text in texts):
            raise Rejected("usage", f"{name} holds a control or direction character.", parameter=name)
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        match = _AT.search(str(error))
        wrong = match[1] if match and match[1] in forms else None
        if wrong is None:
            raise Rejected("usage", "A parameter is missing or wrong.", "See /docs.") from None
        said = f"{wrong} is not in the form or the bounds that it must have."
        raise Rejected("usage", said, "See /docs.", parameter=wrong) from None


_AT = re.compile(r"`\$\.([a-z_]+)")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,15})")


@functools.cache
def _parameters(kind: type[msgspec.Struct]) -> dict[str, type]:
    """Of each parameter whether it is a whole number, a truth value, a list, or else text."""
    hints = typing.get_type_hints(kind)
    found: dict[str, type] = {}
    for each in msgspec.structs.fields(kind):
        hint = hints[each.name]
        parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        origins = {typing.get_origin(part) or part for part in parts}
        found[each.encode_name] = next((one for one in (bool, int, tuple) if one in origins), str)
    return found


def _value(text: str, form: type, name: str) -> Any:
    if form is int:
        if not _WHOLE.fullmatch(text):
            raise Rejected("usage", f"{name} must be a whole number.", parameter=name)
        return int(text)
    if form is bool:
        if text not in {"true", "false"}:
            raise Rejected("usage", f"{name} must be true or false.", parameter=name)
        return text == "true"
    return text


def _unknown_parameter() -> Rejected:
    return Rejected("usage", "A parameter is not known here.", "See /docs.")


async def told(request: web.Request, kind: type[T], *, optional: bool = False, limit: int = 64 * 1024) -> T:
    """The body, decoded in the strict profile into the struct that the route names; nothing at all where `optional`.

    Raises Malformed, with a pointer where one is known, and Rejected `not-supported`, `too-large`, `too-slow`.
    """
    raw = await body_of(request, limit)
    if not raw and optional:
        return kind()
    if request.content_type != "application/json":
        raise Rejected("not-supported", "The body must be application/json.")
    return wire.decode_json(raw, kind, limit=limit, what="request")


def if_match(request: web.Request) -> int | None:
    """The version that the caller has seen, from `If-Match`; None when it does not care. Raises Rejected `usage`."""
    said = request.headers.get("If-Match")
    if said is None or said.strip() == "*":
        return None
    match = _ETAG.fullmatch(said.strip())
    if match is None:
        raise Rejected("usage", 'If-Match holds one ETag as it was given, such as "3".', parameter="If-Match")
    return int(match[1])


_ETAG = re.compile(r'"([0-9]{1,15})"')


def _too_large(limit: int, what: str) -> Rejected:
    return Rejected("too-large", f"The {what} is larger than {limit} bytes.", "Send less at once.", limit=limit)


def answered(value: Any, status: int = 200, **headers: str) -> web.Response:
    """A JSON answer."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(value),
        content_type="application/json",
        headers={name.replace("_", "-"): text for name, text in headers.items()},
    )


def number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number in the query, within bounds. Raises Rejected `usage`."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise Rejected("usage", f"{name} must be a whole number from {low} to {high}.", parameter=name)
    return int(text)


class Cursors:
    """Opaque places in a list: a number and a check over it, so that only our own come back."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def give(self, kind: str, place: int | None) -> str | None:
        """The cursor of a place in the list called `kind`."""
        if place is None:
            return None
        return f"{place:x}-{self._check(kind, place)}"

    def read(self, kind: str, text: str | None) -> int | None:
        """The place of a cursor. Raises Rejected `usage` for one that this node did not give for this list."""
        if not text:
            return None
        head, _, check = text.partition("-")
        try:
            place = int(head, 16) if len(head) <= 16 else -1
        except ValueError:
            place = -1
        if place < 0 or not hmac.compare_digest(check.encode(), self._check(kind, place).encode()):
            raise Rejected("usage", "This cursor was not given by this node for this list.", parameter="cursor")
        return place

    def _check(self, kind: str, place: int) -> str:
        return hmac.new(self._key, f"cursor {kind} {place}".encode(), hashlib.sha256).hexdigest()[:16]
