"""What every page goes through: who asks, may they, is the form theirs, and what the browser is told to refuse.

A page is a method marked with `@page`; the permission it needs stands beside it, and a test lists every page with it.
A page for everybody must say `needs=Open.EVERYBODY` in so many words. See `bridge/web/README.md` for how to add one.
"""

import asyncio
import csv
import gzip
import hmac
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import structlog
from aiohttp import BodyPartReader, web

from bridge import accounts
from bridge.accounts import May
from bridge.clock import Clock
from bridge.errors import BridgeError, Malformed, Rejected
from bridge.metrics import Metrics
from bridge.nodes.sign_in import CODE, ENROL, FULL, SignIn, Visitor
from bridge.web import look
from bridge.web.forms import File, Form, checked
from bridge.web.texts import LANGUAGES, _, language

log = structlog.get_logger()

CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'; manifest-src 'self'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # A form needs its origin told, to our own pages alone.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
FORM_HEADER: Final = "X-Form-Token"
"""Where a script says the token that a form has in its field `csrf`."""
_POSTED: Final = web.RequestKey("posted", tuple[dict[str, tuple[str, ...]], dict[str, File]])
MARK = "_bridge_page"
SYSTEMS: Final = ("/v1/", "/node/", "/control/", "/healthz", "/readyz", "/metrics", "/problems/", "/openapi.json")
"""Addresses of the doors for systems, which answer in their own form."""


class Open(StrEnum):
    """What a page needs that needs no permission."""

    EVERYBODY = "everybody"  # signed in or not
    SIGNED_IN = "signed-in"  # whoever has given every factor
    LOCKED = "locked"  # the same, also while the screen shield is up
    SECOND_STEP = "second-step"  # the password was right, the code is missing
    SETTING_UP = "setting-up"  # a second factor must be set up first; also for whoever is signed in
    SESSION = "session"  # any session at all


class Marked(NamedTuple):
    """One page as a test lists it. `lists`: it has twins at `.json` and `.csv`."""

    method: str
    path: str
    needs: May | Open
    summary: str
    lists: bool


