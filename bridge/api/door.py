"""Routes with their permission, and what every request goes through on its way in.

A handler is a method marked by `@route`; what it needs stands beside it, and a test lists every route with it. A
route without a permission must say `needs=None` in so many words.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from bridge.api import problems
from bridge.errors import BridgeError, Malformed, Rejected
from bridge.metrics import Metrics
from bridge.nodes.admit import Actor

log = structlog.get_logger()

Handler = Callable[[web.Request, Actor], Awaitable[web.StreamResponse]]
Who = Callable[[web.Request], Awaitable[Actor]]
M = TypeVar("M", bound=Callable[..., Awaitable[web.StreamResponse]])

NOBODY = Actor("nobody", frozenset())
MARK = "_bridge_route"


@dataclass(frozen=True)
class Route:
    """One method and path, with the scope that a caller needs (None: anybody who reaches the door)."""

    method: str
    path: str
    needs: str | None
    summary: str


def route(method: str, path: str, *, needs: str | None, summary: str) -> Callable[[M], M]:
    """Mark a method as the handler of a route."""

    def mark(handler: M) -> M:
        setattr(handler, MARK, Route(method, path, needs, summary))
        return handler

    return mark


def routes_of(*rooms: object) -> list[tuple[Route, Handler]]:
    """Every marked handler of these objects, in the order in which they are written."""
    found: list[tuple[Route, Handler]] = []
    for room in rooms:
        for name in vars(type(room)):
            handler = getattr(room, name)
            marked = getattr(handler, MARK, None)
            if marked is not None:
                found.append((marked, handler))
    return found


@dataclass(frozen=True)
class Deadlines:
    """How large and how slow a request may be. Sizes in bytes, times in seconds."""

    request_bytes: int = 262_144
    body_seconds: float = 30


def application(
    routes: Iterable[tuple[Route, Handler]], who: Who, metrics: Metrics, deadlines: Deadlines
) -> web.Application:
    """An aiohttp application that serves these routes to whoever `who` recognises."""
    app = web.Application(client_max_size=deadlines.request_bytes, middlewares=[_refuse_politely])
    app[_DEADLINES] = deadlines
    for marked, handler in routes:
        app.router.add_route(marked.method, marked.path, _guarded(marked, handler, who, metrics))
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


_DEADLINES: web.AppKey[Deadlines] = web.AppKey("deadlines", Deadlines)


def _guarded(
    marked: Route, handler: Handler, who: Who, metrics: Metrics
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def guarded(request: web.Request) -> web.StreamResponse:
        outcome = "500"
        try:
            actor = NOBODY
            if marked.needs is not None:
                actor = await who(request)
                if marked.needs not in actor.scopes:
                    raise Rejected(  # noqa: TRY301  answered like every refusal below
                        "forbidden",
                        "The token does not allow this.",
                        f"It needs the scope {marked.needs}.",
                    )
            answer = await handler(request, actor)
            outcome = str(answer.status)
        except BridgeError as error:
            outcome = error.code
            if error.http_status >= 500:
                log.error("request-failed", route=marked.path, code=error.code)
            return problems.response(error)
        except web.HTTPException:
            raise
        except (asyncio.CancelledError, ConnectionResetError):
            outcome = "gone"
            raise
        except Exception:
            log.exception("request-failed", route=marked.path)
            return problems.response(_fault())
        finally:
            metrics.inc("bridge_requests_total", route=marked.path, outcome=outcome)
        return answer

    return guarded


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


async def _headers(_request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers["Server"] = "bridge"
    answer.headers.setdefault("Cache-Control", "no-store")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers.setdefault("Referrer-Policy", "no-referrer")


async def body_of(request: web.Request, limit: int | None = None) -> bytes:
    """The request's body, whole, within the size and the time allowed.

    Raises Rejected `too-large` or `too-slow`.
    """
    deadlines = request.config_dict[_DEADLINES]
    most = deadlines.request_bytes if limit is None else limit
    if request.content_length is not None and request.content_length > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(deadlines.body_seconds):
            async for chunk in request.content.iter_chunked(64 * 1024):
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                parts.append(chunk)
    except TimeoutError:
        raise Rejected("too-slow", "The request did not arrive in time.", "Send it again.") from None
    except web.RequestPayloadError:
        raise Malformed("request body") from None
    return b"".join(parts)


def _too_large(limit: int) -> Rejected:
    return Rejected("too-large", f"The request is larger than {limit} bytes.", "Send less at once.", limit=limit)


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