@dataclass(frozen=True)
class Table:
    """What a list shows, for its twins: columns as (key, heading), and rows of plain values by key."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Mapping[str, Any]]
    next_cursor: str | None = None


@dataclass
class Page:
    """A page to be shown: its template, its title (never anything personal), and the values of the template."""

    template: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)
    form: Form | None = None
    table: Table | None = None
    status: int = 200


@dataclass(frozen=True)
class Redirect:
    """Go on to another page of ours, with a GET."""

    path: str


Answer = Page | Redirect | web.StreamResponse
Handler = Callable[["Visit"], Awaitable[Answer]]
M = TypeVar("M", bound=Callable[..., Awaitable[Answer]])


def page(method: str, path: str, *, needs: May | Open, summary: str, lists: bool = False) -> Callable[[M], M]:
    """Mark a method as a page. `summary` says what it does, for the list of all pages."""

    def mark(handler: M) -> M:
        setattr(handler, MARK, Marked(method, path, needs, summary, lists))
        return handler

    return mark


def pages_of(*rooms: object) -> list[tuple[Marked, Handler]]:
    """Every marked page of these objects, in the order in which they are written."""
    found: list[tuple[Marked, Handler]] = []
    for room in rooms:
        for name in vars(type(room)):
            handler = getattr(room, name)
            marked = getattr(handler, MARK, None)
            if isinstance(marked, Marked):
                found.append((marked, handler))
    return found


class Place(NamedTuple):
    """An entry of the navigation: shown to whoever may use it, when its page is there. `also`: pages that belong to it."""

    path: str
    text: str
    may: May
    also: tuple[str, ...] = ()


NAVIGATION: Final = (
    Place("/send", "Send an alert", May.SEND),
    Place("/sent", "Alerts you sent", May.SEND),
    Place("/inbox", "Received alerts", May.RECEIVE),
    Place("/search", "Search", May.LEAD),
    Place("/reports", "Numbers", May.LEAD),
    Place("/admin", "Administration", May.ADMINISTER),
    Place("/admin/audit", "Audit log", May.AUDIT),
    Place("/admin/tokens", "Connections", May.CONNECT, ("/admin/webhooks", "/admin/calls")),
)
MOST_PLACES: Final = 4
"""More than these at once and none is found; administrators reach the rest from their overview."""


@dataclass(frozen=True)
class House:
    """What pages say of the node they are on. `secure`: cookies may travel over https alone."""

    node_id: str
    name: str
    secure: bool
    exercise: bool
    telephone: str
    desk: str
    url: str = ""
    languages: tuple[str, ...] = ("en",)


Badge = Callable[[Visitor], Awaitable[int]]


class Visit:
    """One request by a person, with everything a page needs. Made by the shell."""

    def __init__(self, shell: "Shell", request: web.Request, visitor: Visitor | None, anonymous: str) -> None:
        self.shell = shell
        self.request = request
        self.visitor = visitor
        self.now: datetime = shell.clock.now()
        self.cookies: dict[str, str | None] = {}
        self._anonymous = anonymous
        self._flashes: list[tuple[str, str]] = []

    @property
    def who(self) -> Visitor:
        """Who is signed in. Pages that need a permission always have somebody."""
        if self.visitor is None:
            raise Rejected("unauthenticated", "Sign in to see this page.")
        return self.visitor

    @property
    def actor(self) -> str:
        """The pseudonym to hand to verbs and the audit log."""
        return self.who.actor

    def path(self, name: str) -> str:
        """A part of the address, by its name in the route."""
        return self.request.match_info[name]

    def query(self, name: str, longest: int = 200) -> str:
        """A value of the query, cut to its longest; the empty text when there is none."""
        return self.request.query.get(name, "")[:longest].strip()

    def number(self, name: str) -> int | None:
        """A whole number in the query, such as a place in a list; None for anything else."""
        text = self.query(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    @property
    def csrf(self) -> str:
        """The token that a form of this visitor must carry."""
        return self.visitor.csrf if self.visitor is not None else self.shell.anonymous_token(self._anonymous)

    @property
    def anonymous(self) -> str:
        """The value by which a browser is known before anybody signed in with it."""
        return self._anonymous

    async def form(
        self, *names: str, several: Sequence[str] = (), files: Sequence[str] = (), longest: int = 20_000
    ) -> Form:
        """The form that was sent, which may have these fields and no others. Raises Malformed, `too-large`, `too-slow`."""
        sent, uploaded = await self.shell.posted(self.request)
        sent.pop("csrf", None)
        checked(sent, {*names, *several}, several, longest)
        if not uploaded.keys() <= set(files):
            raise Malformed("form", "Go back, load the page again and fill it in there.")
        return Form(sent, uploaded)

    async def body(self, most: int) -> bytes:
        """The raw body of a request by a script, at most `most` bytes. Raises `too-large`, `too-slow`."""
        return await self.shell.raw(self.request, most)

    def flash(self, text: str, kind: str = "success") -> None:
        """Say something at the top of the next page, once: `success` or `important`. Never anything personal."""
        self._flashes.append((kind, text))

    async def keep_flashes(self) -> None:
        """Write what was flashed into the session, before a redirect."""
        if self._flashes and self.visitor is not None:
            held = dict(self.visitor.held)
            held["flash"] = [*held.get("flash", []), *self._flashes][-4:]
            await self.shell.sign_in.hold(self.visitor, held)

    async def take_flashes(self) -> list[tuple[str, str]]:
        """What is to be said on this page."""
        found = [*self._flashes]
        if self.visitor is not None and self.visitor.held.get("flash"):
            found = [*(tuple(each) for each in self.visitor.held["flash"]), *found]
            held = {name: value for name, value in self.visitor.held.items() if name != "flash"}
            await self.shell.sign_in.hold(self.visitor, held)
        return found

    def headers(self, response: web.StreamResponse) -> None:
        """Put on an answer that a page prepares itself what every other gets."""
        response.headers.update(HEADERS)

    def nothing(self) -> web.Response:
        """An answer without a page, for scripts."""
        return web.Response(status=204)

    def start_session(self, secret: str, device: str = "") -> None:
        """Give the browser the cookie of a session that has just begun."""
        self.cookies["session"] = secret
        if device:
            self.cookies["known"] = device

    def speak(self, code: str) -> None:
        """Let the browser remember in which language its pages are to be."""
        self.cookies["language"] = code

    def end_session(self) -> None:
        """Take the session's cookie away."""
        self.cookies["session"] = None


class Shell:
    """All pages, put into the node's application."""

    def __init__(
        self,
        *,
        rooms: Sequence[object],
        sign_in: SignIn,
        house: House,
        clock: Clock,
        metrics: Metrics,
        key: bytes,
        badges: Mapping[str, Badge] | None = None,
        request_bytes: int = 262_144,
        body_seconds: float = 30,
    ) -> None:
        self.sign_in = sign_in
        self.house = house
        self.clock = clock
        self.pages = pages_of(*rooms)
        self._metrics = metrics
        self._key = key
        self._badges = dict(badges or {})
        self._request_bytes = request_bytes
        self._body_seconds = body_seconds
        self._templates = look.Templates()
        self._paths = {marked.path for marked, _handler in self.pages}
        self._files = {asset.name: asset for asset in look.assets().values()}
        prefix = "__Host-" if house.secure else ""
        self._cookies = {
            "session": f"{prefix}bridge-{house.node_id}",
            "anonymous": f"{prefix}bridge-form-{house.node_id}",
            "known": f"{prefix}bridge-known-{house.node_id}",
            "language": f"{prefix}bridge-language-{house.node_id}",
        }

    # Into the application

    def attach(self, app: web.Application) -> None:
        """Add every page to an application, and answer in our own form where no page is."""
        app.middlewares.append(self._not_ours)
        app.router.add_get("/assets/{name}", self._asset)
        app.router.add_get("/favicon.ico", self._icon)
        for marked, handler in self.pages:
            if marked.lists:
                app.router.add_get(f"{marked.path}.json", self._guarded(marked, handler, "json"))
                app.router.add_get(f"{marked.path}.csv", self._guarded(marked, handler, "csv"))
        for marked, handler in self.pages:
            app.router.add_route(marked.method, marked.path, self._guarded(marked, handler, "html"))

    async def warm(self) -> None:
        """Compile the templates before the first visitor comes."""
        await asyncio.to_thread(self._templates.warm)

    @property
    def _not_ours(self) -> Any:
        shell = self

        @web.middleware
        async def middleware(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            lost = request.match_info.http_exception
            if lost is None or request.path.startswith(SYSTEMS) or "text/html" not in request.headers.get("Accept", ""):
                return await handler(request)
            visit = await shell._visit(request)
            if lost.status == 404:
                return await shell._failed(
                    visit, Rejected("not-found", "There is no page at this address."), "html"
                )
            return await shell._failed(
                visit, Rejected("not-supported", "This page cannot be used in this way."), "html"
            )

        return middleware

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        asset = self._files.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return _file(request, asset, "public, max-age=31536000, immutable")

    async def _icon(self, request: web.Request) -> web.StreamResponse:
        return _file(request, look.assets()["icon.svg"], "public, max-age=86400")

    # One request

    def _guarded(
        self, marked: Marked, handler: Handler, form: str
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            outcome = "500"
            visit: Visit | None = None
            # A script reads neither redirects nor pages.
            told = "json" if form == "html" and FORM_HEADER in request.headers else form
            try:
                visit = await self._visit(request)
                elsewhere = self._admitted(visit, marked, told)
                if elsewhere is not None:
                    outcome = "sign-in"
                    return self._answer(visit, web.Response(status=303, headers={"Location": elsewhere}))
                if request.method not in {"GET", "HEAD"}:
                    await self._theirs(visit)
                answer = await handler(visit)
                response = await self._shown(visit, answer, form)
                outcome = str(response.status)
            except BridgeError as error:
                outcome = error.code
                if error.http_status >= 500:
                    log.error("request-failed", route=marked.path, code=error.code)
                return await self._failed(visit, error, told)
            except web.HTTPException:
                raise
            except asyncio.CancelledError:
                outcome = "gone"
                raise
            except ConnectionResetError:
                outcome = "gone"  # nobody is there to read an answer
                return web.Response(status=400)
            except Exception:
                log.exception("request-failed", route=marked.path)
                return await self._failed(visit, _fault(), told)
            finally:
                self._metrics.inc("bridge_requests_total", route=marked.path, outcome=outcome)
            return response

        return guarded

    async def _visit(self, request: web.Request) -> Visit:
        chosen = request.cookies.get(self._cookies["language"], "")
        language.set(chosen if chosen in self.house.languages else self.house.languages[0])
        secret = request.cookies.get(self._cookies["session"], "")
        # A page that listens comes back by itself, also when nobody is there: that is no use of the session.
        listens = "text/event-stream" in request.headers.get("Accept", "")
        visitor = await self.sign_in.visitor(secret, use=not listens) if secret else None
        anonymous = request.cookies.get(self._cookies["anonymous"], "")
        fresh = not 20 <= len(anonymous) <= 100
        if fresh:
            anonymous = self.sign_in.word()
        visit = Visit(self, request, visitor, anonymous)
        if fresh and visitor is None:
            visit.cookies["anonymous"] = anonymous
        if secret and visitor is None:
            visit.cookies["session"] = None
        return visit

    def _admitted(self, visit: Visit, marked: Marked, form: str) -> str | None:
        """Where somebody must go first; None when they may see the page.

        Raises Rejected `forbidden`, and `unauthenticated` where a redirect would be no answer.
        """
        visitor, needs = visit.visitor, marked.needs
        if needs is Open.EVERYBODY:
            return None
        to = ""
        if visitor is None:
            to = "/sign-in"
        elif needs is Open.SESSION:
            return None
        elif visitor.stage == CODE and needs is not Open.SECOND_STEP:
            to = "/sign-in/code"
        elif visitor.stage == ENROL and needs is not Open.SETTING_UP:
            to = "/set-up/second-step"
        elif visitor.stage == FULL and needs is Open.SECOND_STEP:
            to = "/"
        elif visitor.locked and needs is not Open.LOCKED:
            to = "/away"
        if to:
            if form != "html":
                raise Rejected("unauthenticated", "Sign in to see this.")
            if visitor is None and visit.request.method == "GET" and visit.request.path != "/":
                ended = "&ended" if "session" in visit.cookies else ""
                to = f"/sign-in?next={quote(visit.request.path_qs, safe='/')}{ended}"
            return to
        if isinstance(needs, May) and (visitor is None or needs not in visitor.may):
            raise Rejected("forbidden", "Your account does not have permission to see this page.")
        return None

    async def _theirs(self, visit: Visit) -> None:
        """A form must come from a page of ours that was made for this very session.

        Raises Rejected `forbidden`.
        """
        request = visit.request
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        foreign = site not in {None, "same-origin"} or (
            origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
        )
        token = request.headers.get(FORM_HEADER, "")
        if not foreign and not token:
            sent, _files = await self.posted(request)
            token = next(iter(sent.get("csrf", ())), "")
        if foreign or not hmac.compare_digest(token.encode(), visit.csrf.encode()):
            raise Rejected(
                "forbidden",
                "This form is not from a page that you have open now.",
                "Go back, load the page again and send it again. What you typed may still be there.",
            )

    def anonymous_token(self, anonymous: str) -> str:
        """The token of forms that are shown before anybody has signed in."""
        return hmac.digest(self._key, b"anonymous form " + anonymous.encode(), "sha256").hex()

    async def posted(self, request: web.Request) -> tuple[dict[str, tuple[str, ...]], dict[str, File]]:
        """The fields and files of a request's body, read once. Nothing of it touches a disk.

        Raises Malformed, and Rejected `too-large`, `too-slow`, `not-supported`.
        """
        known = request.get(_POSTED)
        if known is None:
            try:
                async with asyncio.timeout(self._body_seconds):
                    known = await self._read(request)
            except TimeoutError:
                raise Rejected("too-slow", "The form did not arrive in time.", "Send it again.") from None
            except web.HTTPRequestEntityTooLarge:
                raise _too_large() from None
            except (web.RequestPayloadError, UnicodeDecodeError, ValueError, LookupError):
                raise Malformed("form") from None
            request[_POSTED] = known
        fields, files = known
        return dict(fields), dict(files)

    async def raw(self, request: web.Request, most: int) -> bytes:
        """A request's body as it is. Raises Rejected `too-large`, `too-slow`."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_seconds):
                async for chunk in request.content.iter_chunked(65_536):
                    size += len(chunk)
                    if size > most:
                        raise _too_large()
                    parts.append(chunk)
        except TimeoutError:
            raise Rejected("too-slow", "The request did not arrive in time.", "Send it again.") from None
        return b"".join(parts)

    async def _read(self, request: web.Request) -> tuple[dict[str, tuple[str, ...]], dict[str, File]]:
        if request.content_type == "multipart/form-data":
            return await self._parts(request)
        if request.content_type not in {"application/x-www-form-urlencoded", "application/octet-stream"}:
            raise Rejected("not-supported", "A form cannot be sent in this way.")
        sent = await request.post()
        return {
            name: tuple(value for value in sent.getall(name) if isinstance(value, str)) for name in sent
        }, {}

    async def _parts(self, request: web.Request) -> tuple[dict[str, tuple[str, ...]], dict[str, File]]:
        fields: dict[str, tuple[str, ...]] = {}
        files: dict[str, File] = {}
        size = 0
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader) or part.name is None or len(fields) + len(files) > 200:
                raise Malformed("form")
            content = bytearray()
            while chunk := await part.read_chunk(65_536):
                size += len(chunk)
                if size > self._request_bytes:
                    raise _too_large()
                content += chunk
            if part.filename is None:
                fields[part.name] = (*fields.get(part.name, ()), content.decode())
            elif content:
                files[part.name] = File(part.filename, bytes(content))
        return fields, files

    # Answers

    async def _shown(self, visit: Visit, answer: Answer, form: str) -> web.StreamResponse:
        if isinstance(answer, Redirect):
            await visit.keep_flashes()
            return self._answer(visit, web.Response(status=303, headers={"Location": local(answer.path)}))
        if isinstance(answer, Page):
            if form == "html":
                return await self._page(visit, answer)
            if answer.table is None:
                raise Rejected("not-found", "There is no list at this address.")
            return self._answer(visit, _twin(answer.table, form, visit.request.path))
        return answer if answer.prepared else self._answer(visit, answer)

    async def _page(self, visit: Visit, answer: Page) -> web.StreamResponse:
        status = 422 if answer.form is not None and answer.form.errors and answer.status == 200 else answer.status
        body = self._templates.render(
            answer.template,
            {
                **answer.values,
                "title": answer.title,
                "form": answer.form or Form(),
                "visitor": visit.visitor if visit.visitor is not None and visit.visitor.stage == FULL else None,
                "now": visit.now,
                "house": self.house,
                "csrf": visit.csrf,
                "path": visit.request.path,
                "flashes": await visit.take_flashes(),
                "navigation": await self._navigation(visit),
                "lone": await self._lone(visit.visitor),
                "idle": int(accounts.IDLE.total_seconds()),
                "warn": int(accounts.WARN.total_seconds()),
                "table": answer.table,
                "language": language.get(),
                "languages": [(code, LANGUAGES[code]) for code in self.house.languages],
            },
        )
        return self._answer(visit, _packed(visit.request, body, status))

    async def _navigation(self, visit: Visit) -> list[dict[str, Any]]:
        visitor = visit.visitor
        if visitor is None or visitor.stage != FULL or visitor.locked:
            return []
        places = [place for place in NAVIGATION if place.may in visitor.may and place.path in self._paths]
        # The longest path that the page lies under is where the visitor is.
        at = f"{visit.request.path}/"
        under = {each: p.path for p in places for each in (p.path, *p.also) if at.startswith(f"{each}/")}
        here = under[max(under, key=len)] if under else ""
        shown = places[:MOST_PLACES]
        found = []
        for place in shown:
            badge = self._badges.get(place.path)
            found.append(
                {
                    "href": place.path,
                    "text": _(place.text),
                    "count": await badge(visitor) if badge else None,
                    "active": place.path == here,
                    "current": place.path == visit.request.path,
                }
            )
        return found

    async def _lone(self, visitor: Visitor | None) -> bool:
        """Whether an administrator must be told that there is no second one."""
        if visitor is None or visitor.stage != FULL or May.ADMINISTER not in visitor.may:
            return False
        return await self.sign_in.administrators() < accounts.MIN_ADMINISTRATORS

    async def _failed(self, visit: Visit | None, error: BridgeError, form: str) -> web.StreamResponse:
        """An error as a page of its own: what happened, what to do, whom to ring."""
        status = error.http_status
        if visit is None or form != "html":
            body = {"code": error.code, "detail": error.sentence, "hint": error.hint, "status": status}
            response: web.StreamResponse = web.Response(
                status=status, body=msgspec.json.encode(body), content_type="application/problem+json"
            )
            return response if visit is None else self._answer(visit, response)
        kind = {401: "forbidden", 403: "forbidden", 404: "missing", 410: "missing"}.get(
            status, "fault" if status >= 500 else "refused"
        )
        titles = {
            "forbidden": _("You cannot see this page"),
            "missing": _("Page not found"),
            "fault": _("Sorry, there is a problem with the service"),
            "refused": _("This could not be done"),
        }
        values = {"sentence": error.sentence, "hint": error.hint, "kind": kind, "code": error.code}
        try:
            return await self._page(visit, Page("problem.html", titles[kind], values, status=status))
        except Exception:
            log.exception("page-failed", code=error.code)
            return self._answer(visit, web.Response(status=500, text=titles["fault"]))

    def _answer(self, visit: Visit, response: web.StreamResponse) -> web.StreamResponse:
        for name, value in HEADERS.items():
            response.headers[name] = value
        for kind, secret in visit.cookies.items():
            age = int(accounts.KNOWN_DEVICE.total_seconds()) if kind in {"known", "language"} else None
            response.set_cookie(
                self._cookies[kind],
                secret or "",
                path="/",
                secure=self.house.secure,
                httponly=True,
                samesite="Lax",
                max_age=0 if secret is None else age,
            )
        return response

    def device(self, request: web.Request) -> str:
        """The cookie of a browser that was signed in with before, or nothing."""
        return request.cookies.get(self._cookies["known"], "")


def _packed(request: web.Request, body: str, status: int) -> web.Response:
    """A page, compressed when nothing in it came with the request.

    What came with a request could be chosen by somebody who watches how long the answer is, and so guesses at the rest.
    """
    raw = body.encode()
    headers = {"Vary": "Accept-Encoding"}
    asked = request.method != "GET" or request.query_string
    if not asked and "gzip" in request.headers.get("Accept-Encoding", ""):
        raw = gzip.compress(raw, 5, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=raw, status=status, content_type="text/html", charset="utf-8", headers=headers)


def local(path: str) -> str:
    """A path of ours to go on to; anything that could lead elsewhere becomes the start page."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or not path.isprintable() or "\\" in path:
        return "/"
    return path


def _twin(table: Table, form: str, path: str) -> web.Response:
    """A list for machines (JSON) or for a spreadsheet (CSV), with the same rows as the page."""
    if form == "json":
        body: dict[str, Any] = {"items": table.rows}
        if table.next_cursor:
            body["next_cursor"] = table.next_cursor
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")
    name = path.rpartition("/")[2].removesuffix(".csv") or "list"
    return web.Response(
        body=as_csv(table).encode("utf-8-sig"),
        content_type="text/csv",
        charset="utf-8",
        headers={"Content-Disposition": f"attachment; filename=\"{quote(name, safe='')}.csv\""},
    )


def as_csv(table: Table) -> str:
    """A list as CSV in which no cell is a formula, whatever it holds."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([heading for _key, heading in table.columns])
    for row in table.rows:
        writer.writerow([_cell(row.get(key)) for key, _heading in table.columns])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple | frozenset | set):
        value = ", ".join(_cell(each).lstrip("'") for each in value)
    text = str(look.shown(str(value)))
    # A spreadsheet takes these for the beginning of a formula, also after a line end or a tab.
    return f"'{text}" if text.lstrip()[:1] in {"=", "+", "-", "@"} or text[:1] in {"\t", "\r", "\n"} else text


def _file(request: web.Request, asset: look.Asset, keep: str) -> web.Response:
    packed = asset.packed if "gzip" in request.headers.get("Accept-Encoding", "") else None
    headers = {"Cache-Control": keep, "Vary": "Accept-Encoding", "Cross-Origin-Resource-Policy": "same-origin"}
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return web.Response(
        body=packed or asset.plain, content_type=asset.content_type, charset="utf-8", headers=headers
    )


def _too_large() -> Rejected:
    return Rejected("too-large", "The form is larger than this node takes.", "Send less at once.")


def _fault() -> BridgeError:
    return BridgeError("internal", "Something is wrong on this node.", "Try again later. Nothing was lost.")


def routes_of(pages: Iterable[tuple[Marked, Handler]]) -> list[tuple[str, str, str]]:
    """Method, path and permission of every page, twins too, as the test of all routes lists them."""
    found = []
    for marked, _handler in pages:
        found.append((marked.method, marked.path, str(marked.needs)))
        if marked.lists:
            found += [("GET", f"{marked.path}{kind}", str(marked.needs)) for kind in (".json", ".csv")]
    return found
